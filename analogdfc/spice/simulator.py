"""An analysis of a circuit: the interface that every simulator has.

How a deck is run is in the engines, one a file; which of them is meant by a name is in
`analogdfc.spice.engines`. What all have in common is here: what a deck must be, and what a run must
have given before it is taken.
"""

from __future__ import annotations

import difflib
import math
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from analogdfc.errors import ConvergenceError, TimeLimitError, UserError
from analogdfc.scratch import Scratch
from analogdfc.spice.compiler import compiled
from analogdfc.spice.deck import (
    check_analysis,
    check_deck,
    logical_lines,
    stop_time,
    vector_name,
    with_saves,
)
from analogdfc.spice.diagnosis import (
    RefusedError,
    alike,
    raise_for_messages,
    reached_time,
    written,
)
from analogdfc.spice.interfaces import mismatch
from analogdfc.spice.rawfile import RawPlot
from analogdfc.spice.veriloga import VerilogA

DECK_NAME = "deck.cir"

_Found = TypeVar("_Found")

_PLOTS: dict[str, tuple[str, ...]] = {
    "tran": ("transient",),
    "op": ("operating point", "op"),
    "dc": ("dc",),
    "ac": ("ac",),
    "noise": ("noise spectral", "noise1"),
}
"""What the names of plots begin with, in lower case, by analysis."""

_TOTALS = ("onoise_total", "inoise_total")
"""Without these, which a second plot has, ngspice ends a noise analysis with an error."""

_AXES = frozenset({"time", "frequency", "v(v-sweep)", "i(i-sweep)", "v-sweep", "i-sweep"})
_STEPS = re.compile(r"gmin|source stepping|singular matrix", re.IGNORECASE)
_LEAST_SPACE = 64 * 1024
"""Bytes of a temporary folder below which it counts as full."""


