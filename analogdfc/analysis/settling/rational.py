"""Rational approximation of frequency responses: poles, residues and what they are in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_SKETCHES = 3


def poles(s: Complex, values: Complex, *, tolerance: float = 1e-8, most: int = 40) -> Complex:
    """Poles that real systems share, from their frequency responses.

    The adaptive Antoulas-Anderson algorithm (Nakatsukasa, Sete, Trefethen 2018) for several
    functions with one set of poles (Hochman 2017); points and their conjugates go together.

    Args:
        s: points with imaginary part >= 0, (points,).
        values: responses there, (points, functions), each scaled to a size of about 1.
        tolerance: largest error relative to the largest value at which it stops.
        most: bound on the number of support points.

    Returns:
        The finite poles, (m,); conjugates are both in it. Some may be numeric artefacts, which
        have no residue.
    """
    z, weights = _support(s, values, tolerance, most)[::2]
    return _roots(z, weights)


class Interpolant(NamedTuple):
    """Vectors or matrices that depend rationally on s, from their values at some points.

    Attributes:
        support: the points, closed under conjugation, (m,).
        values: what they are there, (m, ...).
        weights: of the barycentric formula, (m,).
    """

    support: Complex
    values: Complex
    weights: Complex

    @classmethod
    def fit(cls, s: Complex, values: Complex, *, tolerance: float) -> Interpolant | None:
        """Interpolate the matrices of a real system; None where that isn't exact enough.

        The points of support are chosen for a few sketches of the matrices.

        Args:
            s: points with imaginary part >= 0, (points,).
            values: matrices there, (points, n, n).
            tolerance: largest error of an element at any of the points, relative to the largest
                element of all.
        """
        source = np.random.default_rng(0)
        left, right = source.standard_normal((2, _SKETCHES, values.shape[-1]))
        sketch = (left @ values @ right.T).reshape(len(s), -1)
        size = float(np.abs(values).max())
        z, chosen, weights = _support(s, sketch / size, 0.01 * tolerance, 40)
        every = np.concatenate([values, values[s.imag > 0].conj()])
        found = cls(z, every[chosen], weights)
        left_out = np.delete(np.arange(len(s)), [k for k in chosen if k < len(s)])
        error = max(
            (float(np.abs(found.at(s[[k]])[0] - values[k]).max()) for k in left_out), default=0.0
        )
        return found if error <= tolerance * size else None

    @classmethod
    def through(cls, s: Complex, vectors: Complex, *, tolerance: float) -> Interpolant:
        """Interpolate vectors of a real system as exactly as the points allow.

        Args:
            s: points with imaginary part >= 0, (points,).
            vectors: what they are there, (points, n).
            tolerance: error of sketches, relative to the largest of all, at which it stops.
        """
        draw = np.random.default_rng(0).standard_normal((vectors.shape[-1], _SKETCHES**2))
        z, chosen, weights = _support(s, vectors @ draw, tolerance, 40)
        every = np.concatenate([vectors, vectors[s.imag > 0].conj()])
        return cls(z, every[chosen], weights)

    def at(self, s: Complex) -> Complex:
        """What they are at other points, (points, ...).

        Args:
            s: anywhere but on a point of the support, (points,).
        """
        with np.errstate(all="ignore"):  # an iteration may stray onto the support
            share = self.weights / (s[:, None] - self.support)
            share /= share.sum(axis=1, keepdims=True)
        out: Complex = share @ self.values.reshape(len(self.support), -1)
        return out.reshape(-1, *self.values.shape[1:])


def _support(
    s: Complex, values: Complex, tolerance: float, most: int
) -> tuple[Complex, list[int], Complex]:
    """Points of support, their indices among all points and then their conjugates, and weights."""
    s = np.where(s.imag == 0, s.real + 0j, s)
    upper = s.imag > 0
    z = np.concatenate([s, s[upper].conj()])
    f = np.concatenate([values, values[upper].conj()])
    mate = _mates(len(s), upper)
    size = np.abs(f).max()
    chosen: list[int] = []
    error = f - f.mean(axis=0).real
    weights = np.zeros(0, dtype=complex)
    while len(chosen) < min(most, len(s) - 1) and np.abs(error).max() > tolerance * size:
        worst = int(np.abs(error).max(axis=1).argmax())
        chosen += [worst] if mate[worst] == worst else [worst, int(mate[worst])]
        rest = np.setdiff1d(np.arange(len(z)), chosen)
        cauchy = 1 / (z[rest, None] - z[None, chosen])
        loewner = (f[rest, None, :] - f[None, chosen, :]) * cauchy[..., None]
        # Of a tall matrix the triangular factor has the same singular vectors.
        tall = np.moveaxis(loewner, -1, 0).reshape(-1, len(chosen))
        weights = np.linalg.svd(np.linalg.qr(tall, mode="r"))[2][-1].conj()
        error = np.zeros_like(f)
        denominator = cauchy @ weights
        error[rest] = f[rest] - (cauchy @ (weights[:, None] * f[chosen])) / denominator[:, None]
    return z[chosen], chosen, weights


def _mates(count: int, upper: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Index of each point's conjugate; its own where it is real."""
    mate = np.arange(count + int(upper.sum()))
    mate[:count][upper] = count + np.arange(int(upper.sum()))
    mate[count:] = np.flatnonzero(upper)
    return mate


