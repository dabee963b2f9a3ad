"""Patches of cells as blocks at once, where wires conduct far better than the cells on them.

Each line of a patch is a ladder: its segments, and its cells with their other ends at ground. From
an end to another a current takes no cell (along a line), one (from a word to a bit line) or two (to
another line of its kind, along one that crosses both). All that takes two more is left out: of
each element a share of what the cells take of a word's voltage, times the same of a bit line. What
is kept are sums of positive terms, so that each element has its digits.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.products import multiplied
from analogdfc.wires.blocks import SIDES, Block

LARGEST = 16
"""Rows or columns of a patch at most; beyond, joining blocks is less work."""

_LEFT_OUT = 4
"""What may be left out of an element by a bound of it, in the precision's eps."""


class _Ladders(NamedTuple):
    """The lines of one kind, (..., patches, along, lines): of each node in turn all lines' share.

    Attributes:
        first: each node's share of the voltage at the first end, with the last at ground.
        last: its share of that at the last end, which is the last node itself.
        through: coupling between both ends along the line, (..., patches, lines), in siemens.
    """

    first: Tensor
    last: Tensor
    through: Tensor

    @classmethod
    def of(cls, g: Tensor, ohms: Tensor, nodes: range) -> _Ladders:
        """Ladders of cells.

        Args:
            g: conductances, (..., patches, along, lines), in siemens.
            ohms: resistance of the segment that leads to each node, (patches, along, 1).
            nodes: the nodes from the first end to the last.
        """
        first, last = torch.empty_like(g), torch.empty_like(g)
        cells, r, a, b = (x.unbind(-2) for x in (g, ohms, first, last))
        current = torch.ones_like(cells[0])
        b[nodes[0]].copy_(r[nodes[0]])
        for before, k in pairwise(nodes):
            current.addcmul_(cells[before], b[before])
            torch.addcmul(b[before], r[k], current, out=b[k])
        current.fill_(1)
        a[nodes[-1]].zero_()
        for k, before in pairwise(reversed(nodes)):
            torch.addcmul(a[k], r[k], current, out=a[before])
            current.addcmul_(cells[before], a[before])
        through = b[nodes[-1]].reciprocal()
        return cls(first.mul_(through[..., None, :]), last.mul_(through[..., None, :]), through)

    @property
    def taken(self) -> float:
        """Largest voltage of a node per volt behind all cells of its line, its ends at ground."""
        return 1 - float((self.first + self.last).min())

    def into(self, g: Tensor) -> Tensor:
        """What cells take per volt at either end of a line, where the lines across lie.

        Args:
            g: conductances, (..., patches, along, lines) of the lines across.

        Returns:
            (..., patches, 2, along, lines), in siemens: first ends before last ones.
        """
        into = g.new_empty(*g.shape[:-2], 2, *g.shape[-2:])
        for end, share in enumerate((self.first, self.last)):
            torch.mul(_turned(share, g.shape[-2]), g, out=into[..., end, :, :])
        return into


