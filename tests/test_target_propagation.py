"""Target propagation against losses written out anew and differentiated by autograd."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from elsewhere import DEVICE
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from strategies import autograd_jacobian, generator, network_of, normal, seeds
from torch import Tensor

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning.base import RULES
from analogdfc.learning.targets import (
    DDTPRHL,
    DTP,
    DTPDRL,
    DDTPControl,
    DDTPLinear,
    DifferenceReconstruction,
    DirectTargetFeedback,
    InverseTargetPropagation,
    LayerwiseFeedback,
    LayerwiseReconstruction,
    LearnedTargets,
    LoopReconstruction,
    PretrainedDTP,
    RandomHiddenFeedback,
    Reconstruction,
    RecurrentDDTPRHL,
    TargetFeedback,
)
from analogdfc.losses import Loss, SoftmaxCrossEntropy, SquaredError
from analogdfc.network import Network
from analogdfc.training.optimizers import Adam

RULES_WITH_FEEDBACK: list[type[LearnedTargets]] = [
    DTP,
    PretrainedDTP,
    DTPDRL,
    DDTPLinear,
    DDTPControl,
    DDTPRHL,
    RecurrentDDTPRHL,
]
ACTIVATIONS = st.sampled_from(["tanh", "sigmoid", "linear"])
Maps = list[Callable[[Tensor], Tensor]]


def sizes_with_hidden_layers() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, 6), min_size=3, max_size=5)


def labels(y: Tensor, loss: Loss) -> Tensor:
    return torch.softmax(y, dim=1) if isinstance(loss, SoftmaxCrossEntropy) else y


def rule_of(
    kind: type[LearnedTargets],
    network: Network,
    seed: int = 0,
    *,
    loss: Loss | None = None,
    reconstruction: Reconstruction | None = None,
    joint: bool = True,
    frozen: Sequence[int] = (),
) -> LearnedTargets:
    """A rule with a narrow random layer where it has one, and offsets that aren't zero."""
    feedback: TargetFeedback
    if issubclass(kind, DDTPRHL):
        recurrent = issubclass(kind, RecurrentDDTPRHL)
        feedback = RandomHiddenFeedback.random(
            network, generator(seed), width=7, recurrent=recurrent
        )
    else:
        feedback = kind.random_feedback(network, generator(seed))
    with torch.no_grad():
        for c in feedback.offsets:
            c.copy_(0.3 * normal(seed + 1, *c.shape))
    return kind(
        network,
        loss,
        feedback=feedback,
        reconstruction=reconstruction,
        joint=joint,
        frozen=frozen,
        generator=generator(seed + 2),
    )


def forward_maps(network: Network) -> Maps:
    """f_1..f_L."""

    def layer(i: int, h: Tensor) -> Tensor:
        return network.activations[i].function(h @ network.weights[i].T + network.biases[i])

    return [partial(layer, i) for i in range(network.depth)]


def activity(network: Network, x: Tensor) -> list[Tensor]:
    """h_0..h_L, detached."""
    h = [x]
    for f in forward_maps(network):
        h.append(f(h[-1]).detach())
    return h


def feedback_maps(feedback: TargetFeedback, h: Sequence[Tensor]) -> Maps:
    """g_1..g_{L-1} as the papers write them, of the layer above or of the output."""

    def g(k: int, p: Tensor) -> Tensor:
        if isinstance(feedback, RandomHiddenFeedback):
            p = torch.tanh(p @ feedback.get_buffer("stem").T + feedback.get_buffer("stem_offset"))
        a = p @ feedback.matrices[k].T + feedback.offsets[k]
        s = feedback.recurrent(k)
        if s is not None:
            a = a + h[k + 1] @ s.T
        return feedback.activations[k].function(a)

    return [partial(g, k) for k in range(len(feedback.matrices))]


def layerwise(feedback: TargetFeedback) -> bool:
    return isinstance(feedback, LayerwiseFeedback)


