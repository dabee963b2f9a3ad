"""What a sleep phase goes through: the equations, the model of the chip, or its circuit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
from analogdfc.spice.installed import find_binary
from analogdfc.spice.loaded import Loaded
from analogdfc.spice.netlist import Fidelity
from analogdfc.spice.ngspice import NgSpice
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.testbench import MoreSources
from analogdfc.spice.writer import number

POINTS = 4
"""Intervals of the record in each of the noise."""

_KICK = 0.02
"""What is put into a compartment to measure how the output moves, in v: small beside a tanh."""

_TOLERANCE = 1e-5
"""Error of a time step of the behavioural model, in volts; noise moves signals by some 10 mV."""


class Way(ABC):
    """A realisation that sleeps."""

    name: ClassVar[str]

    @property
    def measures(self) -> bool:
        """Whether it can show its Jacobian."""
        return True

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

    @abstractmethod
    def outputs(self, chip: Chip, x: Tensor, injected: Tensor) -> Tensor:
        """Output r_L of the free phase, (batch, n_L), while something is put into the compartments.

        Args:
            chip: the chip in its sleep.
            x: inputs, (batch, n_0).
            injected: v_fb of all neurons, layer after layer, (batch, neurons).

        Raises:
            ConvergenceError: no operating point.
        """

    def jacobian(self, chip: Chip, x: Tensor) -> Tensor:
        """J = dr_L/dv as this realisation has it, (batch, n_L, neurons).

        Measured: how far the output of the free phase moves with what is put into each compartment,
        up and down.

        Args:
            chip: the chip in its sleep.
            x: inputs, (batch, n_0).
        """
        neurons = sum(chip.design.sizes[1:])
        kicks = _KICK * torch.cat([sign * torch.eye(neurons, dtype=x.dtype) for sign in (1, -1)])
        each = x.repeat_interleave(2 * neurons, dim=0)
        found = self.outputs(chip, each, kicks.repeat(len(x), 1)).view(len(x), 2, neurons, -1)
        return ((found[:, 0] - found[:, 1]) / (2 * _KICK)).mT

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

    def outputs(self, chip: Chip, x: Tensor, injected: Tensor) -> Tensor:
        """See `Way.outputs`."""
        loop, r = chip.design.loop(), x
        parts = torch.split(injected, list(chip.design.sizes[1:]), dim=1)
        for w, b, phi, s in zip(loop.weights, loop.biases, loop.activations, parts, strict=True):
            r = phi.function(torch.addmm(b, r, w.T) + s)
        return r


@dataclass(frozen=True)
class Model(Way):
    """The behavioural model of the chip."""

    name: ClassVar[str] = "behavioural"

    def run(self, chip: Chip, x: Tensor, sleep: Sleep, first: int = 0) -> Trajectory:
        """See `Way.run`."""
        model = Behavioural([chip], tolerance=_TOLERANCE)
        return model.run(x, _still(chip, x), noise=sleep.noise(first), **_grid(sleep))[0]

    def outputs(self, chip: Chip, x: Tensor, injected: Tensor) -> Tensor:
        """See `Way.outputs`."""
        return Behavioural([chip]).outputs(x, injected)[0]


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

    @property
    def measures(self) -> bool:
        """See `Way.measures`; it takes operating points."""
        return "op" in self.simulator.analyses

    def run(self, chip: Chip, x: Tensor, sleep: Sleep, first: int = 0) -> Trajectory:
        """See `Way.run`."""
        circuit, noise = self._circuit(chip), sleep.noise(first)
        circuit.injected = lambda chip, sample: _Written(chip, noise, sample)
        return circuit.run(x, _still(chip, x), **_grid(sleep))

    def outputs(self, chip: Chip, x: Tensor, injected: Tensor) -> Tensor:
        """See `Way.outputs`; one operating point after another."""
        with _staying(self.simulator) as simulator:
            circuit = replace(self, simulator=simulator)._circuit(chip)
            circuit.injected = lambda chip, sample: _Held(chip, injected[sample])
            return circuit.outputs(x)

    def _circuit(self, chip: Chip) -> _Driven:
        return _Driven(
            chip, self.fidelity, self.simulator, time_limit=self.time_limit, jobs=self.jobs
        )

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


@contextmanager
def _staying(simulator: Simulator) -> Iterator[Simulator]:
    """The same simulator; of ngspice, where the program is there, one that stays loaded."""
    if not isinstance(simulator, NgSpice) or find_binary() is None:
        yield simulator
        return
    with Loaded() as loaded:
        loaded.solvers = simulator.solvers
        yield loaded


class _Driven(Circuit):
    """A circuit whose feedback compartments get something from outside."""

    injected: Callable[[Chip, int], MoreSources]

    def sources(self, x: Tensor, step: Tensor, sample: int) -> MoreSources:
        """See `Circuit.sources`."""
        return self.injected(self.netlist.chip, sample)


def _names(chip: Chip) -> list[str]:
    """Nodes of the sources of noise, layer after layer."""
    return [name for port in chip.circuit.noise for name in chip.circuit.names(port)]


@dataclass(frozen=True)
class _Written:
    """The noise of one sample as lines of its testbench."""

    chip: Chip
    noise: FeedbackNoise
    sample: int

    @property
    def nodes(self) -> frozenset[str]:
        """Nodes of the sources of noise."""
        return frozenset(_names(self.chip))

    def lines(self, edge: float, release: float, seconds: float) -> Iterator[str]:
        """See `MoreSources.lines`."""
        volts = self.noise.volts(self.chip, seconds / self.chip.design.seconds, self.sample)
        grid = torch.linspace(0, seconds, len(volts), dtype=torch.float64) + release
        times = torch.cat([grid.new_tensor([0.0, edge]), grid]).numpy()
        yield f"* Noise in the feedback compartments, of seed {self.noise.seed}"
        for name, values in zip(_names(self.chip), volts.T, strict=True):
            yield from waveform(f"V{name} {name} 0", times, values)


@dataclass(frozen=True)
class _Held:
    """What is put into the compartments and stays there, as lines of a testbench."""

    chip: Chip
    values: Tensor

    @property
    def nodes(self) -> frozenset[str]:
        """Nodes of the sources of noise."""
        return frozenset(_names(self.chip))

    def lines(self, edge: float, release: float, seconds: float) -> Iterator[str]:
        """See `MoreSources.lines`."""
        compartments = self.chip.design.compartments
        assert compartments is not None
        volts = self.values * (self.chip.design.card.scale.activation / compartments.gain)
        for name, value in zip(_names(self.chip), volts.tolist(), strict=True):
            yield f"V{name} {name} 0 {number(value)}"


def _still(chip: Chip, x: Tensor) -> Tensor:
    """Steps of a target that is the free output."""
    return x.new_zeros(len(x), chip.design.sizes[-1])


def _grid(sleep: Sleep) -> dict[str, Any]:
    return {"dt": sleep.phase.dt / POINTS, "steps": sleep.phase.steps * POINTS}
