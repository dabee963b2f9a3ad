"""Inverses of matrices most of whose unknowns fall into pieces.

Of the ports of a layer, those of the crossbars' tiles are coupled to the others of their tile; the
elimination of the layer before couples all of some. With the latter last, a matrix is

    [ B  U ]        B block diagonal,
    [ V  C ],

which costs the inverses of the blocks of B and that of C - V B^-1 U.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.dynamics.linalg import inverse
from analogdfc.products import multiplied

__all__ = ["Inverse"]

Index = NDArray[np.intp]

_SMALL = 512
"""Unknowns up to which a matrix is inverted whole."""

_SPREAD = 4
"""A column with more than one in so many of its elements is one of the last ones, and no piece has
more than one in so many of the unknowns."""


class _Split(NamedTuple):
    """How the unknowns of a matrix fall into pieces.

    Attributes:
        pieces: unknowns of each piece, (pieces, size), 0 where one has fewer.
        there: which of them there are, (pieces, size, 1).
        last: the others, (last,).
        rows: of these, which each piece reaches, (pieces, rows), likewise.
        reached: which of them it does, (pieces, rows, 1).
    """

    pieces: Tensor
    there: Tensor
    last: Tensor
    rows: Tensor
    reached: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> Self | None:
        """That of matrices, (chips, n, n); None where they don't fall into pieces."""
        pattern = (matrix != 0).any(dim=0).cpu().numpy()
        size = len(pattern)
        spread = pattern.sum(axis=0) > size // _SPREAD
        (last,), (others,) = np.nonzero(spread), np.nonzero(~spread)
        if not len(others):
            return None
        inner = scipy.sparse.csr_array(pattern[np.ix_(others, others)])
        count, label = scipy.sparse.csgraph.connected_components(inner, directed=False)
        pieces = [others[label == k] for k in range(count)]
        if max(map(len, pieces)) > size // _SPREAD:
            return None
        rows = [np.nonzero(pattern[np.ix_(last, piece)].any(axis=1))[0] for piece in pieces]
        tensors = (*_padded(pieces), last, *_padded(rows))
        return cls(*(torch.from_numpy(t).to(matrix.device) for t in tensors))


def _padded(parts: list[Index]) -> tuple[Index, NDArray[np.bool_]]:
    """Parts as rows of equal length, and what of them is there."""
    longest = max(map(len, parts))
    at = np.zeros((len(parts), longest), dtype=np.intp)
    there = np.zeros((len(parts), longest, 1), dtype=bool)
    for k, part in enumerate(parts):
        at[k, : len(part)], there[k, : len(part)] = part, True
    return at, there


class Inverse:
    """Inverses of matrices, to be multiplied with.

    Args:
        matrix: (chips, n, n).

    Attributes:
        in_pieces: whether it was done piece by piece.

    Raises:
        ConvergenceError: a matrix, or a piece of it, is singular.
    """

    def __init__(self, matrix: Tensor) -> None:
        self._split = _Split.of(matrix) if matrix.shape[-1] > _SMALL else None
        self.in_pieces = self._split is not None
        if self._split is None:
            self._core = inverse(matrix)
            return
        pieces, there, last, rows, reached = self._split
        own = matrix[:, pieces[:, :, None], pieces[:, None, :]] * (there * there.mT)
        absent = (~there).squeeze(-1).to(own)
        self._inverses = inverse(own + torch.diag_embed(absent))
        self._down = matrix[:, last[rows][:, :, None], pieces[:, None, :]] * (reached * there.mT)
        across = matrix[:, pieces][..., last] * there
        inside = multiplied(self._inverses, across)
        self._across = inside.flatten(1, 2)
        self._core = inverse(matrix[:, last[:, None], last] - self._reached(inside))

    def _reached(self, values: Tensor) -> Tensor:
        """V times values of the pieces, (chips, pieces, size, batch): (chips, last, batch)."""
        assert self._split is not None
        found = values.new_zeros(len(values), len(self._split.last), values.shape[-1])
        return found.index_add_(
            1, self._split.rows.flatten(), multiplied(self._down, values).flatten(1, 2)
        )

    def __matmul__(self, right: Tensor) -> Tensor:
        """Solutions, (chips, n, batch), for right-hand sides of the same shape."""
        if self._split is None:
            return multiplied(self._core, right)
        pieces, there, last = self._split[:3]
        own = multiplied(self._inverses, right[:, pieces] * there)
        ends = multiplied(self._core, right[:, last] - self._reached(own))
        inside = own.flatten(1, 2) - multiplied(self._across, ends)
        out = torch.empty_like(right)
        here = there.flatten()
        out[:, pieces.flatten()[here]] = inside[:, here]
        out[:, last] = ends
        return out
