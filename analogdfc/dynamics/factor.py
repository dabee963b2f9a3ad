"""Factors of the matrices of coupled cells.

A matrix is D + E C E^T, with D the cells' own blocks, E the choice of the ports and C what couples
them, so that by Woodbury's identity a solution costs the cells' inverses and C. C is eliminated
group by group: a group is coupled to its neighbours and to the last one, which makes a block
tridiagonal system with a border.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.dynamics.blocks import BlockMatrix, Coupling, Pairs, merged
from analogdfc.dynamics.layout import Index, Layout
from analogdfc.dynamics.linalg import inverse
from analogdfc.dynamics.pieces import Inverse

__all__ = ["Factor"]

_WHOLE = 384
"""Ports up to which they are eliminated in one piece: fewer, larger products are faster."""


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
            tiny = torch.finfo(blocks.dtype).tiny
            scale = 1 / blocks.abs().amax(dim=-1, keepdim=True).clamp(min=tiny)
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


class _Pivot(NamedTuple):
    """What solves y + G F y = t.

    Attributes:
        columns: the ports on which F depends.
        inner: inverse of 1 + G F among them.
        others: the other ports.
        product: G F from the former to the latter.
    """

    columns: Index
    inner: Inverse
    others: Index
    product: Tensor


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
        self._pivots: list[_Pivot | None] = []
        for k in range(self._last):
            self._pivots.append(self._pivot(k, fill))
            below = [i for i in range(k + 1, self._last) if (i, k) in fill]
            above = [j for j in range(k + 1, self._last) if (k, j) in fill]
            for i, j in itertools.product(below, above):
                left, right = fill[i, k], fill[k, j]
                moved = self._own_voltages(k, _rows(right, self._size(k)))
                new = Coupling(left.rows, right.columns, -(left.values @ moved[:, left.columns]))
                known = [fill[i, j]] if (i, j) in fill else []
                fill[i, j] = merged([*known, new])
        self._fill = {pair: c for pair, c in fill.items() if pair[0] != pair[1]}

    def _pivot(self, k: int, fill: Pairs) -> _Pivot | None:
        """What solves y + G F y = t within a group."""
        if (k, k) not in fill:
            return None
        own = fill[k, k]
        product = _by_cells(self._ports[k], _rows(own, self._size(k)))
        inner = product[:, own.columns]
        inner.diagonal(dim1=-2, dim2=-1).add_(1)
        others = np.setdiff1d(np.arange(self._size(k)), own.columns)
        return _Pivot(own.columns, Inverse(inner), others, product[:, others])

    def _size(self, k: int) -> int:
        return self._ports[k].shape[1] * self._ports[k].shape[2]

    def _solved(self, k: int, t: Tensor) -> Tensor:
        """The y of y + G_k F_kk y = t."""
        pivot = self._pivots[k]
        if pivot is None:
            return t
        columns, inner, others, product = pivot
        own = inner @ t[:, columns]
        if not len(others):
            return own
        y = torch.empty_like(t)
        y[:, columns] = own
        y[:, others] = t[:, others] - product @ own
        return y

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
