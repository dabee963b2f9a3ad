"""Feedback alignment, its relatives and their linear theory (Lillicrap et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generator, network_of, normal, seeds, small_networks
from torch import Tensor, nn

from analogdfc.activations import get_activation
from analogdfc.datasets import (
    Dataset,
    linear_teacher,
    load_dataset,
    nonlinear_teacher,
    xor,
)
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning.alignment import (
    Dropout,
    FeedbackAlignment,
    NodePerturbation,
    SequentialFeedback,
)
from analogdfc.learning.base import LearningRule, get_rule
from analogdfc.learning.controls import Backpropagation, DirectFeedbackAlignment, Shallow
from analogdfc.losses import SoftmaxCrossEntropy
from analogdfc.measures import angle
from analogdfc.network import Network

NAMES = ("tanh", "linear", "relu", "sigmoid", "piecewise-linear")
BAR = 1e-8
SEEDS = range(20)


def networks() -> st.SearchStrategy[Network]:
    return small_networks(NAMES)


def batch(network: Network, seed: int, size: int = 5) -> tuple[Tensor, Tensor]:
    return normal(seed, size, network.sizes[0]), normal(seed + 1, size, network.sizes[-1])


def gradients(rule: LearningRule, x: Tensor, y: Tensor) -> list[Tensor]:
    """What the rule writes: first of the weights, then of the biases."""
    rule.backward(x, y)
    found = [p.grad for p in rule.network.parameters()]
    return [g.clone() for g in found if g is not None]


def assert_close(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    """Equal to the bar, relative to the norm of all together."""
    a, b = (torch.cat([t.flatten() for t in tensors]) for tensors in (ours, theirs))
    assert float((a - b).norm()) <= BAR * float(b.norm()) + 1e-300


class FeedbackLinear(torch.autograd.Function):
    """A linear layer of PyTorch, with B in place of the transposed weights on the way back."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, w: Tensor, b: Tensor, feedback: Tensor) -> Tensor:
        ctx.save_for_backward(r, feedback)
        return r @ w.T + b

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        r, feedback = ctx.saved_tensors
        (delta,) = deltas
        return delta @ feedback.T, delta.T @ r, delta.sum(dim=0), None


def by_autograd(
    network: Network, feedback: Sequence[Tensor], masks: Sequence[Tensor | float]
) -> Callable[[Tensor, Tensor], list[Tensor]]:
    """Gradients of the mean squared error through layers whose way back is `feedback`.

    Args:
        network: the network.
        feedback: matrices of layers 2..L.
        masks: factors of r_0..r_{L-1}.
    """
    parameters = list(network.parameters())
    back = [torch.zeros(network.sizes[0], network.sizes[1], dtype=torch.float64), *feedback]

    def compute(x: Tensor, y: Tensor) -> list[Tensor]:
        r = x
        for i, phi in enumerate(network.activations):
            w, b = network.weights[i], network.biases[i]
            v = FeedbackLinear.apply(r * masks[i], w, b, back[i])  # type: ignore[no-untyped-call]
            r = phi.function(v)
        loss = ((r - y) ** 2).sum(dim=1).mean()
        return list(torch.autograd.grad(loss, parameters))

    return compute


def train(
    rule: LearningRule,
    data: Dataset,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    size: int,
) -> list[float]:
    """Mini-batches one after the other; the loss of each before its update."""
    losses = []
    for k in range(steps):
        first = k * size % len(data.x)
        rows = slice(first, first + size)
        losses.append(float(rule.backward(data.x[rows], data.y[rows])))
        optimizer.step()
    return losses


def sgd(network: Network, lr: float, **options: Any) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), lr=lr, **options)


def initialise(network: Network, spread: float, seed: int) -> Network:
    """All parameters uniform and centred on 0."""
    source = generator(seed)
    for p in network.parameters():
        p.data.uniform_(-spread, spread, generator=source)
    return network


