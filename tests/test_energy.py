"""Energy of a settle: conserved in the model, and the same as ngspice finds device by device."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from strategies import network_of, normal, seeds, small_networks

from analogdfc.analysis.energy import COMPONENTS, Energy
from analogdfc.analysis.energy.items import OUTPUT_STAGES, QUIESCENT, TANH
from analogdfc.analysis.energy.meter import Metered, measure
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design, Readout
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.spice.energy import measure_circuit
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.flat import devices
from analogdfc.wires import dual_rail, terminal_admittance, wire_admittance
from benchmarks._measure import Case, case
from benchmarks.circuits import CIRCUITS, Kind
from benchmarks.energy import HALVED_BAR, ITEM_BAR, LARGE, SEEDS, SMALL, TOTAL_BAR, worst_item

CARD = Card.load("discrete_100mhz")


def design_of(network: Network, readout: Readout | None = None, card: Card = CARD) -> Design:
    return Design.of(network, DirectFeedback.transposed(network), card, readout=readout)


def settle(design: Design, seed: int | None = 0, duration: float = 2.0) -> Metered:
    x, step = normal(2, 2, design.sizes[0]), 0.1 * normal(3, 2, design.sizes[-1])
    return measure([Chip.of(design, seed)], x, step, duration=duration)[0]


# Conservation: what the supplies and sources give is in one of the items.


@pytest.mark.parametrize("auto_zero", [True, False])
@pytest.mark.parametrize("relative_target", [True, False])
def test_every_joule_that_is_drawn_is_in_one_item(auto_zero: bool, relative_target: bool) -> None:
    readout = Readout(auto_zero=auto_zero, relative_target=relative_target)
    found = settle(design_of(network_of([3, 4, 2], seed=1), readout))
    torch.testing.assert_close(found.energy.total, found.drawn, rtol=1e-9, atol=0)
    # Without the idle current too, or it would hide the rest.
    idle = found.energy.by_component()[QUIESCENT]
    torch.testing.assert_close(found.energy.total - idle, found.drawn - idle, rtol=1e-6, atol=0)


@given(small_networks(most=4), seeds())
@settings(max_examples=5)
def test_energy_is_conserved_in_any_network(network: Network, seed: int) -> None:
    found = settle(design_of(network), seed, duration=0.5)
    idle = found.energy.by_component()[QUIESCENT]
    torch.testing.assert_close(found.energy.total - idle, found.drawn - idle, rtol=1e-6, atol=0)


def test_devices_and_wires_share_what_an_array_takes() -> None:
    source = torch.Generator().manual_seed(0)
    plus, minus = torch.rand(2, 4, 3, generator=source, dtype=torch.float64) * 1e-5 + 1e-6
    g = dual_rail(plus, minus)
    v = normal(4, 1, sum(g.shape))[0].numpy()
    # One device between two lines of one segment each: series resistors share the power.
    single = dual_rail(plus[:1, :1], minus[:1, :1])[:1]
    volts = torch.tensor([1.0, 0.0]).double().numpy()
    current = 1 / (1 / float(single[0, 0]) + 2000.0 + 3000.0)
    assert volts @ wire_admittance(single, 2e3, 3e3) @ volts == pytest.approx(current**2 * 5e3)
    whole, wires = terminal_admittance(g, 50.0, 80.0), wire_admittance(g, 50.0, 80.0)
    assert 0 < v @ wires @ v < v @ whole @ v
    assert not wire_admittance(g, 0.0, 0.0).any()


# Hand-worked items


def test_idle_currents_flow_for_the_whole_settle() -> None:
    design = design_of(network_of([3, 4, 2], seed=1))
    found = settle(design, duration=2.0).energy
    amplifiers = 4 * 5 + 2 * 2 + 2 * 3
    expected = 2 * 1.65 * 207e-6 * amplifiers * 2 * 5e-6
    assert found.by_component()[QUIESCENT].tolist() == pytest.approx([expected] * 2)
    assert found.items[QUIESCENT, "controller"].tolist() == pytest.approx(
        [expected * 6 / amplifiers] * 2
    )


def test_a_tanh_cell_at_rest_in_the_middle_takes_its_tail_current() -> None:
    network = Network([3, 4, 2])
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    design = design_of(network, card=CARD.ideal())
    x, step = torch.zeros(1, 3), torch.zeros(1, 2)
    (found,) = measure([Chip.of(design)], x, step, duration=1.0)
    assert float(found.energy.by_component()[TANH]) == pytest.approx(8 * 3.3 * 2e-6 * 5e-6)
    assert float(found.energy.by_component()[OUTPUT_STAGES]) == pytest.approx(0, abs=1e-18)


@pytest.mark.parametrize("duration", [-1.0, float("nan"), float("inf")])
def test_a_duration_must_be_finite_and_not_negative(duration: float) -> None:
    design = design_of(network_of([3, 4, 2], seed=1))
    with pytest.raises(UserError, match=rf"duration {duration}: it must be finite and >= 0"):
        settle(design, duration=duration)
    x, step = torch.zeros(1, 3), torch.zeros(1, 2)
    with pytest.raises(UserError, match=rf"duration {duration}: it must be > 0 and finite"):
        measure_circuit(Chip.of(design), x, step, get_simulator("batch"), duration=duration)


def test_no_time_takes_no_energy() -> None:
    design = design_of(network_of([3, 4, 2], seed=1))
    none, some = settle(design, duration=0.0), settle(design, duration=0.01)
    assert none.energy.items.keys() == some.energy.items.keys()
    assert none.energy.total.tolist() == none.drawn.tolist() == [0.0, 0.0]


def test_an_amplifier_that_leaves_its_supply_takes_no_energy_that_could_be_told() -> None:
    card = CARD.replace("amplifier", saturation=None, supply=0.2)
    with pytest.raises(UserError, match=r"its supply has 0\.2 V: set \[amplifier\] saturation"):
        settle(design_of(network_of([3, 4, 2], seed=1), card=card), duration=0.5)


def test_energies_add_scale_and_name_what_they_do_not_know() -> None:
    one = torch.ones(1, dtype=torch.float64)
    a = Energy({(QUIESCENT, "layer 1"): one, (TANH, "layer 1"): 2 * one}, {"converters": "none"})
    b = Energy({(QUIESCENT, "controller"): 4 * one})
    both = (a + b).scaled(10)
    assert float(both.total) == 70
    assert {k: float(v) for k, v in both.by_component().items()} == {QUIESCENT: 50, TANH: 20}
    assert {k: float(v) for k, v in both.by_part().items()} == {"layer 1": 30, "controller": 40}
    assert both.unknown == {"converters": "none"}
    assert list(both.by_component()) == [c for c in COMPONENTS if c in (QUIESCENT, TANH)]


def test_the_total_of_items_that_are_all_unknown_is_none() -> None:
    nothing = Energy({}, {"converters": "[converters] input_dac is missing"})
    assert nothing.total.tolist() == [0.0]
    assert not nothing.by_component()
    assert not nothing.by_part()


def test_what_is_the_same_for_all_samples_counts_for_each() -> None:
    one, two = (torch.arange(n, dtype=torch.float64) + 1 for n in (1, 2))
    mixed = Energy({(QUIESCENT, "layer 1"): one, (QUIESCENT, "layer 2"): two})
    assert mixed.total.tolist() == [2, 3]
    assert mixed.by_component()[QUIESCENT].tolist() == [2, 3]


# The promised bars.


def assert_same_energy(here: Case, seed: int) -> None:
    chip = Chip.of(here.design, seed)
    (model,) = measure([chip], here.x, here.step, duration=20)
    circuit = measure_circuit(chip, here.x, here.step, get_simulator("batch"), duration=20)
    torch.testing.assert_close(circuit.energy.total, circuit.drawn, rtol=1e-8, atol=0)
    torch.testing.assert_close(model.drawn, circuit.drawn, rtol=TOTAL_BAR / 100, atol=0)
    assert set(model.energy.items) == set(circuit.energy.items)
    assert worst_item(model.energy, circuit.energy)[1] < ITEM_BAR


@pytest.mark.parametrize("seed", SEEDS)
def test_model_and_ngspice_agree_on_every_item_of_a_settle(seed: int) -> None:
    assert_same_energy(case(SMALL, seed, 1), seed)


def test_model_and_ngspice_agree_on_what_tanh_cells_as_they_were_measured_take() -> None:
    here = case(SMALL, 1, 1)
    tanh = {"peak_current": 2.3e-6, "scale": 0.28, "input_resistance": 30e3}
    assert_same_energy(here.on(here.design.card.replace("tanh", **tanh)), 1)


def test_model_and_ngspice_agree_on_every_item_in_a_larger_network() -> None:
    assert_same_energy(case(LARGE, 0, 1), 0)


@pytest.mark.parametrize(
    "kind", [k for k in CIRCUITS if k.name not in ("PI", "I")], ids=lambda kind: kind.name
)
def test_model_and_ngspice_agree_for_every_controller_and_neuron(kind: Kind) -> None:
    assert_same_energy(kind.case(SMALL, 1, 1), 1)


def test_half_the_time_step_gives_the_same_energy() -> None:
    here = case(SMALL, 0, 1)
    chip = Chip.of(here.design, 0)
    whole, half = (
        measure([chip], here.x, here.step, duration=5, tolerance=t, longest=longest)[0].energy
        for t, longest in ((2e-6, 0.02), (2.5e-7, 0.01))
    )
    assert worst_item(whole, half)[1] < HALVED_BAR


# Devices of a hierarchical netlist


def test_devices_are_named_as_ngspice_names_them() -> None:
    deck = """* title
.subckt inner p q
Ra p m 1k
Rb m q 1k
.ends inner
.subckt outer in
X1 in 0 inner
C1 in 0 1p
.ends outer
V1 top 0 1
Xo top outer
.end
"""
    found = {d.name: (d.nodes, d.cells) for d in devices(deck)}
    assert found == {
        "v1": (("top", "0"), ()),
        "r.xo.x1.ra": (("top", "xo.x1.m"), ("outer", "inner")),
        "r.xo.x1.rb": (("xo.x1.m", "0"), ("outer", "inner")),
        "c.xo.c1": (("top", "0"), ("outer",)),
    }


def test_an_instance_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="x1 is an instance of 'gone'"):
        list(devices("* title\nX1 a b gone\n.end\n"))
