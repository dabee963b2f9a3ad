"""From a matrix of weights to the conductances of arrays, and back.

A `Mapping` says how; `mapping.layout(weight, bias, window)` gives the arrays of one matrix.
"""

from analogdfc.arrays.mapping.cells import Cell, stuck_at
from analogdfc.arrays.mapping.export import (
    positions,
    pulses_to,
    table,
    write_csv,
    write_hdf5,
)
from analogdfc.arrays.mapping.layout import Layout, Mapping
from analogdfc.arrays.mapping.scales import Fixed, PerColumn, PerLayer, Scale
from analogdfc.arrays.mapping.schemes import Balanced, MidRail, OffsetColumn, Scheme, Split
from analogdfc.arrays.mapping.slicing import Equal, Positional, Slicing
from analogdfc.wires import Tiling

__all__ = [
    "Balanced",
    "Cell",
    "Equal",
    "Fixed",
    "Layout",
    "Mapping",
    "MidRail",
    "OffsetColumn",
    "PerColumn",
    "PerLayer",
    "Positional",
    "Scale",
    "Scheme",
    "Slicing",
    "Split",
    "Tiling",
    "positions",
    "pulses_to",
    "stuck_at",
    "table",
    "write_csv",
    "write_hdf5",
]
