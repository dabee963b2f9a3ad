"""Crossbars at rest: what they hand from rows to columns, and how they load both."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.wires import Lines, Tiling, dual_rail, loaded_transfer


class Coupling(NamedTuple):
    """An array of device pairs between its row drivers and its column senses, in siemens.

    Attributes:
        plus: transfer from the first rail of each input, (columns, inputs).
        minus: transfer from the second rail.
        columns: admittance between the columns, (columns, columns), rows grounded.
        plus_load: what the first rail of an input loads its driver with, (inputs,).
        minus_load: the same for the second rail.
    """

    plus: Tensor
    minus: Tensor
    columns: Tensor
    plus_load: Tensor
    minus_load: Tensor


def coupling(plus: Tensor, minus: Tensor, lines: Lines, tiling: Tiling | None = None) -> Coupling:
    """Solve an array of pairs.

    Args:
        plus: devices on the first rail of each input, (columns, inputs), in siemens.
        minus: devices on the second rail.
        lines: resistances of its lines.
        tiling: largest array of which it is made; by default it is one array.
    """
    if lines.ideal:
        columns = torch.diag((plus + minus).sum(dim=1))
        return Coupling(plus, minus, columns, plus.sum(dim=0), minus.sum(dim=0))
    g = dual_rail(plus, minus)
    found = loaded_transfer(g, lines.r_word, lines.r_bit, tiling)
    transfer, loads = found.transfer, found.loads
    parts = transfer[:, 0::2], transfer[:, 1::2], found.columns, loads[0::2], loads[1::2]
    return Coupling(*(torch.from_numpy(part.copy()) for part in parts))
