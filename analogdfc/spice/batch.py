"""ngspice as a program that is started for every run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from analogdfc.scratch import Scratch
from analogdfc.spice.installed import BINARY_VARIABLE, find_binary, missing_ngspice
from analogdfc.spice.ngspice import NgSpice
from analogdfc.spice.process import run_limited
from analogdfc.spice.rawfile import RawPlot, read_rawfile
from analogdfc.spice.simulator import DECK_NAME

_RAWFILE = "out.raw"


class BatchProcess(NgSpice):
    """`ngspice -b` in a temporary directory, and the binary rawfile that it writes.

    Args:
        solver: of the linear equations, one of `SOLVERS`.
    """

    name = "batch"

    def _find(self) -> str:
        binary = find_binary()
        if binary is None:
            raise missing_ngspice("the program ngspice", BINARY_VARIABLE)
        return binary

    def version(self) -> str | None:
        """See `Simulator.version`."""
        return program_version(self._file)

    def _execute(
        self, folder: Path, time_limit: float, progress: Callable[[], object]
    ) -> tuple[int, list[str]]:
        settings = ["-n", "-D", "num_threads=1", "-D", "filetype=binary"]
        command = [self._file, *settings, "-b", "-r", _RAWFILE, DECK_NAME]
        return run_limited(command, folder, {}, time_limit, progress=progress)

    def _read(self, folder: Path) -> Sequence[RawPlot]:
        return read_rawfile(folder / _RAWFILE)


@lru_cache(maxsize=4)
def program_version(binary: str) -> str | None:
    """Version of a program ngspice, e.g. '46'; None if it doesn't tell.

    Args:
        binary: its path.
    """
    with Scratch() as folder:
        _, messages = run_limited([binary, "--version"], folder, {}, 20.0)
    match = re.search(r"ngspice-([\w.+-]+)", "\n".join(messages))
    return match[1] if match else None
