"""VACASK's language; its behavioural sources and switches are Verilog-A."""

from __future__ import annotations

from collections.abc import Iterator

from analogdfc.errors import UserError
from analogdfc.spice.dialects.base import MODULES, assigned
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
from analogdfc.spice.transistors import LEAST_TOLERANCES

_OPTIONS = {
    "reltol": "reltol",
    "abstol": "abstol",
    "vntol": "vntol",
    "gmin": "gmin",
    "temp": "temp",
    "tnom": "tnom",
}

_MOSFETS = {8: "bsim3v3", 49: "bsim3v3", 14: "bsim4v8", 54: "bsim4v8"}
"""File of a transistor's equations, by the level that ngspice has for them.

VACASK has BSIM3 3.3 and BSIM4 4.8, both made of ngspice's own.
"""

_BEFORE_4_6 = {"ud": "1e14"}
"""Defaults that BSIM4 had before version 4.6, and no longer has: without this one, the currents of
a kit's transistors differ by 0.2 %.
"""


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
        self._equations: set[str] = set()

    def begin(self, title: str) -> Iterator[str]:
        """See `Dialect.begin`; the first line is the title."""
        kinds = [kind for kind, _ in self.built_in.values()]
        yield title
        yield "ground 0"
        compiled = [f"spice/{name}.osdi" for name in sorted(self._equations)]
        loaded = ("resistor.osdi", "capacitor.osdi", *compiled, MODULES, *self.own)
        yield from (f'load "{file}"' for file in loaded)
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
            case MosModel():
                yield self._model(part)
            case ModuleModel(name, module):
                yield f"model {name} {module}"
            case Mosfet(name, nodes, model, values) | ModuleInstance(name, nodes, model, values):
                yield joined(f"{name} ({' '.join(nodes)}) {model}", values)
            case Options(values):
                self._options |= values
            case Transient():
                self._analysis = part
            case Saved(nodes, sources):
                self._saved += [f"v({quoted(name)})" for name in nodes]
                self._saved += [f"i({quoted(name)})" for name in sources]

    def _model(self, part: MosModel) -> str:
        """The line of a model of transistors."""
        equations = _MOSFETS.get(part.level)
        if equations is None:
            known = ", ".join(map(str, _MOSFETS))
            raise UserError(
                f"model {part.name}: level {part.level} can't be written for VACASK, which has "
                f"{known}"
            )
        self._equations.add(equations)
        values = {"type": "1" if part.polarity == "n" else "-1"}
        if equations == "bsim4v8" and part.version and float(part.version) < 4.6:
            values |= _BEFORE_4_6
        return joined(f"model {part.name} sp_{equations}", values | {**part.parameters})

    def end(self) -> Iterator[str]:
        """See `Dialect.end`; here: the block that runs the analysis.

        Raises:
            UserError: there is no analysis.
        """
        if self._analysis is None:
            raise UserError("netlist: no analysis is there")
        options = {_OPTIONS[k]: v for k, v in self._options.items() if k in _OPTIONS}
        if self._equations:
            # What a capacitor of some picofarads takes in the short steps as a switch opens is
            # rounded off by more than 1e-13 A, and no step converges.
            floors = {name: least for name, least in LEAST_TOLERANCES.items() if name in options}
            options |= {k: repr(max(float(options[k]), least)) for k, least in floors.items()}
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