def way_back(
    feedback: TargetFeedback, h: Sequence[Tensor], maps: Maps, k: int, output: Tensor
) -> tuple[Tensor, Tensor]:
    """What g_k+1 hears when an output comes back with the difference correction, and in free."""
    if not layerwise(feedback):
        return output, h[-1]
    heard = output
    for j in range(len(maps) - 1, k, -1):
        heard = maps[j](heard) + h[j + 1] - maps[j](h[j + 2])
    return heard.detach(), h[k + 2]


def reference_targets(rule: LearnedTargets, x: Tensor, y: Tensor) -> list[Tensor]:
    """h^_1..h^_L of Algorithms 1 to 5."""
    h = activity(rule.network, x)
    output = h[-1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(rule.loss.value(output, y).sum(), output)
    target = h[-1] - rule.target_stepsize * gradient
    maps = feedback_maps(rule.feedback, h)
    out = [target]
    for k in range(len(maps) - 1, -1, -1):
        above = k + 2 if layerwise(rule.feedback) else -1
        heard = out[0] if layerwise(rule.feedback) else target
        out.insert(0, (maps[k](heard) + h[k + 1] - maps[k](h[above])).detach())
    return out


def reference_forward_gradients(
    network: Network, x: Tensor, targets: Sequence[Tensor]
) -> list[Tensor]:
    """Gradients of the local losses 1/B sum ||h^_i - f_i(h_{i-1})||^2, layer by layer."""
    h = activity(network, x)
    losses = [
        (t - f(below)).square().sum(dim=1).mean()
        for t, f, below in zip(targets, forward_maps(network), h[:-1], strict=True)
    ]
    return list(torch.autograd.grad(torch.stack(losses).sum(), [*network.weights, *network.biases]))


def reference_reconstruction(
    rule: LearnedTargets, x: Tensor, source: torch.Generator
) -> dict[str, Tensor]:
    """Gradients of each layer's loss with respect to that layer's feedback alone."""
    network, feedback, how = rule.network, rule.feedback, rule.reconstruction
    h = activity(network, x)
    f, g = forward_maps(network), feedback_maps(feedback, h)

    def noise(like: Tensor) -> Tensor:
        return how.sigma * torch.randn(like.shape, generator=source).double()

    gradients: dict[str, Tensor] = {}
    corrupted = [hi + noise(hi) for hi in h[1:-1]]
    last = h[-1] + noise(h[-1])
    for k, sent in enumerate(corrupted):
        output = sent
        for fj in f[k + 1 :]:
            output = fj(output)
        heard, free = way_back(feedback, h, g, k, output.detach())
        if isinstance(how, LayerwiseReconstruction):
            loss = (g[k](f[k + 1](sent).detach()) - sent).square().sum(dim=1).mean()
        elif isinstance(how, LoopReconstruction):
            loss = (g[k](heard) - sent).square().sum(dim=1).mean()
        else:
            assert isinstance(how, DifferenceReconstruction)
            returned = g[k](heard) + h[k + 1] - g[k](free)
            loss = (returned - sent).square().sum(dim=1).mean()
            moved, free = way_back(feedback, h, g, k, last)
            second = (g[k](moved) - g[k](free)).square().sum(dim=1).mean()
            loss = loss + how.damping * second
        loss = how.factor * loss
        named = {n: p for n, p in feedback.named_parameters() if n.endswith(f".{k}")}
        decaying = [p for n, p in named.items() if not n.startswith("offsets")]
        loss = loss + how.weight_decay * torch.stack([p.square().sum() for p in decaying]).sum()
        found = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
        gradients |= dict(zip(named, found, strict=True))
    return gradients


def grads(parameters: Sequence[torch.nn.Parameter]) -> list[Tensor]:
    out = [p.grad for p in parameters if p.grad is not None]
    assert len(out) == len(parameters)
    return out


def assert_same(found: Tensor, expected: Tensor, tolerance: float = 1e-8) -> None:
    """Relative to the expected norm; rounding of numbers around 1 is left out."""
    assert found.shape == expected.shape
    assert float((found - expected).norm()) <= tolerance * float(expected.norm()) + 1e-13


@pytest.mark.parametrize("kind", RULES_WITH_FEEDBACK)
@settings(max_examples=12)
@given(sizes_with_hidden_layers(), ACTIVATIONS, st.integers(1, 4), st.booleans(), seeds())
def test_each_layer_descends_the_distance_to_its_target(
    kind: type[LearnedTargets],
    sizes: list[int],
    activation: str,
    batch: int,
    classes: bool,
    seed: int,
) -> None:
    network = network_of(sizes, seed, activation=activation)
    loss = SoftmaxCrossEntropy() if classes else SquaredError()
    rule = rule_of(kind, network, seed, loss=loss)
    x, y = normal(seed, batch, sizes[0]), labels(normal(seed + 1, batch, sizes[-1]), loss)
    targets = reference_targets(rule, x, y)
    expected = reference_forward_gradients(network, x, targets)
    value = rule.backward(x, y)
    torch.testing.assert_close(value, rule.loss.value(network(x), y).mean().detach())
    h = activity(network, x)
    for step, target, hi in zip(rule.target_steps(x, y), targets, h[1:], strict=True):
        assert_same(step, target - hi)
    for found, gradient in zip(grads([*network.weights, *network.biases]), expected, strict=True):
        assert_same(found, gradient)


@pytest.mark.parametrize("kind", RULES_WITH_FEEDBACK)
@settings(max_examples=12)
@given(
    sizes_with_hidden_layers(),
    ACTIVATIONS,
    st.integers(1, 4),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.7]),
    seeds(),
)
def test_feedback_descends_its_reconstruction_loss(
    kind: type[LearnedTargets],
    sizes: list[int],
    activation: str,
    batch: int,
    decay: float,
    damping: float,
    seed: int,
) -> None:
    network = network_of(sizes, seed, activation=activation)
    default = type(kind.default_reconstruction())
    extra = {"damping": damping} if default is DifferenceReconstruction else {}
    how = default(sigma=0.2, weight_decay=decay, **extra)
    rule = rule_of(kind, network, seed, reconstruction=how)
    x, y = normal(seed, batch, sizes[0]), normal(seed + 1, batch, sizes[-1])
    expected = reference_reconstruction(rule, x, rule.generator.clone_state())
    start = rule.generator.get_state()
    rule.feedback_backward(x)
    named = dict(rule.feedback.named_parameters())
    assert named.keys() == expected.keys()
    separate = {name: p.grad.clone() for name, p in named.items() if p.grad is not None}
    for name, gradient in expected.items():
        assert_same(separate[name], gradient)
    # From the forward pass of `backward` come the same gradients, unless it shall leave them.
    rule.generator.set_state(start)
    rule.backward(x, y)
    for name, parameter in named.items():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, separate[name], rtol=0, atol=0)
    rule.feedback.zero_grad()
    rule.joint = False
    rule.backward(x, y)
    assert all(p.grad is None for p in named.values())


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (DifferenceReconstruction(sigma=0.01), 1e4),
        (LayerwiseReconstruction(sigma=0.01), 2500.0),
        (LayerwiseReconstruction(sigma=0.1), 100.0),
        (LoopReconstruction(sigma=0.01), 1.0),
        (DifferenceReconstruction(sigma=0.01, scale=3.0), 3.0),
    ],
)
def test_losses_scale_with_the_noise_as_in_the_published_code(
    how: Reconstruction, expected: float
) -> None:
    assert how.factor == pytest.approx(expected, rel=1e-12)


