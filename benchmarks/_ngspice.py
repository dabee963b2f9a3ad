"""The behavioural model beside programs ngspice and VACASK, at equal accuracy.

The error of a side is that of its own integration: how far its update lies from that of the same
side with much smaller steps, relative, in the layer where that is most; those of a circuit are
ngspice's for all simulators. The model takes the largest of its tolerances with which no sample
errs by more than the simulator does.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.dynamics import Trajectory, Update
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.installed import BINARY_VARIABLE
from analogdfc.spice.simulator import Simulator
from analogdfc.study import Cells
from benchmarks._measure import Case

_TOLERANCES = (1e-3, 3e-4, 1e-4, 5e-5, 2e-5, 1e-5, 2e-6, 2e-7)
"""The model's, in volts; the usual one is 2e-6."""

_TIGHT = 2e-9
"""That of the run that the model's errors are counted from, in volts."""

_FINE = 0.01
"""Error of a step of the circuit that ngspice's errors are counted from, as a part of the usual."""

_TURNS = 2
"""How often each side is timed, in turns; the fastest counts."""


@dataclass(frozen=True)
class Sides:
    """A sample in a simulator beside one of many in the model.

    Attributes:
        ours: CPU seconds of a sample in the model.
        theirs: CPU seconds of a sample in the simulator.
        tolerance: of the model, in volts.
        error: of the model's update, the worst of all samples.
        their_error: of the simulator's update.
    """

    ours: float
    theirs: float
    tolerance: float
    error: float
    their_error: float

    @property
    def faster(self) -> float:
        """How many times faster the model is."""
        return self.theirs / self.ours


class Race:
    """Simulators and the model, on the samples of a case.

    Args:
        samples: all samples, as the model runs them; simulators run the first.
        first: the case of that alone.
        ours: CPU seconds of the model for all samples with a tolerance in volts, anew each time.
        reference: the program ngspice that the errors of all simulators are counted from.
    """

    def __init__(
        self, samples: Case, first: Case, ours: Callable[[float], float], reference: str
    ) -> None:
        self._samples, self._first, self._ours = samples, first, ours
        self._reference = reference
        self._errors: dict[float, float] = {}

    def against(self, engine: Simulator, *, rough: bool = False) -> Sides:
        """Both sides.

        Args:
            engine: the simulator.
            rough: take the long time steps of `Cells.rough` in it.
        """
        cells = Cells("macro", engine, seed=0, rough=rough)
        update, theirs = self._timed(cells)
        their_error = float(_distance(update, self._fine).max())
        tolerance = next((t for t in _TOLERANCES if self._error(t) <= their_error), _TOLERANCES[-1])
        ours = self._ours(tolerance)
        for _ in range(_TURNS - 1):
            theirs = min(theirs, self._timed(cells)[1])
            ours = min(ours, self._ours(tolerance))
        count = len(self._samples.x)
        return Sides(ours / count, theirs, tolerance, self._error(tolerance), their_error)

    def models_apart(self) -> float:
        """How far the model and the circuit lie apart in the first sample, both in small steps."""
        tight = self._tight
        first = Update(*(tuple(p[:1] for p in parts) for parts in (tight.weights, tight.biases)))
        return float(_distance(first, self._fine))

    def _timed(self, cells: Cells) -> tuple[Update, float]:
        before = _children()
        run = cells.run(self._first)
        return self._update(run), _children() - before

    def _error(self, tolerance: float) -> float:
        if tolerance not in self._errors:
            self._errors[tolerance] = float(_distance(self._model(tolerance), self._tight).max())
        return self._errors[tolerance]

    def _update(self, run: Trajectory) -> Update:
        return Update.of(run, double_sampling=self._first.design.readout.double_sampling)

    def _model(self, tolerance: float) -> Update:
        here = self._samples
        model = Behavioural([Chip.of(here.design, 0)], tolerance=tolerance)
        (run,) = model.run(here.x, here.step, dt=here.dt, steps=here.steps)
        return self._update(run)

    @cached_property
    def _tight(self) -> Update:
        return self._model(_TIGHT)

    @cached_property
    def _fine(self) -> Update:
        here = self._first
        circuit = Circuit(Chip.of(here.design, 0), "macro", simulator(self._reference))
        found = circuit.run(
            here.x, here.step, dt=here.dt, steps=here.steps, tolerances=[_FINE] * len(here.x)
        )
        return self._update(found)


def simulator(program: str) -> Simulator:
    """A program ngspice.

    Args:
        program: its path.

    Raises:
        UserError: it is none.
    """
    before = os.environ.get(BINARY_VARIABLE)
    os.environ[BINARY_VARIABLE] = program
    try:
        return get_simulator("batch")
    finally:
        if before is None:
            del os.environ[BINARY_VARIABLE]
        else:
            os.environ[BINARY_VARIABLE] = before


def _distance(update: Update, reference: Update) -> Tensor:
    """Distance of each sample in the layer where it is largest, (batch,), relative."""
    worst = update.weights[0].new_zeros(len(update.weights[0]))
    for found, exact in zip(update.weights, reference.weights, strict=True):
        off = (found - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
        worst = worst.maximum(off)
    return worst


def _children() -> float:
    """CPU seconds that processes have taken which this one has started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