@dataclass(frozen=True)
class Waveforms:
    """What a transient analysis returns.

    Attributes:
        time: (points,), float64, in seconds; the simulator's own time points, not evenly spaced.
        signals: the signals by the names as asked, each (points,), float64, in volts or amperes.
        messages: lines that the simulator wrote on the way, warnings among them.
        made_by: program, version and linear solver, such as 'ngspice 46, KLU'.
    """

    time: NDArray[np.float64]
    signals: dict[str, NDArray[np.float64]]
    messages: tuple[str, ...] = ()
    made_by: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Lines among the messages that are warnings; a run as it should be has none.

        Those that differ only in the part that they name are one, which says how many they are.
        Steps on the way to an operating point, which was found in the end, don't count.
        """
        lines = (" ".join(line.split()) for line in self.messages)
        return alike(
            line for line in lines if "warning" in line.lower() and not _STEPS.search(line)
        )


@dataclass(frozen=True)
class Sweep:
    """What an analysis other than a transient one returns.

    Attributes:
        points: (points,), float64: frequencies in hertz, or values of the source that is swept, in
            volts or amperes; a single 0 for an operating point.
        signals: the signals by the names as asked, each (points,): complex128 in volts or amperes
            of 'ac', else float64; spectral densities in V/Hz^0.5 of 'noise'.
        messages: lines that the simulator wrote on the way, warnings among them.
        made_by: program, version and linear solver, such as 'ngspice 46, KLU'.
    """

    points: NDArray[np.float64]
    signals: dict[str, NDArray[Any]]
    messages: tuple[str, ...] = ()
    made_by: str = ""


class Simulator(ABC):
    """Runs decks, each from a clean state; holds no state between runs.

    Attributes:
        name: the name by which `get_simulator` knows it.
        program: what it is called in messages.
        solvers: the linear solvers that a run tries, the first that works is taken.
        analyses: those that `analyse` takes.
        draws: whether it draws random parameters, `agauss`, and `.options seed` repeats them.
    """

    name: ClassVar[str]
    program: ClassVar[str] = "the simulator"
    solvers: tuple[str, ...] = ("",)
    analyses: ClassVar[tuple[str, ...]] = ()
    draws: ClassVar[bool] = False

    def made_with(self) -> str:
        """What says that another run would be one of the same program and solvers."""
        return self.name

    def version(self) -> str | None:
        """Version of the program, e.g. '46'; None if it doesn't tell."""
        return None

    def run(
        self,
        netlist: str,
        *,
        save: Sequence[str],
        time_limit: float = 600.0,
        progress: Callable[[float], object] = lambda share: None,
        modules: Sequence[VerilogA] = (),
    ) -> Waveforms:
        """Run the transient analysis of a deck.

        Args:
            netlist: the whole deck, from its title line to '.end', with one `.tran` line; no
                `.save`, no control block, no included file (see `analogdfc.spice.deck`).
            save: the signals to return: nodes ('x1.r' or 'v(x1.r)') and currents of voltage
                sources and other devices that have one ('i(v1)').
            time_limit: seconds of wall-clock time after which the run is stopped; > 0.
            progress: called while it runs with the share that is simulated, 0 to 1.
            modules: Verilog-A that the deck names, compiled and loaded for it.

        Returns:
            The waveforms from the first to the last time point, none missing.

        Raises:
            ConvergenceError: ngspice stopped before the stop time of `.tran`, found no operating
                point, or returned a value that isn't finite.
            UserError: a deck that is refused or has a syntax error, a signal that isn't in it, a
                run past its time limit, ngspice missing or crashed.
        """
        _check_call(save, time_limit)
        check_deck(netlist)
        stop_time(netlist)

        def attempt(
            solver: str,
        ) -> tuple[Sequence[str], NDArray[np.float64], dict[str, NDArray[np.float64]]]:
            messages, plot = self._attempt(
                netlist, save, solver, time_limit, progress, modules=modules
            )
            with _logged(lambda: "\n".join(messages)):
                return messages, *_extract(plot, save, netlist, self.program)

        (messages, time, signals), made_by = self._first(attempt, self.solvers)
        return Waveforms(time, signals, tuple(messages), made_by)

    def analyse(
        self,
        netlist: str,
        *,
        analysis: Literal["op", "dc", "ac", "noise"],
        save: Sequence[str],
        time_limit: float = 600.0,
        modules: Sequence[VerilogA] = (),
    ) -> Sweep:
        """Run the one analysis of a deck that isn't a transient one.

        Args:
            netlist: as `run` takes it, with one `.op`, `.dc`, `.ac` or `.noise` line.
            analysis: which of these it has.
            save: as `run` takes it; of 'noise' 'onoise_spectrum' and 'inoise_spectrum'.
            time_limit: seconds of wall-clock time after which the run is stopped; > 0.
            modules: as `run` takes them.

        Raises:
            ConvergenceError: no operating point, or a value that isn't finite.
            UserError: as of `run`, and an engine that has no such analysis.
        """
        if analysis not in self.analyses:
            known = ", ".join(self.analyses) or "the transient one only"
            raise UserError(f"{self.program}: no analysis {analysis!r} here; there are: {known}")
        _check_call(save, time_limit)
        check_deck(netlist, analysis)
        check_analysis(netlist, analysis)

        def attempt(
            solver: str,
        ) -> tuple[Sequence[str], NDArray[np.float64], dict[str, NDArray[Any]]]:
            kept = [*save, *_TOTALS] if analysis == "noise" else save
            messages, plot = self._attempt(
                netlist, kept, solver, time_limit, None, analysis, modules
            )
            with _logged(lambda: "\n".join(messages)):
                return messages, *_swept(plot, save, netlist, self.program)

        (messages, points, signals), made_by = self._first(attempt, self.solvers_of(analysis))
        return Sweep(points, signals, tuple(messages), made_by)

    def solvers_of(self, analysis: str) -> tuple[str, ...]:
        """The linear solvers that an analysis tries, the first that works is taken.

        Args:
            analysis: one of `analyses`.

        Raises:
            UserError: it has no solver for it.
        """
        return self.solvers

    def _first(
        self, attempt: Callable[[str], _Found], solvers: Sequence[str]
    ) -> tuple[_Found, str]:
        """What the first solver returns that converges, and what says which that was."""
        failed: list[str] = []
        for solver in solvers:
            try:
                return attempt(solver), self._made_by(solver, failed)
            except ConvergenceError:
                if solver == solvers[-1]:
                    raise
                failed.append(solver)
        raise UserError(f"{self.program}: names no solver")

    def _load(self, folder: Path, modules: Sequence[VerilogA]) -> None:
        """Put compiled Verilog-A into the folder of a run, before `_write`.

        Args:
            folder: the folder.
            modules: what is compiled.
        """
        if modules:
            self._check_modules()
        for name, content in compiled(modules):
            (folder / name).write_bytes(content)

    def _check_modules(self) -> None:
        """Make sure that it loads compiled Verilog-A.

        Raises:
            UserError: it doesn't.
        """
        raise UserError(f"{self.program} takes no Verilog-A here; the simulator 'vacask' does")

    def _made_by(self, solver: str, failed: Sequence[str]) -> str:
        words = " ".join(filter(None, (self.program, self.version())))
        fallen = f"{solver} since {' and '.join(failed)} did not converge" if failed else solver
        return ", ".join(filter(None, (words, fallen)))

    def _attempt(
        self,
        netlist: str,
        save: Sequence[str],
        solver: str,
        time_limit: float,
        progress: Callable[[float], object] | None,
        analysis: str = "tran",
        modules: Sequence[VerilogA] = (),
    ) -> tuple[list[str], RawPlot]:
        """Messages of a run with one solver, and its one analysis."""
        try:
            with Scratch() as folder:
                self._load(folder, modules)
                self._write(folder, netlist, save, solver)
                with _logged(lambda: written(folder)):
                    messages, found = self._simulate(folder, netlist, save, time_limit, progress)
        except OSError as error:
            raise UserError(
                f"{tempfile.gettempdir()}: the temporary folder can't be used: "
                f"{error.strerror or error}. Make room there, or name another in TMPDIR"
            ) from error
        plots = [p for p in found if p.name.lower().startswith(_PLOTS[analysis])]
        if len(plots) != 1:
            what = "transient" if analysis == "tran" else f"{analysis!r}"
            raise ConvergenceError(f"{self.program} returned {len(plots)} {what} analyses, not one")
        return messages, plots[0]

    def _simulate(
        self,
        folder: Path,
        netlist: str,
        save: Sequence[str],
        time_limit: float,
        progress: Callable[[float], object] | None,
    ) -> tuple[list[str], Sequence[RawPlot]]:
        """Messages and plots of the deck in the folder; an error says all that is known."""
        stop = 0.0 if progress is None else stop_time(netlist)

        def tell() -> None:
            if progress is not None:
                progress(min((reached_time(folder) or 0.0) / stop, 1.0))

        try:
            exit_code, messages = self._execute(folder, time_limit, tell)
            raise_for_messages(messages, exit_code, save)
            return messages, self._read(folder)
        except TimeLimitError as error:
            if progress is None:
                raise
            reached = reached_time(folder)
            got = 0.0 if reached is None else reached
            raise TimeLimitError(f"{error}. It had simulated {got:.4g} s of {stop:.4g} s") from None
        except RefusedError as error:
            why = mismatch(netlist)
            raise RefusedError(f"{error}. {why}" if why else str(error)) from None
        except UserError as error:
            if shutil.disk_usage(folder).free < _LEAST_SPACE:
                raise UserError(
                    f"{folder.parent}: the temporary folder is full, so the waveforms of "
                    f"{self.program} are incomplete. Make room there, or name another in TMPDIR"
                ) from error
            raise

    def _write(self, folder: Path, netlist: str, save: Sequence[str], solver: str) -> None:
        """Write what a run needs into its folder: here a deck for ngspice.

        Args:
            folder: one with nothing but compiled Verilog-A.
            netlist: the deck.
            save: the signals to keep.
            solver: one of `solvers`.
        """
        (folder / DECK_NAME).write_text(with_saves(netlist, save), encoding="utf-8")

    @abstractmethod
    def _execute(
        self, folder: Path, time_limit: float, progress: Callable[[], object]
    ) -> tuple[int, list[str]]:
        """Simulate the deck in the folder; return the exit code and the program's messages.

        Args:
            folder: has what `_write` wrote.
            time_limit: in seconds.
            progress: called some times a second.
        """

    @abstractmethod
    def _read(self, folder: Path) -> Sequence[RawPlot]:
        """Read what `_execute` left in the folder."""


