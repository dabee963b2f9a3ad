"""Spectre's language; its behavioural sources and switches are Verilog-A."""

from __future__ import annotations

from collections.abc import Iterator

from analogdfc.errors import UserError
from analogdfc.spice.dialects.base import MODULES, assigned
from analogdfc.spice.dialects.statements import (
    Behaviour,
    Device,
    Ends,
    Instance,
    Options,
    Parameters,
    Saved,
    Statement,
    Subckt,
    SwitchModel,
    Transient,
    Waveform,
)
from analogdfc.spice.dialects.veriloga import WithModules

_BUILT_IN = {
    "r": ("resistor", "r"),
    "c": ("capacitor", "c"),
    "e": ("vcvs", "gain"),
    "g": ("vccs", "gm"),
    "v": ("vsource", "dc"),
    "i": ("isource", "dc"),
}
_OPTIONS = {"reltol": "reltol", "abstol": "iabstol", "vntol": "vabstol", "gmin": "gmin",
            "temp": "temp", "tnom": "tnom"}  # fmt: skip


class Spectre(WithModules):
    """Netlists for Spectre."""

    name = "spectre"
    simulator = "Spectre"
    comment = "//"
    extension = "scs"
    check = (
        "no independent reader: its Verilog-A was compiled, and the netlist differs from the one "
        "for VACASK, which was run, in the names of built-in parts and the analysis alone"
    )

    def line(self, part: Statement) -> Iterator[str]:
        """See `WithModules.line`."""
        match part:
            case Subckt(name, pins, values):
                yield f"subckt {name} ({' '.join(pins)})"
                if values:
                    yield " ".join(["parameters", *assigned(values, "{}=({})")])
            case Ends(name):
                yield f"ends {name}"
            case Device("s", name, nodes, model):
                yield f"{name} ({' '.join(nodes)}) {model}"
            case Device(kind, name, nodes, value):
                built_in, key = _BUILT_IN[kind]
                yield f"{name} ({' '.join(nodes)}) {built_in} {key}=({value})"
            case Waveform(name, nodes, points):
                wave = " ".join(number for point in points for number in point)
                yield f"{name} ({' '.join(nodes)}) vsource type=pwl wave=[{wave}]"
            case Instance(name, nodes, cell, values):
                words = [name, f"({' '.join(nodes)})", cell, *assigned(values, "{}=({})")]
                yield " ".join(words)
            case SwitchModel(name, threshold, closed, opened):
                values = {"threshold": threshold, "closed": closed, "open": opened}
                # Models are those of built-in parts: a cell stands for this one.
                yield f"subckt {name} (p n cp cn)"
                yield " ".join(["s (p n cp cn) voltage_switch", *assigned(values, "{}=({})")])
                yield f"ends {name}"
            case Parameters(values):
                yield " ".join(["parameters", *assigned(values, "{}=({})")])
            case Options(values):
                known = {_OPTIONS[k]: v for k, v in values.items() if k in _OPTIONS}
                if known:
                    yield " ".join([f"tolerances_{next(iter(known))} options", *assigned(known)])
            case Transient(stop, longest):
                yield f"release tran stop={stop} maxstep={longest} method=traponly"
            case Behaviour(name):
                raise UserError(
                    f"{name}: Spectre's dialect takes such a source inside a cell alone"
                )
            case Saved(nodes, sources):
                yield " ".join(["save", *nodes, *(f"{name}:p" for name in sources)])

    def begin(self, title: str) -> Iterator[str]:
        """See `Dialect.begin`."""
        yield from super().begin(title)
        yield "simulator lang=spectre"
        yield "global 0"
        yield f'ahdl_include "{MODULES}"'

    def head(self) -> Iterator[str]:
        """See `Dialect.head`."""
        yield "simulator lang=spectre"

    def include(self, file: str) -> str:
        """See `Dialect.include`."""
        return f'include "{file}"'

    def end(self) -> Iterator[str]:
        """See `Dialect.end`."""
        yield from ()
