"""How the learning rate of a training falls from epoch to epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from analogdfc.errors import UserError

__all__ = ["DECAYS", "LinearDecay", "NoDecay", "RateDecay", "StepDecay"]


class RateDecay(ABC):
    """The course of the learning rate over a training."""

    @abstractmethod
    def share(self, passed: int, epochs: int) -> float:
        """What is left of the learning rate that a training began with, as a share of it.

        Args:
            passed: epochs that are over, fewer than all.
            epochs: all of the training.
        """


@dataclass(frozen=True)
class NoDecay(RateDecay):
    """The learning rate stays."""

    def share(self, passed: int, epochs: int) -> float:
        """See `RateDecay`."""
        return 1.0


@dataclass(frozen=True)
class LinearDecay(RateDecay):
    """The learning rate falls by the same amount with each epoch, to 1 / epochs in the last."""

    def share(self, passed: int, epochs: int) -> float:
        """See `RateDecay`."""
        return 1 - passed / epochs


@dataclass(frozen=True)
class StepDecay(RateDecay):
    """The learning rate falls to a tenth at once, some times.

    Attributes:
        after: epochs after each of which it falls, >= 1.

    Raises:
        UserError: an epoch before the first.
    """

    after: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if any(epoch < 1 for epoch in self.after):
            raise UserError(f"after = {self.after}: the rate falls after epoch 1 or a later one")

    def share(self, passed: int, epochs: int) -> float:
        """See `RateDecay`."""
        falls: float = 0.1 ** sum(passed >= epoch for epoch in self.after)
        return falls


DECAYS: dict[str, type[RateDecay]] = {"none": NoDecay, "linear": LinearDecay, "steps": StepDecay}