def test_updates_are_linear_in_a_small_stepsize() -> None:
    # Lemma 3: Delta h_i = - eta (product of the feedback's Jacobians) e_L + O(eta^2).
    network = network_of([4, 5, 6, 3], seed=2)
    rule = rule_of(DTPDRL, network)
    x, y = normal(3, 1, 4), normal(4, 1, 3)
    h = activity(network, x)
    g = feedback_maps(rule.feedback, h)
    jacobian = autograd_jacobian(lambda p: g[0](p[None])[0], h[2][0]) @ autograd_jacobian(
        lambda p: g[1](p[None])[0], h[3][0]
    )
    errors = []
    for eta in (1e-2, 1e-3):
        rule.target_stepsize = eta
        step = rule.target_steps(x, y)[0][0]
        linear = jacobian @ (eta * rule.loss.error(h[-1], y)[0])
        errors.append(float((step - linear).norm()))
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1)


def trained_feedback(rule: LearnedTargets, x: Tensor, rates: Sequence[tuple[float, int]]) -> None:
    """Descend the reconstruction loss, with the mean over the last stage as the result."""
    mean = [torch.zeros_like(p) for p in rule.feedback.parameters()]
    for stage, (rate, steps) in enumerate(rates):
        for _ in range(steps):
            rule.feedback_backward(x)
            with torch.no_grad():
                for p, m in zip(rule.feedback.parameters(), mean, strict=True):
                    assert p.grad is not None
                    p.sub_(rate * p.grad)
                    if stage == len(rates) - 1:
                        m += p / steps
    with torch.no_grad():
        for p, m in zip(rule.feedback.parameters(), mean, strict=True):
            p.copy_(m)


