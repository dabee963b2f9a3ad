"""Crossbars at rest: what they hand from rows to columns, and how they load both."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.cards.technology import Wire
from analogdfc.wires import Lines, transfer_matrix
from analogdfc.wires.terminals import dual_rail


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


_KEPT = 12
"""Arrays whose solutions are kept: those of one large chip, which several models ask for."""

_known: OrderedDict[tuple[bytes, float, float], Coupling] = OrderedDict()


def coupling(plus: Tensor, minus: Tensor, wire: Wire) -> Coupling:
    """Solve an array of pairs; the last ones are remembered. The result must not be changed.

    The transfer is exact. The admittances of single terminals take all other lines as ladders
    without shunts; that between two columns is the first order of the word lines' drop.

    Args:
        plus: devices on the first rail of each input, (columns, inputs), in siemens.
        minus: devices on the second rail.
        wire: the card's lines.
    """
    g = torch.from_numpy(dual_rail(plus, minus))
    lines = Lines(wire.word or 0.0, wire.bit or 0.0)
    if lines.r_word == lines.r_bit == 0:
        return Coupling(plus, minus, torch.diag(g.sum(dim=0)), plus.sum(dim=0), minus.sum(dim=0))
    content = sha256(g.numpy().tobytes() + bytes(str(g.shape), "ascii")).digest()
    key = content, lines.r_word, lines.r_bit
    if key not in _known:
        _known[key] = _solved(g, lines)
        if len(_known) > _KEPT:
            _known.popitem(last=False)
    return _known[key]


def _solved(g: Tensor, lines: Lines) -> Coupling:
    transfer = transfer_matrix(g, lines)
    rows, columns = g.shape
    near = lines.r_word * torch.arange(1, columns + 1, dtype=g.dtype)
    far = lines.r_bit * torch.arange(rows, 0, -1, dtype=g.dtype)
    load = _ladder(g / (1 + g * far[:, None]), lines.r_word)
    own = _ladder((g / (1 + g * near)).T.flip(-1), lines.r_bit)
    between = -torch.minimum(near[:, None], near) * (transfer @ transfer.T)
    between.diagonal().copy_(own)
    return Coupling(transfer[:, 0::2], transfer[:, 1::2], between, load[0::2], load[1::2])


def _ladder(shunts: Tensor, r: float) -> Tensor:
    """Conductance into lines with a segment r before each shunt, first shunt nearest."""
    seen = torch.zeros_like(shunts[:, 0])
    for k in range(shunts.shape[1] - 1, -1, -1):
        seen = seen + shunts[:, k]
        seen = seen / (1 + r * seen)
    return seen
