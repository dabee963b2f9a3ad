"""Eigenvalues of the behavioural model, and the ladder of its amplifiers' detail."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from behaving import CARD, IDEAL, design_of, inputs_of, nrmse, update_error
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment, root
from strategies import autograd_jacobian, network_of
from torch import Tensor

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.controller import PI
from analogdfc.dynamics import Update
from analogdfc.network import Network


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
