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

from collections.abc import Sequence
from functools import reduce

import numpy as np
import scipy
import torch
from torch import Tensor

from analogdfc.errors import ConvergenceError
from analogdfc.products import multiplied
from analogdfc.wires.blocks import SIDES, Block, Layout, Workspace, spans
from analogdfc.wires.halves import SINGULAR, joined, near_diagonal

_LARGE = 16
"""Nodes from which they are eliminated with half the operations of general products."""

_SINGLY = 32
"""Size from which matrices are inverted one after the other by LAPACK."""

_SMALL = 4
"""Largest matrix that is inverted element by element, over all blocks at once."""


def multiply(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Products of matrices, written to out."""
    if a.shape[-1] <= _SMALL:
        torch.mul(a[..., :, :1], b[..., :1, :], out=out)
        for k in range(1, a.shape[-1]):
            out.addcmul_(a[..., :, k : k + 1], b[..., k : k + 1, :])
    else:
        multiplied(a, b, out)


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
        self._kept: tuple[Tensor, Tensor] | None = None
        self.block: Block | None
        if not keep and first.sizes[shared] >= _LARGE and first.n.device.type == "cpu":
            self.block = joined(parts, workspace, result)
            return
        parts = [(block.whole(), side) for block, side in parts]
        self._parts = [(block.sizes, side) for block, side in parts]
        at, self._placed, pieces, sizes = Layout.of(parts)
        blocks = [block.n for block, _ in parts]
        inner = sum(
            (n[..., s, s] for n, s in zip(blocks[1:], at[1:], strict=True)),
            blocks[0][..., at[0], at[0]],
        )
        grid, p, q = inner.shape[:-2], inner.shape[-1], sum(sizes.values())
        by_block = p > _SMALL
        outer = workspace.empty("outer", (*grid, p, q), inner, by_block=by_block)
        for which, source, target in pieces:
            outer[..., target] = blocks[which][..., at[which], source]
        # Of many small matrices, sums over the last dimension are slower than as many additions.
        ground = outer.sum(-1) if by_block else reduce(torch.add, outer.unbind(-1))
        n = workspace.empty(result, (*grid, q, q), outer, by_block=by_block)
        half = workspace.empty(None if keep else "half", outer.shape, outer, by_block=by_block)
        self._write(n, pieces, blocks)
        self._kept = _add_product(inner, ground, outer, half, n, keep=keep)
        n.diagonal(dim1=-2, dim2=-1).zero_()
        self.block = Block(n, sizes)

    @staticmethod
    def _write(
        n: Tensor, pieces: Sequence[tuple[int, slice, slice]], blocks: Sequence[Tensor]
    ) -> None:
        """The couplings that the parts have by themselves."""
        n.zero_()
        for which, rows, to_rows in pieces:
            for other, columns, to_columns in pieces:
                if other == which:
                    n[..., to_rows, to_columns] = blocks[which][..., rows, columns]

    def take(self) -> Block:
        """The joined block, which is then forgotten."""
        block, self.block = self.block, None
        assert block is not None
        return block

    def up(self, currents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Currents into the terminals that are left, and into the eliminated nodes."""
        assert self._kept is not None
        spread, _ = self._kept
        own = [(spans(sizes), shared) for sizes, shared in self._parts]
        inner = torch.stack(
            [i[..., s[shared]] for i, (s, shared) in zip(currents, own, strict=True)]
        ).sum(0)
        outer = torch.cat(
            [currents[which][..., own[which][0][side]] for which, side, _ in self._placed], -1
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


def inverse_root(matrix: Tensor) -> Tensor:
    """Inverse of the Cholesky factor of matrices without positive elements off the diagonal.

    It has no negative element, and is computed without differences but those of the pivots.

    Raises:
        ConvergenceError: a matrix that is not positive definite to machine precision.
    """
    if matrix.device.type != "cpu" or matrix.shape[-1] < _SINGLY:
        lower, failed = torch.linalg.cholesky_ex(matrix)
        if bool(failed.any()):
            raise ConvergenceError(SINGULAR)
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
            raise ConvergenceError(SINGULAR)
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
    total = ground + inner.sum(-1)
    if keep or near_diagonal(inner, total, outer, half) is None:
        root = inverse_root(torch.diag_embed(total) - inner)
        multiply(root, outer, half)
    squared = half.flatten(0, -3)
    n.view(-1, *n.shape[-2:]).baddbmm_(squared.mT, squared)
    return (root.mT @ half, root.mT @ root) if keep else None


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
