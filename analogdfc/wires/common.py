"""Arrays whose bit lines are ideal from end to end: one node a column."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analogdfc.wires.elimination import inverse_root
from analogdfc.wires.ladder import Ladder
from analogdfc.wires.lines import Lines

_REACH = 600.0
"""Decay along a line, as an exponent, up to which no number overflows; _NARROW cells stay below."""

_NARROW = 16


class CommonBitLines:
    """The nodal equations of arrays with r_bit = 0, factorised.

    Each row, its word line eliminated, connects the columns with each other; the rows add up.

    Args:
        g: conductances, (..., rows, columns), in siemens, >= 0.
        lines: the lines; r_bit = 0.
    """

    def __init__(self, g: Tensor, lines: Lines) -> None:
        self._g = g
        self._word = Ladder.words(g, lines)
        self._drive = self._word.drive().mT
        self._seen = g * self._drive
        self._lead = lines.bit_lead / (2 if lines.sensed == "both" else 1)
        columns = g.shape[-1]
        eye = torch.eye(columns, dtype=g.dtype, device=g.device)
        self._share = eye if self._lead == 0 else self._inverse(eye)
        self.transfer = self._share @ self._seen.mT

    def couplings(self) -> Tensor:
        """Conductances between the terminals, as in `Factorised.couplings`."""
        between, seen = self._between(), self._seen
        if self._lead > 0:
            # Terminals behind the leads; the columns themselves are eliminated. Without leads to
            # a common ground nothing cancels.
            lead = torch.eye(between.shape[-1], dtype=seen.dtype, device=seen.device) / self._lead
            outer = torch.cat([seen.mT, lead.expand_as(between)], -1)
            root = inverse_root(torch.diag_embed(outer.sum(-1) + between.sum(-1)) - between)
            half = root @ outer
            n = half.mT @ half
        else:
            rows = seen.shape[-2]
            n = torch.cat(
                [
                    torch.cat([seen.new_zeros(*seen.shape[:-1], rows), seen], -1),
                    torch.cat([seen.mT, between], -1),
                ],
                -2,
            )
        n.diagonal(dim1=-2, dim2=-1).zero_()
        return n

    def _between(self) -> Tensor:
        """Conductances between columns through the word lines, (..., columns, columns)."""
        columns = self._g.shape[-1]
        between = self._g.new_zeros(*self._g.shape[:-2], columns, columns)
        if self._word.ideal:
            return between
        d, e = (x.mT for x in self._word.inverse_factors())
        weight = d * self._g
        reach = float((e[..., -1] - e[..., 0]).max())
        width = columns if reach < _REACH else _NARROW
        for first in range(0, columns, width):
            block, before = slice(first, first + width), slice(0, first + width)
            at = e[..., first, None]
            grows = weight[..., before] * torch.exp(e[..., before] - at)
            falls = weight[..., block] * torch.exp(at - e[..., block])
            between[..., before, block] = grows.mT @ falls
        upper = between.triu(1)
        return upper + upper.mT

    def _inverse(self, eye: Tensor) -> Tensor:
        """(1 + lead S)^-1 with S the admittance of the columns, all rows' drivers at ground."""
        between = self._between()
        s = torch.diag_embed(self._seen.sum(-2) + between.sum(-1)) - between
        matrix = eye + self._lead * s
        if matrix.device.type == "cpu":
            return torch.from_numpy(np.linalg.inv(matrix.numpy()))
        found: Tensor = torch.linalg.inv(matrix)
        return found

    def voltages(
        self, row: Tensor | None, column: Tensor | None, source: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Node voltages for voltages on the terminals and current sources over the cells.

        Arguments and results are those of `Dissection.voltages`.
        """
        g, drive = self._g.unsqueeze(-3), self._drive.unsqueeze(-3)
        word = torch.zeros_like(g)
        if row is not None:
            word = drive * row.unsqueeze(-1)
        current = g * word
        if source is not None:
            pushed = self._solve(-source)
            word, current = word + pushed, current + g * pushed + source
        bit = self._lead * current.sum(-2)
        if column is not None:
            bit = bit + column
        bit = (bit @ self._share.mT).unsqueeze(-2)
        bit = bit.expand(*bit.shape[:-2], *self._g.shape[-2:])
        return word + self._solve(g * bit), bit

    def _solve(self, current: Tensor) -> Tensor:
        word = self._word
        if word.ideal:
            return torch.zeros_like(current)
        return word.solve(current.mT, extra=1).mT
