"""The behavioural realisation against the equations of the paper and hand-worked amplifiers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray
from parts import controller, layers
from scipy.optimize import linear_sum_assignment, root
from strategies import autograd_jacobian, network_of, normal, seeds, small_networks
from torch import Tensor

from analogdfc.cards.technology import IMPERFECTIONS as OF_CARD
from analogdfc.cards.technology import LOOP_IMPERFECTIONS as IMPERFECTIONS
from analogdfc.cards.technology import Card
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design, Readout
from analogdfc.controller import PI
from analogdfc.dynamics import Euler, RungeKutta4, Trajectory, Update, simulate
from analogdfc.dynamics.loop import Loop
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from benchmarks._measure import case

CARD = Card.load("discrete_100mhz").replace(
    "tanh", peak_current=2.1e-6, scale=0.26, input_resistance=1e3, current_mismatch=0.02
)
IDEAL = CARD.ideal()
PLAIN = Readout(double_sampling=False, auto_zero=False, relative_target=False)


def design_of(
    network: Network,
    card: Card = IDEAL,
    pi: PI | None = None,
    readout: Readout | None = None,
) -> Design:
    feedback = DirectFeedback.transposed(network)
    return Design.of(network, feedback, card, controller=pi, readout=readout)


def only(*names: str) -> Card:
    """The card with these imperfections and no others."""
    return CARD.without(*(set(OF_CARD) - set(names)))


def inputs_of(network: Network, batch: int = 1, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Inputs, and steps of the target by 0.15 up or down."""
    step = 0.15 * normal(seed + 1, batch, network.sizes[-1]).sign()
    return normal(seed, batch, network.sizes[0]), step


def ideal_run(loop: Loop, x: Tensor, target: Tensor, dt: float, steps: int) -> Trajectory:
    method = RungeKutta4(math.ceil(dt / 0.0025))
    return simulate(loop, x, target, dt=dt, steps=steps, integrator=method)


def signals(run: Trajectory) -> dict[str, Tensor]:
    out = {"u": run.u, "e": run.e}
    for name in ("v", "v_ff", "r", "r_ff"):
        for i, layer in enumerate(getattr(run.neurons, name), start=1):
            out[f"{name}_{i}"] = layer
    return out


def apart(one: Trajectory, other: Trajectory, since: int = 0) -> float:
    """Largest difference of any signal, relative to the largest value of that signal."""
    theirs = signals(other)
    return max(
        float((ours - theirs[name]).abs()[:, since:].max() / theirs[name].abs().max())
        for name, ours in signals(one).items()
    )


def update_error(one: Update, other: Update) -> float:
    """Relative Frobenius error, over all samples."""
    ours, theirs = (torch.cat([t.flatten() for t in (*u.weights, *u.biases)]) for u in (one, other))
    return float((ours - theirs).norm() / theirs.norm())


# The ideal limit


@pytest.mark.parametrize("rung", Rung)
def test_without_imperfections_every_rung_is_the_ideal_loop(rung: Rung) -> None:
    check_ideal(rung, network_of([3, 4, 2], seed=1), 0)


@pytest.mark.parametrize("rung", Rung)
@given(small_networks(most=4), seeds())
@settings(max_examples=3)
def test_without_imperfections_any_network_is_the_ideal_loop(
    rung: Rung, network: Network, seed: int
) -> None:
    check_ideal(rung, network, seed)


def check_ideal(rung: Rung, network: Network, seed: int) -> None:
    design = design_of(network)
    x, step = inputs_of(network, 2, seed)
    (found,) = Behavioural([Chip.of(design)], rung, tolerance=2e-8).run(x, step, dt=0.05, steps=20)
    exact = ideal_run(design.loop(), x, network(x).detach() + step, 0.05, 20)
    assert apart(found, exact) < 1e-4
    assert update_error(Update.of(found), Update.of(exact)) < 1e-4
    for ours, theirs in zip(found.free.v, exact.free.v, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.t, exact.t, rtol=1e-12, atol=0)


