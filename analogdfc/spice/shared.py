"""ngspice as a shared library, through PySpice, in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from analogdfc.errors import UserError
from analogdfc.scratch import Scratch
from analogdfc.spice.installed import (
    LIBRARY_VARIABLE,
    find_shared_library,
    has_pyspice,
    missing_ngspice,
)
from analogdfc.spice.ngspice import NgSpice
from analogdfc.spice.process import run_limited
from analogdfc.spice.rawfile import RawPlot

_WORKER = Path(__file__).with_name("worker.py")


class SharedLibrary(NgSpice):
    """PySpice's NgSpiceShared in a child process, one for each run.

    libngspice is made of global variables, can't be interrupted and may end its process on an
    error; a fresh process keeps all three away from the caller.

    Args:
        solver: of the linear equations, one of `SOLVERS`.
    """

    name = "shared"

    def _find(self) -> str:
        if not has_pyspice():
            raise UserError("PySpice is missing, which the simulator 'shared' needs. Install it: "
                            "pip install PySpice; or use the simulator 'batch'")  # fmt: skip
        library = find_shared_library()
        if library is None:
            raise missing_ngspice("the library libngspice", LIBRARY_VARIABLE)
        return library

    def _execute(
        self, folder: Path, time_limit: float, progress: Callable[[], object]
    ) -> tuple[int, list[str]]:
        return _run_worker(self._file, folder, time_limit, progress)

    def _read(self, folder: Path) -> Sequence[RawPlot]:
        plots = []
        try:
            for item in _report(folder)["plots"]:
                values = np.load(folder / item["file"], allow_pickle=False)
                if values.ndim != 2 or values.shape[1] != len(item["variables"]):
                    raise ValueError(f"{values.shape} values")
                plots.append(RawPlot(item["title"], item["name"], tuple(item["variables"]), values))
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UserError(
                f"the waveforms of ngspice's library are incomplete: {error}"
            ) from error
        return plots

    def version(self) -> str | None:
        """Version of the library, e.g. '46'; None if it can't be loaded."""
        return _version(self._file)


@lru_cache(maxsize=4)
def _version(library: str) -> str | None:
    with Scratch() as name:
        exit_code, _ = _run_worker(library, name, 20.0)
        if exit_code:
            return None
        version = _report(name).get("version")
        return None if version is None else str(version)


def _run_worker(
    library: str, folder: Path, time_limit: float, progress: Callable[[], object] = lambda: None
) -> tuple[int, list[str]]:
    command = [sys.executable, "-W", "ignore", str(_WORKER)]
    library = library.replace("{", "{{").replace("}", "}}")  # PySpice formats it
    exit_code, lines = run_limited(
        command, folder, {LIBRARY_VARIABLE: library}, time_limit,
        program="ngspice", progress=progress,
    )  # fmt: skip
    messages = folder / "messages.txt"
    if messages.exists():
        text = messages.read_text("utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()] + lines
    return exit_code, lines


def _report(folder: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError("ngspice's library ended before its run was complete") from error
    return report


def library_version() -> str | None:
    """Version of the shared library, e.g. '39'; None without PySpice or library."""
    if not (has_pyspice() and find_shared_library()):
        return None
    return SharedLibrary().version()
