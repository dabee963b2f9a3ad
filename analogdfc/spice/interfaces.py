"""Pins and parameters of the subcircuits of a deck, and whether the instances keep to them."""

from __future__ import annotations

import re
from typing import NamedTuple

from analogdfc.spice.deck import logical_lines


class Interface(NamedTuple):
    """What a subcircuit's first line declares, in lower case.

    Attributes:
        pins: names of its pins.
        parameters: names of its parameters.
    """

    pins: list[str]
    parameters: list[str]


class _Line(NamedTuple):
    name: str
    words: list[str]
    parameters: list[str]


def interfaces(netlist: str) -> dict[str, Interface]:
    """The interface of every subcircuit of a deck.

    Args:
        netlist: the deck, from its title line on.
    """
    found = {}
    for _, text in logical_lines(netlist):
        if text.lower().startswith(".subckt"):
            line = _split(text.partition(" ")[2])
            found[line.name] = Interface(line.words, line.parameters)
    return found


def mismatch(netlist: str) -> str | None:
    """What is wrong with the first instance that doesn't fit its subcircuit; None if all do.

    Args:
        netlist: the deck, from its title line on.
    """
    known = interfaces(netlist)
    for _, text in logical_lines(netlist):
        if text[:1] not in "xX":
            continue
        line = _split(text)
        if not line.words:
            return f"instance {line.name} names no cell"
        *nodes, cell = line.words
        if cell not in known:
            return f"instance {line.name} is of the cell {cell!r}, which isn't in the netlist"
        pins, parameters = known[cell]
        if len(nodes) != len(pins):
            return (
                f"cell {cell!r} has {len(pins)} pins ({' '.join(pins)}), but its instance "
                f"{line.name} connects {len(nodes)} ({' '.join(nodes)})"
            )
        unknown = [name for name in line.parameters if name not in (*parameters, "m")]
        if unknown:
            taken = f"takes {', '.join(parameters)}" if parameters else "takes none"
            return (
                f"cell {cell!r} must take the parameter {unknown[0]!r}, which its instance "
                f"{line.name} sets; it {taken}"
            )
    return None


def used_cells(netlist: str) -> list[str]:
    """Names of the subcircuits of which a deck has instances, in lower case.

    Args:
        netlist: the deck, from its title line on.
    """
    lines = (_split(text) for _, text in logical_lines(netlist) if text[:1] in "xX")
    return [line.words[-1] for line in lines if line.words]


def plain_words(line: str) -> list[str]:
    """Words of a line in lower case, with 'name=1' for each parameter whatever its value."""
    plain = re.sub(r"\{[^}]*\}|'[^']*'", "1", line.lower())
    return re.sub(r"\s*=\s*", "=", plain).replace("params:", " ").split()


def _split(text: str) -> _Line:
    """Name, words and names of parameters of an instance, or of '.subckt' without that word."""
    words = plain_words(text)
    assigned = [word.partition("=")[0] for word in words if "=" in word]
    rest = [word for word in words if "=" not in word]
    return _Line(rest[0] if rest else "", rest[1:], assigned)
