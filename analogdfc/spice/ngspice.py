"""What both ways to run ngspice have in common: its decks, its linear solvers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from analogdfc.errors import UserError
from analogdfc.spice.installed import digest_of, has_klu, has_osdi
from analogdfc.spice.settings import write_settings
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.transistors import for_klu, for_transistors

SOLVERS = ("auto", "klu", "sparse")
"""What can be asked for: 'auto' takes KLU where ngspice has it, and Sparse where that fails."""


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
        solving = for_klu(netlist) if solver == "KLU" else ""
        options = "\n".join(filter(None, (solving, for_transistors(netlist))))
        deck = f"{netlist.rstrip().removesuffix('.end')}{options}\n.end\n" if options else netlist
        super()._write(folder, deck, save, solver)
        write_settings(folder, netlist)
