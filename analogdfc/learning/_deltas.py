"""What the rules share that give each layer an error delta_i and learn from delta_i r_{i-1}^T."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from analogdfc.errors import UserError
from analogdfc.feedback import FeedbackWeights, numbered, recorded
from analogdfc.learning.base import LearningRule
from analogdfc.losses import Loss
from analogdfc.network import Forward, Network, check_network


@dataclass(frozen=True)
class Dropout:
    """Neurons silenced at random while learning (Lillicrap et al. 2016, note 5, after Hinton 2012).

    A neuron that stays is 1 / (1 - p) times as active, so that the network as it is, without
    dropout, answers with the mean of the networks that learned.

    Attributes:
        hidden: probability p that a hidden neuron is silent for a sample, in [0, 1).
        inputs: the same for the inputs.

    Raises:
        UserError: a probability out of range.
    """

    hidden: float = 0.5
    inputs: float = 0.0

    def __post_init__(self) -> None:
        for name, p in (("hidden", self.hidden), ("inputs", self.inputs)):
            if not 0 <= p < 1:
                raise UserError(f"dropout: {name} = {p}; a probability in [0, 1) is needed")

    def mask(self, like: Tensor, layer: int, generator: torch.Generator) -> Tensor | None:
        """Factors of the activations of a layer: 0 or 1 / (1 - p); None where none is silenced.

        Args:
            like: activations, (batch, n_i).
            layer: number of the layer, 0 for the inputs.
            generator: source of the mask.
        """
        p = self.inputs if layer == 0 else self.hidden
        if p == 0:
            return None
        draw = torch.rand(like.shape, dtype=like.dtype, device=like.device, generator=generator)
        return (draw >= p).to(like.dtype) / (1 - p)


def masked_run(
    network: Network, x: Tensor, dropout: Dropout, generator: torch.Generator
) -> tuple[Forward, tuple[Tensor, ...]]:
    """Run a batch through the network with some of its neurons silent.

    Args:
        network: the network.
        x: inputs, (batch, n_0).
        dropout: silences neurons.
        generator: source of the masks, on the network's device.

    Returns:
        The forward pass with activations behind the masks, and the slopes phi'(v_i) of layers 1..L,
        (batch, n_i), behind them too, so that the way down meets the neurons of the way up.
    """
    mask = dropout.mask(x, 0, generator)
    v: list[Tensor] = []
    slopes: list[Tensor] = []
    r = [x if mask is None else x * mask]
    layers = zip(network.weights, network.biases, network.activations, strict=True)
    for i, (w, b, phi) in enumerate(layers, start=1):
        v.append(linear(r[-1], w, b))
        r.append(phi.function(v[-1]))
        slopes.append(phi.derivative(v[-1]))
        if i < network.depth and (mask := dropout.mask(v[-1], i, generator)) is not None:
            r[-1] = r[-1] * mask
            slopes[-1] = slopes[-1] * mask
    return Forward(tuple(v), tuple(v), tuple(r)), tuple(slopes)


def propagate(delta: Tensor, matrices: Sequence[Tensor], slopes: Sequence[Tensor]) -> list[Tensor]:
    """Send the output's error down layer by layer, delta_i = D_i M_{i+1} delta_{i+1}.

    With M_{i+1} = W_{i+1}^T that is backpropagation, with fixed random matrices B_{i+1} feedback
    alignment (Lillicrap et al. 2016, eq. 71), with pseudo-inverses W_{i+1}^+ pseudobackprop
    (note 15).

    Args:
        delta: delta_L, (batch, n_L).
        matrices: M_2..M_L, each (n_{i-1}, n_i).
        slopes: phi'(v_i), at least of layers 1..L-1, (batch, n_i).

    Returns:
        delta_1..delta_{L-1}, (batch, n_i).
    """
    out: list[Tensor] = []
    for i in range(len(matrices) - 1, -1, -1):
        delta = (delta @ matrices[i].T) * slopes[i]
        out.append(delta)
    return out[::-1]


def check_shapes(matrices: Iterable[Tensor], needed: Sequence[tuple[int, ...]]) -> None:
    """Make sure that feedback matrices fit a network.

    Raises:
        UserError: they don't; the message has both shapes.
    """
    shapes = [tuple(q.shape) for q in matrices]
    if shapes != list(needed):
        raise UserError(f"feedback matrices of shapes {shapes}; the network needs {list(needed)}")


@recorded("sequential")
class SequentialFeedback(FeedbackWeights):
    """Feedback from each layer's error to the layer below it.

    Args:
        matrices: B_2..B_L, each (n_{i-1}, n_i); none for a network without hidden layers.

    Attributes:
        matrices: the same, as parameters.
    """

    def __init__(self, matrices: Sequence[Tensor]) -> None:
        super().__init__()
        self.matrices = nn.ParameterList(nn.Parameter(b.detach().clone()) for b in matrices)

    @classmethod
    def random(
        cls, network: Network, generator: torch.Generator, spread: float | None = None
    ) -> SequentialFeedback:
        """Uniform numbers centred on 0 (Lillicrap et al. 2016, note 5).

        Args:
            network: the network whose layers they join.
            generator: source of the numbers, on the CPU.
            spread: largest size of an element, > 0; the 30-20-10 task has 0.5. By default that of
                Glorot's uniform distribution, sqrt(6 / (n_{i-1} + n_i)).

        Raises:
            UserError: a spread that is not finite and above 0.
        """
        check_network(network)
        if spread is not None and not (math.isfinite(spread) and spread > 0):
            raise UserError(f"feedback matrices: spread = {spread} is not finite and above 0")
        out = []
        for w in list(network.weights)[1:]:
            size = math.sqrt(6 / sum(w.shape)) if spread is None else spread
            b = torch.rand(w.shape[1], w.shape[0], dtype=torch.float64, generator=generator)
            out.append(b.mul_(2 * size).sub_(size).to(w))
        return cls(out)

    @classmethod
    def rebuilt(cls, arrays: Mapping[str, Tensor], texts: Mapping[str, list[str]]) -> Self:
        """See `FeedbackWeights.rebuilt`."""
        return cls(numbered(arrays, "matrices"))

    @classmethod
    def transposed(cls, network: Network) -> SequentialFeedback:
        """The transposed weights as they are now, with which the errors are backpropagation's.

        Args:
            network: the network whose weights W_2..W_L are transposed.
        """
        check_network(network)
        return cls([w.detach().T for w in list(network.weights)[1:]])


class DeltaRule(LearningRule):
    """A rule whose update is Delta W_i = delta_i r_{i-1}^T, Delta b_i = delta_i.

    Args:
        network: the network that learns.
        loss: the loss at the output; by default the squared error.
        frozen: numbers of the layers that do not learn, from 1 to L. Their weights and biases get
            no gradient at all, so that momentum and weight decay leave them alone too.

    Raises:
        UserError: a frozen layer that the network does not have, or none left to learn.
    """

    def __init__(
        self, network: Network, loss: Loss | None = None, *, frozen: Sequence[int] = ()
    ) -> None:
        super().__init__(network, loss)
        self.frozen = tuple(sorted(set(frozen)))
        if unknown := [i for i in self.frozen if not 1 <= i <= network.depth]:
            raise UserError(f"frozen layer {unknown[0]}: layers are 1 to {network.depth}")
        if len(self.frozen) == network.depth:
            raise UserError("all layers are frozen: nothing is left to learn")

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "frozen": self.frozen,
        }

    def _write_deltas(self, deltas: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
        """Fill `.grad` from delta_1..delta_L and r_0..r_{L-1}, averaged over the batch."""
        # Sign and count go into the smaller factor: a pass over the weights costs as the product.
        scaled = [d / -len(inputs[0]) for d in deltas]
        self._give(
            [d.T @ r for d, r in zip(scaled, inputs, strict=True)],
            [d.sum(dim=0) for d in scaled],
        )
        for i in self.frozen:
            self.network.weights[i - 1].grad = None
            self.network.biases[i - 1].grad = None
