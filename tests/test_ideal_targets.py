"""Gauss-Newton targets against dense solutions, and the measures of the theory that uses them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import autograd_jacobian, network_of, normal, seeds
from torch import Tensor

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.experiments.targets import (
    DAMPINGS,
    NullSpaceToy,
    TargetAlignment,
    null_space_share,
    output_direction,
    sample_updates,
    target_alignment,
)
from analogdfc.learning.base import RULES, LearningRule
from analogdfc.learning.ideal import ParameterUpdate, backprop_update
from analogdfc.learning.targets import (
    DTP,
    GaussNewton,
    GaussNewtonTargets,
    GeneralisedGaussNewtonTargets,
    LayerwiseFeedback,
    MinimumNorm,
    TargetRule,
)
from analogdfc.losses import LOSSES, Loss, SoftmaxCrossEntropy, SquaredError
from analogdfc.measures import angle
from analogdfc.network import Network


def sizes_with_hidden_layers() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, 6), min_size=3, max_size=5)


def activity(network: Network, x: Tensor) -> list[Tensor]:
    """h_0..h_L of one input."""
    h = [x]
    for i in range(network.depth):
        h.append(ahead(network, i, i + 1)(h[-1]).detach())
    return h


def ahead(network: Network, start: int, end: int) -> Callable[[Tensor], Tensor]:
    """The map from the activity of one layer to that of another, written out anew."""

    def f(h: Tensor) -> Tensor:
        for i in range(start, end):
            h = network.activations[i].function(network.weights[i] @ h + network.biases[i])
        return h

    return f


def gradient_and_hessian(loss: Loss, r: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    def value(out: Tensor) -> Tensor:
        return loss.value(out[None], y[None])[0]

    out = r.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(out), out)
    (first,) = torch.autograd.grad(value(out), out, create_graph=True)
    rows = [torch.autograd.grad(slope, out, retain_graph=True)[0] for slope in first]
    return gradient, torch.stack(rows)


def eye(n: int) -> Tensor:
    return torch.eye(n, dtype=torch.float64)


def dense_step(
    network: Network, loss: Loss, x: Tensor, y: Tensor, i: int, damping: float, *, general: bool
) -> Tensor:
    """Delta h_i / eta of one sample by eq. 12, Condition S3 or eq. 187, with dense matrices."""
    h = activity(network, x)
    j = autograd_jacobian(ahead(network, i, network.depth), h[i])
    e, hessian = gradient_and_hessian(loss, h[-1], y)
    if general:
        curvature = j.T @ hessian @ j
        inverse: Tensor = (
            torch.linalg.inv(curvature + damping * eye(len(curvature)))
            if damping
            else torch.linalg.pinv(curvature, rtol=1e-12, hermitian=True)
        )
    elif damping:
        inverse = j.T @ torch.linalg.inv(j @ j.T + damping * eye(len(e)))
        return -inverse @ e
    else:
        inverse = torch.linalg.pinv(j)
        return -inverse @ e
    return -inverse @ (j.T @ e)


def expected_steps(rule: TargetRule, x: Tensor, y: Tensor, damping: float) -> list[Tensor]:
    network, loss = rule.network, rule.loss
    general = isinstance(rule, GeneralisedGaussNewtonTargets)
    out = []
    for i in range(1, network.depth):
        each = [
            dense_step(network, loss, a, b, i, damping, general=general)
            for a, b in zip(x, y, strict=True)
        ]
        out.append(rule.target_stepsize * torch.stack(each))
    return out


def local_gradients(network: Network, x: Tensor, steps: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of 1/B sum ||h^_i - h_i||^2 by autograd, targets and inputs held fixed."""
    losses, h = [], x
    for i, step in enumerate(steps):
        out = network.activations[i].function(h @ network.weights[i].T + network.biases[i])
        losses.append((out.detach() + step - out).square().sum(dim=1).mean())
        h = out.detach()
    parameters = [*network.weights, *network.biases]
    return list(torch.autograd.grad(torch.stack(losses).sum(), parameters))


def grads(network: Network) -> list[Tensor]:
    out = [p.grad for p in (*network.weights, *network.biases) if p.grad is not None]
    assert len(out) == 2 * network.depth
    return out


