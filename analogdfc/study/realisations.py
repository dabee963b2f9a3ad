"""How a design runs: as equations, as a model of a chip, at rest, or as a circuit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.sequences import TransientNoise
from analogdfc.comparison import Kind, ideal_run
from analogdfc.dynamics import Readings, Trajectory
from analogdfc.kits import Kit
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.netlist import Fidelity
from analogdfc.spice.own import Own
from analogdfc.spice.simulation import PARTS
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.testbench import USUAL_CELSIUS

if TYPE_CHECKING:
    from analogdfc.study.study import Study

IDEAL = "ideal"
BEHAVIOURAL = "behavioural"
STATIC = "static"
CELLS: Mapping[Fidelity, str] = {
    "ideal": "ideal cells",
    "macro": "macro cells",
    "transistor": "transistor cells",
}
"""Names of the circuit's realisations by the level of its cells."""

_ROUGH = 30.0
"""Error of a time step that leaves an update as it is, as a part of the usual one."""

PAIRS: tuple[tuple[str, str, Kind], ...] = (
    (CELLS["ideal"], IDEAL, "parity"),
    (CELLS["macro"], BEHAVIOURAL, "parity"),
    (CELLS["transistor"], BEHAVIOURAL, "parity"),
    (IDEAL, CELLS["macro"], "deviation"),
    (IDEAL, CELLS["transistor"], "deviation"),
)
"""What is laid beside what where both have run: reference, other, and what it means."""

_NOISY = 2e-6
"""Error of a step of waveforms with noise, in volts; ten times as much adds 2 % to its power."""

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


@runtime_checkable
class Stepped(Realisation, Protocol):
    """One that goes through time in steps, whose errors have a tolerance."""

    def finer(self) -> Stepped:
        """The same with a tenth of the tolerance."""

    def tolerance(self, study: Study) -> float:
        """Error of a step that a run may have, as a part of the usual one.

        Args:
            study: what is run.
        """


@dataclass(frozen=True)
class Ideal:
    """The equations of the paper, integrated accurately.

    Attributes:
        name: name of the realisation.
        fine: take time steps of half the length, whose error is a sixteenth.
    """

    name: str = IDEAL
    fine: bool = False

    def finer(self) -> Ideal:
        """The same with half the step."""
        return replace(self, fine=True)

    def tolerance(self, study: Study) -> float:
        """Its steps are of one length, and are short for any loop.

        Args:
            study: what is run.
        """
        return 1 / 16 if self.fine else 1.0

    def run(self, study: Study, progress: Progress | None = None) -> Trajectory:
        """Integrate them.

        Args:
            study: what is run.
            progress: told how much of it is done.
        """
        return ideal_run(
            study.design, study.x, study.step, dt=study.dt, steps=study.steps, fine=self.fine
        )