VANISHING: dict[str, dict[str, dict[str, float | None]]] = {
    "device mismatch": {"device": {"mismatch": 1e-9}},
    "passive tolerance": {"passive": {"tolerance": 1e-9}},
    "finite levels": {"device": {"levels": 1e12}},
    "wire resistance": {"wire": {"word": 1e-5, "bit": 1e-5}},
    "line capacitance": {"wire": {"capacitance": 1e-22}},
    "finite gain": {"amplifier": {"gain": 1e11}},
    "finite bandwidth": {"amplifier": {"gain_bandwidth": 1e12}},
    "second pole": {"amplifier": {"second_pole": 1e12}},
    "slew rate": {"amplifier": {"slew_rate": 1e13}},
    "output resistance": {"amplifier": {"output_resistance": 1e-5}},
    "input capacitance": {"amplifier": {"input_capacitance": 1e-21}},
    "saturation": {"amplifier": {"saturation": 90.0}},
    "amplifier offset": {"amplifier": {"offset": 1e-9}},
    "tanh offset": {"tanh": {"offset": 1e-9}},
    "tanh mismatch": {"tanh": {"current_mismatch": 1e-9}},
    "tanh current and scale": {
        "tanh": {
            "peak_current": CARD.tanh.current * (1 + 1e-9),
            "scale": CARD.scale.activation * (1 + 1e-9),
        }
    },
    "tanh input resistance": {"tanh": {"input_resistance": 1e14}},
}


CARRIED = {
    "finite bandwidth": ("second pole", "slew rate", "input capacitance", "line capacitance")
}
"""Limits of an amplifier that take effect with a finite bandwidth only."""


def test_every_imperfection_has_a_vanishing_case() -> None:
    assert set(VANISHING) == set(IMPERFECTIONS)


@pytest.mark.parametrize("name", IMPERFECTIONS)
@pytest.mark.parametrize("rung", [Rung.ONE_LAG, Rung.FULL])
def test_an_imperfection_that_vanishes_is_one_that_is_switched_off(rung: Rung, name: str) -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    card = CARD.without(*CARRIED.get(name, ()))
    off = card.without(name)
    for section, values in VANISHING[name].items():
        card = card.replace(section, **values)
    there, not_there = (
        Behavioural([Chip.of(design_of(network, c), 3)], rung).run(x, step, dt=0.05, steps=20)[0]
        for c in (card, off)
    )
    # At the release itself the controller jumps, the faster the less holds it back.
    assert apart(there, not_there, since=1) < 1e-4
    for v, v_off in zip(there.free.v, not_there.free.v, strict=True):
        torch.testing.assert_close(v, v_off, rtol=0, atol=1e-6)


@cache
def hard_run(off: str | None) -> Trajectory:
    """With a step large enough for the slew rate and the rails."""
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    chip = Chip.of(design_of(network, CARD.without(off) if off else CARD), 3)
    return Behavioural([chip], tolerance=1e-5).run(x, 12 * step, dt=0.005, steps=15)[0]


@pytest.mark.parametrize("name", IMPERFECTIONS)
def test_no_imperfection_is_without_effect(name: str) -> None:
    assert apart(hard_run(None), hard_run(name)) > 1e-3


# One imperfection at a time, worked by hand


@pytest.mark.parametrize("rung", [Rung.STATIC, Rung.FULL])
@pytest.mark.parametrize("gain", [1e2, 1e3, 1e4, 1e5])
def test_finite_gain_adds_to_the_leak(gain: float, rung: Rung) -> None:
    # The integrator's virtual ground moves by -V / A0, and a sum of input gains m = 1 (its one
    # input resistor R_i) and the leak's own pull on it: alpha_eff = alpha + (m + alpha) / A0.
    # E is read at the error amplifier; the control signal is read behind the inverter, which
    # falls short of the integrator's output by 1 + 2 / A0.
    alpha = 0.0015
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    design = design_of(network, IDEAL.replace("amplifier", gain=gain), PI(2.0, alpha))
    (run,) = Behavioural([Chip.of(design)], rung).run(x, step, dt=1.0, steps=60)
    u = run.u[:, -1] * (1 + 2 / gain)
    formula = alpha + (1 + alpha) / gain
    assert (run.e[:, -1] / u).flatten().tolist() == pytest.approx([formula] * 2, rel=1e-3)
    assert formula == pytest.approx(
        {1e2: 0.0115, 1e3: 0.0025, 1e4: 0.0016, 1e5: 0.00151}[gain], rel=0.01
    )


def test_the_gain_of_a_stage_is_short_by_its_noise_gain_over_the_open_loop_gain() -> None:
    # V_ff of one neuron: the basal amplifier's noise gain is 1 + R_f (all devices on its node).
    network, gain = network_of([3, 4, 2], seed=1), 200.0
    x, step = inputs_of(network)
    design = design_of(network, IDEAL.replace("amplifier", gain=gain))
    (run,) = Behavioural([Chip.of(design)]).run(x, step, dt=0.1, steps=1)
    parts = layers(Chip.of(design))[0]
    noise_gain = 1 + 1e5 * (parts.w_plus + parts.w_minus).sum(dim=1)
    exact = network.potentials(x)[0].detach() / (1 + noise_gain / gain)
    torch.testing.assert_close(run.free.v_ff[0], exact, rtol=1e-10, atol=0)


