"""Matrices of small cells that are coupled through a few of their unknowns, and their factors.

The unknowns fall into cells, such as a neuron with its amplifiers, all cells of a group (a layer)
of the same size. Within a cell anything may hang together; across cells only its ports do. A
matrix is D + E C E^T, with D the cells' own blocks, E the choice of the ports and C what couples
them, so that by Woodbury's identity a solution costs the cells' inverses and C. C is eliminated
group by group: a group is coupled to its neighbours and to the last one, which makes a block
tridiagonal system with a border.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.dynamics.linalg import inverse

__all__ = ["BlockMatrix", "Coupling", "Factor", "Layout", "Part"]

Index = NDArray[np.intp]

_WHOLE = 384
"""Ports up to which they are eliminated in one piece: fewer, larger products are faster."""


@dataclass(frozen=True)
class Layout:
    """Which unknowns make a cell, and which are its ports.

    In grouped order the unknowns stand group by group, cell by cell; the ports of a group cell by
    cell.

    Attributes:
        groups: for each group the unknowns of its cells, (cells, size).
        ports: for each group the places within a cell that are ports, (ports,).
    """

    groups: tuple[Index, ...]
    ports: tuple[Index, ...]

    @classmethod
    def whole(cls, unknowns: int) -> Self:
        """One cell, so a dense matrix.

        Args:
            unknowns: their number.
        """
        return cls((np.arange(unknowns)[None],), (np.zeros(0, dtype=np.intp),))

    @classmethod
    def of(cls, labels: Index, group: Index, coupled: Index) -> Self:
        """The cells of labelled unknowns.

        Args:
            labels: cell of each unknown, any numbers.
            group: group of each unknown; groups are eliminated in the order of these numbers.
            coupled: the unknowns that are coupled to those of other cells.
        """
        cells: dict[tuple[int, int], dict[int, list[int]]] = {}
        for unknown in np.argsort(labels, kind="stable"):
            label, level = int(labels[unknown]), int(group[unknown])
            cells.setdefault((level, label), {}).setdefault(0, []).append(int(unknown))
        # Cells of one level that differ in size make groups of their own.
        sizes: dict[tuple[int, int], list[list[int]]] = {}
        for (level, _), parts in sorted(cells.items()):
            sizes.setdefault((level, len(parts[0])), []).append(parts[0])
        groups = tuple(np.array(sizes[key], dtype=np.intp) for key in sorted(sizes))
        is_port = np.isin(np.concatenate([g.ravel() for g in groups]), coupled)
        ports, start = [], 0
        for members in groups:
            flags = is_port[start : start + members.size].reshape(members.shape)
            ports.append(np.nonzero(flags.any(axis=0))[0])
            start += members.size
        return cls(groups, tuple(ports))

    @cached_property
    def order(self) -> Index:
        """The unknowns in grouped order."""
        return np.concatenate([g.ravel() for g in self.groups])

    @cached_property
    def place(self) -> Index:
        """Place of each unknown in grouped order."""
        found = np.empty_like(self.order)
        found[self.order] = np.arange(len(found))
        return found

    @cached_property
    def starts(self) -> list[int]:
        """Where each group starts in grouped order, and the end."""
        return [0, *itertools.accumulate(g.size for g in self.groups)]

    @cached_property
    def port_starts(self) -> list[int]:
        """Where the ports of each group start among all ports, and the end."""
        pairs = zip(self.groups, self.ports, strict=True)
        return [0, *itertools.accumulate(len(g) * len(p) for g, p in pairs)]

    @cached_property
    def port_of(self) -> Index:
        """Number of each unknown, in grouped order, among all ports; -1 where it is none."""
        found = np.full(len(self.order), -1, dtype=np.intp)
        for k, (members, ports) in enumerate(zip(self.groups, self.ports, strict=True)):
            places = self.starts[k] + np.arange(members.size).reshape(members.shape)
            first, last = self.port_starts[k : k + 2]
            found[places[:, ports].ravel()] = np.arange(first, last)
        return found

    @cached_property
    def cell(self) -> Index:
        """Number of the cell of each unknown, in grouped order."""
        cells, start = [], 0
        for members in self.groups:
            cells.append(np.repeat(start + np.arange(len(members)), members.shape[1]))
            start += len(members)
        return np.concatenate(cells)


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


def port_places(layout: Layout, group: int) -> Index:
    """Places in grouped order of the ports of a group.

    Args:
        layout: the cells.
        group: number of the group.
    """
    members, ports = layout.groups[group], layout.ports[group]
    places = layout.starts[group] + np.arange(members.size).reshape(members.shape)
    found: Index = places[:, ports].ravel()
    return found


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


class Factor:
    """What solves a matrix's equations.

    Args:
        matrix: the matrix.

    Attributes:
        inverses: of the cells of each group, (chips * cells, size, size).
        responses: of the cells to currents at their ports, (chips * cells, size, ports).
        ports: places within a cell of its ports.

    Raises:
        ConvergenceError: it, or a cell by itself, is singular.
    """

    def __init__(self, matrix: BlockMatrix) -> None:
        self.layout = layout = matrix.layout
        device = matrix.own[0].device
        self.ports = [torch.from_numpy(at).to(device) for at in layout.ports]
        self.inverses: list[Tensor] = []
        self.responses: list[Tensor] = []
        felt: list[Tensor] = []
        for blocks, at in zip(matrix.own, self.ports, strict=True):
            # Algebraic rows shrink with h; without this the pivots would be chosen badly.
            scale = 1 / blocks.abs().amax(dim=-1, keepdim=True).clamp(min=1e-300)
            inverted = inverse(blocks * scale) * scale.mT
            self.inverses.append(inverted.flatten(0, 1))
            response = inverted[..., at]
            self.responses.append(response.flatten(0, 1).contiguous())
            felt.append(response[..., at, :])
        self._border: _Whole | _Layered | None = None
        if matrix.pairs:
            kind = _Whole if layout.port_starts[-1] <= _WHOLE else _Layered
            self._border = kind(layout, felt, matrix.pairs)

    def solve(self, right: Tensor) -> Tensor:
        """Solutions, (chips, n, batch), of right-hand sides of the same shape, in grouped order."""
        return self.finished(self.local(right), len(right))

    def local(self, right: Tensor) -> list[Tensor]:
        """Solutions of the cells by themselves, (chips * cells, size, batch) of each group."""
        found = []
        for k, inverted in enumerate(self.inverses):
            part = right[:, self.layout.starts[k] : self.layout.starts[k + 1]]
            shaped = part.reshape(-1, inverted.shape[-1], right.shape[-1])
            found.append(torch.bmm(inverted, shaped))
        return found

    def currents(self, felt: Sequence[Tensor], chips: int, batch: int) -> list[Tensor]:
        """Currents at the ports of cells that by themselves would have these voltages there.

        Args:
            felt: (chips * cells, ports, batch) of each group; the result is the same.
            chips: number of chips.
            batch: number of samples.
        """
        if self._border is None:
            return [torch.zeros_like(f) for f in felt]
        found = self._border.currents([f.reshape(chips, -1, batch) for f in felt])
        return [c.reshape(f.shape) for c, f in zip(found, felt, strict=True)]

    def finished(self, local: list[Tensor], chips: int) -> Tensor:
        """The solution, (chips, n, batch), from those of the cells by themselves.

        Args:
            local: see `local`; changed in place.
            chips: number of chips.
        """
        batch = local[0].shape[-1]
        if self._border is not None:
            felt = [z.index_select(1, at) for z, at in zip(local, self.ports, strict=True)]
            currents = self.currents(felt, chips, batch)
            for z, response, current in zip(local, self.responses, currents, strict=True):
                z.baddbmm_(response, current, alpha=-1)
        return torch.cat([z.view(chips, -1, batch) for z in local], dim=1)


class _Whole:
    """All ports eliminated in one piece: currents C (1 + G C)^-1 t."""

    def __init__(self, layout: Layout, ports: Sequence[Tensor], pairs: Pairs) -> None:
        self._sizes = [b - a for a, b in itertools.pairwise(layout.port_starts)]
        starts, n = layout.port_starts, layout.port_starts[-1]
        chips = max(len(p) for p in ports)
        coupling = ports[0].new_zeros(chips, n, n)
        for (i, j), c in pairs.items():
            coupling[:, starts[i] + c.rows[:, None], starts[j] + c.columns] += c.values
        product = torch.cat(
            [
                _by_cells(g, coupling[:, a:b])
                for g, (a, b) in zip(ports, itertools.pairwise(starts), strict=True)
            ],
            dim=1,
        )
        eye = torch.eye(n, dtype=product.dtype, device=product.device)
        self._currents = coupling @ inverse(eye + product)

    def currents(self, felt: Sequence[Tensor]) -> Sequence[Tensor]:
        """Currents at the ports of each group, for the voltages they would have without.

        Args:
            felt: (chips, ports, batch) each.
        """
        found: Sequence[Tensor] = torch.split(
            self._currents @ torch.cat(list(felt), dim=1), self._sizes, dim=1
        )
        return found


def _by_cells(ports: Tensor, right: Tensor) -> Tensor:
    """Products of the cells' own responses (chips, cells, p, p) with (chips, cells * p, ...)."""
    chips, cells, size, _ = ports.shape
    if not size:
        return right
    shaped = right.reshape(len(right), cells, size, right.shape[-1])
    return (ports @ shaped).view(chips, -1, right.shape[-1])


