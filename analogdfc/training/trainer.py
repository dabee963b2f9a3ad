"""The trainer: epochs of forward and of feedback learning, with figures after each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from analogdfc.datasets import Dataset, Samples
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning import LearningRule
from analogdfc.losses import Loss
from analogdfc.training.divergence import (
    GROWTH,
    diagnose,
    finite,
    first_not_finite,
    largest_parameter,
    parameters_of,
    snapshot,
)
from analogdfc.training.metrics import Metrics, Score, are_classes, evaluate
from analogdfc.training.optimizers import clip_each, clip_together
from analogdfc.training.plan import Plan

Progress = Callable[[str, int], object]
FORWARD, FEEDBACK, PRETRAINING = "forward", "feedback", "pre-training"


@runtime_checkable
class LearnsFeedback(Protocol):
    """A rule whose feedback weights can be learned."""

    feedback: nn.Module
    generator: torch.Generator

    def feedback_backward(self, x: Tensor) -> None:
        """Fill `.grad` of the feedback weights."""


class Trainer:
    """Trains the network of a rule, and can be stopped and taken up after each epoch.

    The course: `pretraining_epochs` of feedback learning, then epochs of `before` feedback epochs,
    one forward epoch, `after` feedback epochs and the figures. `analogdfc.training.checkpoints`
    writes and reads the state between two epochs.

    Args:
        rule: the learning rule; the loss is its own.
        data: samples, on the device and of the type of the network.
        plan: what to do.
        generator: order of the samples, on the CPU.

    Attributes:
        history: figures of the epochs so far.
        pretrained: pre-training epochs so far.
        first_loss: loss of the very first mini-batch; None before it.
        optimizers: by phase.
        generators: sources of random numbers that training draws from, by use.

    Raises:
        UserError: data that do not fit the network, a patience without validation samples, or
            feedback learning of a rule without.
    """

    def __init__(
        self, rule: LearningRule, data: Dataset, plan: Plan, *, generator: torch.Generator
    ) -> None:
        _check_fit(rule, data)
        if plan.patience is not None and data.validation is None:
            raise UserError("early stopping needs validation samples, and the data have none")
        self.rule, self.data, self.plan = rule, data, plan
        self.loss = loss_of(rule)
        self.classes = are_classes(data.y)
        self.history: list[Metrics] = []
        self.pretrained = 0
        self.first_loss: float | None = None
        self.generators = {"order": generator}
        noise = getattr(rule, "generator", None)
        if isinstance(noise, torch.Generator):
            self.generators["noise"] = noise
        self.optimizers = {FORWARD: plan.optimizer.make(rule.network.parameters())}
        if plan.feedback is not None:
            learner = _learner(rule)
            for phase, settings in (
                (PRETRAINING, plan.feedback.pretraining),
                (FEEDBACK, plan.feedback.optimizer),
            ):
                self.optimizers[phase] = settings.make(learner.feedback.parameters())

    @property
    def best(self) -> Metrics | None:
        """The first epoch with the least validation error, or loss where labels aren't classes.

        None without validation samples or before the first epoch.
        """
        if not self.history or self.data.validation is None:
            return None
        return min(self.history, key=_validation_error if self.classes else _validation_loss)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or enough of them brought nothing."""
        done, patience, best = len(self.history), self.plan.patience, self.best
        idle = patience is not None and best is not None and done - best.epoch >= patience
        return done >= self.plan.epochs or idle

    @property
    def samples(self) -> int:
        """Samples that `progress` will be told of in the epochs that are left, at most."""
        feedback = self.plan.feedback
        left = max(self.plan.epochs - len(self.history), 0)
        if feedback is None:
            return left * len(self.data.x)
        epochs = left * (1 + feedback.before + feedback.after)
        return (epochs + feedback.pretraining_epochs - self.pretrained) * len(self.data.x)

    def run(
        self,
        progress: Progress | None = None,
        completed: Callable[[Trainer], object] | None = None,
    ) -> None:
        """Train to the end of the plan.

        Args:
            progress: called after each mini-batch with the phase and the samples it had.
            completed: called after each epoch, those of pre-training too: the moment to write a
                checkpoint. If either raises, training stops.

        Raises:
            Divergence: training left the finite numbers; no `completed` came after it.
        """
        progress = progress or _ignore
        feedback = self.plan.feedback
        while feedback is not None and self.pretrained < feedback.pretraining_epochs:
            self._feedback_epoch(PRETRAINING, f"pre-training epoch {self.pretrained + 1}", progress)
            self.pretrained += 1
            if completed is not None:
                completed(self)
        while not self.finished:
            self._epoch(progress)
            if completed is not None:
                completed(self)

    def _epoch(self, progress: Progress) -> None:
        feedback, number = self.plan.feedback, len(self.history) + 1
        for _ in range(feedback.before if feedback else 0):
            self._feedback_epoch(FEEDBACK, f"epoch {number}, feedback", progress)
        loss = self._forward_epoch(f"epoch {number}", progress)
        for _ in range(feedback.after if feedback else 0):
            self._feedback_epoch(FEEDBACK, f"epoch {number}, feedback", progress)
        self.history.append(self._metrics(number, loss))

    def _metrics(self, number: int, loss: float) -> Metrics:
        validation, data = self.data.validation, self.data
        error = self._score(Samples(data.x, data.y)).error if self.classes else math.nan
        return Metrics(
            number,
            Score(loss, error),
            Score.none() if validation is None else self._score(validation),
            self._score(Samples(data.x_test, data.y_test)),
        )

    def _score(self, samples: Samples) -> Score:
        return evaluate(self.rule.network, self.loss, samples, classes=self.classes)

    def _forward_epoch(self, name: str, progress: Progress) -> float:
        """One forward epoch; returns the mean loss during it."""

        def step(x: Tensor, y: Tensor) -> float:
            for optimizer in self.optimizers.values():
                optimizer.zero_grad()
            loss = float(self.rule.backward(x, y))
            self._check(loss)
            if self.plan.clip is not None:
                clip_each(self.rule.network.parameters(), self.plan.clip)
            self.optimizers[FORWARD].step()
            # Rules that learn both in one phase leave gradients of the feedback weights too.
            if self.plan.feedback is not None:
                self._feedback_step(FEEDBACK)
            return loss

        return self._pass(FORWARD, name, step, progress)

    def _feedback_epoch(self, phase: str, name: str, progress: Progress) -> None:
        learner = _learner(self.rule)

        def step(x: Tensor, _: Tensor) -> float:
            self.optimizers[phase].zero_grad()
            learner.feedback_backward(x)
            self._feedback_step(phase)
            return 0.0

        self._pass(phase, name, step, progress)

    def _pass(
        self, phase: str, name: str, step: Callable[[Tensor, Tensor], float], progress: Progress
    ) -> float:
        """Take a step on each mini-batch, in a new order; returns the mean of what it returns."""
        data, total = self.data, 0.0
        good = snapshot(self.rule)
        order = torch.randperm(len(data.x), generator=self.generators["order"])
        for k, chosen in enumerate(torch.split(order, self.plan.batch_size), start=1):
            index = chosen.to(data.x.device)
            x, y = data.x[index], data.y[index]
            at = f"{name}, mini-batch {k}"
            try:
                total += step(x, y) * len(x)
            except ConvergenceError as error:
                where = first_not_finite(self.rule, x) or str(error)
                raise diagnose(self.rule, good, x, at, where) from error
            progress(phase, len(x))
        if not finite(*(p.detach() for p in parameters_of(self.rule).values())):
            raise diagnose(self.rule, good, x, at, first_not_finite(self.rule, x) or "")
        return total / len(data.x)

    def _feedback_step(self, phase: str) -> None:
        assert self.plan.feedback is not None
        learned = [p for p in _learner(self.rule).feedback.parameters() if p.grad is not None]
        if not learned:
            return
        if not finite(*(p.grad for p in learned if p.grad is not None)):
            raise ConvergenceError("an update of the feedback weights left the finite numbers")
        if self.plan.feedback.clip is not None:
            clip_together(learned, self.plan.feedback.clip)
        self.optimizers[phase].step()

    def _check(self, loss: float) -> None:
        gradients = [p.grad for p in self.rule.network.parameters() if p.grad is not None]
        if not math.isfinite(loss) or not finite(*gradients):
            raise ConvergenceError(
                "the loss or an update left the finite numbers; of all parameters "
                f"{largest_parameter(self.rule)}"
            )
        if self.first_loss is None:
            self.first_loss = loss
        if loss > GROWTH * self.first_loss > 0:
            raise ConvergenceError(
                f"the loss grew to {loss:.3g} from {self.first_loss:.3g} of the first mini-batch; "
                f"of all parameters {largest_parameter(self.rule)}"
            )