@pytest.mark.parametrize("auto_zero", [True, False])
@pytest.mark.parametrize("rung", [Rung.STATIC, Rung.FULL])
def test_offsets_of_the_controller_miss_the_target_unless_they_are_zeroed(
    auto_zero: bool, rung: Rung
) -> None:
    # Gain 2 from v to e: E = 5 os_e - 2 (V_L - V*), and the integrator rests at E = os_pi.
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    pi, readout = PI(2.0, 0.0), Readout(auto_zero=auto_zero)
    chip = Chip.of(design_of(network, only("amplifier offset"), pi, readout), 4)
    (run,) = Behavioural([chip], rung).run(x, step, dt=1.0, steps=60)
    stages = controller(chip).stages
    missed = (5 * stages["error"].offset - stages["pi"].offset) / 2 / 0.25
    if auto_zero:
        missed = torch.zeros_like(missed)
    reached = run.neurons.v[-1][:, -1] - run.free.v[-1] - step
    torch.testing.assert_close(reached[0], missed, rtol=0, atol=1e-5)


@pytest.mark.parametrize("auto_zero", [True, False])
@pytest.mark.parametrize("rung", [Rung.STATIC, Rung.FULL])
def test_the_controller_at_rest_leaves_its_offset_on_the_layers(
    auto_zero: bool, rung: Rung
) -> None:
    # In reset the integrator is a follower of its own offset. Without auto-zero the error
    # amplifier's 5 os_e pulls through R_i against the switch of 1 kohm.
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    chip = Chip.of(design_of(network, readout=Readout(auto_zero=auto_zero)))
    os_e, os_pi = 0.01 * normal(5, 2), 0.01 * normal(6, 2)
    offsets = {"controller.error": os_e, "controller.pi": os_pi}
    banks = [replace(b, offset=offsets.get(b.name, b.offset)) for b in chip.circuit.banks]
    chip = replace(chip, circuit=replace(chip.circuit, banks=tuple(banks)))
    (run,) = Behavioural([chip], rung).run(x, step, dt=0.1, steps=1)
    pulled = torch.zeros(2) if auto_zero else (5 * os_e - os_pi) * 1e-5 / (1e-3 + 1.5e-8)
    u = -(os_pi - pulled) / 0.5
    w: list[Tensor] = [p.detach() for p in network.weights]
    b: list[Tensor] = [p.detach() for p in network.biases]
    v_1 = w[0] @ x[0] + b[0] + w[1].T @ u
    v_2 = w[1] @ torch.tanh(v_1) + b[1] + u
    torch.testing.assert_close(run.free.v[0][0], v_1, rtol=0, atol=1e-10)
    torch.testing.assert_close(run.free.v[1][0], v_2, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rung", [Rung.STATIC, Rung.FULL])
def test_offsets_of_the_tanh_cells_shift_their_inputs(rung: Rung) -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    chip = Chip.of(design_of(network, only("tanh offset")), 4)
    (run,) = Behavioural([chip], rung).run(x, step, dt=0.1, steps=10)
    for cell, v, r in (
        ("act", run.neurons.v[0], run.neurons.r[0]),
        ("act_ff", run.neurons.v_ff[0], run.neurons.r_ff[0]),
    ):
        offset = layers(chip)[0].tanh_offset[cell] / 0.25
        assert offset.all()
        # Between steps the waveforms come from polynomials.
        torch.testing.assert_close(r, torch.tanh(v + offset), rtol=0, atol=1e-6)
        torch.testing.assert_close(r[:, 0], torch.tanh(v + offset)[:, 0], rtol=0, atol=1e-8)


def test_mismatch_of_the_devices_is_absorbed_in_place() -> None:
    # A chip with wrong conductances learns as the network that it has become.
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network, 3)
    design = design_of(network, IDEAL.replace("device", mismatch=0.1))
    nominal = ideal_run(design.loop(), x, network(x).detach() + step, 0.05, 40)
    for seed in range(2):
        chip = Chip.of(design, seed)
        (run,) = Behavioural([chip], tolerance=2e-7).run(x, step, dt=0.05, steps=40)
        effective, matrices = Network(network.sizes), []
        for i, parts in enumerate(layers(chip), start=1):
            w = (parts.w_plus - parts.w_minus) / chip.design.weight_unit(i)
            effective.weights[i - 1].data, effective.biases[i - 1].data = w[:, :-1], w[:, -1]
            matrices.append((parts.q_plus - parts.q_minus) / chip.design.feedback_unit(i))
        loop = Loop.of(effective, DirectFeedback(matrices), PI())
        exact = ideal_run(loop, x, effective(x).detach() + step, 0.05, 40)
        assert apart(run, exact) < 1e-4
        assert update_error(Update.of(run), Update.of(exact)) < 1e-4
        assert update_error(Update.of(run), Update.of(nominal)) > 0.01