class _Layered:
    """The ports eliminated group by group.

    With y the voltages of a group's ports, G its cells' response and F what couples it to the
    others, fill included: y_k + G_k (sum of F_kj y_j) = t_k.
    """

    def __init__(self, layout: Layout, ports: Sequence[Tensor], pairs: Pairs) -> None:
        self._ports = list(ports)
        self._given = pairs
        self._last = len(ports)
        fill: dict[tuple[int, int], Coupling] = dict(pairs)
        self._pivots: list[tuple[Index, Tensor, Tensor] | None] = []
        for k in range(self._last):
            self._pivots.append(self._pivot(k, fill))
            below = [i for i in range(k + 1, self._last) if (i, k) in fill]
            above = [j for j in range(k + 1, self._last) if (k, j) in fill]
            for i, j in itertools.product(below, above):
                left, right = fill[i, k], fill[k, j]
                moved = self._own_voltages(k, _spread(right, ports[k]))
                new = Coupling(left.rows, right.columns, -(left.values @ moved[:, left.columns]))
                known = [fill[i, j]] if (i, j) in fill else []
                fill[i, j] = merged([*known, new])
        self._fill = {pair: c for pair, c in fill.items() if pair[0] != pair[1]}

    def _pivot(self, k: int, fill: Pairs) -> tuple[Index, Tensor, Tensor] | None:
        """What solves y + G F y = t within a group: columns of F, their inverse, and G F."""
        if (k, k) not in fill:
            return None
        own = fill[k, k]
        product = _by_cells(self._ports[k], _rows(own, self._size(k)))
        inner = product[:, own.columns]
        eye = torch.eye(inner.shape[-1], dtype=inner.dtype, device=inner.device)
        return own.columns, inverse(eye + inner), product

    def _size(self, k: int) -> int:
        return self._ports[k].shape[1] * self._ports[k].shape[2]

    def _solved(self, k: int, t: Tensor) -> Tensor:
        """Y of y + G_k F_kk y = t."""
        pivot = self._pivots[k]
        if pivot is None:
            return t
        columns, inner, product = pivot
        return t - product @ (inner @ t[:, columns])

    def _own_voltages(self, k: int, currents: Tensor) -> Tensor:
        return self._solved(k, _by_cells(self._ports[k], currents))

    def currents(self, felt: Sequence[Tensor]) -> Sequence[Tensor]:
        """See `_Whole.currents`."""
        batch = felt[0].shape[-1]
        t = list(felt)
        for k in range(self._last):
            t[k] = self._solved(k, t[k])
            for i in range(k + 1, self._last):
                if (i, k) in self._fill:
                    taken = self._sum(i, [(self._fill[i, k], t[k])], batch)
                    t[i] = t[i] - _by_cells(self._ports[i], taken)
        for k in reversed(range(self._last)):
            later = [(self._fill[k, j], t[j]) for j in range(k + 1, self._last)
                     if (k, j) in self._fill]  # fmt: skip
            if later:
                t[k] = t[k] - self._own_voltages(k, self._sum(k, later, batch))
        return [
            self._sum(i, [(c, t[j]) for (row, j), c in self._given.items() if row == i], batch)
            for i in range(self._last)
        ]

    def _sum(self, k: int, terms: Sequence[tuple[Coupling, Tensor]], batch: int) -> Tensor:
        """Currents at the ports of a group."""
        first = self._ports[k]
        out = first.new_zeros(len(first), self._size(k), batch)
        for coupling, y in terms:
            out[:, coupling.rows] += coupling.values @ y[:, coupling.columns]
        return out


def _rows(coupling: Coupling, size: int) -> Tensor:
    """The coupling with all rows of its group, (chips, size, columns)."""
    values = coupling.values
    out = values.new_zeros(len(values), size, values.shape[-1])
    out[:, coupling.rows] = values
    return out


def _spread(coupling: Coupling, ports: Tensor) -> Tensor:
    return _rows(coupling, ports.shape[1] * ports.shape[2])
