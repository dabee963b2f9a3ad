"""Behavioural sources as Verilog-A, for simulators that have none of their own.

All such sources of a cell become one module, together with the sources of 0 V that only measure a
current for them.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from analogdfc.errors import UserError
from analogdfc.spice.dialects.base import Dialect, assigned, cells_of
from analogdfc.spice.dialects.statements import (
    Behaviour,
    Device,
    Ends,
    Instance,
    Parameters,
    Statement,
    Subckt,
)

SWITCH = """module voltage_switch(p, n, cp, cn);
  inout p, n, cp, cn;
  electrical p, n, cp, cn;
  parameter real threshold = 0.5;
  parameter real closed = 1k;
  parameter real open = 1e13;
  analog begin
    if (V(cp, cn) > threshold) I(p, n) <+ V(p, n) / closed;
    else I(p, n) <+ V(p, n) / open;
  end
endmodule
"""
"""A switch without hysteresis, as ngspice's with vh = 0."""

HEADER = '`include "constants.vams"\n`include "disciplines.vams"\n'

_FUNCTIONS = {"tanh", "max", "min", "exp", "sqrt", "abs", "ln"}
_VOLTAGE = re.compile(r"\bv\(\s*(\w+)\s*(?:,\s*(\w+)\s*)?\)")
_CURRENT = re.compile(r"\bi\(\s*(\w+)\s*\)")
_NAME = re.compile(r"(?<![\w.])[a-z_]\w*")
PIECE = re.compile(rf"{_VOLTAGE.pattern}|{_CURRENT.pattern}|{_NAME.pattern}")


@dataclass(frozen=True)
class Module:
    """The behavioural part of a cell.

    Attributes:
        name: of the module.
        nodes: of the cell, that its terminals are connected to.
        parameters: of the cell or the circuit, that it takes by the same names.
        text: Verilog-A.
    """

    name: str
    nodes: tuple[str, ...]
    parameters: tuple[str, ...]
    text: str

    def instance(self) -> Instance:
        """Its place in the cell."""
        values = {_parameter(name): name for name in self.parameters}
        return Instance(f"x{self.name}", self.nodes, self.name, values)


def module_of(cell: str, body: Sequence[Statement]) -> tuple[Module | None, list[Statement]]:
    """The module of a cell's behavioural sources, and what else the cell has.

    Args:
        cell: name of the cell.
        body: its parts.

    Returns:
        The module, None where the cell has no such source, and the other parts in their order.

    Raises:
        UserError: an expression with a current that no source of 0 V in the cell measures, or with
            a function that isn't known.
    """
    sources = [part for part in body if isinstance(part, Behaviour)]
    if not sources:
        return None, [*body]
    meters = _meters(cell, sources, body)
    rest = [part for part in body if part not in sources and part not in meters.values()]
    nodes = list(dict.fromkeys(_nodes(sources, [*meters.values()])))
    names = dict.fromkeys(name for part in sources for name in _free(part.expression))
    return Module(
        f"{cell}_sources",
        tuple(nodes),
        tuple(names),
        "\n".join(_text(f"{cell}_sources", nodes, [*names], meters, sources)) + "\n",
    ), rest


def joined(words: str, values: Mapping[str, str]) -> str:
    """A statement with its parameters; it is one line, however long.

    Args:
        words: what stands before them.
        values: expressions by name.
    """
    return " ".join([words, *assigned(values, "{}=({})")])


def is_parameter(piece: str) -> bool:
    """Whether a piece of an expression, as `PIECE` finds them, is the name of a parameter."""
    return "(" not in piece and piece not in _FUNCTIONS


