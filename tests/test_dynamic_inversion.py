"""Dynamic inversion against explicit inverses, literal transcriptions of its algorithms and SciPy.

Expected errors are computed in the paper's signs: gradients, with B = -Q.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from elsewhere import DEVICE
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import root
from strategies import generator, network_of, normal, seeds
from torch import Tensor

from analogdfc.activations import get_activation
from analogdfc.controller import PD, PI, PID, Controller, I, P
from analogdfc.dynamics.abscissa import Stabiliser
from analogdfc.dynamics.inversion import ControllerLoop
from analogdfc.dynamics.settling import DirectSolution, Simulation
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning.alignment import FeedbackAlignment, SequentialFeedback
from analogdfc.learning.base import LearningRule, get_rule
from analogdfc.learning.controls import Backpropagation
from analogdfc.learning.inversion import (
    Dynamic,
    DynamicInversion,
    FastControl,
    LoopFeedback,
    Monitor,
    NonDynamicInversion,
    Pseudobackpropagation,
    RepeatedInversion,
    SingleLoopInversion,
)
from analogdfc.losses import SoftmaxCrossEntropy
from analogdfc.network import Network

Array = NDArray[np.float64]
LINEAR = get_activation("linear")
TANH = get_activation("tanh")


def data(network: Network, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs and targets."""
    return normal(seed, batch, network.sizes[0]), normal(seed + 1, batch, network.sizes[-1])


def numpy(parameters: Iterable[Tensor]) -> list[Array]:
    return [p.detach().numpy() for p in parameters]


def gradient_at_output(network: Network, x: Tensor, y: Tensor) -> Array:
    """delta_L = dL/da_L of the squared error, for a linear output."""
    out: Array = 2 * (network(x).detach() - y).numpy()
    return out


def assert_update(network: Network, x: Tensor, deltas: Sequence[Array], tolerance: float) -> None:
    """`.grad` is that of gradients delta_1..delta_L at the layers (eq. 2), in the batch's mean."""
    r = x.numpy()
    for i, delta in enumerate(deltas):
        w, b = network.weights[i], network.biases[i]
        assert w.grad is not None
        assert b.grad is not None
        expected = np.einsum("si,sj->ij", delta, r) / len(r)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(w.grad.numpy(), expected, atol=tolerance * scale, rtol=0)
        np.testing.assert_allclose(
            b.grad.numpy(), delta.mean(0), atol=tolerance * np.abs(delta).max(), rtol=0
        )
        a = r @ w.detach().numpy().T + b.detach().numpy()
        r = network.activations[i].function(torch.from_numpy(a)).numpy()


def slopes(network: Network, x: Tensor) -> list[Array]:
    v = network.potentials(x)
    return [
        phi.derivative(vi.detach()).numpy() for phi, vi in zip(network.activations, v, strict=True)
    ]


def positive_feedback(network: Network, seed: int) -> SequentialFeedback:
    """Feedback near the transposed weights, with which the loops are stable."""
    q = [w.detach().T + 0.1 * normal(seed, *w.T.shape) for w in list(network.weights)[1:]]
    return SequentialFeedback(q)


def without_repair(every: int = 1) -> Monitor:
    return Monitor(every=every, stabiliser=None)


SIZES = [[3, 5, 4, 2], [4, 3, 6], [2, 4, 4, 3], [3, 2]]


# --- explicit inversions ---------------------------------------------------------------------


@given(seed=seeds(), sizes=st.sampled_from(SIZES), activation=st.sampled_from(["tanh", "relu"]))
def test_pseudobackprop_is_backprop_through_pseudoinverses(
    seed: int, sizes: list[int], activation: str
) -> None:
    network = network_of(sizes, seed, activation=activation)
    x, y = data(network, 3, seed)
    Pseudobackpropagation(network).backward(x, y)
    delta, d = gradient_at_output(network, x, y), slopes(network, x)
    deltas = [delta]
    for i in range(network.depth - 1, 0, -1):
        w = numpy(network.weights)[i]
        inverse = np.linalg.solve(w.T @ w, w.T) if w.shape[0] >= w.shape[1] else None
        if inverse is None:
            inverse = w.T @ np.linalg.inv(w @ w.T)
        deltas.insert(0, deltas[0] @ inverse.T * d[i - 1])
    # The normal equations here square the condition number.
    assert_update(network, x, deltas, max(1e-8, 1e-13 * condition(network) ** 2))


