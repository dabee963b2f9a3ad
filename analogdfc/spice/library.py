"""The cells that a circuit takes from the cell library, by level."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.numbers import macro_parameters
from analogdfc.errors import UserError
from analogdfc.files import read_whole
from analogdfc.kits import Kit, Transistor
from analogdfc.spice.deck import check_deck
from analogdfc.spice.interfaces import interfaces, used_cells

_LARGEST = 2**20
"""Bytes of the largest file of a cell."""

_ADVICE = {"vos": ", and put it in series with an input, or ignore it"}


def library(
    chip: Chip,
    fidelity: str,
    own: Mapping[str, str | Path] | None = None,
    kit: Kit | None = None,
) -> str:
    """Texts of the cells that a chip's circuit needs, each once, those inside others too.

    Args:
        chip: the chip.
        fidelity: level of the amplifier and tanh cells.
        own: files by the name of the cell whose place they take.
        kit: the process of cells at level 'transistor', which brings the transistors.

    Raises:
        UserError: a cell that isn't in the library, transistors that the kit lacks, or a file that
            can't take its place.
    """
    readout = chip.design.readout
    variants = {
        **_variants(chip.design.card, fidelity, kit),
        "target": f"target_{'relative' if readout.relative_target else 'absolute'}",
        "autozero": f"autozero_{'on' if readout.auto_zero else 'off'}",
    }
    first = chip.circuit.crossbars[0]
    wired = first.lines.r_word > 0 or first.lines.r_bit > 0
    texts = _gathered([kind.cell for kind in chip.circuit.instances], variants, own or {}, kit)
    pair = "crosspoint_wired" if wired else "crosspoint"
    return "\n".join([*texts, _text(pair), *_processed(texts, kit)])


def lone_cell(
    cell: str,
    card: Card,
    fidelity: str,
    own: Mapping[str, str | Path] | None = None,
    kit: Kit | None = None,
) -> str:
    """Text of one cell, with those inside it and the transistors that they have.

    Args:
        cell: 'opamp', 'tanh_cell', 'switch' or 'hold'.
        card: the technology.
        fidelity: level of the cell.
        own: files by the name of the cell whose place they take.
        kit: the process of cells at level 'transistor'.

    Raises:
        UserError: as `library`.
    """
    texts = _gathered([cell], _variants(card, fidelity, kit), own or {}, kit)
    return "\n".join([*texts, *_processed(texts, kit)])


def _variants(card: Card, fidelity: str, kit: Kit | None) -> dict[str, str]:
    """Files of the cells that there is more than one of."""
    loaded = fidelity == "macro" and "r_stage" in macro_parameters(card)
    level = fidelity if kit is None else f"{fidelity}_{kit.name}"
    return {
        "opamp": "opamp_macro_loaded" if loaded else f"opamp_{level}",
        "tanh_cell": f"tanh_{level}",
        "hold": "hold" if kit is None else f"hold_{level}",
        "switch": "switch" if kit is None else f"switch_{level}",
    }


def _gathered(
    cells: Sequence[str],
    variants: Mapping[str, str],
    own: Mapping[str, str | Path],
    kit: Kit | None,
) -> list[str]:
    """Texts of cells and of those inside them, each once, without transistors."""
    texts: dict[str, str] = {}
    given = dict(own)
    wanted = [(cell, "") for cell in cells]
    while wanted:
        cell, used_in = wanted.pop(0)
        if kit is not None and Transistor.of(cell) is not None:
            continue
        name = variants.get(cell, cell)
        if name not in texts:
            texts[name], file = _text(name, used_in), ""
            if cell in given:
                file = str(given.pop(cell))
                texts[name] = _own(cell, Path(file), texts[name])
            wanted += [(inner, file) for inner in _inside(texts[name])]
    if given:
        raise UserError(
            f"cell {next(iter(given))!r}: the circuit has no such cell; it has "
            f"{', '.join(sorted(name for name, file in variants.items() if file in texts))}, "
            f"{', '.join(sorted(set(texts) - set(variants.values())))}"
        )
    return [*texts.values()]


def _processed(texts: Sequence[str], kit: Kit | None) -> list[str]:
    """The text of the transistors that cells have."""
    if kit is None:
        return []
    inside = [cell for text in texts for cell in _inside(text)]
    return [kit.text(sorted({cell for cell in inside if Transistor.of(cell) is not None}))]


def _text(name: str, used_in: str = "") -> str:
    try:
        file = resources.files("analogdfc._circuits").joinpath(f"{name}.lib")
        return file.read_text(encoding="ascii")
    except FileNotFoundError as error:
        where = f"{used_in}: " if used_in else ""
        also = ", nor in this file" if used_in else ""
        raise UserError(f"{where}cell {name!r} isn't in the cell library{also}") from error


def read_cell(path: Path) -> str:
    """The text of a file with a cell, checked: data, never a command.

    Args:
        path: the file.

    Raises:
        UserError: it can't be read, or holds what a netlist may not.
    """
    try:
        text = (
            read_whole(path, _LARGEST)
            .removeprefix(BOM_UTF8)
            .decode("ascii")
            .replace("\r\n", "\n")
            .replace("\r", "\n")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't read the cell: {error}") from error
    try:
        check_deck(f"* a cell\n{text.rstrip()}\n.end\n")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return text


def _own(cell: str, path: Path, instead_of: str) -> str:
    """The text of a file that takes a cell's place.

    Raises:
        UserError: it can't be read, or has no subcircuit with the pins and the parameters of the
            cell.
    """
    text = read_cell(path)
    wanted, found = interfaces(f"*\n{instead_of}")[cell], interfaces(f"*\n{text}").get(cell)
    if found is None or found.pins != wanted.pins:
        what = "there is no such subcircuit" if found is None else f"its pins are {found.pins}"
        raise UserError(f"{path}: .subckt {cell} needs the pins {wanted.pins}; {what}")
    missing = [name for name in wanted.parameters if name not in found.parameters]
    if missing:
        raise UserError(
            f"{path}: .subckt {cell} must take the parameter {missing[0]}, which differs from "
            f"instance to instance: write '{missing[0]}=0' behind its pins"
            f"{_ADVICE.get(missing[0], '')}"
        )
    return text


def _inside(text: str) -> list[str]:
    """Subcircuits of which a cell has instances, other than those that its file brings."""
    own = interfaces(f"*\n{text}")
    return [cell for cell in used_cells(f"*\n{text}") if cell not in own]
