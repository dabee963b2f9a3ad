"""What an update is taken from: a chip at rest, its model in time, its circuit, or the equations.

All see the same weights on the same chip and answer with the same numbers, so that a training can
go through any of them, and two such trainings can be laid side by side.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Array
from analogdfc.circuit.design import Design
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.comparison import ideal_run
from analogdfc.dynamics import Trajectory, Update
from analogdfc.dynamics.loop import free_pass
from analogdfc.effort import circuit_seconds, in_words, model_seconds
from analogdfc.errors import UserError
from analogdfc.jobs import Progress, Run, Spool, run_kept
from analogdfc.losses import Loss
from analogdfc.records import Quantity, Record, Tree
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.loaded import Loaded
from analogdfc.spice.netlist import Fidelity
from analogdfc.spice.simulator import Simulator
from analogdfc.states import digest


@dataclass(frozen=True)
class Goal:
    """Makes the steps of the output target of the output that is measured in the free phase.

    Attributes:
        loss: the loss at the output.
        y: labels, (batch, n_L).
        stepsize: step lambda along the negative gradient of one sample's loss.
    """

    loss: Loss
    y: Tensor
    stepsize: float

    def __call__(self, output: Tensor) -> Tensor:
        """The steps, (batch, n_L).

        Args:
            output: r_L of the free phase, (batch, n_L).
        """
        return self.stepsize * self.loss.error(output, self.y)

    def here(self) -> Goal:
        """The same on the CPU."""
        return replace(self, y=self.y.cpu())


class Reading(NamedTuple):
    """What is read of a mini-batch.

    Attributes:
        output: r_L of the free phase, (batch, n_L).
        weights: Delta W_1..Delta W_L, mean over the mini-batch, (n_i, n_{i-1}).
        biases: Delta b_1..Delta b_L, (n_i,).
    """

    output: Tensor
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @classmethod
    def mean(cls, output: Tensor, update: Update) -> Reading:
        """Of the updates of single samples.

        Args:
            output: r_L of the free phase, (batch, n_L).
            update: of these samples.
        """
        weights, biases = (
            tuple(t.mean(dim=0) for t in ts) for ts in (update.weights, update.biases)
        )
        return cls(output, weights, biases)


class Way(ABC):
    """A realisation that updates are taken from.

    Attributes:
        name: what it is called.
        judged: what held-out samples are judged by, whatever updates are taken from.
    """

    name: ClassVar[str]
    judged: ClassVar[str] = "output of the free phase, by the static model of the chip"

    @abstractmethod
    def read(self, static: StaticChip, x: Tensor, goal: Goal) -> Reading:
        """Present a mini-batch and read the update.

        Args:
            static: the chip with the weights of this step.
            x: inputs, (batch, n_0).
            goal: makes the target.

        Raises:
            ConvergenceError: a sample without a rest, or a run that doesn't converge.
        """

    def outputs(self, static: StaticChip, x: Tensor) -> Tensor:
        """Output r_L of the free phase, (batch, n_L), as the chip at rest has it.

        Args:
            static: the chip with its present weights.
            x: inputs, (batch, n_0).
        """
        if static.control.follow is None:
            return static.control.measured(free_pass(static.loop, x).output)
        # Without auto-zero the reset switch leaves a little of the control signal in the free
        # phase, which doesn't depend on the step.
        return static.solve(x, x.new_zeros(len(x), static.chip.design.sizes[-1])).free.r[-1]

    def shown(self, static: StaticChip, x: Tensor, goal: Goal) -> Trajectory:
        """The waveforms of a mini-batch.

        Args:
            static: the chip with the weights of this step.
            x: inputs, (batch, n_0).
            goal: makes the target.

        Raises:
            UserError: a realisation that has none.
            ConvergenceError: as of `read`.
        """
        raise UserError(f"through {self.name!r}: a chip at rest has no waveforms")

    def seconds(self, design: Design) -> float:
        """Time that a sample takes, in seconds, right to a factor of two or three; 0 for little.

        Args:
            design: the design.

        Raises:
            UserError: it is more than is allowed.
        """
        return 0.0

    def settings(self) -> dict[str, Any]:
        """What decides over the updates, as plain values; empty for a chip at rest."""
        return {}


@dataclass(frozen=True)
class AtRest(Way):
    """The static model: the chip where it comes to rest.

    Attributes:
        differences: d_1..d_L of a rest state as they are read, with noise if there is any.
        tolerance: residual of Newton's method, relative to the error of the free state.
    """

    name: ClassVar[str] = "static"
    differences: Callable[[StaticState], tuple[Tensor, ...]]
    tolerance: float = 1e-6

    def read(self, static: StaticChip, x: Tensor, goal: Goal) -> Reading:
        """See `Way.read`."""
        state = static.solve(x, goal, tolerance=self.tolerance)
        differences = self.differences(state)
        if static.chip.circuit.update is not None:
            return Reading.mean(state.output, static.update(state, differences))
        shares = [d / len(x) for d in differences]
        weights = tuple(d.T @ r for d, r in zip(shares, state.presynaptic, strict=True))
        return Reading(state.output, weights, tuple(d.sum(dim=0) for d in shares))


@dataclass(frozen=True)
class InTime(Way):
    """A realisation that goes through time, whose update is the mean over the controlled phase.

    Attributes:
        duration: length of the controlled phase, in units of the controller's time.
        spool: where the readings of finished mini-batches are kept; None keeps none.

    Raises:
        UserError: a duration that isn't positive.
    """

    duration: float = 20.0
    spool: Spool | None = field(default=None, kw_only=True, compare=False)

    def __post_init__(self) -> None:
        if not self.duration > 0:
            raise UserError(f"duration = {self.duration}: it must be > 0")

    def read(self, static: StaticChip, x: Tensor, goal: Goal) -> Reading:
        """See `Way.read`; a reading that the spool has is taken from there."""
        presented = Presented(self, static.programmed(), x.cpu(), goal.here())
        (found,) = run_kept([presented], self.spool)
        weights, biases = (tuple(t.to(x) for t in ts) for ts in found[1:])
        return Reading(found.output.to(x), weights, biases)

    def shown(self, static: StaticChip, x: Tensor, goal: Goal) -> Trajectory:
        """See `Way.shown`."""
        return self.waves(static.programmed(), x.cpu(), goal.here())

    @abstractmethod
    def present(self, chip: Chip, x: Tensor, goal: Goal) -> Reading:
        """Run a mini-batch, on the CPU.

        Args:
            chip: the chip.
            x: inputs, (batch, n_0).
            goal: makes the target.
        """

    @abstractmethod
    def waves(self, chip: Chip, x: Tensor, goal: Goal) -> Trajectory:
        """The waveforms of a mini-batch.

        Args:
            chip: the chip.
            x: inputs, (batch, n_0).
            goal: makes the target.
        """

    def made_with(self) -> str:
        """The programs that a reading depends on, beside this one."""
        return ""

    def settings(self) -> dict[str, Any]:
        """See `Way.settings`."""
        return {"name": self.name, "duration": self.duration}

    def grid(self, chip: Chip) -> dict[str, Any]:
        """Spacing of the times over which updates are averaged, in units of time, and how many.

        Args:
            chip: the chip.
        """
        dt = chip.design.tau_v / 10
        return {"dt": dt, "steps": max(1, round(self.duration / dt))}


@dataclass(frozen=True)
class Equations(InTime):
    """The equations of the paper, with the weights that the chip should have."""

    name: ClassVar[str] = "ideal"
    judged: ClassVar[str] = "output of the free phase, by the equations"

    def present(self, chip: Chip, x: Tensor, goal: Goal) -> Reading:
        """See `InTime.present`."""
        run = self.waves(chip, x, goal)
        return Reading.mean(run.free.r[-1], Update.of(run))

    def waves(self, chip: Chip, x: Tensor, goal: Goal) -> Trajectory:
        """See `InTime.waves`."""
        output = free_pass(chip.design.loop(), x).output
        return ideal_run(chip.design, x, goal(output), **self.grid(chip))

    def outputs(self, static: StaticChip, x: Tensor) -> Tensor:
        """See `Way.outputs`; the equations' own."""
        loop = static.loop._replace(weights=static.weights, biases=static.biases)
        return free_pass(loop, x).output


