"""An array seen from its terminals: joined depth first, so that little of it is in memory at once.

Chunks of a square of cells are joined level by level (see `folds`), a region of them at a time;
what they have become is joined two by two.
"""

from __future__ import annotations

from typing import NamedTuple

from analogdfc.wires.elimination import Block, Elimination, Workspace
from analogdfc.wires.folds import Fold, Leaves, order, padded

_REGION = 2**17
"""Cells that are joined level by level together: as many as the processor's caches hold."""

_ONE = 256
"""Rows or columns up to which they are in one chunk."""

_CHUNKS = (256, 192, 128, 96)
"""Sizes of the chunks of more, of which the one that fits best is taken."""


class Along(NamedTuple):
    """How rows or columns are divided.

    Attributes:
        chunks: number of chunks.
        cells: of each.
        factors: how many blocks are joined, level by level, to make a chunk.
    """

    chunks: int
    cells: int
    factors: list[int]


def chunked(n: int) -> Along:
    """How so many rows or columns are divided.

    Args:
        n: their number.
    """
    if n <= _ONE:
        return Along(1, *padded(n))
    _, cells = min((-(-n // cells) * cells, -cells) for cells in _CHUNKS)
    cells = -cells
    return Along(-(-n // cells), cells, padded(cells)[1])


class Gathering:
    """The chunks of an array, to be joined.

    Args:
        leaves: its cells.
        rows: how the rows are divided.
        columns: how the columns are divided.
    """

    def __init__(self, leaves: Leaves, rows: Along, columns: Along) -> None:
        self._leaves, self._rows, self._columns = leaves, rows, columns
        self._workspace = Workspace()

    @property
    def rounding(self) -> float:
        """What rounding has cost so far, as in `Workspace`."""
        return self._workspace.rounding

    def whole(self) -> Block:
        """The array as one block."""
        return self._joined(range(self._rows.chunks), range(self._columns.chunks), None).whole()

    def _joined(self, rows: range, columns: range, grid: Block | None) -> Block:
        """Some of the chunks as one block.

        Args:
            rows: their rows.
            columns: their columns.
            grid: these chunks as blocks; None where they aren't made yet.
        """
        height, width = len(rows) * self._rows.cells, len(columns) * self._columns.cells
        if grid is None and (height * width <= _REGION or len(rows) == len(columns) == 1):
            grid = self._chunks(rows, columns)
        if len(rows) == len(columns) == 1:
            assert grid is not None
            return self._without_open_ends(grid, rows[0], columns[0])
        every, sides = slice(None), ("B", "T")
        if sideways := len(columns) > 1 and (width >= height or len(rows) == 1):
            sides = ("R", "L")
        half = len(columns if sideways else rows) // 2
        parts = []
        for part, side in zip((slice(0, half), slice(half, None)), sides, strict=True):
            at = (every, part) if sideways else (part, every)
            some = None if grid is None else grid.pick(*at)
            parts.append((self._joined(rows[at[0]], columns[at[1]], some), side))
        return Elimination(parts, self._workspace, keep=False).take()

    def _chunks(self, rows: range, columns: range) -> Block:
        """Chunks as blocks of a grid."""
        height, width = self._rows.cells, self._columns.cells
        grid = self._leaves.part(
            slice(rows.start * height, rows.stop * height),
            slice(columns.start * width, columns.stop * width),
        )
        levels = list(order(self._rows.factors, self._columns.factors))
        for k, (factor, sideways) in enumerate(levels):
            # The last goes on after the workspace has been used again.
            result = f"level {k % 2}" if k < len(levels) - 1 else None
            grid = Fold(
                grid, factor, self._workspace, sideways=sideways, keep=False, result=result
            ).block
        return grid

    def _without_open_ends(self, block: Block, row: int, column: int) -> Block:
        """A chunk, and no ends of lines at the edges of the array that lead nowhere."""
        ends = []
        if self._leaves.open_right and column == self._columns.chunks - 1:
            ends.append("R")
        if self._leaves.open_top and row == 0:
            ends.append("T")
        for side in ends:
            block = Elimination([(block, side)], self._workspace, keep=False).take()
        return block
