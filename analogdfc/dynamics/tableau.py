"""The numbers of ESDIRK4(3)6L[2]SA: its stages, and the polynomial through those of a step.

Kennedy and Carpenter, Applied Numerical Mathematics 44 (2003) 139, table 'ARK4(3)6L[2]SA'.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["AHEAD", "ERROR", "GAMMA", "IN_TIME", "A", "B", "C", "weights_inside"]

_STAGES = (
    "0",
    "1/4 1/4",
    "8611/62500 -1743/31250 1/4",
    "5012029/34652500 -654441/2922500 174375/388108 1/4",
    "15267082809/155376265600 -71443401/120774400 730878875/902184768 2285395/8070912 1/4",
    "82889/524892 0 15625/83664 69875/102672 -2260/8211 1/4",
)
_EMBEDDED = (
    "4586570599/29645900160 0 178811875/945068544 814220225/1159782912 -3700637/11593932 "
    "61727/225920"
)


def _numbers(text: str) -> list[float]:
    return [float(Fraction(word)) for word in text.split()]


A = np.zeros((6, 6))
for _row, _text in enumerate(_STAGES):
    A[_row, : _row + 1] = _numbers(_text)
B = A[-1]
C = A.sum(axis=1)
ERROR = B - np.array(_numbers(_EMBEDDED))
GAMMA = A[1, 1]

IN_TIME = np.argsort(C)
"""The stages in the order of their times."""


_DEGREE = 4


def _stage_values(degree: int) -> NDArray[np.float64]:
    """What the stages of a step of length 1 are for z = t^k, (stages, degree + 1).

    They are not t^k at their times: their own quadrature is of second order.
    """
    powers = [np.ones(len(C)), *(k * (A @ C ** (k - 1)) for k in range(1, degree + 1))]
    return np.stack(powers, axis=1)


def _fit() -> NDArray[np.float64]:
    """Coefficients of the polynomial of which the stages are, by its powers, (degree + 1, stages).

    It goes through both ends, which are of fourth order, and fits the stages between.
    """
    values = _stage_values(_DEGREE)
    ends, inner = [0, len(C) - 1], slice(1, len(C) - 1)
    # Powers from the second on, less the straight line between the ends.
    line = np.zeros((2, len(C)))
    line[0, 0], line[1, -1], line[1, 0] = 1, 1, -1
    free = values[inner, 2:] - values[inner, 1:2]
    rest = np.eye(len(C))[inner] - values[inner, :2] @ line
    higher = np.linalg.pinv(free) @ rest
    found = np.concatenate([line, higher])
    found[1] -= higher.sum(axis=0)
    assert np.allclose(values[ends] @ found, np.eye(len(C))[ends])
    return found


_POLYNOMIAL = _fit()
"""Coefficients of the states within a step by the powers of its parts, for each stage."""


def _ahead() -> list[NDArray[np.float64]]:
    """Weights of the stages so far in a guess of the next one, from the third stage on."""
    found = []
    for i in range(2, len(C)):
        values = _stage_values(i - 1)
        found.append(np.linalg.solve(values[:i].T, values[i]))
    return found


AHEAD = _ahead()


def weights_inside(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the stages in the states at parts of the step, (times, stages).

    Args:
        at: times from 0 to 1, (times,).
    """
    weights: NDArray[np.float64] = np.vander(at, _DEGREE + 1, increasing=True) @ _POLYNOMIAL
    return weights
