"""Node voltages and branch currents of an array."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.wires.lines import Lines


class NodeVoltages(NamedTuple):
    """Voltages in an array, (..., k, rows, columns), in volts.

    Attributes:
        word: of the nodes on the word lines, one a cell.
        bit: of the nodes on the bit lines.
    """

    word: Tensor
    bit: Tensor

    @property
    def cell(self) -> Tensor:
        """Voltage over each cell, from its word line to its bit line."""
        return self.word - self.bit


class BranchCurrents(NamedTuple):
    """Currents in an array, in amperes.

    Attributes:
        cell: from the word line to the bit line, (..., k, rows, columns).
        word: along the word lines towards higher columns, (..., k, rows, columns + 1): element j
            enters node j, from the driver for j = 0. The last is that of the second driver, with
            the sign of a current that leaves the row: 0 without one.
        bit: along the bit lines towards higher rows, (..., k, rows + 1, columns): element i enters
            node i, the last leaves to the sense amplifier. The first is that of the second sense
            amplifier, negative for a current into it: 0 without one.
    """

    cell: Tensor
    word: Tensor
    bit: Tensor


def branch_currents(cell: Tensor, lines: Lines) -> BranchCurrents:
    """Currents in all branches, from those of the cells.

    The wires' currents are sums of the cells': differences of node voltages would lose their digits
    on wires that conduct well. With two leads a line's current divides such that the voltages along
    it add up to 0, as between two terminals at the same voltage.

    Args:
        cell: currents of the cells, (..., k, rows, columns), in amperes.
        lines: resistances of the lines.
    """
    taken = _running(cell)
    total = taken[..., -1:]
    if lines.driven == "both":
        word = _entering(taken, lines.r_word, lines.word_lead) - taken
    else:
        word = cell.flip(-1).cumsum(-1).flip(-1)
        word = torch.cat([word, torch.zeros_like(total)], -1)
    given = _running(cell.mT)
    if lines.sensed == "both":
        given = given - _entering(given, lines.r_bit, lines.bit_lead)
    return BranchCurrents(cell, word, given.mT)


def _running(current: Tensor) -> Tensor:
    """Sums of the currents before each segment of a line, (..., n + 1)."""
    return torch.nn.functional.pad(current.cumsum(-1), (1, 0))


def _entering(before: Tensor, r: float, lead: float) -> Tensor:
    """Current through the first lead of a line with two, (..., 1), outward currents positive."""
    if lead == 0:
        return before[..., -1:] / 2
    n = before.shape[-1] - 1
    drop = r * before[..., 1:-1].sum(-1, keepdim=True) + lead * before[..., -1:]
    return drop / (2 * lead + (n - 1) * r)
