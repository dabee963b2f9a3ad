"""ngspice as a program that is started for every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from analogdfc.spice.installed import BINARY_VARIABLE, digest_of, find_binary, missing_ngspice
from analogdfc.spice.process import run_limited
from analogdfc.spice.rawfile import RawPlot, read_rawfile
from analogdfc.spice.simulator import DECK_NAME, Simulator

_RAWFILE = "out.raw"


class BatchProcess(Simulator):
    """`ngspice -b` in a temporary directory, and the binary rawfile that it writes."""

    name = "batch"

    def __init__(self) -> None:
        binary = find_binary()
        if binary is None:
            raise missing_ngspice("the program ngspice", BINARY_VARIABLE)
        self._binary = binary

    def made_with(self) -> str:
        """See `Simulator.made_with`."""
        return f"ngspice {digest_of(self._binary)}"

    def _execute(
        self, folder: Path, time_limit: float, progress: Callable[[], object]
    ) -> tuple[int, list[str]]:
        settings = ["-n", "-D", "num_threads=1", "-D", "filetype=binary"]
        command = [self._binary, *settings, "-b", "-r", _RAWFILE, DECK_NAME]
        return run_limited(command, folder, {}, time_limit, progress=progress)

    def _read(self, folder: Path) -> Sequence[RawPlot]:
        return read_rawfile(folder / _RAWFILE)
