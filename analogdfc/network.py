"""The feedforward network whose weights are learned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from analogdfc.activations import Activation, activate, get_activation
from analogdfc.errors import UserError
from analogdfc.memory import check_memory
from analogdfc.products import affine
from analogdfc.states import State, checked

__all__ = ["Forward", "Network", "check_network", "forward_pass"]


EXTRA_STATE = "_extra_state"
"""What PyTorch calls the state of a module that is no parameter, in a `state_dict`."""


class Forward(NamedTuple):
    """Signals of all layers under a batch of inputs: the forward pass, or the layers at rest.

    Attributes:
        v: potentials v_1..v_L, (batch, n_i).
        v_ff: feedforward compartments W_i r_{i-1} + b_i of layers 1..L, (batch, n_i); without
            feedback they are the potentials.
        r: activations r_0..r_L, (batch, n_i), with the input r_0.
    """

    v: tuple[Tensor, ...]
    v_ff: tuple[Tensor, ...]
    r: tuple[Tensor, ...]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What layers 1..L receive, r_0..r_{L-1}."""
        return self.r[:-1]

    @property
    def output(self) -> Tensor:
        """Output r_L, (batch, n_L)."""
        return self.r[-1]


def forward_pass(layers: Iterable[tuple[Tensor, Tensor, Activation]], x: Tensor) -> Forward:
    """Layers without feedback, r_i = phi(W_i r_{i-1} + b_i) (Meulemans et al. 2021, eq. 2).

    Args:
        layers: W_i, (n_i, n_{i-1}), b_i, (n_i,), and the nonlinearity of each layer.
        x: input r_0, (batch, n_0).

    Raises:
        UserError: another number of inputs than the first layer has.
    """
    v: list[Tensor] = []
    r = [x]
    for w, b, phi in layers:
        if not v and x.shape[-1:] != w.shape[1:]:
            raise UserError(
                f"inputs {tuple(x.shape)} do not fit the first layer: expected (batch, "
                f"{w.shape[1]})"
            )
        # Where a gradient is wanted it may be one of torch.func's, which NumPy knows nothing of.
        v.append((linear if torch.is_grad_enabled() else affine)(r[-1], w, b))
        r.append(activate(phi, v[-1]))
    return Forward(tuple(v), tuple(v), tuple(r))


class Network(nn.Module):
    """A multilayer perceptron, r_i = phi(W_i r_{i-1} + b_i) (Meulemans et al. 2021, eq. 2).

    Args:
        sizes: neurons of layers 0 (the input) to L, at least two numbers, all >= 1.
        activation: nonlinearity of the hidden layers: one name for all, or one name a layer.
        output_activation: nonlinearity of the last layer.
        dtype: floating type of the parameters.
        device: where they live.
        generator: source of the initial weights (on the CPU, so that every device starts alike).

    The weights start from the Glorot normal distribution, the biases from 0 (App. F.2).

    Raises:
        UserError: sizes or the name of an activation that make no network, or more weights than
            this machine holds.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Sequence[str] = "tanh",
        output_activation: str = "linear",
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or any(n < 1 for n in sizes):
            raise UserError(f"layer sizes {list(sizes)}: give at least two numbers, all >= 1")
        self.sizes = tuple(int(n) for n in sizes)
        count = sum(a * b for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=True))
        shown = "-".join(map(str, self.sizes))
        # While a matrix is drawn it is there twice.
        check_memory(2 * count, f"layer sizes {shown}: {count:.3g} weights")
        self.activations: tuple[Activation, ...] = (
            *map(get_activation, _names(activation, len(sizes) - 2)),
            get_activation(output_activation),
        )
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for n_in, n_out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            std = (2 / (n_in + n_out)) ** 0.5
            w = torch.randn(n_out, n_in, dtype=torch.float64, generator=generator) * std
            self.weights.append(nn.Parameter(w.to(dtype=dtype, device=device)))
            self.biases.append(nn.Parameter(torch.zeros(n_out, dtype=dtype, device=device)))

    @property
    def depth(self) -> int:
        """Number of layers L, the input not counted."""
        return len(self.sizes) - 1

    def run(self, x: Tensor) -> Forward:
        """Signals of all layers without feedback.

        Args:
            x: input r_0, (batch, n_0).
        """
        return forward_pass(zip(self.weights, self.biases, self.activations, strict=True), x)

    def potentials(self, x: Tensor) -> tuple[Tensor, ...]:
        """Potentials v_1..v_L without feedback, (batch, n_i), of the input (batch, n_0).

        Args:
            x: input r_0, (batch, n_0).
        """
        return self.run(x).v

    def forward(self, x: Tensor) -> Tensor:
        """Output r_L, (batch, n_L), of the input (batch, n_0).

        Args:
            x: input r_0, (batch, n_0).
        """
        return self.run(x).output

    def slopes(self, v: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Slopes phi'(v_i) at the potentials of layers 1..L, (batch, n_i).

        Args:
            v: potentials of layers 1..L, (batch, n_i).
        """
        return tuple(phi.derivative(vi) for phi, vi in zip(self.activations, v, strict=True))

    def jacobians(self, v: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Jacobians of the output with respect to each layer's potentials.

        J_L = D_L and J_i = J_{i+1} W_{i+1} D_i, with D_i = diag(phi'(v_i)) (Meulemans et al. 2021,
        Lemma 1).

        Args:
            v: potentials of layers 1..L, (batch, n_i).

        Returns:
            dr_L / dv_i for i = 1..L, each (batch, n_L, n_i).
        """
        slopes = self.slopes(v)
        out = [torch.diag_embed(slopes[-1])]
        for i in range(self.depth - 2, -1, -1):
            w = self.weights[i + 1]
            # Of the first product, one factor is diagonal.
            above = slopes[-1].unsqueeze(-1) * w if len(out) == 1 else out[-1] @ w
            out.append(above * slopes[i].unsqueeze(-2))
        return tuple(reversed(out))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        # Of a network on devices, this one takes the weights that were read last.
        *_, unexpected, _errors = args
        super()._load_from_state_dict(state_dict, prefix, *args)
        key = f"{prefix}{EXTRA_STATE}"
        if key in unexpected:
            unexpected.remove(key)

    def hidden_state(self) -> State:
        """What the network keeps from step to step beside its parameters: nothing."""
        return {}

    def load_hidden_state(self, state: Mapping[str, Tensor | int | float]) -> None:
        """Go on where another network was.

        Args:
            state: of its `hidden_state`.

        Raises:
            StateError: a part is missing, belongs to nothing here, or has another shape or type.
        """
        checked(state, self.hidden_state())


def check_network(network: object) -> None:
    """Make sure that something is a network of this package.

    Args:
        network: what was given for one.

    Raises:
        UserError: it isn't, such as a module of another kind.
    """
    if not isinstance(network, Network):
        raise UserError(
            f"network: a {type(network).__name__} is no analogdfc.Network, whose layers rules "
            "and loops know; make one with Network(sizes, activation), or of a torch.nn.Sequential "
            "with analogdfc.importing.from_sequential"
        )


def _names(activation: str | Sequence[str], hidden: int) -> list[str]:
    """Names of the nonlinearities of the hidden layers."""
    if isinstance(activation, str):
        get_activation(activation)  # an unknown name is an error without hidden layers too
        return [activation] * hidden
    if len(activation) != hidden:
        raise UserError(
            f"activations {', '.join(activation)}: {len(activation)} names for {hidden} hidden "
            "layers; give one name for all or one a hidden layer"
        )
    return list(activation)