def assert_same(found: Tensor, expected: Tensor, tolerance: float = 1e-8) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).norm()) <= tolerance * float(expected.norm()) + 1e-13


def data(network: Network, batch: int, seed: int, loss: Loss) -> tuple[Tensor, Tensor]:
    x, y = normal(seed, batch, network.sizes[0]), normal(seed + 1, batch, network.sizes[-1])
    return x, torch.softmax(y, dim=1) if isinstance(loss, SoftmaxCrossEntropy) else y


@pytest.mark.parametrize("kind", [GaussNewtonTargets, GeneralisedGaussNewtonTargets])
@settings(max_examples=20)
@given(
    sizes_with_hidden_layers(),
    st.sampled_from(["tanh", "sigmoid", "linear"]),
    st.integers(1, 4),
    st.sampled_from(["l2", "cross-entropy"]),
    st.sampled_from([0.1, 1.0]),
    seeds(),
)
def test_damped_targets_are_the_dense_solutions_of_each_sample(
    kind: type[GaussNewtonTargets],
    sizes: list[int],
    activation: str,
    batch: int,
    name: str,
    damping: float,
    seed: int,
) -> None:
    network = network_of(sizes, seed, activation=activation)
    rule = kind(network, LOSSES[name], damping=damping)
    x, y = data(network, batch, seed, rule.loss)
    expected = expected_steps(rule, x, y, damping)
    steps = rule.target_steps(x, y)
    for found, step in zip(steps, expected, strict=False):
        assert_same(found, step)
    output = network(x).detach()
    assert_same(steps[-1], rule.loss.target(output, y, rule.target_stepsize) - output)
    value = rule.backward(x, y)
    torch.testing.assert_close(value, rule.loss.value(output, y).mean())
    gradients = local_gradients(network, x, [*expected, steps[-1]])
    for found, gradient in zip(grads(network), gradients, strict=True):
        assert_same(found, gradient)


@pytest.mark.parametrize("sizes", [[4, 7, 6, 3], [3, 2, 5, 4], [4, 5, 5, 5]])
@pytest.mark.parametrize("name", ["l2", "cross-entropy"])
@pytest.mark.parametrize("kind", [GaussNewtonTargets, GeneralisedGaussNewtonTargets])
def test_undamped_targets_are_pseudoinverses_also_behind_a_bottleneck(
    kind: type[GaussNewtonTargets], name: str, sizes: list[int]
) -> None:
    network = network_of(sizes, seed=3)
    rule = kind(network, LOSSES[name])
    x, y = data(network, 3, 5, rule.loss)
    for found, step in zip(rule.target_steps(x, y), expected_steps(rule, x, y, 0.0), strict=False):
        assert_same(found, step)


def test_generalised_targets_are_plain_ones_where_the_loss_is_the_squared_error() -> None:
    # Its Hessian is 2 I, so that they are half as long at twice the damping.
    network = network_of([4, 6, 5, 3], seed=2)
    x, y = data(network, 3, 5, SquaredError())
    for damping in (0.0, 0.3):
        plain = GaussNewtonTargets(network, damping=damping)
        general = GeneralisedGaussNewtonTargets(network, damping=2 * damping)
        hidden = zip(plain.target_steps(x, y)[:-1], general.target_steps(x, y)[:-1], strict=True)
        for one, other in hidden:
            assert_same(other, one / 2)


def test_heavily_damped_targets_give_the_gradient() -> None:
    network = network_of([4, 6, 5, 3], seed=2)
    x, y = data(network, 5, 5, SquaredError())
    gradient = backprop_update(network, x, SquaredError().error(network(x).detach(), y))
    angles = []
    for damping in (1e2, 1e4):
        rule = GaussNewtonTargets(network, damping=damping)
        rule.backward(x, y)
        hidden = zip(grads(network)[:2], gradient.weights, strict=False)
        angles.append([angle(-found, g) for found, g in hidden])
    for far, near in zip(*angles, strict=True):
        assert far / near == pytest.approx(100, rel=0.05)  # of order 1 / lambda
        assert near < 0.1