class WithModules(Dialect):
    """A dialect whose behavioural sources are Verilog-A.

    Attributes:
        built_in: name of a part's kind, and of its value, by the letter of our netlists.
    """

    built_in: ClassVar[Mapping[str, tuple[str, str]]] = {
        "r": ("resistor", "r"),
        "c": ("capacitor", "c"),
        "e": ("vcvs", "gain"),
        "g": ("vccs", "gain"),
        "v": ("vsource", "dc"),
        "i": ("isource", "dc"),
    }

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        """Verilog-A of the cells written so far, by the name of the module."""

        self.own: tuple[str, ...] = ()
        """Files of Verilog-A of one's own."""

    def take(self, files: Sequence[str]) -> None:
        """See `Dialect.take`."""
        self.own = tuple(files)

    @property
    def modules(self) -> str:
        """See `Dialect`."""
        return HEADER + "\n".join([SWITCH, *self.texts.values()])

    def lines(self, parts: Iterable[Statement]) -> Iterator[str]:
        """See `Dialect.lines`."""
        for part in cells_of(parts):
            if not isinstance(part, tuple):
                yield from self.line(part)
                continue
            cell, body = part
            module, rest = module_of(cell.name, body)
            yield from self.line(cell)
            if module is not None:
                self.texts[module.name] = module.text
                yield from self.line(module.instance())
            for inner in rest:
                yield from self.line(inner)
            yield from self.line(Ends(cell.name))

    def line(self, part: Statement) -> Iterator[str]:
        """The lines of one statement; of what differs between these languages see `special`.

        Raises:
            UserError: a behavioural source outside a cell.
        """
        match part:
            case Subckt(name, pins, values):
                yield f"subckt {name} ({' '.join(pins)})"
                if values:
                    yield joined("parameters", values)
            case Device("s", name, nodes, model):
                yield f"{name} ({' '.join(nodes)}) {model}"
            case Device(kind, name, nodes, value):
                built_in, key = self.built_in[kind]
                yield f"{name} ({' '.join(nodes)}) {built_in} {key}=({value})"
            case Instance(name, nodes, cell, values):
                yield joined(f"{name} ({' '.join(nodes)}) {cell}", values)
            case Parameters(values):
                yield joined("parameters", values)
            case Behaviour(name):
                raise UserError(
                    f"{name}: {self.simulator}'s dialect takes such a source inside a cell alone"
                )
            case _:
                yield from self.special(part)

    @abstractmethod
    def special(self, part: Statement) -> Iterator[str]:
        """The lines of what `line` doesn't write."""

    def include(self, file: str) -> str:
        """See `Dialect.include`."""
        return f'include "{file}"'


def _meters(
    cell: str, sources: Sequence[Behaviour], body: Sequence[Statement]
) -> dict[str, Device]:
    """The sources of 0 V whose currents are used, by name."""
    voltage = {part.name: part for part in body if isinstance(part, Device) and part.kind == "v"}
    found = {}
    for part in sources:
        for name in _CURRENT.findall(part.expression):
            meter = voltage.get(name)
            if meter is None or float(meter.value) != 0:
                raise UserError(
                    f"cell {cell!r}: {part.name} uses the current of {name}, which is no source of "
                    "0 V in the cell; only ngspice's dialect takes it"
                )
            found[name] = meter
    return found


def _nodes(sources: Sequence[Behaviour], meters: Sequence[Device]) -> Iterator[str]:
    for nodes in [*(source.nodes for source in sources), *(meter.nodes for meter in meters)]:
        yield from (node for node in nodes if node != "0")
    for source in sources:
        for pair in _VOLTAGE.findall(source.expression):
            yield from (node for node in pair if node not in ("", "0"))


def _free(expression: str) -> Iterator[str]:
    """Names of parameters in an expression."""
    text = _CURRENT.sub(" ", _VOLTAGE.sub(" ", expression))
    for found in _NAME.finditer(text):
        if found[0] in _FUNCTIONS:
            continue
        if text[found.end() :].lstrip().startswith("("):
            raise UserError(f"{found[0]}() isn't known; there are {', '.join(sorted(_FUNCTIONS))}")
        yield found[0]


def _text(
    name: str,
    nodes: Sequence[str],
    parameters: Sequence[str],
    meters: dict[str, Device],
    sources: Sequence[Behaviour],
) -> Iterator[str]:
    terminals = ", ".join(map(_terminal, nodes))
    yield f"module {name}({terminals});"
    yield f"  inout {terminals};"
    yield f"  electrical {terminals};"
    for parameter in parameters:
        yield f'  (*type="instance"*) parameter real {_parameter(parameter)} = 1;'
    for label, meter in meters.items():
        yield f"  branch ({', '.join(map(_terminal, meter.nodes))}) b_{label};"
    yield "  analog begin"
    for label in meters:
        yield f"    V(b_{label}) <+ 0;"
    for part in sources:
        plus, minus = part.nodes
        sign, between = "", f"{_terminal(plus)}, {_terminal(minus)}"
        if minus == "0":
            between = _terminal(plus)
        elif plus == "0":
            sign, between = "-", _terminal(minus)
        yield f"    {part.quantity.upper()}({between}) <+ {sign}({_rendered(part.expression)});"
    yield "  end"
    yield "endmodule"


def _terminal(node: str) -> str:
    # A node may be called like a keyword.
    return f"n_{node}"


def _parameter(name: str) -> str:
    # So may a parameter: 'slew' is one.
    return f"p_{name}"


def _rendered(expression: str) -> str:
    def render(found: re.Match[str]) -> str:
        if voltage := _VOLTAGE.fullmatch(found[0]):
            plus, minus = voltage[1], voltage[2]
            if plus == "0" and minus:
                return f"(-V({_terminal(minus)}))"
            nodes = [node for node in (plus, minus) if node not in (None, "0")]
            return f"V({', '.join(map(_terminal, nodes))})"
        if current := _CURRENT.fullmatch(found[0]):
            return f"I(b_{current[1]})"
        return _parameter(found[0]) if is_parameter(found[0]) else found[0]

    return PIECE.sub(render, expression)
