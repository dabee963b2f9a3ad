"""The lines of our netlists as data, from which every dialect is written.

The circuit is described once, and its cells are files in one language: that of ngspice, of which
they use a small part. A line outside that part is an error, not a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from analogdfc.errors import UserError, shown
from analogdfc.kits.expressions import spice_number
from analogdfc.spice.deck import logical_lines
from analogdfc.spice.veriloga import model_name


@dataclass(frozen=True)
class Subckt:
    """Start of a cell: its pins, and its parameters with their defaults."""

    name: str
    pins: tuple[str, ...]
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Ends:
    """End of a cell."""

    name: str


@dataclass(frozen=True)
class Parameters:
    """Parameters of the whole circuit, with their values."""

    values: Mapping[str, str]


@dataclass(frozen=True)
class SwitchModel:
    """Switches that close where their control is above a threshold; resistances in ohms."""

    name: str
    threshold: str
    closed: str
    open: str


@dataclass(frozen=True)
class MosModel:
    """Transistors of one model: BSIM3 is level 8, BSIM4 level 54.

    Attributes:
        name: by which transistors name it.
        polarity: 'n' or 'p'.
        level: which equations, by ngspice's number.
        version: of these equations.
        parameters: all others, by name.
    """

    name: str
    polarity: str
    level: int
    version: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Mosfet:
    """A transistor: drain, gate, source and bulk, its model, and its size and the like."""

    name: str
    nodes: tuple[str, ...]
    model: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class ModuleModel:
    """The name by which instances name a module of Verilog-A."""

    name: str
    module: str


@dataclass(frozen=True)
class ModuleInstance:
    """An instance of a module of Verilog-A: its connections, its model, and its parameters."""

    name: str
    nodes: tuple[str, ...]
    model: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Device:
    """A part with two or four nodes and one value.

    Attributes:
        kind: 'r', 'c', 'e' and 'g' (controlled by a voltage), 'i', 'v' (constant), 's' (switch).
        name: its own name, with the letter of its kind first.
        nodes: its two nodes, and for 'e', 'g' and 's' the two of its control.
        value: in ohms, farads, volts, amperes, volts or amperes per volt; name of the model of a
            switch.
    """

    kind: str
    name: str
    nodes: tuple[str, ...]
    value: str


@dataclass(frozen=True)
class Waveform:
    """A voltage source that follows straight lines between points (seconds, volts)."""

    name: str
    nodes: tuple[str, str]
    points: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Behaviour:
    """A source whose current or voltage is an expression of voltages and currents.

    Attributes:
        name: its own name.
        nodes: from the first to the second the current flows; the voltage is that between them.
        quantity: 'i' or 'v'.
        expression: with `v(a)`, `v(a, b)`, `i(source)`, tanh, max, min, and parameters.
    """

    name: str
    nodes: tuple[str, str]
    quantity: str
    expression: str


@dataclass(frozen=True)
class Instance:
    """An instance of a cell: what its pins are connected to, and its parameters."""

    name: str
    nodes: tuple[str, ...]
    cell: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Options:
    """Tolerances and the like, by ngspice's names."""

    values: Mapping[str, str]


@dataclass(frozen=True)
class Transient:
    """A transient analysis from an operating point: its end and longest step, in seconds."""

    stop: str
    longest: str


@dataclass(frozen=True)
class Saved:
    """What is kept of an analysis: names of nodes, and of sources whose current is."""

    nodes: tuple[str, ...]
    sources: tuple[str, ...]

    def words(self) -> list[str]:
        """The same as 'v(node)' and 'i(source)'."""
        return [*(f"v({name})" for name in self.nodes), *(f"i({name})" for name in self.sources)]


Statement = (
    Subckt
    | Ends
    | Parameters
    | SwitchModel
    | MosModel
    | Mosfet
    | ModuleModel
    | ModuleInstance
    | Device
    | Waveform
    | Behaviour
    | Instance
    | Options
    | Transient
    | Saved
)

_NUMBER = re.compile(r"(?<![\w.])(\d+\.?\d*|\.\d+)(e[+-]?\d+)?([a-z]*)", re.IGNORECASE)
_PULLED = re.compile(r"\s*=\s*")
_MOS_NODES = 4


def statements(lines: Iterable[str]) -> Iterator[Statement]:
    """What a netlist's lines say, in their order.

    Args:
        lines: of a netlist in ngspice's language, without a title line; comments are left out.

    Raises:
        UserError: a line that no dialect but ngspice's could be written from.
    """
    text = "\n".join(("", *lines))
    for number, line in logical_lines(text):
        if "agauss" in line.lower():
            raise UserError(
                f"netlist, line {number - 1}: {shown(line[:80])} draws at random, as ngspice alone "
                "does here; leave the mismatch of a kit out"
            )
        found = _read(line)
        if found is None:
            _refuse(number - 1, line)
        yield from found


def plain(expression: str) -> str:
    """An expression with numbers that every language reads, and round brackets alone.

    Args:
        expression: as ngspice takes it, '{1 / gp} * 10m'.
    """
    text = expression.strip().replace("{", "(").replace("}", ")")

    def value(found: re.Match[str]) -> str:
        number = spice_number(found[0])
        return found[0] if number is None or not found[3] else repr(number)

    text = _NUMBER.sub(value, text)
    return text[1:-1].strip() if _whole(text) else text