def _roots(support: Complex, weights: Complex) -> Complex:
    """Zeros of sum of weights / (s - support)."""
    m = len(support)
    if m < 2:
        return np.zeros(0, dtype=complex)
    scale = np.abs(support).max()
    left = np.zeros((m + 1, m + 1), dtype=complex)
    left[0, 1:], left[1:, 0] = weights, 1
    left[1:, 1:] = np.diag(support / scale)
    right = np.eye(m + 1)
    right[0, 0] = 0
    found = scipy.linalg.eig(left, right, right=False)
    finite = np.asarray(found[np.isfinite(found) & (np.abs(found) < 1e6)], dtype=np.complex128)
    real = np.abs(finite.imag) < 1e-6 * np.abs(finite)
    out: Complex = np.where(real, finite.real + 0j, finite) * scale
    return out


@dataclass(frozen=True)
class Modal:
    """Decaying signals sum of residues * exp(poles * t), real in pairs.

    Attributes:
        poles: (m,), in rad/s.
        residues: (m, n).
    """

    poles: Complex
    residues: Complex

    @classmethod
    def fit(cls, s: Complex, transforms: Complex, poles: Complex) -> Modal:
        """Residues of Laplace transforms by least squares.

        Args:
            s: points with imaginary part >= 0, (points,).
            transforms: values there, (points, n).
            poles: closed under conjugation, (m,).
        """
        z = np.concatenate([s, s.conj()])
        f = np.concatenate([transforms, transforms.conj()])
        basis = 1 / (z[:, None] - poles)
        # A transform falls like 1 / s; every octave counts alike.
        weight = np.abs(z)[:, None]
        basis, f = weight * basis, weight * f
        size = np.linalg.norm(basis, axis=0)
        found = np.linalg.lstsq(basis / size, f, rcond=1e-13)[0]
        return cls(poles, found / size[:, None])

    def at(self, t: Array) -> Array:
        """Values at times, (times, n)."""
        # The real part alone, as one product of real matrices.
        terms = np.exp(t[:, None] * self.poles)
        both = np.concatenate([terms.real, terms.imag], axis=1)
        return np.asarray(both @ np.concatenate([self.residues.real, -self.residues.imag]))

    def shown(self, s: Complex) -> Array:
        """Largest size of each term's transform times s along a line, (m,).

        Args:
            s: the line, (points,).
        """
        rise = np.abs(s[:, None] / (s[:, None] - self.poles)).max(axis=0)
        return np.asarray(rise * np.abs(self.residues).max(axis=1))

    def only(self, kept: NDArray[np.bool_]) -> Modal:
        """Some of the terms."""
        return Modal(self.poles[kept], self.residues[kept])
