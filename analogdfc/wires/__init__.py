"""Wire resistance of crossbars, exact: the nodal equations of an array of cells and its lines.

One convention holds for all of it:

* g is (..., rows, columns), in siemens; rows are word lines and are driven, columns are bit lines
  and are sensed. 0 S is an open cell.
* A driver sits before column 0 of its row, a sense amplifier after the last row of its column. One
  segment of wire lies between neighbouring cells, and one between a terminal and its first cell.
* Resistances are in ohms a segment, and 0 is an ideal wire.
* A `Tiling` cuts a matrix into arrays, each with lines of its own from the drivers to the sense
  amplifiers; nothing resists between tiles.

Seen from its terminals an array is a matrix, rows first and then columns (`terminal_admittance`);
one elimination of the nodes in between gives it, the transfer matrix and the node voltages. What it
hands from rows to columns, with what it loads both with, costs less (`loaded_transfer`).
"""

from analogdfc.wires.array import Exact, Iterative, WiredArray, transfer_matrix
from analogdfc.wires.branches import BranchCurrents, NodeVoltages
from analogdfc.wires.iterative import Solution
from analogdfc.wires.lines import Lines
from analogdfc.wires.nonlinear import (
    Cell,
    NonlinearArray,
    OperatingPoint,
    Selector,
    Sinh,
)
from analogdfc.wires.power import ArrayEnergy, ArrayPower, array_energy, array_power
from analogdfc.wires.terminals import (
    LoadedTransfer,
    dual_rail,
    loaded_transfer,
    terminal_admittance,
    terminal_admittances,
    wire_admittance,
)
from analogdfc.wires.tiles import Tiling

__all__ = [
    "ArrayEnergy",
    "ArrayPower",
    "BranchCurrents",
    "Cell",
    "Exact",
    "Iterative",
    "Lines",
    "LoadedTransfer",
    "NodeVoltages",
    "NonlinearArray",
    "OperatingPoint",
    "Selector",
    "Sinh",
    "Solution",
    "Tiling",
    "WiredArray",
    "array_energy",
    "array_power",
    "dual_rail",
    "loaded_transfer",
    "terminal_admittance",
    "terminal_admittances",
    "transfer_matrix",
    "wire_admittance",
]
