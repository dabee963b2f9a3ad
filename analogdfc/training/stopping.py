"""When a training ends: small rules that look at how far it is and at its figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from analogdfc.errors import UserError

F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)
F_contra = TypeVar("F_contra", contravariant=True)


class Progress(Protocol[F_co]):
    """What a stopping rule sees of a training.

    Attributes:
        epochs: complete epochs.
        seen: samples that forward learning has seen.
        history: the figures so far, oldest first.
    """

    @property
    def epochs(self) -> int:
        """Complete epochs."""

    @property
    def seen(self) -> int:
        """Samples that forward learning has seen."""

    @property
    def history(self) -> Sequence[F_co]:
        """The figures so far, oldest first."""


class Stop(ABC, Generic[F_contra]):
    """A rule that ends a training; `a | b` ends it when either does."""

    @abstractmethod
    def met(self, training: Progress[F_contra]) -> bool:
        """Whether a training is at its end; asked before each epoch and after each mini-batch.

        Args:
            training: how far it is.
        """

    def __or__(self: Stop[F], other: Stop[F]) -> Stop[F]:
        return FirstOf((self, other))


@dataclass(frozen=True)
class FirstOf(Stop[F_contra]):
    """The first of several rules.

    Attributes:
        rules: the rules.
    """

    rules: tuple[Stop[F_contra], ...]

    def met(self, training: Progress[F_contra]) -> bool:
        """See `Stop.met`."""
        return any(rule.met(training) for rule in self.rules)


@dataclass(frozen=True)
class Epochs(Stop[object]):
    """After so many epochs.

    Attributes:
        count: epochs, >= 0.

    Raises:
        UserError: a negative number.
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UserError(f"epochs = {self.count}: it must be >= 0")

    def met(self, training: Progress[object]) -> bool:
        """See `Stop.met`."""
        return training.epochs >= self.count


@dataclass(frozen=True)
class Budget(Stop[object]):
    """After so many samples of forward learning, rounded up to whole mini-batches.

    Attributes:
        samples: their number, >= 0.

    Raises:
        UserError: a negative number.
    """

    samples: int

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise UserError(f"samples = {self.samples}: it must be >= 0")

    def met(self, training: Progress[object]) -> bool:
        """See `Stop.met`."""
        return training.seen >= self.samples


@dataclass(frozen=True)
class Reached(Stop[F_contra]):
    """As soon as the last figures meet a target.

    Attributes:
        target: what the figure should reach.
        figure: takes it from the figures.
        rising: larger is better, as of an accuracy; else smaller is, as of a loss.
    """

    target: float
    figure: Callable[[F_contra], float]
    rising: bool = True

    def met(self, training: Progress[F_contra]) -> bool:
        """See `Stop.met`."""
        if not training.history:
            return False
        value = self.figure(training.history[-1])
        return value >= self.target if self.rising else value <= self.target


@dataclass(frozen=True)
class Patience(Stop[F_contra]):
    """When the figures have brought nothing better for so long.

    Attributes:
        figures: how many in a row, >= 1.
        figure: takes what should fall from the figures, such as the validation error.

    Raises:
        UserError: a number below 1.
    """

    figures: int
    figure: Callable[[F_contra], float]

    def __post_init__(self) -> None:
        if self.figures < 1:
            raise UserError(f"patience = {self.figures}: it must be >= 1")

    def met(self, training: Progress[F_contra]) -> bool:
        """See `Stop.met`."""
        if len(training.history) <= self.figures:
            return False
        values = [self.figure(figures) for figures in training.history]
        return len(values) - 1 - values.index(min(values)) >= self.figures
