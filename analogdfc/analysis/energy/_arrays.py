"""Power in crossbars whose terminals are held at known voltages."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.cards.technology import Wire
from analogdfc.wires import Iterative, Lines
from analogdfc.wires.branches import branch_currents
from analogdfc.wires.terminals import dual_rail

TOLERANCE = 1e-6
"""Residual of the wires' equations; a power needs no more."""

_CHUNK = 4_000_000
"""Cells, over all states, whose currents are held at once."""


class ArrayPower(NamedTuple):
    """What an array takes in so many states.

    Attributes:
        rows: currents from the drivers into the rows, (states, k, rows), in amperes.
        devices: power in the devices, (states, k), in watts.
        wires: power in the lines, (states, k), in watts.
    """

    rows: Tensor
    devices: Tensor
    wires: Tensor


def dual_rows(plus: Tensor, minus: Tensor) -> Tensor:
    """Voltages or currents of the rows from those of the two rails of each input."""
    return torch.stack([plus, minus], dim=-1).flatten(-2)


def array_power(
    plus: Tensor, minus: Tensor, wire: Wire, rows: Tensor, columns: Tensor
) -> ArrayPower:
    """Solve an array of device pairs for given voltages.

    Args:
        plus: devices on the first rail of each input, (columns, inputs), in siemens.
        minus: devices on the second rail.
        wire: the card's lines.
        rows: voltages of the row drivers, (states, k, 2 inputs), rails of an input side by side.
        columns: voltages at the column senses, (states, k, columns).

    Returns:
        The same states; of two also their mean, as a third.
    """
    g = torch.from_numpy(dual_rail(plus, minus))
    lines = Lines(wire.word or 0.0, wire.bit or 0.0)
    if lines.r_word == lines.r_bit == 0:
        return _without_wires(g, _with_mean(rows), _with_mean(columns))
    solver = Iterative(TOLERANCE).solver(g, lines)
    states, k = rows.shape[:2]
    size = max(1, _CHUNK // (states * g.numel()))
    found = []
    for first in range(0, k, size):
        chosen = slice(first, first + size)
        word, bit = solver.voltages(rows[:, chosen], columns[:, chosen])
        over = _with_mean(word - bit)
        currents = branch_currents(g * over, lines)
        heat = (currents.cell * over).sum((-2, -1))
        lost = lines.r_word * currents.word[..., :-1].square().sum((-2, -1))
        lost = lost + lines.r_bit * currents.bit[..., 1:, :].square().sum((-2, -1))
        found.append(ArrayPower(currents.word[..., 0], heat, lost))
    return ArrayPower(*(torch.cat(parts, dim=1) for parts in zip(*found, strict=True)))


def _with_mean(x: Tensor) -> Tensor:
    """Two states and their mean; the equations are linear."""
    return torch.cat([x, x.mean(dim=0, keepdim=True)]) if len(x) == 2 else x


def _without_wires(g: Tensor, rows: Tensor, columns: Tensor) -> ArrayPower:
    seen = columns @ g.T
    loads = g.sum(dim=1)
    devices = rows**2 @ loads - 2 * (rows * seen).sum(dim=-1) + columns**2 @ g.sum(dim=0)
    return ArrayPower(rows * loads - seen, devices, torch.zeros_like(devices))
