"""Products of matrices, as fast as this machine gives them.

On a CPU they are NumPy's, whose OpenBLAS has kernels for AVX-512 on any CPU that has it; those of
PyTorch (MKL) take them on Intel's only, and are half as fast on AMD's. Narrow ones take NumPy a
sixth to a half of the time besides. Where a gradient is wanted, and on other devices, they are
PyTorch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

__all__ = ["affine", "multiplied"]

_PLAIN = (torch.float64, torch.float32)


def multiplied(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Products of matrices.

    Args:
        left: (..., m, k).
        right: (..., k, n).
        out: where the products are written, (..., m, n); by default memory of their own.

    Returns:
        (..., m, n).
    """
    if _by_numpy(left, right):
        return _product(_array(left), _array(right), out)
    if out is not None and not torch.is_grad_enabled():
        return torch.matmul(left, right, out=out)
    return left @ right if out is None else out.copy_(left @ right)


def affine(r: Tensor, w: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """What a layer receives, W r + b of each sample.

    Args:
        r: (..., m).
        w: W, (n, m).
        b: (n,), or one row a sample, (..., n).
        out: where it is written, (..., n); by default memory of its own.

    Returns:
        (..., n).
    """
    if _by_numpy(r, w):
        return _product(_array(r), _array(w).T, out).add_(b)
    if out is not None:
        return torch.addmm(b, r, w.T, out=out)
    return linear(r, w, b) if b.dim() == 1 else torch.addmm(b, r, w.T)


def _by_numpy(left: Tensor, right: Tensor) -> bool:
    """Whether NumPy multiplies these."""
    return (
        left.is_cpu
        and left.dtype in _PLAIN
        and not ((left.requires_grad or right.requires_grad) and torch.is_grad_enabled())
    )


@np.errstate(over="ignore", invalid="ignore")  # as PyTorch, which leaves them to others
def _product(a: NDArray[Any], b: NDArray[Any], out: Tensor | None) -> Tensor:
    """That of NumPy."""
    if out is not None:
        np.matmul(a, b, out=out.numpy())
        return out
    # Of two matrices the same product, in half the time where they are small.
    return torch.from_numpy(a.dot(b) if a.ndim == b.ndim == 2 else np.matmul(a, b))


def _array(matrix: Tensor) -> NDArray[Any]:
    return (matrix.detach() if matrix.requires_grad else matrix).numpy()