@dataclass(frozen=True)
class Behaviour(InTime):
    """The behavioural model of the chip.

    Attributes:
        rung: detail of the amplifier model.
    """

    name: ClassVar[str] = "behavioural"
    rung: Rung = Rung.FULL

    def present(self, chip: Chip, x: Tensor, goal: Goal) -> Reading:
        """See `InTime.present`."""
        seen: list[Tensor] = []

        def step(output: Tensor) -> Tensor:
            seen[:] = [output[0]]
            return goal(output[0])

        model = Behavioural([chip], self.rung)
        (update,) = model.average(x, step, trapezoidal=True, **self.grid(chip))
        # A loop that rings is run once more, in finer steps, as a study does.
        if model.rings:
            model = Behavioural([chip], self.rung, tolerance=model.needed)
            (update,) = model.average(x, step, trapezoidal=True, **self.grid(chip))
        return Reading.mean(seen[0], update)

    def seconds(self, design: Design) -> float:
        """See `Way.seconds`."""
        return model_seconds(design, 1, self.duration / (design.tau_v / 10))

    def waves(self, chip: Chip, x: Tensor, goal: Goal) -> Trajectory:
        """See `InTime.waves`."""
        model = Behavioural([chip], self.rung)
        output = model.outputs(x)[0]
        return model.run(x, goal(output), **self.grid(chip))[0]

    def settings(self) -> dict[str, Any]:
        """See `Way.settings`."""
        return {**super().settings(), "rung": self.rung.name.lower()}


