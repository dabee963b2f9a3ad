"""The devices of a hierarchical netlist, by the names under which ngspice keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from analogdfc.errors import UserError, shown
from analogdfc.spice.deck import logical_lines
from analogdfc.spice.interfaces import plain_words


class Device(NamedTuple):
    """A device inside any depth of subcircuits.

    Attributes:
        name: its name in ngspice, 'r.xn1_1.xbasal.rout'; 'r1' at the top.
        path: the instances that it lies in, outermost first.
        cells: the subcircuits that these are of.
        leaf: its own name.
        nodes: names of its first two nodes, in ngspice.
    """

    name: str
    path: tuple[str, ...]
    cells: tuple[str, ...]
    leaf: str
    nodes: tuple[str, str]


class _Cell(NamedTuple):
    pins: list[str]
    lines: list[list[str]]


def devices(netlist: str) -> Iterator[Device]:
    """Every device of a deck, in the order of its lines.

    Args:
        netlist: the deck, from its title line on; names may be in any case.

    Raises:
        UserError: an instance of a subcircuit that isn't there, has other pins or holds itself; a
            line that is no device.
    """
    cells: dict[str, _Cell] = {}
    top = _Cell([], [])
    current = top
    for _, line in logical_lines(netlist):
        words = plain_words(line)
        if not words or words == [".subckt"]:
            raise UserError(f"netlist: {shown(line)} is no device, and names no subcircuit")
        if words[0] == ".subckt":
            pins = [w for w in words[2:] if "=" not in w]
            current = cells[words[1]] = _Cell(pins, [])
        elif words[0] == ".ends":
            current = top
        elif words[0][0] not in ".+":
            current.lines.append(words)
    yield from _expanded(top, cells, (), (), {})


def _expanded(
    cell: _Cell,
    cells: dict[str, _Cell],
    path: tuple[str, ...],
    kinds: tuple[str, ...],
    outside: dict[str, str],
) -> Iterator[Device]:
    def named(node: str) -> str:
        if node in outside:
            return outside[node]
        return node if node == "0" or not path else ".".join((*path, node))

    for words in cell.lines:
        leaf = words[0]
        if leaf[0] != "x":
            if len(words) < 3:
                raise UserError(f"netlist: {shown(leaf)} connects fewer than two nodes")
            full = ".".join((leaf[0], *path, leaf)) if path else leaf
            yield Device(full, path, kinds, leaf, (named(words[1]), named(words[2])))
            continue
        plain = [w for w in words[1:] if "=" not in w]
        kind = plain[-1] if plain else ""
        if kind not in cells:
            raise UserError(f"netlist: {leaf} is an instance of {shown(kind)}, which isn't there")
        if kind in kinds:
            raise UserError(f"netlist: the subcircuit {shown(kind)} holds itself")
        inner = cells[kind]
        if len(inner.pins) != len(plain) - 1:
            raise UserError(
                f"netlist: {shown(leaf)} connects {len(plain) - 1} nodes; {shown(kind)} has "
                f"{len(inner.pins)} pins"
            )
        inside = dict(zip(inner.pins, map(named, plain[:-1]), strict=True))
        yield from _expanded(inner, cells, (*path, leaf), (*kinds, kind), inside)
