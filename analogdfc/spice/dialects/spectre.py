"""Spectre's language; its behavioural sources and switches are Verilog-A."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from analogdfc.spice.dialects.base import MODULES, assigned, cells_of, without_transistors
from analogdfc.spice.dialects.statements import (
    Ends,
    ModuleInstance,
    ModuleModel,
    Mosfet,
    MosModel,
    Options,
    Saved,
    Statement,
    SwitchModel,
    Transient,
    Waveform,
)
from analogdfc.spice.dialects.veriloga import WithModules, joined
from analogdfc.spice.veriloga import module_name

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

    built_in: ClassVar[Mapping[str, tuple[str, str]]] = {
        **WithModules.built_in,
        "g": ("vccs", "gm"),
    }

    def lines(self, parts: Iterable[Statement]) -> Iterator[str]:
        """See `Dialect.lines`; a module that is called like its cell is the cell."""
        kept: list[Statement] = []
        for part in cells_of(parts):
            if not isinstance(part, tuple):
                kept.append(part)
                continue
            cell, body = part
            match body:
                case [ModuleInstance(model=model)] if module_name(model) == cell.name:
                    continue
            kept += [cell, *body, Ends(cell.name)]
        yield from super().lines(kept)

    def special(self, part: Statement) -> Iterator[str]:
        """See `WithModules.special`."""
        match part:
            case Ends(name):
                yield f"ends {name}"
            case Waveform(name, nodes, points):
                wave = " ".join(number for point in points for number in point)
                yield f"{name} ({' '.join(nodes)}) vsource type=pwl wave=[{wave}]"
            case SwitchModel(name, threshold, closed, opened):
                values = {"threshold": threshold, "closed": closed, "open": opened}
                # Models are those of built-in parts: a cell stands for this one.
                yield f"subckt {name} (p n cp cn)"
                yield joined("s (p n cp cn) voltage_switch", values)
                yield f"ends {name}"
            case ModuleInstance(name, nodes, model, values):
                yield joined(f"{name} ({' '.join(nodes)}) {module_name(model)}", values)
            case ModuleModel():
                pass  # a module is named as it is
            case Mosfet(name) | MosModel(name):
                raise without_transistors(self.simulator, name)
            case Options(values):
                known = {_OPTIONS[k]: v for k, v in values.items() if k in _OPTIONS}
                if known:
                    yield " ".join([f"tolerances_{next(iter(known))} options", *assigned(known)])
            case Transient(stop, longest):
                yield f"release tran stop={stop} maxstep={longest} method=traponly"
            case Saved(nodes, sources):
                yield " ".join(["save", *nodes, *(f"{name}:p" for name in sources)])

    def begin(self, title: str) -> Iterator[str]:
        """See `Dialect.begin`."""
        yield from super().begin(title)
        yield "simulator lang=spectre"
        yield "global 0"
        yield from (f'ahdl_include "{file}"' for file in (MODULES, *self.own))

    def head(self) -> Iterator[str]:
        """See `Dialect.head`."""
        yield "simulator lang=spectre"

    def end(self) -> Iterator[str]:
        """See `Dialect.end`."""
        yield from ()
