"""Rules that others are measured against: backpropagation, direct feedback alignment, shallow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from analogdfc.feedback import DirectFeedback
from analogdfc.learning.base import LearningRule, register
from analogdfc.losses import Loss, SquaredError
from analogdfc.network import Network


class ErrorDriven(LearningRule):
    """A rule that sends the output error to the layers, whose activations it leaves alone.

    Delta W_i = delta_i r_{i-1}^T, with delta_L = D_L e_L and the other delta_i as the rule says.

    Args:
        network: the network that learns.
        loss: the loss at the output; by default the squared error.
    """

    def __init__(self, network: Network, loss: Loss | None = None) -> None:
        super().__init__(network)
        self.loss = loss or SquaredError()

    @abstractmethod
    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        """delta_1..delta_{L-1}, from delta_L and the slopes phi'(v_i) of all layers."""

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad`; see `LearningRule.backward`."""
        v = self.network.potentials(x)
        r = [phi.function(vi) for phi, vi in zip(self.network.activations, v, strict=True)]
        slopes = [phi.derivative(vi) for phi, vi in zip(self.network.activations, v, strict=True)]
        last = self.loss.error(r[-1], y) * slopes[-1]
        deltas = [*self._hidden(last, slopes), last]
        inputs = [x, *r[:-1]]
        self._write(
            [d.T @ p / len(x) for d, p in zip(deltas, inputs, strict=True)],
            [d.mean(dim=0) for d in deltas],
        )
        return self.loss.value(r[-1], y).mean()


@register("bp", family="backpropagation", local="no", source="Rumelhart et al. 1986")
class Backpropagation(ErrorDriven):
    """The gradient: delta_i = D_i W_{i+1}^T delta_{i+1}."""

    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        out: list[Tensor] = []
        for i in range(self.network.depth - 2, -1, -1):
            error = (error @ self.network.weights[i + 1]) * slopes[i]
            out.insert(0, error)
        return out


@register("dfa", family="feedback alignment", local="space and time", source="Nokland 2016")
class DirectFeedbackAlignment(ErrorDriven):
    """Fixed feedback from the output error to every layer: delta_i = D_i Q_i e_L.

    Args:
        network: the network that learns.
        feedback: its feedback pathway; by default Glorot normal with seed 0.
        loss: the loss at the output; by default the squared error.
    """

    def __init__(
        self,
        network: Network,
        feedback: DirectFeedback | None = None,
        loss: Loss | None = None,
    ) -> None:
        super().__init__(network, loss)
        self.feedback = feedback or DirectFeedback.random(network, torch.Generator().manual_seed(0))

    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        hidden = zip(self.feedback.matrices[:-1], slopes[:-1], strict=True)
        return [(error @ q.T) * slope for q, slope in hidden]


@register("shallow", family="control", local="space and time", source="the output layer's gradient")
class Shallow(ErrorDriven):
    """Only the output layer learns."""

    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        return [torch.zeros_like(slope) for slope in slopes[:-1]]
