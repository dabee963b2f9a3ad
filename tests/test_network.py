"""The network and its feedback pathway against PyTorch's own and against hand-worked numbers."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import autograd_jacobian, generator, network_of, normal, seeds, small_networks
from torch import Tensor, nn

from analogdfc.activations import ACTIVATIONS, activate, get_activation
from analogdfc.controller import PI
from analogdfc.dynamics import Loop
from analogdfc.dynamics.loop import free_pass, free_state, signals
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network

NAMES = ("linear", "piecewise-linear", "relu", "sigmoid", "tanh")
MODULES = {
    "linear": nn.Identity(),
    "piecewise-linear": nn.LeakyReLU(1 / 20),
    "relu": nn.ReLU(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
}


def torchs_own(network: Network) -> nn.Sequential:
    """The same network, made of PyTorch's modules."""
    layers: list[nn.Module] = []
    for w, b, phi in zip(network.weights, network.biases, network.activations, strict=True):
        linear = nn.Linear(w.shape[1], w.shape[0], dtype=w.dtype)
        linear.load_state_dict({"weight": w.detach(), "bias": b.detach()})
        layers += [linear, MODULES[phi.name]]
    return nn.Sequential(*layers)


def output_from(network: Network, i: int, v: Tensor) -> Tensor:
    """Output as a function of the potentials of layer i (from 1), written out."""
    r = network.activations[i - 1].function(v)
    for k in range(i, network.depth):
        v = network.weights[k] @ r + network.biases[k]
        r = network.activations[k].function(v)
    return r


