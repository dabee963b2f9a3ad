"""Blocks of an array's cells, and the elimination of the nodes that two of them share.

A block is seen through the ends of its lines: its left and right word-line ends, its top and bottom
bit-line ends. It is stored as the conductances between each pair of these terminals (>= 0; the
diagonal of its admittance is their sum, since nothing in a block goes to ground). Joining two
blocks eliminates the nodes that they share:

    N <- N_a + N_c + E^T D^-1 E,    D = diag(E 1 + N_pp 1) - N_pp,    E = N_pq,

with p the shared nodes and q the others; D = L L^T, and L^-1 >= 0 like N and E. Nothing cancels in
these sums (Grassmann, Taksar and Heyman 1985, block by block), so every element of the result is
accurate, also where wires conduct 1e8 times better than cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import scipy
import torch
from torch import Tensor

from analogdfc.errors import ConvergenceError

SIDES = "LTRB"
"""Terminals of a block in their order: left, top, right, bottom.

Going round, neighbouring sides stay neighbours where blocks are joined: fewer pieces to copy.
"""

_SINGULAR = (
    "wires: the nodal equations are singular to machine precision; conductances and resistances "
    "must not be as far apart as the range of floating-point numbers"
)

_LARGE = 32
"""Nodes from which they are eliminated with half the operations of general products."""

_PIECE = 256
"""Rows that are mirrored at once: as many as the processor's caches hold."""

_SMALL = 4
"""Largest matrix that is inverted element by element, over all blocks at once."""


@dataclass(frozen=True)
class Block:
    """Equal blocks in a grid.

    Attributes:
        n: conductances between terminals, (..., grid rows, grid columns, t, t), zero diagonal.
        sizes: number of terminals on each side; absent sides are missing.
        half: whether only what lies below the diagonal has been written; the rest is anything.
    """

    n: Tensor
    sizes: dict[str, int]
    half: bool = False

    def at(self, side: str) -> slice:
        """Where the terminals of a side lie."""
        return _spans(self.sizes)[side]

    def pick(self, rows: slice, columns: slice) -> Block:
        """Some blocks of the grid."""
        return Block(self.n[..., rows, columns, :, :], self.sizes, self.half)

    def whole(self) -> Block:
        """The same with both halves, written to its own memory."""
        if self.half:
            size = self.n.shape[-1]
            for k in range(0, size, _PIECE):
                rows = slice(k, min(k + _PIECE, size))
                corner = self.n[..., rows, rows].tril()
                self.n[..., rows, rows] = corner + corner.mT
                self.n[..., :k, rows] = self.n[..., rows, :k].mT
        return Block(self.n, self.sizes)


def _spans(sizes: dict[str, int]) -> dict[str, slice]:
    spans, start = {}, 0
    for side in SIDES:
        if side in sizes:
            spans[side] = slice(start, start + sizes[side])
            start += sizes[side]
    return spans


class Workspace:
    """Memory that is used again and again: a fresh page costs more than the sums written to it.

    Attributes:
        rounding: what eliminations of many nodes have lost by it so far: the largest deviation of
            D^-1 (E 1) from 1, which it is.
    """

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}
        self.rounding = 0.0

    def empty(
        self, name: str | None, shape: Sequence[int], like: Tensor, *, by_block: bool
    ) -> Tensor:
        """An uninitialised tensor, (..., a, b), in the memory of that name, or in its own.

        With by_block, matrices lie in memory one after the other, for BLAS; else, one element of
        every block after the other, for small matrices on which all blocks work in step.
        """
        size = math.prod(shape)
        memory = self._memory.get(name) if name else None
        if memory is None or memory.numel() < size:
            memory = torch.empty(size, dtype=like.dtype, device=like.device)
            if name:
                self._memory[name] = memory
        if by_block:
            return memory[:size].view(*shape)
        return memory[:size].view(*shape[-2:], *shape[:-2]).movedim((0, 1), (-2, -1))


