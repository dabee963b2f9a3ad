"""Zeros of det(I + L(s)): the modes of a loop from its loop gain.

By successive linear problems (Ruhe 1973). Every look at the loop itself is a sweep through all its
amplifiers for each channel, so that the way to a zero is gone on a rational interpolant of what is
known along a line already. The loop itself then moves the zero by what its gain along the zero's
own vectors says, which leaves the square of the interpolant's error, and must confirm it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray

from analogdfc.analysis.settling.rational import Complex, Interpolant

Array = NDArray[np.float64]
Gain = Callable[[Complex], Complex]
Along = Callable[[Complex, Complex], Complex]

SAME = 1e-7
"""Relative distance up to which two modes are one."""

_ARRIVED = 1e-8
"""Relative step with which an iteration has come to a zero."""

_EXACT = 1e-6
"""Largest error of an interpolant, relative to the largest of what it interpolates."""

_CONFIRMED = 1e-6
"""Relative step and residual up to which the loop confirms a zero of its interpolant."""

_STEPS = 6
"""Bound on the linear problems of an iteration."""

_SMALL = 16
"""Channels up to which all zeros of a linear problem are as cheap as the nearest."""

_INVERSIONS = 4
"""Steps of the inverse iteration to the vectors of a zero."""

_POWERS = 24
_DOMINANT = 1e-9
"""Steps of the power iteration to the nearest zero, and the relative residual of one found."""


class ZeroSeeker:
    """Finds zeros of det(I + L(s)).

    Args:
        loop_gain: L at frequencies, (1, points, n_L, n_L), nan where there is none.
        along: L times a vector at each of some frequencies, (points, n_L).
        s: points of a line, with imaginary part >= 0, (points,).
        gain: L there, (points, n_L, n_L).
        rate: scale of the slow modes, in rad/s.
    """

    def __init__(
        self, loop_gain: Gain, along: Along, s: Complex, gain: Complex, rate: float
    ) -> None:
        self._loop_gain, self._along, self._rate = loop_gain, along, rate
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
        if self._line is None:
            return self._newton(starts, self._true)
        there = self._newton(starts, self._interpolated)
        if not len(there):
            return there
        value, slope = self._linear(there, self._interpolated)
        w, v = null_vectors(value)
        true = there[:, None] * (v + self._along(there, v))
        turned = np.einsum("kij,kj->ki", slope, v)
        move = -(w * true).sum(axis=1) / (w * turned).sum(axis=1)
        left = np.linalg.norm(true + move[:, None] * turned, axis=1)
        left /= np.abs(there) * np.linalg.norm(turned, axis=1)
        sure = (left < _CONFIRMED) & (np.abs(move) < _CONFIRMED * np.abs(there))
        return np.concatenate([(there + move)[sure], self._newton(there[~sure], self._true)])

    def vectors(self, zeros: Complex) -> tuple[Complex, Complex, Complex]:
        """The vectors with w^T (I + L) = 0 and (I + L) v = 0 at zeros, and w^T L' v.

        Args:
            zeros: (m,), in rad/s.

        Returns:
            w and v, (m, n_L), and the product, (m,).
        """
        known = self._true if self._line is None else self._interpolated
        w, v = null_vectors(self._linear(zeros, known)[0])
        step = 1e-5 * np.abs(zeros)
        slope = (self._along(zeros + step, v) - self._along(zeros - step, v)) / (2 * step[:, None])
        return w, v, np.asarray((w * slope).sum(axis=1), dtype=np.complex128)

    def _neighbours(self, points: Complex) -> list[Complex]:
        """Zeros of the loop linearised around each point, where they lie near it."""
        known = self._true if self._line is None else self._interpolated
        out = []
        for z, value, slope in zip(points, *self._linear(points, known), strict=True):
            zeros = np.zeros(0, dtype=complex)
            if np.isfinite(value + slope).all():
                zeros = _zeros(z, value, slope, _quotient(value, slope))
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
    """The nearest zero of each linear problem, (m,); nan where there is none.

    Args:
        points: around which they are linear, (m,).
        value: the matrices there, (m, n, n).
        slope: their slopes.
    """
    out = np.full(len(points), np.nan, dtype=complex)
    n = value.shape[-1]
    draw = np.random.default_rng(0).standard_normal((2, n))
    guess = draw[0] + 1j * draw[1]
    for k in np.flatnonzero(np.isfinite(value + slope).all(axis=(1, 2))):
        inverse = _quotient(value[k], slope[k])
        found = None if inverse is None or n <= _SMALL else _dominant(inverse, guess)
        if found is not None:
            out[k] = points[k] - 1 / found
            continue
        zeros = _zeros(points[k], value[k], slope[k], inverse)
        if len(zeros):
            out[k] = zeros[np.abs(zeros - points[k]).argmin()]
    return out


def _quotient(value: Complex, slope: Complex) -> Complex | None:
    """The inverse of the matrix times its slope; None where there is no inverse."""
    try:
        return np.asarray(np.linalg.solve(value, slope), dtype=np.complex128)
    except np.linalg.LinAlgError:
        return None


def _dominant(matrix: Complex, v: Complex) -> complex | None:
    """The eigenvalue that stands out in size; None where none does."""
    for _ in range(_POWERS):
        v = np.asarray(v / np.linalg.norm(v), dtype=np.complex128)
        image = np.asarray(matrix @ v, dtype=np.complex128)
        share = complex(np.vdot(v, image))
        if np.linalg.norm(image - share * v) <= _DOMINANT * abs(share):
            return share
        v = image
    return None


def _zeros(point: complex, value: Complex, slope: Complex, inverse: Complex | None) -> Complex:
    """All zeros of a linear problem."""
    if inverse is not None and len(inverse) > _SMALL:
        inverted = np.linalg.eigvals(inverse)
        shift = 1 / inverted[np.abs(inverted) > 1e-12 * np.abs(inverted).max()]
    else:
        # Eigenvalues of a pencil, whose second matrix may be singular.
        shift = scipy.linalg.eigvals(value, slope)
    return np.asarray(point - shift[np.isfinite(shift)], dtype=np.complex128)


def null_vectors(matrices: Complex) -> tuple[Complex, Complex]:
    """Vectors w and v with w^T A = 0 and A v = 0 of nearly singular matrices, (m, n) each.

    Args:
        matrices: A, (m, n, n).
    """
    try:
        inverse = np.linalg.inv(matrices)
    except np.linalg.LinAlgError:
        left, _, right = np.linalg.svd(matrices)
        return left[..., -1].conj(), right[:, -1].conj()
    draw = np.random.default_rng(0).standard_normal((2, matrices.shape[-1]))
    start = np.broadcast_to(draw[0] + 1j * draw[1], matrices.shape[:2])
    w, v = start, start
    for _ in range(_INVERSIONS):
        v, w = np.einsum("kij,kj->ki", inverse, v), np.einsum("kji,kj->ki", inverse, w)
        v, w = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (v, w))
    return np.asarray(w, dtype=np.complex128), np.asarray(v, dtype=np.complex128)


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