@contextmanager
def _logged(log: Callable[[], str]) -> Iterator[None]:
    """Give an error that is raised within the simulator's log."""
    try:
        yield
    except UserError as error:
        error.log = error.log or log()
        raise


def _check_call(save: Sequence[str], time_limit: float) -> None:
    if not (math.isfinite(time_limit) and time_limit > 0):
        raise UserError(f"time_limit: {time_limit!r} s must be a finite number above 0")
    if isinstance(save, str):
        raise UserError("save: a list of signals is needed, not one text")


def _columns(plot: RawPlot, save: Sequence[str], netlist: str) -> dict[str, int]:
    """Columns of a plot by the names of `vector_name`; all that was asked for is among them."""
    columns = {
        variable if variable in _AXES else vector_name(variable): index
        for index, variable in enumerate(plot.variables)
    }
    missing = [signal for signal in save if vector_name(signal) not in columns]
    if missing:
        raise UserError(_missing_signals(missing, netlist))
    return columns


def _swept(
    plot: RawPlot, save: Sequence[str], netlist: str, program: str
) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
    """The axis and the asked signals of a plot, finite, else an error."""
    columns = _columns(plot, save, netlist)
    axis = next((index for name, index in columns.items() if name in _AXES), None)
    points = np.zeros(len(plot.values)) if axis is None else np.real(plot.values[:, axis])
    signals = {s: np.ascontiguousarray(plot.values[:, columns[vector_name(s)]]) for s in save}
    for name, values in signals.items():
        if not (len(values) and np.isfinite(values).all()):
            raise ConvergenceError(f"{program} returned values of {name} that aren't finite")
    return np.ascontiguousarray(points), signals


