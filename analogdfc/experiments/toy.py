"""The student-teacher experiment of Meulemans et al. 2021, Figs. 3, 4 and S2."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from analogdfc.controller import PI
from analogdfc.datasets import Dataset, student_teacher
from analogdfc.dynamics import Euler
from analogdfc.errors import ConvergenceError
from analogdfc.experiments.measuring import Measurement, layer_angles, measure, names
from analogdfc.experiments.results import Curves, CurvesRun
from analogdfc.feedback import DirectFeedback
from analogdfc.jobs import Progress
from analogdfc.learning import (
    DFC,
    AnalyticDFC,
    DirectFeedbackAlignment,
    SleepPhase,
    SteadyStateDFC,
)
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.measures import condition2
from analogdfc.network import Network
from analogdfc.records import Quantity
from analogdfc.training.loop import FORWARD, Phase, Training, shuffled
from analogdfc.training.stopping import Epochs

Method = Literal["dfc", "dfc-ss", "dfc-ssa", "dfa"]
FeedbackKind = Literal["trained", "fixed", "random"]

_DFC: dict[str, type[FeedbackControl]] = {
    "dfc": DFC,
    "dfc-ss": SteadyStateDFC,
    "dfc-ssa": AnalyticDFC,
}
# The published code has a factor of 2 in every update of DFC, and clips what it has then.
_PUBLISHED = 2.0
# Settings that have no part in pre-training.
_FORWARD = (
    *("epochs", "target_stepsize", "per_sample", "alpha", "k_p", "tau_v", "dt", "steps", "rate"),
    *("feedback_rate", "before", "after", "damping", "spectra", "layers", "nonlinear"),
)
_SLEEP = SleepPhase(
    sigma=0.01, alpha=0.25, k_p=0.1, tau_v=0.01, tau_fb=0.3, beta=0.025, dt=0.002, steps=50
)


@dataclass(frozen=True, kw_only=True)
class ToySettings:
    """Settings of the experiment; the defaults are the published ones.

    Attributes:
        sizes: neurons of the student's layers, tanh hidden layers and a linear output.
        teacher: neurons of the teacher's layers.
        samples: number of samples to learn from, for validation and for testing.
        teacher_seed: seed of the teacher and of the inputs.
        seed: seed of the student's weights, its feedback, the order of samples and the noise.
        epochs: passes of forward learning.
        batch_size: samples of a minibatch.
        target_stepsize: lambda.
        per_sample: lambda steps along the gradient of each sample's ||r - y||^2, so that 0.5 clamps
            the output to the label; else along that of the mean over batch and outputs, as in the
            published code. To first order in lambda both give the same weight updates.
        alpha: leak of the control signal.
        k_p: proportional gain.
        tau_v: time constant of the neurons, in units of the controller's.
        dt: time step of the simulation, in the same unit.
        steps: number of steps of the simulation.
        rate: learning rate times lambda, published scale.
        clip: largest norm of a tensor's gradient, and of the whole feedback's, published scale.
        pretraining: epochs of feedback learning before forward learning starts.
        pretraining_rate: learning rate of the feedback in them.
        feedback_rate: learning rate of the feedback afterwards.
        before: epochs of feedback learning before each epoch of forward learning.
        after: epochs of feedback learning after it.
        sleep: the dynamics of feedback learning.
        damping: gamma of the MN and GN references.
        spectra: measure eigenvalues too.
        layers: take the angles of each layer's weights too, and those to the gradient.
        nonlinear: the nonlinear learning rule, else the linear one.
    """

    sizes: tuple[int, ...] = (15, 10, 10, 5)
    teacher: tuple[int, ...] = (15, 1000, 1000, 1000, 1000, 5)
    samples: tuple[int, int, int] = (5000, 1000, 1000)
    teacher_seed: int = 42
    seed: int = 0
    epochs: int = 300
    batch_size: int = 128
    target_stepsize: float = 0.05
    per_sample: bool = False
    alpha: float = 0.0015
    k_p: float = 1.5
    tau_v: float = 0.2
    dt: float = 0.005
    steps: int = 1000
    rate: float = 0.05
    clip: float = 1.0
    pretraining: int = 50
    pretraining_rate: float = 0.1
    feedback_rate: float = 0.002
    before: int = 1
    after: int = 2
    sleep: SleepPhase = _SLEEP
    damping: float = 0.0
    spectra: bool = True
    layers: bool = False
    nonlinear: bool = True


@dataclass(frozen=True)
class ToyRun(CurvesRun):
    """Learning by one method, measured on the first minibatch of every epoch.

    DFA has no published settings of this experiment: it learns by plain SGD with fixed random
    feedback, at the rate that makes its first weight update as large as that of `dfc-ssa` with
    fixed feedback.

    Attributes:
        method: the learning rule.
        feedback: 'trained' in sleep phases, from a random start; 'fixed' at the product of the
            transposed initial weights; 'random' for DFA.
        toy: the settings.
        group: where its curves are kept.
    """

    method: Method
    feedback: FeedbackKind
    toy: ToySettings
    group: str = "toy"

    @property
    def name(self) -> str:
        """Where its curves are kept."""
        return f"{self.group}/{self.method} {self.feedback}"

    @property
    def work(self) -> int:
        """Epochs of forward learning, those of a simulation counted by what they cost."""
        return self.toy.epochs * self._weight

    @property
    def _weight(self) -> int:
        return 6 if self.method == "dfc" else 1

    def run(self, progress: Progress) -> Curves:
        """Learn and measure; see `Task.run`.

        A run that diverges ends with its curves so far and the text 'stopped'.
        """
        learner = _Learner(self)
        training = learner.training
        stopped: dict[str, str] = {}
        before = learner.condition2()
        try:
            learner.pretrain()
            training.run(completed=lambda _: progress(self._weight))
        except ConvergenceError as error:
            stopped["stopped"] = f"epoch {training.epochs + 1}: {error}"
            progress(self.work - training.epochs * self._weight)
        losses = [loss for loss, _ in training.history]
        found = [measured for _, measured in training.history]
        return {
            **{
                name: Quantity([m[name] for m in found], unit, text, ("epoch",))
                for name, (unit, text) in names(len(self.toy.sizes) - 1).items()
                if found and name in found[0]
            },
            "loss": Quantity(
                losses, "1", "mean squared error of the epoch, over outputs too", ("epoch",)
            ),
            "condition2_random": Quantity(before, "1", "Condition 2 before feedback learning"),
            "rate": Quantity(learner.rate, "1", "learning rate of the forward weights"),
            **stopped,
        }


class _Learner:
    """A student, its rule and its training.

    Attributes:
        rule: the learning rule.
        rate: learning rate of the forward weights.
        training: what is left to do; its figures are the mean squared error of each epoch and the
            measurement of the epoch's first minibatch.
    """

    def __init__(self, job: ToyRun) -> None:
        self.toy = toy = job.toy
        self.data = _data(toy.teacher, toy.samples, toy.teacher_seed)
        self.network, self.feedback = student(toy, job.feedback)
        self.rule: FeedbackControl | DirectFeedbackAlignment
        if job.method == "dfa":
            self.rule = DirectFeedbackAlignment(self.network, self.feedback)
            self.rate, self.clip = self._matching_rate(), math.inf
        else:
            self.rule = control_rule(job.method, self.network, self.feedback, toy)
            self.rate = _PUBLISHED * toy.rate / toy.target_stepsize
            self.clip = toy.clip / _PUBLISHED
        self.measured: Measurement = {}
        epoch = [Phase(FORWARD, self._step, shuffled(_generator(toy, 1)))]
        self.sleeps = False
        if job.feedback == "trained" and isinstance(self.rule, FeedbackControl):
            self.sleeps = True
            sleep = _sleep(self.rule, toy.feedback_rate, toy, _generator(toy, 2))
            epoch = [sleep] * toy.before + epoch + [sleep] * toy.after
        self.training = Training[tuple[float, Measurement]](
            self.data,
            epoch,
            batch_size=toy.batch_size,
            stop=Epochs(toy.epochs),
            evaluate=lambda: (self.training.mean_loss / toy.sizes[-1], self.measured),
        )

    def condition2(self) -> float:
        """Ratio of Condition 2 with the weights as they are, mean of a minibatch."""
        v = self.network.potentials(self.data.x[: self.toy.batch_size])
        return float(condition2(self.network.jacobians(v), list(self.feedback.matrices)).mean())

    def pretrain(self) -> None:
        """Learn the feedback before the forward weights."""
        if self.sleeps:
            with torch.no_grad():
                for q, value in zip(self.feedback.matrices, pretrained(self.toy), strict=True):
                    q.copy_(value)

    def _step(self, x: Tensor, y: Tensor) -> float:
        toy = self.toy
        loss = float(backward(self.rule, x, y, toy))
        if self.training.batch == 1:
            self.measured = measure(self.rule, x, y, toy.damping, spectra=toy.spectra)
            if toy.layers:
                self.measured |= layer_angles(self.rule, x, y, toy.damping)
        for parameter in self.network.parameters():
            descend([parameter], self.rate, self.clip)
        return loss

    def _matching_rate(self) -> float:
        """Rate of DFA at which its first update is as large as that of dfc-ssa."""
        toy = self.toy
        first = shuffled(_generator(toy, 1))(len(self.data.x))[: toy.batch_size]
        x, y = self.data.x[first], self.data.y[first]
        backward(self.rule, x, y, toy)
        own = gradient_norm(self.network.parameters())
        other = control_rule("dfc-ssa", self.network, DirectFeedback.transposed(self.network), toy)
        backward(other, x, y, toy)
        rate = _PUBLISHED * toy.rate / toy.target_stepsize
        return rate * gradient_norm(self.network.parameters()) / own


def _sleep(rule: FeedbackControl, rate: float, toy: ToySettings, order: torch.Generator) -> Phase:
    """Feedback learning by plain SGD, the whole feedback clipped jointly."""
    parameters = list(rule.feedback.parameters())

    def step(x: Tensor, _: Tensor) -> float:
        rule.feedback_backward(x)
        descend(parameters, rate, toy.clip)
        return 0.0

    return Phase("feedback", step, shuffled(order), counts=False)


def student(toy: ToySettings, kind: FeedbackKind) -> tuple[Network, DirectFeedback]:
    """The student and its feedback before any learning."""
    network = Network(toy.sizes, generator=_generator(toy, 0))
    if kind == "fixed":
        return network, DirectFeedback.transposed(network)
    return network, DirectFeedback.random(network, _generator(toy, 3))


def control_rule(
    method: str, network: Network, feedback: DirectFeedback, toy: ToySettings
) -> FeedbackControl:
    """The rule of a method of the DFC family, as published: the layers see the last step's u."""
    return _DFC[method](
        network,
        feedback,
        PI(toy.k_p, toy.alpha),
        target_stepsize=toy.target_stepsize,
        tau_v=toy.tau_v,
        dt=toy.dt,
        steps=toy.steps,
        integrator=Euler(proactive=False),
        sleep=toy.sleep,
        nonlinear=toy.nonlinear,
        generator=_generator(toy, 4),
    )


