"""The energy of a settle in closed form against the waveforms', and its parts against Kirchhoff."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from strategies import network_of, normal
from torch import Tensor

from analogdfc.analysis.energy import Energy, _path
from analogdfc.analysis.energy.closed import closed_form
from analogdfc.analysis.energy.meter import Metered, measure
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design, Readout
from analogdfc.circuit.static import StaticChip
from analogdfc.controller import PD, PI, PID, Controller, I, P
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network

CARD = Card.load("discrete_100mhz")
DURATION = 20.0


def design_of(
    sizes: tuple[int, ...],
    card: Card = CARD,
    pi: Controller | None = None,
    readout: Readout | None = None,
) -> Design:
    network = network_of(sizes, seed=1)
    feedback = DirectFeedback.transposed(network)
    return Design.of(network, feedback, card, controller=pi, readout=readout)


def inputs_of(sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return normal(2, 2, sizes[0]), 0.15 * normal(3, 2, sizes[-1]).sign()


def closed(design: Design, seed: int | None, duration: float = DURATION) -> Energy:
    chip = StaticChip.of(Chip.of(design, seed))
    state = chip.solve(*inputs_of(design.sizes))
    return closed_form(chip, state, duration=duration * design.seconds)


def metered(design: Design, seed: int | None, duration: float = DURATION) -> Metered:
    (found,) = measure([Chip.of(design, seed)], *inputs_of(design.sizes), duration=duration)
    return found


def check(ours: Energy, theirs: Metered, total: float, item: float) -> None:
    assert ours.items.keys() == theirs.energy.items.keys()
    torch.testing.assert_close(ours.total, theirs.energy.total, rtol=total, atol=0)
    torch.testing.assert_close(ours.total, theirs.drawn, rtol=total, atol=0)
    for key, joules in theirs.energy.items.items():
        # What is nothing: wires and lines of a card without any, a linear output's tanh cells.
        atol = 1e-13 * float(theirs.energy.total.max())
        torch.testing.assert_close(ours.items[key], joules, rtol=item, atol=atol, msg=str(key))


@cache
def both(sizes: tuple[int, ...], seed: int) -> tuple[Energy, Metered]:
    design = design_of(sizes)
    return closed(design, seed), metered(design, seed)


def test_inputs_of_tanh_cells_take_what_the_amplifiers_before_them_give() -> None:
    loaded = CARD.replace("tanh", input_resistance=30e3, scale=0.28, peak_current=2.3e-6)
    design = design_of((3, 4, 2), loaded)
    ours, theirs = closed(design, 0), metered(design, 0)
    check(ours, theirs, total=1e-3, item=0.01)
    without = closed(design_of((3, 4, 2), loaded.replace("tanh", input_resistance=None)), 0)
    assert float((ours.total / without.total).max()) > 1.001


@pytest.mark.parametrize(("sizes", "seed"), [((3, 4, 2), 1), ((3, 4, 2), 2), ((16, 10, 10), 1)])
def test_every_item_is_that_of_the_waveforms(sizes: tuple[int, ...], seed: int) -> None:
    check(*both(sizes, seed), total=1e-4, item=0.01)


@pytest.mark.parametrize("sizes", [(3, 4, 2), (8, 7, 6, 5), (5, 3)])
def test_a_short_run_which_has_not_settled_too(sizes: tuple[int, ...]) -> None:
    design = design_of(sizes)
    check(closed(design, 1, 2.0), metered(design, 1, 2.0), total=1e-4, item=0.05)


@pytest.mark.parametrize(
    ("card", "pi", "readout"),
    [
        (CARD.without("wire resistance", "line capacitance"), PI(0.5, 0.05), None),
        (CARD.replace("wire", word=100.0, bit=100.0), None, Readout(auto_zero=False)),
        (CARD.replace("wire", word=300.0, bit=200.0, rows=4, columns=3), None, None),
        (CARD.replace("amplifier", gain=300.0), PI(2.0, 0.0), Readout(relative_target=False)),
    ],
)
def test_other_cards_controllers_and_readouts(
    card: Card, pi: PI | None, readout: Readout | None
) -> None:
    design = design_of((3, 4, 2), card, pi, readout)
    check(closed(design, 1, 5.0), metered(design, 1, 5.0), total=1e-4, item=0.05)


@pytest.mark.parametrize(
    ("controller", "hidden", "output"),
    [
        (P(2.0), "tanh", "linear"),
        (I(0.01), "tanh", "linear"),
        (PI(1.0, 0.1, leak="integral"), "tanh", "linear"),
        (PD(2.0), "tanh", "linear"),
        (PID(), "linear", "tanh"),
        (PID(k_p=1.0, alpha=0.1, leak="integral"), "tanh", "tanh"),
        (PI(), "linear", "linear"),
    ],
)
def test_every_item_of_other_controllers_and_neurons_is_that_of_the_waveforms(
    controller: Controller, hidden: str, output: str
) -> None:
    network = Network((3, 4, 2), hidden, output)
    network.load_state_dict(network_of((3, 4, 2), seed=1).state_dict())
    feedback = DirectFeedback.transposed(network)
    design = Design.of(network, feedback, CARD, controller=controller)
    chip, (x, step) = Chip.of(design, 1), inputs_of(design.sizes)
    x, step = 0.5 * x, step / 3  # within reach of a tanh output
    static = StaticChip.of(chip)
    ours = closed_form(static, static.solve(x, step), duration=DURATION * design.seconds)
    (theirs,) = measure([chip], x, step, duration=DURATION)
    check(ours, theirs, total=1e-5, item=0.02)


def test_the_energy_of_ideal_amplifiers_is_that_of_the_waveforms() -> None:
    design = design_of((3, 4, 2), CARD.ideal())
    check(closed(design, None, 5.0), metered(design, None, 5.0), total=1e-4, item=0.05)


def test_more_points_on_the_way_change_little(monkeypatch: pytest.MonkeyPatch) -> None:
    design = design_of((3, 4, 2))
    before = closed(design, 1)
    monkeypatch.setattr(_path, "POINTS", 2 * _path.POINTS)
    after = closed(design, 1)
    for key, joules in before.items.items():
        torch.testing.assert_close(joules, after.items[key], rtol=2e-3, atol=0)


def test_a_chip_that_stays_free_takes_a_constant_power() -> None:
    design = design_of((3, 4, 2))
    chip = StaticChip.of(Chip.of(design, 1))
    state = chip.solve(*inputs_of(design.sizes))
    idle = replace(
        state, rest_pass=state.free_pass, rest_control=state.free_control, goal=state.free.v[-1]
    )
    once, twice = (closed_form(chip, idle, duration=t) for t in (1e-5, 2e-5))
    torch.testing.assert_close(twice.total, 2 * once.total, rtol=1e-7, atol=0)
    stored = once.by_component()["integrator capacitors"].abs() / once.total
    assert float(stored.max()) < 1e-9


@pytest.mark.parametrize(
    ("sizes", "controller"),
    [
        ((3, 2), PI()),
        ((3, 4, 2), PI()),
        ((3, 4, 5, 3, 2), PI()),
        ((3, 4, 2), P(2.0)),
        ((3, 4, 2), PID()),
        ((3, 4, 2), PI(1.0, 0.1, leak="integral")),
    ],
)
def test_a_chip_that_stays_free_takes_what_one_without_a_target_step_takes(
    sizes: tuple[int, ...], controller: Controller
) -> None:
    design = design_of(sizes, pi=controller)
    chip, (x, step) = Chip.of(design, 1), inputs_of(sizes)
    static = StaticChip.of(chip)
    state = static.solve(x, step)
    idle = replace(
        state, rest_pass=state.free_pass, rest_control=state.free_control, goal=state.free.v[-1]
    )
    ours = closed_form(static, idle, duration=design.seconds)
    (theirs,) = measure([chip], x, torch.zeros_like(step), duration=1.0)
    for key, joules in theirs.energy.items.items():
        atol = 1e-7 * float(theirs.drawn.max())
        torch.testing.assert_close(ours.items[key], joules, rtol=1e-4, atol=atol, msg=str(key))


def test_a_refolded_chip_takes_what_the_chip_of_its_weights_takes() -> None:
    design = design_of((5, 4, 2))
    other = replace(design, weights=tuple(0.6 * w for w in design.weights), scaling=False)
    x, step = inputs_of(design.sizes)
    found = []
    made = StaticChip.of(Chip.of(other, 1))
    refolded = StaticChip.of(Chip.of(design, 1)).refolded(other.weights, other.biases)
    for chip in (made, refolded):
        found.append(closed_form(chip, chip.solve(x, step), duration=1e-4))
    for key, joules in found[0].items.items():
        torch.testing.assert_close(found[1].items[key], joules, rtol=2e-3, atol=0, msg=str(key))


def test_a_loop_that_runs_away_has_no_closed_form() -> None:
    design = design_of((3, 4, 2))
    wrong = replace(design, feedback=tuple(-q for q in design.feedback))
    with pytest.raises(ConvergenceError, match=r"sample \d .* come to no rest state"):
        closed(wrong, 1)


def test_unrounded_weights_are_in_the_devices() -> None:
    design = design_of((3, 4, 2))
    chip = StaticChip.of(Chip.of(design))
    moved = tuple(w + 1e-3 for w in design.weights)  # a hundredth of a level and more
    fine = chip.refolded(moved, design.biases, rounded=False).devices(1)
    coarse = chip.refolded(moved, design.biases).devices(1)
    unit, least = design.weight_unit(1), design.card.device.g_min
    expected = least + unit * moved[0].clamp(min=0)
    torch.testing.assert_close(fine[0][:, :-1], expected, rtol=1e-12, atol=0)
    assert float((coarse[0][:, :-1] - expected).abs().max()) > 1e-3 * unit


def test_no_time_takes_no_energy() -> None:
    design = design_of((3, 4, 2))
    none, some = closed(design, 1, 0.0), closed(design, 1, 1.0)
    assert none.items.keys() == some.items.keys()
    assert none.total.tolist() == [0.0, 0.0]


def test_a_rest_beyond_the_rails_has_no_closed_form() -> None:
    # The waveforms stop at the rails, and take what they take there.
    design = design_of((3, 4, 2))
    weak = replace(design, feedback=tuple(0.02 * q for q in design.feedback))
    with pytest.raises(ConvergenceError, match=r"sample \d .* would need .* beyond .* 1\.5 V"):
        closed(weak, 1)


@pytest.mark.parametrize("duration", [-1.0, float("nan"), float("inf")])
def test_a_duration_that_is_none_is_refused(duration: float) -> None:
    with pytest.raises(UserError, match="duration"):
        closed(design_of((3, 4, 2)), 1, duration)
