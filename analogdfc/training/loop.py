"""The loop that every training goes through.

What differs between trainings is passed in: the phases of an epoch, each with its step and its
order of the samples; the figures and when they are taken; the rule that ends it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from analogdfc.datasets import Dataset, Samples
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning import LearningRule
from analogdfc.training.stopping import Stop

Step = Callable[[Tensor, Tensor], float]
"""Learns from a mini-batch, inputs (batch, n_0) and labels (batch, n_L); returns its mean loss."""

Order = Callable[[int], Tensor]
"""Indices of so many samples, in the order of a pass."""

Watch = Callable[[str, int], object]
"""Is told after each mini-batch of the phase and the samples it had."""

FORWARD = "forward"

F = TypeVar("F")


@dataclass(frozen=True)
class Phase:
    """One pass over the samples.

    Attributes:
        name: what it is, for progress.
        step: what is done with a mini-batch.
        order: order of the samples, asked for anew in each pass.
        counts: its samples count as seen, as those of forward learning do.
    """

    name: str
    step: Step
    order: Order
    counts: bool = True


@dataclass(frozen=True)
class Schedule:
    """When the figures are taken.

    Attributes:
        every: as soon as another so many samples have been seen, and at the end; >= 1. None takes
            them after each epoch.
        start: take them before the first epoch too.

    Raises:
        UserError: fewer than 1 sample.
    """

    every: int | None = None
    start: bool = False

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise UserError(f"every = {self.every}: figures are taken every 1 or more samples")

    def due(self, before: int, seen: int) -> bool:
        """Whether a mini-batch that has brought the samples seen to so many brings figures.

        Args:
            before: samples seen before it.
            seen: samples seen after it.
        """
        return self.every is not None and seen // self.every > before // self.every


class Training(Generic[F]):
    """Epochs of phases over mini-batches, until a rule says that it is enough.

    Args:
        data: the samples to learn from.
        epoch: the phases of an epoch, in turn.
        batch_size: samples of a mini-batch, >= 1.
        stop: when to end.
        evaluate: takes the figures of this training; None where nobody wants any.
        schedule: when it does; by default after each epoch.

    Attributes:
        epochs: complete epochs.
        seen: samples of the phases that count.
        batch: number of the mini-batch in its pass, from 1.
        inputs: the inputs of that mini-batch.
        mean_loss: loss in the last whole pass that counts, each mini-batch before its update.
        history: the figures so far.

    Raises:
        UserError: a mini-batch without samples.
    """

    def __init__(
        self,
        data: Samples | Dataset,
        epoch: Sequence[Phase],
        *,
        batch_size: int,
        stop: Stop[F],
        evaluate: Callable[[], F] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size = {batch_size}: it must be >= 1")
        self.learned = Samples(data.x, data.y)
        self.epoch = tuple(epoch)
        self.batch_size, self.stop = batch_size, stop
        self.evaluate, self.schedule = evaluate, schedule or Schedule()
        self.epochs = self.seen = self.batch = 0
        self.inputs = data.x[:0]
        self.mean_loss = math.nan
        self.history: list[F] = []
        self._taken: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the stopping rule is met."""
        return self.stop.met(self)

    def run(
        self,
        progress: Watch | None = None,
        completed: Callable[[Self], object] | None = None,
    ) -> None:
        """Train until the stopping rule is met.

        Args:
            progress: called after each mini-batch with the phase and the samples it had.
            completed: called after each epoch with this training. If either raises, it ends.

        Raises:
            ConvergenceError: training left the finite numbers.
        """
        watch = progress or ignore
        if self.schedule.start and self._taken is None:
            self._take()
        while not self.finished and all(self._pass(phase, watch) for phase in self.epoch):
            self.epochs += 1
            if self.schedule.every is None:
                self._take()
            if completed is not None:
                completed(self)
        if self.schedule.every is not None and self._taken != self.seen:
            self._take()

    def _pass(self, phase: Phase, watch: Watch) -> bool:
        """One pass over the samples; whether it went to its end."""
        x, y = self.learned
        total = 0.0
        parts = torch.split(phase.order(len(x)), self.batch_size)
        for self.batch, chosen in enumerate(parts, start=1):
            if phase.counts and self.batch > 1 and self.finished:
                return False
            index = self._share(chosen).to(x.device)
            self.inputs = x[index]
            total += phase.step(self.inputs, y[index]) * len(chosen)
            watch(phase.name, len(chosen))
            if phase.counts:
                before, self.seen = self.seen, self.seen + len(chosen)
                if self.schedule.due(before, self.seen):
                    self._take()
        if phase.counts:
            self.mean_loss = total / len(x)
        return True

    def _share(self, chosen: Tensor) -> Tensor:
        """Which samples of a mini-batch this process learns from."""
        return chosen

    def _take(self) -> None:
        self._taken = self.seen
        if self.evaluate is not None:
            self.history.append(self.evaluate())


def shuffled(generator: torch.Generator) -> Order:
    """A random order, drawn anew for each pass.

    Args:
        generator: its source, on the CPU.
    """
    return _Shuffled(generator)


@dataclass(frozen=True)
class _Shuffled:
    generator: torch.Generator

    def __call__(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self.generator)


def descent(rule: LearningRule, optimizer: torch.optim.Optimizer) -> Step:
    """The plain step of forward learning: the rule's gradient, then the optimiser.

    Args:
        rule: the learning rule; it fills `.grad` of its network.
        optimizer: makes the steps.

    Returns:
        A step that raises `ConvergenceError` where the loss leaves the finite numbers.
    """
    return _Descent(rule, optimizer)


@dataclass(frozen=True)
class _Descent:
    rule: LearningRule
    optimizer: torch.optim.Optimizer

    def __call__(self, x: Tensor, y: Tensor) -> float:
        self.optimizer.zero_grad()
        loss = float(self.rule.backward(x, y))
        if not math.isfinite(loss):
            raise ConvergenceError("the loss left the finite numbers")
        self.optimizer.step()
        return loss


def ignore(phase: str, samples: int) -> None:
    """Progress that nobody watches."""
