"""The scalar nonlinearities of a semilinear system, one by one and by the cells of its layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.dynamics.blocks import BlockMatrix, in_cells
from analogdfc.dynamics.layout import Layout

__all__ = ["Channels", "Kind", "Nonlinear", "deadzone"]

Index = NDArray[np.intp]


def deadzone(z: Tensor) -> Tensor:
    """Excess of z over the interval [-1, 1]."""
    return z - z.clamp(-1, 1)


def _deadzone_slope(z: Tensor) -> Tensor:
    return (z.abs() > 1).to(z.dtype)


def _to_tanh(z: Tensor) -> Tensor:
    """The tanh in the place of z; on the CPU NumPy's, which takes a third of PyTorch's time."""
    if z.device.type != "cpu" or z.requires_grad:
        return z.tanh_()
    np.tanh(z.numpy(), out=z.numpy())
    return z


def _tanh_slope(z: Tensor) -> Tensor:
    return 1 - torch.tanh(z) ** 2


class Channels(NamedTuple):
    """Scalar nonlinearities gain * g((sign z[source] + offset) / scale), each added to one row.

    The first `tanh` channels have g = tanh, the others g = `deadzone`. Source and row are (m,), in
    the unknowns' own order; all others are (chips, m, 1).
    """

    tanh: int
    source: Tensor
    row: Tensor
    gain: Tensor
    sign: Tensor
    offset: Tensor
    scale: Tensor

    def to(self, dtype: torch.dtype) -> Channels:
        """The channels in another precision.

        Args:
            dtype: of the numbers.
        """
        return self._replace(
            gain=self.gain.to(dtype),
            sign=self.sign.to(dtype),
            offset=self.offset.to(dtype),
            scale=self.scale.to(dtype),
        )

    def _each(
        self, y: Tensor, g: Callable[[Tensor], Tensor], h: Callable[[Tensor], Tensor]
    ) -> Tensor:
        z = (self.sign * y + self.offset) / self.scale
        return torch.cat([g(z[:, : self.tanh]), h(z[:, self.tanh :])], dim=1)

    def value(self, y: Tensor) -> Tensor:
        """Values of the channels, (chips, m, batch), at y = z[source]."""
        return self.gain * self._each(y, torch.tanh, deadzone)

    def slope(self, y: Tensor) -> Tensor:
        """Derivatives of the values with respect to y."""
        return self.gain * self.sign / self.scale * self._each(y, _tanh_slope, _deadzone_slope)


@dataclass(frozen=True)
class Kind:
    """Channels of one kind in the cells of a group: the same in each, some without gain.

    Attributes:
        group: number of the group.
        tanh: whether they are tanh; else they are `deadzone`.
        source: places within a cell of what they read, (m,).
        row: places within a cell of the rows that they are added to, (m,).
        gain, slope, shift: those of gain * g(slope y + shift), (chips, cells, m, 1).
    """

    group: int
    tanh: bool
    source: Tensor
    row: Tensor
    gain: Tensor
    slope: Tensor
    shift: Tensor

    def argument(self, y: Tensor) -> Tensor:
        """What tanh or `deadzone` is taken of, (chips, cells, m, batch)."""
        return torch.addcmul(self.shift, y, self.slope)

    def value(self, y: Tensor) -> Tensor:
        """Values of the channels, (chips, cells, m, batch)."""
        u = self.argument(y)
        return self.gain * (_to_tanh(u) if self.tanh else deadzone(u))

    def outside(self, y: Tensor) -> Tensor:
        """Which have left the interval [-1, 1], (chips, cells, m, batch)."""
        return self.argument(y).abs() > 1

    @property
    def channels(self) -> int:
        """How many they are in all cells."""
        return self.gain.shape[1] * self.gain.shape[2]

    def derivative(self, y: Tensor) -> Tensor:
        """Their derivatives by y."""
        u = self.argument(y)
        return self.gain * self.slope * (_tanh_slope(u) if self.tanh else _deadzone_slope(u))

    def of(self, chips: Tensor) -> Kind:
        """Those of some chips, any of them more than once."""
        gain, slope, shift = (t[chips] for t in (self.gain, self.slope, self.shift))
        return replace(self, gain=gain, slope=slope, shift=shift)


@dataclass(frozen=True)
class Nonlinear:
    """The channels of a system by groups and kinds, in grouped order.

    Attributes:
        layout: the cells.
        kinds: the channels; all tanh of a group stand before its other ones.
        source: places of all that is read, in the order of the kinds, (m,).
    """

    layout: Layout
    kinds: tuple[Kind, ...]
    source: Tensor

    @classmethod
    def of(cls, channels: Channels, layout: Layout) -> Nonlinear:
        """The channels over a layout.

        Args:
            channels: the channels; each within one cell.
            layout: the cells.
        """
        source, row = (
            layout.place[at.cpu().numpy()] for at in (channels.source, channels.row)
        )  # fmt: skip
        is_tanh = np.arange(len(row)) < channels.tanh
        kinds, places = [], [torch.zeros(0, dtype=torch.int64)]
        for group, members in enumerate(layout.groups):
            first, size = layout.starts[group], members.shape[1]
            here = (row >= first) & (row < first + members.size)
            for tanh in (True, False):
                mine = np.nonzero(here & (is_tanh == tanh))[0]
                if len(mine):
                    cells = (row[mine] - first) // size
                    within = (source[mine] - first) % size, (row[mine] - first) % size
                    kind = _kind(channels, group, tanh, mine, cells, within, len(members))
                    kinds.append(kind)
                    starts = first + size * torch.arange(len(members))[:, None]
                    places.append((starts + kind.source.cpu()).ravel())
        return cls(layout, tuple(kinds), torch.cat(places).to(channels.row.device))

    def inputs(self, z: Tensor) -> Tensor:
        """What the channels read, (chips, m, batch)."""
        return z.index_select(1, self.source)

    def split(self, y: Tensor) -> Sequence[Tensor]:
        """Inputs, or anything like them, by kinds, (chips, cells, m, batch)."""
        out, start = [], 0
        for kind in self.kinds:
            cells, m = kind.gain.shape[1:3]
            part = y[:, start : start + cells * m]
            out.append(part.view(len(y), cells, m, y.shape[-1]))
            start += cells * m
        return out

    def slopes(self, y: Tensor) -> Tensor:
        """Derivatives of the channels by their inputs, (chips, m, batch)."""
        pairs = zip(self.kinds, self.split(y), strict=True)
        parts = [kind.derivative(part).flatten(1, 2) for kind, part in pairs]
        return torch.cat([y[:, :0], *parts], dim=1)

    def rows(self) -> Tensor:
        """Rows that the channels are added to, in the order of the kinds, (m,)."""
        found = [self.source[:0]]
        for kind in self.kinds:
            first, members = self.layout.starts[kind.group], self.layout.groups[kind.group]
            starts = first + members.shape[1] * torch.arange(len(members), device=kind.row.device)
            found.append((starts[:, None] + kind.row).ravel())
        return torch.cat(found)

    def deadzones(self) -> Tensor:
        """Numbers of the deadzones among all channels, (deadzones,)."""
        known = [torch.full((kind.channels,), not kind.tanh) for kind in self.kinds]
        found = torch.cat([torch.zeros(0, dtype=torch.bool), *known]).nonzero()[:, 0]
        return found.to(self.source.device)

    def steep(self) -> Tensor:
        """Slopes of the deadzones where they have been left, (chips, deadzones, 1)."""
        found = [(k.gain * k.slope).flatten(1, 2) for k in self.kinds if not k.tanh]
        return torch.cat([kind.gain[:, :0].flatten(1, 2) for kind in self.kinds[:1]] + found, dim=1)

    def outside(self, y: Tensor) -> Tensor:
        """Which deadzones have been left, (chips, deadzones, batch)."""
        found = [y[:, :0] > 0]
        for kind, part in zip(self.kinds, self.split(y), strict=True):
            if not kind.tanh:
                found.append(kind.outside(part).flatten(1, 2))
        return torch.cat(found, dim=1)

    def reference(self, y: Tensor) -> Tensor:
        """Slopes of straight lines that serve all samples, (chips, m, 1).

        Of tanh it is the mean; of a deadzone the median, since a few samples that have left it far
        behind would take the line away from all others.

        Args:
            y: the channels' inputs, (chips, m, batch).
        """
        found = []
        for kind, slopes in zip(self.kinds, self.split(self.slopes(y)), strict=True):
            flat = slopes.flatten(1, 2)
            mean = flat.mean(dim=2, keepdim=True)
            found.append(mean if kind.tanh else flat.median(dim=2, keepdim=True).values)
        return torch.cat([y[:, :0, :1], *found], dim=1)

    def values(self, y: Tensor) -> list[Tensor]:
        """Values of the channels by kinds."""
        return [k.value(part) for k, part in zip(self.kinds, self.split(y), strict=True)]

    def rests(self, y: Tensor, slopes: Tensor) -> list[Tensor]:
        """What straight lines of these slopes leave of the values, by kinds."""
        parts = zip(self.values(y), self.split(y), self.split(slopes), strict=True)
        return [value.addcmul_(at, slope, value=-1) for value, at, slope in parts]

    def add_to(self, right: Tensor, values: Sequence[Tensor], factor: float = 1.0) -> Tensor:
        """Add a multiple of values, by kinds, to their rows of (chips, n, batch), in place."""
        for kind, value in zip(self.kinds, values, strict=True):
            in_cells(self.layout, right, kind.group).index_add_(2, kind.row, value, alpha=factor)
        return right

    def added(self, matrix: BlockMatrix, factor: float, slopes: Tensor) -> BlockMatrix:
        """A matrix and a multiple of the channels' slopes.

        Args:
            matrix: the matrix, of the same chips.
            factor: of the slopes.
            slopes: (chips, m, 1).
        """
        own = [blocks.clone() for blocks in matrix.own]
        for kind, values in zip(self.kinds, self.split(slopes), strict=True):
            blocks = own[kind.group]
            at = kind.row * blocks.shape[-1] + kind.source
            blocks.flatten(-2).index_add_(-1, at, factor * values.squeeze(-1))
        return BlockMatrix(matrix.layout, tuple(own), matrix.pairs)

    def picked(self, chips: Tensor) -> Nonlinear:
        """The channels of some chips, any of them more than once."""
        return replace(self, kinds=tuple(kind.of(chips) for kind in self.kinds))


def _kind(
    channels: Channels,
    group: int,
    tanh: bool,
    mine: Index,
    cells: Index,
    within: tuple[Index, Index],
    count: int,
) -> Kind:
    """Channels of a group, cell by cell; a cell that lacks one has it without gain."""
    table: dict[tuple[int, int, int], Index] = {}
    seen: dict[tuple[int, int, int], int] = {}
    for number, cell, source, row in zip(mine, cells, *within, strict=True):
        # Several channels of a cell may join the same places.
        key = int(cell), int(source), int(row)
        again = seen[key] = seen.get(key, -1) + 1
        column = table.setdefault((*key[1:], again), np.full(count, -1, dtype=np.intp))
        column[cell] = number
    device = channels.row.device
    numbers = torch.from_numpy(np.stack(list(table.values()), axis=1)).to(device)
    gain, sign, offset, scale = (part[:, numbers.clamp(min=0)] for part in channels[3:])
    gain = gain * (numbers >= 0)[..., None]
    places = torch.tensor(list(table), device=device)
    return Kind(group, tanh, places[:, 0], places[:, 1], gain, sign / scale, offset / scale)
