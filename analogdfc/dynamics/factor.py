"""Factors of the matrices of coupled cells.

A matrix is D + E C E^T, with D the cells' own blocks, E the choice of the ports and C what couples
them, so that by Woodbury's identity a solution costs the cells' inverses and C. C is eliminated
group by group: a group is coupled to its neighbours and to the last one, which makes a block
tridiagonal system with a border. Of wide groups it isn't eliminated, since that costs the third
power of their width: sweeps find the currents (see `sweeps`), where few of them are enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from analogdfc.dynamics.blocks import BlockMatrix, Coupling, Pairs, in_cells, merged
from analogdfc.dynamics.layout import Index, Layout
from analogdfc.dynamics.linalg import inverse
from analogdfc.dynamics.pieces import Inverse
from analogdfc.dynamics.sweeps import ACCURACY, Sweeps, by_cells
from analogdfc.products import multiplied

__all__ = ["Factor", "is_wide"]

_WHOLE = 384
"""Ports up to which they are eliminated in one piece: fewer, larger products are faster."""

_BORDER = 8
"""Of more of them, those of the last group are at most one in so many where sweeps are tried."""

_SHRUNK = 0.25
"""What a sweep must shrink errors to, or the groups are eliminated all the same."""


def is_wide(layout: Layout) -> bool:
    """Whether sweeps are tried instead of an elimination: from here on they cost less.

    Args:
        layout: the cells.
    """
    every, border = layout.port_starts[-1], layout.port_starts[-1] - layout.port_starts[-2]
    return every > _WHOLE and _BORDER * border <= every


class Factor:
    """What solves a matrix's equations.

    Args:
        matrix: the matrix.

    Attributes:
        inverses: of the cells of each group, (chips * cells, size, size).
        responses: of the cells to currents at their ports, (chips * cells, size, ports).
        ports: places within a cell of its ports.
        sweeps: what finds the currents of wide groups; None where they are eliminated.

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
            tiny = torch.finfo(blocks.dtype).tiny
            scale = 1 / blocks.abs().amax(dim=-1, keepdim=True).clamp(min=tiny)
            inverted = inverse(blocks * scale) * scale.mT
            self.inverses.append(inverted.flatten(0, 1))
            response = inverted[..., at]
            self.responses.append(response.flatten(0, 1).contiguous())
            felt.append(response[..., at, :])
        self._border: _Whole | _Layered | None = None
        self.sweeps: Sweeps | None = None
        if matrix.pairs and is_wide(layout):
            sweeps = Sweeps(felt, matrix.pairs)
            self.sweeps = sweeps if sweeps.rate <= _SHRUNK else None
        if matrix.pairs and self.sweeps is None:
            kind = _Whole if layout.port_starts[-1] <= _WHOLE else _Layered
            self._border = kind(layout, felt, matrix.pairs)

    def solve(self, right: Tensor, accuracy: float = ACCURACY) -> Tensor:
        """Solutions, (chips, n, batch), of right-hand sides of the same shape, in grouped order.

        Args:
            right: the right-hand sides.
            accuracy: error allowed where sweeps find them, as a part of the largest voltage.
        """
        return self.finished(self.local(right), len(right), accuracy=accuracy)

    def local(self, right: Tensor) -> list[Tensor]:
        """Solutions of the cells by themselves, (chips * cells, size, batch) of each group."""
        found = []
        for k, inverted in enumerate(self.inverses):
            part = in_cells(self.layout, right, k)
            by_chips = inverted.view(*part.shape[:2], *inverted.shape[1:])
            found.append(multiplied(by_chips, part).flatten(0, 1))
        return found

    def currents(
        self,
        felt: Sequence[Tensor],
        chips: int,
        near: Sequence[Tensor] | None = None,
        accuracy: float | None = None,
    ) -> list[Tensor]:
        """Currents at the ports of cells that by themselves would have these voltages there.

        Args:
            felt: (chips * cells, ports, batch) of each group; the result is the same.
            chips: number of chips.
            near: voltages from which sweeps start.
            accuracy: error at which they end, see `solve`; by default they only come nearer.

        Raises:
            ConvergenceError: sweeps don't reach the accuracy.
        """
        by_groups = [f.reshape(chips, -1, f.shape[-1]) for f in felt]
        found: Sequence[Tensor]
        if self.sweeps is not None:
            if near is not None:
                near = [y.reshape(f.shape) for y, f in zip(near, by_groups, strict=True)]
            if near is None or accuracy is not None:
                found = self.sweeps.currents(by_groups, near, accuracy or ACCURACY)
            else:
                found = self.sweeps.closer(by_groups, near)
        elif self._border is not None:
            found = self._border.currents(by_groups)
        else:
            return [torch.zeros_like(f) for f in felt]
        return [c.reshape(f.shape) for c, f in zip(found, felt, strict=True)]

    def finished(
        self,
        local: list[Tensor],
        chips: int,
        near: Sequence[Tensor] | None = None,
        accuracy: float = ACCURACY,
    ) -> Tensor:
        """The solution, (chips, n, batch), from those of the cells by themselves.

        Args:
            local: see `local`.
            chips: number of chips.
            near: voltages of the ports from which sweeps start.
            accuracy: see `solve`.
        """
        felt = [z.index_select(1, at) for z, at in zip(local, self.ports, strict=True)]
        return self.loaded(local, self.currents(felt, chips, near, accuracy), chips)

    def loaded(self, local: Sequence[Tensor], currents: Sequence[Tensor], chips: int) -> Tensor:
        """The solution, (chips, n, batch), with known currents at the ports.

        Args:
            local: see `local`.
            currents: see `currents`.
            chips: number of chips.
        """
        out = local[0].new_empty(chips, self.layout.starts[-1], local[0].shape[-1])
        parts = zip(local, self.responses, currents, strict=True)
        for k, (z, response, current) in enumerate(parts):
            cells = in_cells(self.layout, out, k)
            moved = multiplied(response, current)
            torch.sub(z.view(cells.shape), moved.view(cells.shape), out=cells)
        return out