def loss_of(rule: LearningRule) -> Loss:
    """The loss that a rule descends.

    Raises:
        TypeError: it has none.
    """
    loss = getattr(rule, "loss", None)
    if not isinstance(loss, Loss):
        raise TypeError(f"{type(rule).__name__} has no attribute 'loss' to be evaluated")
    return loss


def _learner(rule: LearningRule) -> LearnsFeedback:
    if not isinstance(rule, LearnsFeedback):
        raise UserError(
            f"{type(rule).__name__} has no feedback weights that can be learned; leave feedback "
            "learning out or take a rule of deep feedback control"
        )
    return rule


def _check_fit(rule: LearningRule, data: Dataset) -> None:
    sizes, first = rule.network.sizes, rule.network.weights[0]
    parts = [Samples(data.x, data.y), Samples(data.x_test, data.y_test)]
    for part in [*parts, data.validation] if data.validation else parts:
        wanted = [(len(part.x), sizes[0]), (len(part.x), sizes[-1])]
        if [tuple(part.x.shape), tuple(part.y.shape)] != wanted or not len(part.x):
            raise UserError(
                f"inputs {tuple(part.x.shape)} and labels {tuple(part.y.shape)} do not fit the "
                f"layers {'-'.join(map(str, sizes))}: (samples, {sizes[0]}) and (samples, "
                f"{sizes[-1]}) are needed, with one sample at least"
            )
        if part.x.dtype != first.dtype or part.x.device != first.device:
            raise UserError(
                f"the data are {part.x.dtype} on {part.x.device}, the network {first.dtype} on "
                f"{first.device}; they must be alike"
            )


def _validation_loss(metrics: Metrics) -> float:
    return metrics.validation.loss


def _validation_error(metrics: Metrics) -> float:
    return metrics.validation.error


def _ignore(phase: str, samples: int) -> None:
    """Progress that nobody watches."""