def test_small_signals_of_wired_crossbars_shrink() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    free = []
    for r in (None, 5.0, 50.0, 500.0):
        design = design_of(network, IDEAL.replace("wire", word=r, bit=r))
        free.append(Behavioural([Chip.of(design)]).run(x, step, dt=0.1, steps=1)[0].free.v_ff[0])
    losses = [float((f - free[0]).norm() / free[0].norm()) for f in free[1:]]
    # First order in r, and of the size of r G times the number of segments squared.
    assert losses[1] == pytest.approx(10 * losses[0], rel=0.1)
    assert 1e-4 < losses[0] < 5e-3
    assert losses[2] > losses[1]


def test_rails_hold_the_amplifiers() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    free, held = (
        Behavioural([Chip.of(design_of(network, card))]).run(x, 4 * step, dt=0.02, steps=50)[0]
        for card in (IDEAL, IDEAL.replace("amplifier", saturation=0.35, gain=1e4))
    )
    volts = 0.5
    assert float(free.u.abs().max()) * volts > 0.5
    # The limit is soft: a tenth of what stands at the input comes on top.
    assert 0.34 < float(held.u.abs().max()) * volts < 0.4


def test_slewing_bounds_the_speed_of_every_amplifier() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    fast = IDEAL.replace("amplifier", gain_bandwidth=100e6)
    slow = fast.replace("amplifier", slew_rate=2e6)
    speeds = []
    for card in (fast, slow):
        run = Behavioural([Chip.of(design_of(network, card))]).run(
            x, 4 * step, dt=0.0005, steps=400
        )[0]
        volts = torch.cat([0.5 * run.u, 0.5 * run.e, 0.25 * run.neurons.v_ff[-1]], dim=-1)
        speeds.append(float(volts.diff(dim=1).abs().max()) / (0.0005 * 5e-6))
    assert speeds[0] > 10e6
    assert 1.9e6 < speeds[1] <= 2e6 * (1 + 1e-4)


# Eigenvalues


def matched(ours: NDArray[np.complex128], theirs: NDArray[np.complex128]) -> float:
    """Largest relative distance of two sets of eigenvalues, paired as well as can be."""
    assert len(ours) == len(theirs)
    distance = np.abs(ours[:, None] - theirs[None, :])
    pairs = linear_sum_assignment(distance)
    return float((distance[pairs] / np.abs(theirs[pairs[1]])).max())


