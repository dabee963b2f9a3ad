"""Exact solution of an array's nodal equations, whatever its lines."""

from __future__ import annotations

import torch
from torch import Tensor

from analogdfc.wires.common import CommonBitLines
from analogdfc.wires.dissection import Dissection
from analogdfc.wires.lines import Lines

_PIECE = 256


class Factorised:
    """The nodal equations of arrays, factorised once for any number of inputs.

    Args:
        g: conductances, (..., rows, columns), in siemens, >= 0.
        lines: resistances of the lines.
        keep: whether node voltages will be asked for; the transfer matrix alone needs less memory.
        terminals: whether the couplings between all terminals will be asked for.

    Attributes:
        transfer: currents out of the columns, held at ground, per volt on the rows,
            (..., columns, rows), in siemens.
        rounding: what it cost, as in `Workspace`; 0 where it isn't known.
    """

    def __init__(
        self, g: Tensor, lines: Lines, *, keep: bool = True, terminals: bool = False
    ) -> None:
        g = g.detach()
        # By reciprocity the array, driven at its columns, has the transposed transfer matrix.
        self._turned = lines.r_bit > 0 and lines.r_word == 0
        if self._turned:
            g, lines = turned(g), lines.turned()
        self._solver: Dissection | CommonBitLines
        self.rounding = 0.0
        if lines.r_bit == 0:
            self._solver = CommonBitLines(g, lines)
        else:
            self._solver = Dissection(g, lines, keep=keep, terminals=terminals)
            self.rounding = self._solver.rounding
        found = self._solver.transfer
        self.transfer = turned(found) if self._turned else found

    def couplings(self) -> Tensor:
        """Conductances between the terminals, all inner nodes eliminated.

        Returns:
            (..., rows + columns, rows + columns), rows first, in siemens; all >= 0 and 0 on the
            diagonal: what an array takes at a terminal is the sum of its couplings to the others.
            Every element is accurate, also where wires conduct 1e8 times better than cells.
        """
        found = self._solver.couplings()
        # The two halves differ in their last digits. Piece by piece, without another such matrix.
        for k in range(0, found.shape[-1], _PIECE):
            rows, left = slice(k, k + _PIECE), slice(0, k + _PIECE)
            mean = (found[..., rows, left] + found[..., left, rows].mT) / 2
            found[..., rows, left], found[..., left, rows] = mean, mean.mT
        if not self._turned:
            return found
        order = torch.arange(found.shape[-1], device=found.device).flip(0)
        return found[..., order[:, None], order]

    def lost(self) -> tuple[Tensor, Tensor]:
        """Conductances between columns, and what each row loses to all others.

        Where neither node voltages nor couplings were asked for; it takes less than these.

        Returns:
            (..., columns, columns), 0 on the diagonal, and (..., rows), in siemens; all >= 0. What
            a row's driver is loaded with is its column of the transfer matrix and what it loses.
        """
        edge = None if isinstance(self._solver, CommonBitLines) else self._solver.edge
        if edge is not None:
            return edge.block.n, edge.lost
        found, rows = self.couplings(), self.transfer.shape[-1]
        return found[..., rows:, rows:], found[..., :rows, :rows].sum(-1)

    def voltages(
        self, row: Tensor | None, column: Tensor | None, source: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Node voltages for voltages on the terminals and current sources over the cells.

        Args:
            row: voltages of the rows' drivers, (..., k, rows), in volts; None for ground.
            column: voltages behind the sense amplifiers, (..., k, columns); None for ground. Row,
                column or both must be given.
            source: currents from the word node to the bit node of each cell, in parallel to it,
                (..., k, rows, columns), in amperes; None for none.

        Returns:
            Voltages of word-line and bit-line nodes, each (..., k, rows, columns).
        """
        row, column = (None if x is None else self._for_each(x, 2) for x in (row, column))
        source = None if source is None else self._for_each(source, 3)
        if not self._turned:
            return self._solver.voltages(row, column, source)
        if source is not None:
            source = -turned(source)
        row, column = (None if x is None else x.flip(-1) for x in (row, column))
        bit, word = self._solver.voltages(column, row, source)
        return turned(word), turned(bit)

    def _for_each(self, x: Tensor, own: int) -> Tensor:
        """Expanded over the arrays; the last dimensions are its own."""
        arrays, given = self.transfer.shape[:-2], x.shape[:-own]
        shape = torch.broadcast_shapes(arrays, given)
        return x.expand(*shape, *x.shape[-own:])


def turned(x: Tensor) -> Tensor:
    """Transposed about the other diagonal: drivers stay first in their lines, senses last."""
    return x.mT.flip(-2, -1)
