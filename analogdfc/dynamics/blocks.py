"""Matrices of small cells that are coupled through a few of their unknowns.

The unknowns fall into cells, such as a neuron with its amplifiers, all cells of a group (a layer)
of the same size. Within a cell anything may hang together; across cells only its ports do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.dynamics.layout import Index, Layout, port_places
from analogdfc.products import multiplied

__all__ = ["BlockMatrix", "Coupling", "Pairs", "Part", "in_cells", "merged"]


_DENSE = 1 << 17
"""Elements up to which what couples two groups is kept in one piece, zeros and all."""


class Coupling(NamedTuple):
    """What couples ports of one group to those of another, in dense pieces of one size.

    Attributes:
        rows: ports of the group whose equations these are, (pieces, rows).
        columns: ports of the other group, (pieces, columns).
        values: (chips, pieces, rows, columns).
    """

    rows: Index
    columns: Index
    values: Tensor

    def times(self, y: Tensor, columns: Tensor) -> Tensor:
        """Products, (chips, pieces * rows, batch), with values at the ports.

        Args:
            y: (chips, n, batch).
            columns: where in it those of `columns` stand, one after another.
        """
        chips, batch = len(y), y.shape[-1]
        there = y.index_select(1, columns).view(chips, *self.columns.shape, batch)
        return multiplied(self.values, there).view(chips, -1, batch)


Pairs = Mapping[tuple[int, int], tuple[Coupling, ...]]


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
        pairs = {pair: _couplings(layout, pair, found, len(chips), device)
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
        out = torch.empty_like(z)
        for k, blocks in enumerate(self.own):
            multiplied(blocks, *(in_cells(self.layout, state, k) for state in (z, out)))
        for (i, j), couplings in self.pairs.items():
            for c in couplings:
                here, there = self._ports(i, c.rows), self._ports(j, c.columns)
                out.index_add_(1, here, c.times(z, there))
        return out

    def _ports(self, group: int, ports: Index) -> Tensor:
        places = port_places(self.layout, group)[ports.ravel()]
        return torch.from_numpy(places).to(self.own[0].device)

    def plus(self, other: BlockMatrix, factor: float) -> BlockMatrix:
        """This matrix and a multiple of another of the same layout.

        Args:
            other: the other.
            factor: what it is multiplied by.
        """
        own = [torch.add(a, b, alpha=factor) for a, b in zip(self.own, other.own, strict=True)]
        pairs = dict(other.times(factor).pairs)
        for pair, mine in self.pairs.items():
            pairs[pair] = _sum(mine, pairs[pair]) if pair in pairs else mine
        return BlockMatrix(self.layout, tuple(own), pairs)

    def times(self, factor: float) -> BlockMatrix:
        """A multiple of the matrix.

        Args:
            factor: what it is multiplied by.
        """
        return self._each(lambda values: factor * values)

    def to(self, dtype: torch.dtype) -> BlockMatrix:
        """The matrices in another precision.

        Args:
            dtype: of the numbers.
        """
        return self._each(lambda values: values.to(dtype))

    def picked(self, chips: Tensor) -> BlockMatrix:
        """Some of the matrices, any of them more than once.

        Args:
            chips: their numbers.
        """
        return self._each(lambda values: values[chips])

    def _each(self, of: Callable[[Tensor], Tensor]) -> BlockMatrix:
        """The matrix with other values."""
        pairs = {pair: tuple(c._replace(values=of(c.values)) for c in couplings)
                 for pair, couplings in self.pairs.items()}  # fmt: skip
        return BlockMatrix(self.layout, tuple(map(of, self.own)), pairs)

    def dense(self) -> Tensor:
        """The matrices, (chips, n, n), in the unknowns' own order."""
        n = len(self.layout.order)
        eye = torch.eye(n, dtype=self.own[0].dtype, device=self.own[0].device)
        grouped = self @ eye.expand(self.chips, -1, -1)
        place = torch.from_numpy(self.layout.place).to(grouped.device)
        return grouped[:, place][:, :, place]


def in_cells(layout: Layout, z: Tensor, group: int) -> Tensor:
    """The unknowns of a group by its cells, (chips, cells, size, batch); the same memory.

    Args:
        layout: the cells.
        z: (chips, n, batch), in grouped order.
        group: number of the group.
    """
    start, stop = layout.starts[group : group + 2]
    return z[:, start:stop].view(len(z), *layout.groups[group].shape, z.shape[-1])