def condition(network: Network) -> float:
    """Worst condition number of the inverted weights, by which rounding grows."""
    return max([1.0, *(float(np.linalg.cond(w)) for w in numpy(network.weights)[1:])])


@given(
    seed=seeds(),
    sizes=st.sampled_from(SIZES),
    alpha=st.sampled_from([1e-3, 0.1]),
    activation=st.sampled_from(["tanh", "linear"]),
)
def test_non_dynamic_inversion_is_algorithm_4(
    seed: int, sizes: list[int], alpha: float, activation: str
) -> None:
    network = network_of(sizes, seed, activation=activation)
    x, y = data(network, 3, seed)
    feedback = SequentialFeedback.transposed(network)
    NonDynamicInversion(network, feedback, alpha).backward(x, y)
    d = slopes(network, x)
    deltas = [gradient_at_output(network, x, y)]
    for i in range(network.depth - 1, 0, -1):
        w, b = numpy(network.weights)[i], -numpy(feedback.matrices)[i - 1]
        # Either form of eq. 10 for either shape: they agree where alpha > 0.
        inverse = np.linalg.solve(b @ w - alpha * np.eye(len(b)), b)
        deltas.insert(0, deltas[0] @ inverse.T * d[i - 1])
    assert_update(network, x, deltas, 1e-8)


@pytest.mark.parametrize("sizes", [[3, 6, 4], [3, 4, 6], [3, 5, 5]])
def test_without_leak_non_dynamic_inversion_through_transposed_weights_is_pseudobackprop(
    sizes: list[int],
) -> None:
    network = network_of(sizes, 3)
    x, y = data(network, 4)
    grads = []
    for rule in (NonDynamicInversion(network, alpha=0.0), Pseudobackpropagation(network)):
        rule.backward(x, y)
        grads.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-10)


# --- steady states ---------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[3, 6, 4], [3, 4, 6], [4, 5, 5, 3]])
@pytest.mark.parametrize("settling", [DirectSolution(), Simulation(dt=0.1, steps=5000)])
def test_dynamic_inversion_of_linear_layers_settles_at_equation_10(
    sizes: list[int], settling: DirectSolution | Simulation
) -> None:
    alpha = 0.1
    network = network_of(sizes, 4, activation="linear")
    x, y = data(network, 3)
    feedback = positive_feedback(network, 5)
    rule = DynamicInversion(
        network, feedback, I(alpha=alpha), settling=settling, monitor=without_repair()
    )
    rule.backward(x, y)
    deltas = [gradient_at_output(network, x, y)]
    for i in range(network.depth - 1, 0, -1):
        w, b = numpy(network.weights)[i], -numpy(feedback.matrices)[i - 1]
        inverse = b @ np.linalg.inv(w @ b - alpha * np.eye(len(w)))
        deltas.insert(0, deltas[0] @ inverse.T)
    assert_update(network, x, deltas, 1e-8 if isinstance(settling, DirectSolution) else 1e-6)


def test_without_leak_a_contracting_layer_answers_with_the_right_inverse_of_equation_12() -> None:
    network = network_of([3, 7, 3], 2, activation="linear")
    x, y = data(network, 2)
    feedback = positive_feedback(network, 3)
    DynamicInversion(network, feedback, I(alpha=0.0), settling=DirectSolution()).backward(x, y)
    w, b = numpy(network.weights)[1], -numpy(feedback.matrices)[0]
    last = gradient_at_output(network, x, y)
    assert_update(network, x, [last @ (b @ np.linalg.inv(w @ b)).T, last], 1e-8)


@pytest.mark.parametrize("settling", [DirectSolution(), Simulation(dt=0.1, steps=5000)])
def test_fast_control_inverts_an_expanding_layer_without_leak(
    settling: DirectSolution | Simulation,
) -> None:
    network = network_of([3, 4, 9], 2, activation="linear")
    x, y = data(network, 2)
    feedback = positive_feedback(network, 3)
    rule = DynamicInversion(network, feedback, FastControl(0.0), settling=settling)
    rule.backward(x, y)
    w, b = numpy(network.weights)[1], -numpy(feedback.matrices)[0]
    last = gradient_at_output(network, x, y)
    assert_update(network, x, [last @ np.linalg.solve(b @ w, b).T, last], 1e-6)


