"""One training of one rule: its settings, its learner, its curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from analogdfc.analysis.reading_noise import ReadingNoise
from analogdfc.arrays.layers import AnalogNetwork, analog
from analogdfc.arrays.mapping import Balanced, Mapping, PerLayer, Split
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.cards.device import DeviceCard
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design, Readout
from analogdfc.controller import PI
from analogdfc.datasets import Dataset, Samples
from analogdfc.devices import DeviceModel
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import Backpropagation, LearningRule, SteadyStateDFC
from analogdfc.losses import Loss, SoftmaxCrossEntropy
from analogdfc.network import Network
from analogdfc.onchip.rule import HardwareDFC
from analogdfc.training.metrics import are_classes
from analogdfc.training.optimizers import Adam, OptimizerSettings

RULES = ("hardware", "dfc-ss", "bp")
"""What is trained: through the chip, by the ideal rule, by backpropagation."""

GRANULARITY = 1 / 64
"""Granule of a write, in units of the largest representable weight, for devices without pulses."""

Measure = Literal["accuracy", "loss"]


@dataclass(frozen=True)
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
    outputs: Callable[[Tensor], Tensor]


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
        return Learner(rule, course.optimizer.make(network.parameters()), network)
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
        return Learner(rule, course.optimizer.make(network.parameters()), network)
    design = Design.of(
        network,
        feedback,
        card,
        controller=course.controller,
        tau_v=course.tau_v,
        readout=course.readout,
    )
    devices, optimizer = on_devices(network, device, seed, course)
    hardware = HardwareDFC(
        devices,
        Chip.of(design, seed),
        target_stepsize=course.target_stepsize,
        loss=course.loss,
        noise=course.noise,
        generator=torch.Generator().manual_seed(seed),
    )
    return Learner(hardware, optimizer, hardware.outputs)


def on_devices(
    network: Network,
    device: DeviceCard | DeviceModel | str | Path,
    seed: int,
    course: Course | None = None,
) -> tuple[AnalogNetwork, PulsedUpdate]:
    """A network on devices, with an optimiser that moves them as they allow.

    Devices with pulses are pulsed around the middle of their window, others programmed anew.

    Args:
        network: whose weights the devices are programmed to.
        device: the device.
        seed: of every random number.
        course: how training goes.

    Raises:
        UserError: what the device or the course refuse.
    """
    course = course or Course()
    if isinstance(device, str | Path):
        device = DeviceCard.load(device)
    model = device.model() if isinstance(device, DeviceCard) else device
    granularity = course.granularity
    if granularity is None and model.pulses is None and course.mode != "ideal":
        granularity = GRANULARITY
    pulsed = granularity is None
    mapping = Mapping(Balanced() if pulsed else Split(), PerLayer(course.headroom))
    chip = analog(network, model, seed, mapping=mapping)
    mode = course.mode or ("stochastic" if pulsed else "mixed-precision")
    inner = course.optimizer.make(chip.parameters())
    return chip, PulsedUpdate(chip, inner, mode, granularity=granularity)


class Training:
    """One training with its evaluations."""

    def __init__(
        self,
        learner: Learner,
        data: Dataset,
        target: float,
        measure: Measure,
        every: int,
        epochs: int,
        course: Course,
    ) -> None:
        self.learner, self.data, self.course = learner, data, course
        self.target, self.measure = target, measure
        self.every, self.budget = every, epochs * len(data.x)
        self.held_out = Samples(data.x_test, data.y_test)
        self.classes = are_classes(data.y_test)
        self.samples: list[int] = []
        self.loss: list[float] = []
        self.accuracy: list[float] = []

    def run(self, rule: str, seed: int, progress: Callable[[int], object] | None) -> Run:
        """Train until the target or the end of the budget."""
        stopped, seen, waiting = None, 0, 0
        try:
            reached = 0 if self._evaluated(0) else None
            for index in () if reached == 0 else self._batches(seed):
                self._step(index)
                seen += len(index)
                waiting += 1
                if progress is not None:
                    progress(len(index))
                if waiting == self.course.ageing:
                    self._wait(waiting)
                    waiting = 0
                due = seen // self.every > (seen - len(index)) // self.every
                if (due or seen == self.budget) and self._evaluated(seen):
                    reached = seen
                    break
        except ConvergenceError as error:
            stopped, reached = f"after {seen} samples: {error}", None
        if progress is not None and seen < self.budget:
            progress(self.budget - seen)
        curves = (tuple(self.samples), tuple(self.loss), tuple(self.accuracy))
        return Run(rule, seed, *curves, reached, *self._counts(), stopped)

    def _batches(self, seed: int) -> Iterator[Tensor]:
        source = torch.Generator().manual_seed(seed)
        for _ in range(self.budget // len(self.data.x)):
            order = torch.randperm(len(self.data.x), generator=source)
            yield from torch.split(order, self.course.batch_size)

    def _step(self, index: Tensor) -> None:
        optimizer = self.learner.optimizer
        loss = self.learner.rule.backward(self.data.x[index], self.data.y[index])
        if not math.isfinite(float(loss)):
            raise ConvergenceError("the loss left the finite numbers")
        optimizer.step()

    def _wait(self, batches: int) -> None:
        network = self.learner.rule.network
        if self.course.period > 0 and isinstance(network, AnalogNetwork):
            network.wait(batches * self.course.batch_size * self.course.period)
            network.read()

    def _evaluated(self, seen: int) -> bool:
        """Take the figures; whether they meet the target."""
        with torch.no_grad():
            r = self.learner.outputs(self.held_out.x)
            loss = float(self.course.loss.value(r, self.held_out.y).mean())
            right = r.argmax(dim=-1) == self.held_out.y.argmax(dim=-1)
        if not math.isfinite(loss):
            raise ConvergenceError("the loss on held-out samples left the finite numbers")
        accuracy = float(right.double().mean()) if self.classes else math.nan
        self.samples.append(seen)
        self.loss.append(loss)
        self.accuracy.append(accuracy)
        if self.measure == "accuracy":
            return accuracy >= self.target
        return loss <= self.target

    def _counts(self) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        optimizer = self.learner.optimizer
        if not isinstance(optimizer, PulsedUpdate):
            return None, None
        counts = optimizer.counts
        return tuple(c.up + c.down for c in counts), tuple(c.attempts for c in counts)