@pytest.mark.parametrize("way", ["decay", "second noise"])
@pytest.mark.parametrize("activation", ["tanh", "linear"])
def test_drl_makes_direct_linear_feedback_the_damped_pseudoinverse(
    way: str, activation: str
) -> None:
    damping = 0.3
    network = network_of([4, 6, 5, 3], seed=5, activation=activation)
    amounts = {"weight_decay": damping} if way == "decay" else {"damping": damping}
    rule = rule_of(
        DDTPLinear, network, reconstruction=DifferenceReconstruction(sigma=1e-3, **amounts)
    )
    x = normal(6, 1, 4)
    trained_feedback(rule, x.expand(2000, -1), [(0.05, 120), (0.02, 200)])
    h = activity(network, x)
    f = forward_maps(network)
    for k, q in enumerate(rule.feedback.matrices):

        def ahead(hk: Tensor, k: int = k) -> Tensor:
            for fj in f[k + 1 :]:
                hk = fj(hk)
            return hk

        j = autograd_jacobian(ahead, h[k + 1][0])
        expected = j.T @ torch.linalg.inv(j @ j.T + damping * torch.eye(3, dtype=j.dtype))
        assert_same(q.detach(), expected, 0.01)


def test_drl_makes_layerwise_feedback_the_pseudoinverse_of_the_whole_way() -> None:
    # Theorem 4: the product of the feedback's Jacobians, not each factor, is the pseudoinverse.
    network = network_of([3, 5, 4, 2], seed=8, activation="linear")
    rule = rule_of(DTPDRL, network, reconstruction=DifferenceReconstruction(sigma=1e-2))
    trained_feedback(rule, normal(9, 1, 3).expand(2000, -1), [(0.05, 400), (0.02, 300)])
    w2, w3 = (w.detach() for w in list(network.weights)[1:])
    q1, q2 = (q.detach() for q in rule.feedback.matrices)
    assert_same(q2, torch.linalg.pinv(w3), 0.02)
    assert_same(q1 @ q2, torch.linalg.pinv(w3 @ w2), 0.02)
    assert float((q1 - torch.linalg.pinv(w2)).norm()) > 0.1 * float(q1.norm())


def block_diagonal(blocks: Sequence[Tensor]) -> Tensor:
    out = torch.zeros(2 * [sum(len(b) for b in blocks)], dtype=blocks[0].dtype)
    start = 0
    for b in blocks:
        out[start : start + len(b), start : start + len(b)] = b
        start += len(b)
    return out


