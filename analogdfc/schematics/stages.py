"""The amplifier stages of a cell: what feeds each, and what feeds back."""

from __future__ import annotations

from typing import NamedTuple

from analogdfc.schematics.cells import Cell, Part

_AMPLIFIER, _TANH = "opamp", "tanh_cell"

Group = tuple[Part, ...]
"""Parts in parallel."""


class Path(NamedTuple):
    """Groups of parts in series, from a node to the summing node or from that to the output.

    Attributes:
        node: where an input comes from; of feedback the output.
        groups: in series, from that node on.
    """

    node: str
    groups: tuple[Group, ...]


class Stage(NamedTuple):
    """An amplifier with what hangs between its inverting input and others.

    Attributes:
        amplifier: the amplifier.
        inputs: paths into the summing node.
        feedback: paths from the output to it.
    """

    amplifier: Part
    inputs: tuple[Path, ...]
    feedback: tuple[Path, ...]

    @property
    def summing(self) -> str:
        """The summing node."""
        return self.amplifier.nodes[1]

    @property
    def output(self) -> str:
        """The output."""
        return self.amplifier.nodes[2]


def stages_of(cell: Cell) -> tuple[tuple[Stage, ...], tuple[Part, ...]]:
    """The stages of a cell, and the parts that belong to none.

    Args:
        cell: the cell.
    """
    amplifiers = [part for part in cell.parts if part.cell == _AMPLIFIER]
    outputs = {part.nodes[2] for part in amplifiers} | {part.nodes[1] for part in amplifiers}
    named = outputs | set(cell.pins) | {"0"}
    taken: set[str] = {part.name for part in amplifiers}
    stages = []
    for amplifier in amplifiers:
        summing, output = amplifier.nodes[1:3]
        back: list[Path] = []
        inputs: list[Path] = []
        for part in cell.parts:
            if part.name in taken or summing not in _ends(part):
                continue
            path = _path(cell, part, summing, output, named)
            taken |= {p.name for group in path.groups for p in group}
            (back if path.node == output else inputs).append(path)
        stages.append(Stage(amplifier, tuple(inputs), tuple(back)))
    return tuple(stages), tuple(part for part in cell.parts if part.name not in taken)


def _ends(part: Part) -> tuple[str, ...]:
    """The two nodes between which a part lies; none for one that lies between others."""
    if part.cell == _TANH:
        # From the input that isn't at ground to the output.
        return next((n for n in part.nodes[:2] if n != "0"), "0"), part.nodes[2]
    if part.cell == "switch" or part.kind in "rc":
        return part.nodes[:2]
    return ()


def _path(cell: Cell, part: Part, summing: str, output: str, named: set[str]) -> Path:
    """The path from a summing node on whose first part is known."""
    other = next((n for n in _ends(part) if n != summing), summing)
    first: tuple[Group, ...] = ((part,),)
    if other in named:
        return Path(other, first)
    behind = [p for p in cell.parts if p.name != part.name and other in p.nodes]
    ends = {n for p in behind for n in _ends(p)} - {other}
    if len(ends) != 1 or any(len(_ends(p)) != 2 for p in behind):
        return Path(other, first)
    return Path(ends.pop(), (tuple(behind), (part,)))