class _Block(NamedTuple):
    """What couples two groups, in one piece.

    Attributes:
        rows: ports, (rows,).
        columns: ports, (columns,).
        values: (chips, rows, columns).
    """

    rows: Index
    columns: Index
    values: Tensor

    @classmethod
    def of(cls, couplings: Sequence[Coupling]) -> Self:
        """The sum of couplings."""
        found = merged(couplings)
        return cls(found.rows[0], found.columns[0], found.values[:, 0])

    @property
    def coupling(self) -> Coupling:
        """The same as a coupling."""
        return Coupling(self.rows[None], self.columns[None], self.values.unsqueeze(1))


class _Whole:
    """All ports eliminated in one piece: currents C (1 + G C)^-1 t."""

    def __init__(self, layout: Layout, ports: Sequence[Tensor], pairs: Pairs) -> None:
        self._sizes = [b - a for a, b in itertools.pairwise(layout.port_starts)]
        starts, n = layout.port_starts, layout.port_starts[-1]
        chips = max(len(p) for p in ports)
        coupling = ports[0].new_zeros(chips, n, n)
        for (i, j), couplings in pairs.items():
            c = _Block.of(couplings)
            coupling[:, starts[i] + c.rows[:, None], starts[j] + c.columns] += c.values
        pushed = torch.cat(
            [
                by_cells(g, coupling[:, a:b])
                for g, (a, b) in zip(ports, itertools.pairwise(starts), strict=True)
            ],
            dim=1,
        )
        eye = torch.eye(n, dtype=pushed.dtype, device=pushed.device)
        self._currents = multiplied(coupling, inverse(eye + pushed))

    def currents(self, felt: Sequence[Tensor]) -> Sequence[Tensor]:
        """Currents at the ports of each group, for the voltages they would have without.

        Args:
            felt: (chips, ports, batch) each.
        """
        found: Sequence[Tensor] = torch.split(
            multiplied(self._currents, torch.cat(list(felt), dim=1)), self._sizes, dim=1
        )
        return found


class _Pivot(NamedTuple):
    """What solves y + G F y = t.

    Attributes:
        columns: the ports on which F depends.
        inner: inverse of 1 + G F among them.
        others: the other ports.
        pushed: G F from the former to the latter.
    """

    columns: Index
    inner: Inverse
    others: Index
    pushed: Tensor