def kronecker_jacobian(network: Network, x: Tensor, i: int) -> Tensor:
    """dh_L / dW_i of one sample as J_i (x) h_{i-1}^T, (n_L, n_i n_{i-1})."""
    h = activity(network, x)
    v = network.weights[i - 1].detach() @ h[i - 1] + network.biases[i - 1].detach()

    def out(potential: Tensor) -> Tensor:
        return ahead(network, i, network.depth)(network.activations[i - 1].function(potential))

    return torch.kron(autograd_jacobian(out, v), h[i - 1][None])


def test_one_sample_of_a_linear_network_makes_gnt_block_diagonal_gauss_newton() -> None:
    # Corollary S6.2: up to the factor ||h_{i-1}||^2, with dense blocks of the curvature.
    network = network_of([5, 4, 3, 2], seed=1, activation="linear")
    rule = GaussNewtonTargets(network, target_stepsize=0.5)
    x, y = data(network, 1, 4, rule.loss)
    rule.backward(x, y)
    e = -rule.loss.error(network(x).detach(), y)[0]
    h = activity(network, x[0])
    for i, found in enumerate(grads(network)[:3], start=1):
        j = kronecker_jacobian(network, x[0], i)
        dense: Tensor = torch.linalg.pinv(j.T @ j, rtol=1e-10, hermitian=True) @ j.T @ e
        assert_same(found, dense.view_as(found) * h[i - 1].square().sum())


def test_gauss_newton_rule_writes_the_pseudoinverse_of_all_parameters() -> None:
    network = network_of([4, 5, 3], seed=6)
    x, y = data(network, 1, 4, SquaredError())
    e = -SquaredError().error(network(x).detach(), y)[0]
    weights = [kronecker_jacobian(network, x[0], i) for i in (1, 2)]
    # A bias is the weight of an input of 1, so its columns are those of the potentials.
    h = activity(network, x[0])
    biases = [
        (w.view(3, -1, len(p)) @ (p / p.square().sum())) for w, p in zip(weights, h, strict=False)
    ]
    inverse: Tensor = torch.linalg.pinv(torch.cat([*weights, *biases], dim=1))
    GaussNewton(network).backward(x, y)
    assert_same(torch.cat([g.flatten() for g in grads(network)]), inverse @ e)


def test_minimum_norm_rule_writes_the_pseudoinverse_of_all_potentials() -> None:
    network = network_of([4, 5, 3], seed=6)
    x, y = data(network, 1, 4, SquaredError())
    e = -SquaredError().error(network(x).detach(), y)[0]
    h = activity(network, x[0])
    potentials = [
        kronecker_jacobian(network, x[0], i).view(3, -1, len(p)) @ (p / p.square().sum())
        for i, p in ((1, h[0]), (2, h[1]))
    ]
    inverse: Tensor = torch.linalg.pinv(torch.cat(potentials, dim=1))
    steps = torch.split(inverse @ e, [5, 3])
    MinimumNorm(network).backward(x, y)
    expected = [torch.outer(s, p) for s, p in zip(steps, h, strict=False)] + list(steps)
    for found, value in zip(grads(network), expected, strict=True):
        assert_same(found, value)


@pytest.mark.parametrize("kind", [GaussNewton, MinimumNorm])
def test_ideal_rules_return_the_loss_and_pass_their_options_on(
    kind: type[GaussNewton] | type[MinimumNorm],
) -> None:
    network = network_of([4, 5, 3], seed=6)
    x, y = data(network, 4, 4, SoftmaxCrossEntropy())
    found = []
    option = {"whole_batch": True} if kind is GaussNewton else {"nonlinear": True}
    for options in ({}, {"damping": 1.0}, option):
        rule: LearningRule = kind(network, SoftmaxCrossEntropy(), **options)
        value = rule.backward(x, y)
        torch.testing.assert_close(value, torch.nn.functional.cross_entropy(network(x), y).detach())
        found.append(grads(network)[0].clone())
    assert all(float((a - found[0]).norm()) > 0.01 * float(a.norm()) for a in found[1:])


