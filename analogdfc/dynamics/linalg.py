"""Dense linear algebra of batches of matrices.

PyTorch's batched factorisations on the CPU fail with more than one thread on some builds (2.13 with
oneMKL: `DLASWP` receives a wrong parameter), so matrices on the CPU go through NumPy.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analogdfc.errors import ConvergenceError

_SINGULAR = (
    "the equations have no unique operating point: their Jacobian is singular. Is there a "
    "controller without leak on feedback that doesn't reach the output?"
)


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
