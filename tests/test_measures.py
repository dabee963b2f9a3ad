"""Measures of the theory: angles, the three conditions, and the stability of the loop."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import autograd_jacobian, network_of, normal, seeds, small_networks
from torch import Tensor

from analogdfc.comparison import UpdateDifference
from analogdfc.controller import PI
from analogdfc.dynamics import Loop, LoopState, RungeKutta4, derivative, free_state, simulate
from analogdfc.dynamics.loop import layer_inputs
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.measures import (
    alignment,
    angle,
    condition1,
    condition2,
    condition3,
    predicted_settling_time,
    slowest_eigenvalue,
    stability_matrix,
)
from analogdfc.network import Network

# Angles


@given(st.integers(2, 6), st.floats(0, 180), st.floats(1e-3, 1e3), seeds())
def test_the_angle_is_that_by_which_a_vector_was_turned(
    n: int, degrees: float, scale: float, seed: int
) -> None:
    a = normal(seed, n)
    b = normal(seed + 1, n)
    across = b - (a @ b) / (a @ a) * a
    across = across / across.norm() * a.norm()
    t = math.radians(degrees)
    turned = scale * (math.cos(t) * a + math.sin(t) * across)
    assert angle(a, turned) == pytest.approx(degrees, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("degrees", [1e-9, 1e-6, 180 - 1e-6])
def test_tiny_angles_keep_their_digits(degrees: float) -> None:
    t = math.radians(degrees)
    a, b = torch.tensor([1.0, 0.0]).double(), torch.tensor([math.cos(t), math.sin(t)]).double()
    assert angle(a, b) == pytest.approx(degrees, rel=1e-6)


def test_the_angle_is_that_of_the_comparison_of_realisations() -> None:
    a, b = normal(1, 4, 3), normal(2, 4, 3)
    assert angle(a, b) == pytest.approx(UpdateDifference.of(a, b).angle, rel=1e-12)


def test_nothing_has_no_direction_and_shapes_must_agree() -> None:
    assert math.isnan(angle(torch.zeros(3), torch.ones(3)))
    with pytest.raises(UserError, match=r"\(3,\) and \(2,\)"):
        angle(torch.ones(3), torch.ones(2))


def test_alignment_is_per_layer_and_for_the_concatenated_layers() -> None:
    reference = [torch.tensor([[1.0, 0.0]]), torch.tensor([3.0])]
    update = [torch.tensor([[0.0, 2.0]]), torch.tensor([6.0])]
    found = alignment(reference, update)
    assert list(found) == ["1", "2", "all"]
    assert (found["1"].angle, found["1"].norm_ratio) == pytest.approx((90, 2))
    assert (found["2"].angle, found["2"].norm) == pytest.approx((0, 6))
    assert found["all"].angle == pytest.approx(math.degrees(math.acos(18 / 20)))
    assert found["all"].norm_ratio == pytest.approx(2)
    with pytest.raises(UserError, match="different layers"):
        alignment(reference, update[:1])


# Conditions 1 and 2


def test_condition_1_is_the_deviation_of_the_norms_over_their_mean() -> None:
    r = [torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[1.0], [-2.0]])]
    # Norms 5 and 1: mean 3, deviation 2; norms 2 and 2.
    torch.testing.assert_close(condition1(r), torch.tensor([2 / 3, 0.0]))
    torch.testing.assert_close(condition1([7 * t for t in r]), condition1(r))  # unlike the code's
    assert not condition1([torch.zeros(2, 3), torch.zeros(2, 4)]).any()


@given(small_networks(["tanh", "sigmoid"]), st.integers(1, 3), seeds())
def test_condition_2_is_the_printed_projection(network: Network, batch: int, seed: int) -> None:
    v = [t.detach() for t in network.potentials(normal(seed, batch, network.sizes[0]))]
    jacobians = [j.detach() for j in network.jacobians(v)]
    n_out = network.sizes[-1]
    feedback = [normal(seed + i, n, n_out) for i, n in enumerate(network.sizes[1:])]
    found, q = condition2(jacobians, feedback), torch.cat(feedback)
    for b, value in enumerate(found):
        j = torch.cat([part[b] for part in jacobians], dim=1)
        projected = j.T @ torch.linalg.inv(j @ j.T) @ j @ q
        torch.testing.assert_close(value, projected.norm() / q.norm(), rtol=1e-10, atol=0)


def test_condition_2_is_1_in_the_row_space_and_0_across_it(network: Network) -> None:
    jacobians = [j.detach() for j in network.jacobians(network.potentials(normal(1, 2, 3)))]
    inside = [j.mT @ normal(3, 2, 2) for j in jacobians]
    torch.testing.assert_close(condition2(jacobians, inside), torch.ones(2).double())
    j = torch.cat(jacobians, dim=-1)
    kernel = torch.eye(6).double() - torch.linalg.pinv(j) @ j
    outside = list(torch.split(kernel @ normal(4, 6, 2), [4, 2], dim=1))
    assert float(condition2(jacobians, outside).max()) < 1e-14


def test_condition_2_projects_on_what_is_left_of_a_jacobian_that_loses_rank() -> None:
    j, q = normal(1, 1, 2, 5), normal(2, 5, 2)
    j[:, 1] = 2 * j[:, 0]
    direction = j[0, 0] / j[0, 0].norm()
    expected = (direction @ q).norm() / q.norm()
    torch.testing.assert_close(condition2([j], [q])[0], expected)
    with pytest.raises(ConvergenceError, match="not finite"):
        condition2([j * math.nan], [q])


# Stability


def at_rest(loop: Loop, x: Tensor, u: Tensor) -> tuple[Tensor, LoopState]:
    """The target that a control signal is the answer to, and the steady state."""
    v: list[Tensor] = []
    r = x
    for w, b, q, phi in zip(
        loop.weights, loop.biases, loop.feedback, loop.activations, strict=True
    ):
        v.append(r @ w.T + b + u @ q.T)
        r = phi.function(v[-1])
    e = loop.controller.alpha * u
    state = LoopState(tuple(v), u - loop.controller.k_p * e, u)
    flow = derivative(loop, state, x, r + e)
    assert max(float(d.abs().max()) for d in (*flow.v, flow.u_int)) < 1e-11
    return r + e, state


@st.composite
def resting_loops(draw: st.DrawFn) -> tuple[Loop, Tensor, Tensor, LoopState]:
    """Loops of any gain at a steady state, with their inputs and targets."""
    network = draw(small_networks(["tanh", "sigmoid"], most=5))
    seed, n_out = draw(seeds()), network.sizes[-1]
    pi = PI(draw(st.floats(0, 3)), draw(st.floats(1e-3, 0.3)), draw(st.floats(0.3, 2)))
    x = normal(seed, 2, network.sizes[0])
    jacobians = [j.detach().mean(dim=0) for j in network.jacobians(network.potentials(x))]
    loop = Loop(
        tuple(w.detach() for w in network.weights),
        tuple(b.detach() for b in network.biases),
        tuple(j.mT + 0.3 * normal(seed + i, *j.mT.shape) for i, j in enumerate(jacobians)),
        network.activations,
        pi,
        draw(st.floats(0.05, 1)),
    )
    target, state = at_rest(loop, x, 0.3 * normal(seed + 50, 2, n_out))
    return loop, x, target, state


def autograd_system(loop: Loop, v: tuple[Tensor, ...], u_int: Tensor, *xy: Tensor) -> Tensor:
    """Jacobian of `derivative` in (v_1..v_L, u_int) of one sample."""
    sizes = [*(t.shape[1] for t in v), u_int.shape[1]]

    def flow(z: Tensor) -> Tensor:
        *vs, control = torch.split(z.unsqueeze(0), sizes, dim=1)
        d = derivative(loop, LoopState(tuple(vs), control, control), *xy)
        return torch.cat([*d.v, d.u_int], dim=1).squeeze(0)

    return autograd_jacobian(flow, torch.cat([*v, u_int], dim=1).squeeze(0))


def printed_matrix(loop: Loop, v: tuple[Tensor, ...]) -> Tensor:
    """Eq. 136 of one sample, with the rescaled constants of eqs. 137 and 138."""
    sizes = [t.shape[1] for t in v]
    starts = [0, *torch.cumsum(torch.tensor(sizes), 0).tolist()]
    spans = [slice(int(a), int(b)) for a, b in pairwise(starts)]
    n, n_out = sum(sizes), sizes[-1]
    hat = torch.zeros(n, n, dtype=torch.float64)
    slopes = [p.derivative(t[0]) for p, t in zip(loop.activations, v, strict=True)]
    for i in range(1, len(sizes)):
        hat[spans[i], spans[i - 1]] = loop.weights[i] @ torch.diag(slopes[i - 1])
    eye = torch.eye(n, dtype=torch.float64)
    top = torch.zeros(n_out, n, dtype=torch.float64)
    top[:, spans[-1]] = torch.diag(slopes[-1])
    j, q, pi = top @ torch.linalg.inv(eye - hat), torch.cat(loop.feedback), loop.controller
    rate, k = 1 / loop.tau_v, pi.k_p / loop.tau_v
    upper = torch.cat([-rate * (eye - hat), rate * (eye - hat) @ q], dim=1)
    lower = torch.cat(
        [
            (k - 1 / pi.tau_u) * j - k * j @ hat,
            -k * j @ (eye - hat) @ q - pi.alpha / pi.tau_u * torch.eye(n_out).double(),
        ],
        dim=1,
    )
    return torch.cat([upper, lower])


def characteristic(matrix: Tensor, radius: float) -> Tensor:
    """det(I - A / z) at points of a circle: the same polynomial for the same eigenvalues.

    Unlike a sorted list of them, it is well conditioned where eigenvalues coincide.
    """
    n = len(matrix)
    points = radius * torch.exp(2j * math.pi * torch.arange(n + 1).double() / (n + 1))
    eye = torch.eye(n, dtype=torch.complex128)
    return torch.stack([torch.linalg.det(eye - matrix / z) for z in points])


@given(resting_loops())
def test_the_system_matrix_is_the_jacobian_of_the_dynamics(
    case: tuple[Loop, Tensor, Tensor, LoopState],
) -> None:
    loop, x, target, state = case
    found, slowest = stability_matrix(loop, state.v), slowest_eigenvalue(loop, state.v)
    for b in range(len(x)):
        v, one = tuple(t[b : b + 1] for t in state.v), slice(b, b + 1)
        expected = autograd_system(loop, v, state.u_int[one], x[one], target[one])
        torch.testing.assert_close(found[b], expected, rtol=1e-10, atol=1e-11)
        theirs = torch.linalg.eigvals(expected).real.max()
        torch.testing.assert_close(slowest[b].real, theirs, rtol=1e-6, atol=1e-6)


@given(resting_loops())
def test_the_system_matrix_has_the_eigenvalues_of_the_printed_one(
    case: tuple[Loop, Tensor, Tensor, LoopState],
) -> None:
    loop, _, _, state = case
    for b, a in enumerate(stability_matrix(loop, state.v)):
        printed = printed_matrix(loop, tuple(t[b : b + 1] for t in state.v))
        radius = float(a.norm())
        theirs = characteristic(printed, radius)
        torch.testing.assert_close(characteristic(a, radius), theirs, rtol=1e-9, atol=1e-10)


@given(resting_loops())
def test_condition_3_is_the_limit_of_fast_neurons_without_proportional_gain(
    case: tuple[Loop, Tensor, Tensor, LoopState],
) -> None:
    loop, _, _, state = case
    pi = PI(0.0, loop.controller.alpha, loop.controller.tau_u)
    fast = loop._replace(controller=pi, tau_v=1e-6)
    limit = condition3(loop, state.v) / pi.tau_u
    torch.testing.assert_close(slowest_eigenvalue(fast, state.v).real, limit, rtol=1e-2, atol=1e-3)


def test_condition_3_is_negative_exactly_where_the_feedback_pushes_the_right_way() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    network = network_of([2, 2], 1, activation="linear")
    weights = tuple(w.detach() for w in network.weights)
    biases = tuple(b.detach() for b in network.biases)
    v = (normal(1, 1, 2),)
    for q, value in ((eye, -1.1), (-eye, 0.9), (torch.diag(torch.tensor([1.0, -0.05])), -0.05)):
        loop = Loop(weights, biases, (q.double(),), network.activations, PI(0.0, 0.1))
        assert float(condition3(loop, v)) == pytest.approx(value)


def test_the_slowest_mode_of_one_neuron_is_the_root_of_its_quadratic() -> None:
    network = network_of([1, 1], 1, activation="linear")
    eye = torch.eye(1, dtype=torch.float64)
    weights, biases = (tuple(p.detach() for p in ps) for ps in (network.weights, network.biases))
    loop = Loop(weights, biases, (eye,), network.activations, PI(0.0, 0.1, 1.0), 0.5)
    found = slowest_eigenvalue(loop, (torch.zeros(1, 1, dtype=torch.float64),))
    # (s + 2)(s + 0.1) + 2 = 0
    expected = complex(-1.05, math.sqrt(2.2 - 1.05**2))
    assert complex(found[0]) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=5)
@given(seeds())
def test_the_predicted_settling_time_is_that_of_a_simulation(seed: int) -> None:
    # One linear neuron and slow integration: a single real mode from u = 0 to its final value.
    network = network_of([1, 1], seed, activation="linear")
    eye = torch.eye(1, dtype=torch.float64)
    weights, biases = (tuple(p.detach() for p in ps) for ps in (network.weights, network.biases))
    loop = Loop(weights, biases, (eye,), network.activations, PI(0.0, 0.01, 1.0), 0.01)
    x = normal(seed, 1, 1)
    start = free_state(loop, x)
    target = start.v[-1] + 0.1
    run = simulate(loop, x, target, dt=0.01, steps=1500, integrator=RungeKutta4(2))
    slowest = slowest_eigenvalue(loop, start.v)
    for band in (0.1, 0.02, 0.005):
        predicted = float(predicted_settling_time(slowest, band))
        assert float(run.settling_time(band)) == pytest.approx(predicted, abs=0.03)


def test_a_mode_that_grows_never_settles() -> None:
    times = predicted_settling_time(torch.tensor([-2.0, 0.0, 0.3]).double(), band=0.5)
    assert times.tolist() == [pytest.approx(math.log(2) / 2), math.inf, math.inf]
    assert predicted_settling_time(torch.tensor(-1 + 5j)).item() == pytest.approx(math.log(50))
    for band in (0.0, 1.0, math.nan):
        with pytest.raises(UserError, match=f"band = {band}"):
            predicted_settling_time(times, band)


def test_measures_take_the_state_of_a_loop(network: Network) -> None:
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    x = normal(1, 4, 3)
    v = at_rest(loop, x, 0.1 * normal(2, 4, 2))[1].v
    with torch.no_grad():
        measured = [
            condition1(layer_inputs(loop, free_state(loop, x).v, x)),
            condition2(network.jacobians(v), loop.feedback),
            condition3(loop, v),
            predicted_settling_time(slowest_eigenvalue(loop, v)),
        ]
    assert all(m.shape == (4,) and bool(m.isfinite().all()) for m in measured)
    bad = tuple(t * math.nan for t in v)
    for measure in (condition3, slowest_eigenvalue):
        with pytest.raises(ConvergenceError, match="not finite"):
            measure(loop, bad)
