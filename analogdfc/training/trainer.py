"""The trainer: epochs of forward and of feedback learning, with figures after each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor

from analogdfc.datasets import Dataset, Samples
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.learning import LearningRule
from analogdfc.learning.base import LearnsFeedback
from analogdfc.samples import check_samples
from analogdfc.training.angles import AngleCurves, AngleSettings
from analogdfc.training.divergence import (
    GROWTH,
    Divergence,
    diagnose,
    finite,
    first_not_finite,
    largest_parameter,
    parameters_of,
    snapshot,
)
from analogdfc.training.loop import FORWARD, Phase, Training, Watch, ignore, shuffled
from analogdfc.training.metrics import Metrics, Score, are_classes, evaluate
from analogdfc.training.optimizers import clip_each, clip_together, innermost
from analogdfc.training.plan import Plan
from analogdfc.training.stopping import Epochs, Patience, Stop

FEEDBACK, PRETRAINING = "feedback", "pre-training"


class Trainer(Training[Metrics]):
    """Trains the network of a rule as a plan says, and can be taken up again after each epoch.

    The course: `pretraining_epochs` of feedback learning, then epochs of `before` feedback epochs,
    one forward epoch, `after` feedback epochs and the figures. `analogdfc.training.checkpoints`
    writes and reads the state between two epochs. Where the rule learns with other processes, the
    `Ranks` of which divide each mini-batch, all need the same data, plan and order; the figures are
    the same in all, and one of them writes.

    Args:
        rule: the learning rule; the loss is its own.
        data: samples, on the device and of the type of the network.
        plan: what to do.
        generator: order of the samples, on the CPU.
        stop: a further reason to end before the plan does, such as `Reached`.
        update: puts something around the optimiser of the network's parameters, such as
            `PulsedUpdate` for a network on devices; None for nothing.
        angles: which angles of the updates are taken, and when; None for none.

    Attributes:
        history: figures of the epochs so far.
        pretrained: pre-training epochs so far.
        first_loss: loss of the very first mini-batch; None before it.
        optimizers: by phase.
        generators: sources of random numbers that training draws from, by use.
        angles: takes the angles of the updates; None where nobody wants any.

    Raises:
        UserError: data that do not fit the network, a patience without validation samples,
            feedback learning of a rule without, frozen layers that there aren't, or angles of a
            rule that learns with other processes.

    >>> from analogdfc.datasets import digits
    >>> from analogdfc.learning import Backpropagation
    >>> from analogdfc.losses import SoftmaxCrossEntropy
    >>> from analogdfc.network import Network
    >>> from analogdfc.training import Adam, Plan, Reached
    >>> order = torch.Generator().manual_seed(0)
    >>> rule = Backpropagation(Network([16, 10, 10], generator=order), SoftmaxCrossEntropy())
    >>> plan = Plan(epochs=20, batch_size=32, optimizer=Adam(lr=0.01))
    >>> enough = Reached(0.15, lambda epoch: epoch.test.error, rising=False)
    >>> trainer = Trainer(rule, digits(4), plan, generator=order, stop=enough)
    >>> trainer.run()
    >>> trainer.history[-1].test.error <= 0.15, trainer.epochs < 20
    (True, True)
    """

    def __init__(
        self,
        rule: LearningRule,
        data: Dataset,
        plan: Plan,
        *,
        generator: torch.Generator,
        stop: Stop[Metrics] | None = None,
        update: Callable[[torch.optim.Optimizer], torch.optim.Optimizer] | None = None,
        angles: AngleSettings | None = None,
    ) -> None:
        _check_fit(rule, data)
        _check_frozen(plan.frozen, rule.network.depth)
        if plan.patience is not None and data.validation is None:
            raise UserError("early stopping needs validation samples, and the data have none")
        self.rule, self.data, self.plan = rule, data, plan
        self.loss = rule.loss
        self.classes = are_classes(data.y)
        self.angles = None if angles is None else _angles_of(rule, angles)
        self.pretrained = 0
        self.first_loss: float | None = None
        self.generators = {"order": generator, **rule.generators()}
        inner = plan.optimizer.make(rule.network.parameters())
        self.optimizers = {FORWARD: inner if update is None else update(inner)}
        epoch = [Phase(FORWARD, self._forward_step, shuffled(generator))]
        if plan.feedback is not None:
            learner = _learner(rule)
            for name, settings in (
                (PRETRAINING, plan.feedback.pretraining),
                (FEEDBACK, plan.feedback.optimizer),
            ):
                self.optimizers[name] = settings.make(learner.feedback.parameters())
            feedback = self._feedback_phase(FEEDBACK)
            epoch = [feedback] * plan.feedback.before + epoch + [feedback] * plan.feedback.after
        super().__init__(
            data,
            epoch,
            batch_size=plan.batch_size,
            stop=self._stop(stop),
            evaluate=self._metrics,
        )

    @property
    def best(self) -> Metrics | None:
        """The first epoch with the least validation error, or loss where labels aren't classes.

        None without validation samples or before the first epoch.
        """
        if not self.history or self.data.validation is None:
            return None
        return min(self.history, key=self._validation)

    @property
    def samples(self) -> int:
        """Samples that `progress` will be told of in the epochs that are left, at most."""
        left = max(self.plan.epochs - self.epochs, 0) * len(self.epoch)
        if self.plan.feedback is not None:
            left += self.plan.feedback.pretraining_epochs - self.pretrained
        return left * len(self.data.x)

    def run(
        self,
        progress: Watch | None = None,
        completed: Callable[[Self], object] | None = None,
    ) -> None:
        """Train to the end of the plan.

        Args:
            progress: called after each mini-batch with the phase and the samples it had.
            completed: called after each epoch, those of pre-training too: the moment to write a
                checkpoint. If either raises, training stops.

        Raises:
            Divergence: training left the finite numbers; no `completed` came after it.
        """
        feedback = self.plan.feedback
        while feedback is not None and self.pretrained < feedback.pretraining_epochs:
            self._pass(self._feedback_phase(PRETRAINING), progress or ignore)
            self.pretrained += 1
            if completed is not None:
                completed(self)
        super().run(progress, completed)

    def take_up(self, history: list[Metrics]) -> None:
        """Go on after the epochs whose figures are given.

        Args:
            history: their figures, in order.
        """
        self.history = history
        self.epochs = len(history)
        self.seen = self.epochs * len(self.data.x)

    def _stop(self, further: Stop[Metrics] | None) -> Stop[Metrics]:
        out: Stop[Metrics] = Epochs(self.plan.epochs)
        if self.plan.patience is not None:
            out = out | Patience(self.plan.patience, self._validation)
        return out if further is None else out | further

    def _validation(self, metrics: Metrics) -> float:
        return metrics.validation.error if self.classes else metrics.validation.loss

    def _metrics(self) -> Metrics:
        validation, data = self.data.validation, self.data
        error = self._score(Samples(data.x, data.y)).error if self.classes else math.nan
        return Metrics(
            self.epochs,
            Score(self.mean_loss, error),
            Score.none() if validation is None else self._score(validation),
            self._score(Samples(data.x_test, data.y_test)),
        )

    def _score(self, samples: Samples) -> Score:
        return evaluate(self.rule.outputs, self.loss, samples, classes=self.classes)

    def _pass(self, phase: Phase, watch: Watch) -> bool:
        """One pass, with a diagnosis where it leaves the finite numbers."""
        if phase.counts:
            for group in innermost(self.optimizers[FORWARD]).param_groups:
                group["lr"] = self.plan.rate(self.epochs)
        good = snapshot(self.rule)
        try:
            done = super()._pass(phase, watch)
        except ConvergenceError as error:
            raise self._diagnosis(phase, good, str(error)) from error
        if not finite(*(p.detach() for p in parameters_of(self.rule).values())):
            raise self._diagnosis(phase, good, "")
        return done

    def _share(self, chosen: Tensor) -> Tensor:
        ranks = self.rule.ranks
        return chosen if ranks is None else ranks.share(chosen)

    def _diagnosis(self, phase: Phase, good: Mapping[str, Tensor], otherwise: str) -> Divergence:
        if phase.name == PRETRAINING:
            name = f"pre-training epoch {self.pretrained + 1}"
        else:
            name = f"epoch {self.epochs + 1}" + ("" if phase.counts else f", {phase.name}")
        where = first_not_finite(self.rule, self.inputs) or otherwise
        at = f"{name}, mini-batch {self.batch}"
        return diagnose(self.rule, good, self.inputs, at, where)

    def _forward_step(self, x: Tensor, y: Tensor) -> float:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss = float(self.rule.backward(x, y))
        for layer in self.plan.frozen:
            for part in (self.rule.network.weights, self.rule.network.biases):
                part[layer - 1].grad = None
        self._check(loss)
        if self.angles is not None:
            self.angles.see(self.rule, x, y)
        if self.plan.clip is not None:
            clip_each(self.rule.network.parameters(), self.plan.clip)
        self.optimizers[FORWARD].step()
        # Rules that learn both in one phase leave gradients of the feedback weights too.
        if self.plan.feedback is not None:
            self._feedback_step(FEEDBACK)
        return loss

    def _feedback_phase(self, name: str) -> Phase:
        # A part of this trainer, not a closure over it: a copy must learn by itself.
        step = partial(self._learn_feedback, name)
        return Phase(name, step, shuffled(self.generators["order"]), counts=False)

    def _learn_feedback(self, name: str, x: Tensor, _: Tensor) -> float:
        self.optimizers[name].zero_grad()
        _learner(self.rule).feedback_backward(x)
        self._feedback_step(name)
        return 0.0

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


def _angles_of(rule: LearningRule, settings: AngleSettings) -> AngleCurves:
    if rule.ranks is not None:
        raise UserError("angles of updates: a process sees its share of a mini-batch only")
    return AngleCurves(settings, rule.network)


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
        check_samples(sizes, part.x, part.y)
        if part.x.dtype != first.dtype or part.x.device != first.device:
            raise UserError(
                f"the data are {part.x.dtype} on {part.x.device}, the network {first.dtype} on "
                f"{first.device}; they must be alike"
            )


def _check_frozen(frozen: Sequence[int], depth: int) -> None:
    if strange := sorted(set(frozen) - set(range(1, depth + 1))):
        raise UserError(f"frozen layers {strange}: the network has layers 1 to {depth}")
    if len(set(frozen)) == depth:
        raise UserError("all layers are frozen: nothing is left to learn")