def test_gnt_on_a_contracting_linear_network_is_least_and_moves_along_the_gradient() -> None:
    # Theorem 5 and Corollary S6.1, with ideal layerwise feedback for comparison.
    network = network_of([6, 5, 4, 2], seed=7, activation="linear")
    x, y = data(network, 1, 1, SquaredError())
    error = SquaredError().error(network(x).detach(), y)
    feedback = LayerwiseFeedback(
        [torch.linalg.pinv(w.detach()) for w in list(network.weights)[1:]], ["linear"] * 2
    )
    for rule in (GaussNewtonTargets(network), DTP(network, feedback=feedback)):
        rule.backward(x, y)
        changes = [-g for g in grads(network)]
        update = ParameterUpdate(tuple(changes[:3]), tuple(changes[3:]))
        assert angle(output_direction(network, x, update)[0], error[0]) < 1e-3
    shares = [
        null_space_share(network, x, 1, sample_updates(rule, x, y, 1))
        for rule in (GaussNewtonTargets(network), DTP(network, feedback=feedback))
    ]
    assert float(shares[0]) < 1e-12
    assert float(shares[1]) > 0.1
    norms = [
        float(sample_updates(rule, x, y, 1).norm())
        for rule in (GaussNewtonTargets(network), DTP(network, feedback=feedback))
    ]
    assert norms[1] == pytest.approx(norms[0] / math.sqrt(1 - float(shares[1]) ** 2), rel=1e-9)


@settings(max_examples=20)
@given(sizes_with_hidden_layers(), st.integers(1, 3), seeds())
def test_null_space_share_is_that_of_a_dense_projection(
    sizes: list[int], batch: int, seed: int
) -> None:
    network = network_of(sizes, seed)
    x = normal(seed, batch, sizes[0])
    for layer in range(1, network.depth + 1):
        updates = normal(seed + layer, batch, sizes[layer], sizes[layer - 1])
        shares = null_space_share(network, x, layer, updates)
        for xb, update, found in zip(x, updates, shares, strict=True):
            j = kronecker_jacobian(network, xb, layer)
            # On the row space by orthonormal vectors: a pseudoinverse would lose digits in J.
            _, singular, basis = torch.linalg.svd(j, full_matrices=False)
            basis = basis[singular > 1e-14 * max(j.shape) * singular[0]]
            flat = update.flatten()
            rest = flat - basis.T @ (basis @ flat)
            assert float(found) == pytest.approx(float(rest.norm() / flat.norm()), abs=1e-7)


def test_sample_updates_average_to_what_the_rule_writes() -> None:
    network = network_of([4, 6, 5, 3], seed=2)
    rule = GaussNewtonTargets(network, damping=0.1)
    x, y = data(network, 5, 5, rule.loss)
    rule.backward(x, y)
    for layer in (1, 2, 3):
        assert_same(-sample_updates(rule, x, y, layer).mean(dim=0), grads(network)[layer - 1])


def test_output_direction_is_the_derivative_along_the_update() -> None:
    network = network_of([4, 6, 5, 3], seed=2)
    x = normal(5, 4, 4)
    update = ParameterUpdate(
        tuple(normal(6, *w.shape) for w in network.weights),
        tuple(normal(7, *b.shape) for b in network.biases),
    )
    before = [p.detach().clone() for p in network.parameters()]
    found = output_direction(network, x, update, 1e-7)
    moved, h = torch.zeros_like(x), x
    for i, phi in enumerate(network.activations):
        w, b = network.weights[i].detach(), network.biases[i].detach()
        moved = h @ update.weights[i].T + update.biases[i] + moved @ w.T
        moved = moved * phi.derivative(h @ w.T + b)
        h = phi.function(h @ w.T + b)
    expected = moved / moved.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    for p, old in zip(network.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), old, rtol=0, atol=0)


@pytest.mark.parametrize("damping", [0.0, 1e-3, 0.1, 10.0])
def test_alignment_finds_the_damping_that_an_update_was_made_with(damping: float) -> None:
    network = network_of([6, 8, 7, 4], seed=4)
    rule = GaussNewtonTargets(network, damping=damping)
    x, y = data(network, 6, 2, rule.loss)
    rule.backward(x, y)
    error = rule.loss.error(network(x).detach(), y)
    found = target_alignment(network, x, error, [-g for g in grads(network)[:3]])
    assert found.dampings == DAMPINGS
    assert found.best == (damping, damping)
    assert float(found.least.max()) < 1e-5
    assert found.targets.shape == (2, len(DAMPINGS))