@pytest.mark.parametrize("rung", [Rung.STATIC, Rung.ONE_LAG, Rung.FULL])
@pytest.mark.parametrize(("k_p", "alpha"), [(2.0, 0.0015), (0.0, 0.05), (5.0, 0.0)])
def test_modes_of_the_ideal_loop_are_the_eigenvalues_of_its_jacobian(
    rung: Rung, k_p: float, alpha: float
) -> None:
    network, pi, tau_v = network_of([3, 4, 2], seed=1), PI(k_p, alpha), 0.2
    x, step = inputs_of(network)
    target = network(x).detach()[0] + step[0]
    w: list[Tensor] = [p.detach() for p in network.weights]
    b: list[Tensor] = [p.detach() for p in network.biases]
    q_1 = w[1].T

    def slope(z: Tensor) -> Tensor:
        v_1, v_2, u_int = z[:4], z[4:6], z[6:]
        e = target - v_2
        u = u_int + k_p * e
        dv_1 = (w[0] @ x[0] + b[0] - v_1 + q_1 @ u) / tau_v
        dv_2 = (w[1] @ torch.tanh(v_1) + b[1] - v_2 + u) / tau_v
        return torch.cat([dv_1, dv_2, e - alpha * u])

    def residual(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(slope(torch.from_numpy(z)).numpy())

    steady = root(residual, np.zeros(8), tol=1e-12)
    assert steady.success
    jacobian = autograd_jacobian(slope, torch.from_numpy(steady.x)).numpy()
    exact = np.linalg.eigvals(jacobian).astype(np.complex128)
    ((found,),) = Behavioural([Chip.of(design_of(network, pi=pi))], rung).modes(x, step)
    assert matched(found, exact) < 1e-6
    assert (np.diff(found.real) <= 1e-9).all()


@pytest.mark.parametrize("rung", [Rung.TWO_LAG, Rung.FULL])
@pytest.mark.parametrize("gbw", [100e6, 10e6])
def test_modes_of_one_neuron_with_slow_amplifiers_worked_by_hand(gbw: float, rung: Rung) -> None:
    # One linear neuron, w = 0.8, b = 0. An amplifier is V = - omega / s V_x; in Kirchhoff's law of
    # its node each stage gets the denominator G_f + s / omega (sum of all G on the node).
    network = Network([1, 1])
    network.weights[0].data.fill_(0.8)
    alpha, k_p = 0.0015, 2.0
    s, omega = np.poly1d([1.0, 0.0]), 2 * np.pi * gbw
    g = 1e-5  # every resistor but these:
    g_leak, r_p, c_i = 1e-5 * alpha, 2e5 / 0.997, 49.85e-12
    w, q = (9e-6, 1e-6), (6e-6, 1e-6)
    basal = g + s / omega * (g + sum(w) + 2e-6)  # and the bias row's pair at rest
    error = g / 2 + s / omega * (g / 2 + 2 * g)
    # Feedback of the integrator: g_leak + s C / (1 + s R_p C), times 1 + s R_p C.
    branch = 1 + s * r_p * c_i
    feedback = g_leak * branch + s * c_i
    pi = feedback + s / omega * (g * branch + feedback)
    inverter = g + s / omega * (2 * g)
    soma = (g + s * 1e-11) * (1 + s / omega) + s / omega * (g + sum(q))
    # Round the loop: -g into the error amplifier, -g into the integrator, then -q+ into the soma
    # directly and -q- through the inverter, -g.
    direct = g * g * branch * (q[0] * inverter - q[1] * g)
    characteristic = basal * (error * pi * inverter * soma + direct)
    exact = (characteristic.roots * 5e-6).astype(np.complex128)
    design = design_of(network, IDEAL.replace("amplifier", gain_bandwidth=gbw), PI(k_p, alpha))
    x, step = torch.ones(1, 1), torch.full((1, 1), 0.1)
    ((found,),) = Behavioural([Chip.of(design)], rung).modes(x, step)
    assert matched(found, exact) < 1e-6


def nodal_determinant(s: complex) -> complex:
    """Of one neuron's circuit on the card's amplifiers, node by node; w = 0.8, b = 0, Q = 1."""
    amplifiers = ["basal", "soma", "error", "pi", "inverter"]
    node = {f"{a}.x": k for k, a in enumerate(amplifiers)}
    node |= {f"{a}.o": 5 + k for k, a in enumerate(amplifiers)}
    y = np.zeros((10, 10), dtype=np.complex128)

    def connect(a: str, b: str, admittance: complex) -> None:
        i = node[a]
        y[i, i] += admittance
        if b != "ground":
            j = node[b]
            y[j, j] += admittance
            y[i, j] -= admittance
            y[j, i] -= admittance

    omega, pole, gain, r_out, c_in, g = 2e8 * np.pi, 6e8 * np.pi, 1e4, 100.0, 1e-13, 1e-5
    r_p, c_i, g_leak = 2e5 / 0.997, 49.85e-12, 1.5e-8

    def parallel(conductance: float, r: float) -> complex:
        return conductance + s * math.sqrt(c_in / (r * omega))

    connect("basal.x", "ground", 9e-6 + 1e-6 + 1e-6 + 1e-6)  # w+, w- and the bias row's pair
    connect("basal.x", "basal.o", parallel(g, 1e5))
    connect("soma.x", "basal.o", g)
    connect("soma.x", "soma.o", g + s * 1e-11)
    connect("soma.x", "pi.o", 6e-6)
    connect("soma.x", "inverter.o", 1e-6)
    connect("error.x", "soma.o", g)
    connect("error.x", "ground", g)  # the target
    connect("error.x", "error.o", parallel(g / 2, 2e5))
    connect("pi.x", "error.o", g)
    connect("pi.x", "pi.o", parallel(g_leak, r_p) + 1 / (r_p + 1 / (s * c_i)))
    connect("inverter.x", "pi.o", g)
    connect("inverter.x", "inverter.o", parallel(g, 1e5))
    for a in amplifiers:
        connect(f"{a}.x", "ground", s * c_in)
    # V_o = - V_x / ((s / omega + 1 / A0) (1 + s / p2)) - R_out I_o.
    for k in range(5):
        y[5 + k] *= r_out
        y[5 + k, 5 + k] += 1
        y[5 + k, k] += 1 / ((s / omega + 1 / gain) * (1 + s / pole))
    return complex(np.linalg.det(y))


def test_modes_of_the_full_model_are_zeros_of_the_nodal_determinant() -> None:
    network = Network([1, 1])
    network.weights[0].data.fill_(0.8)
    card = CARD.without(
        "finite levels", "wire resistance", "line capacitance", "slew rate", "saturation"
    )
    x, step = torch.ones(1, 1), torch.full((1, 1), 0.1)
    ((found,),) = Behavioural([Chip.of(design_of(network, card))]).modes(x, step)
    # Two poles an amplifier, a capacitor at each of its two nodes, and the integrator's.
    assert len(found) == 5 * 4 + 1
    assert (found.real < 0).all()
    for mode in found / 5e-6:
        # As near a zero as the eigenvalue is exact, against a point one percent away.
        assert abs(nodal_determinant(mode) / nodal_determinant(1.01 * mode)) < 1e-6


def test_an_unstable_loop_grows_at_the_rate_of_its_first_mode() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    card = IDEAL.replace("amplifier", gain_bandwidth=10e6)
    model = Behavioural([Chip.of(design_of(network, card, PI(5.0)))], tolerance=1e-9)
    small = 1e-4 * step
    ((modes,),) = model.modes(x, small)
    first = modes[0]
    assert first.real > 1
    dt = 0.005
    u = model.run(x, small, dt=dt, steps=240)[0].u[0, 80:].numpy()
    # Linear prediction: u[k + 4] from the four values before, over all times and channels.
    past = np.concatenate([np.stack([c[i : i + len(c) - 4] for i in range(4)], 1) for c in u.T])
    ahead = np.concatenate([c[4:] for c in u.T])
    coefficients = np.linalg.lstsq(past, ahead, rcond=None)[0]
    roots = np.log(np.roots([1.0, *-coefficients[::-1]]).astype(np.complex128)) / dt
    seen = max(roots, key=lambda r: r.real)
    assert seen.real == pytest.approx(first.real, rel=0.02)
    assert abs(seen.imag) == pytest.approx(abs(first.imag), rel=0.02)


# The ladder


def at_bandwidth(gbw: float, seeds: int) -> list[Chip]:
    """Chips with all imperfections; gain-bandwidth times tau_v is `gbw` in MHz."""
    card = CARD.replace("amplifier", gain_bandwidth=gbw, second_pole=3 * gbw)
    return [Chip.of(design_of(network_of([3, 4, 2], seed=1), card), seed) for seed in range(seeds)]


@pytest.mark.parametrize("gbw", [100e6, 30e6])
def test_every_rung_of_the_ladder_comes_closer_to_the_full_model(gbw: float) -> None:
    # The table of the prototype's report, C.
    x, step = inputs_of(network_of([3, 4, 2], seed=1))
    chips = at_bandwidth(gbw, 2)
    runs = {r: Behavioural(chips, r).run(x, step, dt=0.04, steps=50) for r in Rung}
    potentials, controls = [], []
    for rung in Rung:
        pairs = list(zip(runs[rung], runs[Rung.FULL], strict=True))
        potentials.append(max(nrmse(a.neurons.v[0], b.neurons.v[0]) for a, b in pairs))
        controls.append(max(nrmse(a.u, b.u, 0.0) for a, b in pairs))
    for ladder in (potentials, controls):
        assert ladder == sorted(ladder, reverse=True)
        assert ladder[-2] < 1e-3  # second order an amplifier
        assert ladder[0] > 10 * ladder[-2]


@pytest.mark.parametrize("gbw", [100e6, 30e6])
def test_the_update_needs_no_more_than_the_static_rung(gbw: float) -> None:
    # The prototype's report, C, over 20 tau_u as there.
    x, step = inputs_of(network_of([3, 4, 2], seed=1))
    chips = at_bandwidth(gbw, 5)
    static, full = (
        Behavioural(chips, rung).run(x, step, dt=0.2, steps=100)
        for rung in (Rung.STATIC, Rung.FULL)
    )
    for a, b in zip(static, full, strict=True):
        assert update_error(Update.of(a), Update.of(b)) < 0.002


def nrmse(one: Tensor, other: Tensor, origin: float | None = None) -> float:
    """Root mean square error over that of the excursion from the first state, or from `origin`."""
    start = other[:, :1] if origin is None else origin
    return float(((one - other) ** 2).mean().sqrt() / ((other - start) ** 2).mean().sqrt())


# What the readout buys


def median_error(card: Card, readout: Readout) -> float:
    """Median over eight chips of the error of the update against the ideal design's."""
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    design = design_of(network, card, readout=readout)
    (ideal,) = Behavioural([Chip.of(design.on(IDEAL))]).run(x, step, dt=0.1, steps=60)
    chips = [Chip.of(design, seed) for seed in range(8)]
    runs = Behavioural(chips, Rung.STATIC).run(x, step, dt=0.1, steps=60)
    errors = [
        update_error(Update.of(r, double_sampling=readout.double_sampling), Update.of(ideal))
        for r in runs
    ]
    return float(np.median(errors))


def test_double_sampling_removes_most_of_what_offsets_do_to_the_update() -> None:
    offsets = only("amplifier offset", "tanh offset")
    raw = median_error(offsets, Readout(double_sampling=False))
    assert raw > 0.05  # The prototype's report, B2: some 20 % at 1 mV
    assert median_error(offsets, Readout()) < raw / 3


def test_auto_zero_removes_most_of_what_the_controllers_offsets_do() -> None:
    offsets = only("amplifier offset")
    without = median_error(offsets, Readout(auto_zero=False))
    assert without > 0.02
    assert median_error(offsets, Readout()) < without / 2


def test_a_target_relative_to_the_output_removes_most_of_what_mismatch_does() -> None:
    mismatch = only("device mismatch")
    absolute = median_error(mismatch, Readout(relative_target=False))
    assert absolute > 0.05
    assert median_error(mismatch, Readout()) < absolute / 2


def test_an_absolute_target_is_the_nominal_output_and_a_relative_one_the_measured() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    for relative in (True, False):
        readout = Readout(relative_target=relative)
        chip = Chip.of(design_of(network, only("device mismatch"), PI(2.0, 0.0), readout), 1)
        (run,) = Behavioural([chip]).run(x, step, dt=1.0, steps=60)
        from_ = run.free.v[-1] if relative else network(x).detach()
        torch.testing.assert_close(run.neurons.v[-1][:, -1], from_ + step, rtol=0, atol=1e-5)
        assert float((run.free.v[-1] - network(x).detach()).abs().max()) > 1e-3


# Several chips, several samples


def test_chips_run_together_are_what_each_is_alone() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network, 2)
    chips = [
        Chip.of(design_of(network, CARD), 2),
        Chip.of(design_of(network, CARD, readout=PLAIN), 2),
        Chip.of(design_of(network, CARD.without("saturation", "slew rate"), PI(1.0, 0.01)), 3),
        Chip.of(design_of(network_of([3, 4, 2], seed=8), IDEAL)),
    ]
    together = Behavioural(chips).run(x, step, dt=0.05, steps=10)
    for chip, run in zip(chips, together, strict=True):
        (alone,) = Behavioural([chip]).run(x, step, dt=0.05, steps=10)
        assert apart(run, alone) < 1e-3
        for ours, theirs in zip(run.free.v, alone.free.v, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    modes = Behavioural(chips).modes(x, step)
    for chip, of_chip in zip(chips, modes, strict=True):
        for first, second in zip(of_chip, Behavioural([chip]).modes(x, step)[0], strict=True):
            np.testing.assert_allclose(first[:4], second[:4], rtol=1e-6)


def test_samples_run_together_are_what_each_is_alone() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network, 3)
    model = Behavioural([Chip.of(design_of(network, CARD), 1)])
    (together,) = model.run(x, step, dt=0.05, steps=10)
    for k in range(3):
        one = slice(k, k + 1)
        (alone,) = model.run(x[one], step[one], dt=0.05, steps=10)
        torch.testing.assert_close(together.u[one], alone.u, rtol=0, atol=1e-4)
        for ours, theirs in zip(together.neurons.v, alone.neurons.v, strict=True):
            torch.testing.assert_close(ours[one], theirs, rtol=0, atol=1e-4)


