"""Gain margin and phase margin of loci that are known at some frequencies."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from analogdfc.analysis.settling.rational import Complex

Array = NDArray[np.float64]


class Margins(NamedTuple):
    """How far a loop is from oscillating.

    Attributes:
        gain: least factor above 1 at which it would; infinite if there is none.
        phase: least lag at which it would, in radians; pi if no locus leaves the unit circle.
        gain_at: frequency at which it would with that factor, in hertz; nan if there is none.
        phase_at: frequency at which it would with that lag, a crossover of the gain, in hertz; nan
            if there is none.
    """

    gain: float = math.inf
    phase: float = math.pi
    gain_at: float = math.nan
    phase_at: float = math.nan

    @property
    def degrees(self) -> float:
        """The phase margin in degrees."""
        return math.degrees(self.phase)

    @classmethod
    def of(cls, here: Complex, there: Complex, w: Array) -> Margins:
        """The least ones of loci, which are straight from a point to the next.

        Args:
            here: loci at all points but the last, (points - 1, k).
            there: the same loci at the points behind these.
            w: the points' frequencies, rising, (points,), in rad/s.
        """
        gain = _gains(here, there, w)
        phase = _phases(here, there, w)
        (most, gain_at), (lag, phase_at) = gain, phase
        return cls(most, lag, gain_at, phase_at)


def matched(here: Complex, there: Complex) -> Complex:
    """The loci at the next point in the order of those at this one.

    Matched by distance on a logarithmic scale.

    Args:
        here: loci, (k,), none of them 0.
        there: those of the next point in any order, (k,).
    """
    if len(here) == 1:
        return there
    gap = np.log(there[None, :]) - np.log(here[:, None])
    turn = (gap.imag + np.pi) % (2 * np.pi) - np.pi
    out: Complex = there[scipy.optimize.linear_sum_assignment(gap.real**2 + turn**2)[1]]
    return out


def eigenvalues(matrices: Complex) -> Complex:
    """The loci of loop gains, (points, k), in no order.

    Args:
        matrices: (points, k, k).
    """
    loci = np.linalg.eigvals(matrices)
    loci[loci == 0] = 1e-300  # a channel without feedback
    return loci.astype(complex)


def _gains(here: Complex, there: Complex, w: Array) -> tuple[float, float]:
    """The least gain margin, and its frequency: where loci cross the negative real axis."""
    crosses = (here.imag * there.imag < 0) & (np.minimum(here.real, there.real) < 0)
    p, q = here[crosses], there[crosses]
    share = p.imag / (p.imag - q.imag)
    at = p.real + (q.real - p.real) * share
    inside = np.flatnonzero((at < 0) & (at > -1))
    if not len(inside):
        return math.inf, math.nan
    k = int(inside[at[inside].argmin()])
    return float(-1 / at[k]), _hertz(w, int(np.nonzero(crosses)[0][k]), float(share[k]))


def _phases(here: Complex, there: Complex, w: Array) -> tuple[float, float]:
    """The least phase margin, and its frequency: where loci cross the unit circle."""
    crosses = (np.abs(here) > 1) != (np.abs(there) > 1)
    if not crosses.any():
        return math.pi, math.nan
    p, q = np.log(here[crosses]), np.log(there[crosses])
    turn = (q.imag - p.imag + np.pi) % (2 * np.pi) - np.pi
    share = p.real / (p.real - q.real)
    angle = p.imag + turn * share
    margin = np.abs(np.abs(angle) % (2 * np.pi) - np.pi)
    k = int(margin.argmin())
    return float(margin[k]), _hertz(w, int(np.nonzero(crosses)[0][k]), float(share[k]))


def _hertz(w: Array, k: int, share: float) -> float:
    """A frequency between two points, on a logarithmic scale where there is one."""
    low, high = float(w[k]), float(w[k + 1])
    at = low + share * (high - low) if low <= 0 else low * (high / low) ** share
    return at / (2 * math.pi)