def test_alignment_with_the_gradient_and_its_mean_over_minibatches() -> None:
    network = network_of([6, 8, 7, 4], seed=4)
    found = []
    for seed in (2, 5):
        x, y = data(network, 6, seed, SquaredError())
        error = SquaredError().error(network(x).detach(), y)
        gradient = backprop_update(network, x, error).weights
        found.append(target_alignment(network, x, error, gradient, [0.0, 10.0]))
        assert float(found[-1].gradient.max()) < 1e-5
        assert found[-1].best == (10.0, 10.0)
        expected = torch.tensor([angle(g, 2 * normal(1, *g.shape)) for g in gradient[:2]])
        random = [normal(1, *g.shape) for g in gradient[:2]]
        other = target_alignment(network, x, error, random, [0.0])
        torch.testing.assert_close(other.gradient, expected.double(), rtol=0, atol=1e-4)
    mean = TargetAlignment.mean(found)
    torch.testing.assert_close(mean.targets, (found[0].targets + found[1].targets) / 2)


def test_dtp_wastes_more_of_its_updates_than_ddtp() -> None:
    # Figure 2, small.
    toy = NullSpaceToy(teacher=(6, 50, 50, 2), samples=(1000, 200), epochs=10)
    found = toy.run([0, 1, 2])
    assert {name: tuple(s.shape) for name, s in found.shares.items()} == {
        "gnt": (3, 11),
        "dtp-pretrained": (3, 11),
        "ddtp-linear": (3, 11),
    }
    (dtp, dtp_spread), (ddtp, ddtp_spread) = map(found.final, ("dtp-pretrained", "ddtp-linear"))
    assert dtp - dtp_spread > 2 * (ddtp + ddtp_spread)
    assert found.final("gnt")[0] < 1e-10
    again = toy.run([1])
    for name, shares in again.shares.items():
        torch.testing.assert_close(shares[0], found.shares[name][1], rtol=0, atol=0)


def test_the_registry_has_every_ideal_rule() -> None:
    kinds = [GaussNewtonTargets, GeneralisedGaussNewtonTargets, GaussNewton, MinimumNorm]
    for name, kind in zip(("gnt", "ggnt", "gn", "mn"), kinds, strict=True):
        assert RULES[name].rule is kind


@pytest.mark.parametrize(
    "kind", [GaussNewtonTargets, GeneralisedGaussNewtonTargets, GaussNewton, MinimumNorm]
)
@pytest.mark.parametrize("damping", [-1.0, math.nan, math.inf])
def test_dampings_out_of_range_are_refused(kind: Callable[..., object], damping: float) -> None:
    with pytest.raises(UserError, match="damping = "):
        kind(network_of([3, 4, 2]), damping=damping)


def test_measures_refuse_what_does_not_fit() -> None:
    network = network_of([3, 4, 2])
    x, y = data(network, 2, 1, SquaredError())
    rule = GaussNewtonTargets(network)
    with pytest.raises(UserError, match="layer 3: the network has layers 1 to 2"):
        sample_updates(rule, x, y, 3)
    with pytest.raises(UserError, match=r"\(2, 4, 3\) are needed"):
        null_space_share(network, x, 1, torch.zeros(2, 3, 4))
    update = backprop_update(network, x, y)
    with pytest.raises(UserError, match="rate = 0"):
        output_direction(network, x, update, 0.0)
    with pytest.raises(UserError, match="one damping at least"):
        target_alignment(network, x, y, update.weights, [])
    with pytest.raises(UserError, match="damping = -1"):
        target_alignment(network, x, y, update.weights, [-1.0])
    with pytest.raises(UserError, match="at least one seed"):
        NullSpaceToy().run([])
    with pytest.raises(UserError, match="mean of alignments"):
        TargetAlignment.mean([])


def test_diverged_weights_are_named() -> None:
    network = network_of([3, 4, 2])
    with torch.no_grad():
        network.weights[1].fill_(math.nan)
    with pytest.raises(ConvergenceError, match="Jacobian is not finite"):
        GaussNewtonTargets(network).backward(normal(0, 2, 3), normal(1, 2, 2))