@pytest.mark.parametrize(
    "controller",
    [
        P(k_p=5.0),
        I(alpha=0.3, tau_u=1.5),
        PI(k_p=0.5, alpha=0.2),
        PI(k_p=0.5, alpha=0.25, leak="integral"),
        PD(k_p=5.0, k_d=0.2, tau_d=0.3),
        PID(k_p=0.5, alpha=0.2, k_d=0.2, tau_d=0.3),
    ],
)
@pytest.mark.parametrize("settling", [DirectSolution(), Simulation(dt=0.05, steps=4000)])
def test_every_controller_settles_at_equation_10_with_its_damping(
    controller: Controller, settling: DirectSolution | Simulation
) -> None:
    w, target = normal(1, 3, 5) / 2, normal(3, 4, 3)
    loop = ControllerLoop((w,), (LINEAR,), w.T, controller)
    inverse = w.T @ torch.linalg.inv(
        w @ w.T + controller.damping * torch.eye(3, dtype=torch.float64)
    )
    (found,) = settling.settle(loop, target).errors
    assert torch.allclose(found, target @ inverse.T, rtol=1e-6, atol=1e-7)


@settings(max_examples=10)
@given(seed=seeds(), sizes=st.sampled_from([[3, 6, 5, 4], [4, 3, 4], [3, 5, 5, 5, 4]]))
def test_nonlinear_dynamic_inversion_solves_equation_15(seed: int, sizes: list[int]) -> None:
    alpha = 0.5
    network = network_of(sizes, seed)
    x, y = data(network, 2, seed)
    rule = DynamicInversion(network, None, I(alpha=alpha), settling=Simulation(required=1e-8))
    rule.backward(x, y)
    deltas = [gradient_at_output(network, x, y)]
    for i in range(network.depth - 1, 0, -1):
        w, b = numpy(network.weights)[i], -numpy(network.weights)[i].T
        deltas.insert(0, np.stack([b @ steady_control(w, b, d, alpha) for d in deltas[0]]))
    assert_update(network, x, deltas, 1e-6)


def steady_control(w: Array, b: Array, delta: Array, alpha: float) -> Array:
    """u at which W tanh(B u) = delta + alpha u, by SciPy."""

    def excess(u: Array) -> Array:
        return np.asarray(w @ np.tanh(b @ u) - delta - alpha * u)

    # Its own flag asks for more digits than rounding leaves.
    found = root(excess, -delta, tol=1e-13)
    assert np.abs(excess(found.x)).max() < 1e-11
    return np.asarray(found.x)


@pytest.mark.parametrize("activation", ["tanh", "linear", "relu"])
def test_the_repeated_layers_settle_where_the_sequential_ones_do(activation: str) -> None:
    network = network_of([3, 6, 5, 4], 1, activation=activation)
    x, y = data(network, 3)
    controls = (I(alpha=0.1), PI(k_p=0.2, alpha=0.5))
    grads = []
    for kind in (DynamicInversion, RepeatedInversion):
        rule = kind(network, None, controls, settling=Simulation(dt=0.1, required=1e-8))
        rule.backward(x, y)
        assert rule.residual <= 1e-8
        grads.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for a, b in zip(*grads, strict=True):
        assert float((a - b).abs().max()) <= 1e-6 * float(a.abs().max())


def test_direct_solution_of_repeated_layers_is_that_of_sequential_ones() -> None:
    network = network_of([3, 6, 5, 7], 1, activation="linear")
    x, y = data(network, 3)
    controls = (PI(k_p=0.3, alpha=0.1), FastControl(0.1))
    grads = []
    for kind in (DynamicInversion, RepeatedInversion):
        kind(network, None, controls, settling=DirectSolution()).backward(x, y)
        grads.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("settling", [DirectSolution(), Simulation(dt=0.1, steps=20000)])