def test_a_run_of_the_papers_euler_step_is_off_by_more_than_the_ideal_circuit() -> None:
    # The prototype's report, B, last row against the first.
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    design, target = design_of(network), network(x).detach() + step
    exact = ideal_run(design.loop(), x, target, 0.02, 100)
    (circuit,) = Behavioural([Chip.of(design)]).run(x, step, dt=0.02, steps=100)
    euler = simulate(design.loop(), x, target, dt=0.02, steps=100, integrator=Euler())
    errors = [nrmse(run.neurons.v[0], exact.neurons.v[0]) for run in (circuit, euler)]
    assert errors[0] < 1e-4
    assert errors[1] > 1e-3


def test_progress_is_told_after_every_interval() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    told: list[int] = []
    Behavioural([Chip.of(design_of(network))]).run(x, step, dt=0.1, steps=5, progress=told.append)
    assert told[-5:] == [1, 2, 3, 4, 5]


def test_single_precision_inputs_are_taken_in_double_precision() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = (t.float() for t in inputs_of(network))
    (run,) = Behavioural([Chip.of(design_of(network))]).run(x, step, dt=0.1, steps=2)
    assert {run.u.dtype, run.x.dtype, run.t.dtype} == {torch.float64}


@pytest.mark.cuda
@pytest.mark.parametrize("rung", Rung)
def test_a_run_on_the_gpu_is_that_on_the_cpu(rung: Rung) -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network, 2)
    chips = [Chip.of(design_of(network, CARD), seed) for seed in range(2)]
    on_cpu = Behavioural(chips, rung).run(x, step, dt=0.05, steps=10)
    on_gpu = Behavioural(chips, rung, device="cuda").run(x, step, dt=0.05, steps=10)
    for cpu, gpu in zip(on_cpu, on_gpu, strict=True):
        assert gpu.u.device.type == "cuda"
        for name, theirs in signals(cpu).items():
            torch.testing.assert_close(signals(gpu)[name].cpu(), theirs, rtol=0, atol=1e-6)


