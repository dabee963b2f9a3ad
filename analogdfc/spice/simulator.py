"""A transient analysis in ngspice: the common interface of the two ways to run it.

Both ways run ngspice in a process of its own, so that a run can be stopped at its time limit and
a crash of ngspice is an error, not the end of the caller.
"""

from __future__ import annotations

import ctypes.util
import difflib
import importlib.util
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.spice.deck import check_deck, logical_lines, stop_time, vector_name, with_saves
from analogdfc.spice.diagnosis import raise_for_messages
from analogdfc.spice.rawfile import RawPlot

BINARY_VARIABLE = "ANALOGDFC_NGSPICE"
LIBRARY_VARIABLE = "NGSPICE_LIBRARY_PATH"
DECK_NAME = "deck.cir"
_INSTALL = "apt-get install ngspice libngspice0; 'analogdfc doctor' says what is missing"


@dataclass(frozen=True)
class Waveforms:
    """What a transient analysis returns.

    Attributes:
        time: (points,), float64, in seconds; the simulator's own time points, not evenly spaced.
        signals: the signals by the names as asked, each (points,), float64, in volts or amperes.
        messages: lines that ngspice wrote on the way, warnings among them.
    """

    time: NDArray[np.float64]
    signals: dict[str, NDArray[np.float64]]
    messages: tuple[str, ...] = ()


_running: set[subprocess.Popen[bytes]] = set()


class Simulator(ABC):
    """Runs decks, each from a clean state; holds no state between runs.

    Attributes:
        name: the name by which `get_simulator` knows it.
    """

    name: ClassVar[str]

    def run(self, netlist: str, *, save: Sequence[str], time_limit: float = 600.0) -> Waveforms:
        """Run the transient analysis of a deck.

        Args:
            netlist: the whole deck, from its title line to '.end', with one `.tran` line; no
                `.save`, no control block, no included file (see `analogdfc.spice.deck`).
            save: the signals to return: nodes ('x1.r' or 'v(x1.r)') and currents of voltage
                sources and other devices that have one ('i(v1)').
            time_limit: seconds of wall-clock time after which the run is stopped; > 0.

        Returns:
            The waveforms from the first to the last time point, none missing.

        Raises:
            ConvergenceError: ngspice stopped before the stop time of `.tran`, found no operating
                point, or returned a value that isn't finite.
            UserError: a deck that is refused or has a syntax error, a signal that isn't in it, a
                run past its time limit, ngspice missing or crashed.
        """
        if not (math.isfinite(time_limit) and time_limit > 0):
            raise UserError(f"time_limit: {time_limit!r} s must be a finite number above 0")
        if isinstance(save, str):
            raise UserError("save: a list of signals is needed, not one text")
        check_deck(netlist)
        stop = stop_time(netlist)
        deck = with_saves(netlist, save)
        with tempfile.TemporaryDirectory(prefix="analogdfc-") as name:
            folder = Path(name)
            (folder / DECK_NAME).write_text(deck, encoding="utf-8")
            # ngspice prefers this file to the user's own, which could change the results.
            (folder / ".spiceinit").write_text("* analogdfc\nset num_threads=1\n")
            exit_code, messages = self._execute(folder, time_limit)
            raise_for_messages(messages, exit_code, save)
            plots = [p for p in self._read(folder) if p.name.startswith("Transient")]
        if len(plots) != 1:
            raise ConvergenceError(f"ngspice returned {len(plots)} transient analyses, not one")
        time, signals = _extract(plots[0], save, stop, netlist)
        return Waveforms(time, signals, tuple(messages))

    @abstractmethod
    def _execute(self, folder: Path, time_limit: float) -> tuple[int, list[str]]:
        """Simulate the deck in the folder; return the exit code and ngspice's messages."""

    @abstractmethod
    def _read(self, folder: Path) -> Sequence[RawPlot]:
        """Read what `_execute` left in the folder."""


