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

from analogdfc.wires.blocks import Block

LARGEST = 16
"""Rows or columns of a patch at most; beyond, joining blocks is less work."""

_LEFT_OUT = 4
"""What may be left out of an element by a bound of it, in the precision's eps."""


class _Ladders(NamedTuple):
    """The lines of one kind, (..., along, lines).

    Attributes:
        first: each node's share of the voltage at the first end, with the last at ground.
        last: its share of that at the last end, which is the last node itself.
        through: coupling between both ends along the line, (..., lines), in siemens.
    """

    first: Tensor
    last: Tensor
    through: Tensor

    @classmethod
    def of(cls, g: Tensor, ohms: Tensor, nodes: range) -> _Ladders:
        """Ladders of cells.

        Args:
            g: conductances, (..., along, lines), in siemens.
            ohms: resistance of the segment that leads to each node, (..., along, 1).
            nodes: the nodes from the first end to the last.
        """
        first, last = torch.zeros_like(g), torch.empty_like(g)
        current = torch.ones_like(g[..., 0, :])
        last[..., nodes[0], :] = ohms[..., nodes[0], :]
        for before, k in pairwise(nodes):
            current.addcmul_(g[..., before, :], last[..., before, :])
            last[..., k, :] = torch.addcmul(last[..., before, :], ohms[..., k, :], current)
        current.fill_(1)
        for k, before in pairwise(reversed(nodes)):
            first[..., before, :] = torch.addcmul(first[..., k, :], ohms[..., k, :], current)
            current.addcmul_(g[..., before, :], first[..., before, :])
        through = last[..., nodes[-1], :].reciprocal()
        return cls(first.mul_(through[..., None, :]), last.mul_(through[..., None, :]), through)

    @property
    def taken(self) -> float:
        """Largest voltage of a node per volt behind all cells of its line, its ends at ground."""
        return 1 - float((self.first + self.last).min())

    def turned(self) -> _Ladders:
        """The same, (..., lines, along)."""
        return _Ladders(self.first.mT.contiguous(), self.last.mT.contiguous(), self.through)


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
    *arrays, rows, columns = g.shape
    g = g.reshape(*arrays, rows // height, height, columns // width, width)
    g = g.transpose(-3, -2).contiguous()
    turned = g.mT.contiguous()
    ohms = word.reciprocal().reshape(-1, width, 1)
    words = _Ladders.of(turned, ohms, range(width))
    ohms = bit.reciprocal().reshape(-1, 1, height, 1)
    bits = _Ladders.of(g, ohms, range(height - 1, -1, -1))
    if not words.taken * bits.taken * spread <= _LEFT_OUT * torch.finfo(g.dtype).eps:
        return None

    n = g.new_empty(*g.shape[:-2], 2 * (height + width), 2 * (height + width))
    block = Block(n, {"L": height, "T": width, "R": height, "B": width})
    across = bits.turned()
    upright = words.turned()
    between = _between(turned, words, across, lower=True)
    _write(block, between, words.through, "LR")
    between = _between(g, bits, upright, lower=False)
    _write(block, between, bits.through, "BT")
    into = {"B": g * bits.first, "T": g * bits.last}
    for a, share in (("L", upright.first), ("R", upright.last)):
        for b, taken in into.items():
            found = share * taken
            n[..., block.at(a), block.at(b)] = found
            n[..., block.at(b), block.at(a)] = found.mT
    return block


def _between(g: Tensor, lines: _Ladders, across: _Ladders, *, lower: bool) -> Tensor:
    """Half of the couplings between lines of one kind, by two cells and a line across.

    Args:
        g: conductances, (..., along, lines).
        lines: of the lines.
        across: of the lines that cross them, at the same places.
        lower: whether the lines across count the lines from the last one.

    Returns:
        (..., 2 lines, 2 lines), first ends before last ones; with its transpose it is the whole.
    """
    n = g.shape[-1]
    into = torch.cat([lines.first * g, lines.last * g], -1)
    near = into * torch.cat([across.last, across.last], -1)
    far = across.first / across.through[..., None]
    half = near.mT @ (into * torch.cat([far, far], -1))
    one = torch.ones(n, n, dtype=g.dtype, device=g.device)
    once, twice = (one.tril(), one.tril(-1)) if lower else (one.triu(), one.triu(1))
    return half.mul_(torch.cat([torch.cat([twice, once], 1), torch.cat([twice, twice], 1)]))


def _write(block: Block, half: Tensor, through: Tensor, ends: str) -> None:
    """Couplings between lines of one kind: by cells, and along each of them."""
    n = through.shape[-1]
    for k, a in enumerate(ends):
        for m, b in enumerate(ends):
            rows, columns = slice(k * n, (k + 1) * n), slice(m * n, (m + 1) * n)
            out = block.n[..., block.at(a), block.at(b)]
            torch.add(half[..., rows, columns], half[..., columns, rows].mT, out=out)
            if a != b:
                out.diagonal(dim1=-2, dim2=-1).add_(through)