def block_diagonal_gauss_newton(network: Network, x: Tensor, error: Tensor) -> list[Tensor]:
    """Solve with the block diagonal of J^T J of all hidden activations together, eq. 27."""
    h, f = activity(network, x), forward_maps(network)
    blocks, right = [], []
    for i in range(1, network.depth):

        def ahead(hi: Tensor, i: int = i) -> Tensor:
            for fj in f[i:]:
                hi = fj(hi)
            return hi

        j = autograd_jacobian(ahead, h[i][0])
        blocks.append(j.T @ j)
        right.append(j.T @ error)
    solution = torch.linalg.solve(block_diagonal(blocks), torch.cat(right))
    return list(solution.split([len(b) for b in right]))


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_tp_comes_to_block_diagonal_gauss_newton_at_first_order_of_the_stepsize(
    activation: str,
) -> None:
    # Theorem 2. Relative to the targets, what differs is proportional to the stepsize.
    network = network_of([4, 4, 4, 4], seed=3, activation=activation)
    with torch.no_grad():
        for w in network.weights:
            w += torch.eye(4, dtype=w.dtype)
    x, y = 0.5 * normal(1, 1, 4), normal(2, 1, 4)
    error = y[0] - network(x)[0].detach()  # of 1/2 ||y - r||^2, up to the stepsize
    expected = block_diagonal_gauss_newton(network, x, error)
    differences = []
    for eta in (4e-4, 2e-4, 1e-4):
        rule = InverseTargetPropagation(network, target_stepsize=eta / 2)
        pairs = zip(rule.target_steps(x, y)[:-1], expected, strict=True)
        differences.append([float((s[0] / eta - e).norm() / e.norm()) for s, e in pairs])
    # Below a linear output the two are the same, whatever the stepsize.
    assert max(d.pop() for d in differences) < 1e-8
    for large, middle, small in zip(*differences, strict=True):
        assert math.log2(large / middle) == pytest.approx(1, abs=0.05)
        assert math.log2(middle / small) == pytest.approx(1, abs=0.05)
        assert small < 1e-2


@given(st.integers(1, 5), st.integers(1, 3), ACTIVATIONS, seeds())
@settings(max_examples=25)
def test_tp_targets_are_the_activities_that_lead_to_the_output_target(
    n: int, batch: int, activation: str, seed: int
) -> None:
    network = network_of([3, n, n, n], seed, activation=activation)
    with torch.no_grad():
        for w in list(network.weights)[1:]:
            w.mul_(0.3).add_(torch.eye(n, dtype=w.dtype))
    rule = InverseTargetPropagation(network, target_stepsize=1e-4)
    x, y = normal(seed, batch, 3), normal(seed + 1, batch, n)
    try:
        steps = rule.target_steps(x, y)
    except ConvergenceError:  # the message has a test of its own
        reject()
    h = activity(network, x)
    for i, step in enumerate(steps, start=1):
        ahead = h[i] + step
        for f in forward_maps(network)[i:]:
            ahead = f(ahead)
        assert_same((ahead - h[-1]).detach(), steps[-1])
    expected = reference_forward_gradients(
        network, x, [hi + s for hi, s in zip(h[1:], steps, strict=True)]
    )
    rule.backward(x, y)
    for found, gradient in zip(grads([*network.weights, *network.biases]), expected, strict=True):
        assert_same(found, gradient)


@pytest.mark.parametrize(
    ("sizes", "activation", "message"),
    [
        ([6, 6, 6, 2], "tanh", "layer 3 is not: it has 2 neurons and layer 2 has 6"),
        ([4, 4, 4], ["relu"], None),  # the first layer needn't be inverted
        ([4, 4, 4, 4], "relu", "layer 2 is not: relu has no inverse"),
    ],
)
def test_tp_refuses_a_network_that_is_not_invertible(
    sizes: list[int], activation: str | list[str], message: str | None
) -> None:
    network = Network(sizes, activation, generator=generator(0))
    if message is None:
        InverseTargetPropagation(network)
        return
    with pytest.raises(UserError, match=message):
        InverseTargetPropagation(network)


