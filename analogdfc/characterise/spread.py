"""How much draws of a quantity differ."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["spread"]


def spread(values: NDArray[np.float64]) -> tuple[float, float]:
    """Standard deviation of a normal quantity from its draws, and the standard error of that.

    Args:
        values: at least two draws.
    """
    sigma = float(np.std(values, ddof=1))
    return sigma, sigma / math.sqrt(2 * (len(values) - 1))
