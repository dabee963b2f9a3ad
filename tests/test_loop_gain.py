"""Loop gain, margins and poles: closed forms, the linearised chip, and ngspice's `.ac`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from analogdfc.analysis.loop_gain import Band, LoopGain, loop_gain
from analogdfc.analysis.settling import LoopTransfer, OperatingPoint
from analogdfc.analysis.settling.modes import Spectrum
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticChip
from analogdfc.controller import PI, PID, Controller
from analogdfc.errors import UserError
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.loop import Injections, measure_loop
from analogdfc.spice.netlist import Fidelity, Netlist
from analogdfc.spice.rest import at_rest
from analogdfc.spice.vacask import VacaskProgram
from benchmarks._measure import Case, case

HERTZ = np.geomspace(1e-3, 1e3, 301)
S = 2j * np.pi * HERTZ


def scalar(values: NDArray[Any]) -> LoopGain:
    return LoopGain(HERTZ, values.astype(np.complex128)[:, None, None])


def point_of(chip: Chip, here: Case) -> OperatingPoint:
    return OperatingPoint.of(StaticChip.of(chip).solve(here.x, here.step))


# Closed forms


@pytest.mark.parametrize("k", [0.3, 1.0, 20.0])
def test_an_integrator_with_one_pole_has_the_phase_margin_of_its_closed_form(k: float) -> None:
    tau = 0.7
    found = scalar(k / (S * (1 + tau * S))).margins
    crossing = math.sqrt((math.sqrt(1 + (2 * k * tau) ** 2) - 1) / (2 * tau**2))
    assert found.degrees == pytest.approx(90 - math.degrees(math.atan(crossing * tau)), abs=0.05)
    assert found.phase_at == pytest.approx(crossing / (2 * math.pi), rel=1e-3)
    assert found.gain == math.inf


def test_three_equal_poles_oscillate_at_eight_times_a_gain_of_one() -> None:
    found = scalar(2 / (1 + S) ** 3).margins
    assert found.gain == pytest.approx(8 / 2, rel=1e-3)
    assert found.gain_at == pytest.approx(math.sqrt(3) / (2 * math.pi), rel=1e-3)


def test_a_loop_below_one_has_no_crossover() -> None:
    found = scalar(0.5 / (1 + S)).margins
    assert (found.degrees, found.gain) == (180.0, math.inf)
    assert math.isnan(found.phase_at)


def test_channels_are_seen_with_the_loops_of_the_others_closed() -> None:
    g = np.array([[3.0, 1.0], [2.0, 4.0]])
    found = LoopGain(HERTZ, (g / (1 + S)[:, None, None]).astype(complex))
    first = found.determinant / (1 + 4 / (1 + S)) - 1
    assert found.channels[:, 0] == pytest.approx(first)
    assert np.sort(found.loci.real[0]) == pytest.approx([2, 5], rel=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_poles_that_a_fit_makes_of_noise_are_left_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hertz = np.logspace(3, 7, 140)
    s = 2j * np.pi * hertz[:, None, None]
    true = -2e4 * np.pi * np.array([1, 1.3, 8, 15, 16, 21, 34, 43, 51])
    closed = sum(rng.normal(size=(2, 2)) * abs(p) / (s - p) for p in true)
    closed = closed / np.abs(closed).max() / 2
    matrix = np.linalg.solve(np.eye(2) - closed, closed)
    noisy = np.asarray(matrix * (1 + 3e-6 * rng.normal(size=matrix.shape)), dtype=np.complex128)
    found = LoopGain(hertz, noisy).poles
    found = found[np.abs(found) < 2e6 * np.pi]
    assert len(found) >= 6
    assert all(np.abs(true - pole).min() < 0.05 * abs(pole) for pole in found)


def test_poles_are_those_of_the_closed_loop() -> None:
    # 1 + 20 / ((1 + s) (1 + s / 8)) = 0
    found = scalar(20 / ((1 + S) * (1 + S / 8))).poles
    expected = np.roots([1 / 8, 1 + 1 / 8, 21])
    assert found == pytest.approx([expected[expected.imag > 0][0]], rel=1e-6)


def test_loci_keep_their_order_where_they_cross() -> None:
    loci = np.stack([10 / (1 + S), 1 / (1 + S / 100)], axis=1)
    gain = np.zeros((len(S), 2, 2), dtype=complex)
    gain[:, 0, 0], gain[:, 1, 1] = loci.T
    found = LoopGain(HERTZ, gain).loci
    assert found[:, np.argsort(-np.abs(found[0]))] == pytest.approx(loci)


def test_frequencies_must_rise() -> None:
    with pytest.raises(UserError, match="rising"):
        LoopGain(np.array([1.0, 1.0]), np.ones((2, 1, 1), dtype=complex))


# What probes see


def seen(y: NDArray[Any], n: int) -> Injections:
    """What probes see of a network of admittances between n driving and n driven nodes."""
    aa, ab, ba, bb = y[:n, :n], y[:n, n:], y[n:, :n], y[n:, n:]
    whole = np.linalg.inv(aa + ab + ba + bb)
    behind = -whole @ (ab + bb)
    current = aa @ behind + ab @ (behind + np.eye(n))
    share = (aa + ab) @ whole
    parts = (behind, current, whole, share)
    return Injections(*(part[None].astype(np.complex128) for part in parts))


def test_the_gain_behind_probes_is_that_of_any_impedances() -> None:
    draw = np.random.default_rng(3)
    n = 3
    y = draw.standard_normal((2 * n, 2 * n)) + 1j * draw.standard_normal((2 * n, 2 * n))
    expected = np.linalg.solve(y[:n, :n] + y[n:, n:], y[:n, n:] + y[n:, :n])
    assert seen(y, n).gain()[0] == pytest.approx(expected)


def test_the_gain_of_one_channel_is_that_of_tian() -> None:
    y = np.array([[2 + 1j, 30.0], [0.1, 0.5]])
    found = seen(y, 1)
    behind, i, w, d = (part[0, 0, 0] for part in found)
    v = behind + 1  # on the driven side
    difference = 2 * (i * w - v * d) + v + d
    assert found.gain()[0, 0, 0] == pytest.approx(-1 / (1 - 1 / difference))


# A chip


def neuron() -> Case:
    """One linear neuron under PI control."""
    return case((1, 1), 1, 1, controller=PI(k_p=1.5, alpha=0.01))


def test_one_neuron_has_the_loop_gain_of_its_equations() -> None:
    here = neuron()
    chip = Chip.of(here.design.ideal())
    found = loop_gain(chip, point_of(chip, here), Band.of(chip).hertz)
    s = 2j * np.pi * found.hertz * here.design.seconds
    (q,) = here.design.feedback
    expected = q.item() * (1 + 1.5 * s) / ((0.01 + s) * (1 + here.design.tau_v * s))
    assert found.matrix[:, 0, 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("controller", "fidelity"),
    [(PI(), "ideal"), (PI(), "macro"), (PID(), "macro")],
    ids=lambda value: value if isinstance(value, str) else f"k_d={value.k_d}",
)
def test_margins_and_poles_of_the_circuit_are_those_of_the_equations(
    controller: Controller, fidelity: Fidelity
) -> None:
    here = case((3, 4, 2), 0, 1, controller=controller)
    netlist = Netlist.of(Chip.of(here.design, 1), fidelity)
    measured = measure_loop(netlist, here.x[0], here.step[0], BatchProcess())
    assert measured.made_by.startswith("ngspice")
    chip, found = netlist.chip, measured.gain
    point = point_of(chip, here)
    model = loop_gain(chip, point, found.hertz)
    audible = np.abs(model.loci).min(axis=1) > 0.1
    assert audible.sum() > 100
    assert found.matrix[audible] == pytest.approx(model.matrix[audible], rel=1e-3)
    pairs = zip(
        (found.margins, *found.channel_margins), (model.margins, *model.channel_margins),
        strict=True,
    )  # fmt: skip
    for one, other in pairs:
        assert one.degrees == pytest.approx(other.degrees, abs=0.01)
        assert one.gain == pytest.approx(other.gain, rel=5e-3)
    for mode in Spectrum(LoopTransfer(chip, point)).modes().values:
        assert np.abs(found.poles - mode).min() < 1e-4 * abs(mode)


def test_holds_of_the_circuit_keep_what_those_of_the_model_do() -> None:
    here = case((3, 4, 2), 0, 1)
    netlist = Netlist.of(Chip.of(here.design, 1), "macro")
    bench = at_rest(netlist, here.x[0], here.step[0], BatchProcess())
    state = StaticChip.of(netlist.chip).solve(here.x, here.step)
    output = state.volts_free[netlist.chip.circuit.output.bank][0]
    assert bench.held is not None
    volts = list(bench.held.values())
    assert volts[:2] == pytest.approx(output.tolist(), abs=1e-4)
    assert volts[2:] == pytest.approx(state.zero[0].tolist(), abs=1e-6)


def test_the_operating_point_is_the_rest_of_the_released_loop() -> None:
    here = case((3, 4, 2), 0, 1)
    netlist = Netlist.of(Chip.of(here.design, 1), "macro")
    simulator = BatchProcess()
    bench = at_rest(netlist, here.x[0], here.step[0], simulator)
    deck = bench.netlist(netlist).deck(bench.text(".op"))
    control = netlist.chip.circuit.control.u
    nodes = netlist.chip.circuit.names(control.port)
    found = simulator.analyse(deck, analysis="op", save=nodes).signals
    volts = torch.tensor([found[node][0] for node in nodes])
    wanted = StaticChip.of(netlist.chip).solve(here.x, here.step).volts_rest[control.bank][0]
    assert float((volts - wanted).abs().max()) < 1e-3 * float(wanted.abs().max())


def test_a_simulator_without_small_signals_is_refused() -> None:
    here = neuron()
    netlist = Netlist.of(Chip.of(here.design), "macro")
    with pytest.raises(UserError, match="no small-signal analysis"):
        measure_loop(netlist, here.x[0], here.step[0], VacaskProgram())