class _Layered:
    """The ports eliminated group by group.

    With y the voltages of a group's ports, G its cells' response and F what couples it to the
    others, fill included: y_k + G_k (sum of F_kj y_j) = t_k.
    """

    def __init__(self, layout: Layout, ports: Sequence[Tensor], pairs: Pairs) -> None:
        self._ports = list(ports)
        self._given = {pair: _Block.of(couplings) for pair, couplings in pairs.items()}
        self._last = len(ports)
        fill = dict(self._given)
        self._pivots: list[_Pivot | None] = []
        for k in range(self._last):
            self._pivots.append(self._pivot(k, fill))
            below = [i for i in range(k + 1, self._last) if (i, k) in fill]
            above = [j for j in range(k + 1, self._last) if (k, j) in fill]
            for i, j in itertools.product(below, above):
                left, right = fill[i, k], fill[k, j]
                moved = self._own_voltages(k, _rows(right, self._size(k)))
                new = _Block(
                    left.rows, right.columns, -multiplied(left.values, moved[:, left.columns])
                )
                known = [fill[i, j]] if (i, j) in fill else []
                fill[i, j] = _Block.of([block.coupling for block in (*known, new)])
        self._fill = {pair: c for pair, c in fill.items() if pair[0] != pair[1]}

    def _pivot(self, k: int, fill: Mapping[tuple[int, int], _Block]) -> _Pivot | None:
        """What solves y + G F y = t within a group."""
        if (k, k) not in fill:
            return None
        own = fill[k, k]
        pushed = by_cells(self._ports[k], _rows(own, self._size(k)))
        inner = pushed[:, own.columns]
        inner.diagonal(dim1=-2, dim2=-1).add_(1)
        others = np.setdiff1d(np.arange(self._size(k)), own.columns)
        return _Pivot(own.columns, Inverse(inner), others, pushed[:, others])

    def _size(self, k: int) -> int:
        return self._ports[k].shape[1] * self._ports[k].shape[2]

    def _solved(self, k: int, t: Tensor) -> Tensor:
        """The y of y + G_k F_kk y = t."""
        pivot = self._pivots[k]
        if pivot is None:
            return t
        columns, inner, others, pushed = pivot
        own = inner @ t[:, columns]
        if not len(others):
            return own
        y = torch.empty_like(t)
        y[:, columns] = own
        y[:, others] = t[:, others] - multiplied(pushed, own)
        return y

    def _own_voltages(self, k: int, currents: Tensor) -> Tensor:
        return self._solved(k, by_cells(self._ports[k], currents))

    def currents(self, felt: Sequence[Tensor]) -> Sequence[Tensor]:
        """See `_Whole.currents`."""
        batch = felt[0].shape[-1]
        t = list(felt)
        for k in range(self._last):
            t[k] = self._solved(k, t[k])
            for i in range(k + 1, self._last):
                if (i, k) in self._fill:
                    taken = self._sum(i, [(self._fill[i, k], t[k])], batch)
                    t[i] = t[i] - by_cells(self._ports[i], taken)
        for k in reversed(range(self._last)):
            later = [(self._fill[k, j], t[j]) for j in range(k + 1, self._last)
                     if (k, j) in self._fill]  # fmt: skip
            if later:
                t[k] = t[k] - self._own_voltages(k, self._sum(k, later, batch))
        return [
            self._sum(i, [(c, t[j]) for (row, j), c in self._given.items() if row == i], batch)
            for i in range(self._last)
        ]

    def _sum(self, k: int, terms: Sequence[tuple[_Block, Tensor]], batch: int) -> Tensor:
        """Currents at the ports of a group."""
        first = self._ports[k]
        out = first.new_zeros(len(first), self._size(k), batch)
        for coupling, y in terms:
            out[:, coupling.rows] += multiplied(coupling.values, y[:, coupling.columns])
        return out


def _rows(coupling: _Block, size: int) -> Tensor:
    """The coupling with all rows of its group, (chips, size, columns)."""
    values = coupling.values
    out = values.new_zeros(len(values), size, values.shape[-1])
    out[:, coupling.rows] = values
    return out
