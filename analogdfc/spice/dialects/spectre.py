"""Spectre's language; its behavioural sources and switches are Verilog-A."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from analogdfc.errors import UserError
from analogdfc.spice.dialects.base import assigned
from analogdfc.spice.dialects.statements import (
    Behaviour,
    Device,
    Ends,
    Instance,
    Options,
    Parameters,
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
    first = "simulator lang=spectre"

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
                yield " ".join([f"model {name} voltage_switch", *assigned(values, "{}=({})")])
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

    def saved(self, nodes: Iterable[str]) -> Iterator[str]:
        """See `Dialect.saved`."""
        yield " ".join(["save", *nodes])
