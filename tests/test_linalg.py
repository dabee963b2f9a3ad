"""Dense linear algebra against NumPy's and the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from strategies import normal
from torch import Tensor

from analogdfc.dynamics.linalg import pseudo_inverse


def of_condition(n: int, m: int, condition: float) -> Tensor:
    """A matrix whose singular values go from 1 down to 1 / condition."""
    u, _, v = torch.linalg.svd(normal(0, n, m), full_matrices=False)
    sizes = torch.from_numpy(np.geomspace(1.0, 1 / condition, min(n, m)))
    made: Tensor = u @ torch.diag(sizes) @ v
    return made


@pytest.mark.parametrize("condition", [1.0, 10.0, 25.0, 40.0, 1e4])
@pytest.mark.parametrize("shape", [(4, 60), (60, 4), (7, 7), (1, 5), (5, 1)])
def test_pseudo_inverses_are_those_of_numpy(shape: tuple[int, int], condition: float) -> None:
    w = of_condition(*shape, condition)
    found, wanted = pseudo_inverse(w).numpy(), np.linalg.pinv(w.numpy())
    assert found.shape == shape[::-1]
    # A singular value that is itself uncertain by a rounding is so in the inverse of it.
    allowed = max(1e-12, 1e-15 * condition)
    assert np.abs(found - wanted).max() <= allowed * np.abs(wanted).max()


@pytest.mark.parametrize("shape", [(4, 30), (30, 4), (6, 6)])
def test_pseudo_inverses_of_matrices_that_lack_rank_are_those_of_numpy(
    shape: tuple[int, int],
) -> None:
    w = normal(0, shape[0], 2) @ normal(1, 2, shape[1])
    found = pseudo_inverse(w)
    np.testing.assert_allclose(found, np.linalg.pinv(w.numpy(), rcond=1e-12), atol=1e-12)
    torch.testing.assert_close(w @ found @ w, w, rtol=0, atol=1e-12)
    assert torch.equal(pseudo_inverse(torch.zeros_like(w)), torch.zeros_like(w.T))


def test_pseudo_inverses_in_single_precision_are_single() -> None:
    w = normal(0, 3, 40)
    found = pseudo_inverse(w.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), pseudo_inverse(w), rtol=1e-4, atol=1e-5)