def test_the_single_loop_of_a_linear_network_inverts_the_product_of_its_weights(
    settling: DirectSolution | Simulation,
) -> None:
    alpha = 0.2
    network = network_of([3, 6, 5, 4], 1, activation="linear")
    network.weights[2].data /= 2
    x, y = data(network, 3)
    rule = SingleLoopInversion(network, None, I(alpha=alpha), settling=settling)
    assert rule.stabilisations == 0
    rule.backward(x, y)
    _, w2, w3 = numpy(network.weights)
    last = gradient_at_output(network, x, y)
    p = w3 @ w2
    first = last @ (p.T @ np.linalg.inv(p @ p.T + alpha * np.eye(4))).T
    assert_update(network, x, [first, first @ w2.T, last], 1e-6)


# --- the algorithms as printed ---------------------------------------------------------------


def printed_1(w: Array, b: Array, g: Callable[[Array], Array], alpha: float, dl: Array) -> Array:
    """Algorithm 1, 25 steps of 0.2."""
    delta, u = np.zeros(w.shape[1]), np.zeros(w.shape[0])
    for _ in range(25):
        delta = delta + 0.2 * (-delta + b @ u)
        u = u + 0.2 * (-alpha * u + w @ g(delta) - dl)
    return delta


def printed_2(
    ws: Sequence[Array], bs: Sequence[Array], g: Callable[[Array], Array], alpha: float, dl: Array
) -> tuple[Array, Array]:
    """Algorithm 2, 25 steps of 0.2: delta_{l-2} and delta_{l-1}."""
    (below, above), (b_below, b_above) = ws, bs
    first, second = np.zeros(below.shape[1]), np.zeros(above.shape[1])
    u_below, u_above = np.zeros(below.shape[0]), np.zeros(above.shape[0])
    for _ in range(25):
        second = second + 0.2 * (-second + b_above @ u_above)
        u_above = u_above + 0.2 * (-alpha * u_above + above @ g(second) - dl)
        first = first + 0.2 * (-first + b_below @ u_below)
        u_below = u_below + 0.2 * (-alpha * u_below + below @ g(first) - second)
    return first, second


def printed_3(
    ws: Sequence[Array], b: Array, g: Callable[[Array], Array], alpha: float, dl: Array
) -> tuple[Array, Array]:
    """Algorithm 3, 25 steps of 0.2: delta_{l-2} and delta_{l-1}."""
    below, above = ws
    first, second, u = np.zeros(below.shape[1]), np.zeros(above.shape[1]), np.zeros(len(above))
    for _ in range(25):
        first = first + 0.2 * (-first + b @ u)
        second = second + 0.2 * (-second + below @ g(first))
        u = u + 0.2 * (-alpha * u + above @ g(second) - dl)
    return first, second


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "linear": lambda a: a,
}
FEW = Simulation(dt=0.2, steps=25, tolerance=0.0)


@pytest.mark.parametrize("activation", sorted(FUNCTIONS))
def test_the_steps_are_those_of_the_printed_algorithms(activation: str) -> None:
    network = network_of([3, 6, 5, 4], 1, activation=activation)
    g, alpha = FUNCTIONS[activation], 0.3
    x, y = data(network, 2)
    last = gradient_at_output(network, x, y)
    feedback = positive_feedback(network, 3)
    _, w2, w3 = numpy(network.weights)
    b2, b3 = (-q for q in numpy(feedback.matrices))
    second = np.stack([printed_1(w3, b3, g, alpha, d) for d in last])
    first = np.stack([printed_1(w2, b2, g, alpha, d) for d in second])
    DynamicInversion(network, feedback, I(alpha=alpha), settling=FEW).backward(x, y)
    assert_update(network, x, [first, second, last], 1e-8)

    repeated = [printed_2((w2, w3), (b2, b3), g, alpha, d) for d in last]
    RepeatedInversion(network, feedback, I(alpha=alpha), settling=FEW).backward(x, y)
    deltas = [np.stack(layer) for layer in zip(*repeated, strict=True)]
    assert_update(network, x, [*deltas, last], 1e-8)

    single = 0.3 * LoopFeedback.transposed(network).matrices[0].detach()
    looped = [printed_3((w2, w3), -single.numpy(), g, alpha, d) for d in last]
    SingleLoopInversion(network, LoopFeedback([single]), I(alpha=alpha), settling=FEW).backward(
        x, y
    )
    deltas = [np.stack(layer) for layer in zip(*looped, strict=True)]
    assert_update(network, x, [*deltas, last], 1e-8)


