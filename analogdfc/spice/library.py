"""The cells that a circuit takes from the cell library, by level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.numbers import macro_parameters
from analogdfc.errors import UserError
from analogdfc.kits import Kit, Transistor
from analogdfc.spice.interfaces import interfaces, used_cells
from analogdfc.spice.joining import joined
from analogdfc.spice.own import DEVICE, Own, OwnCell, OwnDevice, check_models, own_cell, own_pair
from analogdfc.spice.veriloga import VerilogA
from analogdfc.spice.writer import card_parameters


class Library(NamedTuple):
    """The cells of a circuit.

    Attributes:
        text: their subcircuits.
        modules: Verilog-A of one's own that these need.
    """

    text: str
    modules: tuple[VerilogA, ...] = ()


def library(
    chip: Chip,
    fidelity: str,
    own: Own | None = None,
    kit: Kit | None = None,
) -> Library:
    """The cells that a chip's circuit needs, each once, those inside others too.

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
    given = dict(own or {})
    device = given.pop(DEVICE, None)
    pair = OwnCell(_text("crosspoint_wired" if wired else "crosspoint"))
    if device is not None:
        own_device = device if isinstance(device, OwnDevice) else OwnDevice(device)
        pair = own_pair(own_device, pair.text, _extremes(chip))
    found = _gathered([kind.cell for kind in chip.circuit.instances], variants, given, kit)
    return _together([*found, pair], kit, card_parameters(chip.design.card, fidelity, 1.0))


def lone_cell(
    cell: str,
    card: Card,
    fidelity: str,
    own: Own | None = None,
    kit: Kit | None = None,
) -> Library:
    """One cell, with those inside it and the transistors that they have.

    Args:
        cell: 'opamp', 'tanh_cell', 'switch' or 'hold'.
        card: the technology.
        fidelity: level of the cell.
        own: files by the name of the cell whose place they take.
        kit: the process of cells at level 'transistor'.

    Raises:
        UserError: as `library`.
    """
    found = _gathered([cell], _variants(card, fidelity, kit), own or {}, kit)
    return _together(found, kit, card_parameters(card, fidelity, 1.0))


def _together(cells: Sequence[OwnCell], kit: Kit | None, parameters: Iterable[str]) -> Library:
    """Cells with the transistors that they have, beside a circuit's parameters."""
    modules = tuple(cell.module for cell in cells if cell.module is not None)
    _check_names(modules)
    texts = [("the cell library" if c.path is None else str(c.path), c.text) for c in cells]
    drawn = _processed([cell.text for cell in cells], kit)
    named = [*texts, *((f"the kit {kit and kit.name!r}", text) for text in drawn)]
    whole = joined(named, dict.fromkeys(parameters, "the circuit"))
    for cell in cells:
        if cell.path is not None:
            check_models(cell.text, cell.path, whole)
    return Library(whole, modules)


def _check_names(modules: Sequence[VerilogA]) -> None:
    """Make sure that all files can lie in one folder."""
    known: dict[str, VerilogA] = {}
    for module in modules:
        for name, text in module.texts.items():
            other = known.setdefault(name.lower(), module)
            if other.texts.get(name) != text:
                raise UserError(
                    f"{module.path}: a file {name!r} comes with {other.path} too, and differs; "
                    "they go into one folder, so rename one"
                )


def _extremes(chip: Chip) -> tuple[float, float]:
    """The least and the largest conductance of a chip's crossbars, in siemens."""
    found = [g for bar in chip.circuit.crossbars for g in (bar.plus, bar.minus)]
    return min(float(g.min()) for g in found), max(float(g.max()) for g in found)


def _variants(card: Card, fidelity: str, kit: Kit | None) -> dict[str, str]:
    """Files of the cells that there is more than one of."""
    found = macro_parameters(card) if fidelity == "macro" else {}
    level = fidelity if kit is None else f"{fidelity}_{kit.name}"
    return {
        "opamp": "opamp_macro_loaded" if "r_stage" in found else f"opamp_{level}",
        "tanh_cell": "tanh_macro_measured" if "r_tanh" in found else f"tanh_{level}",
        "hold": "hold" if kit is None else f"hold_{level}",
        "switch": "switch" if kit is None else f"switch_{level}",
    }


def _gathered(
    cells: Sequence[str],
    variants: Mapping[str, str],
    own: Own,
    kit: Kit | None,
) -> list[OwnCell]:
    """Cells and those inside them, each once, without transistors."""
    found: dict[str, OwnCell] = {}
    given = dict(own)
    wanted = [(cell, "") for cell in cells]
    while wanted:
        cell, used_in = wanted.pop(0)
        if kit is not None and Transistor.of(cell) is not None:
            continue
        name = variants.get(cell, cell)
        if name not in found:
            found[name], file = OwnCell(_text(name, used_in)), ""
            if cell in given:
                path = given.pop(cell)
                if isinstance(path, OwnDevice):
                    raise UserError(f"cell {cell!r}: an OwnDevice takes the place of {DEVICE!r}")
                file = str(path)
                found[name] = own_cell(cell, Path(path), found[name].text)
            wanted += [(inner, file) for inner in _inside(found[name].text)]
    if given:
        others = [name for name, file in variants.items() if file in found]
        names = [*sorted(others), *sorted(set(found) - set(variants.values()))]
        raise UserError(
            f"cell {next(iter(given))!r}: the circuit has no such cell; it has {', '.join(names)}"
        )
    return [*found.values()]


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


def _inside(text: str) -> list[str]:
    """Subcircuits of which a cell has instances, other than those that its file brings."""
    own = interfaces(f"*\n{text}")
    return [cell for cell in used_cells(f"*\n{text}") if cell not in own]