def patches(
    g: Tensor, word: Tensor, bit: Tensor, shape: tuple[int, int], spread: float
) -> Block | None:
    """Patches of an array as blocks of a grid; None where they wouldn't be exact.

    Args:
        g: conductances, (..., rows, columns), multiples of the patches' shape, in siemens.
        word: conductance of the segment before each column, (columns,).
        bit: conductance of the segment after each row, (rows,).
        shape: rows and columns of a patch.
        spread: largest conductance over the smallest, of the cells that there are.
    """
    height, width = shape
    by_bits = _cut(g.contiguous(), -2, height)
    by_words = _turned(by_bits, width)
    words = _Ladders.of(by_words, word.reciprocal().reshape(-1, width, 1), range(width))
    bits = _Ladders.of(by_bits, bit.reciprocal().reshape(-1, height, 1), range(height - 1, -1, -1))
    if not words.taken * bits.taken * spread <= _LEFT_OUT * torch.finfo(g.dtype).eps:
        return None

    grid = by_bits.shape[:-2] + by_words.shape[-3:-2]
    n = g.new_empty(*grid, 2 * (height + width), 2 * (height + width))
    block = Block(n, {"L": height, "T": width, "R": height, "B": width}, half=True)
    into = words.into(by_bits)
    between = _between(into, bits.last, bits.first / bits.through[..., None, :], width)
    _write(block, between, _cut(words.through, -1, height).transpose(-3, -2), "LR")
    _multiply(into[..., 1, :, :], bits.last, _at(block, "RT"))

    into = bits.into(by_words)
    between = _between(into, words.first / words.through[..., None, :], words.last, height)
    _write(block, between.transpose(-4, -3), _cut(bits.through, -1, width), "BT")
    _multiply(into[..., 1, :, :], words.first, _at(block, "TL").transpose(-4, -3))
    _multiply(into[..., 0, :, :], words.first, _at(block, "BL").transpose(-4, -3))
    _multiply(into[..., 0, :, :], words.last, _at(block, "BR").transpose(-4, -3))
    n.diagonal(dim1=-2, dim2=-1).zero_()
    return block


def _turned(x: Tensor, size: int) -> Tensor:
    """(..., patches, along, lines) as the lines across have it, so many of them in a patch."""
    return _cut(x.flatten(-3, -2).mT.contiguous(), -2, size)


def _cut(x: Tensor, dim: int, size: int) -> Tensor:
    """A dimension, counted from the last one, as two: the patches, and what is in each."""
    return x.reshape(*x.shape[:dim], -1, size, *x.shape[x.ndim + dim + 1 :])


def _matrices(x: Tensor, size: int) -> Tensor:
    """(..., patches, rows, lines) as matrices of so many lines, (..., patches, across, rows, .)."""
    return _cut(x, -1, size).transpose(-3, -2)


def _at(block: Block, sides: str) -> Tensor:
    """Couplings of the terminals of one side to those of another."""
    return block.n[..., block.at(sides[0]), block.at(sides[1])]


def _multiply(into: Tensor, share: Tensor, out: Tensor) -> None:
    """Couplings by one cell, (..., patches, patches across, lines, across): see `_Ladders`."""
    size = out.shape[-1]
    torch.mul(_matrices(into, size), _matrices(share, size), out=out)


def _between(into: Tensor, near: Tensor, far: Tensor, size: int) -> Tensor:
    """Couplings between lines of one kind, by two cells and a line across.

    A line across hands on as much from one of its nodes to another as in the other direction: a
    product of what either is to the end behind it.

    Args:
        into: of the lines, see `_Ladders.into`.
        near: factor of a node of the lines across that is a later line's, at the same places.
        far: that of an earlier line's.
        size: lines across in a patch.

    Returns:
        (..., patches, patches across, 2 lines, 2 lines), first ends before last ones; right where
        the second line isn't later than the first.
    """
    left, right = ((into * x.unsqueeze(-3)).flatten(-3, -2) for x in (near, far))
    return multiplied(_matrices(left, size), _matrices(right, size).mT)


def _write(block: Block, between: Tensor, through: Tensor, ends: str) -> None:
    """Couplings between lines of one kind, below the diagonal: by cells, and along each of them."""
    n = through.shape[-1]
    at = {ends[0]: slice(0, n), ends[1]: slice(n, 2 * n)}
    for end, own in at.items():
        _at(block, end + end).copy_(between[..., own, own])
    early, late = sorted(ends, key=SIDES.index)
    out = _at(block, late + early)
    below = torch.ones(n, n, dtype=torch.bool, device=out.device).tril(-1)
    other = between[..., at[early], at[late]].mT
    torch.where(below, between[..., at[late], at[early]], other, out=out)
    out.diagonal(dim1=-2, dim2=-1).add_(through)
