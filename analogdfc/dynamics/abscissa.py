"""The spectral abscissa of a matrix, its smooth relaxation, and descent along it to stability.

The smoothed spectral abscissa of A (Vanbiervliet et al. 2009, with identity input and output
matrices) is the s above all real parts of A's eigenvalues at which

    f(s) = integral_0^inf ||exp((A - s I) t)||_F^2 dt = 1 / epsilon.

f(s) = tr P = tr Q, where (A - sI) P + P (A - sI)^T = -I and (A - sI)^T Q + Q (A - sI) = -I, and
the derivative of s with respect to A is Q P / tr(Q P). As epsilon goes to 0, s goes to the
spectral abscissa from above.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.errors import ConvergenceError, UserError

Array = NDArray[np.float64]

_ROUNDING = 1e-13
"""Smallest epsilon beside the norm of a matrix."""

_SUFFICIENT = 1e-4
"""Part of the decrease that the gradient promises, with which a step is content (Armijo)."""

_HALVINGS = 60
"""Bound on how often a step is halved."""

_PROGRESS, _SHARPER, _SHARPEST = 0.01, 0.3, 1e-6
"""Gain in units of epsilon below which epsilon shrinks, by which factor, and how far in all."""


def eigenvalues(matrix: Tensor) -> Tensor:
    """Eigenvalues of a real or complex square matrix, (n,), complex, on the CPU."""
    # NumPy, since PyTorch's factorisations fail on some CPUs (see dynamics.linalg).
    return torch.from_numpy(np.linalg.eigvals(_finite(matrix)).astype(np.complex128))


def spectral_abscissa(matrix: Tensor) -> float:
    """Largest real part of the eigenvalues of a real square matrix, (n, n).

    Raises:
        ConvergenceError: the matrix is not finite.
    """
    return float(eigenvalues(matrix).real.max())


class SmoothedAbscissa(NamedTuple):
    """The smoothed spectral abscissa of a matrix.

    Attributes:
        value: above the spectral abscissa, in the unit of the matrix.
        gradient: its derivative with respect to the matrix, (n, n), dimensionless.
    """

    value: float
    gradient: Tensor


def smoothed_abscissa(matrix: Tensor, epsilon: float) -> SmoothedAbscissa:
    """Smoothed spectral abscissa with its gradient (Vanbiervliet et al. 2009).

    The root lies between the spectral abscissa plus epsilon / 2 and the largest eigenvalue of the
    symmetric part plus n epsilon / 2, since exp(At) is at least as large as its slowest mode and
    grows at most as the symmetric part says. One Schur factorisation serves all evaluations.

    Args:
        matrix: real, (n, n).
        epsilon: the smoothing, > 0, in the unit of the matrix; smaller is closer to the spectral
            abscissa.

    Raises:
        UserError: epsilon is not finite and above 0, or too small beside the matrix.
        ConvergenceError: the matrix is not finite.
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise UserError(f"smoothed spectral abscissa: epsilon = {epsilon}; a number > 0 is needed")
    a = _finite(matrix)
    if epsilon < _ROUNDING * (size := float(np.linalg.norm(a))):
        raise UserError(f"epsilon = {epsilon:g} is lost in the rounding of a matrix of {size:g}")
    upper, basis = scipy.linalg.schur(a, output="real")
    s = _root(a, upper, epsilon)
    shifted = upper - s * np.eye(len(a))
    product = _lyapunov(shifted, transposed=True) @ _lyapunov(shifted, transposed=False)
    gradient = basis @ (product / np.trace(product)) @ basis.T
    return SmoothedAbscissa(s, torch.from_numpy(gradient).to(matrix))


def _finite(matrix: Tensor) -> Array:
    a = matrix.detach().cpu().numpy()
    if not np.isfinite(a).all():
        raise ConvergenceError("the eigenvalues of a matrix with infinite or undefined elements")
    return a if np.iscomplexobj(a) else np.asarray(a, dtype=np.float64)


def _root(a: Array, upper: Array, epsilon: float) -> float:
    """The s at which f(s) = 1 / epsilon, from A and its Schur form."""
    n = len(a)
    eye = np.eye(n)

    def excess(s: float) -> float:
        return 1 / float(np.trace(_lyapunov(upper - s * eye, transposed=False))) - epsilon

    # Half and twice the bounds' distances, since for equal eigenvalues they coincide.
    low = float(np.linalg.eigvals(upper).real.max()) + epsilon / 4
    high = float(np.linalg.eigvalsh((a + a.T) / 2)[-1]) + n * epsilon
    return float(scipy.optimize.brentq(excess, low, high, xtol=1e-15, rtol=1e-14))


