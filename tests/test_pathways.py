"""Feedback through a network: its derivatives, its dynamics, its likeness to direct feedback."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from strategies import autograd_jacobian, generator, network_of, normal, seeds, small_networks
from torch import Tensor

from analogdfc.cards.technology import Card
from analogdfc.circuit.design import Design
from analogdfc.controller import PI
from analogdfc.dynamics import (
    Euler,
    Loop,
    LoopState,
    RungeKutta4,
    derivative,
    mean_update,
    simulate,
)
from analogdfc.dynamics.loop import feedback_jacobians, free_pass, free_state, presynaptic, push
from analogdfc.dynamics.reached import steady_state
from analogdfc.dynamics.steady import rest, sensitivity
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback, Feedback, NetworkFeedback
from analogdfc.learning import DFC, AnalyticDFC, LearningRule, SteadyStateDFC
from analogdfc.measures import condition2, condition3, slowest_eigenvalue, stability_matrix
from analogdfc.network import Forward, Network

BOTH = pytest.mark.parametrize("shared", [False, True], ids=["own stems", "shared stem"])
RULES: list[tuple[type[LearningRule], dict[str, Any]]] = [
    (DFC, {"steps": 50}),
    (SteadyStateDFC, {}),
    (AnalyticDFC, {}),
]


def feedback_of(
    network: Network, shared: bool = False, activation: str = "tanh", seed: int = 0
) -> NetworkFeedback:
    """A pathway that starts near the transposed weights, with synapses that are not its inverse."""
    direct = DirectFeedback.transposed(network)
    width = network.sizes[-1] + 2
    found = NetworkFeedback.like(
        direct, width, generator(seed), activation=activation, shared=shared
    )
    with torch.no_grad():
        for k, q in enumerate(found.matrices):
            q += 0.05 * normal(seed + k, *q.shape)
    return found


def flat_gradient(network: Network) -> Tensor:
    grads = [parameter.grad for parameter in network.parameters()]
    return torch.cat([g.flatten() for g in grads if g is not None])


def target_of(network: Network, x: Tensor, step: float = 0.15) -> Tensor:
    return network.forward(x).detach() + step * normal(77, len(x), network.sizes[-1])


# The pathway itself


@given(small_networks(most=4), st.booleans(), seeds())
@settings(max_examples=15)
def test_the_jacobians_are_those_of_autograd(network: Network, shared: bool, seed: int) -> None:
    feedback, u = feedback_of(network, shared, seed=seed), normal(seed, 3, network.sizes[-1])
    loop = Loop.of(network, feedback, PI())
    ours, in_loop = feedback.jacobians(u), feedback_jacobians(loop, u)
    for i in range(network.depth):
        for b in range(3):

            def layer(one: Tensor, i: int = i) -> Tensor:
                return feedback.forward(one.unsqueeze(0))[i].squeeze(0)

            expected = autograd_jacobian(layer, u[b])
            torch.testing.assert_close(ours[i][b].detach(), expected, rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(in_loop[i][b], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["direct", "own stems", "shared stem"])
def test_the_loop_pushes_as_its_pathway_does(network: Network, kind: str) -> None:
    feedback: Feedback = DirectFeedback.transposed(network)
    if kind != "direct":
        feedback = feedback_of(network, kind == "shared stem")
    loop, u = Loop.of(network, feedback, PI()), normal(1, 3, 2)
    groups = [(push(loop, u), feedback(u)), (presynaptic(loop, u), feedback.presynaptic(u))]
    groups.append((feedback_jacobians(loop, u), feedback.jacobians(u)))
    for ours, theirs in groups:
        assert len(ours) == len(theirs) == 2
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b.detach())
    assert [h.shape[1] for h in presynaptic(loop, u)] == [q.shape[1] for q in loop.feedback]


@BOTH
def test_only_the_last_synapses_are_parameters(network: Network, shared: bool) -> None:
    feedback = feedback_of(network, shared)
    assert [id(q) for q in feedback.parameters()] == [id(q) for q in feedback.matrices]
    assert len(dict(feedback.named_buffers())) == (1 if shared else 2)
    other = feedback_of(network, shared, seed=5)
    other.load_state_dict(feedback.state_dict())
    u = normal(1, 2, 2)
    for a, b in zip(feedback(u), other(u), strict=True):
        assert torch.equal(a, b)


@BOTH
@pytest.mark.parametrize("activation", ["tanh", "linear"])
def test_a_pathway_can_start_as_a_direct_one(
    network: Network, shared: bool, activation: str
) -> None:
    direct = DirectFeedback.random(network, generator(4))
    found = NetworkFeedback.like(direct, 5, generator(1), activation=activation, shared=shared)
    silent = torch.zeros(1, 2).double()
    for a, b in zip(found.jacobians(silent), direct.matrices, strict=True):
        torch.testing.assert_close(a[0], b, rtol=1e-10, atol=1e-12)
    assert not any(bool(fed.any()) for fed in found(silent))


# Jacobian-based initialisation


@given(small_networks(most=4), st.sampled_from([None, 0.0, 0.3]), seeds())
@settings(max_examples=25)
def test_jacobian_feedback_is_the_mean_of_the_samples_damped_pseudo_inverses(
    network: Network, damping: float | None, seed: int
) -> None:
    x, n_out = normal(seed, 3, network.sizes[0]), network.sizes[-1]
    feedback = DirectFeedback.jacobian(network, x, damping)
    parts = network.jacobians([v.detach() for v in network.potentials(x)])
    expected = torch.zeros(sum(network.sizes[1:]), n_out, dtype=torch.float64)
    for b in range(3):
        j = torch.cat([part[b].detach() for part in parts], dim=1)
        gram = torch.eye(n_out).double()
        if damping is not None:
            gram = torch.linalg.inv(j @ j.T + damping * gram)
        expected += j.T @ gram / 3
    torch.testing.assert_close(torch.cat(list(feedback.matrices)).detach(), expected)


def test_jacobian_feedback_of_one_sample_meets_condition_2(network: Network) -> None:
    x = normal(1, 1, 3)
    jacobians = network.jacobians(network.potentials(x))
    for damping in (None, 0.0, 0.5):
        feedback = DirectFeedback.jacobian(network, x, damping)
        assert float(condition2(jacobians, list(feedback.matrices))) == pytest.approx(1)
    other = DirectFeedback.random(network, generator(1))
    assert float(condition2(jacobians, list(other.matrices))) < 0.95


# The dynamics


def test_the_loop_solves_equation_226(network: Network) -> None:
    feedback, x = feedback_of(network), normal(1, 1, 3)
    target = target_of(network, x, 1.0)
    loop = Loop.of(network, feedback, PI(1.0, 0.02), 0.3)
    assert loop.pathway is not None
    (w_1, w_2), (b_1, b_2), (q_1, q_2), (a_1, a_2) = (
        [t.numpy() for t in tensors]
        for tensors in (loop.weights, loop.biases, loop.feedback, loop.pathway.stems)
    )

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        v_1, v_2, u_int = np.split(y, [4, 6])
        e = target[0].numpy() - v_2
        u = u_int + e
        dv_1 = (-v_1 + w_1 @ x[0].numpy() + b_1 + q_1 @ np.tanh(a_1 @ u)) / 0.3
        dv_2 = (-v_2 + w_2 @ np.tanh(v_1) + b_2 + q_2 @ np.tanh(a_2 @ u)) / 0.3
        return np.concatenate([dv_1, dv_2, e - 0.02 * u])

    start = torch.cat([*free_state(loop, x).v, torch.zeros(1, 2).double()], dim=1)[0].numpy()
    t = np.linspace(0, 2, 21)
    exact = solve_ivp(slope, (0, 2), start, "DOP853", t_eval=t, rtol=1e-10, atol=1e-12)
    run = simulate(loop, x, target, dt=0.1, steps=20, integrator=RungeKutta4(10))
    ours = torch.cat(run.neurons.v, dim=-1)[0]
    np.testing.assert_allclose(ours, exact.y[:6].T, rtol=0, atol=1e-6)


@BOTH
@pytest.mark.parametrize("integrator", [Euler(), Euler(False, False), RungeKutta4(2)])
def test_linear_stems_make_the_direct_pathway_of_their_products(
    shared: bool, integrator: Euler | RungeKutta4
) -> None:
    network = network_of([3, 5, 4, 2], seed=2)
    feedback = feedback_of(network, shared, "linear")
    stems = list(feedback.pathway.stems) * (3 if shared else 1)
    direct = DirectFeedback([q.detach() @ a for q, a in zip(feedback.matrices, stems, strict=True)])
    x = normal(1, 3, 3)
    loops, xy = [Loop.of(network, f, PI()) for f in (feedback, direct)], (x, target_of(network, x))
    runs = [simulate(loop, *xy, dt=0.02, steps=60, integrator=integrator) for loop in loops]
    for a, b in zip([runs[0].u, *runs[0].neurons.v], [runs[1].u, *runs[1].neurons.v], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    means = [mean_update(loop, *xy, dt=0.02, steps=60) for loop in loops]
    for a, b in zip(means[0][0], means[1][0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@given(small_networks(["tanh", "sigmoid"], most=4), st.booleans(), seeds())
@settings(max_examples=15)
def test_the_sensitivity_is_the_derivative_of_the_output_at_rest(
    network: Network, shared: bool, seed: int
) -> None:
    x, u = normal(seed, 2, network.sizes[0]), 0.5 * normal(seed + 1, 2, network.sizes[-1])
    loop = Loop.of(network, feedback_of(network, shared, seed=seed), PI())
    found = sensitivity(loop, rest(loop, free_pass(loop, x), u).v, u)
    for b in range(2):
        free = free_pass(loop, x[b : b + 1])

        def output(one: Tensor, free: Forward = free) -> Tensor:
            return rest(loop, free, one.unsqueeze(0)).r[-1].squeeze(0)

        torch.testing.assert_close(found[b], autograd_jacobian(output, u[b]), rtol=1e-9, atol=1e-11)


@BOTH
def test_the_steady_state_of_newton_is_that_of_a_long_simulation(shared: bool) -> None:
    network = network_of([4, 6, 5, 3], seed=3)
    loop = Loop.of(network, feedback_of(network, shared), PI(1.0, 0.05))
    x = normal(1, 4, 4)
    target = target_of(network, x)
    found = steady_state(loop, free_pass(loop, x), target)
    assert bool(found.converged.all())
    run = simulate(loop, x, target, dt=0.2, steps=400, integrator=RungeKutta4(6))
    torch.testing.assert_close(found.u, run.u[:, -1], rtol=0, atol=1e-8)
    for v, waves in zip(found.layers.v, run.neurons.v, strict=True):
        torch.testing.assert_close(v, waves[:, -1], rtol=0, atol=1e-8)


@given(small_networks(most=4), st.booleans(), seeds())
@settings(max_examples=10)
def test_the_system_matrix_is_the_jacobian_of_the_dynamics(
    network: Network, shared: bool, seed: int
) -> None:
    loop = Loop.of(network, feedback_of(network, shared, seed=seed), PI(0.7, 0.1))
    sizes, x = [*network.sizes[1:], network.sizes[-1]], normal(seed, 1, network.sizes[0])
    v, u = (
        tuple(normal(seed + k, 1, n) for k, n in enumerate(sizes[:-1])),
        normal(seed, 1, sizes[-1]),
    )
    target = v[-1] + 0.3
    u_int = u - 0.7 * 0.3

    def flow(z: Tensor) -> Tensor:
        *vs, control = torch.split(z.unsqueeze(0), sizes, dim=1)
        d = derivative(loop, LoopState(tuple(vs), control, control), x, target)
        return torch.cat([*d.v, d.u_int], dim=1).squeeze(0)

    expected = autograd_jacobian(flow, torch.cat([*v, u_int], dim=1).squeeze(0))
    torch.testing.assert_close(stability_matrix(loop, v, u)[0], expected, rtol=1e-9, atol=1e-10)
    largest = torch.linalg.eigvals(-sensitivity(loop, v, u)[0]).real.max() - 0.1
    torch.testing.assert_close(condition3(loop, v, u)[0], largest)
    slowest = torch.linalg.eigvals(expected).real.max()
    torch.testing.assert_close(
        slowest_eigenvalue(loop, v, u)[0].real, slowest, rtol=1e-5, atol=1e-5
    )


def test_its_linearisation_needs_the_control_signal(network: Network) -> None:
    loop = Loop.of(network, feedback_of(network), PI())
    v = free_state(loop, normal(1, 2, 3)).v
    for measure in (sensitivity, condition3, stability_matrix, slowest_eigenvalue):
        with pytest.raises(UserError, match="needs the control signal"):
            measure(loop, v)


# In the learning rules


@BOTH
@pytest.mark.parametrize(("rule", "options"), RULES)
def test_for_a_small_target_step_every_rule_learns_as_with_the_direct_pathway(
    network: Network, shared: bool, rule: type[LearningRule], options: dict[str, Any]
) -> None:
    direct = DirectFeedback.transposed(network)
    feedback = NetworkFeedback.like(direct, 6, generator(2), shared=shared)
    x, y, gaps = normal(1, 4, 3), normal(2, 4, 2), []
    for step in (1e-1, 1e-2):
        updates = []
        for pathway in (feedback, direct):
            given = {"feedback": pathway, "target_stepsize": step} | options
            rule(network, **given).backward(x, y)
            updates.append(flat_gradient(network))
        gaps.append(float((updates[0] - updates[1]).norm() / updates[1].norm()))
    assert 0 < gaps[0] < 0.3
    # tanh is odd: the pathways differ by the third power of u, their updates by u^2.
    assert gaps[1] < gaps[0] / 50


@BOTH
def test_newton_and_simulation_give_the_same_update(network: Network, shared: bool) -> None:
    x, y = normal(1, 4, 3), normal(2, 4, 2)
    options: dict[str, Any] = {"feedback": feedback_of(network, shared), "steps": 4000}
    updates = []
    for newton in (True, False):
        rule = SteadyStateDFC(network, newton=newton, **options)
        rule.backward(x, y)
        assert rule.simulated == 0
        updates.append(flat_gradient(network))
    torch.testing.assert_close(updates[0], updates[1], rtol=1e-7, atol=1e-9)


# Bad input


def test_pathways_that_do_not_fit_are_refused(network: Network) -> None:
    direct = DirectFeedback.transposed(network)
    q, a = [torch.zeros(4, 5), torch.zeros(2, 5)], torch.zeros(5, 2)
    for name in ("sigmoid", "relu"):
        with pytest.raises(UserError, match=rf"{name}.*phi\(0\) = 0"):
            NetworkFeedback(q, [a], name)
    with pytest.raises(UserError, match="3 stems for 2 layers"):
        NetworkFeedback(q, [a, a, a])
    with pytest.raises(UserError, match=r"layer 2: Q of shape \(2, 5\) behind a stem of \(4, 2\)"):
        NetworkFeedback(q, [a, torch.zeros(4, 2)])
    with pytest.raises(UserError, match=r"layer 2.*\(m_i, 2\) are needed"):
        NetworkFeedback(q, [a, torch.zeros(5, 3)])
    with pytest.raises(UserError, match="at least n_L = 2"):
        NetworkFeedback.like(direct, 1, generator(0))
    with pytest.raises(UserError, match="damping = -1"):
        DirectFeedback.jacobian(network, normal(1, 2, 3), -1.0)


def test_the_circuit_has_crossbars_for_direct_feedback_only(network: Network) -> None:
    with pytest.raises(UserError, match=r"NetworkFeedback.*DirectFeedback only"):
        Design.of(network, feedback_of(network), Card.load("discrete_100mhz"))
