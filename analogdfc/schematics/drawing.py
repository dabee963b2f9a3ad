"""Cells drawn by schemdraw, as SVG."""

from __future__ import annotations

import importlib.util
import itertools
import textwrap
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

from analogdfc.errors import UserError
from analogdfc.files import MARK, owner, write_all
from analogdfc.kits import Transistor
from analogdfc.schematics.cells import Cell, Part, cells_of
from analogdfc.schematics.stages import Group, Path, Stage, stages_of
from analogdfc.spice.netlist import Netlist

if TYPE_CHECKING:
    import schemdraw

Point = tuple[float, float]

FOLDER = "schematics"
"""Folder beside a netlist in which its drawings are."""

_ROW, _COLUMN = 2.4, 7.0
"""Distances of what is drawn on a grid, in units of schemdraw; a part is 3 long."""

_ACROSS = 3
"""Parts beside each other."""

_BLUE = "#0072B2"
"""Of the names of nodes."""

_CROSSPOINTS = {
    "pair": "rp 0 0, rn 0 -3, col 4 -3",
    "pair_wired": "pi 0 0, po 4 0, b 8 0, ci 8 3.5, co 8 -3.5, ni 0 -3.5, no 4 -3.5",
}
"""Where the nodes of a crosspoint are: rows from the left, its column from above."""

_LETTERS = 30
"""Letters of a label in a line."""


def check_schemdraw() -> None:
    """Make sure that there is what draws; called before long work.

    Raises:
        UserError: schemdraw isn't installed.
    """
    if importlib.util.find_spec("schemdraw") is None:
        raise UserError(
            "schemdraw is missing, which draws schematics. Install it: "
            "pip install 'analogdfc[schematics]'"
        )


def drawings(folder: str | File) -> tuple[File, ...]:
    """Drawings beside a netlist that this program has made.

    Args:
        folder: that of the netlist.
    """
    found = sorted((File(folder) / FOLDER).glob("*.svg"))
    return tuple(path for path in found if path.is_file() and owner(path) == "program")


def draw(cell: Cell) -> bytes:
    """A cell as SVG: its amplifiers with what is around them, and below all other parts.

    Nodes of the same name are the same node.

    Args:
        cell: the cell.

    Raises:
        UserError: schemdraw isn't installed.
    """
    check_schemdraw()
    import schemdraw
    from schemdraw import svgconfig

    before = svgconfig.text
    svgconfig.text = "text"
    try:
        schemdraw.use("svg")
        drawing = schemdraw.Drawing(show=False, fontsize=11, font="sans-serif")
        _Sheet(drawing).cell(cell)
        image: bytes = drawing.get_imagedata("svg")
    finally:
        svgconfig.text = before
    head, tag, rest = image.decode("utf-8").partition("<svg")
    return f"{head}<!-- {MARK} -->\n{tag}{rest}".encode()


def write_schematics(netlist: Netlist, folder: str | File) -> tuple[File, ...]:
    """Draw all cells of a netlist into the folder 'schematics' beside it, all or none.

    Drawings of an earlier netlist that have no place in this one are removed.

    Args:
        netlist: the netlist.
        folder: that of the netlist.

    Returns:
        The files.

    Raises:
        UserError: schemdraw isn't installed, the files can't be written, or there is one that the
            program didn't write.
    """
    place = File(folder) / FOLDER
    files = {place / f"{cell.file}.svg": draw(cell) for cell in cells_of(netlist)}
    try:
        place.mkdir(parents=True, exist_ok=True)
        for path in files:
            if owner(path) == "user":
                raise UserError(f"{path}: is no drawing that this program wrote; it stays as it is")
        write_all(files)
        for path in drawings(folder):
            if path not in files:
                path.unlink()
    except OSError as error:
        raise UserError(f"{place}: can't write the drawings here: {error.strerror}") from error
    return tuple(files)


