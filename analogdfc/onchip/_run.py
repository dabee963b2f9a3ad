"""One training of one rule: its settings, its learner, its curve."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from analogdfc import jobs
from analogdfc.analysis.noise import ReadingNoise
from analogdfc.arrays.layers import AnalogNetwork
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.cards.device import DeviceCard
from analogdfc.cards.technology import Card
from analogdfc.circuit.design import Readout
from analogdfc.circuit.devices import Devices
from analogdfc.controller import PI
from analogdfc.datasets import Dataset, Samples
from analogdfc.devices import DeviceModel
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import Backpropagation, LearningRule, SteadyStateDFC
from analogdfc.losses import Loss, SoftmaxCrossEntropy
from analogdfc.network import Network
from analogdfc.onchip.rule import HardwareDFC
from analogdfc.onchip.substrate import ChipSubstrate, Writing
from analogdfc.records import Record, Tree
from analogdfc.samples import check_samples
from analogdfc.states import digest
from analogdfc.training.loop import (
    FORWARD,
    Phase,
    Schedule,
    Step,
    Training,
    descent,
    shuffled,
)
from analogdfc.training.metrics import are_classes
from analogdfc.training.optimizers import Adam, OptimizerSettings
from analogdfc.training.stopping import Epochs, Reached

RULES = ("hardware", "dfc-ss", "bp")
"""What is trained: through the chip, by the ideal rule, by backpropagation."""

Measure = Literal["accuracy", "loss"]


@dataclass(frozen=True, kw_only=True)
class Course:
    """How training goes; the same for all rules, as far as it concerns them.

    Attributes:
        optimizer: the digital optimiser that says what a step should be.
        batch_size: samples of a mini-batch, >= 1.
        target_stepsize: step lambda of the output target.
        loss: the loss at the output.
        controller: the controller.
        tau_v: time constant of the neurons, in units of the controller's time.
        readout: how the chip reads its update.
        mode: how the devices make a step, see `PulsedUpdate`; by default `stochastic` pulses, or
            `mixed-precision` writes where the device has no pulses or a granularity is given.
        granularity: smallest change that is written; by default `GRANULARITY` for a device without
            pulses.
        headroom: largest representable weight, in units of the largest initial one of a layer.
        period: seconds from sample to sample in which the devices age; 0 for none.
        ageing: mini-batches after which the time that has passed is let act on the devices at once.
        noise: how long the update is read, to add the amplifiers' noise; None for none.

    Raises:
        UserError: a value outside its range.
    """

    optimizer: OptimizerSettings = field(default_factory=lambda: Adam(lr=0.02))
    batch_size: int = 32
    target_stepsize: float = 0.1
    loss: Loss = field(default_factory=SoftmaxCrossEntropy)
    controller: PI = field(default_factory=PI)
    tau_v: float = 0.2
    readout: Readout = field(default_factory=Readout)
    mode: str | None = None
    granularity: float | None = None
    headroom: float = 6.0
    period: float = 0.0
    ageing: int = 32
    noise: ReadingNoise | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.ageing < 1 or not self.period >= 0:
            raise UserError(
                f"batch_size = {self.batch_size}, ageing = {self.ageing}, period = {self.period}: "
                "batch_size >= 1, ageing >= 1 and period >= 0 are required"
            )

    @property
    def writing(self) -> Writing:
        """How devices follow a step."""
        return Writing(mode=self.mode, granularity=self.granularity, headroom=self.headroom)

    def substrate(self, card: Card, device: DeviceCard | DeviceModel | str | Path) -> ChipSubstrate:
        """The chip that is trained through.

        Args:
            card: the technology of the circuit.
            device: the devices that hold the weights.

        Raises:
            UserError: an unknown device.
        """
        return ChipSubstrate(
            card=card,
            devices=Devices.of(device),
            controller=self.controller,
            tau_v=self.tau_v,
            readout=self.readout,
            writing=self.writing,
        )


class Run(NamedTuple):
    """One training of one rule.

    Attributes:
        rule: of `RULES`.
        seed: of the initial weights, the order of the samples, the chip and its devices.
        samples: samples seen at each evaluation, 0 first.
        loss: mean loss on the held-out samples at each evaluation.
        accuracy: share of the held-out samples that is right; nan where labels aren't classes.
        reached: samples seen at the first evaluation that met the target; None if none did.
        pulses: pulses sent to the devices of each layer; None for the ideal rules.
        writes: attempts at programming a device anew, for each layer; None for the ideal rules.
        stopped: why training broke off before its end; None if it did not.
    """

    rule: str
    seed: int
    samples: tuple[int, ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    reached: int | None
    pulses: tuple[int, ...] | None = None
    writes: tuple[int, ...] | None = None
    stopped: str | None = None

    @property
    def pulses_per_sample(self) -> tuple[float, ...] | None:
        """Pulses on the devices of each layer per sample; None for the ideal rules."""
        seen = self.samples[-1]
        if self.pulses is None or seen == 0:
            return None
        return tuple(count / seen for count in self.pulses)

    @property
    def writes_per_sample(self) -> tuple[float, ...] | None:
        """Attempts at a write on the devices of each layer per sample; None for ideal rules."""
        seen = self.samples[-1]
        if self.writes is None or seen == 0:
            return None
        return tuple(count / seen for count in self.writes)


class Learner(NamedTuple):
    """A rule with its optimiser."""

    rule: LearningRule
    optimizer: torch.optim.Optimizer


def learner_of(
    name: str,
    seed: int,
    sizes: Sequence[int],
    card: Card,
    device: DeviceCard | DeviceModel | str | Path,
    course: Course,
) -> Learner:
    network = Network(sizes, generator=torch.Generator().manual_seed(seed))
    if name == "bp":
        rule: LearningRule = Backpropagation(network, loss=course.loss)
        return Learner(rule, course.optimizer.make(network.parameters()))
    feedback = DirectFeedback.transposed(network)
    if name == "dfc-ss":
        rule = SteadyStateDFC(
            network,
            feedback,
            course.controller,
            target_stepsize=course.target_stepsize,
            loss=course.loss,
            tau_v=course.tau_v,
        )
        return Learner(rule, course.optimizer.make(network.parameters()))
    placed = course.substrate(card, device).place(network, seed)
    hardware = HardwareDFC(
        placed.network,
        **placed.options,
        target_stepsize=course.target_stepsize,
        loss=course.loss,
        noise=course.noise,
        generator=torch.Generator().manual_seed(seed),
    )
    inner = course.optimizer.make(placed.network.parameters())
    return Learner(hardware, inner if placed.update is None else placed.update(inner))


def on_devices(
    network: Network,
    device: DeviceCard | DeviceModel | str | Path,
    seed: int,
    course: Course | None = None,
) -> tuple[AnalogNetwork, PulsedUpdate]:
    """A network on devices, with an optimiser that moves them as they allow.

    Args:
        network: whose weights the devices are programmed to.
        device: the device.
        seed: of every random number.
        course: how training goes.

    Raises:
        UserError: what the device or the course refuse.
    """
    course = course or Course()
    writing = course.writing
    chip = writing.network(network, Devices.of(device).model, seed)
    return chip, writing.update(chip, course.optimizer.make(chip.parameters()))


class Evaluation(NamedTuple):
    """Figures of the held-out samples.

    Attributes:
        samples: samples seen before.
        loss: mean loss.
        accuracy: share that is right; nan where labels aren't classes.
    """

    samples: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Goal:
    """What training is for, and how long it may take.

    Attributes:
        target: accuracy to be reached, 0 to 1, or loss, of the held-out samples.
        measure: which of both it is.
        every: samples between two evaluations, rounded up to whole mini-batches.
        epochs: the budget.
    """

    target: float
    measure: Measure
    every: int
    epochs: int

    @property
    def reached(self) -> Reached[Evaluation]:
        """The rule that ends training at the target."""
        return Reached(self.target, attrgetter(self.measure), rising=self.measure == "accuracy")


def train_until(
    goal: Goal,
    learner: Learner,
    data: Dataset,
    course: Course,
    *,
    rule: str,
    seed: int,
    progress: Callable[[int], object] | None = None,
) -> Run:
    """Train until the target or the end of the budget.

    Args:
        goal: the target and the budget.
        learner: the rule and its optimiser.
        data: what is learned; its test samples are held out.
        course: how training goes.
        rule: name of the rule.
        seed: of the order of the samples.
        progress: called after each mini-batch with the samples it had, and at the end with the
            rest of the budget.

    Raises:
        UserError: samples that don't fit the network.
    """
    for part in (Samples(data.x, data.y), Samples(data.x_test, data.y_test)):
        check_samples(learner.rule.network.sizes, *part)
    held_out, classes = Samples(data.x_test, data.y_test), are_classes(data.y_test)

    def evaluation() -> Evaluation:
        return Evaluation(training.seen, *_scores(learner, course.loss, held_out, classes=classes))

    order = shuffled(torch.Generator().manual_seed(seed))
    training = Training[Evaluation](
        data,
        [Phase(FORWARD, _step(learner, course), order)],
        batch_size=course.batch_size,
        stop=goal.reached | Epochs(goal.epochs),
        evaluate=evaluation,
        schedule=Schedule(goal.every, start=True),
    )
    stopped = None
    try:
        training.run(None if progress is None else lambda _, count: progress(count))
    except ConvergenceError as error:
        stopped = f"after {training.seen} samples: {error}"
    left = goal.epochs * len(data.x) - training.seen
    if progress is not None and left:
        progress(left)
    met = stopped is None and goal.reached.met(training)
    return Run(
        rule,
        seed,
        tuple(e.samples for e in training.history),
        tuple(e.loss for e in training.history),
        tuple(e.accuracy for e in training.history),
        training.seen if met else None,
        *_counts(learner.optimizer),
        stopped,
    )


def _step(learner: Learner, course: Course) -> Step:
    """The rule's step, after which devices age from time to time."""
    descend, network = descent(learner.rule, learner.optimizer), learner.rule.network
    if not (course.period > 0 and isinstance(network, AnalogNetwork)):
        return descend
    waiting = 0

    def step(x: Tensor, y: Tensor) -> float:
        nonlocal waiting
        loss = descend(x, y)
        waiting += 1
        if waiting == course.ageing:
            network.wait(waiting * course.batch_size * course.period)
            network.read()
            waiting = 0
        return loss

    return step