RULES = ["di", "di-repeat", "di-single-loop", "ndi"]


def rule_of(name: str) -> Any:
    """The class of a rule, whose arguments are its own."""
    return get_rule(name).rule


def random_feedback(name: str, network: Network, seed: int) -> SequentialFeedback:
    """R-Init."""
    kind = LoopFeedback if name == "di-single-loop" else SequentialFeedback
    return kind.random(network, generator(seed), spread=0.5)


@pytest.mark.parametrize("name", RULES)
def test_random_feedback_is_made_stable_before_training_and_again_in_it(name: str) -> None:
    network = network_of([4, 8, 6, 3], 0)
    few: Any = {} if name == "ndi" else {"settling": Simulation(dt=0.05, steps=100)}
    rule: Any = rule_of(name)(network, random_feedback(name, network, 1), **few)
    count = rule.stabilisations
    assert count > 0
    assert max(rule.abscissas()) < 0
    before = [q.detach().clone() for q in rule.feedback.matrices]
    network.weights[-1].data.neg_()  # what was negative feedback is now positive
    assert max(rule.abscissas()) > 0
    rule.backward(*data(network, 2))
    assert rule.stabilisations > count
    assert max(rule.abscissas()) < 0
    assert any(not torch.equal(a, b) for a, b in zip(before, rule.feedback.matrices, strict=True))


@pytest.mark.parametrize("name", RULES)
def test_an_unstable_loop_without_a_stabiliser_is_an_error_with_its_eigenvalue(name: str) -> None:
    network = network_of([4, 8, 6, 3], 0)
    feedback = random_feedback(name, network, 1)
    with pytest.raises(
        ConvergenceError, match=r"unstable, .* eigenvalues is \+0\..*transposed.*alpha"
    ):
        rule_of(name)(network, feedback, monitor=without_repair())


def test_the_monitor_looks_only_as_often_as_it_is_told() -> None:
    network = network_of([4, 8, 3], 0, activation="linear")
    x, y = data(network, 2)
    rule = DynamicInversion(network, monitor=Monitor(every=3), settling=DirectSolution())
    rule.backward(x, y)
    network.weights[1].data.neg_()
    for _ in range(2):
        rule.backward(x, y)
        assert rule.stabilisations == 0
    rule.backward(x, y)
    assert rule.stabilisations == 1


def test_stabilisation_that_fails_says_where() -> None:
    network = network_of([4, 8, 6, 3], 0)
    monitor = Monitor(stabiliser=Stabiliser(iterations=1))
    with pytest.raises(ConvergenceError, match=r"layer \d: the feedback weights could not be made"):
        DynamicInversion(network, random_feedback("di", network, 1), monitor=monitor)


# --- how a batch is treated ------------------------------------------------------------------