def remaining(network: Network, data: Dataset) -> float:
    """Normalised squared error on the test samples."""
    error = ((network(data.x_test) - data.y_test) ** 2).sum().detach()
    return float(error / ((data.y_test - data.y_test.mean(dim=0)) ** 2).sum())


# The rules against independent constructions


@given(networks(), seeds())
@settings(max_examples=20)
def test_feedback_alignment_is_autograd_with_random_matrices_on_the_way_back(
    network: Network, seed: int
) -> None:
    feedback = SequentialFeedback.random(network, generator(seed + 2))
    matrices = [b.detach() for b in feedback.matrices]
    expected = by_autograd(network, matrices, [1.0] * network.depth)
    x, y = batch(network, seed)
    assert_close(gradients(FeedbackAlignment(network, feedback), x, y), expected(x, y))


@given(networks(), seeds())
@settings(max_examples=20)
def test_direct_feedback_alignment_is_that_of_loops_over_samples_and_neurons(
    network: Network, seed: int
) -> None:
    feedback = DirectFeedback.random(network, generator(seed + 2))
    x, y = batch(network, seed, 3)
    expected = [torch.zeros_like(p.detach()) for p in network.parameters()]
    v = [vi.detach() for vi in network.potentials(x)]
    r = [x, *(phi.function(vi) for phi, vi in zip(network.activations, v, strict=True))]
    slopes = [phi.derivative(vi) for phi, vi in zip(network.activations, v, strict=True)]
    for s in range(len(x)):
        e = 2 * (r[-1][s] - y[s]) * slopes[-1][s]
        for i in range(network.depth):
            for j in range(network.sizes[i + 1]):
                row = feedback.matrices[i][j].detach()
                delta = e[j] if i == network.depth - 1 else slopes[i][s, j] * torch.dot(row, e)
                expected[i][j] += delta * r[i][s] / len(x)
                expected[network.depth + i][j] += delta / len(x)
    assert_close(gradients(DirectFeedbackAlignment(network, feedback), x, y), expected)


@given(networks(), seeds())
@settings(max_examples=20)
def test_shallow_learning_is_autograd_on_fixed_features(network: Network, seed: int) -> None:
    x, y = batch(network, seed)
    v = network.potentials(x)
    below = network.activations[-2].function(v[-2]) if network.depth > 1 else x
    w, b = network.weights[-1], network.biases[-1]
    loss = ((below.detach() @ w.T + b - y) ** 2).sum(dim=1).mean()
    last = dict(zip((w, b), torch.autograd.grad(loss, [w, b]), strict=True))
    expected = [last.get(p, torch.zeros_like(p)) for p in network.parameters()]
    assert_close(gradients(Shallow(network), x, y), expected)


@given(networks(), seeds(), st.floats(0.01, 1), st.integers(1, 3))
@settings(max_examples=10)
def test_node_perturbation_is_that_of_loops_over_draws_samples_and_neurons(
    network: Network, seed: int, sigma: float, draws: int
) -> None:
    x, y = batch(network, seed, 3)
    source = generator(seed + 2)
    noise = [
        torch.randn(draws, len(x), n, dtype=torch.float64, generator=source)
        for n in network.sizes[1:]
    ]
    expected = [torch.zeros_like(p.detach()) for p in network.parameters()]
    layers = list(zip(network.weights, network.biases, network.activations, strict=True))
    for k in range(draws):
        for s in range(len(x)):
            free, noisy = [x[s]], x[s]
            for i, (w, b, phi) in enumerate(layers):
                free.append(phi.function(w.detach() @ free[-1] + b.detach()))
                v = w.detach() @ noisy + b.detach()
                noisy = phi.function(v + sigma * noise[i][k, s])
            worse = ((noisy - y[s]) ** 2).sum() - ((free[-1] - y[s]) ** 2).sum()
            for i in range(network.depth):
                share = worse * sigma * noise[i][k, s] / sigma**2 / (draws * len(x))
                expected[i] += torch.outer(share, free[i])
                expected[network.depth + i] += share
    rule = NodePerturbation(
        network, sigma=sigma, perturbations=draws, generator=generator(seed + 2)
    )
    ours = gradients(rule, x, y)
    for a, b in zip(ours, expected, strict=True):  # L - L' cancels digits where sigma is small
        torch.testing.assert_close(a, b, rtol=BAR, atol=1e-11)


