"""Cells of one's own: files that take the place of one of the library, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from analogdfc.errors import UserError, shown
from analogdfc.kits.expressions import Scope
from analogdfc.spice.deck import check_cell, logical_lines
from analogdfc.spice.interfaces import interfaces, plain_words
from analogdfc.spice.joining import check_enclosed
from analogdfc.spice.sources import included, source_text
from analogdfc.spice.veriloga import ENDING, VerilogA, instance, model_line

DEVICE = "device"
"""The name by which a device of a crossbar is replaced."""

_INCLUDE = re.compile(r"\s*\.inc(?:lude)?\s+(\S.*?)\s*", re.IGNORECASE)
_DEEPEST = 10
_MODEL_WORDS = {"m": (5,), "d": (3,), "j": (4,), "q": (4, 5), "s": (5,), "w": (4,)}
"""Where a part's model may stand in its line, by the letter of its kind."""

_ADVICE = {"vos": ", and put it in series with an input, or ignore it"}
_CONDUCTANCE = "g"
_PORTABLE = frozenset({"ln", "exp", "sqrt", "abs", "min", "max", _CONDUCTANCE})
"""What an expression may name: functions that mean the same to every simulator."""


class OwnCell(NamedTuple):
    """A cell of one's own, as a netlist has it.

    Attributes:
        text: its subcircuit.
        module: the Verilog-A that this needs.
        path: its file; None of one of the library.
    """

    text: str
    module: VerilogA | None = None
    path: Path | None = None


@dataclass(frozen=True)
class OwnDevice:
    """A Verilog-A module of two pins, in the place of the conductances of crossbars.

    Attributes:
        file: with one module.
        parameter: of an instance, which says what conductance it has.
        value: of that parameter: an expression of the conductance g in siemens, with + - * / and
            brackets, ln, exp, sqrt, abs, min, max: 'ln(1e-4 / g) / ln(100)' of a state.

    Raises:
        UserError: an expression that isn't one of g.
    """

    file: str | Path
    parameter: str = _CONDUCTANCE
    value: str = _CONDUCTANCE

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z_]\w*", self.parameter):
            raise UserError(
                f"parameter of a device: {shown(self.parameter)} is no name in lower case"
            )
        names = set(re.findall(r"(?<![\w.])[a-z_]\w*", self.value.lower()))
        if _CONDUCTANCE not in names or not names <= _PORTABLE or "{" in self.value:
            raise UserError(
                f"value of a device's {self.parameter}: {shown(self.value)} must be an expression "
                f"of the conductance g, with no names but {', '.join(sorted(_PORTABLE))}"
            )
        Scope({_CONDUCTANCE: "1e-5"}).value(self.value)

    def of(self, conductance: str) -> str:
        """The expression for a conductance that a netlist's parameter holds.

        Args:
            conductance: name of the parameter.
        """
        return re.sub(rf"(?<![\w.]){_CONDUCTANCE}(?!\w)", conductance, self.value.lower())


Own = Mapping[str, str | Path | OwnDevice]
"""Files by the name of the cell whose place they take; a device's with what it is given."""


def own_cell(cell: str, path: Path, instead_of: str) -> OwnCell:
    """A cell from a file: a SPICE subcircuit, or Verilog-A where its name ends in '.va'.

    Args:
        cell: name of the cell.
        path: the file.
        instead_of: text of the library's cell, whose pins and parameters it must have.

    Raises:
        UserError: it can't be read, holds what it may not, or doesn't fit.
    """
    wanted = interfaces(f"*\n{instead_of}")[cell]
    if path.suffix.lower() == ENDING:
        file = VerilogA.read(path)
        module = file.module(cell)
        file.check(module, wanted.pins, wanted.parameters, cell)
        head = next(
            line
            for _, line in logical_lines(f"*\n{instead_of}")
            if line.lower().split()[:2] == [".subckt", cell]
        )
        values = {name: f"{{{name}}}" for name in wanted.parameters}
        lines = [
            f"* Cell {cell}: module {module.name} of {file.name}, with the numbers there",
            head,
            instance(module.name, "N1", wanted.pins, values),
            f".ends {cell}",
            model_line(module.name),
        ]
        return OwnCell("\n".join([*lines, ""]), file)
    text = _subcircuit(path)
    check_enclosed(text, path)
    found = interfaces(f"*\n{text}").get(cell)
    if found is None:
        raise UserError(
            f"{path}: .subckt {cell} needs the pins {wanted.pins}; there is no such subcircuit"
        )
    where = f"{path}, line {_line_of(cell, text)}"
    if found.pins != wanted.pins:
        raise UserError(
            f"{where}: .subckt {cell} needs the pins {wanted.pins}; its pins are {found.pins}"
        )
    missing = [name for name in wanted.parameters if name not in found.parameters]
    if missing:
        raise UserError(
            f"{where}: .subckt {cell} must take the parameter {missing[0]}, which differs from "
            f"instance to instance: write '{missing[0]}=0' behind its pins"
            f"{_ADVICE.get(missing[0], '')}"
        )
    return OwnCell(text, path=path)


