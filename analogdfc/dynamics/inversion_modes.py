"""Modes of the loop that inverts a single layer, from a matrix no larger than its smaller side."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.dynamics.abscissa import eigenvalues
from analogdfc.dynamics.linalg import positive

_Complex = NDArray[np.complex128]


class Pair(NamedTuple):
    """Two populations that inhibit each other, with modes from the smaller one of W Q and Q W.

    d delta/dt = -a delta + Q s, d s/dt = -b s - gain W delta: for each eigenvalue mu of W Q,
    (lambda + a) (lambda + b) = -gain mu.

    Attributes:
        w: W, (n, m).
        q: Q, (m, n).
        a: decay of delta, >= 0, per unit of time.
        b: decay of s, >= 0, per unit of time; not both are 0.
        gain: of the errors in s, > 0, per unit of time.
    """

    w: Tensor
    q: Tensor
    a: float
    b: float
    gain: float

    def abscissa(self) -> float:
        """Largest real part of an eigenvalue."""
        modes = _roots(self.a + self.b, self.a * self.b + self.gain * self._products())
        return max(float(modes.real.max()), *self._left_alone(-self.a, -self.b))

    def is_stable(self, allowed: float) -> bool:
        """Whether `abscissa` is no larger than that, mostly without eigenvalues.

        Both roots of (lambda + a) (lambda + b) = -gain mu have negative real parts where, and only
        where, (a + b)^2 (a b + gain Re mu) > (gain Im mu)^2. The real parts of all mu are above the
        least eigenvalue of the symmetric part of the product, imaginary parts within the norm of
        the other one.

        Args:
            allowed: the largest real part, >= 0, per unit of time.
        """
        if max(self._left_alone(-self.a, -self.b)) < 0:
            product = self._product()
            turned = float((product - product.T).norm()) / 2
            bound = self.gain * (turned / (self.a + self.b)) ** 2 - self.a * self.b / self.gain
            symmetric = (product + product.T).unsqueeze(0) / 2
            if positive(symmetric, symmetric.new_tensor([bound])):
                return True
        return self.abscissa() <= allowed

    def growth(self, dt: float) -> float:
        """Largest factor of a mode in a step of dt, in which s sees the delta that has moved.

        Args:
            dt: the step, > 0.
        """
        a, b = 1 - dt * self.a, 1 - dt * self.b
        products = self._products()
        modes = _roots(dt * dt * self.gain * products - a - b, np.full_like(products, a * b))
        return max(float(np.abs(modes).max()), *self._left_alone(abs(a), abs(b)))

    def _product(self) -> Tensor:
        """The smaller one of W Q and Q W."""
        n, m = self.w.shape
        return self.w @ self.q if n <= m else self.q @ self.w

    def _products(self) -> _Complex:
        """Its eigenvalues."""
        return np.asarray(eigenvalues(self._product()).numpy())

    def _left_alone(self, delta: float, s: float) -> tuple[float, ...]:
        """Modes of a delta that W doesn't see, or of an s that Q doesn't pass on.

        Where neither is: what is below all others.
        """
        n, m = self.w.shape
        return (delta,) if n < m else (s,) if n > m else (-math.inf,)


def _roots(b: _Complex | float, c: _Complex) -> _Complex:
    """Both roots of z^2 + b z + c for each of the c; NumPy's, which for few are the quicker."""
    root = np.sqrt(b * b - 4 * c)
    return np.concatenate([(-b + root) / 2, (-b - root) / 2])
