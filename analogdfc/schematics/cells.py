"""The cells of a netlist as what a drawing shows: parts between nodes, with their values.

They are read from the text of the netlist itself, each as one of its instances has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from analogdfc.kits import Transistor
from analogdfc.kits.expressions import Scope
from analogdfc.spice.deck import logical_lines
from analogdfc.spice.netlist import Netlist

_WORD = re.compile(r"\{[^}]*\}|'[^']*'|[^\s{}']+")
_UNITS = {"r": "Ω", "c": "F", "l": "H", "v": "V", "i": "A"}
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"),
             (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))  # fmt: skip
_OPEN = 1e14
"""Ohms from which a resistor stands for none."""

_NODES = {"e": 4, "g": 4, "s": 4, "m": 4, "q": 3, "j": 3}
"""Nodes of parts that have more than two."""


class Part(NamedTuple):
    """A part of a cell.

    Attributes:
        name: its name in the cell, in lower case.
        nodes: what its pins are connected to.
        cell: of an instance, the cell that it is of; else empty.
        value: of a resistor, capacitor or constant source, in SI units; None for other parts.
        text: what else says what it does: an expression, or the parameters of an instance.
    """

    name: str
    nodes: tuple[str, ...]
    cell: str = ""
    value: float | None = None
    text: str = ""

    @property
    def kind(self) -> str:
        """The letter by which SPICE knows what it is."""
        return self.name[0]

    @property
    def label(self) -> str:
        """Its name and value, as a drawing has them."""
        if self.value is None:
            return f"{self.name} {self.text}".strip()
        return f"{self.name} {shown_value(self.value, _UNITS[self.kind])}"


class Cell(NamedTuple):
    """A cell as an instance has it.

    Attributes:
        name: of the subcircuit.
        instance: the instance whose values it has, with those that it lies in.
        pins: its pins.
        parts: its parts.
        file: name of its drawing, without ending.
    """

    name: str
    instance: str
    pins: tuple[str, ...]
    parts: tuple[Part, ...]
    file: str


class _Text(NamedTuple):
    pins: list[str]
    defaults: dict[str, str]
    lines: list[list[str]]


def shown_value(value: float, unit: str) -> str:
    """A value with a prefix, such as '49.85 pF'; 'open' for a resistor that stands for none.

    Args:
        value: in SI units.
        unit: its symbol.
    """
    if unit == "Ω" and value >= _OPEN:
        return "open"
    size = abs(value)
    if size == 0:
        return f"0 {unit}"
    rounded = float(f"{size:.4g}")
    scale, prefix = next((p for p in _PREFIXES if rounded >= p[0]), _PREFIXES[-1])
    return f"{value / scale:.4g} {prefix}{unit}"


def cells_of(netlist: Netlist) -> tuple[Cell, ...]:
    """The cells of a netlist: those of every layer and of the controller, and all inside them.

    Of equal neurons or channels the first; of a cell inside others the first that is met.

    Args:
        netlist: the netlist.

    Raises:
        UserError: a value that can't be found.
    """
    top, texts, parameters = _read(f"*\n{netlist.cells}{netlist.circuit}")
    found: list[Cell] = []
    seen: set[str] = set()
    waiting: list[tuple[str, str, str, dict[str, str]]] = []
    for words in top:
        name, cell, given = words[0].lower(), *_instance(words)[1:]
        group = f"{cell}_{name[1:].rstrip('0123456789').rstrip('_')}"
        if cell not in texts:
            continue
        if cell.startswith("crossbar_"):
            first = next(w for w in texts[cell].lines if w[0][0] in "xX")
            waiting.append(("", f"{name}.{first[0].lower()}", *_instance(first)[1:]))
        elif group not in seen:
            seen.add(group)
            waiting.append((group, name, cell, given))
    while waiting:
        file, instance, cell, given = waiting.pop(0)
        if not file and (cell in seen or cell not in texts):
            continue
        seen.add(file or cell)
        text = texts[cell]
        scope = Scope({**parameters, **text.defaults, **given})
        parts = tuple(_part(words, scope) for words in text.lines)
        found.append(Cell(cell, instance, tuple(text.pins), parts, file or cell))
        for part, words in zip(parts, text.lines, strict=True):
            if part.cell in texts and Transistor.of(part.cell) is None:
                inner = {k: repr(scope.value(v)) for k, v in _instance(words)[2].items()}
                waiting.append(("", f"{instance}.{part.name}", part.cell, inner))
    return tuple(found)


def _read(netlist: str) -> tuple[list[list[str]], dict[str, _Text], dict[str, str]]:
    """Instances at the top, subcircuits, and global parameters of a netlist."""
    top: list[list[str]] = []
    texts: dict[str, _Text] = {}
    parameters: dict[str, str] = {}
    current = top
    for _, line in logical_lines(netlist):
        words = _joined(_WORD.findall(re.sub(r"\s*=\s*(?=[{'\w.+-])", "=", line)))
        head = words[0].lower()
        if head == ".subckt":
            plain = [w.lower() for w in words[2:] if "=" not in w]
            texts[words[1].lower()] = text = _Text(plain, _assigned(words[2:]), [])
            current = text.lines
        elif head == ".ends":
            current = top
        elif head == ".param":
            if current is top:
                parameters |= _assigned(words[1:])
        elif head[0] not in ".+":
            current.append(words)
    return top, texts, parameters


def _joined(words: list[str]) -> list[str]:
    """Words in which 'name=' and an expression behind it are one."""
    out: list[str] = []
    for word in words:
        if out and out[-1].endswith("="):
            out[-1] += word
        else:
            out.append(word)
    return out


def _assigned(words: list[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words if "=" in word)
    return {name.lower(): text for name, _, text in pairs}


def _instance(words: list[str]) -> tuple[tuple[str, ...], str, dict[str, str]]:
    """Nodes, cell and parameters of an instance."""
    plain = [word.lower() for word in words[1:] if "=" not in word]
    return tuple(plain[:-1]), plain[-1], _assigned(words)


def _part(words: list[str], scope: Scope) -> Part:
    name = words[0].lower()
    kind = name[0]
    if kind in "xn":  # an instance of a cell, or of a module in Verilog-A
        nodes, cell, given = _instance(words)
        return Part(name, nodes, cell, text=", ".join(_parameters(given, scope)))
    nodes = tuple(word.lower() for word in words[1 : 1 + _NODES.get(kind, 2)])
    rest = words[1 + len(nodes) :]
    if kind not in _UNITS:
        return Part(name, nodes, text=_filled(" ".join(rest), scope))
    value = next((w for w in rest if "=" not in w), None) or _assigned(rest).get(kind)
    if value is None or value.lower() == "dc":
        return Part(name, nodes, text=" ".join(rest))
    return Part(name, nodes, value=scope.value(value))


def _parameters(given: Mapping[str, str], scope: Scope) -> Iterator[str]:
    for name, text in given.items():
        value = scope.value(text)
        yield f"{name} = {shown_value(value, 'V') if name == 'vos' else f'{value:.4g}'}"


def _filled(text: str, scope: Scope) -> str:
    """An expression with the values of what stands in braces."""

    def value(found: re.Match[str]) -> str:
        number = scope.value(found[0])
        return f"{number:.4g}" if math.isfinite(number) else found[0]

    return re.sub(r"\s+\)", ")", re.sub(r"\{[^}]*\}", value, text))
