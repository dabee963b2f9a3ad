"""Area of a chip: components counted by hand and in the netlist, and the card's numbers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from strategies import network_of, small_networks

from analogdfc.analysis.area import (
    AMPLIFIERS,
    AREA_COMPONENTS,
    CAPACITORS,
    DEVICES,
    RESISTORS,
    TANH_CELLS,
    area,
)
from analogdfc.analysis.energy.items import AUTO_ZERO, CONTROLLER
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.controller import PI
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.spice.netlist import Netlist
from analogdfc.updating.costs import UPDATE_COMPONENTS, no_path

CARD = Card.load("discrete_100mhz")
MICRON2 = 1e-12
UNITS = CARD.replace(
    "area", device=1.0e-12, amplifier=1.0e-9, tanh=1.0e-6, capacitor_density=1.0,
    resistor_density=1.0,
)  # fmt: skip
"""A card on which the area of an item tells its amount."""


def near(expected: Any, rel: float = 1e-9) -> Any:
    """Equal up to rounding, however small the numbers are."""
    return pytest.approx(expected, rel=rel, abs=0)


def design_of(network: Network, card: Card = CARD) -> Design:
    feedback = DirectFeedback.transposed(network)
    return Design.of(network, feedback, card, controller=PI(k_p=2.0, alpha=0.01))


def test_components_of_a_small_network_by_hand() -> None:
    found = area(design_of(network_of([3, 4, 2]), UNITS)).items
    assert found[DEVICES, "layer 1"] == near(1e-12 * (2 * 4 * (3 + 1) + 2 * 4 * 2))
    assert found[DEVICES, "layer 2"] == near(1e-12 * (2 * 2 * (4 + 1) + 2 * 2 * 2))
    assert found[AMPLIFIERS, "layer 1"] == near(1e-9 * 5 * 4)
    assert found[AMPLIFIERS, "layer 2"] == near(1e-9 * 2 * 2)
    assert found[AMPLIFIERS, CONTROLLER] == near(1e-9 * 3 * 2)
    assert found[TANH_CELLS, "layer 1"] == near(1e-6 * 2 * 4)
    assert (TANH_CELLS, "layer 2") not in found
    assert (DEVICES, CONTROLLER) not in found


@settings(max_examples=10)
@given(network=small_networks(most=4))
def test_amounts_are_those_of_the_netlist(network: Network) -> None:
    design = design_of(network, UNITS)
    text = Netlist.of(Chip.of(design), "macro").circuit.replace("\n+", " ")
    neurons = [line for line in text.splitlines() if re.match("X[nceu]", line)]
    amount = {
        CAPACITORS: sum(float(v) for line in neurons for v in re.findall(r"\bc_\w+=(\S+)", line)),
        RESISTORS: sum(float(v) for line in neurons for v in re.findall(r"\br_\w+=(\S+)", line)),
        DEVICES: 2e-12 * len(re.findall(r"\bgp=", text)),
    }
    found = area(design).by_component()
    assert {name: found[name] for name in amount} == near(amount)


def test_the_integrator_and_the_soma_have_their_capacitors() -> None:
    # Ideal amplifiers need no compensation: C_i = tau_u (1 - alpha k_p) / R_i, C_f = tau_v / R_f.
    card = UNITS.without("finite bandwidth")
    found = area(design_of(network_of([3, 4, 2]), card)).items
    assert found[CAPACITORS, CONTROLLER] == near(2 * 5e-6 * (1 - 0.01 * 2) / 100e3)
    assert found[CAPACITORS, "layer 1"] == near(4 * 1e-6 / 100e3)


def test_a_controller_without_leak_has_no_leak_resistor() -> None:
    network = network_of([3, 4, 2])
    feedback = DirectFeedback.transposed(network)
    ohms = {
        alpha: area(Design.of(network, feedback, UNITS, controller=PI(k_p=0.5, alpha=alpha)))
        for alpha in (0.0, 0.01)
    }
    leak = 2 * 100e3 / 0.01
    r_p = 2 * 100e3 * 0.5 * (1 / (1 - 0.01 * 0.5) - 1)
    difference = ohms[0.01].items[RESISTORS, CONTROLLER] - ohms[0.0].items[RESISTORS, CONTROLLER]
    assert difference == near(leak + r_p)


def test_areas_are_the_cards() -> None:
    design = design_of(network_of([3, 4, 2]))
    found, units = area(design).by_component(), area(design.on(UNITS)).by_component()
    expected = {
        DEVICES: units[DEVICES] / 1e-12 * 25 * MICRON2,
        AMPLIFIERS: units[AMPLIFIERS] / 1e-9 * 5000 * MICRON2,
        TANH_CELLS: units[TANH_CELLS] / 1e-6 * 1500 * MICRON2,
        CAPACITORS: units[CAPACITORS] / 1e-15 * MICRON2,
        RESISTORS: units[RESISTORS] / 1000 * MICRON2,
    }
    assert found == near(expected)
    assert tuple(found) == tuple(
        c for c in AREA_COMPONENTS if c not in (AUTO_ZERO, *UPDATE_COMPONENTS)
    )


def test_totals_agree_and_the_estimate_says_what_it_leaves_out() -> None:
    found = area(design_of(network_of([3, 4, 4, 2])))
    assert found.total == near(sum(found.by_component().values()))
    assert found.total == near(sum(found.by_part().values()))
    assert list(found.by_part()) == ["layer 1", "layer 2", "layer 3", CONTROLLER]
    assert found.unknown == no_path()
    for word in ("estimate", "routing", "bias", "pads", "track-and-hold"):
        assert word in found.note


def test_what_the_card_lacks_is_unknown_and_not_in_the_total() -> None:
    whole = area(design_of(network_of([3, 4, 2])))
    card = CARD.replace("area", amplifier=None, resistor_density=None)
    part = area(design_of(network_of([3, 4, 2]), card))
    assert part.unknown == {
        AMPLIFIERS: "[area] amplifier is missing",
        RESISTORS: "[area] resistor_density is missing",
        **no_path(),
    }
    left = whole.by_component()
    assert part.total == near(whole.total - left[AMPLIFIERS] - left[RESISTORS])


def test_a_network_without_tanh_cells_needs_no_number_for_them() -> None:
    found = area(design_of(network_of([3, 2]), CARD.replace("area", tanh=None)))
    assert found.unknown == no_path()
    assert TANH_CELLS not in found.by_component()
    assert (
        area(design_of(network_of([3, 2, 2]), CARD.replace("area", tanh=None))).unknown != no_path()
    )