# Bad input

NETWORK = network_of([3, 4, 2], seed=1)


@pytest.mark.parametrize(
    ("x", "step"), [((2, 4), (2, 2)), ((2, 3), (2, 1)), ((2, 3), (3, 2)), ((1, 3), (2, 2))]
)
@pytest.mark.parametrize("call", ["run", "modes"])
def test_shapes_that_do_not_fit_the_network_are_refused(
    x: tuple[int, int], step: tuple[int, int], call: str
) -> None:
    model = Behavioural([Chip.of(design_of(NETWORK))])
    calls: dict[str, Callable[[Tensor, Tensor], object]] = {
        "run": lambda a, b: model.run(a, b, dt=0.1, steps=2),
        "modes": model.modes,
    }
    with pytest.raises(UserError) as error:
        calls[call](torch.zeros(x), torch.zeros(step))
    message = f"inputs {x} and target steps {step} do not fit the layers 3-4-2: "
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("x", "step"), [((3,), (2,)), ((2, 3), (2,))])
def test_a_vector_in_place_of_a_batch_is_refused(x: tuple[int, ...], step: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"expected \(batch, 3\) and \(batch, 2\)"):
        Behavioural([Chip.of(design_of(NETWORK))]).run(
            torch.zeros(x), torch.zeros(step), dt=0.1, steps=2
        )


