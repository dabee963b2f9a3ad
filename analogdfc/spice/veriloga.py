"""Verilog-A of one's own: what its text may hold, and what its modules connect to.

It is data like any other cell: a file that another one includes lies beside it, and nothing in it
opens files or runs programs. How it is compiled is in `analogdfc.spice.compiler`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from analogdfc.errors import UserError, shown
from analogdfc.spice.sources import included, refuse, source_text

ENDING = ".va"
"""What the name of a file with Verilog-A ends in."""

COMPILED = ".osdi"
"""What the name of a compiled file ends in."""

STANDARD = ("constants.vams", "disciplines.vams")
"""The files that every compiler brings."""

_MODEL = "_module"
_MOST_FILES = 20

# fmt: off
_SYSTEM = frozenset({
    "abstime", "realtime", "temperature", "vt", "simparam", "param_given", "port_connected",
    "mfactor", "limit", "bound_step", "discontinuity", "given", "strobe", "display", "write",
    "debug", "monitor", "info", "warning", "error", "fatal", "finish", "stop", "random",
    "rdist_normal", "rdist_uniform", "rdist_exponential", "rdist_poisson", "rdist_chi_square",
    "rdist_t", "rdist_erlang", "ln", "log10", "exp", "sqrt", "pow", "floor", "ceil", "sin", "cos",
    "tan", "asin", "acos", "atan", "atan2", "hypot", "sinh", "cosh", "tanh", "asinh", "acosh",
    "atanh", "abs", "min", "max", "clog2", "rtoi", "itor",
})
"""System functions that neither open files nor run programs."""
# fmt: on

# fmt: off
_TAKEN = frozenset({
    "aswitch", "asrc", "bjt", "bsim3", "bsim4", "capacitor", "capacitoric", "cccs", "ccvs",
    "climit",
    "cmeter", "core", "cswitch", "delay", "diode", "divide", "filesource", "gain", "hyst", "ilimit",
    "inductor", "inductoric", "isource", "jfet", "jfet2", "lcouple", "limit", "lmeter", "ltra",
    "memristor", "mes", "mesa", "mos1", "mos2", "mos3", "mos6", "mos9", "mult", "multi_input_pwl",
    "mutual", "oneshot", "potentiometer", "pswitch", "pwl", "pwlts", "resistor", "s_xfer",
    "seegen", "sidiode", "sine", "slew", "square", "summer", "switch", "table2d", "table3d",
    "tline", "triangle", "urc", "vbic", "vccs", "vcvs", "vdmos", "vsource", "xfer", "zener",
})
"""Names of models that ngspice has itself, by which it wouldn't find a module."""
# fmt: on

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |`include\s*"(?P<include>[^"\n]*)"
    |(?P<string>"(?:\\.|[^"\\\n])*")
    |`(?P<directive>\w+)
    |\$(?P<system>\w+)
    |(?P<continued>\\\r?\n)
    |(?P<odd>\\|"|/\*)""",
    re.VERBOSE | re.DOTALL,
)
_MODULE = re.compile(r"\bmodule\s+(\w+)\s*(\(([^)]*)\)\s*)?;(.*?)\bendmodule\b", re.DOTALL)
_PARAMETER = re.compile(r"(\(\*[^;]*?\*\)\s*)?\bparameter\b([^;]*);", re.DOTALL)
_OF_INSTANCE = re.compile(r"\btype\s*=\s*\"instance\"")
_ATTRIBUTE = re.compile(r"\(\*.*?\*\)", re.DOTALL)
_RANGE = re.compile(r"\bfrom\s*([\[(]\s*([^:\s]+)\s*:\s*([^\])\s]+)\s*[\])])")
_ASSIGNED = re.compile(r"(?:^|,|\s)(\w+)\s*=(?!=)")


class Range(NamedTuple):
    """The values that a parameter may have.

    Attributes:
        text: as it is declared, '(0:inf)'.
        low: the least.
        high: the largest.
    """

    text: str
    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        """Whether a value is among them."""
        if not isinstance(value, float):
            return False
        above = value > self.low if self.text[0] == "(" else value >= self.low
        return above and (value < self.high if self.text[-1] == ")" else value <= self.high)


class Module(NamedTuple):
    """What a module's text declares.

    Attributes:
        name: its name.
        line: number of the line that it begins on.
        pins: its terminals, in their order.
        parameters: those that differ from instance to instance.
        ranges: what these may be, where that is declared in plain numbers.
    """

    name: str
    line: int
    pins: list[str]
    parameters: list[str]
    ranges: dict[str, Range]


