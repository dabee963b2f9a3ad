"""Rules that others are measured against: backpropagation, direct feedback alignment, shallow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from analogdfc.feedback import DirectFeedback
from analogdfc.learning._deltas import (
    DeltaRule,
    Dropout,
    check_shapes,
    masked_run,
    propagate,
)
from analogdfc.learning.base import register
from analogdfc.losses import Loss
from analogdfc.network import Network


class ErrorDrivenOptions(TypedDict, total=False):
    """What all error-driven rules can be told; see `ErrorDriven`."""

    frozen: Sequence[int]
    dropout: Dropout | None
    generator: torch.Generator | None


class ErrorDriven(DeltaRule):
    """A rule that sends the output error to the layers, whose activations it leaves alone.

    Delta W_i = delta_i r_{i-1}^T, with delta_L = D_L e_L and the other delta_i as the rule says.

    Args:
        network: the network that learns.
        loss: the loss at the output; by default the squared error.
        frozen: numbers of the layers that do not learn, from 1 to L; see `DeltaRule`.
        dropout: neurons silenced while learning, the same in the pass up and down; by default none.
            The loss that `backward` returns is then that with silent neurons; the network itself
            answers without.
        generator: source of the masks, on the network's device; by default a new one with seed 0.

    Raises:
        UserError: a frozen layer that the network does not have, or none left to learn.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | None = None,
        *,
        frozen: Sequence[int] = (),
        dropout: Dropout | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(network, loss, frozen=frozen)
        self.dropout = dropout
        self.generator = generator or torch.Generator(network.weights[0].device).manual_seed(0)

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "dropout": self.dropout,
        }

    def generators(self) -> dict[str, torch.Generator]:
        """See `LearningRule.generators`."""
        return {"noise": self.generator}

    @abstractmethod
    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        """delta_1..delta_{L-1}, from delta_L and the slopes phi'(v_i) of all layers."""

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad`; see `LearningRule.backward`."""
        if self.dropout is None:
            up = self.network.run(x)
            slopes = self.network.slopes(up.v)
        else:
            up, slopes = masked_run(self.network, x, self.dropout, self.generator)
        last = self.loss.error(up.output, y) * slopes[-1]
        self._write_deltas([*self._hidden(last, slopes), last], up.inputs)
        return self.loss.value(up.output, y).mean()


@register(
    "bp",
    family="backpropagation",
    feedback="the transposed weights",
    local="no: feedback is the forward weights",
    local_time="yes, where errors have a path of their own",
    equation="delta_i = D_i W_{i+1}^T delta_{i+1}",
    source="Rumelhart et al. 1986",
)
class Backpropagation(ErrorDriven):
    """The gradient: delta_i = D_i W_{i+1}^T delta_{i+1}."""

    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        return propagate(error, [w.T for w in list(self.network.weights)[1:]], slopes)


@register(
    "dfa",
    family="feedback alignment",
    feedback="direct, fixed random",
    local="yes",
    local_time="yes, where errors have a path of their own",
    equation="delta_i = D_i Q_i delta_L",
    source="Nokland 2016",
)
class DirectFeedbackAlignment(ErrorDriven):
    """Fixed feedback from the output error to every layer: delta_i = D_i Q_i delta_L.

    Args:
        network: the network that learns.
        feedback: its feedback pathway; by default Glorot normal with seed 0.
        loss: the loss at the output; by default the squared error.
        options: as `ErrorDriven`.

    Raises:
        UserError: feedback matrices that do not fit the network, or as `ErrorDriven`.
    """

    feedback: DirectFeedback

    def __init__(
        self,
        network: Network,
        feedback: DirectFeedback | None = None,
        loss: Loss | None = None,
        **options: Unpack[ErrorDrivenOptions],
    ) -> None:
        super().__init__(network, loss, **options)
        source = torch.Generator().manual_seed(0)
        self.feedback = feedback or self.random_feedback(network, source)
        needed = [(n, network.sizes[-1]) for n in network.sizes[1:]]
        check_shapes(self.feedback.matrices, needed)

    @classmethod
    def random_feedback(cls, network: Network, generator: torch.Generator) -> DirectFeedback:
        """See `LearningRule.random_feedback`."""
        return DirectFeedback.random(network, generator)

    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        hidden = zip(self.feedback.matrices[:-1], slopes[:-1], strict=True)
        return [(error @ q.T) * slope for q, slope in hidden]


@register(
    "shallow",
    family="control",
    feedback="none",
    local="yes",
    local_time="yes",
    equation="delta_i = 0 for i < L, delta_L = D_L e_L",
    source="the output layer's gradient",
)
class Shallow(ErrorDriven):
    """Only the output layer learns."""

    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        return [torch.zeros_like(slope) for slope in slopes[:-1]]