class _Sheet:
    """What is drawn on, from the top down."""

    def __init__(self, drawing: schemdraw.Drawing) -> None:
        import schemdraw.elements as elm

        self._elm: Any = elm
        self._drawing = drawing
        self._y = 0.0

    def _add(self, element: Any) -> Any:
        return self._drawing.add(element)

    def cell(self, cell: Cell) -> None:
        """Draw a cell."""
        pins = " ".join(cell.pins)
        for line in (f"{cell.name}, as {cell.instance}", f"pins: {pins}"):
            self._add(self._elm.Label().at((-4.0, self._y)).label(line, halign="left"))
            self._y -= 0.8
        places = _places(cell.name)
        if places and all(node in places for part in cell.parts for node in part.nodes):
            self._crosspoint(cell, places)
            return
        stages, others = stages_of(cell)
        for stage in stages:
            self._stage(stage)
        self._y -= _ROW
        for k, part in enumerate(others):
            if k and k % _ACROSS == 0:
                self._y -= 1.5 * _ROW
            self._part((k % _ACROSS * _COLUMN, self._y), part)

    def _crosspoint(self, cell: Cell, places: dict[str, Point]) -> None:
        """Devices between the lines of rows and of their column."""
        top = self._y - 1.5 - max(y for _, y in places.values())
        at = {node: (x, y + top) for node, (x, y) in places.items()}
        for part in cell.parts:
            a, b = (at[node] for node in part.nodes)
            corner = b if a[0] == b[0] else (b[0], a[1])
            self._between(a, corner, part)
            self._line(corner, b)
        for node, place in at.items():
            self._named(place, node, "right" if place[0] > 4 else "bottom")

    # Amplifiers

    def _stage(self, stage: Stage) -> None:
        """An amplifier: inputs from the left, feedback above."""
        elm = self._elm
        y = self._y - 1.5 - _ROW * len(stage.feedback)
        amplifier = self._add(elm.Opamp(leads=False).right().anchor("in1").at((5.0, y)))
        x, out = (4.0, y), amplifier.out
        self._line(x, (5.0, y))
        self._add(elm.Dot().at(x))
        self._text((x[0] + 0.1, y - 0.5), stage.summing, _BLUE)
        self._add(elm.Ground().at((4.6, amplifier.in2[1] - 0.4)))
        self._line((4.6, amplifier.in2[1] - 0.4), (4.6, amplifier.in2[1]), tuple(amplifier.in2))
        self._text((amplifier.center[0] - 0.4, amplifier.in2[1] - 1.2), stage.amplifier.label)
        right = (out[0] + 1.5, out[1])
        self._line(tuple(out), right)
        self._named(right, stage.output, "right")
        for k, path in enumerate(stage.feedback, start=1):
            level = y + _ROW * k
            self._line(x, (x[0], level))
            self._path((right[0], level), (x[0], level), path)
            self._line(right, (right[0], level))
        for k, path in enumerate(stage.inputs):
            level = y - _ROW * k
            self._line((x[0], level), x)
            self._path((-3.0, level), (x[0], level), path)
            self._named((-3.0, level), path.node, "left")
        self._y = min(y - _ROW * max(len(stage.inputs) - 1, 0), amplifier.in2[1] - 1.2) - 1.0

    def _path(self, start: Point, end: Point, path: Path) -> None:
        """Groups in series along a horizontal line."""
        step = (end[0] - start[0]) / len(path.groups)
        for k, group in enumerate(path.groups):
            a, b = start[0] + k * step, start[0] + (k + 1) * step
            self._group((a, start[1]), (b, start[1]), group)

    def _group(self, a: Point, b: Point, group: Group) -> None:
        """Parts in parallel, the second above the first."""
        for k, part in enumerate(group):
            level = a[1] + 1.3 * k
            self._between((a[0], level), (b[0], level), part)
            if k:
                self._line(a, (a[0], level))
                self._line(b, (b[0], level))

    def _between(self, a: Point, b: Point, part: Part) -> None:
        """A part with two ends."""
        # From left to right, so that labels stand above.
        left, right = sorted((a, b))
        element = self._symbol(part)().endpoints(left, right)
        if part.kind in "ev" or (part.kind == "b" and part.text.lower().startswith("v")):
            element = element.reverse()  # the first node of a source of volts is the positive one
        self._add(element.label(_folded(part.label), fontsize=10))

    def _symbol(self, part: Part) -> Any:
        """The class of what stands for a part."""
        elm = self._elm
        if part.cell == "switch":
            return elm.Switch
        kinds = {
            "r": elm.Resistor,
            "c": elm.Capacitor,
            "l": elm.Inductor,
            "v": elm.SourceV,
            "i": elm.SourceI,
            "s": elm.Switch,
            "e": elm.SourceControlledV,
            "g": elm.SourceControlledI,
        }
        if part.kind == "b":
            volts = part.text.lower().startswith("v")
            kinds["b"] = elm.SourceControlledV if volts else elm.SourceControlledI
        return kinds.get(part.kind, elm.RBox)

    # Other parts

    def _part(self, at: Point, part: Part) -> None:
        transistor = Transistor.of(part.cell) if part.cell else None
        if transistor is not None:
            self._transistor(at, part)
        elif part.kind in "xn":
            self._box(at, part)
        else:
            a, b = (at[0], at[1]), (at[0] + 3.0, at[1])
            self._between(a, b, part)
            self._end(a, part.nodes[0], "left")
            self._end(b, part.nodes[1], "right")
            if len(part.nodes) == 4:
                self._text((at[0] + 0.3, at[1] - 1.0), f"of v({part.nodes[2]}, {part.nodes[3]})")

    def _transistor(self, at: Point, part: Part) -> None:
        elm = self._elm
        kind = elm.PFet if part.cell.startswith("p") else elm.NFet
        drawn = self._add(kind(bulk=True).right().anchor("gate").at((at[0] + 1.8, at[1])))
        up, down = ("top", "bottom") if kind is elm.NFet else ("bottom", "top")
        sides = (("drain", up), ("gate", "right"), ("source", down), ("bulk", "left"))
        for (anchor, side), node in zip(sides, part.nodes, strict=True):
            self._end(tuple(getattr(drawn, anchor)), node, side)
        self._text((at[0] + 1.0, at[1] - 0.7), f"{part.name}\n{part.cell}")

    def _box(self, at: Point, part: Part) -> None:
        """An instance of a cell that has a drawing of its own, or of a module in Verilog-A."""
        nodes = textwrap.fill(" ".join(part.nodes), _LETTERS)
        box = self._elm.RBox().endpoints(at, (at[0] + 3.0, at[1]))
        self._add(box.label(f"{part.name}: {part.cell}").label(nodes, loc="bottom", color=_BLUE))
        if part.text:
            self._text((at[0], at[1] - 1.6), part.text)

    # Lines and names

    def _line(self, *points: Any) -> None:
        for a, b in itertools.pairwise(points):
            if tuple(a) != tuple(b):
                self._add(self._elm.Line().at(tuple(a)).to(tuple(b)))

    def _named(self, at: Point, node: str, side: str) -> None:
        """A node with its name."""
        self._add(self._elm.Dot().at(at).label(node, loc=side, color=_BLUE))

    def _end(self, at: Point, node: str, side: str) -> None:
        """A node with its name, or ground."""
        if node == "0":
            self._add(self._elm.Ground().at(at))
        else:
            self._named(at, node, side)

    def _text(self, at: Point, text: str, colour: str = "black") -> None:
        style = {"halign": "left", "fontsize": 10, "color": colour}
        self._add(self._elm.Label().at(at).label(_folded(text), **style))


def _places(cell: str) -> dict[str, Point]:
    """Where the nodes of a crosspoint are; nothing for another cell."""
    words = (node.split() for node in _CROSSPOINTS.get(cell, "").split(",") if node)
    return {name: (float(x), float(y)) for name, x, y in words}


def _folded(text: str) -> str:
    """A text in lines that aren't long."""
    return "\n".join(textwrap.fill(line, _LETTERS) for line in text.split("\n"))
