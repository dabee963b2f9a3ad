"""The cells that a circuit takes from the cell library, by level."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from analogdfc.circuit.chip import Chip
from analogdfc.errors import UserError
from analogdfc.spice.deck import check_deck, logical_lines


def library(chip: Chip, fidelity: str, own: Mapping[str, str | Path] | None = None) -> str:
    """Texts of the cells that a chip's circuit needs, each once, those inside others too.

    Args:
        chip: the chip.
        fidelity: level of the amplifier and tanh cells.
        own: files by the name of the cell whose place they take.

    Raises:
        UserError: a cell that isn't in the library, or a file that can't take its place.
    """
    readout = chip.design.readout
    variants = {
        "opamp": f"opamp_{fidelity}",
        "tanh_cell": f"tanh_{fidelity}",
        "target": f"target_{'relative' if readout.relative_target else 'absolute'}",
        "autozero": f"autozero_{'on' if readout.auto_zero else 'off'}",
    }
    first = chip.circuit.crossbars[0]
    wired = first.lines.r_word > 0 or first.lines.r_bit > 0
    texts: dict[str, str] = {}
    given = dict(own or {})
    wanted = [kind.cell for kind in chip.circuit.instances]
    while wanted:
        cell = wanted.pop(0)
        name = variants.get(cell, cell)
        if name not in texts:
            texts[name] = _text(name)
            if cell in given:
                texts[name] = _own(cell, Path(given.pop(cell)), texts[name])
            wanted += _inside(texts[name])
    if given:
        raise UserError(
            f"cell {next(iter(given))!r}: the circuit has no such cell; it has "
            f"{', '.join(sorted(name for name, file in variants.items() if file in texts))}, "
            f"{', '.join(sorted(set(texts) - set(variants.values())))}"
        )
    pair = "crosspoint_wired" if wired else "crosspoint"
    return "\n".join([*texts.values(), _text(pair)])


def _text(name: str) -> str:
    try:
        file = resources.files("analogdfc._circuits").joinpath(f"{name}.lib")
        return file.read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise UserError(f"cell {name!r} isn't in the cell library") from error


def _own(cell: str, path: Path, instead_of: str) -> str:
    """The text of a file that takes a cell's place, checked: data, never a command.

    Raises:
        UserError: it can't be read, holds what a netlist may not, or has no subcircuit with the
            pins of the cell.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't read the cell: {error}") from error
    try:
        check_deck(f"* {cell}\n{text.rstrip()}\n.end\n")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    wanted, found = _pins(instead_of, cell), _pins(text, cell)
    if found != wanted:
        what = "there is no such subcircuit" if found is None else f"its pins are {found}"
        raise UserError(f"{path}: .subckt {cell} needs the pins {wanted}; {what}")
    return text


def _pins(text: str, cell: str) -> list[str] | None:
    """Pins of a subcircuit; None where it isn't there."""
    for _, line in logical_lines(f"*\n{text}"):
        words = line.lower().split()
        if words[0] == ".subckt" and words[1] == cell:
            return [word for word in words[2:] if "=" not in word]
    return None


def _inside(text: str) -> list[str]:
    """Subcircuits of which a cell has instances."""
    found = []
    for line in text.splitlines():
        if line[:1] in "Xx":
            words = [word for word in line.split() if "=" not in word]
            found.append(words[-1])
    return found