def test_tp_refuses_singular_weights_from_the_start_and_later() -> None:
    network = Network([3, 3, 3], generator=generator(0))
    rule = InverseTargetPropagation(network)
    with torch.no_grad():
        network.weights[1].zero_()
    with pytest.raises(UserError, match=r"layer 2 is not: its weights are singular"):
        InverseTargetPropagation(network)
    with pytest.raises(ConvergenceError, match=r"weights of layer 2 became singular"):
        rule.backward(normal(0, 2, 3), normal(1, 2, 3))


def test_tp_says_which_layer_has_a_target_out_of_range() -> None:
    network = network_of([3, 3, 3, 3], seed=1)
    rule = InverseTargetPropagation(network, target_stepsize=10.0)
    with pytest.raises(ConvergenceError, match=r"layer 2 leaves the range of tanh, -1 to 1, in"):
        rule.backward(normal(0, 5, 3), normal(1, 5, 3))


@pytest.mark.parametrize("kind", [DTPDRL, DDTPLinear, DDTPRHL, RecurrentDDTPRHL])
def test_a_difference_loss_without_noise_is_refused(kind: type[LearnedTargets]) -> None:
    with pytest.raises(UserError, match=r"sigma = 0: without noise this reconstruction loss is 0"):
        type(kind.default_reconstruction())(sigma=0.0)


@pytest.mark.parametrize("kind", [DTP, DDTPControl])
def test_other_losses_work_without_noise(kind: type[LearnedTargets]) -> None:
    how = type(kind.default_reconstruction())(sigma=0.0)
    rule = rule_of(kind, network_of([3, 4, 2]), reconstruction=how)
    rule.feedback_backward(normal(0, 2, 3))
    assert all(bool(g.any()) for g in grads(list(rule.feedback.parameters())))