def test_node_perturbation_follows_the_gradient_on_average_and_ever_closer() -> None:
    network, (x, y) = network_of([3, 4, 2]), (normal(1, 2, 3), normal(2, 2, 2))
    exact = torch.cat([g.flatten() for g in gradients(Backpropagation(network), x, y)])
    errors = []
    for draws in (1000, 16_000):
        rule = NodePerturbation(network, sigma=1e-3, perturbations=draws)
        found = torch.cat([g.flatten() for g in gradients(rule, x, y)])
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[1] < 0.1
    assert 2 < errors[0] / errors[1] < 8  # the square root of 16 is 4


@given(networks(), seeds())
@settings(max_examples=20)
def test_transposed_weights_on_the_way_back_make_backpropagation(
    network: Network, seed: int
) -> None:
    x, y = (
        torch.softmax(normal(seed, 4, network.sizes[0]), dim=1),
        normal(seed, 4, network.sizes[-1]),
    )
    loss = SoftmaxCrossEntropy()
    y = torch.softmax(y, dim=1)
    expected = torch.autograd.grad(loss.value(network(x), y).mean(), list(network.parameters()))
    aligned = FeedbackAlignment(network, SequentialFeedback.transposed(network), loss)
    assert_close(gradients(aligned, x, y), expected)
    assert_close(gradients(Backpropagation(network, loss), x, y), expected)


# Dropout, frozen layers, momentum, the piecewise-linear unit


@given(networks(), seeds(), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.5]))
@settings(max_examples=20)
def test_dropout_has_the_same_mask_on_the_way_up_and_down(
    network: Network, seed: int, inputs: float, hidden: float
) -> None:
    x, y = batch(network, seed)
    source, masks = generator(7), []
    for n, p in zip(network.sizes[:-1], [inputs, *[hidden] * (network.depth - 1)], strict=True):
        if p == 0:
            masks.append(torch.ones(len(x), n, dtype=torch.float64))
        else:
            kept = torch.rand(len(x), n, dtype=torch.float64, generator=source) >= p
            masks.append(kept.double() / (1 - p))
    feedback = SequentialFeedback.random(network, generator(seed + 2))
    dropout = Dropout(hidden, inputs)
    fa = FeedbackAlignment(network, feedback, dropout=dropout, generator=generator(7))
    matrices = [b.detach() for b in feedback.matrices]
    assert_close(gradients(fa, x, y), by_autograd(network, matrices, masks)(x, y))
    bp = Backpropagation(network, dropout=dropout, generator=generator(7))
    transposed = [w.detach().T for w in list(network.weights)[1:]]
    assert_close(gradients(bp, x, y), by_autograd(network, transposed, masks)(x, y))


def test_dropout_draws_anew_for_each_batch_from_its_seed_and_leaves_evaluation_alone() -> None:
    network = network_of([4, 30, 2])
    x, y = batch(network, 1)
    before = network(x).detach()
    rule = DirectFeedbackAlignment(network, dropout=Dropout(0.5), generator=generator(3))
    first, second = gradients(rule, x[:1], y[:1]), gradients(rule, x[:1], y[:1])
    again = DirectFeedbackAlignment(network, dropout=Dropout(0.5), generator=generator(3))
    assert torch.equal(first[0], gradients(again, x[:1], y[:1])[0])
    assert not torch.equal(first[0], second[0])
    silent = (first[0] == 0).all(dim=1)
    assert 5 <= int(silent.sum()) <= 25  # of 30
    assert torch.equal(silent, (first[1] == 0).all(dim=0))  # what is silent teaches nothing either
    assert torch.equal(network(x), before)


