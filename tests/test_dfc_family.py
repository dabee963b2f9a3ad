"""The rules of the DFC family agree with each other, with theory and with published gradients."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analogdfc.controller import PI
from analogdfc.dynamics import Euler, Loop, RungeKutta4, simulate
from analogdfc.dynamics.at_rest import solve_at_rest
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.reached import steady_state
from analogdfc.dynamics.steady import carried, newton, sensitivity
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import (
    DFC,
    AnalyticDFC,
    Backpropagation,
    DirectFeedbackAlignment,
    Shallow,
    SteadyStateDFC,
)
from analogdfc.learning.base import LearningRule
from analogdfc.losses import SoftmaxCrossEntropy
from analogdfc.network import Forward, Network

GOLDEN = Path(__file__).parent / "golden" / "dfc_toy_updates.npz"


def normal(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def network_of(sizes: list[int], seed: int = 0) -> Network:
    return Network(sizes, generator=torch.Generator().manual_seed(seed))


def flat_gradient(rule: LearningRule) -> torch.Tensor:
    parts = []
    for w, b in zip(rule.network.weights, rule.network.biases, strict=True):
        assert w.grad is not None
        assert b.grad is not None
        parts += [w.grad.flatten(), b.grad]
    return torch.cat(parts)


def toy() -> tuple[Network, DirectFeedback, torch.Tensor, torch.Tensor, dict[str, np.ndarray]]:
    with np.load(GOLDEN) as data:
        arrays = dict(data)
    network = Network([15, 10, 10, 5])
    with torch.no_grad():
        for i in range(3):
            network.weights[i].copy_(torch.from_numpy(arrays[f"W{i}"]))
            network.biases[i].copy_(torch.from_numpy(arrays[f"b{i}"]))
    feedback = DirectFeedback([torch.from_numpy(arrays[f"Q{i}"]) for i in range(3)])
    return network, feedback, torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"]), arrays


@pytest.mark.parametrize(
    ("rule", "key"), [(DFC, "grad_dfc"), (SteadyStateDFC, "grad_ss"), (AnalyticDFC, "grad_ssa")]
)
def test_the_published_gradients_of_the_toy_are_ours(
    rule: type[DFC | SteadyStateDFC | AnalyticDFC], key: str
) -> None:
    network, feedback, x, y, arrays = toy()
    stepsize, alpha, k_p, tau_v, dt, steps = arrays["hp"]
    # The published steady state is the last one of a simulation of 5 tau_u.
    how: dict[str, Any] = {"newton": False} if rule is SteadyStateDFC else {}
    # The published loss is the mean over batch and outputs.
    ours = rule(
        network,
        feedback,
        PI(k_p, alpha),
        target_stepsize=stepsize / y.numel(),
        tau_v=tau_v,
        dt=dt,
        steps=int(steps),
        integrator=Euler(proactive=False),
        **how,
    )
    ours.backward(x, y)
    # The published code puts a factor of 2 into every update. Its average over K states counts the
    # initial one, whose update is 0; ours is over the K states that follow.
    counted = (steps - 1) / steps if rule is DFC else 1.0
    found, published = 2 * counted * flat_gradient(ours), torch.from_numpy(arrays[key])
    assert float((found - published).norm() / published.norm()) < 2e-4


def test_the_steady_state_of_newton_is_that_of_a_long_simulation() -> None:
    network = network_of([4, 6, 5, 3])
    loop = Loop.of(network, DirectFeedback.transposed(network), PI(2.0, 0.0015))
    x, target = normal(1, 5, 4), network(normal(1, 5, 4)).detach() + 0.2 * normal(2, 5, 3)
    found = steady_state(loop, free_pass(loop, x), target)
    assert bool(found.converged.all())
    run = simulate(loop, x, target, dt=0.2, steps=500, integrator=RungeKutta4(16))
    for v, waves in zip(found.layers.v, run.neurons.v, strict=True):
        torch.testing.assert_close(v, waves[:, -1], rtol=0, atol=1e-8)
    torch.testing.assert_close(found.u, run.u[:, -1], rtol=0, atol=1e-8)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(0, 1000))
@settings(max_examples=25)
def test_the_sensitivity_is_the_jacobian_times_the_feedback(sizes: list[int], seed: int) -> None:
    network = network_of(sizes, seed)
    feedback = DirectFeedback([normal(seed + i, n, sizes[-1]) for i, n in enumerate(sizes[1:])])
    v = network.potentials(normal(seed, 3, sizes[0]))
    expected = sum(
        (j @ q for j, q in zip(network.jacobians(v), feedback.matrices, strict=True)),
        torch.zeros(3, sizes[-1], sizes[-1], dtype=torch.float64),
    )
    loop = Loop.of(network, feedback, PI())
    torch.testing.assert_close(sensitivity(loop, v), expected, rtol=1e-10, atol=1e-12)


def test_the_analytic_update_is_that_of_newton_to_first_order_in_the_target_step() -> None:
    network = network_of([4, 6, 3])
    x, y = normal(1, 5, 4), normal(2, 5, 3)
    differences = []
    for stepsize in (1e-2, 1e-3):
        updates = []
        for rule in (SteadyStateDFC, AnalyticDFC):
            ours = rule(network, target_stepsize=stepsize)
            ours.backward(x, y)
            updates.append(flat_gradient(ours) / stepsize)
        differences.append(float((updates[0] - updates[1]).norm() / updates[0].norm()))
    assert differences[1] < 0.02
    assert differences[0] / differences[1] == pytest.approx(10, rel=0.2)


def test_a_long_average_approaches_the_steady_state_update() -> None:
    network = network_of([4, 6, 3])
    x, y = normal(1, 5, 4), normal(2, 5, 3)
    steady = SteadyStateDFC(network)
    steady.backward(x, y)
    rest = flat_gradient(steady)
    errors = []
    for steps in (1000, 4000):
        rule = DFC(network, steps=steps)
        rule.backward(x, y)
        errors.append(float((flat_gradient(rule) - rest).norm() / rest.norm()))
    # What the transient adds falls with the length of the run.
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("rule", [DFC, SteadyStateDFC, AnalyticDFC])
def test_in_a_linear_network_both_forms_of_the_rule_agree(
    rule: type[DFC | SteadyStateDFC | AnalyticDFC],
) -> None:
    generator = torch.Generator().manual_seed(0)
    network = Network([4, 6, 3], activation="linear", generator=generator)
    x, y = normal(1, 5, 4), normal(2, 5, 3)
    updates = []
    for nonlinear in (True, False):
        ours = rule(network, nonlinear=nonlinear, steps=50)
        ours.backward(x, y)
        updates.append(flat_gradient(ours))
    torch.testing.assert_close(updates[0], updates[1], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("rule", [DFC, SteadyStateDFC, AnalyticDFC])
def test_the_linear_form_is_larger_where_tanh_flattens(
    rule: type[DFC | SteadyStateDFC | AnalyticDFC],
) -> None:
    network = network_of([4, 6, 3])
    x, y = 2 * normal(1, 5, 4), normal(2, 5, 3)
    norms = []
    for nonlinear in (True, False):
        rule(network, nonlinear=nonlinear, steps=200).backward(x, y)
        grad = network.weights[0].grad
        assert grad is not None
        norms.append(float(grad.norm()))
    assert norms[1] > 1.05 * norms[0]


def test_samples_on_which_newton_fails_are_simulated_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = network_of([4, 6, 3])
    x, y = normal(1, 5, 4), normal(2, 5, 3)
    with monkeypatch.context() as patch:
        hasty = partial(steady_state, iterations=1)
        patch.setattr("analogdfc.learning.steady.steady_state", hasty)
        failing = SteadyStateDFC(network, steps=3000)
        failing.backward(x, y)
    assert failing.simulated == 5
    simulated = flat_gradient(failing)
    newton = SteadyStateDFC(network)
    newton.backward(x, y)
    assert newton.simulated == 0
    torch.testing.assert_close(simulated, flat_gradient(newton), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("cross_entropy", [False, True])
def test_backpropagation_is_what_autograd_finds(cross_entropy: bool) -> None:
    network = network_of([4, 6, 5, 3])
    x, y = normal(1, 7, 4), torch.softmax(normal(2, 7, 3), dim=1)
    rule = Backpropagation(network, SoftmaxCrossEntropy() if cross_entropy else None)
    value = rule.backward(x, y)
    ours = flat_gradient(rule)
    loss = rule.loss.value(network(x), y).mean()
    torch.testing.assert_close(value, loss.detach())
    theirs = torch.autograd.grad(loss, list(network.parameters()))
    layers = zip(theirs[:3], theirs[3:], strict=True)
    expected = torch.cat([t.flatten() for pair in layers for t in pair])
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-14)


def test_direct_feedback_alignment_with_the_jacobian_for_feedback_is_backpropagation() -> None:
    # With one linear hidden layer, W_2^T is the transposed Jacobian of the output.
    generator = torch.Generator().manual_seed(0)
    network = Network([4, 6, 3], activation="linear", generator=generator)
    x, y = normal(1, 7, 4), normal(2, 7, 3)
    aligned = DirectFeedbackAlignment(network, DirectFeedback.transposed(network))
    aligned.backward(x, y)
    ours = flat_gradient(aligned)
    exact = Backpropagation(network)
    exact.backward(x, y)
    torch.testing.assert_close(ours, flat_gradient(exact), rtol=1e-12, atol=1e-15)
    random = DirectFeedbackAlignment(network)
    random.backward(x, y)
    assert float((flat_gradient(random) - ours).norm() / ours.norm()) > 0.1


def test_shallow_learning_leaves_the_hidden_layers_alone() -> None:
    network = network_of([4, 6, 3])
    x, y = normal(1, 7, 4), normal(2, 7, 3)
    rule = Shallow(network)
    rule.backward(x, y)
    hidden = network.weights[0].grad
    assert hidden is not None
    assert not hidden.any()
    last = network.weights[1].grad
    Backpropagation(network).backward(x, y)
    assert torch.equal(last, network.weights[1].grad) if last is not None else False


def test_an_error_below_the_rounding_of_the_output_converges_at_once() -> None:
    # Near the end of learning the target step vanishes beside the output itself.
    network = Network([20, 30, 30, 4], generator=torch.Generator().manual_seed(2))
    network.biases[-1].data += 10
    source = torch.Generator().manual_seed(3)
    x = torch.randn(16, 20, dtype=torch.float64, generator=source)
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    free = free_pass(loop, x)
    step = 1e-13 * torch.randn(16, 4, dtype=torch.float64, generator=source)
    found = steady_state(loop, free, free.r[-1] + step)
    assert bool(found.converged.all())
    assert found.iterations <= 3
    # A residual beyond rounding is no convergence.
    wide = newton(loop, free, free.r[-1] + 1e13 * step, iterations=1)
    assert not bool(wide.converged.any())


def linear_system(sizes: list[int], batch: int) -> tuple[Loop, Forward, torch.Tensor]:
    network = network_of(sizes, seed=3)
    loop = Loop.of(network, DirectFeedback.transposed(network), PI(alpha=1e-3))
    return loop, free_pass(loop, normal(4, batch, sizes[0])), normal(5, batch, sizes[-1])


def exactly(loop: Loop, free: Forward, right: torch.Tensor) -> torch.Tensor:
    eye = torch.eye(right.shape[1], dtype=right.dtype)
    matrix = sensitivity(loop, free.v) + loop.controller.damping * eye
    found: torch.Tensor = torch.linalg.solve(matrix, right)
    return found


def test_the_linear_steady_state_leaves_nothing_that_single_precision_would() -> None:
    loop, free, right = linear_system([6, 20, 15, 4], 100)  # more than one block of samples
    u = solve_at_rest(loop, free, right)
    jq = sensitivity(loop, free.v)
    left = right - (jq @ u.unsqueeze(-1)).squeeze(-1) - loop.controller.damping * u
    assert float((left.norm(dim=1) / right.norm(dim=1)).max()) < 2e-12
    torch.testing.assert_close(u, exactly(loop, free, right), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("alpha", "scale"), [(0.0, 1), (0.04, 1), (0.04, 1e-60)])
def test_wide_linear_outputs_are_solved_in_the_narrow_layer_before(
    alpha: float, scale: float
) -> None:
    network = network_of([40, 16, 5, 16, 40], seed=3)
    loop = Loop.of(network, DirectFeedback.transposed(network), PI(alpha=alpha))
    feedback = (*(scale * q for q in loop.feedback[:-1]), torch.eye(40, dtype=torch.float64))
    loop = loop._replace(feedback=feedback)
    free, right = free_pass(loop, normal(4, 30, 40)), normal(5, 30, 40)
    with patch("analogdfc.dynamics.at_rest.carried", wraps=carried) as formed:
        u = solve_at_rest(loop, free, right)
    widths = [call.args[1][-1].shape[1] for call in formed.call_args_list]
    assert widths == [16] if scale == 1 else 16 in widths
    expected = exactly(loop, free, right)
    assert float((u - expected).norm() / expected.norm()) < 1e-9


@pytest.mark.parametrize(("spread", "formed"), [(0.1, 0), (0.5, 0), (10.0, 1)])
def test_samples_are_solved_about_their_mean_where_they_are_alike(
    spread: float, formed: int
) -> None:
    network = network_of([6, 80, 70, 60, 10], seed=3)
    loop = Loop.of(network, DirectFeedback.transposed(network), PI(alpha=1e-3))
    free = free_pass(loop, spread * normal(4, 100, 6))
    right = torch.logspace(-30, 30, 100, dtype=torch.float64).unsqueeze(-1) * normal(5, 100, 10)
    right[7] = 0
    with patch("analogdfc.dynamics.at_rest.carried", wraps=carried) as each:
        u = solve_at_rest(loop, free, right)
    assert each.call_count == formed
    assert not u[7].any()
    assert not solve_at_rest(loop, free, 0 * right).any()
    jq = sensitivity(loop, free.v)
    left = right - (jq @ u.unsqueeze(-1)).squeeze(-1) - loop.controller.damping * u
    size = torch.linalg.vector_norm(right, dim=1).clamp(min=1e-60)
    assert float((torch.linalg.vector_norm(left, dim=1) / size).max()) < 2e-10


@pytest.mark.parametrize("scale", [1e-60, 1e-20, 1e20, 1e60])
def test_samples_beyond_the_range_of_single_precision_are_solved_about_no_mean(
    scale: float,
) -> None:
    network = network_of([6, 80, 70, 60, 10], seed=3)
    loop = Loop.of(network, DirectFeedback.transposed(network), PI(alpha=0.0))
    loop = loop._replace(feedback=tuple(scale * q for q in loop.feedback))
    free, right = free_pass(loop, normal(4, 70, 6)), normal(5, 70, 10)
    found, expected = solve_at_rest(loop, free, right), exactly(loop, free, right)
    assert float((found - expected).norm() / expected.norm()) < 1e-9


@pytest.mark.parametrize("alpha", [0.0, 1e-3])
@pytest.mark.parametrize("scale", [1e-60, 1e-42, 1e-30, 1e37, 1e60])
def test_feedback_beyond_the_range_of_single_precision_is_solved_as_exactly(
    scale: float, alpha: float
) -> None:
    loop, free, right = linear_system([6, 20, 15, 4], 7)
    feedback = tuple(scale * q for q in loop.feedback)
    loop = loop._replace(feedback=feedback, controller=PI(alpha=alpha))
    found, expected = solve_at_rest(loop, free, right), exactly(loop, free, right)
    assert float((found - expected).norm() / expected.norm()) < 1e-10
    root = newton(loop, free, free.output + 0.05 * right)
    assert bool(root.converged.all())


def test_where_single_precision_is_too_coarse_double_takes_its_place() -> None:
    loop, free, right = linear_system([6, 8, 7, 3], 5)
    alike = [q.clone() for q in loop.feedback]
    for k, q in enumerate(alike):
        q[:, 1] = q[:, 0] + 1e-8 * normal(k, len(q))  # all but the same direction twice
    loop = loop._replace(feedback=tuple(alike), controller=PI(alpha=0.0))
    with patch("analogdfc.dynamics.at_rest.carried", wraps=carried) as formed:
        found = solve_at_rest(loop, free, right)
    assert [call.args[-1] for call in formed.call_args_list] == [torch.float32, torch.float64]
    expected = exactly(loop, free, right)
    assert float((found - expected).norm()) < 1e-5 * float(expected.norm())
