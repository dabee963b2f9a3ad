"""Cells of an array as blocks, and neighbouring blocks joined, all of a level at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from analogdfc.wires.blocks import SIDES, Block, Workspace
from analogdfc.wires.elimination import Elimination
from analogdfc.wires.lines import Lines
from analogdfc.wires.patches import patches


class Leaves:
    """The cells of an array that is filled up to a size with lines above and to the right.

    Args:
        g: conductances, (..., rows, columns), in siemens, >= 0.
        lines: the lines; r_word and r_bit > 0.
        tall: rows that are wanted; more than there are where the bit lines are sensed at both ends.
        wide: columns that are wanted; likewise.

    Attributes:
        above: rows that were added.
        right: columns that were added.
    """

    def __init__(self, g: Tensor, lines: Lines, tall: int, wide: int) -> None:
        rows, columns = g.shape[-2:]
        self._g = g
        self.above, self.right = tall - rows, wide - columns
        below, left = [lines.r_bit] * (rows - 1), [lines.r_word] * (columns - 1)
        if lines.sensed == "both":  # the lead in as many pieces as there are rows to fill up
            over = [lines.bit_lead / self.above] * self.above
        else:
            over = [lines.r_bit] * self.above
        if lines.driven == "both":
            beyond = [lines.word_lead / self.right] * self.right
        else:
            beyond = [lines.r_word] * self.right
        self._bit = g.new_tensor([*over, *below, lines.bit_lead]).reciprocal()
        self._word = g.new_tensor([lines.word_lead, *left, *beyond]).reciprocal()
        least, most = float(g.min()), float(g.max())
        self._spread = most / least if least > 0 else math.inf
        self.open_right, self.open_top = lines.driven != "both", lines.sensed != "both"

    def whole(self) -> Block:
        """All cells."""
        return self.part(slice(0, len(self._bit)), slice(0, len(self._word)))

    def patches(self, rows: slice, columns: slice, shape: tuple[int, int]) -> Block | None:
        """Patches of so many rows and columns as blocks, of a `part`; None where they can't be.

        In double precision nothing small enough is left out by wires that anybody makes.
        """
        if self._g.dtype == torch.float64:
            return None
        g, word, bit = self._filled(rows, columns), self._word[columns], self._bit[rows]
        return patches(g, word, bit, shape, self._spread)

    def _filled(self, rows: slice, columns: slice) -> Tensor:
        """Conductances of a part, 0 where there are no cells."""
        first = max(0, rows.start - self.above)
        g = self._g[..., first : max(first, rows.stop - self.above), columns]
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        if g.shape[-2:] == (tall, wide):
            return g
        return torch.nn.functional.pad(g, (0, wide - g.shape[-1], tall - g.shape[-2], 0))

    def part(self, rows: slice, columns: slice) -> Block:
        """One cell a block: its word node is the right terminal, its bit node the top one.

        Args:
            rows: of the array that is filled up.
            columns: the same.
        """
        shape = (*self._g.shape[:-2], rows.stop - rows.start, columns.stop - columns.start)
        n = self._g.new_zeros(4, 4, *shape).movedim((0, 1), (-2, -1))
        word, bit = self._word[columns], self._bit[rows, None]
        for a, b, value in ((0, 2, word), (1, 3, bit)):
            n[..., a, b] = value
            n[..., b, a] = value
        first = max(0, rows.start - self.above)
        g = self._g[..., first : max(first, rows.stop - self.above), columns]
        inside = n[..., shape[-2] - g.shape[-2] :, : g.shape[-1], :, :]
        inside[..., 1, 2] = g
        inside[..., 2, 1] = g
        return Block(n, dict.fromkeys(SIDES, 1))


class Fold:
    """Blocks of a grid joined in groups along its rows or along its columns."""

    def __init__(
        self,
        grid: Block,
        factor: int,
        workspace: Workspace,
        *,
        sideways: bool,
        keep: bool,
        result: str | None,
    ) -> None:
        self._factor, self._dim = factor, -3 if sideways else -4
        first, second = ("R", "L") if sideways else ("B", "T")
        parts = [Block(n, grid.sizes, grid.half) for n in self._split(grid.n, self._dim)]
        self._joins = []
        block = parts[0]
        for part in parts[1:]:
            join = Elimination(
                [(block, first), (part, second)],
                workspace,
                keep=keep,
                result=result if factor == 2 else None,
            )
            block = join.take()
            self._joins.append(join)
        self.block = block

    def _split(self, x: Tensor, dim: int) -> list[Tensor]:
        shape = (x.shape[dim] // self._factor, self._factor)
        start = x.ndim + dim
        return list(x.reshape(*x.shape[:start], *shape, *x.shape[start + 1 :]).unbind(dim))

    def up(self, current: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Currents (..., grid rows, grid columns, k, t) into the joined blocks; and inside."""
        first, *others = self._split(current, self._dim)
        inside = []
        for join, other in zip(self._joins, others, strict=True):
            first, inner = join.up([first, other])
            inside.append(inner)
        return first, inside

    def down(self, v: Tensor, inside: list[Tensor] | None) -> Tensor:
        """Voltages of the blocks' terminals from those of the joined ones."""
        found = []
        for k in range(len(self._joins) - 1, -1, -1):
            v, other = self._joins[k].down(v, inside[k] if inside else None)
            found.append(other)
        return torch.stack([v, *reversed(found)], self._dim).flatten(self._dim - 1, self._dim)


def order(
    row_factors: Sequence[int], column_factors: Sequence[int], height: int = 1, width: int = 1
) -> Iterator[tuple[int, bool]]:
    """In which order blocks are joined, so that they stay nearly square.

    Args:
        row_factors: how many blocks above each other are joined, level by level.
        column_factors: how many beside each other.
        height: rows of the blocks that are joined first.
        width: their columns.

    Yields:
        The factors, each with whether it is of columns.
    """
    rows, columns = list(row_factors), list(column_factors)
    while rows or columns:
        sideways = bool(columns) and (width <= height or not rows)
        factor = (columns if sideways else rows).pop(0)
        width, height = (width * factor, height) if sideways else (width, height * factor)
        yield factor, sideways


def padded(n: int) -> tuple[int, list[int]]:
    """A length >= n of the form 2^levels times at most 8, and its factors in order of joining.

    Args:
        n: what must fit.
    """
    levels = 0
    while n > 8 * 2**levels:
        levels += 1
    base = -(-n // 2**levels)
    factors, rest = [], base
    for prime in (7, 5, 3, 2):
        while rest % prime == 0:
            factors.append(prime)
            rest //= prime
    return base * 2**levels, factors + [2] * levels
