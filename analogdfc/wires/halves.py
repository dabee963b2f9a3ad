"""Large blocks joined in half the operations of general products, since they are symmetric.

Of a block at the drivers, the drivers are terminals that nothing joins any more: what they couple
to each other need not be known, only its sums (`Edge`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.errors import ConvergenceError
from analogdfc.products import multiplied
from analogdfc.wires.blocks import Block, Workspace, placed, runs

SINGULAR = (
    "wires: the nodal equations are singular to machine precision; conductances and resistances "
    "must not be as far apart as the range of floating-point numbers"
)

_NEAR = 128
"""Shared nodes up to which products are less work than triangular systems that are as large."""

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

    Attributes:
        sizes: terminals of the joined block on each side.
        runs: as of `runs`.
        inner: couplings between the shared nodes below the diagonal, (..., p, p), 0 elsewhere.
        outer: couplings of the shared nodes to the others, E, (..., p, q).
        n: the couplings that the parts have by themselves, below the diagonal, (..., q, q).
    """

    def __init__(
        self, parts: Sequence[tuple[Block, str]], workspace: Workspace, result: str | None
    ) -> None:
        outlines = [(block.sizes, side) for block, side in parts]
        where, self.sizes = placed(outlines)
        self.runs = runs(outlines, where)
        self.at = [block.at(side) for block, side in parts]
        self.blocks = [block.n for block, _ in parts]
        of_each = [n[..., s, s] for n, s in zip(self.blocks, self.at, strict=True)]
        self.inner = sum(of_each[1:], of_each[0]).tril(-1)
        grid, p, q = self.inner.shape[:-2], self.inner.shape[-1], sum(self.sizes.values())
        self.outer = workspace.empty("outer", (*grid, p, q), self.inner, by_block=True)
        for which, source, target in self.runs:
            n, own = self.blocks[which], self.at[which]
            if source.start < own.start:
                self.outer[..., target] = n[..., own, source]
            else:
                self.outer[..., target] = n[..., source, own].mT
        self.n = workspace.empty(result, (*grid, q, q), self.outer, by_block=True)
        self._write()

    def _write(self) -> None:
        for k, (which, rows, to_rows) in enumerate(self.runs):
            for other, columns, to_columns in self.runs[:k]:
                if other == which:
                    self.n[..., to_rows, to_columns] = self.blocks[which][..., rows, columns]
                else:
                    self.n[..., to_rows, to_columns] = 0
            for first in range(0, rows.stop - rows.start, _STRIP):
                own, to = (
                    (slice(s.start + first, min(s.start + first + _STRIP, s.stop)),
                     slice(s.start, min(s.start + first + _STRIP, s.stop)))
                    for s in (rows, to_rows)
                )  # fmt: skip
                self.n[..., to[0], to[1]] = self.blocks[which][..., own[0], own[1]]

    def matrix(self, ground: Tensor) -> Tensor:
        """D, below its diagonal.

        Args:
            ground: sums of the shared nodes' couplings to the others, (..., p).
        """
        total = ground + self.inner.sum(-1) + self.inner.sum(-2)
        matrix = -self.inner
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
            for e, n in zip(*map(_each, (half, union.n)), strict=True):
                _add_square(e, n)
            return union.block()
    matrices = union.matrix(ground)
    for d, e, n in zip(*map(_each, (matrices, union.outer, union.n)), strict=True):
        root = _Root(d)
        root.solve(e)
        workspace.rounding = max(workspace.rounding, root.lost(e.sum(axis=1)))
        _add_square(e, n)
    return union.block()


def near_diagonal(inner: Tensor, total: Tensor, outer: Tensor, half: Tensor) -> float | None:
    """Write D^-1/2 E to half for a D that is near its diagonal; E is lost.

    With S what D has off its diagonal, scaled to 1 on it, (1 - S)^-1/2 = 1 + S/2 + 3/8 S^2 + ...:
    all positive. Where no element of S^3 counts beside those of 1 + S nothing need be factorised.

    Args:
        inner: D's elements off its diagonal, without their sign, (..., p, p).
        total: its diagonal, (..., p).
        outer: E, (..., p, q).
        half: memory of the same shape.

    Returns:
        Largest deviation from 1 of D^-1 (E 1), for D 1 = E 1; None for another D.
    """
    scale = total.rsqrt()
    s = (inner * scale[..., :, None] * scale[..., None, :]).flatten(0, -3)
    square, eps = multiplied(s, s), torch.finfo(s.dtype).eps
    least = s * eps
    least.diagonal(dim1=-2, dim2=-1).fill_(eps)
    if not bool((multiplied(square, s) <= least).all()):
        return None
    near = square.mul_(3 / 8).add_(s, alpha=1 / 2)
    near.diagonal(dim1=-2, dim2=-1).add_(1)
    near *= scale.flatten(0, -2)[..., None, :]
    y = multiplied(near, outer.flatten(0, -3), half.flatten(0, -3))
    sums = y.sum(-1, keepdim=True)
    back = (sums + multiplied(s, sums) / 2) * scale.flatten(0, -2)[..., None]
    return float((back - 1).abs().max())