def _whole(text: str) -> bool:
    """Whether the first bracket is closed by the last character."""
    if not text.startswith("(") or not text.endswith(")"):
        return False
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return index == len(text) - 1
    return False


def _read(line: str) -> list[Statement] | None:
    word = line.split(maxsplit=1)[0].lower()
    if word.startswith("."):
        return _card(word, line)
    kind = word[0]
    if kind == "b":
        return _behaviour(line)
    if kind == "v" and re.search(r"\bpwl\b", line, re.IGNORECASE):
        return _waveform(line)
    words = _words(line)
    if kind == "r":
        # These decks have no analysis of noise, in which it would matter.
        words = [w for w in words if w.lower() != "noisy=0"]
    if kind == "x":
        plain_words = [w for w in words[1:] if "=" not in w]
        *nodes, cell = plain_words
        return [Instance(word, tuple(nodes), cell.lower(), _assigned(words))]
    if kind == "n":
        *nodes, model = (w.lower() for w in words[1:] if "=" not in w)
        return [ModuleInstance(word, tuple(nodes), model, _assigned(words))]
    if kind == "m":
        bare = [w.lower() for w in words[1:] if "=" not in w]
        if len(bare) != _MOS_NODES + 1:
            return None
        return [Mosfet(word, tuple(bare[:-1]), bare[-1], _assigned(words))]
    count = {"r": 2, "c": 2, "v": 2, "i": 2, "e": 4, "g": 4, "s": 4}.get(kind)
    if count is None or len(words) < count + 2 or any("=" in w for w in words):
        return None
    nodes = words[1 : count + 1]
    return [Device(kind, word, tuple(nodes), plain(" ".join(words[count + 1 :])))]


def _card(word: str, line: str) -> list[Statement] | None:
    words = _words(line)
    match word:
        case ".subckt":
            pins = [w.lower() for w in words[2:] if "=" not in w]
            return [Subckt(words[1].lower(), tuple(pins), _assigned(words))]
        case ".ends":
            return [Ends(words[1].lower() if len(words) > 1 else "")]
        case ".param":
            return [Parameters(_assigned(words))]
        case ".options" | ".option" | ".opt":
            return [Options(_assigned(words))]
        case ".tran" if len(words) == 5 and words[3] == "0":
            return [Transient(plain(words[2]), plain(words[4]))]
        case ".save":
            names = [re.fullmatch(r"([iv])\((\w+)\)", w.lower()) for w in words[1:]]
            if None in names:
                return None
            found = [(name[1], name[2]) for name in names if name]
            nodes, sources = ([n for kind, n in found if kind == k] for k in "vi")
            return [Saved(tuple(nodes), tuple(sources))]
        case ".model":
            return _model(line)
        case ".end":
            return []
    return None


def _model(line: str) -> list[Statement] | None:
    if own := re.fullmatch(r"\.model\s+(\w+)\s+(\w+)", line, re.IGNORECASE):
        name, module = own[1].lower(), own[2].lower()
        return [ModuleModel(name, module)] if name == model_name(module) else None
    if mos := re.fullmatch(r"\.model\s+(\w+)\s+([np])mos\s+(.*)", line, re.IGNORECASE):
        values = _assigned(["", *_words(mos[3])])
        level = spice_number(values.pop("level", ""))
        if level is None:
            return None
        version = values.pop("version", "")
        return [MosModel(mos[1].lower(), mos[2].lower(), int(level), version, values)]
    found = re.fullmatch(r"\.model\s+(\w+)\s+sw\s*\((.*)\)", line, re.IGNORECASE)
    if found is None:
        return None
    values = _assigned(["", *_words(found[2])])
    if set(values) != {"vt", "vh", "ron", "roff"} or float(values["vh"]) != 0:
        return None
    return [SwitchModel(found[1].lower(), values["vt"], values["ron"], values["roff"])]


def _behaviour(line: str) -> list[Statement] | None:
    found = re.fullmatch(r"(b\w*)\s+(\w+)\s+(\w+)\s+([iv])\s*=\s*(.+)", line, re.IGNORECASE)
    if found is None:
        return None
    name, plus, minus, quantity, text = (part.lower() for part in found.groups())
    return [Behaviour(name, (plus, minus), quantity, plain(text))]


def _waveform(line: str) -> list[Statement] | None:
    found = re.fullmatch(r"(v\w*)\s+(\w+)\s+(\w+)\s+pwl\s*\((.*)\)", line, re.IGNORECASE)
    if found is None or len(numbers := found[4].split()) % 2:
        return None
    points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    return [Waveform(found[1].lower(), (found[2].lower(), found[3].lower()), points)]


def _words(line: str) -> list[str]:
    """Words of a line, an expression in curly brackets as one, 'name=value' as one."""
    out = ""
    depth = 0
    for letter in _PULLED.sub("=", line):
        depth += (letter == "{") - (letter == "}")
        out += "\0" if letter.isspace() and not depth else letter
    return [word for word in out.split("\0") if word]


def _assigned(words: list[str]) -> dict[str, str]:
    pairs = (word.split("=", 1) for word in words[1:] if "=" in word)
    return {name.lower(): plain(value) for name, value in pairs}


def _refuse(number: int, line: str) -> NoReturn:
    raise UserError(
        f"netlist, line {number}: {shown(line[:80])} can be written for ngspice alone; leave the "
        "other dialects out, or write it with R, C, E, G, B, S, V, I, M and X"
    )