def _extract(
    plot: RawPlot, save: Sequence[str], netlist: str, program: str
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Time and the asked signals of a plot, complete and finite, else an error."""
    columns = _columns(plot, save, netlist)
    if "time" not in columns or np.iscomplexobj(plot.values):
        raise UserError(f"{program} returned no real transient analysis: {', '.join(columns)}")
    time = np.ascontiguousarray(plot.values[:, columns["time"]])
    last, stop = float(time[-1]) if time.size else 0.0, stop_time(netlist)
    if not last >= stop * (1 - 1e-9):
        reached = f"t = {last:.6g} s, before {stop:.6g} s (.tran)"
        raise ConvergenceError(f"{program} stopped at {reached}")
    signals = {s: np.ascontiguousarray(plot.values[:, columns[vector_name(s)]]) for s in save}
    for name, values in {"time": time, **signals}.items():
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            raise ConvergenceError(
                f"{program} returned {values[wrong[0]]} for {name} at t = {time[wrong[0]]:.6g} s"
            )
    return time, signals


def _missing_signals(missing: Sequence[str], netlist: str) -> str:
    words: set[str] = set()
    for _, line in logical_lines(netlist):
        words.update(word for word in line.lower().split() if "=" not in word)
    text = f"save: no such signal in the netlist: {', '.join(missing)}"
    name = vector_name(missing[0]).removesuffix("#branch")
    close = difflib.get_close_matches(name, sorted(words), n=1, cutoff=0.75)
    return f"{text}; did you mean '{close[0]}'?" if close and close[0] != name else text
