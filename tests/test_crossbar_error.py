"""The error of a product on arrays of devices, and its split by cause."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import normal
from torch import Tensor

from analogdfc.arrays.mapping import (
    Balanced,
    Fixed,
    Mapping,
    MidRail,
    OffsetColumn,
    PerColumn,
    Scheme,
    Split,
    Tiling,
)
from analogdfc.arrays.product_error import (
    CAUSES,
    Product,
    cases,
    measure,
)
from analogdfc.cards.device import DeviceCard
from analogdfc.devices import (
    DeviceModel,
    Faults,
    OneShot,
    Spread,
    StuckCell,
    Window,
)
from analogdfc.devices.curves import Curve
from analogdfc.errors import UserError
from analogdfc.wires import Lines, WiredArray, transfer_matrix

IDEAL = DeviceModel(Window(1e-6, 25e-6))
NO_LINES = Lines(r_word=0.0, r_bit=0.0)
SCHEMES = (Split(), Balanced(), MidRail(), OffsetColumn())
W, X = normal(1, 5, 7), normal(2, 4, 7)


def card(name: str) -> DeviceModel:
    return DeviceCard.load(name).model()


def nrmse(w: Tensor, found: Tensor, x: Tensor) -> float:
    """Of two matrices that are there, in one line."""
    return float((x @ (found - w).T).norm() / (x @ w.T).norm())


def pair_rows(w: Tensor, window: Window) -> Tensor:
    """Conductances of the split pairs of weights, (2 inputs, outputs), cell by cell."""
    outputs, inputs = w.shape
    unit = window.span / float(w.abs().max())
    g = torch.zeros(2 * inputs, outputs, dtype=w.dtype)
    for j in range(outputs):
        for i in range(inputs):
            g[2 * i, j] = window.g_min + unit * max(float(w[j, i]), 0.0)
            g[2 * i + 1, j] = window.g_min + unit * max(-float(w[j, i]), 0.0)
    return g


@given(
    seed=st.integers(0, 1000),
    outputs=st.integers(1, 6),
    inputs=st.integers(1, 6),
    scheme=st.sampled_from(SCHEMES),
    tile=st.sampled_from([Tiling(), Tiling(4, 3)]),
)
@settings(max_examples=30, deadline=None)
def test_ideal_devices_without_wires_are_exact_to_rounding(
    seed: int, outputs: int, inputs: int, scheme: Scheme, tile: Tiling
) -> None:
    product = Product(
        normal(seed, outputs, inputs),
        normal(seed + 1, 3, inputs),
        IDEAL,
        NO_LINES,
        Mapping(scheme, PerColumn(), tiling=tile, bias_rows=0),
    )
    found = measure(product, samples=3)
    assert found.total < 1e-13
    assert found.causes == {}
    assert float(found.cell_error.max()) == 0
    assert float(found.voltage_loss.max()) == 0
    assert torch.equal(found.read, found.target)


def test_the_error_of_wires_alone_is_that_of_the_transfer_matrix() -> None:
    lines = Lines(
        r_word=200.0, r_bit=100.0, r_driver=300.0, r_sense=50.0, driven="both", sensed="one"
    )
    product = Product(W, X, IDEAL, lines)
    found = measure(product)
    g = pair_rows(W, IDEAL.window)
    unit = IDEAL.window.span / float(W.abs().max())

    def weights(lines: Lines) -> Tensor:
        t = transfer_matrix(g, lines)
        return (t[:, 0::2] - t[:, 1::2]) / unit

    assert torch.allclose(found.target[0], g, rtol=1e-12)
    assert found.total == pytest.approx(nrmse(W, weights(lines), X), rel=1e-9)
    assert found.spread == 0
    wires, ends = found.causes["wires"], found.causes["driver and sense"]
    only_wires = replace(lines, r_driver=0.0, r_sense=0.0)
    assert wires.alone == pytest.approx(nrmse(W, weights(only_wires), X), rel=1e-9)
    assert wires.alone == pytest.approx(ends.without, rel=1e-12)
    assert ends.alone == pytest.approx(wires.without, rel=1e-12)
    cell = (transfer_matrix(g, lines).T - g).abs() / IDEAL.window.span
    assert torch.allclose(found.cell_error[0], cell, rtol=1e-9)


def test_the_voltage_lost_by_a_cell_is_that_of_the_nodes() -> None:
    lines = Lines(r_word=200.0, r_bit=100.0)
    product = Product(W, X, IDEAL, lines, read_voltage=0.3)
    found = measure(product)
    v = torch.stack([X, -X], dim=-1).flatten(1) * (0.3 / float(X.abs().max()))
    assert float(v.abs().max()) == pytest.approx(0.3)
    nodes = WiredArray(pair_rows(W, IDEAL.window), lines).voltages(v)
    loss = (v[:, :, None] - nodes.cell).square().mean(dim=0).sqrt()
    assert torch.allclose(found.voltage_loss[0], loss, rtol=1e-9)
    assert found.drive == pytest.approx(float(v.square().mean().sqrt()))


def test_a_drivers_resistance_divides_with_the_conductance_of_its_row() -> None:
    product = Product(W, X, IDEAL, Lines(r_word=0.0, r_bit=0.0, r_driver=5e3))
    g = pair_rows(W, IDEAL.window)
    seen = g / (1 + 5e3 * g.sum(dim=1, keepdim=True))
    unit = IDEAL.window.span / float(W.abs().max())
    expected = nrmse(W, ((seen[0::2] - seen[1::2]) / unit).T, X)
    found = measure(product)
    assert found.total == pytest.approx(expected, rel=1e-9)
    assert list(found.causes) == ["driver and sense"]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: type(s).__name__)
def test_tiles_are_arrays_of_their_own_and_shorter_lines_lose_less(scheme: Scheme) -> None:
    w, x = normal(3, 24, 32), normal(4, 8, 32)

    def error(tiling: Tiling) -> float:
        mapping = Mapping(scheme, tiling=tiling, bias_rows=0)
        return measure(Product(w, x, IDEAL, Lines(r_word=20.0, r_bit=20.0), mapping)).total

    assert error(Tiling(16, 8)) < 0.5 * error(Tiling())


def test_two_tiles_sum_what_two_arrays_give() -> None:
    lines = Lines(r_word=100.0, r_bit=100.0)
    mapping = Mapping(tiling=Tiling(6, None), bias_rows=0)  # 3 inputs each
    found = measure(Product(W, X, IDEAL, lines, mapping))
    g = pair_rows(W, IDEAL.window)
    t = torch.cat([transfer_matrix(part, lines) for part in torch.split(g, 6)], dim=1)
    unit = IDEAL.window.span / float(W.abs().max())
    expected = nrmse(W, (t[:, 0::2] - t[:, 1::2]) / unit, X)
    assert found.total == pytest.approx(expected, rel=1e-9)


def test_programming_noise_has_the_error_of_its_standard_deviation() -> None:
    sigma = 0.2e-6
    model = DeviceModel(Window(5e-6, 25e-6), programming=OneShot(Curve.polynomial(sigma)))
    w, x = normal(5, 20, 50), normal(6, 16, 50)
    found = measure(Product(w, x, model, NO_LINES), samples=40)
    # Each weight is off by sqrt(2) sigma in units of the span over the largest weight.
    off = math.sqrt(2) * sigma / model.window.span * float(w.abs().max())
    expected = off * float(x.square().sum(dim=1).mean().sqrt() / (x @ w.T).square().mean().sqrt())
    assert found.total == pytest.approx(expected, rel=0.02)
    assert found.causes["programming noise"].alone == pytest.approx(found.total)
    assert found.causes["programming noise"].without < 1e-13
    rms = float(found.cell_error.square().mean().sqrt())
    assert rms == pytest.approx(sigma / model.window.span, rel=0.02)


def test_causes_add_up() -> None:
    lines = Lines(r_word=2.0, r_bit=2.0, r_driver=100.0, r_sense=100.0)
    model = replace(card("pcm_nandakumar2019"), faults=Faults(off=0.01), spread=Spread(device=0.05))
    product = Product(normal(7, 12, 24), normal(8, 16, 24), model, lines, time=100.0)
    found = measure(product, samples=40)
    expected = ["programming noise", "read noise", "drift", "device spread", "faults"]
    assert list(found.causes) == [*expected, "wires", "driver and sense"]
    margin = 3 * found.spread / math.sqrt(40)
    for cause in found.causes.values():
        assert 0 < cause.alone <= found.total + margin
        assert cause.without <= found.total + margin
    total = math.sqrt(sum(cause.alone**2 for cause in found.causes.values()))
    # Random errors add up in squares, the systematic ones of drift and wires at most as such.
    assert 0.9 * total < found.total < sum(cause.alone for cause in found.causes.values())


def test_a_cause_switched_off_leaves_the_draws_of_the_others() -> None:
    model = card("rram_wan2022")
    product = Product(W, X, model, Lines(r_word=1.0, r_bit=1.0))
    found = measure(product, samples=4, seed=3)
    alone = measure(product.only("programming noise"), samples=4, seed=3)
    # Other draws would move these by percent; what is left is the order of a processor's sums.
    assert found.causes["programming noise"].alone == pytest.approx(alone.total, rel=1e-12)
    off = measure(product.without("programming noise"), samples=4, seed=3)
    assert found.causes["programming noise"].without == pytest.approx(off.total, rel=1e-12)
    # With one more, negligible, cause nothing else moves.
    more = replace(product, model=replace(model, spread=Spread(device=1e-9)))
    assert measure(more, samples=4, seed=3).total == pytest.approx(found.total, rel=1e-6)


def test_levels_are_a_cause_of_their_own() -> None:
    model = DeviceModel(Window(0.0, 1e-6, levels=5))
    w = torch.tensor([[1.0, 0.3]], dtype=torch.float64)  # 0.3 is rounded to 0.25
    found = measure(Product(w, torch.eye(2, dtype=torch.float64), model, NO_LINES))
    assert found.total == pytest.approx(0.05 / math.hypot(1.0, 0.3))
    assert found.causes["finite levels"].alone == found.total
    assert float(found.cell_error[0, 2, 0]) == pytest.approx(0.05)


def test_a_stuck_cell_changes_its_own_weight_only() -> None:
    stuck = (StuckCell(row=5, column=3, g=25e-6),)  # the negative rail of input 2
    found = measure(Product(W, X, IDEAL, NO_LINES, stuck=stuck))
    changed = W.clone()
    was = float(pair_rows(W, IDEAL.window)[5, 3])
    changed[3, 2] -= (25e-6 - was) / IDEAL.window.span * float(W.abs().max())
    assert found.total == pytest.approx(nrmse(W, changed, X), rel=1e-9)
    assert list(found.causes) == ["faults"]
    assert found.causes["faults"].without < 1e-13
    assert found.cell_error[0].nonzero().tolist() == [[5, 3]]


def test_drift_grows_with_the_time_to_the_read() -> None:
    product = Product(W, X, card("pcm_nandakumar2019").without("read noise"), NO_LINES)
    errors = [
        measure(replace(product, time=t)).causes["drift"].alone for t in (0.0, 3600.0, 3.15e7)
    ]
    assert errors[0] < 0.01 < errors[1] < errors[2]


def test_the_same_seed_gives_the_same_numbers_and_another_does_not() -> None:
    product = Product(W, X, card("rram_milo2021"), NO_LINES, time=10.0)
    first, again, other = (measure(product, samples=3, seed=s) for s in (1, 1, 2))
    assert first.total == again.total
    assert torch.equal(first.read, again.read)
    assert first.total != other.total


def test_blocks_of_draws_are_independent_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    product = Product(W, X, card("pcm_nandakumar2019"), NO_LINES)
    whole = measure(product, samples=60)
    monkeypatch.setattr("analogdfc.arrays.product_error._AT_ONCE", W.numel() * 2 * 7)
    blocks = measure(product, samples=60)
    assert blocks.total == pytest.approx(whole.total, rel=0.1)
    assert blocks.spread == pytest.approx(whole.spread, rel=0.4)


def test_progress_is_called_once_a_case() -> None:
    product = Product(W, X, card("pcm_nandakumar2019"), Lines(r_word=1.0, r_bit=1.0))
    calls = count()
    measure(product, samples=2, progress=lambda: next(calls))
    assert next(calls) == cases(product) == 1 + 2 * len(product.causes)


def test_a_scale_that_does_not_matter() -> None:
    model, lines = card("cmo_hfox_falcone2025"), Lines(r_word=1.0, r_bit=1.0)
    found = [measure(Product(s * W, X, model, lines), samples=3).total for s in (1.0, 1e-200)]
    assert found[0] == pytest.approx(found[1], rel=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": -1.0}, "time -1 s: must be finite and >= 0"),
        ({"read_voltage": 0.0}, "read voltage 0 V"),
        ({"x": normal(1, 4, 6)}, "for 7 inputs"),
        ({"x": torch.zeros(2, 7, dtype=torch.float64)}, "ideal product is 0"),
        ({"x": torch.full((2, 7), math.nan, dtype=torch.float64)}, r"input\[0, 0\] nan"),
        ({"weights": W / 0}, "weights must be finite"),
        ({"weights": 1e200 * W, "x": 1e200 * X}, "ideal product"),
        ({"stuck": (StuckCell(14, 0, 0.0),)}, r"\(14, 0\) is outside of the array of 14 x 5"),
        ({"stuck": (StuckCell(0, -1, 0.0),)}, "rows 0..13 and columns 0..4 are allowed"),
        ({"mapping": Mapping(scale=Fixed(0.1), bias_rows=0)}, "outside of the window"),
        ({"mapping": Mapping()}, "1 bias rows"),
    ],
)
def test_what_cannot_be_measured_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(Product(W, X, IDEAL, NO_LINES), **change)  # type: ignore[arg-type]


def test_an_array_too_large_for_the_exact_solution_is_refused_only_with_wires() -> None:
    w, x = torch.ones(600, 500, dtype=torch.float64), torch.ones(1, 500, dtype=torch.float64)
    product = Product(w, x, IDEAL, NO_LINES)
    with pytest.raises(UserError, match="1000 x 600 cells"):
        replace(product, lines=Lines(r_word=1.0, r_bit=1.0))
    cut = Mapping(tiling=Tiling(256, 256), bias_rows=0)
    replace(product, lines=Lines(r_word=1.0, r_bit=1.0), mapping=cut)


def test_unknown_causes_and_no_draws_are_refused() -> None:
    product = Product(W, X, IDEAL, NO_LINES)
    with pytest.raises(UserError, match=f"unknown cause 'wire'; {', '.join(CAUSES)}"):
        product.without("wire")
    with pytest.raises(UserError, match="0 draws"):
        measure(product, samples=0)
