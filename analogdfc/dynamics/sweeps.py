"""Ports of wide layers, eliminated by sweeps instead of by factors.

With y the voltages of a group's ports, t what they would be without currents, G the cells'
responses and F what couples the groups: y_k + G_k (sum of F_kj y_j) = t_k. A network of amplifiers
hardly works backwards: what drives is G F of earlier groups and of the last, where the controller
is; what loads add to the layer before is small. Wires that columns share couple the neurons of a
layer, the more the wider it is, but smoothly: a matrix of low rank is nearly all of it. So
Gauss-Seidel sweeps from the first group on need to be few, if they take the earlier groups, the low
rank and the last group as they become, and all else as it was. The last group is solved for with
the response of all others to it, which is found once. A sweep costs a product with what couples the
groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from analogdfc.dynamics.blocks import Coupling, Pairs
from analogdfc.dynamics.linalg import inverse, orthonormal
from analogdfc.errors import ConvergenceError
from analogdfc.products import multiplied

__all__ = ["ACCURACY", "Sweeps", "by_cells"]

ACCURACY = 1e-10
"""Error at which sweeps end, as a part of the largest voltage at the ports."""

_ROUNDINGS = 16
"""And never below so many roundings."""

_CLOSER = 0.05
"""What a voltage's error has to shrink to before what it is sought for may change."""

_RANK = 12
"""Rank of what is taken of a layer's own coupling as it becomes."""

_SEVERAL, _PIECES = 8, 4
"""Ports by that rank, and largest number of pieces, of a coupling for which it is worth it."""

_TRIALS = 4
_AT_LEAST = 0.1
"""What a sweep is taken to shrink errors to, however much better it was measured to be."""

_MOST = 40


