"""VACASK's language; its behavioural sources and switches are Verilog-A."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from analogdfc.errors import UserError
from analogdfc.spice.dialects.base import MODULES, assigned
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
    "g": ("vccs", "gain"),
    "v": ("vsource", "dc"),
    "i": ("isource", "dc"),
}
_OPTIONS = {
    "reltol": "reltol",
    "abstol": "abstol",
    "vntol": "vntol",
    "gmin": "gmin",
    "temp": "temp",
    "tnom": "tnom",
}


def _joined(words: Iterable[str]) -> str:
    # A statement is one line, however long.
    return " ".join(words)


class Vacask(WithModules):
    """Netlists for VACASK."""

    name = "vacask"
    simulator = "VACASK"
    comment = "//"
    extension = "sim"
    check = "run in VACASK, waveforms compared with those of ngspice"

    def __init__(self) -> None:
        super().__init__()
        self._analysis: Transient | None = None
        self._options: dict[str, str] = {}

    def head(self) -> str:
        """First lines of a deck, behind its title: what it is made of."""
        kinds = [kind for kind, _ in _BUILT_IN.values()]
        return "\n".join(
            [
                "ground 0",
                'load "resistor.osdi"',
                'load "capacitor.osdi"',
                f'load "{MODULES}"',
                *(f"model {kind} {kind}" for kind in kinds),
                *(f"model {name} {name}" for name in self.texts),
            ]
        )

    def line(self, part: Statement) -> Iterator[str]:
        """See `WithModules.line`; tolerances and analysis are given by `control`."""
        match part:
            case Subckt(name, pins, values):
                yield f"subckt {name} ({' '.join(pins)})"
                if values:
                    yield _joined(["parameters", *assigned(values, "{}=({})")])
            case Ends():
                yield "ends"
            case Device("s", name, nodes, model):
                yield f"{name} ({' '.join(nodes)}) {model}"
            case Device(kind, name, nodes, value):
                built_in, key = _BUILT_IN[kind]
                yield f"{name} ({' '.join(nodes)}) {built_in} {key}=({value})"
            case Waveform(name, nodes, points):
                wave = ", ".join(number for point in points for number in point)
                yield f'{name} ({" ".join(nodes)}) vsource type="pwl" wave=[{wave}]'
            case Instance(name, nodes, cell, values):
                yield _joined([name, f"({' '.join(nodes)})", cell, *assigned(values, "{}=({})")])
            case SwitchModel(name, threshold, closed, opened):
                values = {"threshold": threshold, "closed": closed, "open": opened}
                yield _joined([f"model {name} voltage_switch", *assigned(values, "{}=({})")])
            case Parameters(values):
                yield _joined(["parameters", *assigned(values, "{}=({})")])
            case Options(values):
                self._options |= values
            case Transient():
                self._analysis = part
            case Behaviour(name):
                raise UserError(f"{name}: VACASK takes such a source inside a cell alone")

    def saved(self, nodes: Iterable[str]) -> Iterator[str]:
        """See `Dialect.saved`; here they stand inside the block of the analysis."""
        yield self.control(f"v({node})" for node in nodes)

    def control(self, save: Iterable[str], extra: Mapping[str, str] | None = None) -> str:
        """The block that runs the analysis, to be written behind everything else.

        Args:
            save: signals as VACASK names them.
            extra: further options.
        """
        if self._analysis is None:
            raise UserError("netlist: no analysis is there")
        options = {_OPTIONS[k]: v for k, v in self._options.items() if k in _OPTIONS}
        options |= extra or {}
        stop, longest = self._analysis.stop, self._analysis.longest
        return "\n".join(
            [
                "control",
                "  abort always",
                f'  options {" ".join(assigned(options))} tran_method="trap" rawfile="binary"',
                *(f"  save {word}" for word in save),
                f"  analysis tran1 tran step={longest} stop={stop} maxstep={longest}",
                "endc",
                "",
            ]
        )


def quoted(name: str) -> str:
    """A name as VACASK reads it where it lies inside a cell.

    Args:
        name: of a node or a device, 'x1:out' inside the instance x1.
    """
    return f"'{name}'" if ":" in name else name
