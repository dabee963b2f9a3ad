"""The cells that a circuit takes from the cell library, by level."""

from __future__ import annotations

from importlib import resources

from analogdfc.circuit.chip import Chip
from analogdfc.errors import UserError


def library(chip: Chip, fidelity: str) -> str:
    """Texts of the cells that a chip's circuit needs, each once, those inside others too.

    Args:
        chip: the chip.
        fidelity: level of the amplifier and tanh cells.

    Raises:
        UserError: a cell that isn't in the library.
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
    wanted = [kind.cell for kind in chip.circuit.instances]
    while wanted:
        cell = wanted.pop(0)
        name = variants.get(cell, cell)
        if name not in texts:
            texts[name] = _text(name)
            wanted += _inside(texts[name])
    pair = "crosspoint_wired" if wired else "crosspoint"
    return "\n".join([*texts.values(), _text(pair)])


def _text(name: str) -> str:
    try:
        file = resources.files("analogdfc._circuits").joinpath(f"{name}.lib")
        return file.read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise UserError(f"cell {name!r} isn't in the cell library") from error


def _inside(text: str) -> list[str]:
    """Subcircuits of which a cell has instances."""
    found = []
    for line in text.splitlines():
        if line[:1] in "Xx":
            words = [word for word in line.split() if "=" not in word]
            found.append(words[-1])
    return found
