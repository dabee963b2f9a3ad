"""The linear theory of feedback alignment: its flow, what it conserves, what it aligns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from strategies import (
    autograd_jacobian,
    layer_sizes,
    normal,
    seeds,
)
from torch import Tensor

from analogdfc.errors import UserError
from analogdfc.experiments.alignment import (
    LinearAlignment,
    Weights,
    draw,
    flow_field,
    single_pair,
)
from analogdfc.learning.alignment import (
    FeedbackAlignment,
    SequentialFeedback,
)
from analogdfc.network import Network

SEEDS = range(20)


def numbers(weights: Weights) -> NDArray[np.float64]:
    return np.concatenate([weights.a.numpy().ravel(), weights.w.numpy().ravel()])


def weights_like(weights: Weights, values: NDArray[Any]) -> Weights:
    a, w = torch.split(torch.as_tensor(values), [weights.a.numel(), weights.w.numel()])
    return Weights(a.reshape(weights.a.shape), w.reshape(weights.w.shape))


def flown(task: LinearAlignment, start: Weights, times: Sequence[float]) -> list[Weights]:
    """The weights at these times, by SciPy."""

    def rate(_: float, values: NDArray[Any]) -> NDArray[np.float64]:
        return numbers(task.flow(weights_like(start, values)))

    span = (0.0, times[-1])
    found = solve_ivp(
        rate, span, numbers(start), method="DOP853", t_eval=times, rtol=1e-10, atol=1e-12
    )
    assert found.success
    return [weights_like(start, column) for column in found.y.T.copy()]


def stepped(task: LinearAlignment, start: Weights, time: float, steps: int) -> Weights:
    for _ in range(steps):
        start = task.step(start, time / steps)
    return start


def size(x: Tensor) -> float:
    return float(x.norm())


@given(layer_sizes(5).filter(lambda s: len(s) == 3), seeds())
@settings(max_examples=20)
def test_the_flow_is_the_update_of_the_rule_on_white_inputs(sizes: list[int], seed: int) -> None:
    task, weights = draw(sizes, [seed], weights=0.7)
    network = Network(sizes, "linear")
    network.weights[0].data, network.weights[1].data = weights.a[0].clone(), weights.w[0].clone()
    x = math.sqrt(sizes[0]) * torch.linalg.qr(normal(seed, sizes[0], sizes[0]))[0]  # [x x^T] = I
    rule = FeedbackAlignment(network, SequentialFeedback([task.feedback[0]]))
    rule.backward(x, x @ task.target[0].T)
    rates = task.flow(weights)
    for w, rate in zip(network.weights, (rates.a[0], rates.w[0]), strict=True):
        # The paper's loss is half as large.
        torch.testing.assert_close(w.grad, -2 * rate, rtol=1e-8, atol=1e-12)


def test_the_flow_conserves_c() -> None:
    task, start = draw((30, 20, 10), SEEDS, weights=0.5)
    before = task.conserved(start)
    for weights in flown(task, start, [0.2, 1.0, 3.0]):
        assert float((weights.a @ weights.a.mT - start.a @ start.a.mT).abs().max()) > 0.1
        assert float((task.conserved(weights) - before).abs().max()) <= 1e-6


def test_gradient_steps_approach_the_flow_to_first_order() -> None:
    task, start = draw((6, 5, 3), SEEDS, weights=0.5)
    (exact,) = flown(task, start, [1.0])
    errors, drifts = [], []
    for steps in (200, 400, 800):
        found = stepped(task, start, 1.0, steps)
        errors.append(size(found.a - exact.a) + size(found.w - exact.w))
        drifts.append(size(task.conserved(found) - task.conserved(start)))
    for measured in (errors, drifts):
        for coarse, fine in pairwise(measured):
            assert 1.9 < coarse / fine < 2.1


def test_one_step_changes_c_by_the_square_of_the_rate() -> None:
    task, start = draw((6, 5, 3), SEEDS, weights=0.5)
    be = task.feedback @ task.error(start)
    change = task.conserved(task.step(start, 0.1)) - task.conserved(start)
    torch.testing.assert_close(change, -0.01 * be @ be.mT, rtol=1e-10, atol=1e-13)


def test_from_zero_weights_the_error_goes_to_zero_and_never_rises_behind_the_feedback() -> None:
    # Theorem 1, with V = ||B E||^2 (eq. 15).
    task, start = draw((8, 5, 3), SEEDS, weights=0)
    course = flown(task, start, [0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 40])
    v = torch.stack([(task.feedback @ task.error(w)).square().sum((-2, -1)) for w in course])
    assert bool((v[1:] <= v[:-1] * (1 + 1e-9) + 1e-15).all())
    assert float(task.measure(course[0]).error.min()) > 0.9
    assert float(task.measure(course[-1]).error.max()) < 1e-4


@pytest.mark.parametrize(("sizes", "rate"), [((30, 20, 10), 0.02), ((100, 50, 20), 0.01)])
def test_the_deterministic_dynamics_align_in_each_of_20_networks(
    sizes: tuple[int, int, int], rate: float
) -> None:
    task, weights = draw(sizes, SEEDS)
    before, course = task.measure(weights), []
    for k in range(1, 201):
        weights = task.step(weights, rate)
        if k % 10 == 0:
            course.append(task.measure(weights))
    after = course[-1]
    assert float(before.angle.min()) > 75
    assert float(after.angle.max()) < 45
    assert all(bool((m.trace_bw > 0).all()) for m in course[2:])
    assert float(after.error.max()) < 1e-3
    # tr(A^T B E) peaks and falls with the error, but stays above 0 (figs. S11 and S12).
    traces = torch.stack([m.trace_abe for m in course])
    assert bool((traces > 0).all())
    assert bool((traces[-1] < 0.1 * traces.max(dim=0).values).all())


def test_what_is_learned_first_in_a_flows_into_w() -> None:
    # Figure S11, first column.
    task, weights = draw((30, 20, 10), SEEDS)
    start = task.measure(weights)
    for _ in range(50):
        weights = task.step(weights, 0.01, w=False)
    middle = task.measure(weights)
    assert bool((middle.trace_bw == start.trace_bw).all())
    assert bool((middle.error > 0.8).all())
    assert bool((middle.trace_abe > 100 * start.trace_abe.abs()).all())
    for _ in range(50):
        now = task.measure(weights)
        weights = task.step(weights, 0.01, a=False)
        grown = task.measure(weights).trace_bw - now.trace_bw
        torch.testing.assert_close(grown, 0.01 * now.trace_abe, rtol=1e-9, atol=1e-12)  # eq. 27
    end = task.measure(weights)
    assert bool((end.trace_bw > 20 * start.trace_bw.abs()).all())
    assert float(end.angle.max()) < 70 < float(start.angle.min())


def test_from_small_weights_updates_come_closer_to_pseudobackprop_than_to_backprop() -> None:
    # Figure S13, omega = 0.0001.
    task, weights = draw((30, 20, 10), SEEDS, weights=1e-4)
    for _ in range(100):
        weights = task.step(weights, 0.02)
    found = task.measure(weights)
    assert float(found.to_pseudobackprop.max()) < 10 < 20 < float(found.to_backprop.min())


def test_measures_are_those_of_explicit_sums() -> None:
    task, weights = draw((4, 3, 2), range(3), weights=0.8)
    found = task.measure(weights)
    for k in range(3):
        a, w, b, t = (x[k].numpy() for x in (*weights, task.feedback, task.target))
        e = t - w @ a

        def degrees(x: NDArray[Any], y: NDArray[Any]) -> float:
            cosine = (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())
            return float(np.degrees(np.arccos(cosine)))

        expected = {
            "trace_bw": np.trace(b @ w),
            "trace_abe": np.trace(a.T @ b @ e),
            "angle": degrees(w, b.T),
            "to_backprop": degrees(b @ e, w.T @ e),
            "to_pseudobackprop": degrees(b @ e, w.T @ np.linalg.inv(w @ w.T) @ e),
            "error": (e**2).sum() / (t**2).sum(),
        }
        assert tuple(expected) == found._fields
        for ours, theirs in zip(found, expected.values(), strict=True):
            assert float(ours[k]) == pytest.approx(float(theirs), rel=1e-9)


def test_an_angle_to_nothing_is_nan() -> None:
    task, weights = draw((4, 3, 2), weights=0)
    found = task.measure(weights)
    assert math.isnan(float(found.angle[0]))
    assert math.isnan(float(found.to_backprop[0]))
    assert float(found.error[0]) == 1


@given(seeds(), st.integers(2, 5), st.integers(1, 4))
@settings(max_examples=20)
def test_learning_one_pair_from_zero_is_pseudobackprop(seed: int, n_h: int, n_o: int) -> None:
    eta, steps, x = 0.02, 15, normal(seed, 1, 3)
    b, label = normal(seed + 1, n_h, n_o), normal(seed + 2, n_o)
    network = Network([3, n_h, n_o], "linear")
    for w in network.weights:
        w.data.zero_()
    rates = (eta / float(x.square().sum()), eta)
    groups = [
        {"params": [w], "lr": rate / 2} for w, rate in zip(network.weights, rates, strict=True)
    ]
    optimizer = torch.optim.SGD(groups)
    rule = FeedbackAlignment(network, SequentialFeedback([b]))
    scalars = single_pair(b, label, eta, steps)
    for k in range(1, steps + 1):
        rule.backward(x, label[None])
        optimizer.step()
        w, h = network.weights[1].detach(), network.potentials(x)[0][0].detach()
        torch.testing.assert_close(h, scalars.h[k] * (b @ label), rtol=1e-9, atol=1e-14)
        expected = scalars.w[k] * torch.outer(label, b @ label)
        torch.testing.assert_close(w, expected, rtol=1e-9, atol=1e-14)
    e = label - w @ h
    s = 1 / float(scalars.w[-1] * (b @ label).square().sum())
    inverse = torch.from_numpy(np.linalg.pinv(w.numpy(), rcond=1e-6))
    torch.testing.assert_close(inverse @ e, s * b @ e, rtol=1e-7, atol=1e-9)


# The network of three neurons (fig. S10)


def test_the_flow_field_is_that_of_the_two_equations() -> None:
    a, w = torch.linspace(-2, 2, 5), torch.linspace(-1, 2, 4)
    field = flow_field(a, w, feedback=0.5, target=1.5)
    for i in range(4):
        for j in range(5):
            e = 1.5 - float(w[i]) * float(a[j])
            assert float(field.da[i, j]) == pytest.approx(0.5 * e)
            assert float(field.dw[i, j]) == pytest.approx(e * float(a[j]))
            assert (float(field.a[i, j]), float(field.w[i, j])) == (float(a[j]), float(w[i]))


@given(st.floats(0.3, 3), st.booleans(), st.sampled_from([-1.0, 1.0]))
def test_a_solution_is_stable_where_the_field_says_so(
    a: float, negative: bool, feedback: float
) -> None:
    at = torch.tensor([-a if negative else a], dtype=torch.float64)

    def rate(weights: Tensor) -> Tensor:
        field = flow_field(weights[:1], weights[1:], feedback=feedback)
        return torch.stack([field.da[0, 0], field.dw[0, 0]])

    solution = torch.cat([at, 1 / at])
    field = flow_field(solution[:1], solution[1:], feedback=feedback)
    assert abs(float(field.da)) + abs(float(field.dw)) < 1e-12
    slopes = autograd_jacobian(rate, solution)
    # One eigenvalue is 0, along the hyperbola of solutions; the other is the trace.
    assert float(torch.trace(slopes)) == pytest.approx(-float(field.decay), abs=1e-12)
    assert float(torch.linalg.det(slopes)) == pytest.approx(0, abs=1e-9)


def test_the_flow_is_the_gradient_of_nothing() -> None:
    # Eq. 79 for an input of 1 and no biases, at A = 0.5, W = -0.3, B = 2.
    def rate(weights: Tensor) -> Tensor:
        field = flow_field(weights[:1], weights[1:], feedback=2.0)
        return torch.stack([field.dw[0, 0], field.da[0, 0]])

    found = autograd_jacobian(rate, torch.tensor([0.5, -0.3]).double())
    e = 1 + 0.3 * 0.5
    by_w_then_a = [[-(0.5**2), 0.3 * 0.5 + e], [-2 * 0.5, 2 * 0.3]]
    torch.testing.assert_close(found.flip(1), torch.tensor(by_w_then_a).double())
    assert found[0, 0] != found[1, 1]  # d(dW/dt)/dA and d(dA/dt)/dW


def test_theory_out_of_range_is_refused() -> None:
    task, weights = draw((4, 3, 2))
    with pytest.raises(UserError, match="rate = 0"):
        task.step(weights, 0)
    with pytest.raises(UserError, match="are needed"):
        LinearAlignment(torch.ones(3, 2), torch.ones(3, 4))
    for arguments in ({"sizes": (3, 2)}, {"seeds": ()}, {"feedback": 0.0}, {"weights": -1.0}):
        with pytest.raises(UserError):
            draw(**arguments)
    with pytest.raises(UserError, match="give two vectors"):
        flow_field(torch.ones(2, 2), torch.ones(2))
    with pytest.raises(UserError, match="steps = 0"):
        single_pair(torch.ones(3, 2), torch.ones(2), 0.1, 0)
