"""The models predict the circuit: ideal against ideal cells, behavioural against macro cells."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from analogdfc.cards.technology import LOOP_IMPERFECTIONS as IMPERFECTIONS
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.design import Readout
from analogdfc.comparison import Comparison
from analogdfc.controller import PD, PI, PID, Controller, I, P
from analogdfc.dynamics import Trajectory
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.netlist import Fidelity
from benchmarks._measure import Case, case, worst_angle, worst_norm
from benchmarks.parity import (
    ANGLE_BAR,
    BANDWIDTHS,
    CHIPS,
    DEVICES,
    HOUR,
    IDEAL_BAR,
    LARGE,
    NETWORK_SEEDS,
    NORM_BAR,
    SIGNAL_BAR,
    SMALL,
    STATIC_BAR,
    TILE,
)

CHIP = 0


def assert_within_bars(result: Comparison, bar: float = SIGNAL_BAR) -> None:
    """Every signal, and the update of every layer, within what is promised."""
    assert set(result.signals) >= {"v1", "u", "e"}
    assert {k: v for k, v in result.signals.items() if not v <= bar} == {}
    assert worst_angle(result) <= ANGLE_BAR
    assert worst_norm(result) <= NORM_BAR


def assert_model_predicts_macro_cells(here: Case, chip: int = CHIP) -> Comparison:
    result = here.parity(here.circuit(chip, "macro"), here.behavioural([chip])[0])
    assert_within_bars(result)
    return result


def with_all(here: Case) -> Case:
    """The case with a card that has every imperfection."""
    tanh = {
        "peak_current": 2.1e-6,
        "scale": 0.26,
        "input_resistance": 20e3,
        "current_mismatch": 0.02,
    }
    return here.on(here.design.card.replace("tanh", **tanh))


# The promised bars.


@pytest.mark.parametrize("seed", NETWORK_SEEDS)
def test_ideal_dynamics_are_what_ideal_cells_do(seed: int) -> None:
    here = case(SMALL, seed, 2)
    result = here.parity(here.circuit(None, "ideal"), here.ideal())
    assert_within_bars(result, IDEAL_BAR)


@pytest.mark.slow
@pytest.mark.parametrize("seed", NETWORK_SEEDS)
def test_ideal_dynamics_are_what_ideal_cells_do_in_a_larger_network(seed: int) -> None:
    here = case(LARGE, seed, 1)
    result = here.parity(here.circuit(None, "ideal"), here.ideal())
    assert_within_bars(result, IDEAL_BAR)


@pytest.mark.slow
@pytest.mark.parametrize("product", BANDWIDTHS)
def test_full_model_and_static_rung_predict_five_chips_with_all_imperfections(
    product: float,
) -> None:
    here = with_all(case(SMALL, 0, 2)).at_bandwidth(product)
    assert set(here.design.card.imperfections) == set(IMPERFECTIONS)
    models, rest = here.behavioural(CHIPS), here.behavioural(CHIPS, Rung.STATIC)
    for chip, model, low in zip(CHIPS, models, rest, strict=True):
        circuit = here.circuit(chip, "macro")
        assert_within_bars(here.parity(circuit, model))
        assert here.parity(circuit, low).updates["all"].error <= STATIC_BAR


@pytest.mark.slow
@pytest.mark.parametrize("product", BANDWIDTHS)
def test_full_model_and_static_rung_predict_a_larger_chip(product: float) -> None:
    here = case(LARGE, 0, 1).at_bandwidth(product)
    circuit = here.circuit(CHIP, "macro")
    assert_within_bars(here.parity(circuit, here.behavioural([CHIP])[0]))
    low = here.behavioural([CHIP], Rung.STATIC)[0]
    assert here.parity(circuit, low).updates["all"].error <= STATIC_BAR


def test_every_rung_of_the_ladder_is_closer_to_the_circuit_than_the_one_before() -> None:
    here = case(SMALL, 0, 2).at_bandwidth(30)
    circuit = here.circuit(CHIP, "macro")
    models = [here.ideal(), *(here.behavioural([CHIP], rung)[0] for rung in Rung)]
    for signal in ("v1", "v2", "u settled"):
        errors = [here.parity(circuit, model).signals[signal] for model in models]
        assert errors == sorted(errors, reverse=True), signal


# Everything that can be switched.


@pytest.mark.parametrize("name", IMPERFECTIONS)
def test_model_predicts_each_imperfection_alone(name: str) -> None:
    here = with_all(case(SMALL, 0, 1))
    rest = [other for other in IMPERFECTIONS if other != name]
    alone = here.on(here.design.card.without(*rest))
    assert alone.design.card.imperfections == (name,)
    assert_model_predicts_macro_cells(alone)


@pytest.mark.parametrize("name", DEVICES)
def test_model_predicts_a_chip_of_devices_after_an_hour(name: str) -> None:
    here = case(SMALL, 0, 2).of_devices(name, HOUR)
    assert "device mismatch" not in here.design.imperfections
    assert {"programming noise", "drift", "read noise"} <= set(here.design.imperfections)
    result = assert_model_predicts_macro_cells(here)
    apart = here.compare("ideal", "chip", "deviation", here.ideal(), here.behavioural([CHIP])[0])
    assert worst_angle(apart) > 20 * worst_angle(result)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEVICES)
def test_model_predicts_a_larger_chip_of_devices_in_tiles(name: str) -> None:
    here = case(LARGE, 0, 1).of_devices(name, HOUR)
    tiled = here.in_tiles(TILE)
    circuit = tiled.circuit(CHIP, "macro")
    assert_within_bars(here.parity(circuit, tiled.behavioural([CHIP])[0]))
    whole = here.parity(circuit, here.behavioural([CHIP])[0])
    assert whole.signals["v1"] > 2 * SIGNAL_BAR


def test_macro_cells_without_imperfections_do_what_ideal_cells_do() -> None:
    here = case(SMALL, 0, 1)
    perfect = here.on(here.design.card.ideal())
    circuit = perfect.circuit(CHIP, "macro")
    assert_within_bars(here.parity(circuit, here.ideal()), IDEAL_BAR)
    assert_within_bars(here.parity(circuit, perfect.behavioural([CHIP])[0]), IDEAL_BAR)


@pytest.mark.parametrize(
    "readout",
    [
        Readout(double_sampling=False),
        Readout(auto_zero=False),
        Readout(relative_target=False),
        Readout(double_sampling=False, auto_zero=False, relative_target=False),
    ],
    ids=["no double sampling", "no auto-zero", "absolute target", "none"],
)
def test_model_predicts_every_way_to_read_a_chip(readout: Readout) -> None:
    here = case(SMALL, 0, 1, readout=readout)
    assert_model_predicts_macro_cells(here)
    ideal = here.parity(here.circuit(None, "ideal"), here.ideal())
    assert_within_bars(ideal, IDEAL_BAR)


def test_the_ways_to_read_a_chip_differ_in_the_circuit_too() -> None:
    usual = case(SMALL, 0, 1)
    reference = usual.circuit(CHIP, "macro")
    for readout in (Readout(auto_zero=False), Readout(relative_target=False)):
        other = case(SMALL, 0, 1, readout=readout)
        u = other.circuit(CHIP, "macro").u
        assert float((u - reference.u).norm() / reference.u.norm()) > 10 * SIGNAL_BAR


@pytest.mark.parametrize(
    "controller",
    [PI(k_p=0.0), PI(alpha=0.0), PI(k_p=0.0, alpha=0.0), PI(k_p=4.0, alpha=0.1, tau_u=0.5)],
    ids=["no proportional part", "no leak", "integrator", "fast and leaky"],
)
def test_model_predicts_every_controller(controller: PI) -> None:
    here = case(SMALL, 0, 1, controller=controller)
    assert_model_predicts_macro_cells(here)
    assert_within_bars(here.parity(here.circuit(None, "ideal"), here.ideal()), IDEAL_BAR)


@pytest.mark.parametrize("layers", [(3, 2), (1, 1), (2, 3, 3, 2)], ids=str)
def test_model_predicts_networks_of_other_depths(layers: tuple[int, ...]) -> None:
    assert_model_predicts_macro_cells(case(layers, 0, 1))


@pytest.mark.parametrize("tau_u", [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
@pytest.mark.parametrize("fidelity", ["ideal", "macro"])
def test_models_predict_loops_of_any_speed_with_the_same_amplifiers(
    fidelity: Fidelity, tau_u: float
) -> None:
    usual = replace(case(SMALL, 0, 1), dt=0.1, steps=200)
    here = usual.on(usual.design.card.replace("scale", time=tau_u))
    circuit = here.circuit(CHIP, fidelity)
    if fidelity == "ideal":
        assert_within_bars(here.parity(circuit, here.ideal()), IDEAL_BAR)
    else:
        assert_within_bars(here.parity(circuit, here.behavioural([CHIP])[0]), IDEAL_BAR)


@pytest.mark.parametrize("controller", [P(2.0), I(), PD(2.0, k_d=0.1), PID(k_d=0.2)], ids=str)
def test_model_predicts_every_controller_in_a_slow_loop(controller: Controller) -> None:
    usual = replace(case(SMALL, 0, 1, controller=controller), dt=0.1, steps=100)
    here = usual.on(usual.design.card.replace("scale", time=0.1))
    result = here.parity(here.circuit(CHIP, "macro"), here.behavioural([CHIP])[0])
    assert_within_bars(result, IDEAL_BAR)


@pytest.mark.parametrize("backend", ["batch", "shared"])
@pytest.mark.parametrize("seed", NETWORK_SEEDS)
def test_a_slow_loop_runs_in_both_backends(seed: int, backend: str) -> None:
    usual = replace(case((5, 4, 7, 3), seed, 1), dt=0.1, steps=50)
    here = usual.on(usual.design.card.replace("scale", time=1e-2))
    circuit = here.circuit(CHIP, "macro", simulator=get_simulator(backend))
    assert_within_bars(here.parity(circuit, here.behavioural([CHIP])[0]))


def test_model_predicts_amplifiers_that_slew() -> None:
    fast = case(SMALL, 0, 1, target=1.0)
    slow = fast.on(fast.design.card.replace("amplifier", slew_rate=3e6))
    assert_model_predicts_macro_cells(slow)
    runs = [here.behavioural([CHIP])[0].u for here in (fast, slow)]
    assert float((runs[1] - runs[0]).norm() / runs[0].norm()) > 10 * SIGNAL_BAR


def test_model_predicts_amplifiers_at_their_rails() -> None:
    high = case(SMALL, 0, 1, target=0.5)
    low = high.on(high.design.card.replace("amplifier", saturation=0.3))
    assert_model_predicts_macro_cells(low)
    runs = [here.behavioural([CHIP])[0].u for here in (high, low)]
    assert float((runs[1] - runs[0]).norm() / runs[0].norm()) > 10 * SIGNAL_BAR


def test_both_ways_to_run_ngspice_give_the_same_waveforms_of_a_chip() -> None:
    here = replace(case(SMALL, 0, 1), steps=100)
    runs = [
        here.circuit(CHIP, "macro", simulator=get_simulator(name)) for name in ("batch", "shared")
    ]
    for one, other in zip(*map(waveforms, runs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def waveforms(run: Trajectory) -> list[torch.Tensor]:
    readings = (run.neurons, run.free)
    layers = [layer for r in readings for s in (r.v, r.v_ff, r.r, r.r_ff) for layer in s]
    return [*layers, run.u, run.e]


def test_a_batch_in_parallel_is_each_sample_alone() -> None:
    both = replace(case(SMALL, 0, 2), steps=50)
    together = both.circuit(CHIP, "macro", jobs=2)
    for k in range(2):
        alone = replace(both, x=both.x[k : k + 1], step=both.step[k : k + 1])
        for one, other in zip(
            waveforms(alone.circuit(CHIP, "macro")), waveforms(together), strict=True
        ):
            assert torch.equal(one[0], other[k])
