"""SPICE netlists of a chip: a hierarchical circuit, its cell library, and a testbench."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.streams import draw_seed
from analogdfc.errors import UserError
from analogdfc.files import TEXTS, owner, stamped, write_all
from analogdfc.kits import Kit
from analogdfc.records import check_writable
from analogdfc.spice.dialects import MODULES, Dialect, dialect_files
from analogdfc.spice.library import library
from analogdfc.spice.own import Own
from analogdfc.spice.placement import device_lines, write_placements
from analogdfc.spice.transistors import for_klu, for_transistors
from analogdfc.spice.veriloga import VerilogA, compiled_name
from analogdfc.spice.writer import circuit_text, title

Fidelity = Literal["ideal", "macro", "transistor"]
FIDELITIES: tuple[Fidelity, ...] = ("ideal", "macro", "transistor")

DEVICES, PLACEMENTS = "devices.csv", "devices.h5"
"""The files that say which device stands for which weight: as a table, and as matrices."""

_LARGE = 10_000
"""Device pairs of a circuit beyond which every array has a file of its own."""

_ARRAY = re.compile(
    r"^\* [^\n]*\n\.subckt crossbar_(\w+) .*?^\.ends crossbar_\1\n", re.MULTILINE | re.DOTALL
)


class WrittenNetlist(NamedTuple):
    """What became of the files of a netlist.

    Attributes:
        files: those that were written.
        kept: those that were changed since they were written, and stay as they are.
        removed: those of an earlier netlist that have no place in this one.
        outdated: waveforms in the folder that are of another circuit than the files now there.
    """

    files: tuple[Path, ...]
    kept: tuple[Path, ...]
    removed: tuple[Path, ...]
    outdated: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Netlist:
    """The circuit of a chip.

    Attributes:
        chip: what it describes.
        fidelity: level of the cells.
        cells: the cell library, a text of subcircuits.
        circuit: parameters, crossbars and instances, without sources or analyses.
        modules: Verilog-A of one's own that the cells need.
    """

    chip: Chip
    fidelity: Fidelity
    cells: str
    circuit: str
    modules: tuple[VerilogA, ...] = ()

    @classmethod
    def of(
        cls,
        chip: Chip,
        fidelity: Fidelity,
        *,
        cells: Own | None = None,
        kit: Kit | None = None,
    ) -> Netlist:
        """Generate the netlist of a chip.

        Where the kit draws every transistor anew, from the chip's seed, cells have no offsets of
        the card beside theirs.

        Args:
            chip: the chip; at level 'ideal' its nominal components with ideal wires are written,
                since ideal cells have no imperfections.
            fidelity: level of the amplifier and tanh cells.
            cells: files of one's own by the name of the cell whose place they take, such as
                'opamp': a subcircuit of that name with the same pins, or in a file '*.va' a module
                of Verilog-A; or an `OwnDevice` by the name 'device'.
            kit: the process of cells at level 'transistor', and of no other.

        Raises:
            UserError: an unknown level, a cell that can't take the place, a process that is missing
                or too much, or that can't do what the card says, or mismatch of a nominal chip.
        """
        if fidelity not in FIDELITIES:
            raise UserError(f"unknown fidelity {fidelity!r}; there are {', '.join(FIDELITIES)}")
        if fidelity == "ideal":
            chip = chip.remade(chip.design.ideal(), None)
        if (fidelity == "transistor") != (kit is not None):
            raise UserError(
                f"fidelity {fidelity!r}, kit {kit and kit.name!r}: transistors need a process kit, "
                "and other cells have none"
            )
        if kit is not None:
            kit.check_card(chip.design.card)
        drawn = ""
        if kit is not None and kit.mismatch:
            seed = chip.seed
            if seed is None:
                raise UserError("a nominal chip has no mismatch: give it a seed, or the kit none")
            chip = chip.remade(chip.design.without(*kit.draws), seed)
            number = draw_seed(seed, kit.name)
            drawn = f"* Mismatch of the transistors\n.options seed={number}\n"
        found = library(chip, fidelity, cells, kit)
        return cls(chip, fidelity, found.text, drawn + circuit_text(chip, fidelity), found.modules)

    def write(
        self,
        folder: str | Path,
        testbench: str,
        *,
        dialect: Dialect | None = None,
        force: bool = False,
    ) -> WrittenNetlist:
        """Write a folder that a simulator runs as it is: all of its files or none.

        These are `cells.lib`, `circuit.cir` and `testbench.cir`, or the same under the names that
        another dialect's have; of a large circuit also a file an array; and `devices.csv` and
        `devices.h5`, which device stands for which weight. A file that was changed since it was
        written, such as a cell library with a cell of one's own, is kept. One of an earlier netlist
        that has no place in this one is removed; waveforms of one are named and left, since whoever
        simulated it may want them.

        Args:
            folder: is made if it doesn't exist.
            testbench: text of the testbench without includes (see `Testbench.text`).
            dialect: writer of another dialect than ngspice's.
            force: write over changed files too.

        Returns:
            What became of the files.

        Raises:
            UserError: the folder can't be written, or something that the dialect can't express.
        """
        texts = self._files(testbench, dialect)
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            check_writable(folder / PLACEMENTS)
            paths = {
                folder / name: stamped(text, self._comment(name, dialect)).encode("ascii")
                for name, text in texts.items()
            }
            kept = tuple(path for path in paths if not force and owner(path) == "user")
            written = {path: content for path, content in paths.items() if path not in kept}
            same = all(p.exists() and p.read_bytes() == content for p, content in written.items())
            write_all(written)
            removed = tuple(path for path in _netlists(folder) if path not in paths)
            for path in removed:
                path.unlink()
        except OSError as error:
            raise UserError(f"{folder}: can't write the netlist here: {error.strerror}") from error
        placed = write_placements(folder / PLACEMENTS, self.chip)
        outdated = () if same and not removed else tuple(sorted(folder.glob("*.raw")))
        return WrittenNetlist((*written, placed), kept, removed, outdated)

    def _files(self, testbench: str, dialect: Dialect | None) -> dict[str, str]:
        """Texts of all files by name."""
        large = sum(bar.plus.numel() for bar in self.chip.circuit.crossbars) > _LARGE
        arrays, circuit = _arrays(self.circuit) if large else ({}, self.circuit)
        devices = {DEVICES: "\n".join([*device_lines(self.chip), ""])}
        own = self._own()
        if dialect is not None:
            dialect.take([one.name for one in self.modules])
            parts = {"cells": self.cells, **arrays, "circuit": circuit}
            return _together(dialect_files(dialect, parts, testbench) | devices, own)
        parts = {
            "cells.lib": self.cells,
            **{f"{name}.cir": text for name, text in arrays.items()},
            "circuit.cir": circuit,
        }
        head = [
            "* Testbench: run with `ngspice -b -r waveforms.raw testbench.cir`",
            f"* (ngspice 42 and later run it several times faster with `{for_klu(self.cells)}`)",
            *self._loading(),
            *(f".include {name}" for name in parts),
        ]
        whole = "\n".join([*head, self._with_a_rest(testbench)])
        return _together(parts | {"testbench.cir": whole} | devices, own)

    def _with_a_rest(self, testbench: str) -> str:
        """The testbench with the options by which ngspice finds the rest of transistors."""
        options = for_transistors(self.deck(testbench))
        if not options:
            return testbench
        bench = testbench.rstrip().removesuffix(".end")
        return f"{bench}* Options by which ngspice finds the rest of transistors\n{options}\n.end\n"

    def _own(self) -> dict[str, str]:
        """Texts of Verilog-A of one's own by name of file."""
        return {name: text for one in self.modules for name, text in one.texts.items()}

    def _comment(self, name: str, dialect: Dialect | None) -> Literal["*", "#", "//"]:
        """What a comment in a file begins with."""
        if name == DEVICES:
            return "#"
        verilog = name == MODULES or name in self._own()
        return "//" if verilog or (dialect is not None and dialect.comment == "//") else "*"

    def _loading(self) -> list[str]:
        """Lines of ngspice's testbench by which it loads Verilog-A."""
        if not self.modules:
            return []
        lines = [
            f"* (before that, compile: `openvaf-r {one.name}` writes {compiled_name(one)}; "
            "ngspice 46 and others with OSDI load it)"
            for one in self.modules
        ]
        loads = [f"pre_osdi {compiled_name(one)}" for one in self.modules]
        return [*lines, ".control", "pre_set num_threads=1", *loads, ".endc"]

    def deck(self, testbench: str) -> str:
        """The whole deck as one text, for a simulator.

        Args:
            testbench: sources and analysis, as `Testbench.text` gives them.
        """
        return f"{title(self.chip, self.fidelity)}\n{self.cells}{self.circuit}{testbench}"


def _together(files: dict[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The files of a netlist and those of one's own, in one folder.

    Raises:
        UserError: one of the latter is called like one of the former.
    """
    for name in own:
        if name in files:
            raise UserError(f"a netlist has a file {name!r} of its own: rename yours")
    # The line that says who wrote it comes second: not into the middle of what it says.
    return files | {name: f"// {name}, as it was given\n{text}" for name, text in own.items()}


def _arrays(circuit: str) -> tuple[dict[str, str], str]:
    """The arrays of a circuit's text, each with the comment before it, and what is left."""
    arrays = {f"array_{found[1]}": found[0] for found in _ARRAY.finditer(circuit)}
    return arrays, _ARRAY.sub("", circuit)


def _netlists(folder: Path) -> list[Path]:
    """The files of a netlist in a folder that are as they were written."""
    found = (path for path in sorted(folder.iterdir()) if path.suffix in TEXTS - {".toml", ".csv"})
    return [path for path in found if path.is_file() and owner(path) == "program"]
