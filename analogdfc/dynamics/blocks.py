"""Matrices of small cells that are coupled through a few of their unknowns.

The unknowns fall into cells, such as a neuron with its amplifiers, all cells of a group (a layer)
of the same size. Within a cell anything may hang together; across cells only its ports do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.dynamics.layout import Index, Layout, port_places

__all__ = ["BlockMatrix", "Coupling", "Pairs", "Part", "merged"]


class Coupling(NamedTuple):
    """What couples the ports of one group to those of another.

    Attributes:
        rows: ports of the group whose equations these are, (rows,).
        columns: ports of the other group, (columns,).
        values: (chips, rows, columns).
    """

    rows: Index
    columns: Index
    values: Tensor


Pairs = Mapping[tuple[int, int], Coupling]


class Part(NamedTuple):
    """Entries of a matrix, in the unknowns' own order; those of one place add up."""

    rows: Index
    columns: Index
    values: NDArray[np.float64]


@dataclass(frozen=True)
class BlockMatrix:
    """A matrix over a layout, of several chips.

    Attributes:
        layout: its cells.
        own: for each group the cells' own blocks, (chips, cells, size, size).
        pairs: what couples the ports of two groups, by the numbers of both.
    """

    layout: Layout
    own: tuple[Tensor, ...]
    pairs: Pairs

    @classmethod
    def of(cls, layout: Layout, chips: Sequence[Sequence[Part]], device: Any = "cpu") -> Self:
        """The matrix with these entries.

        Args:
            layout: its cells.
            chips: for each chip its entries.
            device: where the values go.
        """
        own = [np.zeros((len(chips), *g.shape, g.shape[1])) for g in layout.groups]
        across: dict[tuple[int, int], list[tuple[int, Part]]] = {}
        for c, parts in enumerate(chips):
            for part in parts:
                rows, columns = layout.place[part.rows], layout.place[part.columns]
                same = layout.cell[rows] == layout.cell[columns]
                _add_own(layout, own, c, Part(rows[same], columns[same], part.values[same]))
                for pair, found in _by_groups(layout, rows[~same], columns[~same]):
                    values = part.values[~same][found]
                    entries = Part(rows[~same][found], columns[~same][found], values)
                    across.setdefault(pair, []).append((c, entries))
        pairs = {pair: _coupling(layout, pair, found, len(chips), device)
                 for pair, found in across.items()}  # fmt: skip
        return cls(layout, tuple(torch.from_numpy(blocks).to(device) for blocks in own), pairs)

    @classmethod
    def whole(cls, matrix: Tensor) -> Self:
        """A dense matrix, as one cell.

        Args:
            matrix: (chips, n, n).
        """
        return cls(Layout.whole(matrix.shape[-1]), (matrix.unsqueeze(1).contiguous(),), {})

    @property
    def chips(self) -> int:
        """Number of matrices."""
        return len(self.own[0])

    def __matmul__(self, z: Tensor) -> Tensor:
        """Products with vectors in grouped order, (chips, n, batch)."""
        layout, batch = self.layout, z.shape[-1]
        out = torch.empty_like(z)
        for k, blocks in enumerate(self.own):
            span = slice(*layout.starts[k : k + 2])
            part = z[:, span].reshape(-1, blocks.shape[-1], batch)
            out[:, span] = torch.bmm(blocks.flatten(0, 1), part).view(len(z), -1, batch)
        for (i, j), coupling in self.pairs.items():
            here, there = self._ports(i, coupling.rows), self._ports(j, coupling.columns)
            out.index_add_(1, here, coupling.values @ z[:, there])
        return out

    def _ports(self, group: int, ports: Index) -> Tensor:
        return torch.from_numpy(port_places(self.layout, group)[ports]).to(self.own[0].device)

    def plus(self, other: BlockMatrix, factor: float) -> BlockMatrix:
        """This matrix and a multiple of another of the same layout.

        Args:
            other: the other.
            factor: what it is multiplied by.
        """
        own = [torch.add(a, b, alpha=factor) for a, b in zip(self.own, other.own, strict=True)]
        pairs = dict(other.times(factor).pairs)
        for pair, mine in self.pairs.items():
            if pair not in pairs:
                pairs[pair] = mine
            elif _same(mine, pairs[pair]):
                pairs[pair] = mine._replace(values=mine.values + pairs[pair].values)
            else:
                pairs[pair] = merged([mine, pairs[pair]])
        return BlockMatrix(self.layout, tuple(own), pairs)

    def times(self, factor: float) -> BlockMatrix:
        """A multiple of the matrix.

        Args:
            factor: what it is multiplied by.
        """
        pairs = {pair: c._replace(values=factor * c.values) for pair, c in self.pairs.items()}
        return BlockMatrix(self.layout, tuple(factor * blocks for blocks in self.own), pairs)

    def to(self, dtype: torch.dtype) -> BlockMatrix:
        """The matrices in another precision.

        Args:
            dtype: of the numbers.
        """
        pairs = {pair: c._replace(values=c.values.to(dtype)) for pair, c in self.pairs.items()}
        return BlockMatrix(self.layout, tuple(blocks.to(dtype) for blocks in self.own), pairs)

    def picked(self, chips: Tensor) -> BlockMatrix:
        """Some of the matrices, any of them more than once.

        Args:
            chips: their numbers.
        """
        pairs = {pair: c._replace(values=c.values[chips]) for pair, c in self.pairs.items()}
        return BlockMatrix(self.layout, tuple(blocks[chips] for blocks in self.own), pairs)

    def dense(self) -> Tensor:
        """The matrices, (chips, n, n), in the unknowns' own order."""
        n = len(self.layout.order)
        eye = torch.eye(n, dtype=self.own[0].dtype, device=self.own[0].device)
        grouped = self @ eye.expand(self.chips, -1, -1)
        place = torch.from_numpy(self.layout.place).to(grouped.device)
        return grouped[:, place][:, :, place]