def test_a_linear_network_answers_with_the_mean_over_dropout() -> None:
    network = network_of([6, 20, 2], activation="linear")
    x = normal(1, 1, 6).expand(20_000, -1)
    y = network(x).detach()
    # With the network's own answer for label, the output's bias sees the mean deviation from it.
    rule = Backpropagation(network, dropout=Dropout(0.4, 0.2))
    deviation = gradients(rule, x, y)[-1] / 2
    assert float(deviation.abs().max()) < 0.05 * float(y.abs().max())


@pytest.mark.parametrize("rule", [FeedbackAlignment, DirectFeedbackAlignment, NodePerturbation])
def test_a_frozen_layer_stays_under_momentum_and_weight_decay(
    rule: type[FeedbackAlignment] | type[DirectFeedbackAlignment] | type[NodePerturbation],
) -> None:
    network = network_of([4, 6, 5, 3])
    x, y = batch(network, 1)
    free = gradients(rule(network), x, y)
    network.zero_grad(set_to_none=False)
    frozen = rule(network, frozen=[1])
    kept = [free[i] for i in (1, 2, 4, 5)]  # without W_1 and b_1
    assert all(torch.equal(*pair) for pair in zip(gradients(frozen, x, y), kept, strict=True))
    before = [p.detach().clone() for p in network.parameters()]
    optimizer = sgd(network, 0.01, momentum=0.9, weight_decay=0.1)
    train(frozen, Dataset(x, y, x, y), optimizer, steps=3, size=5)
    same = [torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True)]
    assert same == [True, False, False, True, False, False]


def test_the_published_momentum_is_that_of_sgd() -> None:
    # v' = alpha v + Delta theta and theta' = theta + v', Delta theta the update at theta.
    alpha, eta = 0.9, 0.02
    network, mine = network_of([4, 6, 3]), network_of([4, 6, 3])
    x, y = batch(network, 1)
    optimizer = sgd(network, eta, momentum=alpha)
    velocity = [torch.zeros_like(p.detach()) for p in mine.parameters()]
    for _ in range(10):
        gradients(FeedbackAlignment(network), x, y)
        optimizer.step()
        for v, p, g in zip(
            velocity,
            mine.parameters(),
            gradients(FeedbackAlignment(mine), x, y),
            strict=True,
        ):
            v.mul_(alpha).sub_(eta * g)
            p.data += v
    assert_close(
        [p.detach() for p in network.parameters()], [p.detach() for p in mine.parameters()]
    )


@given(seeds(), st.floats(0, 0.99))
def test_the_index_printed_in_the_published_momentum_delays_sgd_by_one_step(
    seed: int, alpha: float
) -> None:
    # As printed, theta_{t+1} = theta_t + v_t with v_0 = 0: on given updates, SGD one step later.
    updates = normal(seed, 8, 3)
    theta, v, printed = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), []
    parameter = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=alpha)
    ours = [parameter.detach().clone()]
    for update in updates:
        theta, v = theta + v, alpha * v + update
        printed.append(theta)
        parameter.grad = -update
        optimizer.step()
        ours.append(parameter.detach().clone())
    torch.testing.assert_close(torch.stack(printed), torch.stack(ours[:-1]))


def test_momentum_speeds_feedback_alignment_up() -> None:
    data = nonlinear_teacher(samples=(1000, 0, 200), seed=0)
    errors = []
    for alpha in (0.0, 0.5, 0.9):  # fig. S8
        network = Network([30, 20, 10, 10], generator=generator(0))
        optimizer = sgd(network, 0.005, momentum=alpha)
        train(FeedbackAlignment(network), data, optimizer, steps=150, size=20)
        errors.append(remaining(network, data))
    assert errors[2] < 0.8 * errors[1] < 0.8**2 * errors[0]


