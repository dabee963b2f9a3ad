"""An array seen from its terminals: joined depth first, so that little of it is in memory at once.

Chunks of cells, nearly square, are joined level by level (see `folds`), one after the other; what
they have become is joined two by two, in the order that takes the fewest operations.
"""

from __future__ import annotations

import math
import operator
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from analogdfc.wires.blocks import Block, Workspace
from analogdfc.wires.elimination import Elimination
from analogdfc.wires.folds import Fold, Leaves, order, padded
from analogdfc.wires.halves import Edge, joined_edge
from analogdfc.wires.patches import LARGEST

TALL = 256
"""Rows of a chunk: about so many, and up to so many in one."""

WIDE = 128
"""The same of its columns in double precision, half as many as in single; fewer, so that it lies in
the processor's caches."""

_STEP = 32
"""Rows or columns of the chunks of more are a multiple of it, a power of 2 for as many levels."""

_FEW = 8
"""Chunks, along rows or columns, up to which all orders of joining are looked at."""


class Along(NamedTuple):
    """How rows or columns are divided.

    Attributes:
        chunks: numbers of cells of the chunks.
        factors: of each, how many blocks are joined, level by level, to make it.
    """

    chunks: tuple[int, ...]
    factors: tuple[tuple[int, ...], ...]

    @property
    def cells(self) -> int:
        """Cells of all chunks."""
        return sum(self.chunks)

    def at(self, chunk: int) -> slice:
        """Where a chunk lies."""
        ends = list(accumulate(self.chunks, initial=0))
        return slice(ends[chunk], ends[chunk + 1])