def backward(
    rule: FeedbackControl | DirectFeedbackAlignment, x: Tensor, y: Tensor, toy: ToySettings
) -> Tensor:
    """Fill `.grad` with the loss averaged over batch and outputs; return the mean ||r - y||^2.

    The mean divides the target step; where that keeps its size, it divides the update instead.
    """
    if not isinstance(rule, FeedbackControl):
        return rule.backward(x, y)
    if not toy.per_sample:
        rule.target_stepsize = toy.target_stepsize / y.numel()
        return rule.backward(x, y)
    loss = rule.backward(x, y)
    for parameter in rule.network.parameters():
        if parameter.grad is not None:
            parameter.grad /= y.numel()
    return loss


def gradient_norm(parameters: Iterable[Tensor]) -> float:
    """Norm of all gradients together."""
    gradients = (p.grad for p in parameters)
    return math.hypot(*(float(torch.linalg.vector_norm(g)) for g in gradients if g is not None))


def descend(parameters: Sequence[Tensor], rate: float, clip: float = math.inf) -> None:
    """A step of plain gradient descent.

    Without `torch.optim`, whose first use costs seconds in every process.

    Args:
        parameters: what moves, against its `.grad`.
        rate: learning rate.
        clip: largest norm of all gradients together; longer ones are scaled down.
    """
    norm = gradient_norm(parameters)
    size = rate * clip / norm if norm > clip else rate
    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=-size)