class Sweeps:
    """What finds the voltages of ports by sweeps.

    Args:
        ports: responses of the cells' ports to currents into them, (chips, cells, p, p), by groups.
        pairs: what couples the groups' ports.

    Attributes:
        rate: by how much a sweep shrinks an error, as it was measured; 1 or more where it doesn't.

    Raises:
        ConvergenceError: the last group has no unique solution.
    """

    def __init__(self, ports: Sequence[Tensor], pairs: Pairs) -> None:
        self._ports = list(ports)
        self._last = len(ports) - 1
        self._into: list[dict[int, list[_Product]]] = [{} for _ in ports]
        for (i, j), couplings in pairs.items():
            self._into[i][j] = [_Product(c, ports[0].device) for c in couplings]
        # The last group is solved for whole.
        own = [*(self._into[k].get(k, ()) for k in range(self._last)), ()]
        self._within = [_Within(*both) for both in zip(ports, own, strict=True)]
        border = self._size(self._last)
        eye = torch.eye(border, dtype=ports[0].dtype, device=ports[0].device)
        unit = eye.expand(max(map(len, ports)), -1, -1)
        # Currents that the last group's ports cause in each group, a volt there.
        self._caused: list[Tensor] = []
        moved: dict[int, Tensor] = {}
        for k, within in enumerate(self._within):
            currents = self._currents(k, {**moved, self._last: unit}, border)
            currents, moved[k] = within.solved(currents, -by_cells(self._ports[k], currents))
            self._caused.append(currents)
        self._core = inverse(eye - moved[self._last])
        self.rate = self._measured()
        rate = min(max(self.rate, _CLOSER), 0.9)
        self._enough = math.ceil(math.log(_CLOSER) / math.log(rate))

    def _size(self, k: int) -> int:
        return self._ports[k].shape[1] * self._ports[k].shape[2]

    def _currents(self, k: int, volts: Mapping[int, Tensor], batch: int) -> Tensor:
        """Currents into the ports of a group from some groups' voltages."""
        first = self._ports[k]
        out = first.new_zeros(len(first), self._size(k), batch)
        for j, y in volts.items():
            for coupling in self._into[k].get(j, ()):
                coupling.add(out, y)
        return out

    def _swept(
        self, felt: Sequence[Tensor], near: Sequence[Tensor] | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Currents and voltages after a sweep from some voltages, or from none."""
        batch, new, currents = felt[0].shape[-1], dict[int, Tensor](), []
        for k, within in enumerate(self._within):
            old = {} if near is None else {j: near[j] for j in range(k, self._last)}
            found = self._currents(k, {**new, **old}, batch)
            if near is not None:
                found -= within.currents(near[k])
            found, new[k] = within.solved(found, felt[k] - by_cells(self._ports[k], found))
            currents.append(found)
        border = multiplied(self._core, new[self._last])
        for k, caused in enumerate(self._caused):
            currents[k] += multiplied(caused, border)
            new[k] = felt[k] - by_cells(self._ports[k], currents[k])
        return currents, list(new.values())

    def _measured(self) -> float:
        """What an error shrinks to in a sweep."""
        rng = torch.Generator().manual_seed(0)
        like, rate = self._ports[0], 0.0
        shapes = [(len(like), self._size(k), 1) for k in range(self._last + 1)]
        none = [like.new_zeros(shape) for shape in shapes]
        error = [torch.randn(shape, generator=rng, dtype=like.dtype).to(like) for shape in shapes]
        for _ in range(_TRIALS):
            _, after = self._swept(none, error)
            before, left = _largest(error[:-1]), _largest(after[:-1])
            if left <= torch.finfo(like.dtype).tiny * before:
                break
            rate = left / before
            error = [a / left for a in after]
        return rate if math.isfinite(rate) else math.inf

    def closer(self, felt: Sequence[Tensor], near: Sequence[Tensor]) -> list[Tensor]:
        """Currents at the ports, with the error that voltages had shrunk at least 20 times.

        Args:
            felt: voltages without currents, (chips, ports, batch) each.
            near: voltages, likewise.
        """
        for _ in range(self._enough):
            currents, near = self._swept(felt, near)
        return currents

    def currents(
        self, felt: Sequence[Tensor], near: Sequence[Tensor] | None, accuracy: float
    ) -> list[Tensor]:
        """Currents at the ports.

        Args:
            felt: voltages without currents, (chips, ports, batch) each.
            near: voltages that are near; none are known by default.
            accuracy: see `ACCURACY`.

        Raises:
            ConvergenceError: the sweeps don't reach it.
        """
        accuracy = max(accuracy, _ROUNDINGS * torch.finfo(felt[0].dtype).eps)
        rate = max(self.rate, _AT_LEAST)
        for _ in range(_MOST):
            currents, volts = self._swept(felt, near)
            change = volts if near is None else [a - b for a, b in zip(volts, near, strict=True)]
            if rate * _largest(change) <= (1 - rate) * accuracy * _largest(volts):
                return currents
            near = volts
        raise ConvergenceError(
            f"the voltages of wide layers are off by more than {accuracy:g} of the largest after "
            f"{_MOST} sweeps, of which each was to shrink errors to {self.rate:.2g}"
        )


class _Product:
    """A product with a coupling, its ports at hand as tensors."""

    def __init__(self, coupling: Coupling, device: torch.device) -> None:
        self._coupling = coupling
        self._rows, self._columns = (
            torch.from_numpy(at.ravel()).to(device) for at in (coupling.rows, coupling.columns)
        )

    @property
    def smooth(self) -> bool:
        """Whether it is large and in few pieces, nearly all of each of low rank."""
        pieces, *size = self._coupling.values.shape[1:]
        return pieces <= _PIECES and min(size) > _SEVERAL * _RANK

    def low_rank(self, n: int) -> tuple[Tensor, Tensor]:
        """Matrices L, (chips, n, rank), and R, (chips, rank, n), with L R nearly the coupling.

        By a randomised range finder with a power iteration (Halko, Martinsson and Tropp, SIAM
        Review 53 (2011) 217, algorithm 4.4).

        Args:
            n: ports of the group.
        """
        rows, columns, values = self._coupling
        chips, pieces = values.shape[:2]
        rng = torch.Generator().manual_seed(0)
        start = torch.randn(values.shape[-1], _RANK, generator=rng, dtype=values.dtype)
        basis = orthonormal(values @ start.to(values))
        basis = orthonormal(values @ orthonormal(values.mT @ basis))
        left, right = (values.new_zeros(chips, n, pieces, _RANK) for _ in range(2))
        of_piece = torch.arange(pieces, device=values.device).unsqueeze(1)
        for out, at, part in ((left, rows, basis), (right, columns, values.mT @ basis)):
            out[:, torch.from_numpy(at).to(values.device), of_piece] = part
        return left.flatten(2), right.flatten(2).mT.contiguous()

    def add(self, out: Tensor, y: Tensor) -> None:
        """Add the product with voltages to currents, both (chips, ports, batch)."""
        out.index_add_(1, self._rows, self._coupling.times(y, self._columns))


class _Within:
    """What couples the neurons of a layer, but for a rest that is small.

    Args:
        ports: G of the group, (chips, cells, p, p).
        products: F of the group with itself, nearly L R.
    """

    def __init__(self, ports: Tensor, products: Sequence[_Product]) -> None:
        chips, n = len(ports), ports.shape[1] * ports.shape[2]
        parts = [p.low_rank(n) for p in products if p.smooth]
        self._left = torch.cat([ports.new_zeros(chips, n, 0), *(left for left, _ in parts)], dim=2)
        self._right = torch.cat([ports.new_zeros(chips, 0, n), *(r for _, r in parts)], dim=1)
        self._moved = by_cells(ports, self._left)
        eye = torch.eye(self._left.shape[2], dtype=ports.dtype, device=ports.device)
        self._core = inverse(eye + multiplied(self._right, self._moved))

    def currents(self, y: Tensor) -> Tensor:
        """L R y."""
        return multiplied(self._left, multiplied(self._right, y))

    def solved(self, currents: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Currents and voltages with those of L R added.

        Args:
            currents: all others.
            y: voltages that there would be with the others alone.
        """
        strength = multiplied(self._core, multiplied(self._right, y))
        return currents + multiplied(self._left, strength), y - multiplied(self._moved, strength)


def by_cells(ports: Tensor, right: Tensor) -> Tensor:
    """Products of cells' own responses (chips, cells, p, p) with (chips, cells * p, ...)."""
    chips, cells, size, _ = ports.shape
    if not size:
        return right
    shaped = right.reshape(len(right), cells, size, right.shape[-1])
    return multiplied(ports, shaped).view(chips, cells * size, right.shape[-1])


def _largest(values: Sequence[Tensor]) -> float:
    return max((float(v.abs().max()) for v in values if v.numel()), default=0.0)
