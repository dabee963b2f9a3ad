"""Wire resistance of crossbars, exact: the nodal equations of an array of cells and its lines."""

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

__all__ = [
    "BranchCurrents",
    "Cell",
    "Exact",
    "Iterative",
    "Lines",
    "NodeVoltages",
    "NonlinearArray",
    "OperatingPoint",
    "Selector",
    "Sinh",
    "Solution",
    "WiredArray",
    "transfer_matrix",
]