@pytest.mark.parametrize("name", [*RULES, "pbp"])
def test_a_batch_is_the_mean_of_its_samples(name: str) -> None:
    network = network_of([3, 6, 4, 2], 1)
    x, y = data(network, 3)
    y = torch.softmax(y, dim=1)

    def gradients(x: Tensor, y: Tensor) -> list[Tensor]:
        rule: Any = rule_of(name)(network, loss=SoftmaxCrossEntropy(), max_norm=0.5)
        loss = rule.backward(x, y)
        assert float(loss) == pytest.approx(
            float(SoftmaxCrossEntropy().value(network(x).detach(), y).mean())
        )
        return [p.grad.clone() for p in network.parameters() if p.grad is not None]

    single = [gradients(x[k : k + 1], y[k : k + 1]) for k in range(3)]
    for whole, *parts in zip(gradients(x, y), *single, strict=True):
        mean = torch.stack(parts).mean(dim=0)
        assert torch.allclose(whole, mean, rtol=1e-5, atol=1e-7)


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
@pytest.mark.parametrize("name", [*RULES, "pbp"])
def test_the_rules_work_in_single_precision_and_on_the_gpu(
    name: str, dtype: torch.dtype, device: str
) -> None:
    network = network_of([4, 8, 6, 3], 0, activation="linear")
    x, y = data(network, 3)
    # R-Init, so that stabilisation runs there too.
    start: Any = () if name == "pbp" else (random_feedback(name, network, 1),)
    direct: Any = {"settling": DirectSolution()} if name.startswith("di") else {}
    rule: Any = rule_of(name)(network, *start, **direct)
    rule.backward(x, y)
    expected = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    moved = network_of([4, 8, 6, 3], 0, activation="linear").to(device, dtype)
    if name != "pbp":
        start = (type(start[0])([q.to(device, dtype) for q in rule.feedback.matrices]),)
        assert max(rule.abscissas()) < 0 < rule.stabilisations
    rule = rule_of(name)(moved, *start, **direct)
    rule.backward(x.to(device, dtype), y.to(device, dtype))
    tolerance = 1e-2 if dtype == torch.float32 else 1e-8
    for parameter, grad in zip(moved.parameters(), expected, strict=True):
        assert parameter.grad is not None
        off = (parameter.grad.to("cpu", torch.float64) - grad).abs().max()
        assert float(off) <= tolerance * float(grad.abs().max())
    if name != "pbp":
        rule_of(name)(moved, random_feedback(name, moved, 1), **direct)


@pytest.mark.parametrize("name", [*RULES, "pbp"])
def test_the_norm_of_each_samples_hidden_errors_is_bounded(name: str) -> None:
    network = network_of([3, 6, 4, 2], 1)
    x, y = data(network, 1)
    biases = {}
    for bound in (math.inf, 1e-3, 1e6):
        rule: Any = rule_of(name)(network, max_norm=bound)
        rule.backward(x, y)
        # The bias's gradient is the error itself.
        biases[bound] = [b.grad.clone() for b in network.biases if b.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(biases[math.inf], biases[1e6], strict=True))
    for free, held in zip(biases[math.inf][:-1], biases[1e-3][:-1], strict=True):
        assert torch.allclose(held, 1e-3 * free / free.norm(), rtol=1e-9)
    assert torch.equal(biases[math.inf][-1], biases[1e-3][-1])


