"""Hand-over to PySpice: our netlists as its circuits."""

from __future__ import annotations

import warnings
from typing import Any

from analogdfc.errors import UserError
from analogdfc.spice.deck import logical_lines
from analogdfc.spice.dialects.statements import (
    Device,
    Instance,
    Statement,
    Waveform,
    statements,
)
from analogdfc.spice.installed import has_pyspice
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.writer import title

__all__ = ["to_pyspice"]


def to_pyspice(netlist: Netlist, testbench: str = "") -> Any:
    """A chip's netlist as a circuit of PySpice, with the same names of nodes and parts.

    Every array, neuron and channel of the controller and every source is an element of the circuit,
    to be looked at, altered or left out; the cells are in its text, as PySpice's classes can't say
    what is in them.

    Args:
        netlist: of the chip.
        testbench: sources and analysis (see `Testbench.text`), of which the sources become
            elements; the analysis is for PySpice's simulator to say.

    Returns:
        A `PySpice.Spice.Netlist.Circuit`.

    Raises:
        UserError: PySpice isn't installed, or a cell is Verilog-A.
    """
    if not has_pyspice():
        raise UserError("PySpice is missing. Install it: pip install PySpice")
    if netlist.modules:
        raise UserError(f"{netlist.modules[0].path}: PySpice loads no Verilog-A of one's own")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its sources have escapes that Python warns of
        from PySpice.Spice.Netlist import Circuit

    circuit = Circuit(title(netlist.chip, netlist.fidelity).removeprefix("* "))
    inside, texts = False, [netlist.cells]
    for _, line in logical_lines(f"\n{netlist.circuit}{testbench}"):
        word = line.split(maxsplit=1)[0].lower()
        inside = (inside or word == ".subckt") and word != ".ends"
        if inside or word == ".ends" or word == ".param":
            texts.append(f"{line}\n")
        elif word[0] != ".":
            _add(circuit, next(statements([line])))
    circuit.raw_spice = "".join(texts)
    return circuit


def _add(circuit: Any, part: Statement) -> None:
    """Add an element; the letter of its kind is PySpice's to write."""
    match part:
        case Instance(name, nodes, cell, values):
            circuit.X(name[1:], cell, *nodes, **{k: float(v) for k, v in values.items()})
        case Device("v", name, (plus, minus), value):
            circuit.V(name[1:], plus, minus, float(value))
        case Waveform(name, (plus, minus), points):
            wave = [(float(t), float(v)) for t, v in points]
            circuit.PieceWiseLinearVoltageSource(name[1:], plus, minus, values=wave)
        case _:
            raise UserError(f"{part}: has no place in PySpice's circuit")
