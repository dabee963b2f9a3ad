"""SPICE netlists of a chip: a hierarchical circuit, its cell library, and a testbench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analogdfc.circuit.chip import Chip
from analogdfc.errors import UserError
from analogdfc.files import write_whole
from analogdfc.spice.library import library
from analogdfc.spice.writer import circuit_text, title

Fidelity = Literal["ideal", "macro"]
FIDELITIES: tuple[Fidelity, ...] = ("ideal", "macro")


@dataclass(frozen=True)
class Netlist:
    """The circuit of a chip.

    Attributes:
        chip: what it describes.
        fidelity: level of the cells.
        cells: the cell library, a text of subcircuits.
        circuit: parameters, crossbars and instances, without sources or analyses.
    """

    chip: Chip
    fidelity: Fidelity
    cells: str
    circuit: str

    @classmethod
    def of(
        cls, chip: Chip, fidelity: Fidelity, *, cells: Mapping[str, str | Path] | None = None
    ) -> Netlist:
        """Generate the netlist of a chip.

        Args:
            chip: the chip; at level 'ideal' its nominal components with ideal wires are written,
                since ideal cells have no imperfections.
            fidelity: level of the amplifier and tanh cells.
            cells: files of one's own by the name of the cell whose place they take, such as
                'opamp': a subcircuit of that name with the same pins.

        Raises:
            UserError: an unknown level, or a cell that can't take the place.
        """
        if fidelity not in FIDELITIES:
            raise UserError(f"unknown fidelity {fidelity!r}; there are {', '.join(FIDELITIES)}")
        if fidelity == "ideal":
            chip = Chip.of(chip.design.ideal())
        return cls(chip, fidelity, library(chip, fidelity, cells), circuit_text(chip, fidelity))

    def write(self, folder: str | Path, testbench: str) -> tuple[Path, ...]:
        """Write `cells.lib`, `circuit.cir` and `testbench.cir` into a folder, each whole.

        Args:
            folder: is made if it doesn't exist.
            testbench: text of the testbench without includes (see `Testbench.text`).

        Raises:
            UserError: the folder can't be written.
        """
        texts = {
            "cells.lib": self.cells,
            "circuit.cir": self.circuit,
            "testbench.cir": "* Testbench: run with `ngspice -b -r waveforms.raw testbench.cir`\n"
            f".include cells.lib\n.include circuit.cir\n{testbench}",
        }
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                write_whole(folder / name, text.encode("ascii"))
        except OSError as error:
            raise UserError(f"{folder}: can't write the netlist here: {error.strerror}") from error
        return tuple(folder / name for name in texts)

    def deck(self, testbench: str) -> str:
        """The whole deck as one text, for a simulator.

        Args:
            testbench: sources and analysis, as `Testbench.text` gives them.
        """
        return f"{title(self.chip, self.fidelity)}\n{self.cells}{self.circuit}{testbench}"
