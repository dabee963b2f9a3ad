"""Dense linear algebra of batches of matrices.

PyTorch's batched factorisations on the CPU fail with more than one thread on some builds (2.13 with
oneMKL: `DLASWP` receives a wrong parameter), so matrices on the CPU go through NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.errors import ConvergenceError

_SINGULAR = (
    "the equations have no unique operating point: their Jacobian is singular. Is there a "
    "controller without leak on feedback that doesn't reach the output?"
)

_Array = NDArray[Any]

_FULL_RANK = 1e-3
"""Least eigenvalue of W W^T, of the largest, from which its inverse loses three digits at most."""

_SHORT = 1e-3
"""Share of a step's square below which its change tells nothing of it."""


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solution x of matrix x = right.

    Args:
        matrix: (..., n, n).
        right: (..., n).

    Returns:
        (..., n), without a gradient on the CPU.

    Raises:
        ConvergenceError: a matrix is singular.
    """
    try:
        if matrix.device.type != "cpu":
            found: Tensor = torch.linalg.solve(matrix, right.unsqueeze(-1)).squeeze(-1)
            return found
        columns = right.detach().numpy()[..., None]
        return torch.from_numpy(np.linalg.solve(matrix.detach().numpy(), columns)[..., 0])
    except (np.linalg.LinAlgError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
        raise ConvergenceError(_SINGULAR) from error


def inverse(matrix: Tensor) -> Tensor:
    """Inverses of matrices, (..., n, n); without a gradient on the CPU.

    Raises:
        ConvergenceError: a matrix is singular.
    """
    try:
        if matrix.device.type != "cpu":
            found: Tensor = torch.linalg.inv(matrix)
            return found
        return torch.from_numpy(np.linalg.inv(matrix.detach().numpy()))
    except (np.linalg.LinAlgError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
        raise ConvergenceError(_SINGULAR) from error


def pseudo_inverse(matrix: Tensor) -> Tensor:
    """Moore-Penrose inverse of a matrix.

    That of `torch.linalg.pinv`, to 1e-12 of its largest element. Of a matrix that isn't square and
    far from losing rank it is W^T (W W^T)^-1, or (W^T W)^-1 W^T, in half the time.

    Args:
        matrix: (n, m).

    Returns:
        (m, n), without a gradient.
    """
    matrix = matrix.detach()
    n, m = matrix.shape
    if n != m and matrix.device.type == "cpu" and matrix.dtype == torch.float64:
        wide: _Array = (matrix if n < m else matrix.T).numpy()
        gram = wide @ wide.T
        if np.isfinite(gram).all():
            values, vectors = np.linalg.eigh(gram)
            if values[0] > _FULL_RANK * values[-1]:
                found: Tensor = torch.from_numpy((vectors / values) @ (vectors.T @ wide))
                return found.T if n < m else found
    other: Tensor = torch.linalg.pinv(matrix)
    return other


def orthonormal(matrix: Tensor) -> Tensor:
    """Orthonormal columns that span those of matrices, (..., n, m); no gradient on the CPU.

    Args:
        matrix: (..., n, m), m at most n.
    """
    if matrix.device.type != "cpu":
        found: Tensor = torch.linalg.qr(matrix).Q
        return found
    return torch.from_numpy(np.linalg.qr(matrix.detach().numpy()).Q)


def applied(inverses: Tensor, right: Tensor) -> Tensor:
    """Small matrices times vectors, without a gradient on the CPU.

    Args:
        inverses: (batch, n, n).
        right: (batch, n).

    Returns:
        (batch, n).
    """
    if inverses.device.type != "cpu":
        found: Tensor = (inverses @ right.unsqueeze(-1)).squeeze(-1)
        return found
    columns = right.detach().numpy()[..., None]
    return torch.from_numpy((inverses.detach().numpy() @ columns)[..., 0])


def corrected(inverses: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """Inverses of derivatives, corrected by one rank for what a step has changed.

    Broyden's first method, by the formula of Sherman and Morrison: each of the results takes the
    change to the step, and what is across the step as before.

    Args:
        inverses: (batch, n, n).
        step: (batch, n).
        change: of what the matrices are the derivatives of, (batch, n).

    Returns:
        (batch, n, n); as it was where the step is 0 or the change leaves no inverse.
    """
    if inverses.device.type != "cpu":
        seen = applied(inverses, change)
        size = (step * seen).sum(dim=-1)
        sound = size.abs() > _SHORT * step.square().sum(dim=-1)
        share = torch.where(sound, 1 / size, 0.0)
        across = applied(inverses.mT, step)
        return inverses + (share.unsqueeze(-1) * (step - seen)).unsqueeze(-1) * across.unsqueeze(-2)
    return torch.from_numpy(_corrected(*(t.detach().numpy() for t in (inverses, step, change))))


def _corrected(inverses: _Array, step: _Array, change: _Array) -> _Array:
    """`corrected` in NumPy, which takes a third of the time for small matrices."""
    seen = (inverses @ change[..., None])[..., 0]
    size = np.einsum("ij,ij->i", step, seen)
    sound = np.abs(size) > _SHORT * np.einsum("ij,ij->i", step, step)
    share = np.divide(1.0, size, out=np.zeros_like(size), where=sound)
    across = step[:, None] @ inverses
    return np.asarray(inverses + (share[:, None] * (step - seen))[..., None] * across)


def positive(symmetric: Tensor, margin: Tensor) -> bool:
    """Whether the least eigenvalues of all matrices are above a margin.

    Args:
        symmetric: (batch, n, n).
        margin: (batch,).
    """
    shifted = symmetric.clone()
    shifted.diagonal(dim1=-2, dim2=-1).sub_(margin.unsqueeze(-1))
    if symmetric.device.type != "cpu":
        return bool((torch.linalg.cholesky_ex(shifted).info == 0).all())
    try:
        found = np.linalg.cholesky(shifted.detach().numpy())
    except np.linalg.LinAlgError:
        return False
    return bool(np.isfinite(found).all())
