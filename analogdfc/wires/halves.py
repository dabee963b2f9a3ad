"""Large blocks joined in half the operations of general products, since they are symmetric.

Of a block at the drivers, the drivers are terminals that nothing joins any more: what they couple
to each other need not be known, only its sums (`Edge`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.errors import ConvergenceError
from analogdfc.products import multiplied
from analogdfc.wires.blocks import Block, Layout, Workspace, copy_transposed

SINGULAR = (
    "wires: the nodal equations are singular to machine precision; conductances and resistances "
    "must not be as far apart as the range of floating-point numbers"
)

_NEAR = 64
"""Shared nodes up to which a product of all blocks at once is less work than a factor of each."""

_LEAF = 64
"""Largest triangle that is inverted: LAPACK inverts small ones faster than it solves for many."""

_STRIP = 256
"""Rows that are copied at once of what lies below the diagonal."""

Matrix = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Edge:
    """A block at the drivers.

    Attributes:
        block: the block without its drivers.
        left: its terminals' couplings to the drivers, (..., 1, 1, t, drivers).
        lost: sum of each driver's couplings to the others, (..., 1, 1, drivers).
    """

    block: Block
    left: Tensor
    lost: Tensor

    @classmethod
    def of(cls, block: Block) -> Edge:
        """A block whose left terminals are the drivers."""
        drivers = block.sizes["L"]
        within = block.n[..., :drivers, :drivers].tril(-1)
        sizes = {side: n for side, n in block.sizes.items() if side != "L"}
        rest = block.n[..., drivers:, drivers:].contiguous()
        left = block.n[..., drivers:, :drivers].contiguous()
        return cls(Block(rest, sizes, block.half), left, within.sum(-1) + within.sum(-2))


class _Union:
    """Blocks and what of them is eliminated.

    NumPy's views and copies of small pieces take a third of the time that PyTorch's take.

    Attributes:
        sizes: terminals of the joined block on each side.
        at, runs: `own` and `runs` of `Layout`.
        inner: couplings between the shared nodes below the diagonal, (..., p, p), 0 elsewhere.
        outer: couplings of the shared nodes to the others, E, (..., p, q).
        n: the couplings that the parts have by themselves, below the diagonal, (..., q, q).
    """

    def __init__(
        self, parts: Sequence[tuple[Block, str]], workspace: Workspace, result: str | None
    ) -> None:
        self.at, _, self.runs, self.sizes = Layout.of(parts)
        self._blocks = [_array(block.n) for block, _ in parts]
        of_each = [block.n[..., s, s] for (block, _), s in zip(parts, self.at, strict=True)]
        self.inner = sum(of_each[1:], of_each[0]).tril(-1)
        like, p, q = parts[0][0].n, self.inner.shape[-1], sum(self.sizes.values())
        grid = like.shape[:-2]
        self.outer = workspace.empty("outer", (*grid, p, q), like, by_block=True)
        outer = _array(self.outer)
        for which, source, target in self.runs:
            n, own = self._blocks[which], self.at[which]
            if source.start < own.start:
                outer[..., target] = n[..., own, source]
            else:
                copy_transposed(n[..., source, own], outer[..., target])
        self.n = workspace.empty(result, (*grid, q, q), like, by_block=True)
        self._write(_array(self.n))

    def _write(self, n: Matrix) -> None:
        for k, (which, rows, to_rows) in enumerate(self.runs):
            own = self._blocks[which]
            for other, columns, to_columns in self.runs[:k]:
                if other == which:
                    n[..., to_rows, to_columns] = own[..., rows, columns]
                else:
                    n[..., to_rows, to_columns] = 0
            out, found = n[..., to_rows, to_rows], own[..., rows, rows]
            for first in range(0, rows.stop - rows.start, _STRIP):
                last = first + _STRIP
                out[..., first:last, :last] = found[..., first:last, :last]

    def matrix(self, ground: Tensor) -> Tensor:
        """D, below its diagonal, in the place of `inner`.

        Args:
            ground: sums of the shared nodes' couplings to the others, (..., p).
        """
        total = ground + self.inner.sum(-1) + self.inner.sum(-2)
        matrix = self.inner.neg_()
        matrix.diagonal(dim1=-2, dim2=-1).copy_(total)
        return matrix

    def block(self) -> Block:
        """The joined block."""
        self.n.diagonal(dim1=-2, dim2=-1).zero_()
        return Block(self.n, self.sizes, half=True)


def joined(parts: Sequence[tuple[Block, str]], workspace: Workspace, result: str | None) -> Block:
    """Blocks without the nodes that they share; arguments as of `Elimination`."""
    union = _Union(parts, workspace, result)
    ground = union.outer.sum(-1)
    if ground.shape[-1] <= _NEAR:
        inner = union.inner + union.inner.mT
        half = workspace.empty("half", union.outer.shape, inner, by_block=True)
        lost = near_diagonal(inner, ground + inner.sum(-1), union.outer, half)
        if lost is not None:
            workspace.rounding = max(workspace.rounding, lost)
            _add_squares(half, union.n)
            return union.block()
    for d, e, n in zip(*map(_each, (union.matrix(ground), union.outer, union.n)), strict=True):
        root = _Root(d)
        root.solve(e)
        workspace.rounding = max(workspace.rounding, root.lost(_sums(e)))
        _add_square(e, n)
    return union.block()


def near_diagonal(inner: Tensor, total: Tensor, outer: Tensor, half: Tensor) -> float | None:
    """Write D^-1/2 E to half for a D that is near its diagonal; E is lost.

    With S what D has off its diagonal, scaled to 1 on it, (1 - S)^-1/2 = 1 + S/2 + 3/8 S^2 + ...:
    all positive. Where no element of S^3 counts beside those of 1 + S nothing need be factorised.
    It is so where S^2 is below c S off the diagonal and below c^2 on it, with 2 c^2 the precision:
    then S^3, below c^2 S + c S^2, is below 2 c^2 S, and on the diagonal below c^3.

    Args:
        inner: D's elements off its diagonal, without their sign, (..., p, p).
        total: its diagonal, (..., p).
        outer: E, (..., p, q).
        half: memory of the same shape.

    Returns:
        Largest deviation from 1 of D^-1 (E 1), for D 1 = E 1; None for another D.
    """
    scale = total.rsqrt().flatten(0, -2)
    s = (inner.flatten(0, -3) * scale[..., None]).mul_(scale[..., None, :])
    square, small = multiplied(s, s), torch.finfo(s.dtype).eps / 2
    most = s * math.sqrt(small)
    most.diagonal(dim1=-2, dim2=-1).fill_(small)
    if not bool((square <= most).all()):
        return None
    near = square.mul_(3 / 8).add_(s, alpha=1 / 2)
    near.diagonal(dim1=-2, dim2=-1).add_(1)
    near *= scale[..., None, :]
    y = multiplied(near, outer.flatten(0, -3), half.flatten(0, -3))
    least, most = multiplied(near.mT, y.sum(-1, keepdim=True)).aminmax()
    return float(torch.maximum(1 - least, most - 1))


def joined_edge(parts: Sequence[tuple[Block | Edge, str]], workspace: Workspace) -> Edge:
    """The same of blocks of which one or all are at the drivers; these lie in their order."""
    blocks = [(part.block if isinstance(part, Edge) else part, side) for part, side in parts]
    union = _Union(blocks, workspace, None)
    edges = {k: part for k, (part, _) in enumerate(parts) if isinstance(part, Edge)}
    lost = torch.cat([edge.lost for edge in edges.values()], -1)
    (*grid, p, q), drivers = union.outer.shape, lost.shape[-1]
    into = workspace.empty("into", (*grid, p, drivers), lost, by_block=True)
    left = workspace.empty(None, (*grid, q, drivers), lost, by_block=True)
    start = 0
    for k, edge in edges.items():
        own = slice(start, start + edge.left.shape[-1])
        into[..., own] = edge.left[..., union.at[k], :]
        for which, source, target in union.runs:
            left[..., target, own] = edge.left[..., source, :] if which == k else 0
        start = own.stop
    matrices = union.matrix(union.outer.sum(-1) + into.sum(-1))
    each = map(_each, (matrices, union.outer, union.n, into, left))
    for (d, e, n, i, out), more in zip(
        zip(*each, strict=True), lost.view(-1, drivers).numpy(), strict=True
    ):
        root = _Root(d)
        root.solve(e)
        root.solve(i)
        sums = _sums(i)
        workspace.rounding = max(workspace.rounding, root.lost(_sums(e) + sums))
        _add_square(e, n)
        _add_product(e, i, out)
        more += sums @ i - np.einsum("ij,ij->j", i, i)
    return Edge(union.block(), left, lost)


def _array(t: Tensor) -> Matrix:
    found: Matrix = t.numpy()
    return found


def _each(t: Tensor) -> Matrix:
    found: Matrix = t.numpy().reshape(-1, *t.shape[-2:])
    return found


def _sums(e: Matrix) -> Matrix:
    """Sums of a matrix's rows: by a product, which takes a quarter of the time."""
    found: Matrix = e @ np.ones(e.shape[-1], e.dtype)
    return found


