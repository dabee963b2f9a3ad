"""How much draws of a quantity differ."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from analogdfc.characterise.sheet import Number

__all__ = ["drawn", "spread"]


def drawn(copies: int, sigma: float | None, error: float | None) -> dict[str, Number]:
    """The line of a data sheet about an offset's mismatch; none where nothing was drawn.

    Args:
        copies: that were drawn.
        sigma: standard deviation of their offsets, in volts.
        error: its standard error, in volts.
    """
    if not copies:
        return {}
    name = f"offset, mismatch (standard deviation of {copies})"
    return {"offset_sigma": Number(name, sigma, "V", "mV", error)}


def spread(values: NDArray[np.float64]) -> tuple[float, float]:
    """Standard deviation of a normal quantity from its draws, and the standard error of that.

    Args:
        values: at least two draws.
    """
    sigma = float(np.std(values, ddof=1))
    return sigma, sigma / math.sqrt(2 * (len(values) - 1))