@pytest.mark.parametrize("name", [*RULES, "pbp"])
def test_without_an_error_at_the_output_nothing_changes(name: str) -> None:
    network = network_of([3, 6, 4, 2], 1)
    x, _ = data(network, 2)
    with torch.no_grad():
        output = network(x)
    rule_of(name)(network).backward(x, output)
    assert all(p.grad is not None and not p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("name", [*RULES, "pbp"])
def test_a_network_without_hidden_layers_has_nothing_to_invert(name: str) -> None:
    network = network_of([3, 2], 1)
    x, y = data(network, 2)
    rule_of(name)(network).backward(x, y)
    assert_update(network, x, [gradient_at_output(network, x, y)], 1e-12)


def test_frozen_layers_get_no_gradient() -> None:
    network = network_of([3, 6, 4, 2], 1)
    DynamicInversion(network, settling=FEW, frozen=[1]).backward(*data(network, 2))
    assert [w.grad is None for w in network.weights] == [True, False, False]


# --- initial feedback ------------------------------------------------------------------------


def test_the_feedback_of_the_single_loop_starts_as_it_is_asked_to() -> None:
    network = network_of([3, 6, 5, 4], 1)
    _, w2, w3 = network.weights
    (q,) = LoopFeedback.transposed(network).matrices
    assert torch.allclose(q, (w3 @ w2).T)
    state = torch.get_rng_state()
    (q,) = LoopFeedback.random(network, generator(0), spread=0.2).matrices
    assert q.shape == (6, 4)
    assert 0.15 < float(q.detach().abs().max()) <= 0.2
    assert torch.equal(torch.get_rng_state(), state)


# --- figure 3b -------------------------------------------------------------------------------


def steps_to(rule: LearningRule, network: Network, teacher: Tensor, fraction: float) -> int:
    """Updates of fixed norm, each from 100 samples, until the error is a fraction of the first."""
    source = generator(9)

    def left() -> float:
        w1, w2 = (w.detach() for w in network.weights)
        return float((w2 @ w1 - teacher).square().sum())

    first = left()
    for step in range(1, 601):
        x = torch.randn(100, 30, dtype=torch.float64, generator=source)
        rule.backward(x, x @ teacher.T)
        for w in network.weights:
            assert w.grad is not None
            w.data -= 0.02 * w.grad / w.grad.norm()
        if left() < fraction * first:
            return step
    raise AssertionError(f"{type(rule).__name__}: {left() / first:.3g} of the error is left")


def test_with_updates_of_fixed_norm_inversions_converge_before_backprop_and_alignment() -> None:
    teacher = 2 * torch.rand(10, 30, dtype=torch.float64, generator=generator(0)) - 1
    start = [0.02 * torch.rand(*s, dtype=torch.float64, generator=generator(1)) - 0.01
             for s in ((20, 30), (10, 20))]  # fmt: skip

    def steps(make: Callable[[Network], LearningRule]) -> int:
        network = Network([30, 20, 10], "linear", generator=generator(2))
        for parameter, w in zip(network.weights, start, strict=True):
            parameter.data.copy_(w)
        return steps_to(make(network), network, teacher, 0.1)

    def feedback(network: Network, spread: float) -> SequentialFeedback:
        return SequentialFeedback.random(network, generator(3), spread)

    slow = [
        steps(Backpropagation),
        steps(lambda network: FeedbackAlignment(network, feedback(network, 0.5))),
    ]
    direct = DirectSolution()
    fast = [
        steps(Pseudobackpropagation),
        steps(lambda network: NonDynamicInversion(network, alpha=0.0)),
        steps(lambda network: NonDynamicInversion(network, alpha=0.001)),
        steps(lambda network: DynamicInversion(network, None, I(alpha=0.001), settling=direct)),
        steps(
            lambda network: DynamicInversion(
                network, feedback(network, 0.01), I(alpha=0.01), settling=direct
            )
        ),
    ]
    assert max(fast) < min(slow)


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DynamicInversion, RepeatedInversion, SingleLoopInversion])
@pytest.mark.parametrize("sizes", [[3, 4, 7], [3, 4, 7, 2]])
def test_no_leak_on_an_expanding_layer_is_refused_before_training(
    kind: type[Dynamic], sizes: list[int]
) -> None:
    network = network_of(sizes, 1)
    if kind is SingleLoopInversion and sizes[-1] == 2:
        kind(network, None, I(alpha=0.0))  # the loop as a whole contracts
        return
    with pytest.raises(UserError, match=r"expands from 4 to 7 neurons.*set alpha > 0"):
        kind(network, None, I(alpha=0.0))


def test_fast_control_without_leak_on_a_contracting_layer_is_refused() -> None:
    with pytest.raises(UserError, match=r"layer 2 contracts from 7 to 4 neurons.*set alpha > 0"):
        DynamicInversion(network_of([3, 7, 4], 1), None, FastControl(0.0))


def test_a_single_loop_through_a_bottleneck_needs_leak() -> None:
    with pytest.raises(UserError, match="the loop expands from 2 to 3 neurons"):
        SingleLoopInversion(network_of([4, 5, 2, 3], 1), None, I(alpha=0.0))
    SingleLoopInversion(network_of([4, 5, 2, 3], 1), None, I(alpha=0.1))


def test_steps_that_are_too_long_for_a_stable_loop_are_refused_with_one_that_is_not() -> None:
    network = network_of([4, 8, 3], 0)
    network.weights[1].data *= 4
    with pytest.raises(UserError, match=r"layer 2: steps of dt = 1 are too long.*enough") as e:
        DynamicInversion(network, settling=Simulation(dt=1.0))
    dt = float(str(e.value).split("dt = ")[-1].split()[0])
    rule = DynamicInversion(network, settling=Simulation(dt=dt))
    rule.backward(*data(network, 2))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_a_direct_solution_of_a_nonlinear_layer_is_refused() -> None:
    with pytest.raises(UserError, match="layer 3: its activation is not linear"):
        DynamicInversion(network_of([3, 6, 4, 2], 1), settling=DirectSolution())


