"""The control loop against SciPy, closed forms, and the paper's algorithm written out in loops."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import elsewhere
import numpy as np
import pytest
import torch
from elsewhere import DEVICE
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from strategies import autograd_jacobian, generator, network_of, normal, seeds, small_networks
from torch import Tensor

from analogdfc.controller import PD, PI, PID, Controller, I, P
from analogdfc.dynamics import (
    Euler,
    Integrator,
    Loop,
    Readings,
    RungeKutta4,
    Trajectory,
    Update,
    averaging,
    graphs,
    mean_update,
    simulate,
)
from analogdfc.dynamics.averaging import CHUNK, AveragedRun
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback, Feedback, NetworkFeedback
from analogdfc.network import Network

Array = NDArray[np.float64]

PLACES = [
    pytest.param("cpu", torch.float64, id="float64"),
    pytest.param("cpu", torch.float32, id="float32"),
    pytest.param(DEVICE, torch.float64, id="elsewhere-float64"),
    pytest.param(DEVICE, torch.float32, id="elsewhere-float32"),
    pytest.param("cuda", torch.float64, id="cuda-float64", marks=pytest.mark.cuda),
    pytest.param("cuda", torch.float32, id="cuda-float32", marks=pytest.mark.cuda),
]


class Case(NamedTuple):
    """A loop with inputs and output targets a small step from the free output."""

    loop: Loop
    x: Tensor
    target: Tensor


def case_of(
    network: Network, pi: PI | None = None, *, tau_v: float = 0.2, batch: int = 1, seed: int = 0
) -> Case:
    loop = Loop.of(network, DirectFeedback.transposed(network), pi or PI(), tau_v)
    x = normal(seed, batch, network.sizes[0])
    step = 0.15 * normal(seed + 1, batch, network.sizes[-1])
    return Case(loop, x, network(x).detach() + step)


def numpy_of(tensor: Tensor) -> Array:
    return np.asarray(tensor.numpy(), dtype=np.float64)


def numpys(tensors: tuple[Tensor, ...]) -> list[Array]:
    return [numpy_of(t) for t in tensors]


class Solution(NamedTuple):
    """What SciPy finds for one sample: (T, n) a signal, and the mean updates of the layers."""

    v: list[Array]
    u: Array
    updates: list[Array]


def solved(case: Case, times: Array) -> Solution:
    """Meulemans et al. 2021, eqs. 1, 5 and 206, for tanh layers and a linear output."""
    w, b, q = numpys(case.loop.weights), numpys(case.loop.biases), numpys(case.loop.feedback)
    pi, x, target = case.loop.controller, case.x[0].numpy(), case.target[0].numpy()
    depth, ends = len(w), np.cumsum([m.shape[0] for m in w])

    def phi(i: int, v: Array) -> Array:
        return v if i == depth - 1 else np.asarray(np.tanh(v))

    def slope(_: float, z: Array) -> Array:
        v = np.split(z[: ends[-1]], ends[:-1])
        u_int = z[ends[-1] : ends[-1] + len(target)]
        e = target - v[-1]
        u = u_int + pi.k_p * e
        r, dv, dw = x, [], []
        for i in range(depth):
            v_ff = w[i] @ r + b[i]
            dv.append((-v[i] + v_ff + q[i] @ u) / case.loop.tau_v)
            dw.append(np.outer(phi(i, v[i]) - phi(i, v_ff), [*r, 1.0]).ravel())
            r = phi(i, v[i])
        return np.concatenate([*dv, (e - pi.alpha * u) / pi.tau_u, *dw])

    start, r = [], x
    for i in range(depth):
        start.append(w[i] @ r + b[i])
        r = phi(i, start[-1])
    sizes = [m.shape[0] * (m.shape[1] + 1) for m in w]
    z_0 = np.concatenate([*start, np.zeros(len(target) + sum(sizes))])
    out = solve_ivp(
        slope, (0.0, float(times[-1])), z_0, "DOP853", t_eval=times, rtol=1e-10, atol=1e-12
    )
    assert out.success
    v: list[Array] = np.split(out.y[: ends[-1]].T, ends[:-1], axis=1)
    u_int: Array = out.y[ends[-1] : ends[-1] + len(target)].T
    total = np.split(out.y[ends[-1] + len(target) :, -1] / times[-1], np.cumsum(sizes)[:-1])
    updates: list[Array] = [m.reshape(len(b_i), -1) for m, b_i in zip(total, b, strict=True)]
    return Solution(v, u_int + pi.k_p * (target - v[-1]), updates)


def farthest(trajectory: Trajectory, reference: Solution, every: int = 1) -> float:
    """Largest error of v and u after the release, relative to the largest signal (at least 1)."""
    pairs = zip([*trajectory.neurons.v, trajectory.u], [*reference.v, reference.u], strict=True)
    errors = [
        np.abs(ours[0, ::every].numpy() - theirs)[1:].max() / max(1, np.abs(theirs).max())
        for ours, theirs in pairs
    ]
    return float(max(errors))


def grid(dt: float, steps: int) -> Array:
    return np.linspace(0.0, steps * dt, steps + 1)


# Against SciPy


@given(
    small_networks(most=4),
    st.floats(0, 2),
    st.floats(0, 0.1),
    st.floats(0.2, 1),
    st.floats(0.5, 2),
    seeds(),
)
@settings(max_examples=10)
def test_runge_kutta_solves_the_equations_of_the_paper(
    network: Network, k_p: float, alpha: float, tau_v: float, tau_u: float, seed: int
) -> None:
    case = case_of(network, PI(k_p, alpha, tau_u), tau_v=tau_v, seed=seed)
    run = simulate(*case, dt=0.05, steps=20, integrator=RungeKutta4(20))
    reference = solved(case, grid(0.05, 20))
    assert farthest(run, reference) < 1e-5
    np.testing.assert_allclose(run.u[0, 0], k_p * (case.target - network(case.x))[0].detach())


def test_runge_kutta_converges_with_fourth_order(network: Network) -> None:
    case = case_of(network)
    reference = solved(case, grid(0.1, 10))
    errors = [
        farthest(simulate(*case, dt=0.1, steps=10, integrator=RungeKutta4(n)), reference)
        for n in (10, 20, 40)
    ]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert orders == pytest.approx([4, 4], abs=0.3)


@pytest.mark.parametrize("layered", [True, False])
@pytest.mark.parametrize("proactive", [True, False])
@pytest.mark.parametrize("sizes", [[3, 4, 2], [4, 6, 5, 3]])
def test_the_papers_euler_step_converges_with_first_order(
    layered: bool, proactive: bool, sizes: list[int]
) -> None:
    case = case_of(network_of(sizes, seed=11))
    reference = solved(case, grid(0.1, 10))
    errors = []
    for steps in (5, 20, 40, 80):  # dt = 0.02, the paper's, to 0.00125
        run = simulate(
            *case, dt=0.1 / steps, steps=10 * steps, integrator=Euler(layered, proactive)
        )
        errors.append(farthest(run, reference, every=steps))
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert orders[1:] == pytest.approx([1, 1], abs=0.15)
    assert errors[-1] < 0.01


# Against closed forms


def test_one_linear_neuron_under_integral_control_is_a_damped_oscillator() -> None:
    # tau_v = 1/2, tau_u = 1: y'' / 2 + y' + y = delta, whose roots are -1 +- i.
    network = Network([1, 1])
    loop = Loop.of(network, DirectFeedback.transposed(network), PI(0, 0, 1), 0.5)
    x = torch.ones(1, 1, dtype=torch.float64)
    free, delta = float(network(x).detach()), 0.3
    run = simulate(
        loop, x, network(x).detach() + delta, dt=0.1, steps=60, integrator=RungeKutta4(8)
    )
    t = run.t.numpy()
    v = free + delta * (1 - np.exp(-t) * (np.cos(t) + np.sin(t)))
    u = delta * (1 - np.exp(-t) * np.cos(t))
    np.testing.assert_allclose(run.neurons.v[0][0, :, 0], v, rtol=0, atol=1e-8)
    np.testing.assert_allclose(run.u[0, :, 0], u, rtol=0, atol=1e-8)
    np.testing.assert_allclose(run.e[0, :, 0], free + delta - v, rtol=0, atol=1e-8)


@given(st.floats(0, 5), st.floats(1e-3, 0.15), st.floats(0.1, 3))
@settings(max_examples=15)
def test_the_controller_alone_has_the_step_response_of_equation_206(
    k_p: float, alpha: float, tau_u: float
) -> None:
    # U / E = (1 + k_p tau_u s) / (alpha + tau_u s): from k_p at once to 1 / alpha in the end.
    pi, one = PI(k_p, alpha, tau_u), torch.ones(1, 1, dtype=torch.float64)
    times = np.linspace(0, 4, 9)

    def slope(_: float, u_int: Array) -> Array:
        state = torch.from_numpy(u_int)[None]
        return numpy_of(pi.derivative(pi.output(state, one), one)[0])

    run = solve_ivp(slope, (0, 4), [0.0], t_eval=times, rtol=1e-8, atol=1e-12)
    decay = np.exp(-alpha * times / tau_u)
    u = k_p * decay + (1 - decay) / alpha
    np.testing.assert_allclose(run.y[0] + k_p, u, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.0015, 0.1])
@pytest.mark.parametrize("k_p", [0.0, 2.0])
def test_a_long_run_reaches_the_target_up_to_the_leak(
    network: Network, k_p: float, alpha: float
) -> None:
    case = case_of(network, PI(k_p, alpha), batch=3)
    run = simulate(*case, dt=0.02, steps=2000, integrator=Euler())
    last, u = run.neurons, run.u[:, -1]
    torch.testing.assert_close(last.r[-1][:, -1], case.target - alpha * u, rtol=0, atol=1e-8)
    for i, q in enumerate(case.loop.feedback):
        drive = last.v_ff[i][:, -1] + u @ q.T
        torch.testing.assert_close(last.v[i][:, -1], drive, rtol=0, atol=1e-8)
    assert float(u.abs().max()) > 0.01


@pytest.mark.parametrize("alpha", [0.0015, 0.1])
def test_after_a_small_step_the_control_signal_is_that_of_lemma_1(
    network: Network, alpha: float
) -> None:
    loop = Loop.of(network, DirectFeedback.transposed(network), PI(2.0, alpha))
    x, delta = normal(2, 1, 3), normal(3, 1, 2)
    # J by autograd: the output as a function of what is added to the potentials of each layer.
    w: list[Tensor] = list(network.weights)
    b: list[Tensor] = list(network.biases)

    def output(added: Tensor) -> Tensor:
        r = torch.tanh(w[0] @ x[0] + b[0] + added[:4])
        return w[1] @ r + b[1] + added[4:]

    jq = autograd_jacobian(output, torch.zeros(6, dtype=torch.float64)) @ torch.cat(loop.feedback)
    lemma = torch.linalg.solve(jq + alpha * torch.eye(2, dtype=torch.float64), delta[0])
    errors = []
    for size in (1e-2, 1e-3):
        target = network(x).detach() + size * delta
        run = simulate(loop, x, target, dt=0.02, steps=2000, integrator=Euler())
        errors.append(float((run.u[0, -1] / size - lemma).norm() / lemma.norm()))
    assert errors[0] < 0.05
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.2)  # the neglected curvature


def test_the_free_state_is_the_forward_pass_and_stays_where_the_target_is_the_output(
    network: Network,
) -> None:
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    x = normal(2, 4, 3)
    run = simulate(loop, x, network(x).detach(), dt=0.02, steps=50, integrator=RungeKutta4())
    for i, v in enumerate(network.potentials(x)):
        still = v.detach().unsqueeze(1).expand(-1, 51, -1)
        torch.testing.assert_close(run.neurons.v[i], still, rtol=0, atol=1e-12)
        torch.testing.assert_close(run.free.v[i], v.detach(), rtol=0, atol=1e-14)


# Against the algorithm as it is printed


def algorithm_1(case: Case, dt: float, steps: int) -> tuple[list[Array], list[Array]]:
    """Meulemans et al. 2021, Algorithm 1, number by number, averaged over the samples too."""
    w, b, q = numpys(case.loop.weights), numpys(case.loop.biases), numpys(case.loop.feedback)
    pi, tau_v = case.loop.controller, case.loop.tau_v
    depth, outputs = len(w), case.target.shape[1]
    delta_w, delta_b = [np.zeros_like(m) for m in w], [np.zeros_like(m) for m in b]

    def phi(i: int, v: float) -> float:
        return v if i == depth - 1 else math.tanh(v)

    def basal(i: int, j: int, r: list[float]) -> float:
        return math.fsum([b[i][j], *(w[i][j, k] * r[k] for k in range(len(r)))])

    for x, target in zip(case.x.tolist(), case.target.tolist(), strict=True):
        v: list[list[float]] = []
        r = [x]
        for i in range(depth):
            v.append([basal(i, j, r[i]) for j in range(len(b[i]))])
            r.append([phi(i, value) for value in v[i]])
        u_int, u = [0.0] * outputs, [0.0] * outputs
        for _ in range(steps):
            for m in range(outputs):
                e = target[m] - r[depth][m]
                u_int[m] += dt / pi.tau_u * (e - pi.alpha * u[m])
                u[m] = u_int[m] + pi.k_p * e
            for i in range(depth):
                for j in range(len(b[i])):
                    v_ff = basal(i, j, r[i])
                    v_fb = math.fsum(q[i][j, m] * u[m] for m in range(outputs))
                    v[i][j] += dt / tau_v * (-v[i][j] + v_ff + v_fb)
                    r[i + 1][j] = phi(i, v[i][j])
                    difference = phi(i, v[i][j]) - phi(i, v_ff)
                    delta_b[i][j] += difference
                    for k in range(len(r[i])):
                        delta_w[i][j, k] += difference * r[i][k]
    count = steps * len(case.x)
    return [m / count for m in delta_w], [m / count for m in delta_b]


@given(small_networks(most=4), st.floats(0, 2), st.floats(0, 0.2), st.integers(1, 3), seeds())
@settings(max_examples=20)
def test_the_mean_update_is_that_of_algorithm_1_written_out(
    network: Network, k_p: float, alpha: float, batch: int, seed: int
) -> None:
    case = case_of(network, PI(k_p, alpha), batch=batch, seed=seed)
    weights, biases = mean_update(*case, dt=0.02, steps=40)
    naive = algorithm_1(case, 0.02, 40)
    for ours, theirs in zip([*weights, *biases], [*naive[0], *naive[1]], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("layered", [True, False])
@pytest.mark.parametrize("proactive", [True, False])
def test_each_modification_of_the_euler_step_is_the_one_that_is_printed(
    layered: bool, proactive: bool
) -> None:
    network, dt = network_of([3, 4, 3, 2], seed=11), 0.05
    case = case_of(network)
    run = simulate(*case, dt=dt, steps=10, integrator=Euler(layered, proactive))
    w, b, q = numpys(case.loop.weights), numpys(case.loop.biases), numpys(case.loop.feedback)
    pi, x, target = case.loop.controller, case.x[0].numpy(), case.target[0].numpy()

    def activations(v: list[Array]) -> list[Array]:
        return [x, *(np.asarray(np.tanh(v_i)) for v_i in v[:-1])]

    v = [numpy_of(v_i[0, 0]) for v_i in run.neurons.v]
    u, u_int = np.zeros(2), np.zeros(2)
    for k in range(1, 11):
        before, u_before = list(v), u
        e = target - v[-1]
        u_int = u_int + dt / pi.tau_u * (e - pi.alpha * u)
        u = u_int + pi.k_p * e
        for i in range(3):
            r = activations(v if layered else before)[i]
            v_fb = q[i] @ (u if proactive else u_before)
            v[i] = before[i] + dt / case.loop.tau_v * (-before[i] + w[i] @ r + b[i] + v_fb)
        for ours, theirs in zip(run.neurons.v, v, strict=True):
            np.testing.assert_allclose(ours[0, k], theirs, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(run.u[0, k], u, rtol=1e-11, atol=1e-13)


CONTROLLERS = [P(1.5), I(0.1), PI(leak="integral", alpha=0.1), PD(1.0), PID(k_p=1.0, alpha=0.1)]


@pytest.mark.parametrize("controller", CONTROLLERS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("pathway", ["direct", "own stems", "shared stem"])
@pytest.mark.parametrize(
    ("integrator", "nonlinear"), [(Euler(), True), (Euler(False, False), False)]
)
def test_the_mean_update_is_the_mean_over_the_states_of_the_same_steps(
    controller: Controller, pathway: str, integrator: Euler, nonlinear: bool
) -> None:
    network = network_of([3, 5, 4, 2], seed=2)
    direct = DirectFeedback.transposed(network)
    feedback: Feedback = direct
    if pathway != "direct":
        shared = pathway == "shared stem"
        feedback = NetworkFeedback.like(direct, 4, generator(1), shared=shared)
    loop, x = Loop.of(network, feedback, controller), normal(1, 3, 3)
    target = network(x).detach() + 0.3 * normal(2, 3, 2)
    steps = 40  # two chunks and a half
    run = simulate(loop, x, target, dt=0.02, steps=steps, integrator=integrator)
    case = Case(loop, x, target)
    found = mean_update(*case, dt=0.02, steps=steps, integrator=integrator, nonlinear=nonlinear)
    r, r_ff, v, v_ff = (getattr(run.neurons, name) for name in ("r", "r_ff", "v", "v_ff"))
    seen = [x.unsqueeze(1).expand(-1, steps + 1, -1), *r]
    for i, (w, b) in enumerate(zip(*found, strict=True)):
        d = (r[i] - r_ff[i] if nonlinear else v[i] - v_ff[i])[:, 1:].flatten(0, 1)
        torch.testing.assert_close(b, d.mean(dim=0), rtol=1e-9, atol=1e-14)
        pairs = d.T @ seen[i][:, 1:].flatten(0, 1)
        torch.testing.assert_close(w, pairs / len(d), rtol=1e-9, atol=1e-14)


def addresses(value: object) -> list[int]:
    """Where the tensors of an object lie."""
    if isinstance(value, Tensor):
        return [value.data_ptr()]
    inner = value if isinstance(value, (list, tuple)) else ()
    return [address for part in inner for address in addresses(part)]


@pytest.mark.parametrize("pathway", [False, True])
def test_every_chunk_of_an_averaged_run_uses_the_same_memory(
    network: Network, pathway: bool
) -> None:
    direct = DirectFeedback.transposed(network)
    feedback = NetworkFeedback.like(direct, 4, generator(1)) if pathway else direct
    loop, x = Loop.of(network, feedback, PID(k_p=1.0, alpha=0.1)), normal(1, 3, 3)
    target = network(x).detach() + 0.3
    run = AveragedRun(loop, x, target, 0.02, Euler(), True)
    found, signals = [], []
    for _ in range(3):
        for slot in range(CHUNK):
            run.step(slot)
        run.collect(CHUNK)
        found.append({name: addresses(value) for name, value in vars(run).items()})
        signals.append(run.u.clone())
    assert sum(map(len, found[0].values())) > 60
    assert found[0] == found[1] == found[2]
    assert not torch.equal(signals[0], signals[1])


# The update


def test_the_mean_over_time_is_the_trapezoidal_rule() -> None:
    # phi(v) - phi(v_ff) = 0, 1, 4 before r_0 = 3: (0 / 2 + 1 + 4 / 2) / 2 = 1.5.
    r = torch.tensor([[[2.0], [3.0], [6.0]]])
    readings = Readings(v=(r,), v_ff=(r,), r=(r,), r_ff=(torch.full_like(r, 2.0),))
    free = Readings(**{n: tuple(s[:, 0] for s in parts) for n, parts in vars(readings).items()})
    u = torch.zeros(1, 3, 1)
    run = Trajectory(
        t=torch.arange(3.0), x=torch.tensor([[3.0]]), neurons=readings, u=u, e=u, free=free
    )
    update = Update.of(run)
    assert update.biases[0].tolist() == [[1.5]]
    assert update.weights[0].tolist() == [[[4.5]]]


def test_the_update_of_a_fine_run_is_the_integral_that_scipy_finds(network: Network) -> None:
    case = case_of(network)
    run = simulate(*case, dt=0.0025, steps=800, integrator=RungeKutta4(1))
    update = Update.of(run)
    for i, reference in enumerate(solved(case, grid(2.0, 1)).updates, start=1):
        np.testing.assert_allclose(update.layer(i), reference, rtol=2e-4, atol=1e-7)


def test_recorded_and_accumulated_update_meet_with_first_order_as_dt_goes_to_0(
    network: Network,
) -> None:
    case = case_of(network, batch=3)
    gaps = []
    for steps in (100, 200, 400):
        dt = 2 / steps
        recorded = Update.of(simulate(*case, dt=dt, steps=steps, integrator=Euler())).flat()
        weights, biases = mean_update(*case, dt=dt, steps=steps)
        pairs = zip(weights, biases, strict=True)
        accumulated = torch.cat([torch.cat([w, b[:, None]], 1).flatten() for w, b in pairs])
        gaps.append(float((recorded - accumulated).norm() / accumulated.norm()))
    # The accumulated sum counts the last state whole, the trapezoidal rule counts it half.
    assert gaps[1:] == pytest.approx([gaps[0] / 2, gaps[0] / 4], rel=0.05)
    assert gaps[-1] < 0.002


def test_layers_of_an_update_are_means_over_the_batch_with_the_bias_last() -> None:
    weights = (torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]]]), torch.tensor([[[1.0]], [[2.0]]]))
    update = Update(weights, (torch.tensor([[5.0], [7.0]]), torch.tensor([[0.0], [1.0]])))
    assert update.layer(1).tolist() == [[2.0, 4.0, 6.0]]
    assert update.layer(2).tolist() == [[1.5, 0.5]]
    assert update.flat().tolist() == [2.0, 4.0, 6.0, 1.5, 0.5]


@given(small_networks(), seeds())
@settings(max_examples=20)
def test_double_sampling_of_an_exact_network_changes_nothing(network: Network, seed: int) -> None:
    case = case_of(network, batch=2, seed=seed)
    run = simulate(*case, dt=0.02, steps=20, integrator=Euler())
    with_, without = Update.of(run), Update.of(run, double_sampling=False)
    for i in range(1, network.depth + 1):
        a, b = with_.layer(i), without.layer(i)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-15)


def test_double_sampling_removes_a_constant_offset_of_the_readings(network: Network) -> None:
    case = case_of(network)
    run = simulate(*case, dt=0.02, steps=50, integrator=Euler())
    biased = Trajectory(
        t=run.t, x=run.x, neurons=_biased(run.neurons), u=run.u, e=run.e, free=_biased(run.free)
    )
    exact = Update.of(run).flat()
    torch.testing.assert_close(Update.of(biased).flat(), exact, rtol=0, atol=1e-14)
    raw = Update.of(biased, double_sampling=False)
    # Only phi(v_ff) is off, by 0.01, so every bias is off by as much.
    for i in (1, 2):
        shift = raw.biases[i - 1] - Update.of(run).biases[i - 1]
        torch.testing.assert_close(shift, torch.full_like(shift, -0.01), rtol=0, atol=1e-14)


def _biased(readings: Readings) -> Readings:
    return Readings(
        v=readings.v, v_ff=readings.v_ff, r=readings.r, r_ff=tuple(r + 0.01 for r in readings.r_ff)
    )


# Settling


@given(st.floats(0.05, 1.5), st.floats(0.005, 0.3), st.floats(-0.9, 0.9))
def test_settling_time_of_an_exponential_is_its_closed_form(
    tau: float, band: float, second: float
) -> None:
    dt, steps = 0.01, 600
    t = torch.arange(steps + 1, dtype=torch.float64) * dt
    decay = torch.exp(-t / tau)
    rest = math.exp(-steps * dt / tau)
    # The smaller signal ends at 0 and is measured against the largest one.
    u = torch.stack([-3 * (1 - decay), 3 * second * decay], dim=-1)[None]
    run = _with_control(t, u)
    settled = float(run.settling_time(band))
    # exp(-t / tau) - rest = band * (1 - rest), the first signal being the slower to settle.
    exact = -tau * math.log(rest + band * (1 - rest))
    assert exact - 1e-9 <= settled <= exact + dt + 1e-9


def test_a_signal_that_never_moves_has_settled_at_once_and_a_ramp_settles_at_its_end() -> None:
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    u = torch.stack([torch.full_like(t, 0.7), t], dim=0)[..., None]
    assert _with_control(t, u).settling_time(0.1005).tolist() == pytest.approx([0.0, 0.9])


def _with_control(t: Tensor, u: Tensor) -> Trajectory:
    empty = Readings(v=(), v_ff=(), r=(), r_ff=())
    return Trajectory(
        t=t, x=torch.zeros(len(u), 1), neurons=empty, u=u, e=torch.zeros_like(u), free=empty
    )


# Batches, types, devices, errors


@pytest.mark.parametrize("integrator", [Euler(), Euler(False, False), RungeKutta4(2)])
def test_samples_of_a_batch_know_nothing_of_each_other(
    network: Network, integrator: Integrator
) -> None:
    loop, x, target = case_of(network, batch=5)
    whole = simulate(loop, x, target, dt=0.02, steps=50, integrator=integrator)
    updates = Update.of(whole)
    for k in range(5):
        one = slice(k, k + 1)
        alone = simulate(loop, x[one], target[one], dt=0.02, steps=50, integrator=integrator)
        for a, b in zip([*whole.neurons.v, whole.u], [*alone.neurons.v, alone.u], strict=True):
            torch.testing.assert_close(a[one], b, rtol=0, atol=1e-13)
        for a, b in zip(updates.weights, Update.of(alone).weights, strict=True):
            torch.testing.assert_close(a[one], b, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("device", "dtype"), PLACES, indirect=["device"])
def test_every_type_and_device_gives_the_same_run(device: str, dtype: torch.dtype) -> None:
    case = case_of(network_of([3, 4, 2], seed=1), batch=3)
    network = network_of([3, 4, 2], seed=1).to(device, dtype)
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    x, target = (t.to(device, dtype) for t in case[1:])
    tolerance = 1e-5 if dtype is torch.float32 else 1e-12
    for integrator in (Euler(), RungeKutta4(2)):
        run = simulate(loop, x, target, dt=0.02, steps=100, integrator=integrator)
        exact = simulate(*case, dt=0.02, steps=100, integrator=integrator)
        assert {run.t.dtype, run.u.dtype, run.neurons.v[0].dtype} == {dtype}
        assert run.u.device.type == device
        for a, b in zip(
            [run.u, run.e, *run.neurons.v, *run.neurons.r_ff],
            [exact.u, exact.e, *exact.neurons.v, *exact.neurons.r_ff],
            strict=True,
        ):
            torch.testing.assert_close(a.cpu().double(), b, rtol=0, atol=tolerance)
    ours, theirs = (mean_update(*c, dt=0.02, steps=100) for c in (Case(loop, x, target), case))
    for a, b in zip(ours[0], theirs[0], strict=True):
        assert (a.dtype, a.device.type) == (dtype, device)
        torch.testing.assert_close(a.cpu().double(), b, rtol=0, atol=tolerance)


def test_a_step_far_too_long_is_an_error_and_no_numbers(network: Network) -> None:
    case = case_of(network)
    for run in (
        lambda: simulate(*case, dt=1.0, steps=1000, integrator=Euler()),
        lambda: simulate(*case, dt=1.0, steps=1000, integrator=RungeKutta4(1)),
        lambda: mean_update(*case, dt=1.0, steps=1000),
    ):
        with pytest.raises(ConvergenceError, match=r"diverged: (v_\d|u) is not finite.*shorter"):
            run()


@pytest.mark.parametrize(
    ("k_p", "alpha", "tau_u", "allowed"),
    [
        (-1, 0, 1, "k_p >= 0"),
        (1, -0.1, 1, "alpha >= 0"),
        (1, 0, 0, "tau_u > 0"),
        (math.nan, 0, 1, "must be finite"),
        (1, math.inf, 1, "must be finite"),
    ],
)
def test_a_controller_outside_its_range_is_refused(
    k_p: float, alpha: float, tau_u: float, allowed: str
) -> None:
    with pytest.raises(UserError, match=allowed):
        PI(k_p, alpha, tau_u)


@pytest.mark.parametrize("tau_v", [0.0, -0.2])
def test_a_time_constant_of_the_neurons_must_be_positive(network: Network, tau_v: float) -> None:
    with pytest.raises(UserError, match=r"tau_v = .*must be > 0"):
        Loop.of(network, DirectFeedback.transposed(network), PI(), tau_v)


def test_the_captured_loop_gives_the_update_of_the_eager_one(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == DEVICE:
        monkeypatch.setattr(torch, "cuda", elsewhere.graphs())
        on_gpu = partial(graphs.repeat, device=torch.device("cuda"))
        monkeypatch.setattr(averaging, "repeat", lambda work, times, _: on_gpu(work, times))
    network = network_of([6, 8, 7, 3], 1).to(device)
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    x, target = normal(2, 16, 6).to(device), normal(3, 16, 3).to(device)
    eager, captured = (
        mean_update(loop, x, target, dt=0.02, steps=150, captured=captured)
        for captured in (False, True)
    )
    for a, b in zip((*eager[0], *eager[1]), (*captured[0], *captured[1]), strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu(), rtol=1e-6, atol=1e-12)