def _line_of(cell: str, text: str) -> int:
    """Number of the line on which a subcircuit begins."""
    return next(
        number - 1
        for number, line in logical_lines(f"*\n{text}")
        if line.lower().split()[:2] == [".subckt", cell]
    )


def check_models(text: str, path: Path, others: str) -> None:
    """Make sure that a cell's models are there.

    Args:
        text: of the cell.
        path: its file.
        others: the whole library.

    Raises:
        UserError: one isn't; the message has file, line and remedy.
    """
    known = set(re.findall(r"^\s*\.model\s+(\S+)", others.lower(), re.MULTILINE))
    for number, line in logical_lines(f"*\n{text}"):
        words = plain_words(line)
        places = _MODEL_WORDS.get(words[0][0], ())
        named = [words[k] for k in places if k < len(words) and "=" not in words[k]]
        if places and named and not known.intersection(named):
            raise UserError(
                f"{path}, line {number - 1}: {shown(line[:60])} names the model {named[0]!r}, "
                f"which isn't there; add '.model {named[0]} ...' to the file"
            )


def own_pair(device: OwnDevice, instead_of: str, conductances: Sequence[float]) -> OwnCell:
    """A pair of conductances as two modules of one's own.

    Args:
        device: the module.
        conductances: the least and the largest that it stands for, in siemens.
        instead_of: text of the library's pair, the resistors of which, Rp and Rn, it replaces.

    Raises:
        UserError: it can't be read, holds what it may not, or doesn't fit.
    """
    path = Path(device.file)
    if path.suffix.lower() != ENDING:
        raise UserError(f"{path}: a device is a module of Verilog-A, in a file '*{ENDING}'")
    file = VerilogA.read(path)
    module = file.module(DEVICE)
    if len(module.pins) != 2:
        raise UserError(
            f"{path}, line {module.line}: module {module.name} has the pins {module.pins}; a "
            "device has two, the first towards the row"
        )
    file.check(module, module.pins, [device.parameter], "a device")
    bounds = module.ranges.get(device.parameter)
    for g in conductances:
        value = Scope({_CONDUCTANCE: repr(g)}).value(device.value)
        if bounds is not None and value not in bounds:
            raise UserError(
                f"{path}, line {module.line}: {device.parameter} = {value:.4g} of a conductance of "
                f"{g:.4g} S is outside {bounds.text}; bound the expression by min and max, or take "
                "a card with another window"
            )
    lines = []
    for line in instead_of.rstrip().split("\n"):
        words = line.split()
        if words[0] in ("Rp", "Rn"):
            given = {device.parameter: f"{{{device.of('g' + words[0][1])}}}"}
            line = instance(module.name, f"N{words[0][1]}", words[1:3], given)
        lines.append(line)
    head = (
        f"* Device: module {module.name} of {file.name}; its {device.parameter} is {device.value}"
    )
    return OwnCell("\n".join([head, *lines, model_line(module.name), ""]), file)


def own_texts(own: Own) -> dict[str, str]:
    """What is in the files of cells, checked: data, never a command.

    Args:
        own: the files. Verilog-A brings the files that it includes, each behind its name.

    Returns:
        A text a cell, by the cells' names.

    Raises:
        UserError: one can't be read, or holds what a netlist may not.
    """
    texts = {}
    for name, one in own.items():
        if isinstance(one, OwnDevice):
            texts[name] = f"// {one.parameter} = {one.value}\n{_read(Path(one.file))}"
        else:
            texts[name] = _read(Path(one))
    return texts


def _read(path: Path) -> str:
    if path.suffix.lower() != ENDING:
        return _subcircuit(path)
    texts = VerilogA.read(path).texts
    own, *others = texts.items()
    return "\n".join([own[1], *(f"// {name}\n{text}" for name, text in others)])


def _subcircuit(path: Path, depth: int = 0) -> str:
    """The text of a file in SPICE's language, with those that it includes in their places."""
    lines, names = source_text(path).rstrip().split("\n"), {}
    for k, line in enumerate(lines):
        if found := _INCLUDE.fullmatch(line):
            names[k] = included(path, k + 1, line.strip(), found[1].strip("\"'"))
            lines[k] = "*"
            if depth == _DEEPEST:
                raise UserError(f"{path}, line {k + 1}: includes itself, or too many files")
    try:
        check_cell("\n".join(lines))
    except UserError as error:
        raise UserError(f"{path}, {_own_line(str(error))}") from error
    for k, name in names.items():
        lines[k] = f"* {name.name}\n{_subcircuit(name, depth + 1)}".rstrip()
    return "\n".join([*lines, ""])


def _own_line(message: str) -> str:
    """A message with the number of a line of a file, which had a title before it."""
    return re.sub(
        r"^netlist, line (\d+)", lambda found: f"line {max(int(found[1]) - 1, 1)}", message
    )