def merged(couplings: Sequence[Coupling]) -> Coupling:
    """The sum of couplings of the same two groups, in one piece.

    Args:
        couplings: at least one.
    """
    first = couplings[0].values
    if len(couplings) == 1 and first.shape[1] == 1:
        return couplings[0]
    rows = np.unique(np.concatenate([c.rows.ravel() for c in couplings]))
    columns = np.unique(np.concatenate([c.columns.ravel() for c in couplings]))
    values = first.new_zeros(len(first), 1, len(rows), len(columns))
    for c in couplings:
        for piece, at in enumerate(zip(c.rows, c.columns, strict=True)):
            i, j = np.searchsorted(rows, at[0]), np.searchsorted(columns, at[1])
            values[:, 0, i[:, None], j] += c.values[:, piece]
    return Coupling(rows[None], columns[None], values)


def _sum(a: tuple[Coupling, ...], b: tuple[Coupling, ...]) -> tuple[Coupling, ...]:
    """The sum of what couples the same two groups."""
    if len(a) == len(b) and all(map(_same, a, b)):
        return tuple(c._replace(values=c.values + d.values) for c, d in zip(a, b, strict=True))
    if sum(c.values[0].numel() for c in (*a, *b)) > _DENSE:
        return (*a, *b)
    return (merged([*a, *b]),)


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


def _couplings(
    layout: Layout,
    pair: tuple[int, int],
    entries: Sequence[tuple[int, Part]],
    chips: int,
    device: Any,
) -> tuple[Coupling, ...]:
    """What couples two groups, by the pieces that hang together where there is much of it."""
    starts = [layout.port_starts[k] for k in pair]
    rows = np.concatenate([layout.port_of[part.rows] for _, part in entries]) - starts[0]
    columns = np.concatenate([layout.port_of[part.columns] for _, part in entries]) - starts[1]
    values = np.concatenate([part.values for _, part in entries])
    chip = np.repeat([c for c, _ in entries], [len(part.rows) for _, part in entries])
    all_rows, row = _numbered(rows)
    all_columns, column = _numbered(columns)
    size = len(all_rows), len(all_columns)
    labels = np.zeros(sum(size), dtype=np.intp)
    if size[0] * size[1] > _DENSE:
        ends = row, size[0] + column
        graph = scipy.sparse.coo_array((np.ones_like(row), ends), (sum(size), sum(size)))
        labels[:] = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
    found = []
    by_row, by_column = labels[: size[0]], labels[size[0] :]
    for members in _of_one_size(by_row, by_column):
        piece = np.full(labels.max() + 1, -1, dtype=np.intp)
        piece[members] = np.arange(len(members))
        mine = piece[by_row[row]] >= 0
        (rows_in, i), (columns_in, j) = _inside(by_row, members), _inside(by_column, members)
        full = np.zeros((chips, len(members), rows_in.shape[1], columns_in.shape[1]))
        at = chip[mine], piece[by_row[row[mine]]], i[row[mine]], j[column[mine]]
        np.add.at(full, at, values[mine])
        parts = all_rows[rows_in], all_columns[columns_in], torch.from_numpy(full).to(device)
        found.append(Coupling(*parts))
    return tuple(found)


def _numbered(ports: Index) -> tuple[Index, Index]:
    """The different ones among ports, ascending, and which of them each is."""
    there = np.bincount(ports) > 0
    return np.nonzero(there)[0], (np.cumsum(there) - 1)[ports]


def _of_one_size(rows: Index, columns: Index) -> list[Index]:
    """Pieces by their numbers of rows and columns, of which each has the numbers of its piece."""
    sizes = np.stack([np.bincount(rows), np.bincount(columns)], axis=1)
    _, kind = np.unique(sizes, axis=0, return_inverse=True)
    return [np.nonzero(kind.ravel() == k)[0] for k in range(kind.max() + 1)]


def _inside(labels: Index, pieces: Index) -> tuple[Index, Index]:
    """Members of pieces of one size, (pieces, size), and where each stands in its piece."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(labels.max() + 1))
    place = np.empty_like(order)
    place[order] = np.arange(len(order)) - starts[labels[order]]
    size = np.bincount(labels)[pieces[0]]
    return order[starts[pieces][:, None] + np.arange(size)], place
