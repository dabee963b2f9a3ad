"""Learning rules write gradients that PyTorch's optimisers can use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import network_of, normal, seeds, small_networks
from torch import Tensor

from analogdfc.controller import PI
from analogdfc.dynamics import Euler, Loop, mean_update
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import DFC, RULES, LearningRule, get_rule, register
from analogdfc.losses import LOSSES, Loss, SoftmaxCrossEntropy, SquaredError
from analogdfc.network import Network


def gradients(network: Network) -> list[Tensor]:
    found = [p.grad for p in network.parameters()]
    assert all(g is not None for g in found)
    return [g.clone() for g in found if g is not None]


def backpropagated(network: Network, x: Tensor, y: Tensor) -> list[Tensor]:
    """Gradients of the squared error, by autograd."""
    loss = ((network(x) - y) ** 2).sum(dim=1).mean()
    return list(torch.autograd.grad(loss, list(network.parameters())))


def angle(a: list[Tensor], b: list[Tensor]) -> float:
    """Degrees between two lists of tensors, each taken as one vector."""
    u, v = (torch.cat([t.flatten() for t in tensors]) for tensors in (a, b))
    cosine = float(u @ v / (u.norm() * v.norm()))
    return math.degrees(math.acos(min(1.0, cosine)))


# Losses


@pytest.mark.parametrize("name", ["l2", "cross-entropy"])
@given(st.integers(1, 4), st.integers(1, 5), seeds())
def test_the_error_of_a_loss_is_its_negative_gradient(
    name: str, batch: int, n: int, seed: int
) -> None:
    loss = LOSSES[name]
    y = torch.softmax(normal(seed + 1, batch, n), dim=1)
    r = normal(seed, batch, n).requires_grad_()
    (gradient,) = torch.autograd.grad(loss.value(r, y).sum(), r)
    r = r.detach()
    torch.testing.assert_close(loss.error(r, y), -gradient, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loss.target(r, y, 0.3), r - 0.3 * gradient, rtol=1e-10, atol=1e-12)


@given(st.integers(1, 4), st.integers(1, 5), seeds())
def test_losses_are_those_of_pytorch_summed_over_the_outputs(batch: int, n: int, seed: int) -> None:
    r, y = normal(seed, batch, n), torch.softmax(normal(seed + 1, batch, n), dim=1)
    theirs: dict[Loss, Tensor] = {
        SquaredError(): torch.nn.functional.mse_loss(r, y, reduction="none").sum(dim=1),
        SoftmaxCrossEntropy(): torch.nn.functional.cross_entropy(r, y, reduction="none"),
    }
    for loss, expected in theirs.items():
        torch.testing.assert_close(loss.value(r, y), expected, rtol=1e-10, atol=1e-12)


# The rule


@given(small_networks(most=4), st.integers(1, 4), st.floats(0.01, 0.5), seeds())
@settings(max_examples=20)
def test_the_gradient_is_the_negative_of_the_papers_update(
    network: Network, batch: int, stepsize: float, seed: int
) -> None:
    x, y = normal(seed, batch, network.sizes[0]), normal(seed + 1, batch, network.sizes[-1])
    before = [p.detach().clone() for p in network.parameters()]
    loss = DFC(network, target_stepsize=stepsize, dt=0.02, steps=20).backward(x, y)
    free = network(x).detach()
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    weights, biases = mean_update(loop, x, free + 2 * stepsize * (y - free), dt=0.02, steps=20)
    for parameter, update in zip(network.parameters(), [*weights, *biases], strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, -update, rtol=1e-12, atol=1e-15)
        assert not parameter.grad.requires_grad
    torch.testing.assert_close(loss, ((free - y) ** 2).sum(dim=1).mean(), rtol=1e-12, atol=0)
    assert all(torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


def test_arguments_of_the_rule_reach_the_dynamics(network: Network) -> None:
    x, y = normal(1, 3, 3), torch.softmax(normal(2, 3, 2), dim=1)
    feedback = DirectFeedback([normal(3, 4, 2), torch.eye(2, dtype=torch.float64)])
    pi, method = PI(1.0, 0.02, 0.7), Euler(layered=False)
    DFC(
        network,
        feedback,
        pi,
        target_stepsize=0.05,
        loss=SoftmaxCrossEntropy(),
        tau_v=0.4,
        dt=0.03,
        steps=30,
        integrator=method,
    ).backward(x, y)
    free = network(x).detach()
    loop = Loop(
        tuple(w.detach() for w in network.weights),
        tuple(b.detach() for b in network.biases),
        tuple(q.detach() for q in feedback.matrices),
        network.activations,
        pi,
        0.4,
    )
    target = free + 0.05 * (y - torch.softmax(free, dim=1))
    weights, biases = mean_update(loop, x, target, dt=0.03, steps=30, integrator=method)
    for gradient, update in zip(gradients(network), [*weights, *biases], strict=True):
        torch.testing.assert_close(gradient, -update, rtol=1e-12, atol=1e-15)


def test_a_second_pass_replaces_the_gradient(network: Network) -> None:
    rule = DFC(network, steps=20)
    x, y = normal(1, 3, 3), normal(2, 3, 2)
    rule.backward(x, y)
    once = gradients(network)
    rule.backward(x, y)
    assert all(torch.equal(a, b) for a, b in zip(once, gradients(network), strict=True))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), seeds())
@settings(max_examples=20)
def test_in_one_linear_layer_the_rule_follows_the_gradient_exactly(
    n_in: int, n_out: int, batch: int, seed: int
) -> None:
    # Every output is its own loop with one time course, so the update is a multiple of delta x^T.
    network = network_of([n_in, n_out], seed)
    x, y = normal(seed + 1, batch, n_in), normal(seed + 2, batch, n_out)
    DFC(network, steps=50).backward(x, y)
    ours, exact = gradients(network), backpropagated(network, x, y)
    factor = ours[0].flatten()[0] / exact[0].flatten()[0]
    assert factor > 0
    for a, b in zip(ours, exact, strict=True):
        torch.testing.assert_close(a, factor * b, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_update_of_a_deep_network_goes_downhill(seed: int) -> None:
    network = network_of([5, 6, 4, 3], seed)
    x, y = normal(seed + 10, 8, 5), normal(seed + 20, 8, 3)
    DFC(network, target_stepsize=0.05).backward(x, y)
    ours, exact = gradients(network), backpropagated(network, x, y)
    assert angle(ours, exact) < 90
    # The product of transposes is the backward path but for the slopes of tanh, so far less.
    assert angle(ours, exact) < 60


def test_a_single_precision_network_gets_single_precision_gradients() -> None:
    x, y = normal(1, 3, 3), normal(2, 3, 2)
    double, single = (network_of([3, 4, 2], 1, dtype=t) for t in (torch.float64, torch.float32))
    DFC(double, steps=100).backward(x, y)
    loss = DFC(single, steps=100).backward(x.float(), y.float())
    assert loss.dtype is torch.float32
    for a, b in zip(gradients(single), gradients(double), strict=True):
        assert a.dtype is torch.float32
        torch.testing.assert_close(a.double(), b, rtol=0, atol=1e-5)


Optimizer = Callable[[Iterator[torch.nn.Parameter]], torch.optim.Optimizer]


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9),
        lambda p: torch.optim.Adam(p, lr=0.02),
    ],
    ids=["SGD", "Adam"],
)
def test_any_optimiser_of_pytorch_learns_a_teacher_with_it(optimizer: Optimizer) -> None:
    network = network_of([4, 6, 2], seed=1)
    x = normal(2, 16, 4)
    y = network_of([4, 3, 2], seed=3)(x).detach()
    rule, steps = DFC(network, dt=0.04, steps=100), optimizer(network.parameters())
    losses = []
    for _ in range(60):
        losses.append(float(rule.backward(x, y)))
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        steps.step()
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize(
    "wrong", [{"target_stepsize": 0.0}, {"target_stepsize": -1.0}, {"dt": 0.0}, {"steps": 0}]
)
def test_settings_that_make_no_run_are_refused(network: Network, wrong: dict[str, float]) -> None:
    with pytest.raises(UserError) as error:
        DFC(network, **wrong)  # type: ignore[arg-type]
    name, value = next(iter(wrong.items()))
    assert f"{name} = {value}" in str(error.value)
    assert "must be positive" in str(error.value)


# The registry


def test_deep_feedback_control_is_found_by_name() -> None:
    entry = get_rule("dfc")
    assert entry.rule is DFC
    assert "Meulemans et al. 2021" in entry.source


def test_an_unknown_rule_is_answered_with_those_that_exist() -> None:
    class Nothing(LearningRule):
        def backward(self, x: Tensor, y: Tensor) -> Tensor:
            raise NotImplementedError

    register("a-rule-of-this-test", family="none", local="nowhere", source="none")(Nothing)
    try:
        with pytest.raises(UserError) as error:
            get_rule("dcf")
    finally:
        del RULES["a-rule-of-this-test"]
    for name in ("'dcf'", *RULES, "a-rule-of-this-test"):
        assert name in str(error.value)