def test_the_piecewise_linear_unit_is_eq_1_in_any_floating_type() -> None:
    phi = get_activation("piecewise-linear")
    for dtype in (torch.float32, torch.float64):
        v = torch.tensor([-20.0, -1.0, 0.0, 0.5, 3.0], dtype=dtype)
        expected = torch.tensor([-1.0, -0.05, 0.0, 0.5, 3.0], dtype=dtype)
        torch.testing.assert_close(phi.function(v), expected, rtol=1e-7, atol=0)
        slopes = torch.tensor([1 / 20, 1 / 20, 1 / 20, 1, 1], dtype=dtype)
        assert torch.equal(phi.derivative(v), slopes)
        leaky = nn.LeakyReLU(1 / 20)
        assert torch.equal(phi.function(v), leaky(v))


def test_a_unit_below_zero_learns_if_piecewise_linear_and_never_again_if_rectified() -> None:
    for activation, learns in (("piecewise-linear", True), ("relu", False)):
        network = network_of([3, 4, 2], activation=activation)
        network.biases[0].data.fill_(-100.0)
        found = gradients(FeedbackAlignment(network), *batch(network, 1))
        assert bool(found[0].any()) == learns


# Switching rules


def test_a_rule_can_be_switched_with_the_state_of_the_optimiser_kept() -> None:
    network = network_of([4, 6, 3])
    x, y = batch(network, 1)
    optimizer = sgd(network, 0.02, momentum=0.9)
    train(Backpropagation(network), Dataset(x, y, x, y), optimizer, steps=5, size=5)
    velocity = [optimizer.state[p]["momentum_buffer"].clone() for p in network.parameters()]
    before = [p.detach().clone() for p in network.parameters()]
    update = gradients(FeedbackAlignment(network), x, y)
    optimizer.step()
    assert all(bool(v.any()) for v in velocity)
    expected = [b - 0.02 * (0.9 * v + g) for b, v, g in zip(before, velocity, update, strict=True)]
    assert_close([p.detach() for p in network.parameters()], expected)


def test_feedback_alignment_leaves_a_minimum_of_the_loss_and_finds_another() -> None:
    # Figure S14: a quadratic function, more than the network can learn.
    x = normal(1, 100, 4)
    y = torch.stack([x[:, 0] ** 2 - x[:, 1] * x[:, 2], x[:, 3] * x[:, 0]], dim=1)
    network = Network([4, 12, 2], generator=generator(0))
    data, optimizer = Dataset(x, y, x, y), sgd(network, 0.05)
    start, *_, minimum = train(Backpropagation(network), data, optimizer, steps=1500, size=100)
    after = train(FeedbackAlignment(network), data, optimizer, steps=1500, size=100)
    assert minimum < 0.3 * start
    assert max(after) > 1.5 * minimum
    assert after[-1] < 0.5 * max(after)


# The tasks of the paper


@pytest.mark.parametrize("seed", [2, 5, 18])
def test_xor_in_a_2_2_1_network_from_the_published_weights(seed: int) -> None:
    # The first layer's weights and the units are not printed. From some of them every rule ends in
    # a minimum that does not solve the problem; these seeds are some that do.
    network = initialise(Network([2, 2, 1], "sigmoid", "sigmoid"), 1.0, seed)
    network.weights[1].data.copy_(torch.tensor([[0.15, -0.13]]))
    b = torch.tensor([[-3.75], [-4.53]], dtype=torch.float64)
    before = angle(network.weights[1].T, b)
    rule = FeedbackAlignment(network, SequentialFeedback([b]))
    # A rate of 0.5 on half of the error, summed over four samples.
    losses = train(rule, xor(), sgd(network, 0.5 * 4 / 2), steps=2000, size=4)
    assert losses[0] > 0.2
    assert losses[-1] < 0.01
    assert bool(((network(xor().x) > 0.5) == (xor().y > 0.5)).all())
    assert before > 80
    assert angle(network.weights[1].T, b) < 10  # printed: (-4.65, -4.55), 5 degrees from B