def pretrained(toy: ToySettings) -> tuple[Tensor, ...]:
    """Feedback weights after pre-training, which forward learning has no part in."""
    defaults, forward = ToySettings(), {}
    for name in _FORWARD:
        forward[name] = getattr(defaults, name)
    return _pretrained(replace(toy, **forward))


@functools.lru_cache(maxsize=1)
def _pretrained(toy: ToySettings) -> tuple[Tensor, ...]:
    network, feedback = student(toy, "trained")
    rule = control_rule("dfc-ss", network, feedback, toy)
    rule.generator = _generator(toy, 5)
    Training[None](
        _data(toy.teacher, toy.samples, toy.teacher_seed),
        [_sleep(rule, toy.pretraining_rate, toy, _generator(toy, 6))],
        batch_size=toy.batch_size,
        stop=Epochs(toy.pretraining),
    ).run()
    return tuple(q.detach().clone() for q in feedback.matrices)


@functools.lru_cache(maxsize=1)
def _data(sizes: tuple[int, ...], samples: tuple[int, int, int], seed: int) -> Dataset:
    return student_teacher(sizes, samples, seed)


def _generator(toy: ToySettings, use: int) -> torch.Generator:
    """A stream of random numbers for one use, so that what one method draws moves no other's."""
    return torch.Generator().manual_seed(8 * toy.seed + use)
