"""Power in arrays whose terminals are held at known voltages.

What an array takes as a whole follows from its terminals, v^T Y v. How much of it the wires take,
v^T W v, needs its inner nodes: an integral over many states, sum w v^T W v = tr(W sum w v v^T), is
found from the few principal directions of that sum. Since 0 <= W <= Y, what Y makes of the others
bounds the error of dividing that like what is known.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.wires.array import Iterative
from analogdfc.wires.branches import branch_currents
from analogdfc.wires.iterative import Preconditioned
from analogdfc.wires.lines import Lines
from analogdfc.wires.terminals import terminal_admittance
from analogdfc.wires.tiles import Tiling

TOLERANCE = 1e-4
"""Residual of the wires' equations, and what is left of what the wires take: bounds on the errors
of a power, which mostly are smaller by far, since the first goes about with its square and the
second is divided by what is known."""

_SLIGHT = 1e-2
"""Energy, relative to the whole array's, of directions that are left until it is known how much of
it the wires take."""

_CHUNK = 2_000_000
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


class ArrayEnergy(NamedTuple):
    """What an array takes over many states.

    Attributes:
        rows: currents from the drivers into the rows, (points, batch, rows), in amperes.
        devices: energy in the devices, (batch,), in joules.
        wires: energy in the lines, (batch,), in joules.
    """

    rows: Tensor
    devices: Tensor
    wires: Tensor


def array_energy(
    g: Tensor,
    lines: Lines,
    rows: Tensor,
    columns: Tensor,
    weights: Tensor,
    tiling: Tiling | None = None,
) -> ArrayEnergy:
    """Integrate what an array takes while its terminals move.

    Args:
        g: conductances, (rows, columns), in siemens, >= 0.
        lines: resistances of the lines; nothing in the drivers and the sense amplifiers.
        rows: voltages of the row drivers, (points, batch, rows), in volts.
        columns: voltages at the column senses, (points, batch, columns), in volts.
        weights: seconds that each point stands for, (points,), >= 0.
        tiling: largest array of which the matrix is made; by default it is one array.
    """
    if lines.ideal:
        power = _without_wires(g, rows, columns)
        return ArrayEnergy(power.rows, weights @ power.devices, weights @ power.wires)
    volts = torch.cat([rows, columns], dim=-1)
    y = terminal_admittance(g.numpy(), lines.r_word, lines.r_bit, tiling)
    current = torch.from_numpy(volts.numpy() @ y)
    moving, flowing = (
        (weights.sqrt()[:, None, None] * x).transpose(0, 1) for x in (volts, current)
    )
    taken = moving @ flowing.mT
    joules, turn = torch.linalg.eigh((taken + taken.mT) / 2)
    joules, ways = joules.clamp(min=0).flip(-1), turn.flip(-1).mT @ moving
    total = joules.sum(dim=-1)
    # What the ways from each on take.
    left = joules.flip(-1).cumsum(-1).flip(-1)
    solved, wires = torch.zeros_like(left, dtype=torch.bool), torch.zeros_like(total)
    array, allowed = _Wired(g, lines, tiling), _SLIGHT * total
    while bool((new := (left > allowed[:, None]) & ~solved).any()):
        along = ways[new][None]
        power = array.power(along[..., : len(g)], along[..., len(g) :])
        wires = wires.index_add(0, new.nonzero()[:, 0], power.wires[0])
        solved |= new
        allowed = TOLERANCE * wires
    known = (joules * solved).sum(dim=-1)
    wires = wires + (total - known) * wires / known.clamp(min=1e-300)
    return ArrayEnergy(current[..., : len(g)], total - wires, wires)


def array_power(
    g: Tensor, lines: Lines, rows: Tensor, columns: Tensor, tiling: Tiling | None = None
) -> ArrayPower:
    """Solve an array for given voltages; of two states also for their mean, as a third.

    Args:
        g: conductances, (rows, columns), in siemens, >= 0.
        lines: resistances of the lines; nothing in the drivers and the sense amplifiers.
        rows: voltages of the row drivers, (states, k, rows), in volts.
        columns: voltages at the column senses, (states, k, columns), in volts.
        tiling: largest array of which the matrix is made; by default it is one array.

    Returns:
        The same states, and their mean if they are two.
    """
    if lines.ideal:
        return _without_wires(g, _with_mean(rows), _with_mean(columns))
    return _Wired(g, lines, tiling).power(rows, columns)


class _Wired:
    """An array whose lines resist, tile by tile.

    Args:
        g: conductances, (rows, columns), in siemens, >= 0.
        lines: resistances of the lines.
        tiling: as in `array_power`.
    """

    def __init__(self, g: Tensor, lines: Lines, tiling: Tiling | None) -> None:
        method = Iterative(TOLERANCE)
        self._lines = lines
        self._tiles = [
            (inputs, outputs, g[inputs, outputs], method.solver(g[inputs, outputs], lines))
            for inputs, outputs in (tiling or Tiling()).cut(*g.shape)
        ]

    def power(self, rows: Tensor, columns: Tensor) -> ArrayPower:
        """See `array_power`."""
        current = torch.zeros_like(_with_mean(rows))
        devices = wires = torch.zeros_like(current[..., 0])
        for inputs, outputs, g, solver in self._tiles:
            part = self._tile(g, solver, rows[..., inputs], columns[..., outputs])
            current[..., inputs] += part.rows
            devices, wires = devices + part.devices, wires + part.wires
        return ArrayPower(current, devices, wires)

    def _tile(self, g: Tensor, solver: Preconditioned, rows: Tensor, columns: Tensor) -> ArrayPower:
        lines = self._lines
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
