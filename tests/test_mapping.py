"""Mapping: weights to conductances and back, the products of the arrays, and the export."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generator, normal
from torch.nn.functional import linear

from analogdfc import records
from analogdfc.arrays.mapping import (
    Balanced,
    Equal,
    Fixed,
    Layout,
    Mapping,
    MidRail,
    OffsetColumn,
    PerColumn,
    PerLayer,
    Positional,
    Scheme,
    Slicing,
    Split,
    Tiling,
    positions,
    pulses_to,
    table,
    write_csv,
    write_hdf5,
)
from analogdfc.cards.device import DeviceCard
from analogdfc.devices import (
    Curve,
    DeviceModel,
    Exponential,
    LinearStep,
    Pulses,
    SoftBounds,
    Window,
    WriteVerify,
)
from analogdfc.errors import UserError

US = 1e-6
WINDOW = Window(1 * US, 41 * US)
SCHEMES: tuple[Scheme, ...] = (
    Split(),
    Split(one_way=True),
    Balanced(),
    MidRail(),
    MidRail(0.4),
    OffsetColumn(),
    OffsetColumn(0.3),
)
SLICINGS: tuple[Slicing, ...] = (Equal(), Equal(3), Positional(2, 4), Positional(4, 2))

mappings = st.builds(
    Mapping,
    scheme=st.sampled_from(SCHEMES),
    scale=st.sampled_from([PerLayer(), PerColumn(), PerLayer(1.5), Fixed(8.0)]),
    slicing=st.sampled_from(SLICINGS),
    tiling=st.sampled_from([Tiling(), Tiling(4, 3), Tiling(rows=2), Tiling(columns=2)]),
    bias_rows=st.integers(0, 3),
)
sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))


@given(mapping=mappings, size=sizes, seed=st.integers(0, 1000))
def test_arrays_represent_the_weights_that_they_were_made_for(
    mapping: Mapping, size: tuple[int, int], seed: int
) -> None:
    w, b = normal(seed, *size), normal(seed + 1, size[0])
    layout = mapping.layout(w, b, WINDOW)
    g = layout.conductances(w, b)
    assert tuple(g.shape) == layout.shape
    assert float(g.min()) >= WINDOW.g_min * (1 - 1e-12)
    assert float(g.max()) <= WINDOW.g_max * (1 + 1e-12)
    weights, biases = layout.weights(g)
    torch.testing.assert_close(weights, w, rtol=0, atol=1e-13 * 8)
    if mapping.bias_rows:
        assert biases is not None
        torch.testing.assert_close(biases, b, rtol=0, atol=1e-13 * 8)
    else:
        assert biases is None


@given(mapping=mappings, size=sizes, seed=st.integers(0, 1000))
def test_products_of_ideal_arrays_are_those_of_the_matrix(
    mapping: Mapping, size: tuple[int, int], seed: int
) -> None:
    w, b, x = normal(seed, *size), normal(seed + 1, size[0]), normal(seed + 2, 5, size[1])
    layout = mapping.layout(w, b, WINDOW)
    out = layout.product(layout.conductances(w, b), x)
    wanted = linear(x, w, b if mapping.bias_rows else None)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-12 * float(1 + wanted.abs().max()))


@settings(max_examples=20)
@given(mapping=mappings, seed=st.integers(0, 1000))
def test_product_from_the_exported_positions_is_that_of_the_layout(
    mapping: Mapping, seed: int
) -> None:
    # Each array alone, as a chip has it: volts on its rows, currents out of its columns.
    w, b, x = normal(seed, 4, 5), normal(seed + 1, 4), normal(seed + 2, 5)
    layout = mapping.layout(w, b, WINDOW)
    g = WINDOW.g_min + WINDOW.span * torch.rand(layout.shape, generator=generator(seed)).double()
    place = positions(layout)
    volts = torch.cat([x, torch.ones(mapping.bias_rows)]).numpy()
    sign = np.where(place["rail"] == "+", 1.0, -1.0)
    currents: dict[tuple[int, ...], float] = {}
    keys = zip(*(place[k] for k in ("slice", "tile_row", "tile_column", "column")), strict=True)
    flows = g.flatten().numpy() * volts[place["input"]] * sign
    for key, flow in zip(keys, flows, strict=True):
        currents[tuple(map(int, key))] = currents.get(tuple(map(int, key)), 0.0) + flow
    out = np.zeros(4)
    scheme = mapping.scheme
    unit = 1 / scheme.step(WINDOW) * (2 if isinstance(scheme, Balanced) else 1)
    if isinstance(scheme, Split):
        unit = WINDOW.span
    outputs = {
        (int(a), int(c)): int(o)
        for a, c, o in zip(place["tile_column"], place["column"], place["output"], strict=True)
    }
    for (s, tile_row, array, column), current in currents.items():
        output = outputs[array, column]
        if output < 0:
            continue
        start, stop = layout.inputs[tile_row]
        if isinstance(scheme, MidRail):
            current -= scheme.reference(WINDOW) * volts[start:stop].sum()
        if isinstance(scheme, OffsetColumn):
            last = max(c for a, c in outputs if a == array)
            current -= currents[s, tile_row, array, last]
        out[output] += mapping.slicing.significances[s] * current / unit
    wanted = layout.product(g, x[None])[0] / layout.scale[:, 0]
    np.testing.assert_allclose(out, wanted.numpy(), rtol=0, atol=1e-10)


def test_positions_are_distinct_and_within_the_largest_array() -> None:
    for scheme in SCHEMES:
        mapping = Mapping(scheme, slicing=Equal(2), tiling=Tiling(6, 4))
        layout = mapping.layout(normal(0, 7, 9), None, WINDOW)
        place = positions(layout)
        names = ("slice", "tile_row", "tile_column", "row", "column")
        assert len(set(zip(*(place[k].tolist() for k in names), strict=True))) == len(place["row"])
        assert place["row"].max() == 5
        assert place["column"].max() == 3


def test_a_pair_is_split_by_the_sign_of_its_weight() -> None:
    w = torch.tensor([[0.5, -1.0, 0.0]], dtype=torch.float64)
    layout = Mapping(bias_rows=0).layout(w, None, WINDOW)
    plus, minus = layout.conductances(w)[0]
    torch.testing.assert_close(plus, torch.tensor([[21.0, 1, 1]], dtype=torch.float64) * US)
    torch.testing.assert_close(minus, torch.tensor([[1.0, 41, 1]], dtype=torch.float64) * US)


def test_positional_digits_are_levels_and_the_last_holds_the_rest() -> None:
    w = torch.linspace(-1, 1, 41, dtype=torch.float64)
    digits = Positional(3, 4).encode(w)
    assert float(digits.abs().max()) <= 1
    torch.testing.assert_close(digits[:2] * 4, (digits[:2] * 4).round(), rtol=0, atol=1e-12)
    # 27 / 64 = 1 / 4 + 2 / 16 + 3 / 64 in base 4.
    found = Positional(3, 4).encode(torch.tensor(27 / 64, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))


def test_equal_slices_average_the_errors_of_their_devices() -> None:
    w = normal(0, 100, 100)
    single, many = (Mapping(slicing=Equal(n), bias_rows=0).layout(w, None, WINDOW) for n in (1, 16))
    errors = []
    for layout in (single, many):
        g = layout.conductances(w)
        noise = US * torch.randn(g.shape, dtype=torch.float64, generator=generator(1))
        errors.append(float((layout.weights(g + noise)[0] - w).std()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.03)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("slicing", [Equal(), Equal(2)])
def test_one_step_of_pulses_moves_each_weight_by_the_step_of_the_scheme(
    scheme: Scheme, slicing: Slicing
) -> None:
    w = 0.2 * normal(3, 4, 5).clamp(-1, 1)
    layout = Mapping(scheme, Fixed(1.0), slicing, Tiling(columns=3), bias_rows=0).layout(
        w, None, WINDOW
    )
    steps = torch.ones(len(slicing.significances), 4, 5, dtype=torch.int64)
    steps[:, 1] = -1
    pulses = scheme.pulses(steps, layout.outputs)
    assert tuple(pulses.shape) == layout.shape
    before = layout.conductances(w)
    moved = layout.decode(before + 0.1 * US * pulses.double()) - layout.decode(before)
    wanted = 0.1 * US * scheme.step(WINDOW) * steps[0].double()
    torch.testing.assert_close(moved, wanted, rtol=0, atol=1e-12)
    if isinstance(scheme, Split) and scheme.one_way:
        assert int(pulses.min()) == 0


def test_independent_variances_are_those_of_a_monte_carlo() -> None:
    for scheme in (Split(), Balanced(), MidRail(0.4)):
        layout = Mapping(scheme, slicing=Positional(2, 3), bias_rows=0).layout(
            torch.ones(1, 100_000, dtype=torch.float64), None, WINDOW
        )
        noise = US * torch.randn(layout.shape, dtype=torch.float64, generator=generator(2))
        middle = torch.full(layout.shape, 20 * US, dtype=torch.float64)
        v = scheme.variance(torch.full(layout.shape, US**2, dtype=torch.float64), WINDOW)
        assert v is not None
        predicted = float(layout.mapping.slicing.variance(v).mean().sqrt())
        spread = float((layout.decode(middle + noise) - layout.decode(middle)).std())
        assert spread == pytest.approx(predicted, rel=0.02)


def test_weights_beyond_the_window_are_refused_without_scaling() -> None:
    w = torch.tensor([[0.5, 0.1], [0.2, -1.25]], dtype=torch.float64)
    with pytest.raises(UserError, match=r"weight \[1, 1\] = -1.25 .* -1 to 1; scale the weights"):
        Mapping(scale=Fixed()).layout(w, None, WINDOW)
    layout = Mapping(scale=PerColumn()).layout(w, None, WINDOW)
    with pytest.raises(UserError, match=r"weight \[0, 0\] = 1 is outside .* -0.5 to 0.5"):
        layout.conductances(2 * w)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mapping(bias_rows=-1), "-1 bias rows; 0 or more"),
        (lambda: PerLayer(0.5), "headroom 0.5: .* >= 1"),
        (lambda: Fixed(0.0), "largest weight 0: .* > 0"),
        (lambda: MidRail(1.0), "place of the reference in the window 1: .* <= 0.99"),
        (lambda: Equal(0), "0 slices a weight; 1 or more"),
        (lambda: Positional(2, 1), "base 1 of sliced weights; 2 or more"),
        (lambda: Tiling(rows=0), "arrays of 0 rows; 1 or more"),
        (lambda: _layout(Tiling(rows=1)), "arrays of 1 rows: too few for 2 rails"),
        (
            lambda: _layout(Tiling(columns=1), OffsetColumn()),
            "arrays of 1 columns: too few for 1 reference and 1 output",
        ),
        (lambda: Mapping().matrix(torch.ones(3)), r"weights of shape \(3,\)"),
        (lambda: Mapping().matrix(torch.ones(3, 2), torch.ones(2)), r"biases of shape \(2,\)"),
        (
            lambda: Mapping().matrix(torch.tensor([[1.0, float("nan")]])),
            r"weight \[0, 1\] = nan; weights must be finite",
        ),
        (
            lambda: _layout(Tiling()).weights(torch.ones(2)),
            r"conductances of \(2,\) for arrays of \(1, 2, 2, 3\)",
        ),
        (
            lambda: _layout(Tiling()).product(torch.ones(1, 2, 2, 3), torch.ones(1, 3)),
            "3 inputs for arrays of 2",
        ),
        (
            lambda: table(_layout(Tiling()), torch.ones(2), DeviceModel(WINDOW)),
            r"targets of \(2,\)",
        ),
        (
            lambda: pulses_to(torch.ones(1), DeviceModel(WINDOW)),
            r"no pulsed update; its card needs a section \[pulse\]",
        ),
    ],
)
def test_what_makes_no_mapping_is_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(UserError, match=message):
        make()


def _layout(tiling: Tiling, scheme: Scheme | None = None) -> Layout:
    w = torch.ones(2, 2, dtype=torch.float64)
    return Mapping(scheme or Split(), tiling=tiling).layout(w, None, WINDOW)


@pytest.mark.parametrize(
    "pulses",
    [
        Pulses(LinearStep(step=0.02)),
        Pulses(
            LinearStep(step=0.02, gamma_up=0.5, gamma_down=0.6), device_spread=0.2, cycle_spread=0.3
        ),
        Pulses(SoftBounds(0.05)),
        Pulses(
            Exponential(pulses_up=80, pulses_down=60, curvature_up=0.5, curvature_down=0.4),
            w_min=0.0,
            w_max=1.0,
        ),
    ],
)
def test_exported_pulses_take_the_mean_device_to_within_half_a_step(pulses: Pulses) -> None:
    model = DeviceModel(WINDOW, pulses=pulses)
    mean = model.without("pulse spread", "pulse noise")
    for start in (WINDOW.g_min, 20 * US):
        target = WINDOW.g_min + WINDOW.span * torch.linspace(0.05, 0.9, 30).double()
        counts = pulses_to(target, model, start)
        begin = mean.program(torch.full_like(target, start))
        reached = begin.pulse(counts).g
        for other in (-1, 1):  # one pulse more or less is farther away
            beyond = begin.pulse(counts + other).g
            assert bool(((beyond - target).abs() >= (reached - target).abs() - 1e-12).all())
    assert int(counts.min()) < 0 < int(counts.max())


def test_no_pulses_are_sent_where_they_would_change_nothing() -> None:
    model = DeviceModel(WINDOW, pulses=Pulses(LinearStep(step=0.002)))
    ends = torch.tensor([WINDOW.g_min, WINDOW.g_max], dtype=torch.float64)
    assert pulses_to(ends, model).tolist() == [0, 1000]
    assert pulses_to(ends, model, WINDOW.g_max).tolist() == [-1000, 0]


def test_files_hold_every_device_with_its_target_and_how_to_get_there(tmp_path: Path) -> None:
    programming = WriteVerify(Curve.polynomial(0.5 * US), acceptance=0.05, limit=30)
    pulses = Pulses(LinearStep(step=0.01))
    model = DeviceModel(WINDOW, programming=programming, pulses=pulses)
    w, b = normal(0, 3, 4), normal(1, 3)
    layout = Mapping(tiling=Tiling(6, 2)).layout(w, b, WINDOW)
    target = layout.conductances(w, b)
    devices = model.program(target, generator(0))
    columns = table(layout, target, model, devices)
    path = write_csv(tmp_path / "layer1.csv", columns)
    write_csv(path, columns)  # a second time, over the first
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == target.numel()
    g = torch.tensor([float(row["target (S)"]) for row in rows], dtype=torch.float64)
    weights, biases = layout.weights(g.reshape(layout.shape))
    torch.testing.assert_close(weights, w, rtol=0, atol=1e-13)
    assert biases is not None
    torch.testing.assert_close(biases, b, rtol=0, atol=1e-13)
    inside = [
        float(row["lowest (S)"]) <= float(row["programmed (S)"]) <= float(row["highest (S)"])
        for row in rows
    ]
    assert devices.accepted is not None
    assert inside == devices.accepted.flatten().tolist()
    assert {row["attempts"] for row in rows} == {"30"}
    record = records.read(write_hdf5(tmp_path / "chip.h5", {"layer1": columns}))
    np.testing.assert_array_equal(record.array("layer1/target", units="S"), g.numpy())
    assert record.array("layer1/pulses").max() == 200


def test_files_are_refused_where_they_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no/a.csv: can't be written"):
        write_csv(tmp_path / "no" / "a.csv", {"row": np.arange(2)})


def test_targets_in_a_table_are_levels_of_the_device() -> None:
    model = DeviceModel(Window(1 * US, 41 * US, 5))
    w = normal(0, 3, 4)
    layout = Mapping().layout(w, None, model.window)
    found = table(layout, layout.conductances(w), model)["target"]
    levels = np.array([1, 11, 21, 31, 41]) * US
    assert np.abs(found[:, None] - levels).min(axis=1).max() < 1e-15


def test_a_card_can_be_mapped_in_every_scheme() -> None:
    window = DeviceCard.load("pcm_joshi2020").model().window
    w = normal(5, 6, 6)
    for scheme in SCHEMES:
        layout = Mapping(scheme).layout(w, None, window)
        torch.testing.assert_close(layout.weights(layout.conductances(w))[0], w)
