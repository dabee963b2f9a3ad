"""What the property-based tests draw: seeds, and small networks of the size of the prototype."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

from analogdfc.network import Network


def generator(seed: int) -> torch.Generator:
    """A source of random numbers of its own."""
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers in double precision."""
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def autograd_jacobian(f: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """Derivative of a vector by a vector, (n_out, n_in), row by row through autograd."""
    v = v.detach().requires_grad_()
    out = f(v)
    rows = [torch.autograd.grad(out_k, v, retain_graph=True)[0] for out_k in out]
    return torch.stack(rows)


def network_of(
    sizes: Sequence[int],
    seed: int = 0,
    *,
    activation: str = "tanh",
    dtype: torch.dtype = torch.float64,
) -> Network:
    """A network with weights N(0, 1.2^2 / n_in), as the prototype's, and biases N(0, 0.2^2)."""
    network = Network(sizes, activation, dtype=dtype)
    source = generator(seed)
    for w, b in zip(network.weights, network.biases, strict=True):
        spread = 1.2 / w.shape[1] ** 0.5
        for parameter, std in ((w, spread), (b, 0.2)):
            values = torch.randn(parameter.shape, dtype=torch.float64, generator=source)
            parameter.data.copy_(std * values)
    return network


def seeds() -> st.SearchStrategy[int]:
    """Seeds of random generators."""
    return st.integers(0, 2**31 - 1)


def layer_sizes(most: int = 6) -> st.SearchStrategy[list[int]]:
    """Layer sizes of networks with one to three layers."""
    return st.lists(st.integers(1, most), min_size=2, max_size=4)


@st.composite
def small_networks(
    draw: st.DrawFn, activations: Sequence[str] = ("tanh",), most: int = 6
) -> Network:
    """Networks of one to three layers, of at most `most` neurons each."""
    activation = draw(st.sampled_from(list(activations)))
    return network_of(draw(layer_sizes(most)), draw(seeds()), activation=activation)
