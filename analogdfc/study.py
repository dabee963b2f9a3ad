"""One design in its realisations, on the same samples, laid side by side.

    study = Study(design, x, step)
    result = study.run(Ideal(), Model(seed=0), Cells("macro", simulator, seed=0))
    for comparison in result.comparisons: ...

A realisation says how a design runs; all return a `Trajectory`, so any two can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from analogdfc.cards.technology import Card
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.comparison import Cause, Comparison, Kind, causes, compare, ideal_run
from analogdfc.dynamics import Readings, Trajectory
from analogdfc.errors import UserError
from analogdfc.jobs import Spool
from analogdfc.memory import check_memory
from analogdfc.samples import check_samples
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.netlist import Fidelity
from analogdfc.spice.simulator import Simulator

__all__ = [
    "BEHAVIOURAL",
    "CELLS",
    "IDEAL",
    "PAIRS",
    "STATIC",
    "Cells",
    "Ideal",
    "Model",
    "Progress",
    "Realisation",
    "Rest",
    "Study",
    "StudyResult",
]

IDEAL = "ideal"
BEHAVIOURAL = "behavioural"
STATIC = "static"
CELLS: Mapping[Fidelity, str] = {"ideal": "ideal cells", "macro": "macro cells"}
"""Names of the circuit's realisations by the level of its cells."""

PAIRS: tuple[tuple[str, str, Kind], ...] = (
    (CELLS["ideal"], IDEAL, "parity"),
    (CELLS["macro"], BEHAVIOURAL, "parity"),
    (IDEAL, CELLS["macro"], "deviation"),
)
"""What is laid beside what where both have run: reference, other, and what it means."""

Progress = Callable[[str, int, int], object]
"""Called with a realisation's name, how much of it is done, and how much there is."""


class Realisation(Protocol):
    """A way to run a design."""

    @property
    def name(self) -> str:
        """Name of the realisation in results and tables."""

    def run(self, study: Study, progress: Progress | None = None) -> Trajectory:
        """Run a study's design on its samples.

        Args:
            study: what is run.
            progress: told how much of it is done.
        """


@dataclass(frozen=True)
class Study:
    """A design with the samples that it is run on, for as long as they are recorded.

    Attributes:
        design: the design.
        x: inputs, (batch, n_0), dimensionless.
        step: steps of the output target, (batch, n_L).
        dt: spacing of the record, in units of the controller's time; a tenth of tau_v by default.
        steps: number of its intervals; by default 20 units of the controller's time.
        spool: where finished runs are kept; None keeps none.

    Raises:
        UserError: a spacing or a number of intervals that isn't positive, inputs or steps that
            don't fit the design, no samples, or waveforms that this machine doesn't hold.
    """

    design: Design
    x: Tensor
    step: Tensor
    dt: float = 0.0
    steps: int = 0
    spool: Spool | None = None

    def __post_init__(self) -> None:
        if self.dt < 0 or self.steps < 0:
            raise UserError(f"dt = {self.dt}, steps = {self.steps}: both must be positive")
        if self.dt == 0:
            object.__setattr__(self, "dt", self.design.tau_v / 10)
        if self.steps == 0:
            object.__setattr__(self, "steps", round(20 / self.dt))
        check_samples(self.design.sizes, self.x, self.step, what="target steps")
        sizes, samples = self.design.sizes, len(self.x)
        # A trajectory has v, v_ff, r and r_ff of each neuron, and u and e of each output.
        signals = 4 * sum(sizes[1:]) + 2 * sizes[-1]
        check_memory(
            samples * (self.steps + 1) * signals,
            f"waveforms of {samples} samples over {self.steps} steps, {self.duration:g} units of "
            "the controller's time,",
        )

    @property
    def duration(self) -> float:
        """Length of the controlled phase, in units of the controller's time."""
        return self.steps * self.dt

    def run(self, *realisations: Realisation, progress: Progress | None = None) -> StudyResult:
        """Run realisations on the same samples and compare them.

        Args:
            realisations: what is run; names must differ.
            progress: told what is being done.

        Raises:
            UserError: no realisation, two of one name, or what they themselves refuse.
            ConvergenceError: a run that doesn't converge or doesn't end in time.
        """
        names = [r.name for r in realisations]
        if not names or len(set(names)) != len(names):
            raise UserError(f"realisations {names}: one or more of different names are needed")
        runs = {r.name: r.run(self, progress) for r in realisations}
        comparisons = [
            self.compare(a, b, kind, runs[a], runs[b])
            for a, b, kind in PAIRS
            if a in runs and b in runs
        ]
        return StudyResult(self, runs, tuple(comparisons))

    def on(self, card: Card) -> Study:
        """The same on another technology.

        Args:
            card: the technology.
        """
        return replace(self, design=self.design.on(card))

    def ideal(self) -> Trajectory:
        """The equations of the paper, integrated accurately."""
        return Ideal().run(self)

    def behavioural(
        self,
        seeds: Sequence[int | None],
        rung: Rung = Rung.FULL,
        *,
        tolerance: float = 2e-6,
        progress: Callable[[int], object] | None = None,
    ) -> list[Trajectory]:
        """The behavioural model of the chips of these seeds, run together.

        Args:
            seeds: of the chips; None for nominal components.
            rung: detail of the amplifier model.
            tolerance: error of a time step, in volts.
            progress: called after each interval with the number finished.
        """
        chips = [Chip.of(self.design, seed) for seed in seeds]
        model = Behavioural(chips, rung, tolerance=tolerance)
        return model.run(self.x, self.step, dt=self.dt, steps=self.steps, progress=progress)

    def static(self, seed: int | None) -> StaticState:
        """The free state and the rest state of a chip.

        Args:
            seed: seed of the chip; None for nominal components.
        """
        return StaticChip.of(Chip.of(self.design, seed)).solve(self.x, self.step)

    def compare(
        self, reference: str, other: str, kind: Kind, a: Trajectory, b: Trajectory
    ) -> Comparison:
        """One run measured against another.

        Args:
            reference: name of the run that the other is measured against.
            other: name of the other.
            kind: what their difference means.
            a: the reference.
            b: the other.
        """
        return compare(self.design, (reference, other), kind, a, b)

    def parity(self, circuit: Trajectory, model: Trajectory) -> Comparison:
        """A model measured against the circuit.

        Args:
            circuit: the circuit's run.
            model: the model's.
        """
        return self.compare("circuit", "model", "parity", circuit, model)

    def causes(
        self, seed: int | None, progress: Callable[[int], object] | None = None
    ) -> tuple[float, list[Cause]]:
        """What drives the update of a chip apart from the ideal one.

        Args:
            seed: seed of the chip.
            progress: called after each interval of 0.1 units of time with the number finished.

        Returns:
            The angle with everything on, in degrees, and each imperfection switched off alone.
        """
        return causes(
            self.design, seed, self.x, self.step, duration=self.duration, progress=progress
        )

    def slowest_mode(self, seed: int | None) -> float:
        """Largest real part of the full model's eigenvalues at rest, on the first sample.

        Args:
            seed: seed of the chip; None for nominal components.

        Returns:
            In 1 / (unit of the controller's time); positive where the loop is unstable.
        """
        model = Behavioural([Chip.of(self.design, seed)])
        return float(model.modes(self.x[:1], self.step[:1])[0][0][0].real)


