"""Estimates: what they are made of, where they end, and what they say when they can't."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from strategies import network_of, normal
from torch import Tensor

from analogdfc.analysis.energy.items import CONVERTERS, QUIESCENT, WRITES
from analogdfc.analysis.energy.meter import measure
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.devices import Devices
from analogdfc.circuit.nodal import NodalEquations
from analogdfc.circuit.static import StaticChip
from analogdfc.cost.bandwidth import against_bandwidth
from analogdfc.cost.estimate import (
    CLOSED_FORM,
    WAVEFORMS,
    Estimate,
    energy_band,
    estimate,
    ideal_update,
)
from analogdfc.cost.sweep import BANDWIDTH, parameters, parse, sweep, varied
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import SteadyStateDFC
from analogdfc.updating.costs import no_path

CARD = Card.load("discrete_100mhz")


def design_of(card: Card = CARD) -> Design:
    network = network_of([3, 4, 2], seed=1)
    return Design.of(network, DirectFeedback.transposed(network), card)


def samples(count: int = 2) -> tuple[Tensor, Tensor]:
    return normal(2, count, 3), 0.15 * normal(3, count, 2).sign()


@pytest.fixture(scope="module")
def found() -> Estimate:
    return estimate(design_of(), 0, *samples())


def test_a_sample_is_free_phase_settle_and_border(found: Estimate) -> None:
    parts = found.free.total + found.settle.total + found.border.total
    assert found.joules == pytest.approx(float(parts), rel=1e-12)
    assert found.seconds == found.free_time + found.settle_time
    assert found.watts == pytest.approx(found.joules / found.seconds)
    assert found.method == WAVEFORMS


def test_the_settle_is_what_the_waveforms_take_for_as_long_as_the_update_needs(
    found: Estimate,
) -> None:
    x, step = samples()
    design = design_of()
    (metered,) = measure([Chip.of(design, 0)], x, step, duration=found.settle_time / design.seconds)
    assert float(found.settle.total) == pytest.approx(float(metered.drawn.mean()), rel=1e-9)
    slowest = found.settling.update_time(found.accuracy).max()
    assert found.settle_time == pytest.approx(float(slowest), rel=1e-12)


def test_the_behavioural_realisation_settles_when_the_prediction_says(found: Estimate) -> None:
    assert found.observed is not None
    torch.testing.assert_close(found.observed.control, found.settling.time, rtol=0.15, atol=0)
    predicted = found.settling.update_time(found.accuracy)
    torch.testing.assert_close(found.observed.update, predicted, rtol=0.02, atol=2e-9)


def test_the_closed_form_comes_to_the_same_within_a_tenth(found: Estimate) -> None:
    closed = estimate(design_of(), 0, *samples(), method=CLOSED_FORM, settling=found.settling)
    theirs = found.energy.by_component()
    for component, joules in closed.energy.by_component().items():
        assert float(joules) == pytest.approx(float(theirs[component]), rel=0.1), component


def test_a_stricter_accuracy_takes_longer_and_costs_more(found: Estimate) -> None:
    strict = estimate(design_of(), 0, *samples(), accuracy=0.1, settling=found.settling)
    assert strict.settle_time > found.settle_time
    assert strict.free_time > found.free_time
    assert strict.joules > found.joules


def test_a_settle_can_wait_for_the_control_signal_too(found: Estimate) -> None:
    longer = estimate(design_of(), 0, *samples(), until="control", settling=found.settling)
    assert longer.settle_time == pytest.approx(float(found.settling.time.max()))
    with pytest.raises(UserError, match="until 'morning': there are update, control"):
        estimate(design_of(), 0, *samples(), until="morning")


def test_amplifiers_are_counted_as_the_chip_has_them() -> None:
    assert (
        Chip.of(design_of()).circuit.amplifiers
        == NodalEquations.of(Chip.of(design_of())).amplifiers
    )


def test_the_ideal_update_is_that_of_the_learning_rule() -> None:
    network = network_of([3, 4, 2], seed=1)
    feedback = DirectFeedback.transposed(network)
    x, _ = samples(3)
    with torch.no_grad():
        y = network(x) + 0.3
    rule = SteadyStateDFC(network, feedback, target_stepsize=0.25)
    rule.backward(x, y)
    pairs = zip(network.weights, network.biases, strict=True)
    layers = [
        torch.cat([w.grad, b.grad.unsqueeze(-1)], dim=1).flatten()
        for w, b in pairs
        if w.grad is not None and b.grad is not None
    ]
    with torch.no_grad():
        step = rule.loss.target(network(x), y, 0.25) - network(x)
    design = Design.of(network, feedback, CARD, controller=rule.controller)
    torch.testing.assert_close(ideal_update(design, x, step), -torch.cat(layers))


# What the card doesn't say


def test_a_card_without_the_numbers_of_an_item_makes_it_unknown_and_says_so() -> None:
    card = CARD.replace("write", voltage=None).replace("converters", output_adc=None)
    other = estimate(design_of(card), 0, *samples())
    assert other.energy.unknown == {
        WRITES: "[write] voltage is missing",
        CONVERTERS: "[converters] output_adc is missing",
        **no_path(),
    }
    assert not {WRITES, CONVERTERS} & set(other.energy.by_component())
    levels = estimate(design_of(CARD.without("finite levels")), 0, *samples())
    lacks = "[device] levels is missing in the card, so the step of a pulse is unknown"
    assert levels.energy.unknown[WRITES] == lacks
    assert levels.pulses is None
    neither = estimate(design_of(card.without("finite levels")), 0, *samples())
    assert neither.energy.unknown[WRITES] == f"{lacks}; [write] voltage is missing"


def test_devices_of_neither_levels_nor_pulses_leave_the_writes_unknown_and_say_so() -> None:
    design = replace(design_of(CARD), devices=Devices.of("pcm_nandakumar2019"), scaling=True)
    found = estimate(design, 0, *samples())
    assert found.energy.unknown[WRITES] == (
        "[device] levels and [pulse] are missing in the card of the devices, "
        "so the step of a pulse is unknown"
    )
    assert found.pulses is None
    with_pulses = replace(design, devices=Devices.of("ecram_li_tang2018"))
    assert WRITES not in estimate(with_pulses, 0, *samples()).energy.unknown


def test_an_unstable_design_has_no_estimate_but_an_eigenvalue_and_a_remedy() -> None:
    slow = varied(design_of(), parse("bandwidth=1MHz"), 1e6)
    with pytest.raises(ConvergenceError, match=r"unstable: slowest mode \+.*gain-bandwidth above"):
        estimate(slow, 0, *samples())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"method": "guess"}, "method 'guess': there are waveforms, closed form"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0"),
        ({"accuracy": -1.0}, "accuracy = -1.0"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        estimate(design_of(), 0, *samples(), **options)


# The band of the supply current


def test_the_band_replaces_the_quiescent_current_by_that_of_a_rule(found: Estimate) -> None:
    band = energy_band(found)
    assert band is not None
    rest = found.joules - float(found.energy.by_component()[QUIESCENT])
    g_m = 2 * math.pi * 100e6 * 1e-12
    for joules, k, ratio in ((band.low, 2, 25), (band.high, 8, 15)):
        current = k * g_m / ratio
        idle = 2 * 1.65 * current * Chip.of(design_of()).circuit.amplifiers * found.seconds
        assert joules == pytest.approx(rest + idle)
    card = CARD.replace("amplifier", pole_capacitance=None)
    unknown = estimate(design_of(card), 0, *samples(), settling=found.settling)
    assert energy_band(unknown) is None


# Sweeps


def test_every_number_of_a_card_can_be_varied() -> None:
    known = parameters()
    assert known["amplifier.gain_bandwidth"] == "Hz"
    assert known["wire.capacitance"] == "F"
    assert set(known) - {BANDWIDTH} == {
        f"{section}.{key}"
        for section, keys in CARD.model_dump().items()
        if section != "card"
        for key in keys
    }


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("bandwidth=30MHz,1e8", "bandwidth", (30e6, 1e8)),
        ("gain_bandwidth = 1 GHz", "", ()),
        ("gain_bandwidth=1 GHz", "amplifier.gain_bandwidth", (1e9,)),
        ("wire.word=1,0.02kohm", "wire.word", (1.0, 20.0)),
        ("mismatch=0.01", "device.mismatch", (0.01,)),
    ],
)
def test_a_sweep_is_read_with_its_units(text: str, name: str, values: tuple[float, ...]) -> None:
    if not name:
        with pytest.raises(UserError, match="unknown"):
            parse(text)
        return
    found = parse(text)
    assert found.name == name
    assert found.values == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gain", "write NAME=VALUE"),
        ("gain=", "write NAME=VALUE"),
        ("gravity=1", "'gravity' is unknown; a card has bandwidth"),
        ("offset=1mV", "'offset' is ambiguous; a card has amplifier.offset, tanh.offset"),
        ("wire.capacitance=3 V", "'3 V' is not a value in F"),
        ("gain=much", "'much' is not a value in 1"),
    ],
)
def test_a_sweep_that_is_none_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        parse(text)


def test_the_amplifier_as_a_whole_takes_its_supply_current_along() -> None:
    other = varied(design_of(), parse("bandwidth=50MHz"), 50e6).card.amplifier
    assert other.gain_bandwidth == pytest.approx(50e6)
    assert other.second_pole == pytest.approx(150e6)
    assert other.slew_rate == pytest.approx(30e6)
    assert other.quiescent_current == pytest.approx(207e-6 / 2)


def test_a_sweep_keeps_going_where_a_value_makes_the_loop_unstable() -> None:
    points = sweep(design_of(), 0, *samples(1), parse("bandwidth=1MHz,100MHz,200MHz"))
    assert points[0].cost is None
    assert "unstable" in points[0].reason
    first, second = (p.cost for p in points[1:])
    assert first is not None
    assert second is not None
    assert second.joules == pytest.approx(2 * first.joules, rel=0.05)
    with pytest.raises(UserError, match="gain"):
        sweep(design_of(), 0, *samples(1), parse("amplifier.gain=-1"))


def test_more_offset_turns_the_update_more() -> None:
    points = sweep(design_of(), 0, *samples(1), parse("amplifier.offset=0.1mV,1mV,10mV"))
    angles = [p.cost.update_angle for p in points if p.cost is not None]
    assert len(angles) == 3
    assert angles == sorted(angles)


def test_settling_against_bandwidth_is_that_of_the_scaled_amplifiers() -> None:
    x, step = samples(1)
    points = against_bandwidth(design_of(), 0, x, step, (0.01, 1.0))
    assert math.isnan(points[0].control)
    assert "unstable" in points[0].reason
    assert points[1].reason == ""
    own = estimate(design_of(), 0, x, step).settling
    assert points[1].hertz == 100e6
    assert points[1].control == pytest.approx(float(own.time), rel=1e-6)
    with pytest.raises(UserError, match="gain_bandwidth"):
        against_bandwidth(design_of(CARD.ideal()), 0, x, step, (1.0,))


def test_a_chip_whose_rest_is_known_is_not_solved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    design, (x, step) = design_of(), samples()
    state = StaticChip.of(Chip.of(design, 0)).solve(x, step)
    (before,) = against_bandwidth(design, 0, x[1:], step[1:], (1.0,))
    closed = estimate(design, 0, x, step, method=CLOSED_FORM)

    def solved(*_: object, **__: object) -> None:
        raise AssertionError("solved again")

    monkeypatch.setattr(StaticChip, "solve", solved)
    (after,) = against_bandwidth(design, 0, x[1:], step[1:], (1.0,), state=state.sample(1))
    assert after.update == pytest.approx(before.update, rel=1e-6)
    monkeypatch.setattr("analogdfc.cost.estimate.predict", solved)
    assert against_bandwidth(design, 0, x, step, (1.0,), state=state, known=after) == [after]
    monkeypatch.undo()  # the closed form predicts
    monkeypatch.setattr(StaticChip, "solve", solved)
    again = estimate(design, 0, x, step, method=CLOSED_FORM, state=state)
    assert again.joules == closed.joules
    assert again.update_angle == closed.update_angle