def test_chips_that_cannot_run_together_are_refused() -> None:
    chip = Chip.of(design_of(NETWORK))
    with pytest.raises(UserError, match="at least one chip"):
        Behavioural([])
    with pytest.raises(UserError, match="different layer sizes, activations, controllers"):
        Behavioural([chip, Chip.of(design_of(network_of([3, 5, 2])))])
    with pytest.raises(UserError, match="different layer sizes, activations, controllers"):
        Behavioural([chip, Chip.of(design_of(NETWORK, IDEAL.replace("scale", time=1e-6)))])


def test_an_input_that_is_no_number_gives_no_number() -> None:
    x, step = inputs_of(NETWORK)
    with pytest.raises((UserError, ConvergenceError)):
        Behavioural([Chip.of(design_of(NETWORK))]).run(x * math.nan, step, dt=0.1, steps=2)


def test_amplifiers_that_slew_all_the_way_are_followed() -> None:
    # Steps that were too long for Newton's method come first; what they leave must not count.
    here = case((3, 4, 2), 0, 1)
    here = here.on(here.design.card.replace("amplifier", slew_rate=5e4))
    runs = [
        Behavioural([Chip.of(here.design, 0)], tolerance=t).run(here.x, here.step, dt=0.02, steps=5)
        for t in (2e-6, 2e-7)
    ]
    (rough,), (fine,) = runs
    torch.testing.assert_close(rough.u, fine.u, rtol=0, atol=1e-4)
    assert (fine.u[:, -1] - fine.u[:, 0]).abs().max() > 0.02
