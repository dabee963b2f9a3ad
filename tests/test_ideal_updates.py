"""Ideal updates against dense Jacobians of all parameters, taken through autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import network_of, normal, seeds, small_networks
from torch import Tensor

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning.ideal import (
    ParameterUpdate,
    backprop_update,
    gauss_newton_batch_update,
    gauss_newton_update,
    minimum_norm_update,
)
from analogdfc.losses import LOSSES
from analogdfc.network import Network

Rule = Callable[..., ParameterUpdate]


def values(network: Network) -> list[Tensor]:
    return [p.detach() for p in (*network.weights, *network.biases)]


def outputs(network: Network, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
    """The network's output, written out anew as a function of its parameters."""
    r, depth = x, network.depth
    for i, phi in enumerate(network.activations):
        r = phi.function(parameters[i] @ r + parameters[depth + i])
    return r


def dense_jacobian(network: Network, x: Tensor, *, biases: bool = True) -> Tensor:
    """dr_L / dtheta of one input, (n_L, parameters): weights, then biases."""
    parameters = values(network)
    jacobians = torch.func.jacrev(lambda p: outputs(network, p, x))(parameters)
    kept = jacobians if biases else jacobians[: network.depth]
    return torch.cat([j.flatten(1) for j in kept], dim=1)


def potential_jacobian(network: Network, x: Tensor) -> Tensor:
    """dr_L / dv of one input: biases are offsets of the potentials."""
    parameters, depth = values(network), network.depth

    def of_biases(biases: list[Tensor]) -> Tensor:
        return outputs(network, [*parameters[:depth], *biases], x)

    return torch.cat(list(torch.func.jacrev(of_biases)(parameters[depth:])), dim=1)


def ridge(jacobian: Tensor, error: Tensor, damping: float) -> Tensor:
    """argmin ||J d - error||^2 + damping ||d||^2, as an ordinary least-squares problem."""
    if damping == 0:
        inverse: Tensor = torch.linalg.pinv(jacobian)
        return inverse @ error
    rows = damping**0.5 * torch.eye(jacobian.shape[1], dtype=jacobian.dtype)
    right = torch.cat([error, error.new_zeros(jacobian.shape[1])])
    found: Tensor = torch.linalg.lstsq(torch.cat([jacobian, rows]), right, driver="gelsd").solution
    return found


def flat(update: ParameterUpdate, *, biases: bool = True) -> Tensor:
    parts = [*update.weights, *(update.biases if biases else ())]
    return torch.cat([p.flatten() for p in parts])


def assert_same(found: Tensor, expected: Tensor, tolerance: float = 1e-8) -> None:
    assert float((found - expected).norm()) <= tolerance * float(expected.norm())


def data(network: Network, batch: int, seed: int) -> tuple[Tensor, Tensor]:
    return normal(seed, batch, network.sizes[0]), normal(seed + 1, batch, network.sizes[-1])


DAMPINGS = st.sampled_from([0.0, 0.1, 1.0])


@pytest.mark.parametrize("loss", ["l2", "cross-entropy"])
@given(small_networks(["tanh", "sigmoid", "relu"]), st.integers(1, 4), seeds())
def test_backprop_is_the_negative_gradient_of_the_mean_loss(
    loss: str, network: Network, batch: int, seed: int
) -> None:
    x, y = data(network, batch, seed)
    y = torch.softmax(y, dim=1)
    value = LOSSES[loss].value(network(x), y).mean()
    gradients = torch.autograd.grad(value, [*network.weights, *network.biases])
    update = backprop_update(network, x, LOSSES[loss].error(network(x).detach(), y))
    for found, gradient in zip([*update.weights, *update.biases], gradients, strict=True):
        torch.testing.assert_close(found, -gradient, rtol=1e-10, atol=1e-13)
        assert not found.requires_grad


@given(small_networks(["tanh", "sigmoid"]), st.integers(1, 4), DAMPINGS, st.booleans(), seeds())
def test_gauss_newton_is_the_mean_of_the_samples_dense_solutions(
    network: Network, batch: int, damping: float, biases: bool, seed: int
) -> None:
    x, error = data(network, batch, seed)
    update = gauss_newton_update(network, x, error, damping, biases=biases)
    solutions = [
        ridge(dense_jacobian(network, xb, biases=biases), eb, damping)
        for xb, eb in zip(x, error, strict=True)
    ]
    assert_same(flat(update, biases=biases), torch.stack(solutions).mean(dim=0))
    if not biases:
        assert all(not b.any() for b in update.biases)


@pytest.mark.parametrize("damping", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 5])
def test_gauss_newton_of_a_minibatch_is_one_dense_least_squares_problem(
    batch: int, biases: bool, damping: float
) -> None:
    network = network_of([5, 7, 6, 3], seed=batch)
    x, error = data(network, batch, 10)
    jacobian = torch.cat([dense_jacobian(network, xb, biases=biases) for xb in x])
    update = gauss_newton_batch_update(network, x, error, damping, biases=biases)
    assert_same(flat(update, biases=biases), ridge(jacobian, error.flatten(), damping))
    # The definition with the curvature of the parameters, eq. 126.
    if damping > 0:
        curvature = jacobian.T @ jacobian
        curvature += damping * torch.eye(len(curvature), dtype=torch.float64)
        primal = torch.linalg.solve(curvature, jacobian.T @ error.flatten())
        assert_same(flat(update, biases=biases), primal)


def test_more_errors_than_parameters_are_fitted_in_the_least_squares_sense() -> None:
    network = network_of([2, 3, 2], seed=1)  # 17 parameters
    x, error = data(network, 20, 5)  # 40 errors
    jacobian = torch.cat([dense_jacobian(network, xb) for xb in x])
    update = gauss_newton_batch_update(network, x, error)
    assert_same(flat(update), ridge(jacobian, error.flatten(), 0.0), 1e-7)


