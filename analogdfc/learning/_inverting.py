"""What the rules that invert through control loops share: controls, monitoring, feedback."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from analogdfc.activations import Activation
from analogdfc.controller import Controller
from analogdfc.dynamics.abscissa import Stabiliser
from analogdfc.dynamics.inversion import ControllerLoop, FastLoop, InversionLoop
from analogdfc.dynamics.settling import ROUNDING, unstable
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import recorded
from analogdfc.learning._deltas import SequentialFeedback, check_shapes
from analogdfc.learning.controls import ErrorDriven
from analogdfc.losses import Loss
from analogdfc.network import Network, check_network


@dataclass(frozen=True)
class FastControl:
    """The alternative control for expanding layers (Podlaski and Machens 2020, eqs. S1 and S2).

    Attributes:
        alpha: leak, >= 0; above 0 where the layer contracts.

    Raises:
        UserError: a leak out of range.
    """

    alpha: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < math.inf:
            raise UserError(f"{self}: a finite alpha >= 0 is required")


Control = Controller | FastControl
"""How a layer is controlled: eqs. 5 and 8 for a controller, or eqs. S1 and S2."""


@dataclass(frozen=True)
class Monitor:
    """Watches the stability of the loops while the weights change, and restores it.

    Attributes:
        every: batches between two looks, >= 1.
        stabiliser: changes the feedback weights of a loop that has become unstable; None to stop
            with an error instead.

    Raises:
        UserError: no batches between two looks.
    """

    every: int = 1
    stabiliser: Stabiliser | None = field(default_factory=Stabiliser)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UserError(f"{self}: every >= 1 is required")


@recorded("loop")
class LoopFeedback(SequentialFeedback):
    """Feedback from the output to the first hidden layer, for the single loop.

    Args:
        matrices: the only one, Q, (n_1, n_L); none for a network without hidden layers.
    """

    @classmethod
    def random(
        cls, network: Network, generator: torch.Generator, spread: float | None = None
    ) -> LoopFeedback:
        """Uniform numbers centred on 0; see `SequentialFeedback.random`."""
        check_network(network)
        ends = Network([1, network.sizes[1], network.sizes[-1]], generator=torch.Generator())
        drawn = SequentialFeedback.random(ends.to(network.weights[0]), generator, spread)
        return cls(list(drawn.matrices)[: network.depth - 1])

    @classmethod
    def transposed(cls, network: Network) -> LoopFeedback:
        """The transposed product of the weights as they are now, W_2^T ... W_L^T.

        Args:
            network: the network whose weights W_2..W_L are multiplied.
        """
        check_network(network)
        hidden = [w.detach().T for w in list(network.weights)[1:]]
        return cls([_product(hidden)] if hidden else [])


def _product(matrices: Sequence[Tensor]) -> Tensor:
    out = matrices[0]
    for m in matrices[1:]:
        out = out @ m
    return out


class Watched(NamedTuple):
    """A loop with the parameter that holds its feedback weights.

    Attributes:
        name: what messages call it.
        loop: the loop, with the weights as they are now.
        feedback: the parameter.
    """

    name: str
    loop: ControllerLoop | FastLoop
    feedback: Tensor


class Inversion(ErrorDriven):
    """What the inversions through feedback weights share.

    Args:
        network: the network that learns.
        feedback: Q_2..Q_L; by default the transposed weights (Tr-Init). Stabilised in place.
        loss: the loss at the output; by default the squared error.
        monitor: watches the loops, when the rule is made and in training; by default a
            `Monitor()`.
        max_norm: bound on the norm of each sample's hidden errors, > 0; by default none. They are
            bounded once all have been found.
        frozen: numbers of the layers that do not learn; see `DeltaRule`.

    Raises:
        UserError: a network or feedback that the rule can't work with.
        ConvergenceError: a loop that is unstable and can't be made stable.
    """

    feedback: SequentialFeedback

    def __init__(
        self,
        network: Network,
        feedback: SequentialFeedback | None = None,
        loss: Loss | None = None,
        *,
        monitor: Monitor | None = None,
        max_norm: float = math.inf,
        frozen: Sequence[int] = (),
    ) -> None:
        super().__init__(network, loss, frozen=frozen)
        self.feedback = self._initial() if feedback is None else feedback
        self.monitor = monitor or Monitor()
        self.max_norm = checked_norm(max_norm)
        self.stabilisations = 0
        self._batches = 0
        self._at_start: list[str] = []
        needed = [tuple(q.shape) for q in self._initial().matrices]
        check_shapes(self.feedback.matrices, needed)
        with torch.no_grad():
            for watched in self.loops():
                _refuse_endless(watched)
            self._watch()

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "monitor": self.monitor,
            "max_norm": self.max_norm,
        }

    def counters(self) -> dict[str, int]:
        """Batches seen, which decide when the loops are looked at, and how often one was changed.

        Under `batches` and `stabilisations`.
        """
        return {"batches": self._batches, "stabilisations": self.stabilisations}

    def _count_on(self, counts: Mapping[str, int]) -> None:
        self._batches, self.stabilisations = counts["batches"], counts["stabilisations"]

    def notes(self) -> list[str]:
        """Which loops were unstable when the rule was made, and how often one was changed."""
        out = [
            f"{loop}; its feedback weights were changed to make it stable"
            for loop in self._at_start
        ]
        if later := self.stabilisations - len(self._at_start):
            out.append(
                f"loops that became unstable while learning had their feedback weights "
                f"changed {later} times"
            )
        return [*super().notes(), *out]

    @abstractmethod
    def loops(self) -> list[Watched]:
        """The loops with the present weights, the output's first."""

    def abscissas(self) -> list[float]:
        """Largest real part of each loop's eigenvalues (eq. S9), the output's loop first.

        Per unit of time; a loop is stable where it is below 0.
        """
        return [watched.loop.abscissa() for watched in self.loops()]

    def _initial(self) -> SequentialFeedback:
        return SequentialFeedback.transposed(self.network)

    @abstractmethod
    def _inverted(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        """delta_1..delta_{L-1} before their norm is bounded; see `ErrorDriven`."""

    def _hidden(self, error: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
        if self._batches % self.monitor.every == 0:
            self._watch()
        self._batches += 1
        return bounded(self._inverted(error, slopes), self.max_norm)

    def _watch(self) -> None:
        """Stabilise the loops that need it."""
        for name, loop, feedback in self.loops():
            if loop.is_stable(ROUNDING):
                self._accept(name, loop)
                continue
            slowest = loop.abscissa()
            if self.monitor.stabiliser is None:
                raise ConvergenceError(f"{name}: {unstable(slowest)}")
            change = _system(loop)
            try:
                found = self.monitor.stabiliser.stabilise(change, loop.feedback, loop.floor)
            except ConvergenceError as error:
                raise ConvergenceError(f"{name}: {error}") from error
            feedback.copy_(found)
            self.stabilisations += 1
            if not self._batches:
                self._at_start.append(
                    f"{name} was unstable from the start, slowest mode {slowest:+.3g} per unit of "
                    "time"
                )
            self._accept(name, replace(loop, feedback=found))

    def _accept(self, name: str, loop: InversionLoop) -> None:
        """Raise an error if a stable loop is still of no use."""

    def _layer_loop(self, layer: int, control: Control) -> Watched:
        """The loop through which layer l, counted from 2, controls the one below."""
        w = self.network.weights[layer - 1].detach()
        phi = self.network.activations[layer - 2]
        q = self.feedback.matrices[layer - 2]
        return Watched(f"layer {layer}", _loop(control, w, phi, q.detach()), q)


def _loop(control: Control, w: Tensor, phi: Activation, q: Tensor) -> ControllerLoop | FastLoop:
    if isinstance(control, FastControl):
        return FastLoop(w, phi, q, control.alpha)
    return ControllerLoop((w,), (phi,), q, control)


def _system(loop: ControllerLoop | FastLoop) -> Callable[[Tensor], Tensor]:
    """The loop's matrix as a function of its feedback weights."""
    return lambda q: replace(loop, feedback=q).matrix()


def _refuse_endless(watched: Watched) -> None:
    """Raise an error for a loop whose shape leaves something without decay."""
    name, loop, q = watched
    if loop.floor < 0:
        return
    if isinstance(loop, FastLoop):
        raise UserError(
            f"{name} contracts from {q.shape[0]} to {q.shape[1]} neurons: with FastControl and "
            "alpha = 0 its errors would never settle; set alpha > 0, or use a Controller"
        )
    below = min(w.shape[1] for w in loop.weights)
    raise UserError(
        f"{name} expands from {below} to {q.shape[1]} neurons: with alpha = 0 the control signal "
        "would never settle, since W Q is singular; set alpha > 0 or, for a single layer, use "
        "FastControl"
    )


def checked_norm(max_norm: float) -> float:
    """The bound on a norm, > 0, or a UserError."""
    if not max_norm > 0:
        raise UserError(f"max_norm = {max_norm}: a bound > 0 is needed")
    return max_norm


def bounded(deltas: list[Tensor], max_norm: float) -> list[Tensor]:
    """Errors, (batch, n_i), scaled down to a norm."""
    if max_norm == math.inf:
        return deltas
    return [d * (max_norm / d.norm(dim=1, keepdim=True)).clamp(max=1.0) for d in deltas]