@torch.no_grad()
def _scores(
    learner: Learner, loss: Loss, samples: Samples, *, classes: bool
) -> tuple[float, float]:
    """Mean loss and share of right answers."""
    r = learner.rule.outputs(samples.x)
    mean = float(loss.value(r, samples.y).mean())
    if not math.isfinite(mean):
        raise ConvergenceError("the loss on held-out samples left the finite numbers")
    right = r.argmax(dim=-1) == samples.y.argmax(dim=-1)
    return mean, float(right.double().mean()) if classes else math.nan


def _counts(
    optimizer: torch.optim.Optimizer,
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Pulses, and attempts at a write, on the devices of each layer; None without devices."""
    if not isinstance(optimizer, PulsedUpdate):
        return None, None
    counts = optimizer.counts
    return tuple(c.up + c.down for c in counts), tuple(c.attempts for c in counts)


class Given(NamedTuple):
    """What all trainings have in common.

    Attributes:
        data: what is learned; its test samples are held out.
        sizes: neurons of layers 0..L.
        card: the technology of the circuit.
        devices: what holds the weights.
        course: how training goes.
        goal: the target and the budget.
    """

    data: Dataset
    sizes: tuple[int, ...]
    card: Card
    devices: Devices
    course: Course
    goal: Goal

    @property
    def settings(self) -> list[Any]:
        """All that a training depends on, for JSON."""
        data = (self.data.x, self.data.y, self.data.x_test, self.data.y_test)
        parts = [self.card.sha256, self.devices.sha256, str(self.course), str(self.goal)]
        return [[digest(part) for part in data], list(self.sizes), *parts]


@dataclass(frozen=True)
class TrainingRun(jobs.Run[Run]):
    """The training of one rule from one seed.

    Attributes:
        given: what it has in common with others.
        rule: of `RULES`.
        seed: of the initial weights, the order of the samples, the chip and its devices.
    """

    given: jobs.Shared[Given]
    rule: str
    seed: int

    @property
    def name(self) -> str:
        """'training by bp, seed 0'."""
        return f"training by {self.rule}, seed {self.seed}"

    @property
    def work(self) -> int:
        """Samples of the whole budget."""
        return self.given.value.goal.epochs * len(self.given.value.data.x)

    def settings(self) -> str:
        """See `Task.settings`."""
        return json.dumps([self.given.value.settings, self.rule, self.seed])

    def run(self, progress: jobs.Progress) -> Run:
        """See `Task.run`."""
        data, sizes, card, devices, course, goal = self.given.value
        learner = learner_of(self.rule, self.seed, sizes, card, devices.model, course)
        rule, seed = self.rule, self.seed
        return train_until(goal, learner, data, course, rule=rule, seed=seed, progress=progress)

    def pack(self, result: Run) -> Tree:
        """See `Run.pack`."""
        return {"run": json.dumps(result._asdict())}

    def unpack(self, record: Record) -> Run:
        """See `Run.unpack`."""
        found: dict[str, Any] = json.loads(record.text("run"))
        whole: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in found.items()
        }
        return Run(**whole)