def chunked(n: int, size: int, *, larger_last: bool) -> Along:
    """How so many rows or columns are divided.

    Args:
        n: their number.
        size: about how many a chunk has.
        larger_last: whether larger chunks come last, where the array is filled up.
    """
    if n <= size:
        cells, factors = padded(n)
        return Along((cells,), (tuple(factors),))
    steps = -(-n // _STEP)
    number = max(1, round(steps * _STEP / size))
    each, more = divmod(steps, number)
    sizes = sorted(_STEP * (each + (k < more)) for k in range(number))
    chunks = tuple(sizes if larger_last else reversed(sizes))
    return Along(chunks, tuple(_factors(cells) for cells in chunks))


def _factors(cells: int) -> tuple[int, ...]:
    """Prime factors of a chunk's cells, the large ones first, where blocks are small."""
    found, rest = [], cells
    for prime in range(2, cells + 1):
        while rest % prime == 0:
            found.append(prime)
            rest //= prime
    return tuple(reversed(found))


class _Part(NamedTuple):
    """A rectangle of chunks: its rows and columns, and which of its sides have terminals."""

    rows: range
    columns: range
    right: bool
    top: bool


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
        self._edge = False

    @property
    def rounding(self) -> float:
        """What rounding has cost so far, as in `Workspace`."""
        return self._workspace.rounding

    def whole(self) -> Block:
        """The array as one block."""
        block = self._joined(self._every())
        assert isinstance(block, Block)
        return block.whole()

    def edge(self) -> Edge:
        """The array as one block, of whose drivers only what they do to others is known."""
        self._edge = True
        edge = self._joined(self._every())
        assert isinstance(edge, Edge)
        return edge

    def _every(self) -> _Part:
        rows, columns = range(len(self._rows.chunks)), range(len(self._columns.chunks))
        return _Part(rows, columns, not self._leaves.open_right, not self._leaves.open_top)

    def _joined(self, part: _Part) -> Block | Edge:
        """A part of the array as one block."""
        if len(part.rows) == len(part.columns) == 1:
            chunk = self._chunk(part)
            return Edge.of(chunk) if self._edge and part.columns[0] == 0 else chunk
        sideways, first, second = self._divided(part)
        sides = ("R", "L") if sideways else ("B", "T")
        parts = list(zip((self._joined(first), self._joined(second)), sides, strict=True))
        if any(isinstance(each, Edge) for each, _ in parts):
            found: Block | Edge = joined_edge(parts, self._workspace)
        else:
            blocks = [(each, side) for each, side in parts if isinstance(each, Block)]
            found = Elimination(blocks, self._workspace, keep=False).take()
        for each, _ in parts:
            if isinstance(each, Edge):
                self._workspace.give(each.left)
                self._workspace.give(each.block.n)
            else:
                self._workspace.give(each.n)
        return found

    def _divided(self, part: _Part) -> tuple[bool, _Part, _Part]:
        """Whether a part is divided between columns, and what its two parts are."""
        sizes = (tuple(along.chunks[k] for k in each) for along, each in (
            (self._rows, part.rows), (self._columns, part.columns)))  # fmt: skip
        heights, widths = sizes
        edge = self._edge and part.columns[0] == 0
        _, sideways, first = _best(heights, widths, edge, part.right, part.top)
        if sideways:
            left, right = part.columns[:first], part.columns[first:]
            return True, part._replace(columns=left, right=True), part._replace(columns=right)
        above, below = part.rows[:first], part.rows[first:]
        return False, part._replace(rows=above), part._replace(rows=below, top=True)

    def _chunk(self, part: _Part) -> Block:
        """A chunk as a block, and no ends of lines that lead nowhere."""
        row, column = part.rows[0], part.columns[0]
        at = self._rows.at(row), self._columns.at(column)
        factors = self._rows.factors[row], self._columns.factors[column]
        grid, levels = self._first(at, factors)
        for k, (factor, sideways) in enumerate(levels):
            # The last goes on after the workspace has been used again.
            result = f"level {k % 2}" if k < len(levels) - 1 else None
            grid = Fold(
                grid, factor, self._workspace, sideways=sideways, keep=False, result=result
            ).block
        for side, open_end in (("R", not part.right), ("T", not part.top)):
            if open_end:
                closed = Elimination([(grid, side)], self._workspace, keep=False).take()
                if levels:
                    self._workspace.give(grid.n)
                grid = closed
        return grid

    def _first(
        self, at: tuple[slice, slice], factors: tuple[tuple[int, ...], tuple[int, ...]]
    ) -> tuple[Block, list[tuple[int, bool]]]:
        """The smallest blocks of a chunk, patches where they can be, and how they are joined."""
        inside = [_within(f) for f in factors]
        while any(inside):
            shape = [math.prod(f[:n]) for f, n in zip(factors, inside, strict=True)]
            grid = self._leaves.patches(*at, (shape[0], shape[1]))
            if grid is not None:
                return grid, _levels(factors, inside, shape)
            larger = max(shape)
            inside = [max(0, n - (s == larger)) for n, s in zip(inside, shape, strict=True)]
        return self._leaves.part(*at), _levels(factors, [0, 0], [1, 1])


Sizes = tuple[int, ...]


@lru_cache(maxsize=2**14)
def _best(
    heights: Sizes, widths: Sizes, edge: bool, right: bool, top: bool
) -> tuple[float, bool, int]:
    """How a part is divided: operations, whether between columns, and chunks of the first half.

    Args:
        heights: rows of its chunks.
        widths: columns of its chunks.
        edge: whether its left terminals are drivers, see `Edge`.
        right: whether it has terminals to the right.
        top: whether it has terminals at the top.
    """
    if len(heights) == len(widths) == 1:
        return 0.0, False, 0
    height, width = sum(heights), sum(widths)
    drivers = height if edge else 0
    others = height * (1 + right) - drivers + width * (1 + top)
    found = []
    for sideways, n in ((True, len(widths)), (False, len(heights))):
        p = height if sideways else width
        own = p**3 / 3 + p * p * (others + drivers) + p * others * (others + 2 * drivers)
        for first in range(1, n) if n <= _FEW else [n // 2]:
            if sideways:
                one = _best(heights, widths[:first], edge, True, top)
                other = _best(heights, widths[first:], False, right, top)
            else:
                one = _best(heights[:first], widths, edge, right, top)
                other = _best(heights[first:], widths, edge, right, True)
            found.append((own + one[0] + other[0], sideways, first))
    return min(found)


def _within(factors: tuple[int, ...]) -> int:
    """How many levels make no more than the largest patch."""
    return sum(size <= LARGEST for size in accumulate(factors, operator.mul))


def _levels(
    factors: tuple[tuple[int, ...], ...], inside: list[int], shape: list[int]
) -> list[tuple[int, bool]]:
    """Levels beyond patches of a shape that so many of them make."""
    rows, columns = (f[n:] for f, n in zip(factors, inside, strict=True))
    return list(order(rows, columns, *shape))
