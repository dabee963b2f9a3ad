"""Known stuck cells of a chip, by their place in its arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch

from analogdfc.arrays.mapping.export import positions
from analogdfc.arrays.mapping.layout import Layout
from analogdfc.devices import Stuck
from analogdfc.devices.draws import check_number
from analogdfc.errors import UserError


class Cell(NamedTuple):
    """A cell that can't be programmed; all places are counted from 0, as in `positions`.

    Attributes:
        row: row in its array, all rails counted.
        column: column in its array.
        g: its conductance, in siemens; may lie outside of the window, as a short or an open does.
        tile_row: row of arrays.
        tile_column: column of arrays.
        slice: slice of the weights.
    """

    row: int
    column: int
    g: float
    tile_row: int = 0
    tile_column: int = 0
    slice: int = 0


def stuck_at(layout: Layout, cells: Iterable[Cell]) -> Stuck:
    """The stuck devices of a layout.

    Args:
        layout: the arrays.
        cells: the cells.

    Returns:
        Tensors of the layout's shape.

    Raises:
        UserError: a cell outside of its array, or a negative or non-finite conductance.
    """
    place = positions(layout)
    names = ("slice", "tile_row", "tile_column", "row", "column")
    keys = zip(*(place[name].tolist() for name in names), strict=True)
    index = {key: k for k, key in enumerate(keys)}
    g = torch.zeros(layout.shape, dtype=torch.float64)
    mask = torch.zeros(layout.shape, dtype=torch.bool)
    for cell in cells:
        key = (cell.slice, cell.tile_row, cell.tile_column, cell.row, cell.column)
        where = f"slice {key[0]}, array ({key[1]}, {key[2]}), row {key[3]}, column {key[4]}"
        if key not in index:
            here = [k for k in index if k[:3] == key[:3]]
            if here:
                rows, columns = (max(k[axis] for k in here) for axis in (3, 4))
                allowed = f"rows 0..{rows} and columns 0..{columns}"
            else:
                slices, rows, columns = (max(k[axis] for k in index) for axis in range(3))
                allowed = f"slices 0..{slices}, arrays (0..{rows}, 0..{columns})"
            raise UserError(f"stuck cell of {where}: there is no such cell; {allowed} are allowed")
        check_number(f"conductance of the stuck cell of {where}", cell.g, "S", low=0.0)
        mask.view(-1)[index[key]] = True
        g.view(-1)[index[key]] = cell.g
    return Stuck(mask.to(layout.scale.device), g.to(layout.scale))