def test_the_same_sample_twice_changes_nothing_of_the_minibatch_solution() -> None:
    network = network_of([4, 5, 3], seed=2)
    x, error = data(network, 2, 6)
    once = gauss_newton_batch_update(network, x, error)
    twice = gauss_newton_batch_update(network, x.repeat(2, 1), error.repeat(2, 1))
    assert_same(flat(twice), flat(once))


@given(small_networks(), DAMPINGS, seeds())
def test_both_forms_of_gauss_newton_agree_on_one_sample(
    network: Network, damping: float, seed: int
) -> None:
    x, error = data(network, 1, seed)
    one = gauss_newton_update(network, x, error, damping)
    assert_same(flat(gauss_newton_batch_update(network, x, error, damping)), flat(one))


@given(small_networks(["tanh", "sigmoid"]), st.integers(1, 4), DAMPINGS, st.booleans(), seeds())
def test_minimum_norm_is_the_least_change_of_the_potentials_times_the_activation_below(
    network: Network, batch: int, damping: float, nonlinear: bool, seed: int
) -> None:
    x, error = data(network, batch, seed)
    total = torch.zeros_like(flat(backprop_update(network, x, error)))
    for xb, eb in zip(x, error, strict=True):
        change = ridge(potential_jacobian(network, xb), eb, damping)
        r, weights, biases = xb, [], []
        for i, part in enumerate(torch.split(change, list(network.sizes[1:]))):
            phi = network.activations[i]
            v = (network.weights[i] @ r + network.biases[i]).detach()
            slope = torch.func.vmap(torch.func.grad(phi.function))(v) if nonlinear else 1.0
            weights.append(torch.kron(slope * part, r))  # R of eq. 70, row after row
            biases.append(slope * part)
            r = phi.function(v)
        total += torch.cat([*weights, *biases]) / batch
    assert_same(flat(minimum_norm_update(network, x, error, damping, nonlinear=nonlinear)), total)


@given(st.integers(1, 4), seeds())
def test_gauss_newton_aligns_with_minimum_norm_where_condition_1_holds(n: int, seed: int) -> None:
    # Lemma S4: with equal activation norms, here by a sample whose hidden layer is scaled to it.
    network = network_of([n, n + 1, 2], seed)
    x, error = data(network, 1, seed + 1)
    hidden = torch.tanh(network.potentials(x)[0])
    network.weights[0].data.zero_()
    network.biases[0].data.copy_(torch.atanh(0.5 * hidden / hidden.norm()).squeeze(0))
    x = 0.5 * x / x.norm()
    gn = gauss_newton_update(network, x, error, biases=False)
    mn = minimum_norm_update(network, x, error)
    assert_same(0.25 * flat(gn, biases=False), flat(mn, biases=False))  # ||r||^2 = 1 / 4


def test_a_large_damping_turns_every_update_to_backpropagation(network: Network) -> None:
    x, error = data(network, 4, 3)
    expected = flat(backprop_update(network, x, error))
    for rule in (gauss_newton_update, minimum_norm_update):
        assert_same(1e9 * flat(rule(network, x, error, 1e9)), expected, 1e-7)
    batch = gauss_newton_batch_update(network, x, error, 1e9)
    assert_same(1e9 * flat(batch) / 4, expected, 1e-7)


def test_outputs_that_nothing_reaches_are_left_alone() -> None:
    # A rectified output below its threshold has a zero row in the Jacobian, which pinv leaves out.
    network = Network([3, 4, 2], "tanh", "relu")
    network.biases[1].data.copy_(torch.tensor([-100.0, 100.0]))
    x, error = data(network, 1, 1)
    expected = torch.linalg.pinv(dense_jacobian(network, x[0])) @ error[0]
    assert_same(flat(gauss_newton_update(network, x, error)), expected)


@settings(max_examples=10)
@given(seeds())
def test_single_precision_networks_get_single_precision_updates(seed: int) -> None:
    double, single = (network_of([3, 5, 2], seed, dtype=t) for t in (torch.float64, torch.float32))
    x, error = data(double, 3, seed + 1)
    rules: list[Rule] = [backprop_update, gauss_newton_update, minimum_norm_update]
    for rule in [*rules, gauss_newton_batch_update]:
        found = flat(rule(single, x.float(), error.float()))
        assert found.dtype is torch.float32
        # The undamped minibatch inverts the smallest singular value of six.
        tolerance = 1e-2 if rule is gauss_newton_batch_update else 1e-3
        assert_same(found.double(), flat(rule(double, x, error)), tolerance)


RULES: list[Rule] = [gauss_newton_update, gauss_newton_batch_update, minimum_norm_update]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("damping", [-0.1, float("nan"), float("inf")])
def test_a_damping_that_is_none_is_refused(network: Network, rule: Rule, damping: float) -> None:
    with pytest.raises(UserError, match=f"damping = {damping}"):
        rule(network, *data(network, 2, 1), damping)


@pytest.mark.parametrize("rule", [*RULES, backprop_update])
def test_data_that_do_not_fit_the_network_are_refused(network: Network, rule: Rule) -> None:
    x, error = data(network, 2, 1)
    for wrong in ((x[:1], error), (x[:, :2], error), (x, error[:, :1]), (x[:0], error[:0])):
        with pytest.raises(UserError, match=r"do not fit the layers|no samples"):
            rule(network, *wrong)


@pytest.mark.parametrize("rule", RULES)
def test_a_network_that_has_diverged_has_no_ideal_update(network: Network, rule: Rule) -> None:
    network.weights[1].data[0, 0] = float("nan")
    with pytest.raises(ConvergenceError, match="not finite"):
        rule(network, *data(network, 2, 1))
