"""A chip made of devices: one draw of a seed for every realisation, each effect on its own."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from parts import controller, layers
from strategies import network_of, normal
from torch import Tensor

from analogdfc.arrays.layers import analog
from analogdfc.arrays.mapping import Balanced, MidRail
from analogdfc.cards.device import builtin_device_cards
from analogdfc.cards.technology import LOOP_IMPERFECTIONS as OF_CARD
from analogdfc.cards.technology import Card
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.conductances import OPEN
from analogdfc.circuit.design import Design
from analogdfc.circuit.devices import IMPERFECTIONS, Devices
from analogdfc.circuit.static import StaticChip
from analogdfc.comparison import causes
from analogdfc.devices import (
    Curve,
    DeviceModel,
    Faults,
    OneShot,
    Piece,
    PowerLawDrift,
    RandomTelegraph,
    ReadNoise,
    Retention,
    Spread,
    Window,
)
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.spice.netlist import Netlist

CARD = Card.load("discrete_100mhz")
HOUR = 3600.0
PCM = "pcm_nandakumar2019"
NETWORK = network_of([5, 4, 3], seed=1)


def constant(value: float) -> Curve:
    return Curve((Piece((value,)),), 1.0)


FULL = DeviceModel(
    Window(1e-6, 40e-6, 64),
    programming=OneShot(constant(0.5e-6)),
    read=ReadNoise(white=constant(0.2e-6)),
    telegraph=RandomTelegraph(amplitude=0.05, time_high=1.0, time_low=1.0, fraction=0.3),
    drift=PowerLawDrift(constant(0.05), 20.0, constant(0.01)),
    retention=Retention(time_constant=1e6),
    spread=Spread(device=0.02, cycle=0.01),
    faults=Faults(on=0.05, off=0.05),
)
"""A device with every imperfection that a chip shows."""


def design_of(
    devices: Devices | None, network: Network = NETWORK, card: Card = CARD, scaling: bool = True
) -> Design:
    feedback = DirectFeedback.transposed(network)
    return Design.of(network, feedback, card, devices=devices, scaling=scaling)


def crossbars(chip: Chip) -> list[Tensor]:
    """Conductances of all crossbars: G+ and G- of W, G+ and G- of Q, layer by layer."""
    return [g for p in layers(chip) for g in (p.w_plus, p.w_minus, p.q_plus, p.q_minus)]


def all_of(design: Design, seed: int | None) -> Tensor:
    return torch.cat([g.flatten() for g in crossbars(Chip.of(design, seed))])


# One draw for everyone


@pytest.mark.parametrize("name", ["pcm_nandakumar2019", "rram_wan2022", "rram_optimised_gong2022"])
def test_a_seed_gives_netlist_model_and_arrays_the_same_conductances(name: str) -> None:
    devices = Devices.of(name, HOUR).without("read noise")
    chip = Chip.of(design_of(devices), 7)
    text = Netlist.of(chip, "macro").circuit
    written = [float(g) for pair in re.findall(r" gp=(\S+) gn=(\S+)", text) for g in pair]
    expected = []
    for parts in layers(chip):
        for plus, minus in ((parts.w_plus, parts.w_minus), (parts.q_plus, parts.q_minus)):
            expected += torch.stack([plus.T, minus.T], dim=-1).flatten().tolist()
    assert written == expected
    network = analog(NETWORK, devices.model, 7)
    for array, parts in zip(network.arrays, layers(chip), strict=True):
        mean, _ = array.moments(HOUR)
        assert torch.equal(mean[0].clamp(min=OPEN), torch.stack([parts.w_plus, parts.w_minus]))


def test_a_balanced_chip_has_the_conductances_of_balanced_arrays() -> None:
    devices = Devices.of(FULL, scheme=Balanced()).without("read noise", "telegraph noise")
    for parts in layers(Chip.of(design_of(devices.without(*IMPERFECTIONS)), 3)):
        both = parts.w_plus + parts.w_minus
        torch.testing.assert_close(both, torch.full_like(both, 41e-6), rtol=1e-12, atol=0)
        # The feedback, which is never pulsed, rests at the low end.
        assert float(torch.minimum(parts.q_plus, parts.q_minus).max()) <= 1e-6 * (1 + 1e-12)


def test_the_same_seed_is_the_same_chip_and_another_is_another() -> None:
    design = design_of(Devices.of(FULL, HOUR))
    assert torch.equal(all_of(design, 3), all_of(design, 3))
    assert not torch.equal(all_of(design, 3), all_of(design, 4))


def test_devices_leave_the_draws_of_all_other_components_as_they_were() -> None:
    plain, made = Chip.of(design_of(None), 5), Chip.of(design_of(Devices.of(PCM)), 5)
    for ours, theirs in zip(layers(made), layers(plain), strict=True):
        for name, stage in theirs.stages.items():
            assert torch.equal(ours.stages[name].offset, stage.offset)
        deviation = [layer.stages["inv"].r_f for layer in (ours, theirs) if "inv" in layer.stages]
        assert deviation == [] or torch.equal(*deviation)
    assert torch.equal(controller(made).c_i, controller(plain).c_i)


@pytest.mark.parametrize("name", [None, PCM, "rram_milo2021"])
def test_the_static_model_is_the_chip_at_rest(name: str | None) -> None:
    devices = None if name is None else Devices.of(name, 0.0 if "rram" in name else HOUR)
    chip = Chip.of(design_of(devices, card=CARD.without("wire resistance")), 2)
    x, step = normal(1, 2, 5), 0.1 * normal(2, 2, 3)
    (run,) = Behavioural([chip], Rung.STATIC).run(x, step, dt=0.1, steps=800)
    state = StaticChip.of(chip).solve(x, step)
    for rest, waveform in zip(state.rest.v, run.neurons.v, strict=True):
        torch.testing.assert_close(rest, waveform[:, -1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [PCM, "rram_wan2022"])
def test_a_static_chip_that_is_programmed_to_other_weights_is_the_chip_of_those(name: str) -> None:
    design = replace(design_of(Devices.of(name)), limits=(3.0, 3.0))
    before, other = StaticChip.of(Chip.of(design, 2)), network_of([5, 4, 3], seed=8)
    weights = tuple(w.detach() for w in other.weights)
    moved = replace(design, weights=weights, biases=tuple(b.detach() for b in other.biases))
    assert [moved.weight_limit(i) for i in (1, 2)] == [3.0, 3.0]
    made = StaticChip.of(Chip.of(moved, 2))
    refolded = before.refolded(moved.weights, moved.biases)
    for i, (ours, theirs) in enumerate(zip(refolded.loop.weights, made.loop.weights, strict=True)):
        for own, other_own in zip(refolded.devices(i + 1), made.devices(i + 1), strict=True):
            torch.testing.assert_close(own, other_own, rtol=1e-12, atol=OPEN)
        assert float((ours - theirs).norm()) < 1e-3 * float(theirs.norm())
        assert float((before.loop.weights[i] - theirs).norm()) > 0.1 * float(theirs.norm())
    for ours, theirs in zip(refolded.loop.biases, made.loop.biases, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


# The window


@pytest.mark.parametrize("name", builtin_device_cards())
def test_the_largest_weight_of_each_crossbar_fills_the_window_of_every_device(name: str) -> None:
    devices = Devices.of(name)
    window = devices.model.window
    for g in crossbars(Chip.of(design_of(devices))):
        assert float(g.min()) >= max(window.g_min, OPEN) * (1 - 1e-12)
        assert float(g.max()) <= window.g_max * (1 + 1e-12)
    for parts in layers(Chip.of(design_of(devices))):
        for pair in ((parts.w_plus, parts.w_minus), (parts.q_plus, parts.q_minus)):
            assert max(float(g.max()) for g in pair) == pytest.approx(window.g_max, rel=1e-12)


def test_weights_are_the_differences_of_pairs_in_units_of_the_window() -> None:
    design = design_of(Devices.of(FULL.ideal()))
    for i, parts in enumerate(layers(Chip.of(design)), start=1):
        found = (parts.w_plus - parts.w_minus) / design.weight_unit(i)
        torch.testing.assert_close(found[:, :-1], design.weights[i - 1], rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(found[:, -1], design.biases[i - 1], rtol=1e-12, atol=1e-15)
        found = (parts.q_plus - parts.q_minus) / design.feedback_unit(i)
        torch.testing.assert_close(found, design.feedback[i - 1], rtol=1e-12, atol=1e-15)


def test_room_for_weights_that_grow_takes_a_part_of_the_window() -> None:
    devices = Devices.of(FULL.ideal())
    largest = float(NETWORK.weights[0].detach().abs().max())
    roomy = replace(design_of(devices), limits=(4 * largest, 1e-3))
    g_max = [float(p.w_plus.maximum(p.w_minus).max()) for p in layers(Chip.of(roomy))]
    assert g_max == pytest.approx([1e-6 + 39e-6 / 4, 40e-6], rel=1e-12)
    for limits in ((1.0,), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(UserError, match="one number > 0 for each of 2 layers"):
            replace(design_of(devices), limits=limits)


def test_without_scaling_the_unit_is_that_of_the_card() -> None:
    small = network_of([5, 4, 3], seed=1)
    with torch.no_grad():
        for w in small.weights:
            w.mul_(0.1)
    design = design_of(Devices.of(PCM), small, scaling=False)
    assert [design.weight_unit(i) for i in (1, 2)] == [CARD.device.g_unit] * 2
    with pytest.raises(UserError, match="lies outside the conductance window"):
        design_of(Devices.of("pcm_hermes_legallo2023_1"), scaling=False)


# Each effect on its own


def test_a_design_names_the_imperfections_of_its_card_and_of_its_devices() -> None:
    # This card's tanh cells were not measured.
    measured = ("tanh mismatch", "tanh current and scale", "tanh input resistance")
    on_card = tuple(n for n in OF_CARD if n not in measured)
    of_card = tuple(n for n in on_card if n not in ("device mismatch", "finite levels"))
    assert design_of(Devices.of(FULL, HOUR)).imperfections == (*of_card, *IMPERFECTIONS)
    young = design_of(Devices.of(FULL)).imperfections
    assert set(IMPERFECTIONS) - set(young) == {"drift", "retention"}
    assert design_of(None).imperfections == CARD.imperfections == on_card
    assert design_of(Devices.of(FULL, HOUR)).ideal().imperfections == ()


@pytest.mark.parametrize("name", IMPERFECTIONS)
def test_an_effect_that_is_switched_off_is_gone_and_the_others_stay(name: str) -> None:
    design = design_of(Devices.of(FULL, HOUR))
    without = design.without(name)
    assert set(design.imperfections) - set(without.imperfections) == {name}
    assert not torch.equal(all_of(design, 3), all_of(without, 3))
    alone = design.without(*(n for n in design.imperfections if n != name))
    assert alone.imperfections == (name,)
    assert not torch.equal(all_of(alone, 3), all_of(design.ideal(), 3))


@pytest.mark.parametrize("name", [PCM, "rram_wan2022", "sonos_agrawal2022", "full"])
def test_with_every_effect_off_a_chip_is_the_nominal_one(name: str) -> None:
    design = design_of(Devices.of(FULL if name == "full" else name, HOUR))
    perfect = design.ideal()
    for found in (Chip.of(perfect, 3), Chip.of(perfect), Chip.of(design.without("finite levels"))):
        for ours, theirs in zip(crossbars(found), crossbars(Chip.of(perfect, 4)), strict=True):
            assert torch.equal(ours, theirs)


def test_levels_are_those_of_the_devices() -> None:
    window = FULL.window
    g = all_of(design_of(Devices.of(DeviceModel(window))), 3)
    steps = (g - window.g_min) / (window.span / 63)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-9)
    assert len(set(steps.round().tolist())) > 20


def test_drift_is_the_power_law_of_the_age() -> None:
    drift = DeviceModel(Window(1e-6, 40e-6), drift=PowerLawDrift(constant(0.05), 20.0))
    young, old = (all_of(design_of(Devices.of(drift, age)), 3) for age in (20.0, HOUR))
    torch.testing.assert_close(old, young * (HOUR / 20.0) ** -0.05, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("read noise", DeviceModel(Window(5e-6, 40e-6), read=ReadNoise(white=constant(0.2e-6)))),
        (
            "programming noise",
            DeviceModel(Window(5e-6, 40e-6), programming=OneShot(constant(0.2e-6))),
        ),
    ],
)
def test_noise_is_one_draw_around_the_state_of_the_devices(name: str, model: DeviceModel) -> None:
    noisy = design_of(Devices.of(model, HOUR), network_of([40, 40, 40], seed=1))
    apart = all_of(noisy, 3) - all_of(noisy.without(name), 3)
    assert float(apart.std()) == pytest.approx(0.2e-6, rel=0.03)
    assert abs(float(apart.mean())) < 5 * 0.2e-6 / len(apart) ** 0.5


def test_stuck_devices_are_the_same_whatever_is_written() -> None:
    devices = Devices.of(DeviceModel(Window(1e-6, 40e-6), faults=Faults(on=0.03, dead=0.05)))
    stuck = []
    for seed in (1, 2):
        design = design_of(devices, network_of([40, 40, 40], seed=seed))
        stuck.append(all_of(design, 3) != all_of(design.without("faults"), 3))
    assert float(stuck[0].double().mean()) == pytest.approx(0.08, rel=0.1)
    assert torch.equal(*stuck)


def test_each_effect_of_the_devices_is_among_the_causes() -> None:
    design = design_of(Devices.of(PCM, HOUR))
    x, step = normal(1, 1, 5), 0.1 * normal(2, 1, 3)
    _, found = causes(design, 3, x, step, duration=5.0)
    by_name = {cause.name: cause for cause in found}
    assert set(by_name) == set(design.imperfections)
    assert by_name["programming noise"].change < -0.1
    assert "device mismatch" not in by_name


# What is refused


def test_devices_that_make_no_chip_are_refused() -> None:
    with pytest.raises(UserError, match=r"age of the devices -1 s"):
        Devices.of(PCM, -1.0)
    with pytest.raises(UserError, match="differential pairs, Split or Balanced"):
        Devices.of(PCM, scheme=MidRail())
    with pytest.raises(UserError, match="unknown device card 'pcm'"):
        Devices.of("pcm")
    with pytest.raises(UserError, match="unknown imperfection 'rust' of the devices"):
        Devices.of(PCM).without("rust")
    with pytest.raises(UserError, match="unknown imperfection 'rust'; device mismatch"):
        design_of(Devices.of(PCM)).without("rust")
    with pytest.raises(UserError, match="measured until"):
        Chip.of(design_of(Devices.of("rram_wan2022", 3e6)), 1)
    chip = StaticChip.of(Chip.of(design_of(None)))
    sums = [pair.plus + pair.minus for pair in map(chip.devices, (1, 2))]
    with pytest.raises(UserError, match="for a chip without devices"):
        chip.refolded(chip.weights, chip.biases, sums=sums)