def merged(couplings: Sequence[Coupling]) -> Coupling:
    """The sum of couplings of the same two groups.

    Args:
        couplings: at least one.
    """
    rows = np.unique(np.concatenate([c.rows for c in couplings]))
    columns = np.unique(np.concatenate([c.columns for c in couplings]))
    first = couplings[0].values
    values = first.new_zeros(len(first), len(rows), len(columns))
    for c in couplings:
        at = np.ix_(np.searchsorted(rows, c.rows), np.searchsorted(columns, c.columns))
        values[:, at[0], at[1]] += c.values
    return Coupling(rows, columns, values)


def _same(a: Coupling, b: Coupling) -> bool:
    return np.array_equal(a.rows, b.rows) and np.array_equal(a.columns, b.columns)


def _add_own(layout: Layout, own: list[NDArray[np.float64]], chip: int, part: Part) -> None:
    for k, blocks in enumerate(own):
        size = blocks.shape[-1]
        inside = (part.rows >= layout.starts[k]) & (part.rows < layout.starts[k + 1])
        rows, columns = (p[inside] - layout.starts[k] for p in part[:2])
        flat = blocks[chip].reshape(-1)
        np.add.at(flat, rows * size + columns % size, part.values[inside])


def _by_groups(
    layout: Layout, rows: Index, columns: Index
) -> list[tuple[tuple[int, int], NDArray[np.bool_]]]:
    """Entries by the groups of row and column."""
    if not len(rows):
        return []
    ends = np.array(layout.starts[1:])
    i, j = np.searchsorted(ends, rows, "right"), np.searchsorted(ends, columns, "right")
    pairs = sorted({*zip(i.tolist(), j.tolist(), strict=True)})
    return [(pair, (i == pair[0]) & (j == pair[1])) for pair in pairs]


def _coupling(
    layout: Layout,
    pair: tuple[int, int],
    entries: Sequence[tuple[int, Part]],
    chips: int,
    device: Any,
) -> Coupling:
    starts = [layout.port_starts[k] for k in pair]
    rows = [layout.port_of[part.rows] - starts[0] for _, part in entries]
    columns = [layout.port_of[part.columns] - starts[1] for _, part in entries]
    all_rows, all_columns = np.unique(np.concatenate(rows)), np.unique(np.concatenate(columns))
    values = np.zeros((chips, len(all_rows), len(all_columns)))
    for (c, part), r, s in zip(entries, rows, columns, strict=True):
        at = np.searchsorted(all_rows, r), np.searchsorted(all_columns, s)
        np.add.at(values[c], at, part.values)
    return Coupling(all_rows, all_columns, torch.from_numpy(values).to(device))
