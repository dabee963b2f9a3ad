"""The auto-zero of neurons' amplifiers and tanh cells: what it leaves, and what it takes."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from analogdfc.analysis.area import area
from analogdfc.analysis.energy.items import AUTO_ZERO, QUIESCENT
from analogdfc.analysis.zeroing import zero_energy
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.cost.estimate import estimate
from analogdfc.errors import UserError
from analogdfc.kits import get_kit
from analogdfc.spice.netlist import Netlist
from benchmarks._measure import Case, case, worst_angle, worst_norm
from benchmarks.parity import ANGLE_BAR, NORM_BAR

BOLTZMANN = 1.380649e-23
SMALL = (3, 4, 2)


@cache
def card(*parts: tuple[str, float | None]) -> Card:
    """The card with other entries in its section."""
    return Card.load("auto_zero_100mhz").replace("auto_zero", **dict(parts))


def offsets(made: Card, seed: int | None = 0, sizes: tuple[int, ...] = SMALL) -> dict[str, Tensor]:
    """Of all banks and cells of a chip, in volts."""
    circuit = Chip.of(case(sizes, 0, 1).on(made).design, seed).circuit
    found = {bank.name: bank.offset for bank in circuit.banks}
    return found | {f"cells of {c.into.bank}": c.offset for c in circuit.cells}


def test_of_every_offset_in_the_layers_its_share_is_left_and_the_controllers_own_stay() -> None:
    bare = Card.load("discrete_100mhz")
    share = card(("residual", 0.01), ("injection", None), ("spread", None), ("temperature", None))
    for name, left in offsets(share).items():
        own = offsets(bare)[name]
        expected = own if name.startswith("controller") else 0.01 * own
        torch.testing.assert_close(left, expected, rtol=1e-12, atol=0)


def test_a_nominal_chip_has_the_charge_of_the_mean_switch_over_the_capacitor() -> None:
    for name, left in offsets(card(), None).items():
        volts = 0.0 if name.startswith("controller") else 0.1e-15 / 1e-12
        torch.testing.assert_close(left, torch.full_like(left, volts))


def test_what_is_left_has_the_variances_of_charge_and_of_kt_over_c() -> None:
    sizes = (2, 4000, 2)
    noise = card(("residual", None), ("injection", None), ("spread", None), ("capacitor", 2e-13))
    left = offsets(noise, 3, sizes)["layer1.soma"]
    assert float(left.std()) == pytest.approx(math.sqrt(BOLTZMANN * 300 / 2e-13), rel=0.05)
    charge = card(("residual", None), ("temperature", None))
    left = offsets(charge, 3, sizes)["layer1.soma"]
    assert float(left.mean()) == pytest.approx(1e-4, rel=0.05)
    assert float(left.std()) == pytest.approx(0.5e-4, rel=0.05)


def test_without_its_imperfections_nothing_is_left() -> None:
    perfect = card().without("auto-zero residual", "auto-zero injection", "auto-zero noise kT/C")
    for name, left in offsets(perfect).items():
        assert bool((left == 0).all()) != name.startswith("controller")
    assert card().without("auto-zero residual").imperfections[-2:] == (
        "auto-zero injection",
        "auto-zero noise kT/C",
    )


def test_all_realisations_have_what_is_left() -> None:
    here = case(SMALL, 0, 2).on(card(("residual", 0.3)))
    result = here.parity(here.circuit(0, "macro"), here.behavioural([0])[0])
    assert worst_angle(result) <= ANGLE_BAR
    assert worst_norm(result) <= NORM_BAR
    text = Netlist.of(Chip.of(here.design, 0), "macro").circuit
    assert "Auto-zero of every neuron, 1e-12 F" in text


def cost(here: Case) -> tuple[float, float, float]:
    """Seconds, angle of the update and idle energy of a sample."""
    found = estimate(here.design, 1, here.x, here.step, limits=False, method="closed form")
    return found.seconds, found.update_angle, float(found.energy.by_component()[QUIESCENT])


def test_an_auto_zero_turns_the_update_less_for_the_time_and_energy_of_its_phase() -> None:
    others = ("device mismatch", "finite levels", "wire resistance", "passive tolerance")
    here = case((6, 8, 3), 1, 2).on(Card.load("discrete_100mhz").without(*others))
    zeroed = here.on(card(("time", 3e-6)).without(*others))
    (seconds, turned, idle), (more, left, later) = cost(here), cost(zeroed)
    assert left < 0.5 * turned
    # The settling is another, by little: the offsets are.
    assert more - seconds == pytest.approx(3e-6, rel=0.2)
    amplifiers = Chip.of(here.design).circuit.amplifiers
    assert later - idle == pytest.approx((more - seconds) * amplifiers * 3.3 * 207e-6)


def test_switches_are_clocked_once_a_sample_and_take_area_with_their_capacitors() -> None:
    design = case(SMALL, 0, 1).on(card()).design
    found = zero_energy(Chip.of(design).circuit, design.card)
    neurons = 5 * 4 + 2 * 2 + 2 * 4  # amplifiers of hidden and output neurons, tanh cells
    assert float(found.by_component()[AUTO_ZERO]) == pytest.approx(neurons * 10e-15 * 3.3**2)
    each = 1e-12 / 1e-3 + 100e-12
    assert area(design).by_component()[AUTO_ZERO] == pytest.approx(neurons * each)


def test_what_the_card_lacks_of_its_cost_is_unknown_by_name() -> None:
    design = case(SMALL, 0, 1).on(card(("clock", None), ("area", None))).design
    found = zero_energy(Chip.of(design).circuit, design.card)
    assert found.unknown == {AUTO_ZERO: "[auto_zero] clock is missing"}
    assert area(design).unknown[AUTO_ZERO] == "[auto_zero] area is missing"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"time": None}, r"\[auto_zero\] time: missing"),
        ({"capacitor": None}, r"\[auto_zero\] capacitor: missing"),
        ({"injection": None}, "spread is that of an injection"),
        ({"capacitor": 1e-16}, "more than half of"),
    ],
)
def test_an_auto_zero_that_cannot_be_is_refused(parts: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        card(*parts.items()).check()


def test_a_charge_that_leaves_more_than_the_offset_is_remarked_on() -> None:
    assert any("leaves 0.01 V" in remark for remark in card(("capacitor", 1e-14)).remarks)


def test_transistors_that_are_drawn_themselves_are_refused() -> None:
    kit = get_kit("generic", "typical", mismatch=True)
    with pytest.raises(UserError, match="no cell here takes off"):
        kit.check_card(card())