@dataclass(frozen=True)
class StudyResult:
    """What the realisations of a study gave.

    Attributes:
        study: what was run.
        runs: the trajectories by name of the realisation.
        comparisons: of those in `PAIRS` that have run.
    """

    study: Study
    runs: Mapping[str, Trajectory]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Ideal:
    """The equations of the paper, integrated accurately.

    Attributes:
        name: name of the realisation.
    """

    name: str = IDEAL

    def run(self, study: Study, progress: Progress | None = None) -> Trajectory:
        """Integrate them.

        Args:
            study: what is run.
            progress: told how much of it is done.
        """
        return ideal_run(study.design, study.x, study.step, dt=study.dt, steps=study.steps)


@dataclass(frozen=True)
class Model:
    """The behavioural model of a chip.

    Attributes:
        seed: seed of the chip; None for nominal components.
        rung: detail of the amplifier model.
        name: name of the realisation.
    """

    seed: int | None = None
    rung: Rung = Rung.FULL
    name: str = BEHAVIOURAL

    def run(self, study: Study, progress: Progress | None = None) -> Trajectory:
        """Integrate the chip's equations.

        Args:
            study: what is run.
            progress: told how much of it is done.
        """

        def done(count: int) -> None:
            if progress is not None:
                progress(self.name, count, study.steps)

        return study.behavioural([self.seed], self.rung, progress=done)[0]


@dataclass(frozen=True)
class Rest:
    """The static model of a chip: where it comes to rest, at all times.

    Attributes:
        seed: seed of the chip; None for nominal components.
        name: name of the realisation.
    """

    seed: int | None = None
    name: str = STATIC

    def run(self, study: Study, progress: Progress | None = None) -> Trajectory:
        """Solve for the rest state.

        Args:
            study: what is run.
            progress: told how much of it is done.
        """
        state = study.static(self.seed)
        t = torch.arange(study.steps + 1, dtype=torch.float64) * study.dt

        def held(signal: Tensor) -> Tensor:
            return signal.unsqueeze(1).expand(-1, len(t), -1)

        found = state.rest
        v, v_ff, r, r_ff = (
            tuple(map(held, part)) for part in (found.v, found.v_ff, found.r, found.r_ff)
        )
        rest = Readings(v=v, v_ff=v_ff, r=r, r_ff=r_ff)
        control = state.chip.chip.circuit.control.e
        unit = study.design.card.scale.control / control.sign
        error = held(state.volts_rest[control.bank] / unit)
        return Trajectory(t=t, x=study.x, neurons=rest, u=held(state.u), e=error, free=state.free)


@dataclass(frozen=True)
class Cells:
    """A chip as a SPICE circuit.

    Attributes:
        fidelity: level of the cells.
        simulator: how the circuit is run.
        seed: seed of the chip; None for nominal components.
        time_limit: seconds that the simulation of one sample may take.
        jobs: simulations at a time.
        cells: files of one's own by the name of the cell whose place they take.
    """

    fidelity: Fidelity
    simulator: Simulator
    seed: int | None = None
    time_limit: float = 600.0
    jobs: int = 1
    cells: Mapping[str, str | Path] | None = None

    @property
    def name(self) -> str:
        """'ideal cells' or 'macro cells'."""
        return CELLS[self.fidelity]

    def run(self, study: Study, progress: Progress | None = None) -> Trajectory:
        """Simulate one sample after another.

        Args:
            study: what is run.
            progress: told how much of it is done.
        """
        circuit = Circuit(
            Chip.of(study.design, self.seed),
            self.fidelity,
            self.simulator,
            time_limit=self.time_limit,
            jobs=self.jobs,
            spool=study.spool,
            cells=self.cells,
        )

        def done(count: int) -> None:
            if progress is not None:
                progress(self.name, count, len(study.x))

        return circuit.run(study.x, study.step, dt=study.dt, steps=study.steps, progress=done)