def test_these_are_all_the_activations() -> None:
    assert tuple(sorted(ACTIVATIONS)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_and_its_derivative_are_those_of_pytorch(name: str) -> None:
    phi = get_activation(name)
    v = torch.linspace(-4, 4, 40, dtype=torch.float64, requires_grad=True)  # 0 is not among them
    r = MODULES[name](v)
    (slope,) = torch.autograd.grad(r.sum(), v)
    torch.testing.assert_close(phi.function(v), r, rtol=0, atol=0)
    torch.testing.assert_close(phi.derivative(v.detach()), slope, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(phi.slope(r.detach()), slope, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_activations_without_gradients_are_the_same_but_for_rounding(
    name: str, dtype: torch.dtype
) -> None:
    v = torch.cat([normal(1, 5, 30) * 3, normal(2, 5, 30) * 1e-6], dim=1).to(dtype)[:, 7:52]
    expected = MODULES[name](v)
    with torch.no_grad():
        out = torch.empty_like(v)
        for found in (activate(get_activation(name), v), activate(get_activation(name), v, out)):
            torch.testing.assert_close(found, expected, rtol=4 * torch.finfo(dtype).eps, atol=0)
        assert activate(get_activation(name), v, v) is v
    torch.testing.assert_close(v, expected, rtol=4 * torch.finfo(dtype).eps, atol=0)


@given(small_networks(NAMES), st.integers(1, 5), seeds())
def test_the_forward_pass_is_that_of_pytorch(network: Network, batch: int, seed: int) -> None:
    x = normal(seed, batch, network.sizes[0])
    reference = torchs_own(network)
    assert torch.equal(network(x), reference(x))
    free = network.run(x)
    assert free.r[0] is x
    assert free.output is free.r[-1]
    assert free.inputs == free.r[:-1]
    for i, (v, r) in enumerate(zip(free.v, free.r[1:], strict=True)):
        assert torch.equal(v, reference[: 2 * i + 1](x))
        assert torch.equal(r, reference[: 2 * i + 2](x))


def test_the_control_loop_starts_from_the_same_forward_pass_to_the_bit() -> None:
    network, x = network_of([784, 300, 10]), normal(1, 32, 784)
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    with torch.no_grad():  # as rules run
        for own, loops in zip(network.run(x), free_pass(loop, x), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(own, loops, strict=True))
        start = free_state(loop, x)
        seen = signals(loop, start.v, x)
    assert all(torch.equal(a, b) for a, b in zip(seen.v_ff, start.v, strict=True))


@given(small_networks(NAMES), st.integers(1, 4), seeds())
def test_jacobians_are_those_of_autograd(network: Network, batch: int, seed: int) -> None:
    # Not the potentials of a forward pass: under feedback the layers leave it.
    potentials = [normal(seed + i, batch, n) for i, n in enumerate(network.sizes[1:])]
    jacobians = network.jacobians(potentials)
    # J_i of the paper takes the slope of every layer at its own potentials, so the chain is cut
    # into one factor a layer, each by autograd.
    for sample in range(batch):
        chain = torch.eye(network.sizes[-1], dtype=torch.float64)
        for i in range(network.depth, 0, -1):
            v = potentials[i - 1][sample]
            slope = autograd_jacobian(network.activations[i - 1].function, v)
            chain = chain @ slope
            torch.testing.assert_close(jacobians[i - 1][sample], chain, rtol=1e-12, atol=1e-14)
            chain = chain @ network.weights[i - 1].detach()


@given(small_networks(NAMES), seeds())
def test_jacobians_of_the_free_state_are_those_of_the_whole_map(
    network: Network, seed: int
) -> None:
    x = normal(seed, 1, network.sizes[0])
    potentials = network.potentials(x)
    for i, jacobian in enumerate(network.jacobians(potentials), start=1):
        whole = autograd_jacobian(partial(output_from, network, i), potentials[i - 1][0])
        torch.testing.assert_close(jacobian[0], whole, rtol=1e-11, atol=1e-13)


def test_a_network_worked_by_hand() -> None:
    network = Network([2, 1, 1], "relu")
    network.weights[0].data = torch.tensor([[2.0, -3.0]], dtype=torch.float64)
    network.biases[0].data = torch.tensor([0.5], dtype=torch.float64)
    network.weights[1].data = torch.tensor([[-4.0]], dtype=torch.float64)
    network.biases[1].data = torch.tensor([1.0], dtype=torch.float64)
    x = torch.tensor([[1.0, 0.5], [0.0, 1.0]], dtype=torch.float64)
    v_1, v_2 = network.potentials(x)
    assert v_1.tolist() == [[1.0], [-2.5]]  # 2 - 1.5 + 0.5 and -3 + 0.5
    assert v_2.tolist() == [[-3.0], [1.0]]  # 1 - 4 * 1 and 1 - 4 * relu(-2.5)
    j_1, j_2 = network.jacobians((v_1, v_2))
    assert j_2.tolist() == [[[1.0]], [[1.0]]]
    assert j_1.tolist() == [[[-4.0]], [[0.0]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_numbers_have_the_type_that_was_asked_for(dtype: torch.dtype) -> None:
    network = network_of([3, 5, 2], seed=3, dtype=dtype)
    x = normal(4, 7, 3).to(dtype)
    potentials = network.potentials(x)
    found = [*network.parameters(), network(x), *potentials, *network.jacobians(potentials)]
    assert {t.dtype for t in found} == {dtype}
    precise = network_of([3, 5, 2], seed=3)
    error = (network(x).double() - precise(x.double())).abs().max()
    assert error.item() < 20 * torch.finfo(dtype).eps


def test_float32_starts_from_the_rounded_weights_of_float64() -> None:
    single = Network([4, 3, 2], dtype=torch.float32, generator=generator(5))
    double = Network([4, 3, 2], generator=generator(5))
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        assert torch.equal(a, b.float())


def test_weights_start_from_the_glorot_normal_distribution_and_biases_from_zero() -> None:
    network = Network([300, 200, 100], generator=generator(6))
    for parameter, b in zip(network.weights, network.biases, strict=True):
        w = parameter.detach()
        count = w.numel()
        std = (2 / (w.shape[0] + w.shape[1])) ** 0.5
        # Standard errors: of the mean std / sqrt(n), of the deviation std / sqrt(2 n).
        assert abs(float(w.mean())) < 5 * std / count**0.5
        assert abs(float(w.std()) / std - 1) < 5 / (2 * count) ** 0.5
        assert not b.any()


def test_the_same_generator_gives_the_same_network() -> None:
    a, b, c = (Network([4, 3, 2], generator=generator(s)) for s in (7, 7, 8))
    assert torch.equal(a.weights[0], b.weights[0])
    assert not torch.equal(a.weights[0], c.weights[0])


@pytest.mark.parametrize("sizes", [[], [3], [3, 0], [3, -1, 2]])
def test_sizes_that_make_no_network_are_refused(sizes: list[int]) -> None:
    with pytest.raises(UserError) as error:
        Network(sizes)
    assert str(sizes) in str(error.value)
    assert "at least two numbers, all >= 1" in str(error.value)


@pytest.mark.parametrize("where", ["activation", "output_activation"])
def test_an_unknown_activation_is_answered_with_those_that_exist(where: str) -> None:
    with pytest.raises(UserError) as error:
        Network([3, 4, 2], **{where: "softplus"})  # type: ignore[arg-type]
    assert "'softplus'" in str(error.value)
    for name in NAMES:
        assert name in str(error.value)


@given(st.lists(st.sampled_from(NAMES), max_size=3), st.integers(1, 4), seeds())
def test_each_hidden_layer_may_have_an_activation_of_its_own(
    names: list[str], batch: int, seed: int
) -> None:
    network = Network([3, *[4] * len(names), 2], names, generator=generator(seed))
    x = normal(seed, batch, 3)
    torch.testing.assert_close(network(x), torchs_own(network)(x), rtol=1e-12, atol=1e-14)
    assert [phi.name for phi in network.activations] == [*names, "linear"]


@pytest.mark.parametrize("names", [["tanh"], ["tanh"] * 3, []])
def test_as_many_activations_as_hidden_layers_are_needed(names: list[str]) -> None:
    with pytest.raises(UserError, match=f"{len(names)} names for 2 hidden layers"):
        Network([3, 4, 4, 2], names)


def test_feedback_is_the_product_of_the_transposed_weights_by_hand() -> None:
    # Meulemans et al. 2021, eqs. 219 and 220: Q_3 = I, Q_2 = W_3^T, Q_1 = W_2^T W_3^T.
    network = Network([1, 2, 2, 2])
    network.weights[0].data = torch.tensor([[9.0], [9.0]], dtype=torch.float64)
    network.weights[1].data = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    network.weights[2].data = torch.tensor([[5.0, 6.0], [7.0, 8.0]], dtype=torch.float64)
    q_1, q_2, q_3 = DirectFeedback.transposed(network).matrices
    assert q_3.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert q_2.tolist() == [[5.0, 7.0], [6.0, 8.0]]
    assert q_1.tolist() == [[23.0, 31.0], [34.0, 46.0]]


@given(small_networks(), st.integers(1, 4), seeds())
def test_feedback_through_the_product_is_backpropagation_through_a_linear_network(
    network: Network, batch: int, seed: int
) -> None:
    linear = Network(network.sizes, "linear")
    linear.load_state_dict(network.state_dict())
    x, u = normal(seed, batch, network.sizes[0]), normal(seed + 1, batch, network.sizes[-1])
    potentials = linear.potentials(x)
    gradients = torch.autograd.grad((potentials[-1] * u).sum(), potentials)
    fed_back = DirectFeedback.transposed(network)(u)
    for q_u, gradient in zip(fed_back, gradients, strict=True):
        torch.testing.assert_close(q_u, gradient, rtol=1e-11, atol=1e-13)


def test_feedback_is_a_copy_that_learning_leaves_alone(network: Network) -> None:
    feedback = DirectFeedback.transposed(network)
    before = feedback.matrices[0].clone()
    network.weights[1].data += 1.0
    assert torch.equal(feedback.matrices[0], before)


def test_feedback_matrices_for_different_outputs_are_refused() -> None:
    with pytest.raises(UserError, match=r"\[2, 3\] columns; all need n_L"):
        DirectFeedback([torch.zeros(4, 2), torch.zeros(3, 3)])