@pytest.mark.parametrize("seed", range(3))
def test_xor_in_a_2_25_1_network(seed: int) -> None:
    network = initialise(Network([2, 25, 1], "tanh", "sigmoid"), 1.0, seed)
    rule = FeedbackAlignment(network, SequentialFeedback.random(network, generator(seed), 1.0))
    losses = train(rule, xor(), sgd(network, 0.25), steps=600, size=4)
    assert losses[-1] < 0.02 < 0.2 < losses[0]
    assert angle(network.weights[1].T, rule.feedback.matrices[0]) < 70


def test_the_forward_weights_align_with_the_feedback_on_the_30_20_10_task() -> None:
    for seed in SEEDS:
        data = linear_teacher(30, 10, (2000, 0, 200), seed)
        network = initialise(Network([30, 20, 10], "linear"), 0.01, seed)
        feedback = SequentialFeedback.random(network, generator(1000 + seed), 0.5)
        rule, (b,) = FeedbackAlignment(network, feedback), feedback.matrices
        before = angle(network.weights[1].T, b)
        train(rule, data, sgd(network, 0.005), steps=200, size=10)
        assert before > 75
        assert angle(network.weights[1].T, b) < 45
        assert remaining(network, data) < 0.02


def test_feedback_alignment_uses_depth_that_shallow_learning_and_frozen_features_do_not() -> None:
    data = nonlinear_teacher((30, 20, 10, 10), (3000, 0, 500), seed=1)
    for seed in range(2):
        found = []
        for rule, frozen in ((FeedbackAlignment, ()), (FeedbackAlignment, (1,)), (Shallow, ())):
            network = Network([30, 20, 10, 10], generator=generator(seed))
            optimizer = sgd(network, 0.025)
            train(rule(network, frozen=frozen), data, optimizer, steps=500, size=20)
            found.append(remaining(network, data))
        aligned, features, shallow = found
        assert aligned < 0.25
        assert features > 1.5 * aligned  # note 3
        assert shallow > 2.5 * aligned


# Data and bad input


def test_the_teachers_answer_as_they_are_defined() -> None:
    assert xor().x.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert xor().y.flatten().tolist() == [0, 1, 1, 0]
    linear = linear_teacher(7, 3, (400, 20, 30), seed=3)
    fit, residuals, *_ = np.linalg.lstsq(linear.x.numpy(), linear.y.numpy(), rcond=None)
    assert residuals.max() < 1e-20
    assert 0.8 < np.abs(fit).max() < 1
    torch.testing.assert_close(linear.y_test, linear.x_test @ torch.from_numpy(fit))
    curved = nonlinear_teacher((7, 6, 3), (400, 20, 30), seed=3)
    *_, residuals = np.linalg.lstsq(curved.x.numpy(), curved.y.numpy(), rcond=None)[:2]
    assert residuals.min() > 1
    for data in (linear, curved):
        assert data.validation is not None
        assert [len(part) for part in (data.x, data.validation.x, data.x_test)] == [400, 20, 30]
        assert abs(float(data.x.mean())) < 0.1
        assert float(data.x.std()) == pytest.approx(1, abs=0.1)
    again = nonlinear_teacher((7, 6, 3), (400, 20, 30), seed=3, dtype=torch.float32)
    assert torch.equal(again.y, curved.y.float())
    assert not torch.equal(nonlinear_teacher((7, 6, 3), (400, 20, 30), seed=4).y, curved.y)
    assert linear_teacher(samples=(3, 0, 2)).validation is None


def test_the_tasks_have_names() -> None:
    shapes = {"xor": (2, 1), "linear-30-10": (30, 10), "linear-100-20": (100, 20)}
    for name, shape in {**shapes, "nonlinear-30-20-10-10": (30, 10)}.items():
        data = load_dataset(name, dtype=torch.float32)
        assert (data.x.shape[1], data.y.shape[1]) == shape
        assert data.x.dtype == torch.float32


