"""Angles of the updates of rules to the ideal updates, and what of an update moves nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import network_of, normal, seeds
from torch import Tensor
from torch.func import functional_call

from analogdfc.controller import PI
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.experiments.rule_alignment import Ideals, NullSpace, update_of
from analogdfc.experiments.targets import null_space_share, sample_updates
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import (
    DTP,
    AnalyticDFC,
    GaussNewtonTargets,
    LearningRule,
    MinimumNorm,
    make_rule,
)
from analogdfc.losses import LOSSES, SquaredError
from analogdfc.network import Network
from analogdfc.training import REFERENCES

SIZES = (5, 7, 4, 2)
Matrix = NDArray[np.float64]


def batch(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    return normal(seed, count, SIZES[0]), normal(seed + 1, count, SIZES[-1])


def ideals(network: Network, x: Tensor, y: Tensor, *dampings: float) -> Ideals:
    return Ideals(network, x, y, SquaredError(), dampings or (0.0,))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("name", "reference", "options"),
    [
        ("bp", "BP", {}),
        ("gn", "GN", {}),
        ("mn", "MN", {}),
        ("mn", "MN-D", {"nonlinear": True}),
        ("gnt", "GNT", {"target_stepsize": 0.03}),
    ],
)
def test_an_ideal_rule_has_no_angle_to_its_own_update(
    name: str, reference: str, options: dict[str, Any], loss: str
) -> None:
    network, x = network_of(SIZES, 2), batch(6)[0]
    y = torch.eye(2, dtype=torch.float64)[[0, 1, 1, 0, 1, 0]]
    rule = make_rule(name, network, loss=LOSSES[loss], **options)
    found = Ideals(network, x, y, LOSSES[loss]).measure(rule)
    for layer in ("1", "2", "3", "all"):
        assert found.alignments[reference][layer].angle < 1e-6
        assert found.alignments[reference][layer].norm_ratio == pytest.approx(1, rel=1e-12)
    for other in set(REFERENCES) - {reference}:
        assert found.alignments[other]["all"].angle > 1


def output_jacobian(network: Network, x: Tensor, layer: int) -> Matrix:
    """d(outputs of all samples) / d(weights of a layer) by autograd, (batch * n_L, weights)."""
    name = f"weights.{layer - 1}"

    def outputs(w: Tensor) -> Tensor:
        out: Tensor = functional_call(network, {name: w}, (x,))
        return out.flatten()

    found = torch.func.jacrev(outputs)(network.weights[layer - 1].detach())
    return np.asarray(found.detach().flatten(1).numpy())


def potential_jacobians(network: Network, x: Tensor) -> list[Matrix]:
    """J_i of one sample, by autograd through the layers above."""

    def above(v: Tensor, layer: int) -> Tensor:
        r = network.activations[layer].function(v)
        for k in range(layer + 1, network.depth):
            r = network.activations[k].function(network.weights[k] @ r + network.biases[k])
        return r

    with torch.no_grad():
        v = network.potentials(x.unsqueeze(0))
    jacobians = [torch.func.jacrev(lambda p, k=k: above(p, k))(vi[0]) for k, vi in enumerate(v)]
    return [np.asarray(j.detach().numpy()) for j in jacobians]


def constructed(name: str, network: Network, x: Tensor, error: Matrix, damping: float) -> Matrix:
    """An ideal update of one sample, all weights as a vector, from explicit matrices."""
    with torch.no_grad():
        v = [vi[0] for vi in network.potentials(x.unsqueeze(0))]
    phis = network.activations
    r = [x.numpy(), *(phi.function(vi).numpy() for phi, vi in zip(phis, v, strict=True))]
    slopes = [phi.derivative(vi).numpy() for phi, vi in zip(phis, v, strict=True)]
    j = potential_jacobians(network, x)

    def pull(matrix: Matrix) -> Matrix:
        gram = matrix @ matrix.T + damping * np.eye(len(matrix))
        return np.asarray(matrix.T @ np.linalg.inv(gram) @ error)

    if name in ("BP", "GN"):
        weights = np.hstack([output_jacobian(network, x.unsqueeze(0), i) for i in (1, 2, 3)])
        if name == "BP":
            return np.asarray(weights.T @ error)
        return pull(np.hstack([weights, *j]))[: weights.shape[1]]
    if name == "GNT":
        above = [j[i + 1] @ network.weights[i + 1].detach().numpy() for i in range(2)]
        steps = [*map(pull, above), error]
        deltas = [2 * d * step for d, step in zip(slopes, steps, strict=True)]
    else:
        deltas = np.split(pull(np.hstack(j)), np.cumsum(SIZES[1:-1]))
        if name == "MN-D":
            deltas = [d * delta for d, delta in zip(slopes, deltas, strict=True)]
    parts = zip(deltas, r[:-1], strict=True)
    return np.concatenate([np.outer(delta, ri).ravel() for delta, ri in parts])


@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=5)
@given(seed=seeds(), damping=st.floats(0.01, 10))
def test_the_references_are_those_of_explicit_matrices(
    name: str, seed: int, damping: float
) -> None:
    network = network_of(SIZES, seed)
    x, y = batch(3, seed)
    error = 2 * (y - network(x)).detach().numpy()
    wanted = np.mean(
        [constructed(name, network, xi, e, damping) for xi, e in zip(x, error, strict=True)], axis=0
    )
    updates = ideals(network, x, y, damping).updates[name]
    found = np.concatenate([w.numpy().ravel() for w in updates[0.0 if name == "BP" else damping]])
    assert np.linalg.norm(found - wanted) <= 1e-8 * np.linalg.norm(wanted)


@pytest.mark.parametrize(("nonlinear", "reference"), [(False, "MN"), (True, "MN-D")])
def test_dfc_with_the_pseudoinverse_of_the_jacobian_for_feedback_makes_minimum_norm_updates(
    nonlinear: bool, reference: str
) -> None:
    network = network_of(SIZES, 3)
    x, y = batch(1)
    target = ideals(network, x, y)

    def measured(feedback: DirectFeedback, stepsize: float) -> float:
        rule = AnalyticDFC(
            network,
            feedback,
            PI(alpha=0.0),
            target_stepsize=stepsize,
            nonlinear=nonlinear,
        )
        found = target.measure(rule).alignments[reference]["all"]
        assert found.norm_ratio == pytest.approx(1, abs=0.5)
        return found.angle

    ideal = DirectFeedback.jacobian(network, x)
    assert measured(ideal, 1e-6) < 1e-3
    # The rest is of first order in the step of the output.
    assert measured(ideal, 1e-3) == pytest.approx(10 * measured(ideal, 1e-4), rel=0.05)
    assert measured(DirectFeedback.transposed(network), 1e-6) > 5


def test_the_stepsize_of_the_output_target_leaves_the_norm_ratio() -> None:
    network = network_of(SIZES, 4)
    x, y = batch(4)
    target = ideals(network, x, y)
    for name in ("gnt", "dfc-ssa"):
        large, small = (
            target.measure(make_rule(name, network, target_stepsize=s)).alignments["BP"]["all"]
            for s in (1e-4, 1e-5)
        )
        assert large.norm_ratio == pytest.approx(small.norm_ratio, rel=1e-2)
        assert large.norm_ratio > 0.05


def test_a_measurement_leaves_the_network_and_its_gradients_alone() -> None:
    network = network_of(SIZES, 5)
    x, y = batch(4)
    first, *others = network.parameters()
    first.grad = torch.ones_like(first)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ideals(network, x, y).measure(make_rule("dfc-ss", network))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in others)


@pytest.mark.parametrize(
    ("name", "reference", "damping"), [("gn", "GN", 0.1), ("mn", "MN", 10.0), ("gnt", "GNT", 1e-3)]
)
def test_of_several_dampings_the_one_that_fits_best_is_taken(
    name: str, reference: str, damping: float
) -> None:
    network = network_of(SIZES, 6)
    target = ideals(network, *batch(5), 0.0, 1e-3, 0.1, 1.0, 10.0)
    found = target.measure(make_rule(name, network, damping=damping))
    assert found.dampings[reference] == damping
    assert found.alignments[reference]["all"].angle < 1e-6
    assert "BP" not in found.dampings


@settings(max_examples=10)
@given(seed=seeds(), layer=st.integers(1, 3))
def test_for_one_sample_the_null_space_is_that_of_target_propagation(seed: int, layer: int) -> None:
    network = network_of(SIZES, seed)
    x, y = batch(1, seed)
    rule = DTP(network)
    wanted = null_space_share(network, x, layer, sample_updates(rule, x, y, layer))
    found = NullSpace(network, x).shares(update_of(rule, x, y).weights)
    assert found[str(layer)] == pytest.approx(float(wanted), abs=1e-6)


@settings(max_examples=10)
@given(seed=seeds(), count=st.integers(1, 5))
def test_the_null_space_of_a_batch_is_that_of_the_dense_jacobian(seed: int, count: int) -> None:
    network = network_of(SIZES, seed)
    x, _ = batch(count, seed)
    changes = [normal(seed + i, *w.shape) for i, w in enumerate(network.weights)]
    found = NullSpace(network, x).shares(changes)
    parts = []
    for i, change in enumerate(changes, start=1):
        jacobian, flat = output_jacobian(network, x, i), change.numpy().ravel()
        parts.append(flat - np.linalg.pinv(jacobian, rcond=1e-7) @ (jacobian @ flat))
        share = np.linalg.norm(parts[-1]) / np.linalg.norm(flat)
        assert found[str(i)] == pytest.approx(share, abs=1e-6)
    whole = np.concatenate([c.numpy().ravel() for c in changes])
    share = np.linalg.norm(np.concatenate(parts)) / np.linalg.norm(whole)
    assert found["all"] == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("name", ["bp", "gn", "mn", "gnt"])
def test_ideal_updates_have_nothing_in_the_null_space(name: str) -> None:
    network = network_of(SIZES, 7)
    found = ideals(network, *batch(3)).measure(make_rule(name, network))
    assert found.null_space["all"] < 1e-6
    assert ideals(network, *batch(3)).measure(make_rule("fa", network)).null_space["1"] > 0.1


def test_only_gauss_newton_moves_the_output_of_a_sample_along_its_gradient() -> None:
    network = network_of(SIZES, 8)
    target = ideals(network, *batch(1))
    assert target.measure(make_rule("gn", network)).output_angle < 0.01
    assert target.measure(make_rule("bp", network)).output_angle > 1


def test_layers_that_do_not_learn_have_no_angle() -> None:
    network = network_of(SIZES, 9)
    found = ideals(network, *batch(3)).measure(make_rule("shallow", network))
    layers = found.alignments["BP"]
    assert math.isnan(layers["1"].angle)
    assert math.isnan(layers["2"].angle)
    assert layers["3"].angle < 1e-6
    assert math.isnan(found.null_space["1"])
    frozen = GaussNewtonTargets(network, frozen=(1, 2, 3))
    nothing = ideals(network, *batch(3), 0.0, 1.0).measure(frozen)
    assert math.isnan(nothing.alignments["GN"]["all"].angle)
    assert math.isnan(nothing.output_angle)


def test_what_does_not_fit_is_refused() -> None:
    network = network_of(SIZES, 10)
    x, y = batch(3)
    with pytest.raises(UserError, match="the network of the ideal"):
        ideals(network, x, y).measure(MinimumNorm(network_of(SIZES, 10)))
    with pytest.raises(UserError, match="one damping at least"):
        Ideals(network, x, y, SquaredError(), ())
    with pytest.raises(UserError, match="do not fit the layers"):
        ideals(network, x, y[:2])
    with pytest.raises(UserError, match="do not fit the layers"):
        ideals(network, x[:0], y[:0])
    with pytest.raises(UserError, match="damping = -1"):
        ideals(network, x, y, -1.0)


class Exploding(LearningRule):
    """Its update is infinite."""

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        for parameter in self.network.parameters():
            parameter.grad = torch.full_like(parameter, math.inf)
        return torch.zeros(())


def test_an_update_that_is_not_finite_is_an_error() -> None:
    network = network_of(SIZES, 11)
    with pytest.raises(ConvergenceError, match="the update is not finite"):
        ideals(network, *batch(3)).measure(Exploding(network))
    assert all(parameter.grad is None for parameter in network.parameters())
    with torch.no_grad():
        network.weights[1].fill_(math.nan)
    with pytest.raises(ConvergenceError, match="not finite"):
        NullSpace(network, batch(3)[0])