@dataclass(frozen=True)
class VerilogA:
    """A file of Verilog-A and those that it includes.

    Attributes:
        path: the file, for messages.
        texts: texts by name of file, its own first; those that a compiler brings are left out.
    """

    path: Path
    texts: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @classmethod
    def read(cls, path: Path) -> VerilogA:
        """Read a file and check it, with what it includes.

        Args:
            path: the file.

        Raises:
            UserError: it can't be read, includes a file elsewhere, or holds what isn't data; the
                message has file and line.
        """
        texts: dict[str, str] = {}
        wanted = [path.name]
        while wanted:
            name = wanted.pop()
            if name in texts:
                continue
            if len(texts) == _MOST_FILES:
                raise UserError(f"{path}: includes more than {_MOST_FILES} files")
            texts[name] = _text(path.parent / name)
            wanted += _included(path.parent / name, texts[name])
        return cls(path, texts)

    def module(self, cell: str) -> Module:
        """The module that is called like a cell; that of a file with one alone has any name.

        Args:
            cell: what it takes the place of.

        Raises:
            UserError: there is none, or it has a name by which a simulator wouldn't find it.
        """
        found = _modules(self.texts[self.name])
        module = found.get(cell, next(iter(found.values())) if len(found) == 1 else None)
        if module is None:
            has = f"it has {', '.join(found)}" if found else "it has none"
            raise UserError(
                f"{self.path}: which module is {shown(cell)}? {has}. Write 'module {cell}(...);' "
                "with its pins, or put one alone into the file"
            )
        where = f"{self.path}, line {module.line}: module {module.name}"
        if module.name != module.name.lower():
            raise UserError(f"{where} needs a name in lower case: netlists know no other")
        if module.name in _TAKEN:
            raise UserError(f"{where} is called like a model of ngspice's own; call it otherwise")
        return module

    def check(self, module: Module, pins: list[str], parameters: list[str], cell: str) -> None:
        """Make sure that a module can take the place of a cell.

        Args:
            module: of this file.
            pins: that it must have.
            parameters: that must differ from instance to instance.
            cell: what the cell is called.

        Raises:
            UserError: it can't; the message has file, line and remedy.
        """
        where = f"{self.path}, line {module.line}: module {module.name}"
        if module.pins != pins:
            raise UserError(
                f"{where} has the pins {module.pins}; in the place of {cell} it needs {pins}"
            )
        for parameter in parameters:
            if parameter not in module.parameters:
                raise UserError(
                    f"{where} must take the parameter {parameter}, which differs from instance to "
                    f"""instance: write '(*type="instance"*) parameter real {parameter} = 0;'"""
                )


def compiled_name(file: VerilogA) -> str:
    """Name of the file that one is compiled to.

    Args:
        file: the file.
    """
    return file.name[: -len(ENDING)] + COMPILED


def instance(module: str, name: str, nodes: Sequence[str], values: Mapping[str, str]) -> str:
    """The line of a module's instance in a netlist.

    Args:
        module: its name.
        name: of the instance, from its letter N on.
        nodes: what its pins are connected to.
        values: of its parameters.
    """
    given = [f"{key}={value}" for key, value in values.items()]
    return " ".join([name, *nodes, model_name(module), *given])


def model_line(module: str) -> str:
    """The line by which a netlist may name a module.

    Args:
        module: its name.
    """
    return f".model {model_name(module)} {module}"


def model_name(module: str) -> str:
    """What instances of a module name.

    Args:
        module: its name.
    """
    return f"{module}{_MODEL}"


def module_name(model: str) -> str:
    """The name of the module that instances name so.

    Args:
        model: what they name.
    """
    return model.removesuffix(_MODEL)


def _text(path: Path) -> str:
    text = source_text(path)
    if (control := re.search(r"[\0-\x08\x0b-\x1f\x7f]", text)) is not None:
        refuse(path, text.count("\n", 0, control.start()) + 1, control[0], "a control character")
    return text


def _included(path: Path, text: str) -> Iterator[str]:
    """Names of the files beside it that a text includes; all else in it is checked."""
    for found in _TOKEN.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if (name := found["include"]) is not None:
            if name not in STANDARD:
                yield included(path, line, found[0], name).name
        elif found["directive"] == "include":
            refuse(path, line, found[0], "an include names its file in quotes")
        elif (system := found["system"]) is not None and system not in _SYSTEM:
            refuse(path, line, found[0], "a model opens no files and runs no programs")
        elif found["odd"] is not None:
            refuse(path, line, found[0], "this is never closed, or begins an escaped name")


def _modules(text: str) -> dict[str, Module]:
    """The modules of a text, by name."""

    def blank(found: re.Match[str]) -> str:
        if found["comment"] is None:
            return found[0]
        return re.sub(r"[^\n]", " ", found[0])

    bare = _TOKEN.sub(blank, text)
    found = {}
    for module in _MODULE.finditer(bare):
        pins = [_pin(word) for word in _ATTRIBUTE.sub(" ", module[3] or "").split(",")]
        given = [
            words[2]
            for words in _PARAMETER.finditer(module[4])
            if words[1] and _OF_INSTANCE.search(words[1])
        ]
        names = [_ASSIGNED.findall(words) for words in given]
        line = bare.count("\n", 0, module.start()) + 1
        found[module[1]] = Module(
            module[1],
            line,
            [pin for pin in pins if pin],
            [name for one in names for name in one],
            {
                one[0]: bounds
                for one, words in zip(names, given, strict=True)
                if len(one) == 1 and (bounds := _range(words)) is not None
            },
        )
    return found


def _range(words: str) -> Range | None:
    """The range that a parameter's declaration has, if in numbers."""
    found = _RANGE.search(words)
    if found is None:
        return None
    try:
        return Range(found[1], float(found[2]), float(found[3]))
    except ValueError:
        return None


def _pin(word: str) -> str:
    """The name of a terminal, which its direction and its discipline may stand before."""
    words = word.split()
    return words[-1] if words else ""