@pytest.mark.parametrize("teacher", [linear_teacher, nonlinear_teacher])
def test_a_teacher_out_of_range_is_refused(teacher: Callable[..., Dataset]) -> None:
    with pytest.raises(UserError, match="seed = -1 is not in 0 to"):
        teacher(seed=-1)
    with pytest.raises(UserError, match="give three numbers"):
        teacher(samples=(0, 1, 1))
    with pytest.raises(UserError, match="floating type"):
        teacher(dtype=torch.int64)
    spread = "spread" if teacher is linear_teacher else "gain"
    with pytest.raises(UserError, match="of nan is not finite"):
        teacher(**{spread: math.nan})
    with pytest.raises(UserError, match="all above 0"):
        teacher(*((0, 3) if teacher is linear_teacher else ((3, 0),)))


@pytest.mark.parametrize("sigma", [0.0, -0.1, math.nan, math.inf])
def test_node_perturbation_without_noise_is_refused_before_training(sigma: float) -> None:
    with pytest.raises(UserError, match=r"sigma = .*give a finite sigma > 0"):
        NodePerturbation(network_of([3, 4, 2]), sigma=sigma)


def test_rules_that_do_not_fit_the_network_are_refused() -> None:
    network, other = network_of([3, 4, 2]), network_of([3, 5, 2])
    with pytest.raises(UserError, match=r"\[\(5, 2\)\]; the network needs \[\(4, 2\)\]"):
        FeedbackAlignment(network, SequentialFeedback.transposed(other))
    with pytest.raises(UserError, match="the network needs"):
        FeedbackAlignment(network, SequentialFeedback([]))
    with pytest.raises(UserError, match=r"the network needs \[\(4, 2\), \(2, 2\)\]"):
        DirectFeedbackAlignment(network, DirectFeedback.transposed(other))
    with pytest.raises(UserError, match="frozen layer 3: layers are 1 to 2"):
        FeedbackAlignment(network, frozen=[1, 3])
    with pytest.raises(UserError, match="frozen layer 0"):
        Shallow(network, frozen=[0])
    with pytest.raises(UserError, match="nothing is left to learn"):
        NodePerturbation(network, frozen=[1, 2])
    with pytest.raises(UserError, match="perturbations = 0"):
        NodePerturbation(network, perturbations=0)
    with pytest.raises(UserError, match=r"spread = 0\.0"):
        SequentialFeedback.random(network, generator(0), 0.0)
    for p in (1.0, -0.1, math.nan):
        with pytest.raises(UserError, match="hidden = "):
            Dropout(p)
        with pytest.raises(UserError, match="inputs = "):
            Dropout(inputs=p)


def test_the_rules_are_registered() -> None:
    for name, rule in (("fa", FeedbackAlignment), ("node-perturbation", NodePerturbation)):
        info = get_rule(name)
        assert info.rule is rule
        assert "Lillicrap" in info.source
    assert get_rule("dfa").family == get_rule("fa").family


@pytest.mark.parametrize("rule", [FeedbackAlignment, DirectFeedbackAlignment, Backpropagation])
def test_on_another_device_the_updates_are_those_of_the_cpu(
    rule: type[FeedbackAlignment] | type[DirectFeedbackAlignment] | type[Backpropagation],
    device: str,
) -> None:
    network = network_of([5, 6, 4, 3], activation="piecewise-linear")
    x, y = batch(network, 1)
    expected = gradients(rule(network), x, y)
    moved = network_of([5, 6, 4, 3], activation="piecewise-linear").to(device)
    there = x.to(device), y.to(device)
    assert_close([g.cpu() for g in gradients(rule(moved), *there)], expected)
    gradients(rule(moved, dropout=Dropout()), *there)
    noisy = gradients(NodePerturbation(moved), *there)
    assert all(bool(g.isfinite().all()) and g.device.type == device for g in noisy)
