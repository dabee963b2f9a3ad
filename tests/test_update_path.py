"""The update path: what holds keep, and what pulses, multipliers and converters make of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from analogdfc.analysis.area import area
from analogdfc.analysis.energy import update_path, verifies
from analogdfc.arrays.converters import ADC
from analogdfc.cards.technology import Card
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticChip
from analogdfc.circuit.streams import standard_normal
from analogdfc.circuit.updates import path_noise
from analogdfc.comparison import UpdateDifference
from analogdfc.cost.estimate import estimate
from analogdfc.cost.figures import estimate_figure
from analogdfc.dynamics import Trajectory, Update
from analogdfc.errors import UserError
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.energy import measure_circuit
from analogdfc.spice.engines import get_simulator
from analogdfc.study import Model
from analogdfc.updating import CLEAR, Holds, LayerPath, Lines, UpdatePath
from analogdfc.updating.costs import CONVERSIONS, HOLDS, MODULATORS, MULTIPLIERS, VERIFIES, no_path
from analogdfc.updating.path import Held, Seen, coincidence, formed, held, products, quantised
from benchmarks._measure import Case, case

KINDS = ("pulses", "multiplier", "digital")
BOLTZMANN = 1.380649e-23


@cache
def card(kind: str) -> Card:
    return Card.load(f"update_{kind}")


def zeros(n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.float64)


def lines(n: int, offset: Tensor | None = None, gain: Tensor | None = None) -> Lines:
    one = torch.ones(n, dtype=torch.float64)
    return Lines("lines", "layer 1", zeros(n) if offset is None else offset,
                 one if gain is None else gain)  # fmt: skip


def holds(n: int, farads: float = 0.0, amperes: float = 0.0, coulombs: float = 0.0,
          lag: float = 0.0, rms: float = 0.0) -> Holds:  # fmt: skip
    return Holds("h", "layer 1", farads, zeros(n) + amperes, zeros(n) + coulombs, lag, rms)


def path_of(made: Card, hold: Holds, n: int, rows: int) -> UpdatePath:
    """One layer of inputs, all of whose holds are alike."""
    second = n if made.update_path == "multiplier" else rows
    layer = LayerPath(hold, hold, None, lines(n), lines(second))
    return UpdatePath(made, made.update_path, (layer,), (rows,))


@cache
def bare(kind: str) -> Card:
    """A card whose path has no imperfection."""
    made = card(kind)
    return made.without(*(n for n in made.imperfections if n != "update path"))


@settings(max_examples=12)
@given(current=st.floats(1e-15, 1e-10), seconds=st.floats(1e-6, 1e-3))
def test_a_held_value_falls_by_i_t_over_c(current: float, seconds: float) -> None:
    path = path_of(bare("pulses"), holds(2, 1e-12, amperes=current), 2, 3)
    still = Seen(zeros(2)[None], zeros(2)[None], zeros(2)[None], zeros(2)[None], zeros(2)[None])
    found = held(path, 1, still, unit=0.25, seconds=seconds, noise=None)
    # What the free phase left has fallen, so that the difference to it has grown.
    np.testing.assert_allclose(found.post, current * seconds / 1e-12, rtol=1e-12)
    np.testing.assert_allclose(found.post_rate, -current / 1e-12, rtol=1e-12)


def test_two_holds_that_lose_the_same_charge_cancel_and_one_alone_shifts_the_value() -> None:
    hold = holds(1, 1e-12, coulombs=2e-15)
    still = Seen(*(zeros(1)[None] for _ in range(5)))
    both = path_of(bare("pulses"), hold, 1, 2)
    assert float(held(both, 1, still, unit=1.0, seconds=1.0, noise=None).post) == 0
    alone = LayerPath(None, hold, None, lines(1), lines(2))
    one = UpdatePath(both.card, "pulses", (alone,), (2,))
    shifted = held(one, 1, still, unit=1.0, seconds=1.0, noise=None).post
    assert float(shifted) == pytest.approx(-2e-3)


def test_noise_of_held_values_has_the_variance_of_two_times_kt_over_c() -> None:
    n, farads, kelvin = 20_000, 0.5e-12, 350.0
    made = bare("pulses").replace("hold", capacitor=farads, temperature=kelvin)
    chip = Chip.of(case((2, 2), 0, 1).on(made).design, 3)
    assert chip.circuit.update is not None
    rms = chip.circuit.update.layers[0].post.rms
    path = path_of(made, holds(n, farads, rms=rms), n, 3)
    free = LayerPath(
        Holds("free", "layer 1", farads, zeros(n), zeros(n), 0.0, rms),
        path.layers[0].post, None, lines(n), lines(3),
    )  # fmt: skip
    path = UpdatePath(made, "pulses", (free,), (3,))
    still = Seen(zeros(n)[None], zeros(n)[None], zeros(n)[None], zeros(2)[None], zeros(2)[None])
    found = held(path, 1, still, unit=1.0, seconds=1.0,
                 noise=lambda name, shape: standard_normal(0, name, shape)).post  # fmt: skip
    # The free phase's and the controlled phase's value have noise of their own.
    assert float(found.var()) == pytest.approx(2 * BOLTZMANN * kelvin / farads, rel=0.04)


def test_a_hold_is_behind_a_ramp_by_its_time_constant() -> None:
    lag, slope = 1e-8, 3e4
    t = np.linspace(0, 20 * lag, 10_001)
    v = np.zeros_like(t)
    for k in range(1, len(t)):  # dv/dt = (slope t - v) / lag
        v[k] = v[k - 1] + (t[k] - t[k - 1]) * (slope * t[k - 1] - v[k - 1]) / lag
    path = path_of(bare("pulses"), holds(1, 1e-12, lag=lag), 1, 2)
    rising = Seen(zeros(1)[None], zeros(1)[None] + slope * t[-1], zeros(1)[None] + slope,
                  zeros(1)[None], zeros(1)[None])  # fmt: skip
    found = held(path, 1, rising, unit=1.0, seconds=1.0, noise=None).post
    assert float(found) == pytest.approx(v[-1], rel=2e-4)


@settings(max_examples=12)
@given(
    post=st.lists(st.floats(-0.07, 0.07), min_size=2, max_size=3),
    pre=st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=2),
    droop=st.floats(-2e3, 2e3),
    slots=st.integers(1, 12),
)
def test_coincidence_is_the_time_in_which_both_comparators_are_on(
    post: list[float], pre: list[float], droop: float, slots: int
) -> None:
    made = bare("pulses").replace("pulses", slots=slots, span=1e-6)
    path = path_of(made, holds(len(post)), len(post), len(pre))
    rate = [-droop * np.sign(v) for v in post]  # towards 0, else away from it
    both = Held(torch.tensor([post], dtype=torch.float64), torch.tensor(rate).double(),
                torch.tensor([pre], dtype=torch.float64), zeros(len(pre)))  # fmt: skip
    found = coincidence(path, path.layers[0], both)[0]
    count = 12_000
    t = (np.arange(count) + 0.5) / count * 1e-6
    slot = 1e-6 / slots
    within = (t % slot) / (slot * (1 - CLEAR))
    values = np.abs(np.array(post)[:, None]) - droop * (t // slot * slot + t % slot)
    column = (values > 0.05 * within) & (within < 1)
    row = np.abs(np.array(pre)[:, None]) > 0.25 * t / 1e-6
    signs = np.sign(post)[:, None] * np.sign(pre)
    expected = signs * (column[:, None] & row).mean(axis=2) / (1 - CLEAR)
    np.testing.assert_allclose(found, expected, atol=4e-3)


@settings(max_examples=12)
@given(st.floats(-0.05, 0.05), st.floats(-0.25, 0.25))
def test_without_imperfections_every_kind_multiplies(x: float, y: float) -> None:
    both = Held(
        torch.tensor([[x]], dtype=torch.float64),
        zeros(1),
        torch.tensor([[y]], dtype=torch.float64),
        zeros(1),
    )
    for kind in KINDS:
        path = path_of(bare(kind), holds(1), 1, 1)
        assert float(formed(path, 1, both, None)) == pytest.approx(x * y, abs=1e-12)


@settings(max_examples=12)
@given(st.lists(st.floats(-0.08, 0.08), min_size=1, max_size=8), st.sampled_from([4, 8, 10]))
def test_converters_give_the_codes_of_a_converter(values: list[float], bits: int) -> None:
    volts = torch.tensor(values, dtype=torch.float64)
    found = quantised(volts, 0.05, 2**bits)
    torch.testing.assert_close(found, ADC(bits=bits, range=0.05)(volts), rtol=0, atol=1e-15)


def test_a_row_leaves_a_part_of_its_product_to_the_next() -> None:
    made = bare("multiplier").replace("multiplier", settling=8e-8, row_time=2e-7)
    path = path_of(made, holds(1), 1, 4)
    pre = [0.2, -0.1, 0.05, 0.25]
    both = Held(
        torch.tensor([[0.03]], dtype=torch.float64),
        zeros(1),
        torch.tensor([pre], dtype=torch.float64),
        zeros(4),
    )
    found = products(path, path.layers[0], both)[0, 0]
    m, seen, parts = 0.0, [], 20_000
    for y in pre:
        for _ in range(parts):
            m += 2e-7 / parts * (0.03 * y / 0.25 - m) / 8e-8
        seen.append(m)
    np.testing.assert_allclose(found, seen, rtol=5e-4)


def test_offsets_and_gains_of_multipliers_enter_before_the_product() -> None:
    made = bare("multiplier")
    layer = LayerPath(None, holds(1), None, lines(1, zeros(1) + 1e-3, zeros(1) + 1.01),
                      lines(1, zeros(1) - 2e-3))  # fmt: skip
    path = UpdatePath(made, "multiplier", (layer,), (1,))
    both = Held(
        torch.tensor([[0.02]], dtype=torch.float64),
        zeros(1),
        torch.tensor([[0.1]], dtype=torch.float64),
        zeros(1),
    )
    assert float(formed(path, 1, both, None)) == pytest.approx(1.01 * 0.021 * 0.098)


# In the realisations


class Runs(NamedTuple):
    """A chip of each kind of path, and one without imperfections of its path, run together."""

    here: Case
    chips: dict[str, Chip]
    recorded: dict[str, Trajectory]
    averages: dict[str, Update]


@pytest.fixture(scope="module")
def runs() -> Runs:
    here = case((3, 3, 2), 0, 1)
    cards = {**{kind: card(kind) for kind in KINDS}, "exact": bare("pulses")}
    exact = here.on(cards["exact"]).design
    chips = {kind: Chip.of(here.on(made).design, 1) for kind, made in cards.items()}
    chips["exact"] = Chip.of(exact, 1)
    model = Behavioural([*chips.values()], tolerance=2e-5)
    recorded = model.run(here.x, here.step, dt=0.1, steps=200)
    averages = model.average(here.x, here.step, dt=0.1, steps=200)
    return Runs(
        here,
        chips,
        dict(zip(chips, recorded, strict=True)),
        dict(zip(chips, averages, strict=True)),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_averages_and_records_and_the_chip_at_rest_have_one_update_path(
    runs: Runs, kind: str
) -> None:
    static = StaticChip.of(runs.chips[kind])
    state = static.solve(runs.here.x, runs.here.step)
    rest = static.update(state)
    found = Update.of(runs.recorded[kind]).flat()
    # A product may lie at the edge of two of the converters' codes.
    allowed = {"pulses": 1e-3, "multiplier": 5e-3, "digital": 5e-3}[kind]
    for update in (runs.averages[kind], rest):
        assert UpdateDifference.of(found, update.flat()).error < allowed
    torch.testing.assert_close(static.gradient(state).flat(), rest.flat())


def test_a_path_without_imperfections_is_the_product_of_what_the_end_has(runs: Runs) -> None:
    recorded = runs.recorded["exact"]
    read = recorded.read
    assert read is not None
    last, free = recorded.neurons, recorded.free
    for i, below in enumerate((recorded.x, last.r[0][:, -1])):
        d = (last.r[i] - last.r_ff[i])[:, -1] - (free.r[i] - free.r_ff[i])
        torch.testing.assert_close(read.weights[i], d[:, :, None] * below[:, None])
        torch.testing.assert_close(read.biases[i], d)


def test_the_noise_of_a_path_follows_from_the_seed_and_the_inputs(runs: Runs) -> None:
    chip, recorded = runs.chips["pulses"], runs.recorded["pulses"]
    draw = path_noise(chip, recorded.x)
    other = path_noise(chip, recorded.x + 1e-12)
    assert draw is not None
    assert other is not None
    assert not torch.equal(draw("a", (3,)), other("a", (3,)))
    again = path_noise(Chip.of(chip.design, chip.seed), recorded.x.clone())
    assert again is not None
    assert torch.equal(draw("a", (3,)), again("a", (3,)))
    assert not torch.equal(draw("a", (3,)), draw("b", (3,)))
    assert path_noise(Chip.of(chip.design), recorded.x) is None


def test_each_imperfection_of_the_path_is_a_cause() -> None:
    named = {"pulses": 9, "multiplier": 10, "digital": 9}
    for kind, count in named.items():
        found = [n for n in card(kind).imperfections if n.startswith(("hold", "update"))]
        assert len(found) == count
        assert not [n for n in Card.load("discrete_100mhz").imperfections if "update" in n]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[multiplier]", r"\[pulses\] and \[multiplier\] both form the update"),
        ("[hold]\ndroop", r"\[hold\] droop takes effect on a capacitor"),
        ("injection", r"injection = 1e-12 C moves capacitor"),
        (
            "[pulses]\nslots",
            r"\[pulses\] span and largest_difference and largest_activation: missing",
        ),
    ],
)
def test_a_path_that_cannot_be_is_refused_by_name(text: str, said: str) -> None:
    whole = card("pulses").text
    if text == "[multiplier]":
        whole += '\n[multiplier]\nrow_time = { value = 1, unit = "us", source = "assumed" }\n'
    elif text == "injection":
        whole = whole.replace('value = 1, unit = "fC"', 'value = 1, unit = "pC"')
    else:
        head = whole[: whole.index("[hold]")]
        value = '{ value = 1, unit = "%s", source = "assumed" }'
        whole = head + f"{text} = " + value % ("pA" if "droop" in text else "1") + "\n"
    with pytest.raises(UserError, match=said):
        Card.parse(whole)


# What it costs


def test_pulses_take_what_their_supplies_and_lines_take() -> None:
    here = case((3, 4, 2), 0, 1).on(card("pulses"))
    found = update_path(Chip.of(here.design), 1e-4)
    assert not found.unknown
    supply = 2 * 1.65
    # Layer 1: free and controlled differences; layer 2: activations below too.
    held = 4 + 4 + 2 + 2 + 4
    joules = found.by_component()
    assert float(joules[HOLDS]) == pytest.approx(held * supply * 5e-6 * (1e-4 + 3.2e-6))
    lines = (4 + 4) + (2 + 5)
    pulses = (4 + 2) * 32 + 4 + 5
    each = lines * supply * 10e-6 * 3.2e-6 + pulses * supply * 0.1e-12
    assert float(joules[MODULATORS]) == pytest.approx(each)
    assert area(here.design).by_component()[HOLDS] == pytest.approx(held * 1500e-12)


def test_a_path_that_the_card_does_not_describe_is_unknown_by_name() -> None:
    without = case((3, 2), 0, 1)
    found = update_path(Chip.of(without.design), 1e-4)
    assert found.unknown == no_path()
    assert not found.items
    half = without.on(card("multiplier").replace("multiplier", conversion=None))
    lacks = update_path(Chip.of(half.design), 1e-4)
    assert lacks.unknown == {CONVERSIONS: "[multiplier] conversion missing"}


def test_a_look_follows_every_pulse_of_a_verified_write() -> None:
    here = case((3, 4, 2), 0, 1).on(card("digital"))
    found = verifies(here.design, (10.0, 2.5))
    assert float(found.total) == pytest.approx(12.5 * 0.3e-12)
    assert not verifies(here.on(card("pulses")).design, (1.0, 1.0)).items
    without = here.on(card("digital").replace("digital", verify=None)).design
    assert verifies(without, (1.0, 1.0)).unknown == {VERIFIES: "[digital] verify missing"}
    billed = estimate(here.design, 0, here.x, here.step, method="closed form", limits=False)
    assert billed.pulses is not None
    looked = float(billed.energy.by_component()[VERIFIES])
    assert looked == pytest.approx(sum(billed.pulses) * 0.3e-12)
    assert estimate_figure(billed, ()).axes


# In ngspice


@pytest.mark.parametrize("kind", KINDS)
def test_the_circuit_reads_the_update_from_its_own_nodes_as_the_model_forms_it(
    runs: Runs, kind: str
) -> None:
    here, fewer = runs.here, card(kind)
    if kind == "pulses":
        fewer = fewer.replace("pulses", slots=2)
    here = here.on(fewer)
    chip = Chip.of(here.design, 1)
    circuit = Circuit(chip, "macro", get_simulator("batch")).run(
        here.x, here.step, dt=0.1, steps=200, tolerances=[30.0], longest=0.2
    )
    (model,) = Behavioural([chip], tolerance=2e-5).run(here.x, here.step, dt=0.1, steps=200)
    assert circuit.read is not None
    found = UpdateDifference.of(circuit.read.flat(), Update.of(model).flat())
    assert found.error < 0.005
    assert found.angle < 0.2
    # Read from pulses, products and held values, not from the waveforms of the neurons.
    waves = Update.of(replace(circuit, read=None)).flat()
    assert UpdateDifference.of(circuit.read.flat(), waves).error > 0.005


@pytest.mark.parametrize("kind", ["pulses", "multiplier"])
def test_cells_of_the_path_take_in_ngspice_what_an_estimate_says(runs: Runs, kind: str) -> None:
    made = card(kind).replace("pulses", slots=2) if kind == "pulses" else card(kind)
    here = runs.here.on(made)
    chip = Chip.of(here.design, 1)
    # Little but pulses, or the currents of the holds would hide what those take.
    metered = measure_circuit(chip, here.x, here.step, get_simulator("batch"), duration=0.5)
    torch.testing.assert_close(metered.energy.total, metered.drawn, rtol=1e-8, atol=0)
    found = metered.energy.by_component()
    expected = update_path(chip, 0.5 * here.design.seconds).by_component()
    for name in (HOLDS, MODULATORS if kind == "pulses" else MULTIPLIERS):
        torch.testing.assert_close(expected[name], found[name], rtol=0.005, atol=0)


def test_every_pulse_of_a_slot_is_as_long_as_its_ramp_says() -> None:
    # A time step over the end of one of 32 pulses would make its column's update 3 % larger.
    here = case((3, 4, 2), 0, 1).on(card("pulses"))
    (model,) = here.run(Model(seed=3)).runs.values()
    found = here.parity(here.circuit(3, "macro"), model)
    assert found.updates["1"].error < 0.005