def _extract(
    plot: RawPlot, save: Sequence[str], stop: float, netlist: str
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Time and the asked signals of a plot, complete and finite, else an error."""
    columns = {
        variable if variable == "time" else vector_name(variable): index
        for index, variable in enumerate(plot.variables)
    }
    missing = [signal for signal in save if vector_name(signal) not in columns]
    if missing:
        raise UserError(_missing_signals(missing, netlist))
    if "time" not in columns or np.iscomplexobj(plot.values):
        raise UserError(f"ngspice returned no real transient analysis: {', '.join(columns)}")
    time = np.ascontiguousarray(plot.values[:, columns["time"]])
    last = float(time[-1]) if time.size else 0.0
    if not last >= stop * (1 - 1e-9):
        raise ConvergenceError(f"ngspice stopped at t = {last:.6g} s, before {stop:.6g} s (.tran)")
    signals = {s: np.ascontiguousarray(plot.values[:, columns[vector_name(s)]]) for s in save}
    for name, values in {"time": time, **signals}.items():
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            raise ConvergenceError(
                f"ngspice returned {values[wrong[0]]} for {name} at t = {time[wrong[0]]:.6g} s"
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


def run_limited(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], time_limit: float
) -> tuple[int, list[str]]:
    """Run a program in a folder, kill it and all its children at the time limit.

    Args:
        command: program and arguments.
        folder: its working directory; its standard output and error are kept there.
        environment: added to the caller's environment.
        time_limit: in seconds.

    Returns:
        Exit code (negative: the number of the signal) and the lines that it wrote.

    Raises:
        UserError: it can't be started, or was stopped at the time limit.
    """
    env = {**os.environ, "LC_ALL": "C", "OMP_NUM_THREADS": "1", **environment}
    env.pop("SPICE_ASCIIRAWFILE", None)
    streams = [folder / "stderr.txt", folder / "stdout.txt"]
    with streams[0].open("wb") as err, streams[1].open("wb") as out:
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise UserError(f"{command[0]}: can't be started: {error.strerror}") from error
        _running.add(process)
        try:
            exit_code = process.wait(time_limit)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"ngspice did not finish within its time limit of {time_limit:g} s and was "
                "stopped; nothing is returned. Raise the limit or simulate less"
            ) from None
        finally:
            _running.discard(process)
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    text = "\n".join(stream.read_text("utf-8", errors="replace") for stream in streams)
    return exit_code, [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def stop_all() -> None:
    """Kill every simulation that runs in a thread of this program, when it is interrupted."""
    for process in list(_running):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def find_binary() -> str | None:
    """Path of the program ngspice: $ANALOGDFC_NGSPICE where set, else from PATH; None if missing.

    A variable that names no executable file gives None, not another ngspice.
    """
    found = shutil.which(os.environ.get(BINARY_VARIABLE) or "ngspice")
    return None if found is None else os.path.abspath(found)


def find_shared_library() -> str | None:
    """Name or path of libngspice: $NGSPICE_LIBRARY_PATH where set, else the system's; or None.

    Also finds a library that is there as 'libngspice.so.0' only, without development package.
    """
    explicit = os.environ.get(LIBRARY_VARIABLE)
    if not explicit:
        return ctypes.util.find_library("ngspice")
    library = explicit.replace("{}", "")  # PySpice's place for the number of a copy
    if os.sep not in library:
        return library
    return os.path.abspath(library) if os.path.exists(library) else None


def has_pyspice() -> bool:
    """Whether PySpice is installed; doesn't import it."""
    return importlib.util.find_spec("PySpice") is not None


def missing_ngspice(what: str, variable: str) -> UserError:
    """The error for a missing program or library, with the command that installs it."""
    value = os.environ.get(variable)
    where = f"{variable}={value!r} names no such file" if value else f"{what} was not found"
    return UserError(f"ngspice is missing: {where}. Install it: {_INSTALL}")


def ngspice_version() -> str | None:
    """Version of ngspice, e.g. '39': the program's, else the shared library's; None if neither."""
    from analogdfc.spice.shared import library_version

    binary = find_binary()
    if binary is None:
        return library_version()
    with tempfile.TemporaryDirectory(prefix="analogdfc-") as name:
        _, messages = run_limited([binary, "--version"], Path(name), {}, 20.0)
    match = re.search(r"ngspice-([\w.+-]+)", "\n".join(messages))
    return match[1] if match else None


def get_simulator(name: Literal["shared", "batch", "auto"] = "auto") -> Simulator:
    """The simulator of that name.

    Args:
        name: 'shared', the shared library through PySpice; 'batch', the program ngspice; 'auto',
            'shared' where PySpice and the library are installed, else 'batch'.

    Raises:
        UserError: an unknown name, or what it needs isn't installed.
    """
    from analogdfc.spice.batch import BatchProcess
    from analogdfc.spice.shared import SharedLibrary

    if name == "auto":
        name = "shared" if has_pyspice() and find_shared_library() else "batch"
    simulators: dict[str, type[Simulator]] = {"shared": SharedLibrary, "batch": BatchProcess}
    if name not in simulators:
        raise UserError(f"simulator {name!r} is unknown; there are 'shared', 'batch' and 'auto'")
    return simulators[name]()