class _Root:
    """The Cholesky factor L of D, in halves: a small one by its inverse, which is all products.

    To BLAS and LAPACK, which count along columns, each matrix is its transpose.

    Args:
        d: D, (p, p), without positive elements off the diagonal; its lower half.

    Raises:
        ConvergenceError: a D that is not positive definite to machine precision.
    """

    def __init__(self, d: Matrix) -> None:
        size = len(d)
        self._half = 0 if size <= _LEAF else -(-size // (2 * _LEAF)) * _LEAF
        if not self._half:
            factor, failed = _of(scipy.linalg.lapack, "potrf", d)(d.T, lower=0, clean=0)
            if failed:
                raise ConvergenceError(SINGULAR)
            invert = _of(scipy.linalg.lapack, "trtri", d)
            self._inverse, _ = invert(factor, lower=0, overwrite_c=1)
            return
        above, below = slice(0, self._half), slice(self._half, size)
        self._first = _Root(d[above, above])
        self._between = np.empty((self._half, size - self._half), d.dtype)
        copy_transposed(d[below, above], self._between)
        self._first.solve(self._between)
        rest = d[below, below].copy()
        _add_square(self._between, rest, -1.0)
        self._second = _Root(rest)

    def solve(self, e: Matrix) -> None:
        """L^-1 E in the place of E, >= 0: sums of positive numbers, L has none off the diagonal."""
        if not self._half:
            multiply = _of(scipy.linalg.blas, "trmm", e)
            multiply(1.0, self._inverse, e.T, side=1, lower=0, overwrite_b=1)
            return
        above, below = e[: self._half], e[self._half :]
        self._first.solve(above)
        _add_product(self._between, above, below, -1.0)
        self._second.solve(below)

    def lost(self, sums: Matrix) -> float:
        """Largest deviation from 1 of D^-1 (E 1), for D 1 = E 1.

        Args:
            sums: L^-1 (E 1).
        """
        return float(np.abs(self._back(sums) - 1).max())

    def _back(self, x: Matrix) -> Matrix:
        """L^-T x of a vector."""
        if not self._half:
            found: Matrix = _of(scipy.linalg.blas, "trmv", x)(self._inverse, x, lower=0)
            return found
        second = self._second._back(x[self._half :])
        return np.concatenate([self._first._back(x[: self._half] - self._between @ second), second])


def _of(library: ModuleType, name: str, like: Matrix) -> Callable[..., Any]:
    """The function of BLAS or LAPACK for a matrix's precision."""
    found: Callable[..., Any] = getattr(library, ("s" if like.dtype == np.float32 else "d") + name)
    return found


def _add_squares(e: Tensor, n: Tensor) -> None:
    """Add E^T E to n, (..., q, q), below its diagonal."""
    outer, found = _each(e), _each(n)
    square = _of(scipy.linalg.blas, "syrk", outer)
    for a, b in zip(outer, found, strict=True):
        square(1.0, a.T, 1.0, b.T, lower=0, overwrite_c=1)


def _add_square(e: Matrix, n: Matrix, times: float = 1.0) -> None:
    """Add a multiple of E^T E to n, (q, q), below its diagonal."""
    _of(scipy.linalg.blas, "syrk", e)(times, e.T, 1.0, n.T, lower=0, overwrite_c=1)


def _add_product(a: Matrix, b: Matrix, n: Matrix, times: float = 1.0) -> None:
    """Add a multiple of A^T B to n."""
    multiply = _of(scipy.linalg.blas, "gemm", a)
    multiply(times, b.T, a.T, 1.0, n.T, trans_b=1, overwrite_c=1)