def _lyapunov(shifted: Array, *, transposed: bool) -> Array:
    """X of T X + X T^T = -I, or of T^T X + X T = -I, for a quasi-triangular T."""
    ops = ("T", "N") if transposed else ("N", "T")
    x, scale, _ = scipy.linalg.lapack.dtrsyl(
        shifted, shifted, -np.eye(len(shifted)), trana=ops[0], tranb=ops[1]
    )
    return np.asarray(x / scale, dtype=np.float64)


class _Step(NamedTuple):
    """How far a step goes, 0 for nowhere, and by how much the smoothed abscissa then falls."""

    length: float
    gain: float


@dataclass(frozen=True)
class Stabiliser:
    """Makes a matrix stable by descent along the smoothed spectral abscissa of what it enters.

    Steps against the gradient, each as long as it makes the smoothed abscissa fall (halved until
    it does, doubled after it did), with less smoothing once that no longer helps, until the
    spectral abscissa itself is low enough (Podlaski and Machens 2020, section 7.3; Hennequin et
    al. 2014).

    Attributes:
        margin: how far below 0 the spectral abscissa is to come, > 0, per unit of time.
        epsilon: the smoothing at the start, > 0, per unit of time.
        iterations: bound on the number of steps, >= 1.

    Raises:
        UserError: a value outside its range.
    """

    margin: float = 0.01
    epsilon: float = 0.01
    iterations: int = 500

    def __post_init__(self) -> None:
        values = (self.margin, self.epsilon)
        if not (all(math.isfinite(v) and v > 0 for v in values) and self.iterations >= 1):
            raise UserError(f"{self}: margin > 0, epsilon > 0 and iterations >= 1 are required")

    def stabilise(
        self, matrix: Callable[[Tensor], Tensor], feedback: Tensor, floor: float = -math.inf
    ) -> Tensor:
        """Feedback weights with which a system is stable.

        Args:
            matrix: the system's matrix, (k, k), as a differentiable function of the weights.
            feedback: the weights to start from.
            floor: spectral abscissa below which no weights can bring the system, < 0, per unit of
                time; the goal is then no lower than half of it.

        Returns:
            New weights, of the same shape; unchanged if the system is stable enough with them.

        Raises:
            UserError: the floor is not below 0.
            ConvergenceError: the goal was not reached; the message says how far it got.
        """
        if not floor < 0:
            raise UserError(
                f"no feedback weights bring the largest eigenvalue below {floor:g}: a leak is "
                "needed (alpha > 0)"
            )
        goal = max(-self.margin, floor / 2)
        q, length, epsilon = feedback.detach().clone(), 1.0, self.epsilon
        for _ in range(self.iterations):
            if spectral_abscissa(matrix(q)) <= goal:
                return q
            slope, step = self._step(matrix, q, epsilon, length)
            if step.length == 0 or step.gain < _PROGRESS * epsilon:
                # Near the minimum: a sharper relaxation has a lower one.
                epsilon *= _SHARPER
            if epsilon < _SHARPEST * self.epsilon:
                break
            q, length = q - step.length * slope, 2 * step.length or 1.0
        if (reached := spectral_abscissa(matrix(q))) <= goal:
            return q
        raise ConvergenceError(
            f"the feedback weights could not be made stable: the largest real part of the loop's "
            f"eigenvalues is {reached:+.3g}, {goal:+.3g} is wanted. Start from the transposed "
            "weights, raise the leak alpha, or allow more iterations"
        )

    def _step(
        self, matrix: Callable[[Tensor], Tensor], q: Tensor, epsilon: float, length: float
    ) -> tuple[Tensor, _Step]:
        """Gradient of the smoothed abscissa, and how far to go against it."""
        with torch.enable_grad():
            leaf = q.detach().requires_grad_()
            system = matrix(leaf)
            here, gradient = smoothed_abscissa(system, epsilon)
            (slope,) = torch.autograd.grad((gradient * system).sum(), leaf)
        promised = _SUFFICIENT * float(slope.square().sum())
        for _ in range(_HALVINGS):
            gain = here - smoothed_abscissa(matrix(q - length * slope), epsilon).value
            if gain > 0 and gain >= length * promised:
                return slope, _Step(length, gain)
            length /= 2
        return slope, _Step(0.0, 0.0)
