"""How a training starts: its weights, and its feedback weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback, Feedback, FeedbackWeights, NetworkFeedback
from analogdfc.learning import (
    DirectFeedbackAlignment,
    FeedbackAlignment,
    LearningRule,
    LoopFeedback,
    SequentialFeedback,
    SingleLoopInversion,
)
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.learning.inversion import Inversion
from analogdfc.network import Network
from analogdfc.storage import Model

__all__ = ["FeedbackStart", "InitialWeights", "feedback_of", "take_feedback", "take_weights"]

Make = Callable[[Network, torch.Generator], nn.Module]
"""Makes a feedback pathway of a network."""


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """Where weights and biases start.

    Attributes:
        kind: 'glorot' (normal, as `Network` has them), 'normal', 'uniform' or 'orthogonal', whose
            rows or columns, whichever are fewer, are orthonormal.
        scale: what the weights of 'glorot' and 'orthogonal' are multiplied with, >= 0, by default
            1; the standard deviation of 'normal'; the largest size of 'uniform'.
        biases: largest size of the biases, which are uniform, >= 0.

    Raises:
        UserError: an unknown kind, a value outside its range, or no scale where there is no
            default.
    """

    kind: Literal["glorot", "normal", "uniform", "orthogonal"] = "glorot"
    scale: float | None = None
    biases: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("glorot", "normal", "uniform", "orthogonal"):
            raise UserError(
                f"initial weights {self.kind!r}: there are glorot, normal, uniform, orthogonal"
            )
        if self.scale is None and self.kind in ("normal", "uniform"):
            raise UserError(f"initial weights: {self.kind} ones need a scale; say weights.scale")
        for name, value in (("scale", self.scale or 0.0), ("biases", self.biases)):
            if not (math.isfinite(value) and value >= 0):
                raise UserError(
                    f"initial weights: {name} = {value}: a finite number >= 0 is needed"
                )

    @torch.no_grad()
    def apply(self, network: Network, generator: torch.Generator) -> None:
        """Give a network, new as `Network` makes it, these weights and biases.

        Args:
            network: the network.
            generator: source of the numbers, on the CPU; nothing is drawn for Glorot's weights.
        """
        for w in network.weights:
            w.copy_(self._matrix(w, generator))
        if self.biases > 0:
            for b in network.biases:
                b.copy_(_uniform(b, self.biases, generator))

    def _matrix(self, w: Tensor, generator: torch.Generator) -> Tensor:
        scale = 1.0 if self.scale is None else self.scale
        if self.kind == "glorot":
            return w if scale == 1 else scale * w
        if self.kind == "uniform":
            return _uniform(w, scale, generator)
        drawn = torch.randn(w.shape, dtype=torch.float64, generator=generator)
        return scale * (_orthogonal(drawn) if self.kind == "orthogonal" else drawn)


def _uniform(like: Tensor, size: float, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(like.shape, dtype=torch.float64, generator=generator)
    return drawn.mul_(2 * size).sub_(size)


def _orthogonal(drawn: Tensor) -> Tensor:
    """The orthogonal matrix of normal numbers, uniformly distributed (Haar)."""
    tall = drawn if drawn.shape[0] >= drawn.shape[1] else drawn.T
    q, r = torch.linalg.qr(tall)
    found: Tensor = q * r.diagonal().sign()
    return found if tall is drawn else found.T


@dataclass(frozen=True, kw_only=True)
class FeedbackStart:
    """Where feedback weights start, and what the pathway of a control loop is made of.

    Attributes:
        spread: feedback to hidden layers is uniform within this size, > 0, as of Lillicrap et al.
            2016 and of the R-Init of Podlaski and Machens 2020; by default as the rule has it.
        width: neurons m of the stems of a feedback network g_i(u) = Q_i phi(A_i u) (Meulemans et
            al. 2021, App. H), at least n_L; None for direct feedback.
        activation: phi of the feedback network.
        shared: all layers share one stem.

    Raises:
        UserError: a value outside its range.
    """

    spread: float | None = None
    width: int | None = None
    activation: str = "tanh"
    shared: bool = False

    def __post_init__(self) -> None:
        if self.spread is not None and not (math.isfinite(self.spread) and self.spread > 0):
            raise UserError(f"feedback: spread = {self.spread}: a finite number > 0 is needed")
        if self.width is not None and self.width < 1:
            raise UserError(f"feedback: width = {self.width}: a stem has 1 neuron or more")
        if self.width is None and (self.activation != "tanh" or self.shared):
            raise UserError(
                "feedback: its activation and shared stems belong to a feedback network; say its "
                "width"
            )

    @classmethod
    def settings_of(cls, rule: type[LearningRule]) -> tuple[str, ...]:
        """The attributes that mean something to a rule.

        Args:
            rule: its class.
        """
        if issubclass(rule, FeedbackControl):
            return ("spread", "width", "activation", "shared")
        return ("spread",) if _random_of(rule) is not None else ()

    def make(self, rule: type[LearningRule], make: Make | None) -> Make | None:
        """What makes the pathway, in place of another.

        Args:
            rule: class of the rule.
            make: what makes it otherwise; None for the rule's own default.
        """
        first = make if self.spread is None else _Spread(_random_of(rule), self.spread)
        if self.width is None:
            return first
        assert first is not None
        return _Through(first, self)


def _random_of(rule: type[LearningRule]) -> type[SequentialFeedback | DirectFeedback] | None:
    """The kind of feedback weights of a rule whose spread can be chosen."""
    if issubclass(rule, SingleLoopInversion):
        return LoopFeedback
    if issubclass(rule, FeedbackAlignment | Inversion):
        return SequentialFeedback
    if issubclass(rule, FeedbackControl | DirectFeedbackAlignment):
        return DirectFeedback
    return None


@dataclass(frozen=True)
class _Spread:
    kind: type[SequentialFeedback | DirectFeedback] | None
    spread: float

    def __call__(self, network: Network, generator: torch.Generator) -> nn.Module:
        if self.kind is None:
            raise UserError("feedback: spread belongs to rules with random feedback to each layer")
        return self.kind.random(network, generator, self.spread)


@dataclass(frozen=True)
class _Through:
    """A feedback network that starts as a direct pathway."""

    first: Make
    start: FeedbackStart

    def __call__(self, network: Network, generator: torch.Generator) -> Feedback:
        direct = self.first(network, generator)
        assert isinstance(direct, DirectFeedback)
        assert self.start.width is not None
        return NetworkFeedback.like(
            direct,
            self.start.width,
            generator,
            activation=self.start.activation,
            shared=self.start.shared,
        )


@torch.no_grad()
def take_weights(network: Network, model: Model) -> None:
    """Start a network from the weights and biases of another.

    Args:
        network: the network.
        model: where they come from.

    Raises:
        UserError: other sizes or activations.
    """
    found = model.network
    if found.sizes != network.sizes:
        raise UserError(
            f"weights to start from: they make {'-'.join(map(str, found.sizes))}; the network is "
            f"{'-'.join(map(str, network.sizes))}"
        )
    wanted, given = ([phi.name for phi in n.activations] for n in (network, found))
    if wanted != given:
        raise UserError(
            f"weights to start from: their activations are {', '.join(given)}; those of the "
            f"network are {', '.join(wanted)}"
        )
    for mine, other in zip(network.parameters(), found.parameters(), strict=True):
        mine.copy_(other)


def feedback_of(rule: type[LearningRule], model: Model) -> FeedbackWeights | None:
    """The feedback weights that a rule can start from; None where a model has none for it.

    Args:
        rule: its class.
        model: the network in a file, with the feedback that it learned by.
    """
    if issubclass(rule, FeedbackControl):
        return None if model.assumed else model.feedback
    return model.pathway


@torch.no_grad()
def take_feedback(rule: LearningRule, model: Model) -> bool:
    """Start a rule's feedback weights from those of a model, where it has some of the same kind.

    Args:
        rule: the rule, of the model's sizes.
        model: where they come from.

    Returns:
        Whether it has.
    """
    found, own = feedback_of(type(rule), model), rule.feedback
    if not isinstance(own, FeedbackWeights) or type(found) is not type(own):
        return False
    given, mine = found.state_dict(), own.state_dict()
    if {k: t.shape for k, t in given.items()} != {k: t.shape for k, t in mine.items()}:
        return False
    for name, tensor in mine.items():
        tensor.copy_(given[name])
    return True