@dataclass(frozen=True)
class Simulated(InTime):
    """The chip's circuit in a simulator.

    Attributes:
        fidelity: level of the cells, 'ideal' or 'macro'.
        simulator: what simulates it; one that keeps the circuit loaded, such as `spice.loaded`,
            reads the netlist once.
        time_limit: seconds that the simulation of one sample may take.
    """

    name: ClassVar[str] = "circuit"
    fidelity: Fidelity = "macro"
    simulator: Simulator = field(default_factory=Loaded, compare=False)
    time_limit: float = 600.0

    def present(self, chip: Chip, x: Tensor, goal: Goal) -> Reading:
        """See `InTime.present`."""
        run = self.waves(chip, x, goal)
        doubled = chip.design.readout.double_sampling
        return Reading.mean(run.free.r[-1], Update.of(run, double_sampling=doubled))

    def waves(self, chip: Chip, x: Tensor, goal: Goal) -> Trajectory:
        """See `InTime.waves`."""
        circuit = Circuit(chip, self.fidelity, self.simulator, time_limit=self.time_limit)
        # The target needs the free phase's output, which costs an operating point more.
        return circuit.run(x, goal(circuit.outputs(x)), **self.grid(chip))

    def settings(self) -> dict[str, Any]:
        """See `Way.settings`."""
        return {**super().settings(), "cells": self.fidelity, "simulator": self.simulator.program}

    def made_with(self) -> str:
        """The simulator."""
        return self.simulator.made_with()

    def seconds(self, design: Design) -> float:
        """See `Way.seconds`."""
        seconds = circuit_seconds(design, self.fidelity, self.duration)
        if seconds > self.time_limit:
            sizes = "-".join(map(str, design.sizes))
            raise UserError(
                f"{sizes} through the circuit: one sample would take about {in_words(seconds)} in "
                f"{self.simulator.program}, more than the limit of {in_words(self.time_limit)}; a "
                "shorter duration or a smaller network takes less"
            )
        return seconds


@dataclass(frozen=True)
class Presented(Run[Reading]):
    """A mini-batch that is presented to a chip.

    Attributes:
        way: how it is run.
        chip: the chip as it is programmed.
        x: inputs, (batch, n_0).
        goal: makes the target.
    """

    way: InTime
    chip: Chip
    x: Tensor
    goal: Goal

    @property
    def name(self) -> str:
        """'mini-batch of 1 through the behavioural chip'."""
        return f"mini-batch of {len(self.x)} through the {self.way.name} chip"

    def settings(self) -> str:
        """What the reading depends on; see `Task.settings`."""
        bars = [bar for bar in self.chip.circuit.crossbars if bar.kind is Array.FORWARD]
        loss = type(self.goal.loss).__name__, repr(self.goal.loss)
        return json.dumps(
            {
                "way": self.way.settings(),
                "chip": [self.chip.design.sha256, self.chip.seed],
                "conductances": [digest(g) for bar in bars for g in (bar.plus, bar.minus)],
                "samples": [digest(self.x), digest(self.goal.y)],
                "goal": [*loss, self.goal.stepsize],
            }
        )

    def made_with(self) -> str:
        """See `Run.made_with`; the simulator too."""
        return ", ".join(filter(None, (super().made_with(), self.way.made_with())))

    def run(self, progress: Progress) -> Reading:
        """Run it; see `Task.run`."""
        found = self.way.present(self.chip, self.x, self.goal)
        progress(self.work)
        return found

    def pack(self, result: Reading) -> Tree:
        """See `Run.pack`."""
        named = {"output": result.output} | _numbered(result)
        return {name: Quantity(t.numpy(), "1") for name, t in named.items()}

    def unpack(self, record: Record) -> Reading:
        """See `Run.unpack`."""
        depth = self.chip.design.depth

        def read(name: str) -> Tensor:
            return torch.from_numpy(record.array(name, units="1").copy())

        weights, biases = (
            tuple(read(f"{kind}{i}") for i in range(1, depth + 1)) for kind in ("W", "b")
        )
        return Reading(read("output"), weights, biases)


def _numbered(reading: Reading) -> dict[str, Tensor]:
    layers = enumerate(zip(reading.weights, reading.biases, strict=True), start=1)
    return {f"{kind}{i}": t for i, pair in layers for kind, t in zip("Wb", pair, strict=True)}


WAYS: tuple[str, ...] = ("ideal", "static", "behavioural", "circuit")
"""What a training can go through."""
