"""What both ways to run ngspice have in common: its decks, its linear solvers."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from analogdfc.errors import UserError
from analogdfc.kits.expressions import spice_number
from analogdfc.spice.deck import logical_lines
from analogdfc.spice.installed import digest_of, has_klu, has_osdi
from analogdfc.spice.settings import write_settings
from analogdfc.spice.simulator import Simulator

SOLVERS = ("auto", "klu", "sparse")
"""What can be asked for: 'auto' takes KLU where ngspice has it, and Sparse where that fails."""

_OPTIONS = {
    # KLU keeps its pivots from one time step to the next. Where a switch opens, a pivot that was
    # good becomes a poor one; with this bound it is noticed, and another is taken.
    "KLU": ".options klu pivrel=0.1",
    "Sparse": "",
}

_TRANSISTORS = re.compile(r"\.model \S+ [np]mos\b", re.IGNORECASE)
_TOLERANCE = re.compile(r"\b(abstol|vntol)=(\S+)", re.IGNORECASE)
_LEAST = {"abstol": 1e-10, "vntol": 1e-8}
"""Amperes and volts below which an operating point with hundreds of transistors isn't found: all
stepping fails there, and ngspice takes the end of a pseudo-transient, up to 0.5 mV from the rest.
"""

_FINER_STEPS = "trtol=0.3"
"""What makes up for it in time: the error of a step is measured against the same tolerances."""


class NgSpice(Simulator):
    """ngspice, in one of the two ways in which it can be run.

    Args:
        solver: of the linear equations, one of `SOLVERS`.

    Raises:
        UserError: ngspice is missing, an unknown solver, or one that this ngspice doesn't have.
    """

    program: ClassVar[str] = "ngspice"
    draws: ClassVar[bool] = True
    analyses: ClassVar[tuple[str, ...]] = ("op", "dc", "ac", "noise")

    def __init__(self, solver: str = "auto") -> None:
        self._asked, self._file = solver, self._find()
        if solver not in SOLVERS:
            raise UserError(f"solver {solver!r} is unknown; there are {', '.join(SOLVERS)}")
        klu = solver != "sparse" and has_klu(self._file)
        if solver == "klu" and not klu:
            raise UserError(
                f"solver 'klu': {self._file} has no KLU; ngspice has it from version 42 on. "
                "Install a newer one, or use 'sparse'"
            )
        sparse = solver != "klu"
        self.solvers = ("KLU",) * klu + ("Sparse",) * sparse

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self._asked,)  # another machine has its program elsewhere

    @abstractmethod
    def _find(self) -> str:
        """The program by its path, or the library by path or name."""

    def made_with(self) -> str:
        """See `Simulator.made_with`."""
        return f"ngspice {digest_of(self._file)} {' '.join(self.solvers)}"

    def solvers_of(self, analysis: str) -> tuple[str, ...]:
        """See `Simulator.solvers_of`; KLU has no noise.

        Args:
            analysis: one of `analyses`.

        Raises:
            UserError: noise, where KLU alone was asked for.
        """
        if analysis != "noise":
            return self.solvers
        if "Sparse" not in self.solvers:
            raise UserError("solver 'klu': ngspice analyses noise with 'sparse' alone")
        return ("Sparse",)

    def _check_modules(self) -> None:
        """See `Simulator._check_modules`."""
        if not has_osdi(self._file):
            raise UserError(
                f"{self._file}: this ngspice loads no compiled Verilog-A: it was made without "
                "OSDI. Install a newer one, as 'make ngspice' does, or use the simulator 'vacask'"
            )

    def _write(self, folder: Path, netlist: str, save: Sequence[str], solver: str) -> None:
        lines = [line for line in (_OPTIONS[solver], for_transistors(netlist)) if line]
        options = "\n".join(lines)
        deck = f"{netlist.rstrip().removesuffix('.end')}{options}\n.end\n" if options else netlist
        super()._write(folder, deck, save, solver)
        write_settings(folder, netlist)


def for_transistors(netlist: str) -> str:
    """Options by which a deck with transistors finds its rest; empty where it needs none.

    Args:
        netlist: the deck; tolerances that it gives itself and that are finer are made coarser.
    """
    lines = [line for _, line in logical_lines(netlist)]
    if not any(map(_TRANSISTORS.match, lines)):
        return ""
    given = [pair for line in lines if line.lower().startswith(".opt")
             for pair in _TOLERANCE.findall(line)]  # fmt: skip
    values = [(name.lower(), spice_number(value)) for name, value in given]
    tight = {name for name, value in values if value is not None and value < _LEAST[name]}
    if not tight:
        return ""
    return " ".join([".options", *(f"{name}={_LEAST[name]:g}" for name in sorted(tight)),
                     _FINER_STEPS])  # fmt: skip