def joined_edge(parts: Sequence[tuple[Block | Edge, str]], workspace: Workspace) -> Edge:
    """The same of blocks of which one or all are at the drivers; these lie in their order."""
    blocks = [(part.block if isinstance(part, Edge) else part, side) for part, side in parts]
    union = _Union(blocks, workspace, None)
    edges = {k: part for k, (part, _) in enumerate(parts) if isinstance(part, Edge)}
    first = edges[0].left
    lost = torch.cat([edge.lost for edge in edges.values()], -1)
    grid, drivers = first.shape[:-2], lost.shape[-1]
    into = first.new_zeros(*grid, union.outer.shape[-2], drivers)
    left = workspace.empty(None, (*grid, union.n.shape[-1], drivers), first, by_block=True)
    start = 0
    for k, edge in edges.items():
        own = slice(start, start + edge.left.shape[-1])
        into[..., own] = edge.left[..., union.at[k], :]
        for which, source, target in union.runs:
            if which == k:
                left[..., target, own] = edge.left[..., source, :]
            else:
                left[..., target, own] = 0
        start = own.stop
    matrices = union.matrix(union.outer.sum(-1) + into.sum(-1))
    each = map(_each, (matrices, union.outer, union.n, into, left))
    for (d, e, n, i, out), more in zip(
        zip(*each, strict=True), lost.view(-1, drivers).numpy(), strict=True
    ):
        root = _Root(d)
        root.solve(e)
        root.solve(i)
        sums = i.sum(axis=1)
        workspace.rounding = max(workspace.rounding, root.lost(e.sum(axis=1) + sums))
        _add_square(e, n)
        _add_product(e, i, out)
        more += sums @ i - np.einsum("ij,ij->j", i, i)
    return Edge(union.block(), left, lost)


def _each(t: Tensor) -> Matrix:
    found: Matrix = t.numpy().reshape(-1, *t.shape[-2:])
    return found


class _Root:
    """The Cholesky factor L of D, which is lost.

    To LAPACK, which counts along columns, each matrix is its transpose.

    Args:
        d: D, (p, p), without positive elements off the diagonal; its lower half.

    Raises:
        ConvergenceError: a D that is not positive definite to machine precision.
    """

    def __init__(self, d: Matrix) -> None:
        self._single = d.dtype == np.float32
        lapack = scipy.linalg.lapack
        factorise = lapack.spotrf if self._single else lapack.dpotrf
        self._upper, failed = factorise(d.T, lower=0, clean=0, overwrite_a=1)
        if failed:
            raise ConvergenceError(SINGULAR)

    def solve(self, e: Matrix) -> None:
        """L^-1 E in the place of E, >= 0: sums of positive numbers, L has none off the diagonal."""
        blas = scipy.linalg.blas
        solve = blas.strsm if self._single else blas.dtrsm
        solve(1.0, self._upper, e.T, side=1, lower=0, overwrite_b=1)

    def lost(self, sums: Matrix) -> float:
        """Largest deviation from 1 of D^-1 (E 1), for D 1 = E 1.

        Args:
            sums: L^-1 (E 1).
        """
        blas = scipy.linalg.blas
        back = blas.strsv if self._single else blas.dtrsv
        return float(np.abs(back(self._upper, sums, lower=0) - 1).max())


def _add_square(e: Matrix, n: Matrix) -> None:
    """Add E^T E to n, (q, q), below its diagonal."""
    blas = scipy.linalg.blas
    square = blas.ssyrk if e.dtype == np.float32 else blas.dsyrk
    square(1.0, e.T, 1.0, n.T, lower=0, overwrite_c=1)


def _add_product(a: Matrix, b: Matrix, n: Matrix) -> None:
    """Add A^T B to n."""
    blas = scipy.linalg.blas
    multiply = blas.sgemm if a.dtype == np.float32 else blas.dgemm
    multiply(1.0, b.T, a.T, 1.0, n.T, trans_b=1, overwrite_c=1)