def multiply(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Products of matrices, written to out."""
    if a.shape[-1] <= _SMALL:
        torch.mul(a[..., :, :1], b[..., :1, :], out=out)
        for k in range(1, a.shape[-1]):
            out.addcmul_(a[..., :, k : k + 1], b[..., k : k + 1, :])
    elif out.device.type == "cpu":
        np.matmul(a.numpy(), b.numpy(), out=out.numpy())
    else:
        torch.matmul(a, b, out=out)


class Elimination:
    """Shared nodes of one block or two, eliminated; currents go up through it, voltages down.

    Args:
        parts: the blocks, each with the side whose terminals are eliminated.
        workspace: memory for what is not kept.
        keep: whether currents and voltages will be asked for.
        result: name of the workspace's memory for the joined block; None for memory of its own.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Block, str]],
        workspace: Workspace,
        *,
        keep: bool,
        result: str | None = None,
    ) -> None:
        first, shared = parts[0]
        halves = not keep and first.sizes[shared] >= _LARGE and first.n.device.type == "cpu"
        if not halves:
            parts = [(block.whole(), side) for block, side in parts]
        self._parts = [(block.sizes, side) for block, side in parts]
        self._placed, sizes = _placed(self._parts)
        runs = _runs(self._parts, self._placed)
        blocks = [block.n for block, _ in parts]
        at = [_spans(sizes)[side] for sizes, side in self._parts]
        inner = sum(
            (n[..., s, s] for n, s in zip(blocks[1:], at[1:], strict=True)),
            blocks[0][..., at[0], at[0]],
        )
        if halves:
            inner = inner.tril(-1)
        grid, p, q = inner.shape[:-2], inner.shape[-1], sum(sizes.values())
        by_block = p > _SMALL
        outer = workspace.empty("outer", (*grid, p, q), inner, by_block=by_block)
        for which, source, target in runs:
            n, own = blocks[which], at[which]
            if halves and source.start < own.start:
                outer[..., target] = n[..., own, source]
            elif halves:
                outer[..., target] = n[..., source, own].mT
            else:
                outer[..., target] = n[..., own, source]
        # Of many small matrices, sums over the last dimension are slower than as many additions.
        ground = outer.sum(-1) if by_block else reduce(torch.add, outer.unbind(-1))
        n = workspace.empty(result, (*grid, q, q), outer, by_block=by_block)
        self._kept: tuple[Tensor, Tensor] | None = None
        if halves:
            self._write_half(n, runs, blocks)
            matrix = torch.diag_embed(ground + inner.sum(-1) + inner.sum(-2)) - inner
            workspace.rounding = max(workspace.rounding, _add_square(matrix, outer, n))
        else:
            half = workspace.empty(None if keep else "half", outer.shape, outer, by_block=by_block)
            self._write(n, runs, blocks)
            self._kept = _add_product(inner, ground, outer, half, n, keep=keep)
        n.diagonal(dim1=-2, dim2=-1).zero_()
        self.block: Block | None = Block(n, sizes, halves)

    @staticmethod
    def _write(n: Tensor, runs: list[tuple[int, slice, slice]], blocks: Sequence[Tensor]) -> None:
        """The couplings that the parts have by themselves."""
        n.zero_()
        for which, rows, to_rows in runs:
            for other, columns, to_columns in runs:
                if other == which:
                    n[..., to_rows, to_columns] = blocks[which][..., rows, columns]

    @staticmethod
    def _write_half(
        n: Tensor, runs: list[tuple[int, slice, slice]], blocks: Sequence[Tensor]
    ) -> None:
        """The same, of each run with itself and earlier ones."""
        for k, (which, rows, to_rows) in enumerate(runs):
            for other, columns, to_columns in runs[: k + 1]:
                if other == which:
                    n[..., to_rows, to_columns] = blocks[which][..., rows, columns]
                else:
                    n[..., to_rows, to_columns] = 0

    def take(self) -> Block:
        """The joined block, which is then forgotten."""
        block, self.block = self.block, None
        assert block is not None
        return block

    def up(self, currents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Currents into the terminals that are left, and into the eliminated nodes."""
        assert self._kept is not None
        spread, _ = self._kept
        spans = [(_spans(sizes), shared) for sizes, shared in self._parts]
        inner = torch.stack(
            [i[..., s[shared]] for i, (s, shared) in zip(currents, spans, strict=True)]
        ).sum(0)
        outer = torch.cat(
            [currents[which][..., spans[which][0][side]] for which, side, _ in self._placed], -1
        )
        return outer + inner @ spread, inner

    def down(self, v: Tensor, inner: Tensor | None) -> list[Tensor]:
        """Voltages of the terminals of each part, from those of the joined block."""
        assert self._kept is not None
        spread, inverse = self._kept
        eliminated = v @ spread.mT
        if inner is not None:
            eliminated = eliminated + inner @ inverse
        found = []
        for which, (sizes, shared) in enumerate(self._parts):
            own = {side: v[..., span] for part, side, span in self._placed if part == which}
            own[shared] = eliminated
            found.append(torch.cat([own[side] for side in SIDES if side in sizes], -1))
        return found


def _placed(
    parts: Sequence[tuple[dict[str, int], str]],
) -> tuple[list[tuple[int, str, slice]], dict[str, int]]:
    """Where the sides of the parts come to lie in the joined block, and its own sizes."""
    placed: list[tuple[int, str, slice]] = []
    joined: dict[str, int] = {}
    start = 0
    for side in SIDES:
        for which, (sizes, shared) in enumerate(parts):
            if side != shared and side in sizes:
                placed.append((which, side, slice(start, start + sizes[side])))
                joined[side] = joined.get(side, 0) + sizes[side]
                start += sizes[side]
    return placed, joined


def _runs(
    parts: Sequence[tuple[dict[str, int], str]], placed: list[tuple[int, str, slice]]
) -> list[tuple[int, slice, slice]]:
    """The same as few runs: the part, where the run lies in it, and where in the joined block."""
    runs: list[tuple[int, slice, slice]] = []
    for which, side, target in placed:
        source = _spans(parts[which][0])[side]
        if runs:
            last, before, ahead = runs[-1]
            if (last, before.stop, ahead.stop) == (which, source.start, target.start):
                source, target = slice(before.start, source.stop), slice(ahead.start, target.stop)
                runs.pop()
        runs.append((which, source, target))
    return runs


def inverse_root(matrix: Tensor) -> Tensor:
    """Inverse of the Cholesky factor of matrices without positive elements off the diagonal.

    It has no negative element, and is computed without differences but those of the pivots.

    Raises:
        ConvergenceError: a matrix that is not positive definite to machine precision.
    """
    if matrix.device.type != "cpu" or matrix.shape[-1] < _LARGE:
        lower, failed = torch.linalg.cholesky_ex(matrix)
        if bool(failed.any()):
            raise ConvergenceError(_SINGULAR)
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        found: Tensor = torch.linalg.solve_triangular(lower, eye.expand_as(lower), upper=False)
        return found
    out = np.empty(matrix.shape, dtype=matrix.numpy().dtype)
    single = matrix.dtype == torch.float32
    factorise = scipy.linalg.lapack.spotrf if single else scipy.linalg.lapack.dpotrf
    invert = scipy.linalg.lapack.strtri if single else scipy.linalg.lapack.dtrtri
    for a, root in zip(
        matrix.numpy().reshape(-1, *matrix.shape[-2:]),
        out.reshape(-1, *out.shape[-2:]),
        strict=True,
    ):
        lower, failed = factorise(a.T, lower=1, clean=1)
        if failed:
            raise ConvergenceError(_SINGULAR)
        root[:] = invert(lower, lower=1, overwrite_c=1)[0]
    return torch.from_numpy(out)


def _add_product(
    inner: Tensor, ground: Tensor, outer: Tensor, half: Tensor, n: Tensor, *, keep: bool
) -> tuple[Tensor, Tensor] | None:
    """Add E^T D^-1 E to n.

    Args:
        inner: couplings between the shared nodes, (..., p, p), zero diagonal.
        ground: sums of their couplings to the others, (..., p).
        outer: E, (..., p, q).
        half: memory of the same shape.
        n: what is added to, (..., q, q).
        keep: whether more is wanted.

    Returns:
        D^-1 E and D^-1, where they are.
    """
    if inner.shape[-1] <= _SMALL:
        inverse = _inverse(inner, ground)
        multiply(inverse, outer, half)
        for k in range(inner.shape[-1]):
            n.addcmul_(outer[..., k, :, None], half[..., k, None, :])
        return (half, inverse) if keep else None
    root = inverse_root(torch.diag_embed(ground + inner.sum(-1)) - inner)
    multiply(root, outer, half)
    squared = half.flatten(0, -3)
    n.view(-1, *n.shape[-2:]).baddbmm_(squared.mT, squared)
    return (root.mT @ half, root.mT @ root) if keep else None


def _add_square(matrix: Tensor, outer: Tensor, n: Tensor) -> float:
    """Add E^T D^-1 E to n, in half the operations of general products; E and D are lost.

    Args:
        matrix: D, (..., p, p), without positive elements off the diagonal; its lower half.
        outer: E, (..., p, q), >= 0, one matrix after the other.
        n: what is added to, (..., q, q); its lower half.

    Returns:
        Largest deviation from 1 of D^-1 (E 1), for D 1 = E 1.

    Raises:
        ConvergenceError: a D that is not positive definite to machine precision.
    """
    single = matrix.dtype == torch.float32
    lapack, blas = scipy.linalg.lapack, scipy.linalg.blas
    factorise = lapack.spotrf if single else lapack.dpotrf
    solve = blas.strsm if single else blas.dtrsm
    square = blas.ssyrk if single else blas.dsyrk
    back = blas.strsv if single else blas.dtrsv
    worst = 0.0
    each = [t.numpy().reshape(-1, *t.shape[-2:]) for t in (matrix, outer, n)]
    for d, e, out in zip(*each, strict=True):
        # To these routines, which count along columns, each of the matrices is its transpose.
        upper, failed = factorise(d.T, lower=0, clean=0, overwrite_a=1)
        if failed:
            raise ConvergenceError(_SINGULAR)
        # E^T L^-T in its place: sums of positive numbers, since L has none off the diagonal.
        solve(1.0, upper, e.T, side=1, lower=0, overwrite_b=1)
        worst = max(worst, float(np.abs(back(upper, e.sum(axis=1), lower=0) - 1).max()))
        square(1.0, e.T, 1.0, out.T, lower=0, overwrite_c=1)
    return worst


def _inverse(inner: Tensor, ground: Tensor) -> Tensor:
    """Inverse of diag(ground + inner 1) - inner, for inner, ground >= 0 and inner's diagonal 0."""
    p = inner.shape[-1]
    if p == 1:
        return 1 / ground.unsqueeze(-1)
    inner, ground = inner.clone(), ground.clone()
    current = torch.zeros_like(inner)
    current.diagonal(dim1=-2, dim2=-1).fill_(1)
    pivots = []
    for k in range(p - 1, 0, -1):
        pivot = ground[..., k] + inner[..., k, :k].sum(-1)
        share = inner[..., :k, k] / pivot[..., None]
        inner[..., :k, :k] += share[..., :, None] * inner[..., k, None, :k]
        inner[..., :k, :k].diagonal(dim1=-2, dim2=-1).zero_()
        ground[..., :k] += share * ground[..., k, None]
        current[..., :k, :] += share[..., :, None] * current[..., k, None, :]
        pivots.append(pivot)
    current[..., 0, :] /= ground[..., 0, None]
    for k, pivot in zip(range(1, p), reversed(pivots), strict=True):
        for other in range(k):
            current[..., k, :] += inner[..., k, other, None] * current[..., other, :]
        current[..., k, :] /= pivot[..., None]
    return current
