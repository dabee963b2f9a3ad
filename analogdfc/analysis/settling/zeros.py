"""Zeros of det(I + L(s)): the modes of a loop from its loop gain.

By successive linear problems (Ruhe 1973). Every look at the loop itself is a sweep through all its
amplifiers for each channel, so that the way to a zero is gone on a rational interpolant of what is
known along a line already; the loop itself then confirms the zero, to full precision.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray

from analogdfc.analysis.settling.rational import Complex, Interpolant

Array = NDArray[np.float64]
Gain = Callable[[Complex], Complex]

SAME = 1e-7
"""Relative distance up to which two modes are one."""

_ARRIVED = 1e-8
"""Relative step with which an iteration has come to a zero."""

_EXACT = 1e-6
"""Largest error of an interpolant, relative to the largest of what it interpolates."""

_STEPS = 6
"""Bound on the linear problems of an iteration."""

_SMALL = 16
"""Channels up to which all zeros of a linear problem are as cheap as the nearest."""

_POWERS = 24
_DOMINANT = 1e-9
"""Steps of the power iteration to the nearest zero, and the relative residual of one found."""


class ZeroSeeker:
    """Finds zeros of det(I + L(s)).

    Args:
        loop_gain: L at frequencies, (1, points, n_L, n_L), nan where there is none.
        s: points of a line, with imaginary part >= 0, (points,).
        gain: L there, (points, n_L, n_L).
        rate: scale of the slow modes, in rad/s.
    """

    def __init__(self, loop_gain: Gain, s: Complex, gain: Complex, rate: float) -> None:
        self._loop_gain, self._rate = loop_gain, rate
        self._eye = np.eye(gain.shape[-1])
        # s takes most of the integrators' pole away; divided by the other, all stays finite.
        bounded = (self._eye + gain) * (s / (s + rate))[:, None, None]
        self._line = Interpolant.fit(s, bounded, tolerance=_EXACT)

    def near(self, starts: Complex) -> Complex:
        """Zeros near starting points; of pairs those with imaginary part >= 0.

        Args:
            starts: (m,), in rad/s.
        """
        if not len(starts):
            return starts
        first = thinned(starts, 0.05)
        found = self.exact(thinned(np.concatenate([starts, *self._neighbours(first)])))
        if not len(found):
            return found
        # From exact zeros their close neighbours are easily seen.
        near = np.concatenate(self._neighbours(thinned(found, 0.05)))
        new = [z for z in thinned(near) if np.abs(found - z).min() > 1e-5 * abs(z)]
        if new:
            found = np.concatenate([found, self.exact(np.array(new))])
        real = np.abs(found.imag) < 1e-7 * np.abs(found)
        return np.where(real, found.real + 0j, found.real + 1j * np.abs(found.imag))

    def exact(self, starts: Complex) -> Complex:
        """Zeros of the loop itself to which iterations from these points converge.

        Args:
            starts: (m,), in rad/s.
        """
        if self._line is not None:
            starts = self._newton(starts, self._interpolated)
        return self._newton(starts, self._true)

    def _neighbours(self, points: Complex) -> list[Complex]:
        """Zeros of the loop linearised around each point, where they lie near it."""
        known = self._true if self._line is None else self._interpolated
        out = []
        for z, value, slope in zip(points, *self._linear(points, known), strict=True):
            zeros = _zeros(z, value, slope)
            out.append(zeros[np.abs(zeros - z) < 0.4 * abs(z)])
        return out

    def _newton(self, z: Complex, known: Gain) -> Complex:
        """Zeros to which iterations from these points converge."""
        there = np.zeros(0, dtype=complex)
        moved = np.full(len(z), np.inf)
        for _ in range(_STEPS):
            if not len(z):
                break
            now = nearest(z, *self._linear(z, known))
            moved = np.abs(now - z) / np.abs(now)
            # What has arrived, and what has come to where another has, costs nothing any more.
            there = np.concatenate([there, now[moved < _ARRIVED]])
            left = [k for k in np.flatnonzero(moved >= _ARRIVED) if _apart(now[k], there)]
            z, moved = now[left], moved[left]
        return np.concatenate([there, z[moved < 1e-6]])

    def _true(self, s: Complex) -> Complex:
        with np.errstate(all="ignore"):  # an iteration may stray anywhere
            out: Complex = (self._eye + self._loop_gain(s)[0]) * s[:, None, None]
        return out

    def _interpolated(self, s: Complex) -> Complex:
        assert self._line is not None
        out: Complex = self._line.at(s) * (s + self._rate)[:, None, None]
        return out

    def _linear(self, points: Complex, known: Gain) -> tuple[Complex, Complex]:
        """The matrix s (I + L) at each point, and its slope."""
        step = 1e-5 * np.abs(points)
        g = known(np.concatenate([points - step, points + step]))
        low, high = g[: len(points)], g[len(points) :]
        return (low + high) / 2, (high - low) / (2 * step[:, None, None])


def nearest(points: Complex, value: Complex, slope: Complex) -> Complex:
    """The nearest zero of each linear problem, (m,); nan where there is none."""
    out = np.full(len(points), np.nan, dtype=complex)
    n = value.shape[-1]
    finite = np.isfinite(value).all(axis=(1, 2)) & np.isfinite(slope).all(axis=(1, 2))
    guess = np.random.default_rng(0).standard_normal((2, n))
    for k in np.flatnonzero(finite):
        shift = _dominant(value[k], slope[k], guess[0] + 1j * guess[1])
        if shift is None:
            zeros = _zeros(points[k], value[k], slope[k])
            if len(zeros):
                out[k] = zeros[np.abs(zeros - points[k]).argmin()]
        else:
            out[k] = points[k] - shift
    return out


def _dominant(value: Complex, slope: Complex, v: Complex) -> complex | None:
    """The least shift with value v = shift slope v, where it stands out; None elsewhere."""
    if len(v) <= _SMALL:
        return None
    try:
        inverse = np.linalg.solve(value, slope)
    except np.linalg.LinAlgError:
        return None
    for _ in range(_POWERS):
        v = np.asarray(v / np.linalg.norm(v), dtype=np.complex128)
        image = np.asarray(inverse @ v, dtype=np.complex128)
        share = complex(np.vdot(v, image))
        if np.linalg.norm(image - share * v) <= _DOMINANT * abs(share):
            return 1 / share
        v = image
    return None


def _zeros(point: complex, value: Complex, slope: Complex) -> Complex:
    """All zeros of a linear problem."""
    if not (np.isfinite(value).all() and np.isfinite(slope).all()):
        return np.zeros(0, dtype=complex)
    # Eigenvalues of a pencil, whose second matrix may be singular.
    shift = scipy.linalg.eigvals(value, slope)
    return np.asarray(point - shift[np.isfinite(shift)], dtype=np.complex128)


def _apart(z: complex, others: Complex) -> bool:
    """Whether a point lies no nearer to others than modes are told apart."""
    return bool(np.all(np.abs(others - z) > SAME * abs(z)))


def thinned(z: Complex, distance: float = 1e-4) -> Complex:
    """Some of the points, no two of them closer than that, relatively."""
    kept: list[complex] = []
    for value in z:
        if all(abs(value - other) > distance * abs(value) for other in kept):
            kept.append(value)
    return np.array(kept, dtype=complex)
