"""VACASK, an engine independent of ngspice; optional, run as a program."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import ClassVar, Self

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.spice.deck import vector_name
from analogdfc.spice.diagnosis import QUOTED_LINES, RefusedError
from analogdfc.spice.dialects.base import MODULES
from analogdfc.spice.dialects.statements import Saved, statements
from analogdfc.spice.dialects.vacask import Vacask
from analogdfc.spice.installed import VACASK_PACKAGE, VACASK_VARIABLE, digest_of, find_vacask
from analogdfc.spice.process import run_limited
from analogdfc.spice.rawfile import RawPlot, read_rawfile
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.veriloga import COMPILED

_INSTALL = "pip install 'analogdfc[vacask]'; or put the program on the path"
_DECK, _RAWFILE = "deck.sim", "tran1.raw"
_NOT_CONVERGED = re.compile(r"converge|too small|singular|not finite|NaN", re.IGNORECASE)
_TROUBLE = re.compile(r"skipped|warning|not found|failed|error|unexpected|aborted", re.IGNORECASE)
_GREETING = re.compile(
    r"This is vacask|\(c\)|https?:|OpenMP|Cadnip|CPUs|Simulating:|Running analysis|Elapsed time",
    re.IGNORECASE,
)
_OF_A_MODEL = "OSDI(warn)"


class VacaskProgram(Simulator):
    """VACASK in a temporary directory; it gets our circuit in its own language.

    Raises:
        UserError: it isn't installed.
    """

    name = "vacask"
    program: ClassVar[str] = "VACASK"
    solvers = ("KLU",)

    def __init__(self) -> None:
        binary = find_vacask()
        if binary is None:
            value = os.environ.get(VACASK_VARIABLE)
            where = f"{VACASK_VARIABLE}={value!r} names no such file" if value else "it isn't there"
            raise UserError(f"VACASK is missing: {where}. Install it: {_INSTALL}")
        self._binary = binary

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()  # another machine has its program elsewhere

    def made_with(self) -> str:
        """See `Simulator.made_with`."""
        return f"VACASK {digest_of(self._binary)}"

    def version(self) -> str | None:
        """Version of its package, e.g. '0.3.4.dev3'; None where it came another way."""
        if VACASK_PACKAGE not in Path(self._binary).parts:
            return None  # the program itself doesn't tell
        return metadata.version(VACASK_PACKAGE.replace("_", "-"))

    def _check_modules(self) -> None:
        """See `Simulator._check_modules`."""

    def _write(self, folder: Path, netlist: str, save: Sequence[str], solver: str) -> None:
        dialect = Vacask()
        dialect.take(sorted(path.name for path in folder.glob(f"*{COMPILED}")))
        kept = [_signal(vector_name(signal)) for signal in save]
        body = [*dialect.lines([*statements(netlist.split("\n")[1:]), _saved(kept)])]
        deck = [*dialect.begin("analogdfc"), *body, *dialect.end(), ""]
        (folder / _DECK).write_text("\n".join(deck), encoding="ascii")
        (folder / MODULES).write_text(dialect.modules, encoding="ascii")

    def _execute(
        self, folder: Path, time_limit: float, progress: Callable[[], object]
    ) -> tuple[int, list[str]]:
        # It finds its compiler, and with it /tmp, through the environment as it is.
        command = [self._binary, "-n", "1", "-qp", "-sp", _DECK]
        code, lines = run_limited(
            command, folder, {}, time_limit, program=self.program, progress=progress
        )
        told = [line for line in lines if not _GREETING.search(line)]
        # What a transistor's model says of its parameters is no more than that, as in ngspice.
        remarks, own = _apart(told)
        if code or any(map(_TROUBLE.search, own)):
            quoted = [*own, *remarks][:QUOTED_LINES]
            words = " / ".join(" ".join(line.split())[:200] for line in quoted)
            if any(map(_NOT_CONVERGED.search, own)):
                raise ConvergenceError(f"VACASK did not converge: {words}")
            if code < 0:
                raise UserError(f"VACASK was ended by signal {-code}; it wrote: {words}")
            raise RefusedError(f"VACASK refuses the netlist: {words or f'exit code {code}'}")
        return 0, [line.replace(_OF_A_MODEL, "Warning:") for line in told]

    def _read(self, folder: Path) -> Sequence[RawPlot]:
        if not (folder / _RAWFILE).exists():
            raise ConvergenceError("VACASK returned no waveforms")
        plots = read_rawfile(folder / _RAWFILE)
        return [
            RawPlot(plot.title, plot.name, tuple(map(_ours, plot.variables)), plot.values)
            for plot in plots
        ]


def _apart(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines that models of transistors wrote, of which there may be thousands, and the others."""
    remarks = [line for line in lines if line.startswith(_OF_A_MODEL)]
    return remarks, [line for line in lines if not line.startswith(_OF_A_MODEL)]


def _saved(signals: Sequence[tuple[str, str]]) -> Saved:
    nodes, sources = (tuple(n for kind, n in signals if kind == k) for k in "vi")
    return Saved(nodes, sources)


def _signal(name: str) -> tuple[str, str]:
    """Whether a signal is a node's voltage or a source's current, and VACASK's name for it."""
    if name.startswith("@"):
        raise UserError(f"save: {name!r}: VACASK has no such signal; nodes and currents of sources")
    if name.endswith("#branch"):
        return "i", _path(name.removesuffix("#branch"))
    return "v", _path(name)


def _path(name: str) -> str:
    # ngspice: v.x1.v2 for the source v2 inside the instance x1.
    parts = name.split(".")
    if len(parts) > 1 and len(parts[0]) == 1:
        parts = parts[1:]
    return ":".join(parts)


def _ours(name: str) -> str:
    """The name that ngspice has for a signal."""
    if name == "time":
        return name
    source = name.removesuffix(":flow(br)")
    parts = source.split(":")
    if source != name:
        inside = f"{parts[-1][0]}." if len(parts) > 1 else ""
        return f"{inside}{'.'.join(parts)}#branch"
    return ".".join(parts)
