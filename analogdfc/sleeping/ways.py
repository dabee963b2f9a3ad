"""What a sleep phase goes through: the equations, the model of the chip, or its circuit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.injected import FeedbackNoise
from analogdfc.dynamics import Trajectory
from analogdfc.effort import circuit_seconds, in_words
from analogdfc.errors import UserError
from analogdfc.sleeping.equations import noisy_run
from analogdfc.sleeping.phase import Sleep
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.driven import waveform
from analogdfc.spice.netlist import Fidelity
from analogdfc.spice.simulator import Simulator

POINTS = 4
"""Intervals of the record in each of the noise."""

_TOLERANCE = 1e-5
"""Error of a time step of the behavioural model, in volts; noise moves signals by some 10 mV."""


class Way(ABC):
    """A realisation that sleeps."""

    name: ClassVar[str]

    @abstractmethod
    def run(self, chip: Chip, x: Tensor, sleep: Sleep, first: int = 0) -> Trajectory:
        """Present samples with noise, the free output being the target.

        Args:
            chip: the chip in its sleep, of `Sleep.design`.
            x: inputs, (batch, n_0), dimensionless.
            sleep: how it sleeps.
            first: number of the first sample, from 0, by which noise is drawn.

        Raises:
            ConvergenceError: a run that doesn't converge.
            UserError: a chip that has no feedback compartments.
        """

    def seconds(self, chip: Chip, sleep: Sleep) -> float:
        """Time that a sample takes, in seconds, right to a factor of two or three; 0 for little.

        Args:
            chip: the chip in its sleep.
            sleep: how it sleeps.

        Raises:
            UserError: it is more than is allowed.
        """
        return 0.0

    def settings(self) -> dict[str, Any]:
        """What decides over the waveforms, as plain values."""
        return {"name": self.name}

    def made_with(self) -> str:
        """The programs that they depend on, beside this one."""
        return ""


@dataclass(frozen=True)
class Equations(Way):
    """The equations of the paper, with the weights that the chip should have."""

    name: ClassVar[str] = "ideal"

    def run(self, chip: Chip, x: Tensor, sleep: Sleep, first: int = 0) -> Trajectory:
        """See `Way.run`."""
        design, phase, noise = chip.design, sleep.phase, sleep.noise(first)
        drawn = [noise.values(design.sizes, sleep.duration, b) for b in range(len(x))]
        each = [torch.stack(layer) for layer in zip(*drawn, strict=True)]
        return noisy_run(
            design.loop(), x, each, tau_fb=phase.tau_fb, spacing=phase.dt, points=POINTS
        )


@dataclass(frozen=True)
class Model(Way):
    """The behavioural model of the chip."""

    name: ClassVar[str] = "behavioural"

    def run(self, chip: Chip, x: Tensor, sleep: Sleep, first: int = 0) -> Trajectory:
        """See `Way.run`."""
        model = Behavioural([chip], tolerance=_TOLERANCE)
        return model.run(x, _still(chip, x), noise=sleep.noise(first), **_grid(sleep))[0]


@dataclass(frozen=True)
class Simulated(Way):
    """The chip's circuit in a simulator.

    Attributes:
        simulator: what simulates it.
        fidelity: level of the cells, 'ideal' or 'macro'.
        time_limit: seconds that the simulation of one sample may take.
        jobs: simulations at a time.
    """

    name: ClassVar[str] = "circuit"
    simulator: Simulator = field(compare=False)
    fidelity: Fidelity = "macro"
    time_limit: float = 600.0
    jobs: int = 1

    def run(self, chip: Chip, x: Tensor, sleep: Sleep, first: int = 0) -> Trajectory:
        """See `Way.run`."""
        circuit = _Noisy(
            chip, self.fidelity, self.simulator, time_limit=self.time_limit, jobs=self.jobs
        )
        circuit.injected = sleep.noise(first)
        return circuit.run(x, _still(chip, x), **_grid(sleep))

    def seconds(self, chip: Chip, sleep: Sleep) -> float:
        """See `Way.seconds`."""
        # Time steps are a tenth of tau_v at most, and that of `circuit_seconds` is 0.2.
        duration = sleep.duration * 0.2 / sleep.phase.tau_v
        seconds = circuit_seconds(chip.design, self.fidelity, duration)
        if seconds > self.time_limit:
            sizes = "-".join(map(str, chip.design.sizes))
            raise UserError(
                f"{sizes} asleep in the circuit: one sample would take about {in_words(seconds)} "
                f"in {self.simulator.program}, more than the limit of "
                f"{in_words(self.time_limit)}; a shorter presentation or a smaller network takes "
                "less"
            )
        return seconds

    def settings(self) -> dict[str, Any]:
        """See `Way.settings`."""
        return {**super().settings(), "cells": self.fidelity, "simulator": self.simulator.program}

    def made_with(self) -> str:
        """The simulator."""
        return self.simulator.made_with()


class _Noisy(Circuit):
    """A circuit with noise in its feedback compartments."""

    injected: FeedbackNoise

    def sources(self, x: Tensor, step: Tensor, sample: int) -> _Written:
        """See `Circuit.sources`."""
        return _Written(self.netlist.chip, self.injected, sample)


@dataclass(frozen=True)
class _Written:
    """The noise of one sample as lines of its testbench."""

    chip: Chip
    noise: FeedbackNoise
    sample: int

    @property
    def nodes(self) -> frozenset[str]:
        """Nodes of the sources of noise."""
        return frozenset(self._names())

    def _names(self) -> list[str]:
        circuit = self.chip.circuit
        return [name for port in circuit.noise for name in circuit.names(port)]

    def lines(self, edge: float, release: float, seconds: float) -> Iterator[str]:
        """See `MoreSources.lines`."""
        volts = self.noise.volts(self.chip, seconds / self.chip.design.seconds, self.sample)
        grid = torch.linspace(0, seconds, len(volts), dtype=torch.float64) + release
        times = torch.cat([grid.new_tensor([0.0, edge]), grid]).numpy()
        yield f"* Noise in the feedback compartments, of seed {self.noise.seed}"
        for name, values in zip(self._names(), volts.T, strict=True):
            yield from waveform(f"V{name} {name} 0", times, values)


def _still(chip: Chip, x: Tensor) -> Tensor:
    """Steps of a target that is the free output."""
    return x.new_zeros(len(x), chip.design.sizes[-1])


def _grid(sleep: Sleep) -> dict[str, Any]:
    return {"dt": sleep.phase.dt / POINTS, "steps": sleep.phase.steps * POINTS}
