"""Energy of a settle, model and ngspice, where a card leaves something out and at edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from strategies import network_of, normal

from analogdfc.analysis.energy.meter import measure
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design, Readout
from analogdfc.controller import PI
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.spice.energy import measure_circuit
from analogdfc.spice.engines import get_simulator

CARD = Card.load("discrete_100mhz")


def design_of(network: Network, card: Card = CARD, pi: PI | None = None) -> Design:
    return Design.of(network, DirectFeedback.transposed(network), card, controller=pi)


def assert_same_short_run(design: Design) -> None:
    """A sample of the model and of ngspice, before it has settled; and the model's sum."""
    x, step = normal(2, 1, design.sizes[0]), 0.15 * normal(3, 1, design.sizes[-1]).sign()
    chip = Chip.of(design, 1)
    (model,) = measure([chip], x, step, duration=1.0)
    circuit = measure_circuit(chip, x, step, get_simulator("batch"), duration=1.0)
    torch.testing.assert_close(model.energy.total, model.drawn, rtol=1e-9, atol=0)
    torch.testing.assert_close(circuit.energy.total, model.drawn, rtol=1e-6, atol=0)
    none = torch.zeros(1, dtype=torch.float64)
    assert circuit.energy.items.keys() <= model.energy.items.keys()
    for key, joules in model.energy.items.items():
        theirs = circuit.energy.items.get(key, none)  # lines without capacitance have no device
        atol = 1e-12 * float(model.energy.total)
        torch.testing.assert_close(joules, theirs, rtol=5e-3, atol=atol, msg=str(key))


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("wire", "word"),
        ("wire", "capacitance"),
        ("amplifier", "gain_bandwidth"),
        ("amplifier", "output_resistance"),
        ("amplifier", "input_capacitance"),
        ("amplifier", "saturation"),
    ],
)
def test_model_and_ngspice_agree_whatever_the_card_leaves_out(section: str, key: str) -> None:
    design = design_of(network_of([3, 4, 2], seed=1), CARD.replace(section, **{key: None}))
    assert_same_short_run(design)


@pytest.mark.parametrize(
    ("sizes", "controller"),
    [
        ([3, 2], PI()),
        ([1, 1], PI()),
        ([2, 3, 4, 3, 2], PI()),
        ([3, 4, 2], PI(k_p=0.0, alpha=0.0015)),
        ([3, 4, 2], PI(k_p=2.0, alpha=0.0)),
        ([3, 4, 2], PI(k_p=2.0, alpha=0.01, tau_u=3.0)),
    ],
)
def test_model_and_ngspice_agree_in_any_network_and_controller(
    sizes: list[int], controller: PI
) -> None:
    assert_same_short_run(design_of(network_of(sizes, seed=1), pi=controller))


def test_model_and_ngspice_agree_where_the_weights_leave_the_window() -> None:
    network = network_of([3, 4, 2], seed=1)
    feedback = DirectFeedback.transposed(network)
    with torch.no_grad():
        network.weights[0].mul_(5)
    design = Design.of(network, feedback, CARD)
    assert design.shrunk_layers()["W1"] < 0.8
    assert_same_short_run(design)


@pytest.mark.parametrize("auto_zero", [True, False])
def test_model_and_ngspice_agree_whatever_the_readout(auto_zero: bool) -> None:
    design = design_of(network_of([3, 4, 2], seed=1))
    readout = Readout(auto_zero=auto_zero, relative_target=False)
    assert_same_short_run(replace(design, readout=readout))