@dataclass(frozen=True)
class Model:
    """The behavioural model of a chip.

    Attributes:
        seed: seed of the chip; None for nominal components.
        rung: detail of the amplifier model.
        name: name of the realisation.
        fine: take time steps of a tenth of the error that the loop's damping asks for.
        angle: what the time steps may turn an update by, in degrees, instead of the usual error of
            a step (see `Study.behavioural_to`).
        noise: of the waveforms, none by default; its steps have a tolerance of their own.
    """

    seed: int | None = None
    rung: Rung = Rung.FULL
    name: str = BEHAVIOURAL
    fine: bool = False
    angle: float | None = None
    noise: TransientNoise | None = None

    def finer(self) -> Model:
        """The same with a tenth of the tolerance."""
        return replace(self, fine=True, angle=None)

    def tolerance(self, study: Study) -> float:
        """Error of a step that a run may have, as a part of the usual one.

        Args:
            study: what is run.
        """
        return _part(self.fine) * study.model_tolerance(self.seed, self.rung)

    def run(self, study: Study, progress: Progress | None = None) -> Trajectory:
        """Integrate the chip's equations.

        Args:
            study: what is run.
            progress: told how much of it is done.
        """

        def done(count: int) -> None:
            if progress is not None:
                progress(self.name, count, study.steps)

        if self.noise is not None:
            chips = [Chip.of(study.design, self.seed)]
            model = Behavioural(chips, self.rung, tolerance=_part(self.fine) * _NOISY)
            return model.run(
                study.x,
                study.step,
                dt=study.dt,
                steps=study.steps,
                progress=done,
                noise=self.noise,
            )[0]
        if self.angle is not None:
            return study.behavioural_to([self.seed], self.angle, self.rung, progress=done)[0]
        part = _part(self.fine)
        (run,) = study.behavioural([self.seed], self.rung, precision=part, progress=done)
        return run


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
        read = None if state.chip.chip.circuit.update is None else state.chip.update(state)
        return Trajectory(
            t=t, x=study.x, neurons=rest, u=held(state.u), e=error, free=state.free, read=read
        )


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
        kit: the process of cells at level 'transistor'.
        fine: take time steps of a tenth of the error that the loop's damping asks for.
        beside: whether it is one in another simulator, laid beside that of the same level without.
        noise: of the waveforms, none by default; ideal cells have none.
        celsius: temperature of the circuit, in degrees Celsius.
        rough: take long time steps of thirty times the usual error, which turn an update by less
            than 0.001 degrees and take a fraction of the time.
    """

    fidelity: Fidelity
    simulator: Simulator
    _: KW_ONLY
    seed: int | None = None
    time_limit: float = 600.0
    jobs: int = 1
    cells: Own | None = None
    kit: Kit | None = None
    fine: bool = False
    beside: bool = False
    noise: TransientNoise | None = None
    celsius: float = USUAL_CELSIUS
    rough: bool = False

    @property
    def name(self) -> str:
        """'ideal cells', 'macro cells', 'transistor cells'; with the simulator's name if beside."""
        name = CELLS[self.fidelity]
        return f"{name} in {self.simulator.program}" if self.beside else name

    @property
    def pairs(self) -> tuple[tuple[str, str, Kind], ...]:
        """What it is laid beside, as `PAIRS`, where that isn't among these."""
        return ((CELLS[self.fidelity], self.name, "parity"),) if self.beside else ()

    def finer(self) -> Cells:
        """The same with a tenth of the tolerance."""
        return replace(self, fine=not self.rough, rough=False)

    def tolerance(self, study: Study) -> float:
        """Error of a step that a run may have, as a part of the usual one, of all samples.

        Args:
            study: what is run.
        """
        return min(self._tolerances(study))

    def _tolerances(self, study: Study) -> list[float]:
        found = study.step_tolerances(self.seed, ideal=self.fidelity == "ideal")
        allowed = _ROUGH if self.rough else _part(self.fine)
        return [allowed * part for part in found]

    def circuit(self, study: Study) -> Circuit:
        """The circuit that is simulated.

        Args:
            study: what is run.

        Raises:
            UserError: cells, a process or noise that it can't have.
        """
        return Circuit(
            Chip.of(study.design, self.seed),
            self.fidelity,
            self.simulator,
            time_limit=self.time_limit,
            jobs=self.jobs,
            spool=study.spool,
            executor=study.executor,
            cells=self.cells,
            kit=self.kit,
            noise=None if self.fidelity == "ideal" else self.noise,
            celsius=self.celsius,
        )

    def run(self, study: Study, progress: Progress | None = None) -> Trajectory:
        """Simulate one sample after another.

        Args:
            study: what is run.
            progress: told how much of it is done.
        """

        def done(count: int) -> None:
            if progress is not None:
                progress(self.name, count, PARTS * len(study.x))

        return self.circuit(study).run(
            study.x,
            study.step,
            dt=study.dt,
            steps=study.steps,
            tolerances=self._tolerances(study),
            longest=study.design.tau_v if self.rough else None,
            progress=done,
        )


def _part(fine: bool) -> float:
    return 0.1 if fine else 1.0
