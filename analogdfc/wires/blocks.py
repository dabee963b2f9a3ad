"""Blocks of an array's cells, seen from the ends of their lines, and memory for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

SIDES = "LTRB"
"""Terminals of a block in their order: left, top, right, bottom.

Going round, neighbouring sides stay neighbours where blocks are joined: fewer pieces to copy.
"""

_PIECE = 256
"""Rows that are mirrored at once: as many as the processor's caches hold."""

_FEW = 64
"""Rows and columns of matrices that are transposed in one piece."""

_LINE = 16
"""Numbers in single precision that fill a line of the processor's caches."""

_Matrix = TypeVar("_Matrix", Tensor, NDArray[Any])


@dataclass(frozen=True)
class Block:
    """Equal blocks in a grid.

    Attributes:
        n: conductances between terminals, (..., grid rows, grid columns, t, t), zero diagonal.
        sizes: number of terminals on each side; absent sides are missing.
        half: whether only what lies below the diagonal has been written; the rest is anything.
    """

    n: Tensor
    sizes: dict[str, int]
    half: bool = False

    def at(self, side: str) -> slice:
        """Where the terminals of a side lie."""
        return spans(self.sizes)[side]

    def pick(self, rows: slice, columns: slice) -> Block:
        """Some blocks of the grid."""
        return Block(self.n[..., rows, columns, :, :], self.sizes, self.half)

    def whole(self) -> Block:
        """The same with both halves, written to its own memory."""
        if self.half:
            size = self.n.shape[-1]
            for k in range(0, size, _PIECE):
                rows = slice(k, min(k + _PIECE, size))
                corner = self.n[..., rows, rows].tril()
                self.n[..., rows, rows] = corner + corner.mT
                copy_transposed(self.n[..., rows, :k], self.n[..., :k, rows])
        return Block(self.n, self.sizes)


def copy_transposed(matrix: _Matrix, out: _Matrix) -> None:
    """Write the transposed of matrices, (..., b, a), to out, (..., a, b).

    Large ones by lines of the caches: what lies a row apart in memory shares its place in them.
    """
    size = matrix.shape[-2]
    step = _LINE if max(matrix.shape[-2:]) > _FEW else size
    for k in range(0, size, step):
        out[..., k : k + step] = matrix[..., k : k + step, :].swapaxes(-1, -2)


def spans(sizes: dict[str, int]) -> dict[str, slice]:
    """Where the terminals of each side lie."""
    found, start = {}, 0
    for side in SIDES:
        if side in sizes:
            found[side] = slice(start, start + sizes[side])
            start += sizes[side]
    return found


class Workspace:
    """Memory that is used again and again: a fresh page costs more than the sums written to it.

    Attributes:
        rounding: what eliminations of many nodes have lost by it so far: the largest deviation of
            D^-1 (E 1) from 1, which it is.
    """

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}
        self._free: list[Tensor] = []
        self.rounding = 0.0

    def empty(
        self, name: str | None, shape: Sequence[int], like: Tensor, *, by_block: bool
    ) -> Tensor:
        """An uninitialised tensor, (..., a, b), in the memory of that name, or in some for itself.

        With by_block, matrices lie in memory one after the other, for BLAS; else, one element of
        every block after the other, for small matrices on which all blocks work in step.
        """
        size = math.prod(shape)
        memory = self._memory.get(name) if name else self._freed(size)
        if memory is None or memory.numel() < size:
            memory = torch.empty(size, dtype=like.dtype, device=like.device)
            if name:
                self._memory[name] = memory
        if by_block:
            return memory[:size].view(*shape)
        return memory[:size].view(*shape[-2:], *shape[:-2]).movedim((0, 1), (-2, -1))

    def give(self, n: Tensor) -> None:
        """Take the memory of a tensor that nobody needs any more."""
        size = n.untyped_storage().nbytes() // n.element_size()
        self._free.append(n.as_strided((size,), (1,), 0))

    def _freed(self, size: int) -> Tensor | None:
        """The least memory that was given and is enough, if it isn't far more."""
        fitting = [(m.numel(), k) for k, m in enumerate(self._free) if size <= m.numel() < 2 * size]
        return self._free.pop(min(fitting)[1]) if fitting else None


class Layout(NamedTuple):
    """Where parts come to lie in the block that they are joined to.

    Attributes:
        own: of each part, where the terminals lie that are eliminated.
        placed: the other sides: of which part, and where they come to lie.
        runs: the same as few runs: of which part, where in it, and where they come to lie.
        sizes: number of terminals on each side of the joined block.
    """

    own: tuple[slice, ...]
    placed: tuple[tuple[int, str, slice], ...]
    runs: tuple[tuple[int, slice, slice], ...]
    sizes: dict[str, int]

    @classmethod
    def of(cls, parts: Sequence[tuple[Block, str]]) -> Layout:
        """Of parts, each with the side whose terminals are eliminated."""
        return _layout(tuple((tuple(block.sizes.items()), side) for block, side in parts))


@lru_cache(maxsize=2**10)
def _layout(parts: tuple[tuple[tuple[tuple[str, int], ...], str], ...]) -> Layout:
    outlines = [(spans(dict(sizes)), shared) for sizes, shared in parts]
    placed: list[tuple[int, str, slice]] = []
    runs: list[tuple[int, slice, slice]] = []
    joined: dict[str, int] = {}
    start = 0
    for side in SIDES:
        for which, (at, shared) in enumerate(outlines):
            if side == shared or side not in at:
                continue
            source = at[side]
            size = source.stop - source.start
            target = slice(start, start + size)
            placed.append((which, side, target))
            joined[side] = joined.get(side, 0) + size
            start += size
            if runs and (runs[-1][0], runs[-1][1].stop) == (which, source.start):
                _, before, ahead = runs.pop()
                source, target = slice(before.start, source.stop), slice(ahead.start, target.stop)
            runs.append((which, source, target))
    own = tuple(at[shared] for at, shared in outlines)
    return Layout(own, tuple(placed), tuple(runs), joined)
