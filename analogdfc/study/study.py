"""A design with the samples that it runs on, and what its realisations give."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from analogdfc.analysis.ringing import Linearised, linearised, step_tolerance
from analogdfc.cards.technology import Card
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.averages import Ending, Until
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.comparison import Cause, Comparison, Kind, StepError, causes, compare
from analogdfc.dynamics import Trajectory
from analogdfc.dynamics.esdirk import TOLERANCE
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.jobs import Spool
from analogdfc.memory import check_memory
from analogdfc.samples import check_samples
from analogdfc.study.realisations import PAIRS, Cells, Ideal, Progress, Realisation, Stepped

_TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
"""Errors of a time step that are tried until an update doesn't turn any more, in volts."""


@dataclass(frozen=True)
class Study:
    """A design with the samples that it is run on, for as long as they are recorded.

    Attributes:
        design: the design.
        x: inputs, (batch, n_0), dimensionless.
        step: steps of the output target, (batch, n_L).
        dt: spacing of the record, in units of the controller's time; a tenth of tau_v by default.
        steps: number of its intervals; by default 20 units of the controller's time, or
            10 tau_v where these are longer.
        spool: where finished runs are kept; None keeps none.
        executor: what simulates circuits, see `analogdfc.jobs`; None as many threads of this
            process as they say.

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
    executor: Executor | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.dt < 0 or self.steps < 0:
            raise UserError(f"dt = {self.dt}, steps = {self.steps}: both must be positive")
        if self.dt == 0:
            object.__setattr__(self, "dt", self.design.tau_v / 10)
        if self.steps == 0:
            object.__setattr__(self, "steps", round(max(20.0, 10 * self.design.tau_v) / self.dt))
        check_samples(self.design.sizes, self.x, self.step, what="target steps")
        sizes, samples = self.design.sizes, len(self.x)
        # A trajectory has v, v_ff, r and r_ff of each neuron, and u and e of each output.
        signals = 4 * sum(sizes[1:]) + 2 * sizes[-1]
        check_memory(
            samples * (self.steps + 1) * signals,
            f"waveforms of {samples} samples over {self.steps} steps, {self.duration:g} units of "
            "the controller's time,",
            "A shorter time or fewer samples need less",
        )

    @property
    def duration(self) -> float:
        """Length of the controlled phase, in units of the controller's time."""
        return self.steps * self.dt

    def run(
        self,
        *realisations: Realisation,
        check_steps: bool = False,
        progress: Progress | None = None,
    ) -> StudyResult:
        """Run realisations on the same samples and compare them.

        Args:
            realisations: what is run; names must differ.
            check_steps: run those that go through time in steps once more, at a tenth of the
                tolerance, and state how far that is from the run.
            progress: told what is being done.

        Raises:
            UserError: no realisation, two of one name, or what they themselves refuse.
            ConvergenceError: a run that doesn't converge or doesn't end in time.
        """
        names = [r.name for r in realisations]
        if not names or len(set(names)) != len(names):
            raise UserError(f"realisations {names}: one or more of different names are needed")
        for one in realisations:
            if isinstance(one, Cells):
                one.circuit(self)  # says what it refuses before anything has run for long
        runs = {r.name: r.run(self, progress) for r in realisations}
        further = [pair for r in realisations if isinstance(r, Cells) for pair in r.pairs]
        comparisons = [
            self.compare(a, b, kind, runs[a], runs[b])
            for a, b, kind in (*PAIRS, *further)
            if a in runs and b in runs
        ]
        errors = {}
        for one in realisations:
            if check_steps and isinstance(one, Stepped):
                errors[one.name] = self._step_error(one, runs[one.name], progress)
        return StudyResult(self, runs, tuple(comparisons), errors)

    def _step_error(self, one: Stepped, run: Trajectory, progress: Progress | None) -> StepError:
        def told(name: str, done: int, of: int) -> None:
            if progress is not None:
                progress(f"{name}, finer steps", done, of)

        finer = one.finer().run(self, told)
        return StepError.of(self.design, one.name, run, finer, one.tolerance(self))

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
        tolerance: float | None = None,
        precision: float = 1.0,
        progress: Callable[[int], object] | None = None,
    ) -> list[Trajectory]:
        """The behavioural model of the chips of these seeds, run together.

        Args:
            seeds: of the chips; None for nominal components.
            rung: detail of the amplifier model.
            tolerance: error of a time step, in volts; by default 2e-6, and less for a loop that
                rings, which is then run once more.
            precision: part of that default that is allowed.
            progress: called after each interval with the number finished.
        """
        key = tuple(seeds), rung
        chips = [Chip.of(self.design, seed) for seed in seeds]
        allowed = precision * self._needed.get(key, TOLERANCE) if tolerance is None else tolerance
        model = Behavioural(chips, rung, tolerance=allowed)
        runs = model.run(self.x, self.step, dt=self.dt, steps=self.steps, progress=progress)
        if tolerance is not None or key in self._needed:
            return runs
        self._needed[key] = model.needed / precision
        if not model.rings:
            return runs
        return self.behavioural(seeds, rung, precision=precision, progress=progress)

    def behavioural_to(
        self,
        seeds: Sequence[int | None],
        angle: float,
        rung: Rung = Rung.FULL,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> list[Trajectory]:
        """The behavioural model of chips, in steps no finer than their updates need.

        A run counts when the update of no layer has turned, since one whose steps may err by ten
        times as much, by more than the angle.

        Args:
            seeds: of the chips; None for nominal components.
            angle: what is allowed, in degrees; > 0.
            rung: detail of the amplifier model.
            progress: called after each interval with the number finished.

        Raises:
            UserError: an angle that isn't positive.
            ConvergenceError: steps as fine as rounding allows aren't enough.
        """
        if not angle > 0:
            raise UserError(f"angle = {angle} degrees: it must be > 0")
        before: list[Trajectory] | None = None
        for tolerance in _TOLERANCES:
            runs = self.behavioural(seeds, rung, tolerance=tolerance, progress=progress)
            if before is not None:
                pairs = zip(runs, before, strict=True)
                found = [self.parity(fine, rough).updates.values() for fine, rough in pairs]
                if all(update.angle <= angle for one in found for update in one):
                    return runs
            before = runs
        raise ConvergenceError(
            f"the update still turns by more than {angle:g} degrees between time steps that err by "
            f"{_TOLERANCES[-2]:g} and {_TOLERANCES[-1]:g} V; allow more"
        )

    def until_settled(
        self,
        seed: int | None,
        until: Until,
        rung: Rung = Rung.FULL,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> tuple[Study, Ending]:
        """The same for only as long as the update of a chip needs to settle.

        Args:
            seed: of the chip; None for nominal components.
            until: when it has settled.
            rung: detail of the amplifier model.
            progress: called after each interval with the number finished.

        Returns:
            The study, which is as long as this one where the update does not settle before its
            end, and when and why it ends.

        Raises:
            UserError: a study that is too short to see an update settle.
            ConvergenceError: no operating point.
        """
        model = Behavioural([Chip.of(self.design, seed)], rung, tolerance=TOLERANCE)
        model.average(
            self.x, self.step, dt=self.dt, steps=self.steps, until=until, progress=progress
        )
        assert model.ending is not None
        steps = math.ceil(model.ending.time / self.dt * (1 - 1e-9))
        return replace(self, steps=steps), model.ending

    def model_tolerance(self, seed: int | None, rung: Rung = Rung.FULL) -> float:
        """Error of a time step of the behavioural model of a chip, as a part of the usual one.

        Args:
            seed: seed of the chip; None for nominal components.
            rung: detail of the amplifier model.
        """
        if ((seed,), rung) not in self._needed:
            self.behavioural([seed], rung)
        return self._needed[(seed,), rung] / TOLERANCE

    @cached_property
    def _needed(self) -> dict[tuple[tuple[int | None, ...], Rung], float]:
        return {}

    def static(self, seed: int | None) -> StaticState:
        """The free state and the rest state of a chip.

        At rest nothing is delayed: whether amplifiers' own delays let the chip come to rest is
        what `stability_of` and the model in time tell.

        Args:
            seed: seed of the chip; None for nominal components.

        Raises:
            ConvergenceError: a sample that comes to no rest within the amplifiers' rails.
        """
        state = StaticChip.of(Chip.of(self.design, seed)).solve(self.x, self.step)
        state.check_rails(self.design.card.amplifier.reach)
        return state

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
        first = self._linearised(seed)[0]
        if first.missing is not None:
            raise first.missing
        return float(first.values[0].real)

    def step_tolerances(
        self, seed: int | None, rung: Rung = Rung.FULL, *, ideal: bool = False
    ) -> list[float]:
        """Error of a time step that each sample allows, as a part of the usual one.

        It follows the damping of the loop at rest; at the free state where there is no rest.

        Args:
            seed: seed of the chip; None for nominal components.
            rung: detail of the amplifier model.
            ideal: of the chip without any imperfection.
        """
        spectra = self._linearised(seed, rung, ideal=ideal)
        return [step_tolerance(one.values, self.duration) for one in spectra]

    def without_rest(self, seed: int | None) -> dict[int, ConvergenceError]:
        """Samples of which no rest is found, counted from 0, with why.

        Args:
            seed: seed of the chip; None for nominal components.
        """
        spectra = enumerate(self._linearised(seed))
        return {k: one.missing for k, one in spectra if one.missing is not None}

    def _linearised(
        self, seed: int | None, rung: Rung = Rung.FULL, *, ideal: bool = False
    ) -> list[Linearised]:
        """The loop of every sample, linear about where it rests."""
        key = seed, rung, ideal
        if key not in self._known:
            design = self.design.ideal() if ideal else self.design
            model = Behavioural([Chip.of(design, seed)], rung)
            self._known[key] = linearised(model, self.x, self.step)
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple[int | None, Rung, bool], list[Linearised]]:
        return {}


@dataclass(frozen=True)
class StudyResult:
    """What the realisations of a study gave.

    Attributes:
        study: what was run.
        runs: the trajectories by name of the realisation.
        comparisons: of those in `PAIRS` that have run.
        step_errors: what the time steps do to each run, where that was asked for.
    """

    study: Study
    runs: Mapping[str, Trajectory]
    comparisons: tuple[Comparison, ...]
    step_errors: Mapping[str, StepError] = field(default_factory=dict)