def test_a_singular_loop_has_no_direct_solution() -> None:
    w = torch.zeros(2, 3, dtype=torch.float64)
    loop = ControllerLoop((w,), (LINEAR,), w.T, I(alpha=0.0))
    with pytest.raises(ConvergenceError, match=r"no unique steady state.*alpha"):
        DirectSolution().settle(loop, normal(0, 1, 2))
    network = network_of([3, 3, 2], 1)
    network.weights[1].data.zero_()
    with pytest.raises(ConvergenceError, match=r"layer 2: .* singular; raise the leak alpha"):
        NonDynamicInversion(network, alpha=0.0).backward(*data(network, 1))


def test_a_run_that_is_required_to_settle_but_does_not_is_an_error() -> None:
    network = network_of([3, 6, 4], 1)
    rule = DynamicInversion(network, settling=Simulation(steps=50, required=1e-6))
    with pytest.raises(ConvergenceError, match=r"not settled after 50 steps of 0.1.*more steps"):
        rule.backward(*data(network, 1))


def test_an_activation_that_is_not_0_at_0_is_refused() -> None:
    with pytest.raises(UserError, match=r"layer 1: .*phi\(0\) = 0.*'sigmoid'"):
        DynamicInversion(network_of([3, 6, 4], 1, activation="sigmoid"))


def test_feedback_that_does_not_fit_is_refused() -> None:
    network = network_of([3, 6, 4, 2], 1)
    for name in RULES:
        wrong = SequentialFeedback([normal(0, 6, 4)])
        with pytest.raises(UserError, match=r"feedback matrices of shapes .*\(6, 4\)"):
            rule_of(name)(network, wrong)


def test_controls_that_do_not_fit_are_refused() -> None:
    network = network_of([3, 6, 4, 2], 1)
    with pytest.raises(UserError, match="3 controls"):
        DynamicInversion(network, None, [I()] * 3)
    for controls in (FastControl(0.1), [I(alpha=0.1), I(alpha=0.2)]):
        with pytest.raises(UserError, match="the single loop needs one Controller"):
            SingleLoopInversion(network, None, controls)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FastControl(-0.1),
        lambda: FastControl(math.nan),
        lambda: Monitor(every=0),
        lambda: Simulation(dt=0.0),
        lambda: Simulation(steps=0),
        lambda: Simulation(tolerance=-1.0),
        lambda: Simulation(required=0.0),
        lambda: Pseudobackpropagation(network_of([2, 2, 2]), max_norm=0.0),
        lambda: DynamicInversion(network_of([2, 2, 2]), max_norm=math.nan),
        lambda: NonDynamicInversion(network_of([2, 2, 2]), alpha=-0.1),
        lambda: NonDynamicInversion(network_of([2, 2, 3]), alpha=-0.1),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(UserError, match=r"> 0|>= 0|>= 1"):
        make()


def test_a_loop_that_is_unstable_from_the_start_is_said_to_be_changed() -> None:
    network = network_of([5, 8, 6, 4], 1)
    rule = SingleLoopInversion(network)
    transposed = LoopFeedback.transposed(network)
    changed = not torch.equal(rule.feedback.matrices[0], transposed.matrices[0])
    assert changed
    (note,) = rule.notes()
    assert note.startswith("the loop was unstable from the start, slowest mode +0.")
    assert note.endswith("its feedback weights were changed to make it stable")
    # What is said goes on with a training that is taken up, and isn't said of a stable loop.
    again = SingleLoopInversion(network_of([5, 8, 6, 4], 1))
    again.load_state_dict(rule.state_dict())
    assert again.notes() == rule.notes()
    assert not DynamicInversion(network_of([5, 8, 6, 4], 1)).notes()


def test_changes_while_learning_are_counted_beside_those_at_the_start() -> None:
    network = network_of([5, 8, 6, 4], 1)
    rule = SingleLoopInversion(network)
    x, y = data(network, 2, 1)
    rule.backward(x, y)
    with torch.no_grad():
        network.weights[1].neg_()
    rule.backward(x, y)
    assert rule.stabilisations == 2
    assert rule.notes()[1:] == [
        "loops that became unstable while learning had their feedback weights changed 1 times"
    ]
