"""VACASK's language; its behavioural sources and switches are Verilog-A."""

from __future__ import annotations

from collections.abc import Iterator

from analogdfc.errors import UserError
from analogdfc.spice.dialects.base import MODULES, assigned
from analogdfc.spice.dialects.statements import (
    Ends,
    Options,
    Saved,
    Statement,
    SwitchModel,
    Transient,
    Waveform,
)
from analogdfc.spice.dialects.veriloga import WithModules, joined

_OPTIONS = {
    "reltol": "reltol",
    "abstol": "abstol",
    "vntol": "vntol",
    "gmin": "gmin",
    "temp": "temp",
    "tnom": "tnom",
}


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
        self._saved: list[str] = []

    def begin(self, title: str) -> Iterator[str]:
        """See `Dialect.begin`; the first line is the title."""
        kinds = [kind for kind, _ in self.built_in.values()]
        yield title
        yield "ground 0"
        yield from (f'load "{file}"' for file in ("resistor.osdi", "capacitor.osdi", MODULES))
        yield from (f"model {kind} {kind}" for kind in [*kinds, *self.texts])

    def include(self, file: str) -> str:
        """See `Dialect.include`."""
        return f'include "{file}"'

    def special(self, part: Statement) -> Iterator[str]:
        """See `WithModules.special`; what the analysis needs is given by `end`."""
        match part:
            case Ends():
                yield "ends"
            case Waveform(name, nodes, points):
                wave = ", ".join(number for point in points for number in point)
                yield f'{name} ({" ".join(nodes)}) vsource type="pwl" wave=[{wave}]'
            case SwitchModel(name, threshold, closed, opened):
                values = {"threshold": threshold, "closed": closed, "open": opened}
                yield joined(f"model {name} voltage_switch", values)
            case Options(values):
                self._options |= values
            case Transient():
                self._analysis = part
            case Saved(nodes, sources):
                self._saved += [f"v({quoted(name)})" for name in nodes]
                self._saved += [f"i({quoted(name)})" for name in sources]

    def end(self) -> Iterator[str]:
        """See `Dialect.end`; here: the block that runs the analysis.

        Raises:
            UserError: there is no analysis.
        """
        if self._analysis is None:
            raise UserError("netlist: no analysis is there")
        options = {_OPTIONS[k]: v for k, v in self._options.items() if k in _OPTIONS}
        stop, longest = self._analysis.stop, self._analysis.longest
        yield "control"
        yield "  abort always"
        yield f'  options {" ".join(assigned(options))} tran_method="trap" rawfile="binary"'
        yield from (f"  save {word}" for word in self._saved)
        yield f"  analysis tran1 tran step={longest} stop={stop} maxstep={longest}"
        yield "endc"


def quoted(name: str) -> str:
    """A name as VACASK reads it where it lies inside a cell.

    Args:
        name: of a node or a device, 'x1:out' inside the instance x1.
    """
    return f"'{name}'" if ":" in name else name