@pytest.mark.parametrize("name", ["sigma", "weight_decay", "scale", "damping"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_reconstruction_refuses_values_out_of_range(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name} = "):
        DifferenceReconstruction(**{name: value})
    with pytest.raises(UserError, match="scale = 0"):
        DifferenceReconstruction(scale=0.0)


def test_rules_refuse_what_does_not_fit() -> None:
    network, other = network_of([3, 4, 5, 2]), network_of([3, 4, 2])
    wrong = LayerwiseFeedback.random(other, generator(0))
    with pytest.raises(UserError, match=r"feedback matrices \[\(4, 2\)\] do not fit"):
        DTP(network, feedback=wrong)
    direct = DirectTargetFeedback.random(network, generator(0))
    with pytest.raises(UserError, match="DTP needs LayerwiseFeedback, not DirectTargetFeedback"):
        DTP(network, feedback=direct)
    with pytest.raises(UserError, match="layerwise reconstruction needs feedback from layer to"):
        DDTPLinear(network, reconstruction=LayerwiseReconstruction())
    with pytest.raises(UserError, match="no hidden layer"):
        DDTPLinear(Network([3, 2]))
    with pytest.raises(UserError, match="target_stepsize = 0"):
        DTP(network, target_stepsize=0)
    with pytest.raises(UserError, match=r"frozen layers \[0, 4\]: the network has layers 1 to 3"):
        DTP(network, frozen=[0, 1, 4])
    with pytest.raises(UserError, match="width = 0"):
        RandomHiddenFeedback.random(network, generator(0), width=0)
    with pytest.raises(UserError, match="2 matrices, 1 activations"):
        LayerwiseFeedback([torch.zeros(4, 5), torch.zeros(5, 2)], ["tanh"])


@pytest.mark.parametrize("kind", RULES_WITH_FEEDBACK)
def test_frozen_layers_stay_and_their_feedback_learns(kind: type[LearnedTargets]) -> None:
    network = network_of([4, 5, 5, 3], seed=1)
    x, y = normal(1, 4, 4), normal(2, 4, 3)
    free = rule_of(kind, network)
    free.backward(x, y)
    expected = grads([network.weights[0], network.biases[0]])
    rule = rule_of(kind, network, frozen=[2, 3])
    rule.backward(x, y)
    for found, gradient in zip((network.weights[0], network.biases[0]), expected, strict=True):
        torch.testing.assert_close(found.grad, gradient)
    assert all(p.grad is None for p in (*network.weights[1:], *network.biases[1:]))
    assert all(bool(g.any()) for g in grads(list(rule.feedback.matrices)))


def test_pretrained_dtp_differs_from_dtp_in_its_schedule_alone() -> None:
    network = network_of([4, 5, 3], seed=1)
    x, y = normal(1, 4, 4), normal(2, 4, 3)
    found = []
    for kind in (DTP, PretrainedDTP):
        rule = rule_of(kind, network)
        rule.backward(x, y)
        found.append(grads([*network.weights, *rule.feedback.parameters()]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert tuple(DTP.schedule) == (0, 0)
    assert tuple(PretrainedDTP.schedule) == (6, 1)


@pytest.mark.parametrize("kind", RULES_WITH_FEEDBACK)
def test_learning_lowers_the_loss(kind: type[LearnedTargets]) -> None:
    network = Network([4, 12, 12, 2], generator=generator(0))
    teacher = network_of([4, 8, 2], seed=4)
    x = normal(1, 64, 4)
    y = teacher(x).detach()
    rule = rule_of(kind, network)
    forward = Adam(lr=3e-3).make(network.parameters())
    feedback = Adam(lr=3e-3).make(rule.feedback.parameters())
    losses = []
    for step in range(300):
        losses.append(float(rule.backward(x, y)))
        feedback.step()
        if step >= 100:
            forward.step()
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("kind", RULES_WITH_FEEDBACK)
@pytest.mark.parametrize(
    ("dtype", "device"),
    [
        (torch.float32, "cpu"),
        (torch.float32, DEVICE),
        (torch.float64, DEVICE),
        pytest.param(torch.float32, "cuda", marks=pytest.mark.cuda),
        pytest.param(torch.float64, "cuda", marks=pytest.mark.cuda),
    ],
    indirect=["device"],
)
def test_precision_and_device_of_the_network_are_those_of_all_that_comes_of_it(
    kind: type[LearnedTargets], dtype: torch.dtype, device: str
) -> None:
    network = network_of([4, 6, 5, 3], seed=1)
    x, y = normal(1, 4, 4), normal(2, 4, 3)
    rule = rule_of(kind, network)
    rule.backward(x, y)
    expected = grads(list(network.parameters()))
    other = Network([4, 6, 5, 3], dtype=dtype, device=device)
    other.load_state_dict(network.state_dict())
    feedback = kind.random_feedback(other, generator(0))
    if not isinstance(feedback, RandomHiddenFeedback):
        feedback.load_state_dict(rule.feedback.state_dict())
    rule = kind(other, feedback=feedback)
    rule.backward(x.to(other.weights[0]), y.to(other.weights[0]))
    found = grads(list(other.parameters()))
    learned = grads(list(feedback.parameters()))
    assert all(g.dtype == dtype and g.device.type == device for g in (*found, *learned))
    assert all(bool(g.isfinite().all()) for g in learned)
    if not isinstance(feedback, RandomHiddenFeedback):
        for one, reference in zip(found, expected, strict=True):
            torch.testing.assert_close(one.cpu().double(), reference, rtol=1e-3, atol=1e-5)


def test_the_registry_has_every_rule() -> None:
    names = [
        "tp",
        "dtp",
        "dtp-pretrained",
        "dtp-drl",
        "ddtp-linear",
        "ddtp-rhl",
        "ddtp-rhl-rec",
        "ddtp-control",
    ]
    kinds = [InverseTargetPropagation, DTP, PretrainedDTP, DTPDRL, DDTPLinear, DDTPRHL]
    kinds += [RecurrentDDTPRHL, DDTPControl]
    for name, kind in zip(names, kinds, strict=True):
        assert RULES[name].rule is kind
        assert RULES[name].family == "target propagation"
