"""Whether the loop is stable around a state, and how fast its least stable mode grows.

Every path from the control signal to the output passes one lag of tau_v for each layer from which
it starts on, y = sum_k P_k h^k u with h = 1 / (1 + tau_v s), and the controller gives
D(s) u = -N(s) y in every channel. The modes that control sees are the zeros of

    det F(s),  F(s) = D(s) I + N(s) sum_k P_k h(s)^k.

For many outputs the matrix whose eigenvalues these are takes minutes. That none lies in the right
half-plane is then shown by the field of values instead: where on the whole imaginary axis an angle
theta makes the Hermitian part of exp(i theta) F(i w) positive definite, with that of
exp(i theta) D(i w) not below 0, no zero crosses the axis while the gain grows from 0 to 1.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.dynamics.loop import Loop
from analogdfc.dynamics.steady import path_gains

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_DENSE = 400
"""Equations up to which the eigenvalues themselves are cheap enough."""

_SQUARINGS = 8
"""How often a bilinear transform is squared to see its powers vanish."""

_GROWN = 1e3
"""Norm of a power beyond which rounding may hide what the powers do."""

_PER_DECADE = 400
"""Frequencies a decade at which the field of values is bounded."""

_ANGLES = np.linspace(-np.pi / 2, np.pi / 2, 65)

_LOOKS = 24
"""Bound on the eigenvalue problems that are solved where boxes alone say too little."""

_BALANCINGS = 40
"""Steps to units in which rows and columns are equally long."""

_CURVATURE = 1.1
"""By how much a bound on a slope may rise within half a step between two frequencies."""


def stable(loop: Loop, r: Sequence[Tensor], u: Tensor) -> Tensor:
    """Whether all modes of the linearised loop decay, (batch,).

    Args:
        loop: the constants of the dynamics.
        r: activations of layers 1..L around which it is linearised, (batch, n_i).
        u: control signal there, (batch, n_L).
    """
    if few_modes(loop):
        matrix, sound = _modes(loop, r, u)
        sound[sound] = _decaying(matrix[sound], loop.tau_v)
        return torch.from_numpy(sound).to(u.device)
    gains = path_gains(loop, r, u)
    out = torch.zeros(len(u), dtype=torch.bool, device=u.device)
    for k in range(len(u)):
        own = [gain[k].detach().cpu().numpy().astype(np.float64) for gain in gains]
        if all(np.isfinite(p).all() for p in own):
            one = [ri[k : k + 1] for ri in r]
            out[k] = surely_stable(loop, own) or bool(abscissa(loop, one, u[k : k + 1]) < 0)
    return out


def few_modes(loop: Loop) -> bool:
    """Whether control sees so few modes that the eigenvalues of a state cost next to nothing."""
    c = loop.controller
    return loop.sizes[-1] * (len(loop.weights) + c.integrates + c.differentiates) <= _DENSE


def abscissa(loop: Loop, r: Sequence[Tensor], u: Tensor) -> Tensor:
    """Largest real part of the linearised loop's eigenvalues, (batch,), per unit of time.

    Every path from the control signal to the output passes one lag of tau_v for each layer from
    which it starts on, so the modes of the loop are those of a chain of L such lags of n_L signals:
    a matrix of n_L (L + 1), or n_L (L + 2) with a derivative part, whatever the size of the layers.
    What control doesn't see decays with tau_v.

    Args:
        loop: the constants of the dynamics.
        r: activations of layers 1..L around which it is linearised, (batch, n_i).
        u: control signal there, (batch, n_L).
    """
    matrix, finite = _modes(loop, r, u)
    largest = np.maximum(_growth(matrix), -1 / loop.tau_v)
    largest = np.where(finite, largest, np.inf)
    return torch.from_numpy(largest).to(u)


def _modes(loop: Loop, r: Sequence[Tensor], u: Tensor) -> tuple[Array, NDArray[np.bool_]]:
    """The matrix of `abscissa`, (batch, k, k), and where it is finite, (batch,); 0 elsewhere."""
    gains = [a.detach().cpu().numpy() for a in path_gains(loop, r, u)]
    finite = np.logical_and.reduce([np.isfinite(gain).all(axis=(-2, -1)) for gain in gains])
    if not finite.all():
        gains = [np.where(finite[:, None, None], gain, 0.0) for gain in gains]
    return _companion(loop, gains), finite


def _growth(matrix: Array) -> Array:
    """Largest real part of the eigenvalues of each matrix, (batch, k, k)."""
    return np.asarray(np.linalg.eigvals(matrix).real.max(axis=-1))


def _decaying(matrix: Array, step: float) -> NDArray[np.bool_]:
    """Whether all eigenvalues of each matrix, (batch, k, k), have negative real parts.

    A mode that Euler's method damps, |1 + h lambda| < 1, is damped; with steps that are short
    enough this shows nearly all. The bilinear transform (I - h A)^-1 (I + h A) has its eigenvalues
    in the unit circle just where those of A are on the left, and costs an inverse. Both take a
    fraction of the time of eigenvalues, which are asked for where neither shows anything.

    Args:
        matrix: A.
        step: h, > 0, about the inverse of the fast eigenvalues.
    """
    eye = np.eye(matrix.shape[-1])
    shown = _vanishing(eye + step / 2 * matrix)
    if not shown.all():
        with contextlib.suppress(np.linalg.LinAlgError):
            shown[~shown] = _vanishing(2 * np.linalg.inv(eye - step * matrix[~shown]) - eye)
    if not shown.all():
        shown[~shown] = _growth(matrix[~shown]) < 0
    return shown


def _vanishing(matrix: Array) -> NDArray[np.bool_]:
    """Whether a few squarings of each matrix, (batch, k, k), show that its powers vanish."""
    shown = np.zeros(len(matrix), dtype=np.bool_)
    left, power = np.arange(len(matrix)), matrix
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(_SQUARINGS + 1):
            size = np.square(power).sum(axis=(-2, -1))
            shown[left[size < 0.25]] = True
            going = (size >= 0.25) & (size < _GROWN**2)
            if not going.any():
                break
            if not going.all():
                left, power = left[going], power[going]
            power = power @ power
    return shown


def surely_stable(loop: Loop, gains: list[Array]) -> bool:
    """Whether the field of values shows that all modes of the loop decay.

    False says nothing. Between two frequencies the field moves by no more than its slope allows,
    which the margin that is asked for covers.

    Args:
        loop: the constants of the dynamics.
        gains: finite J_i Q_i of layers L..1, (n_L, n_L) each.
    """
    gains = _balanced(gains)
    ranges = [_Range.of(gain) for gain in gains]
    # What the boxes say of the norms costs nothing, and mostly is enough.
    return _shown(loop, gains, ranges, np.array([r.norm for r in ranges])) or _shown(
        loop, gains, ranges, np.array([_norm(gain) for gain in gains])
    )


def _shown(loop: Loop, gains: list[Array], ranges: list[_Range], norms: Array) -> bool:
    """`surely_stable` with the boxes of the matrices and bounds on their norms."""
    powers = np.arange(1, len(gains) + 1)
    c, tau = loop.controller, loop.tau_v
    slowest = max(c.tau_u if c.integrates else 0.0, c.tau_d if c.differentiates else 0.0, tau)
    low = 1e-4 / (slowest * (1 + c.k_p + c.k_d / c.tau_d))
    high = 1 / tau
    while _loudest(loop, high, norms, powers) > 0.5:
        high *= 2
        if high > 1e12 * low:
            return False
    decades = math.log10(high / low)
    w = np.geomspace(low, high, math.ceil(_PER_DECADE * decades) + 1)
    half = _CURVATURE * math.log(w[1] / w[0]) / 2
    own, through, most = _controller(loop, np.asarray(1j * w, dtype=np.complex128))
    lag = (1 / (1 + 1j * tau * w))[:, None] ** powers
    slope = np.abs(own) + most * (np.abs(lag) * norms * (powers + 1)).sum(axis=1)
    field = _Field(gains, ranges, own, through[:, None] * lag, _ANGLES)
    if not field.above(half * slope):
        return False
    # Below the lowest frequency F moves from where it is at rest. The gain grows from poles that
    # may lie at 0, from which only the angle 0 leads them to the left.
    own, through, _ = _controller(loop, np.zeros(1, dtype=complex))
    rest = _Field(gains, ranges, own, through[:, None] * np.ones((1, len(powers))), np.zeros(1))
    return rest.above(np.array([_moved(loop, low, abs(through[0]), norms, powers)]))


def _balanced(gains: list[Array]) -> list[Array]:
    """The same matrices in units of the outputs in which their sum is about symmetric.

    Slopes of the neurons and the wires' drop scale rows and columns, which leaves the modes but
    turns the field of values; units in which rows and columns are equally long undo it.
    """
    square = np.asarray(sum(gains)) ** 2
    np.fill_diagonal(square, 0.0)
    unit = np.ones(len(square))
    for _ in range(_BALANCINGS):
        # Squared lengths of rows and columns in the units so far.
        rows, columns = square @ unit**2 / unit**2, unit**-2 @ square * unit**2
        known = (rows > 0) & (columns > 0)
        unit[known] *= (rows[known] / columns[known]) ** 0.125
    return [gain * unit / unit[:, None] for gain in gains]


class _Range(NamedTuple):
    """A box around the field of values of a matrix."""

    low: float
    high: float
    skew: float

    @classmethod
    def of(cls, gain: Array) -> _Range:
        """That of a real matrix."""
        even = np.linalg.eigvalsh((gain + gain.T) / 2)
        return cls(float(even[0]), float(even[-1]), _norm((gain - gain.T) / 2))

    @property
    def norm(self) -> float:
        """A bound on the matrix's norm, at most twice as large."""
        return max(-self.low, self.high) + self.skew


def _norm(matrix: Array) -> float:
    return math.sqrt(max(float(np.linalg.eigvalsh(matrix.T @ matrix)[-1]), 0.0))


class _Field:
    """Lower bounds on the Hermitian part of exp(i theta) F at frequencies and angles.

    Each P_k = H_k + K_k lies in a box. Where that says too little, the least eigenvalue of
    sum_k x_k H_k is found for a few x: it is concave in x, so that around them it is known to
    within what the box says of the difference.

    Args:
        gains: the matrices P_k.
        ranges: their boxes.
        own: D, (frequencies,).
        factors: of P_k in F, (frequencies, k).
        angles: theta.
    """

    def __init__(
        self,
        gains: list[Array],
        ranges: list[_Range],
        own: Complex,
        factors: Complex,
        angles: Array,
    ) -> None:
        self._gains, self._ranges = gains, ranges
        turn = np.exp(1j * angles)
        turned = factors[:, None, :] * turn[:, None]
        self._x = turned.real
        base = (own[:, None] * turn).real
        # Without gain, F is D.
        self._base = np.where(base >= 0, base, -np.inf)
        self._base -= np.abs(turned.imag) @ np.array([r.skew for r in ranges])
        self._least = self._base + self._box(self._x)

    def above(self, margin: Array) -> bool:
        """Whether there is an angle for every frequency at which a bound lies above a margin.

        Args:
            margin: (frequencies,).
        """
        for _ in range(_LOOKS):
            lacking = (margin[:, None] - self._least).min(axis=1)
            worst = int(lacking.argmax())
            if lacking[worst] < 0:
                return True
            self._look(self._x[worst, int(self._least[worst].argmax())])
        return False

    def _box(self, x: Array) -> Array:
        low, high = (np.array([getattr(r, name) for r in self._ranges]) for name in ("low", "high"))
        return np.asarray(np.minimum(x * low, x * high).sum(axis=-1))

    def _look(self, x: Array) -> None:
        """Find the least eigenvalue for one x, and what it says of all others."""
        whole = sum(xk * p for xk, p in zip(x, self._gains, strict=True))
        least = float(np.linalg.eigvalsh((whole + whole.T) / 2)[0])
        self._least = np.maximum(self._least, self._base + least + self._box(self._x - x))


def _controller(loop: Loop, s: Complex) -> tuple[Complex, Complex, Array]:
    """D and N at frequencies, and what bounds N and its slope over the frequency's logarithm."""
    c = loop.controller
    derivative = c.k_d * s / (1 + c.tau_d * s)
    at_once, bound = c.k_p + derivative, c.k_p + 2 * np.abs(derivative)
    if not c.integrates:
        return np.ones_like(s), at_once + 0 * s, bound
    own = c.tau_u * s + c.alpha
    leaking = own if c.leak == "integral" else c.tau_u * s
    return own, 1 + at_once * leaking, 1 + bound * (c.tau_u * np.abs(s) + c.alpha)


def _moved(loop: Loop, w: float, through: float, norms: Array, powers: NDArray[np.int64]) -> float:
    """Bound on how far F moves between rest, where N is given, and a low frequency."""
    c = loop.controller
    more, leak = c.k_d * w, 0.0
    if c.integrates:
        leak = c.tau_u * w
        more = (c.k_p + c.k_d * w) * leak + c.k_d * w * c.alpha
    return leak + float((norms * (more + (through + more) * powers * loop.tau_v * w)).sum())


def _loudest(loop: Loop, w: float, norms: Array, powers: NDArray[np.int64]) -> float:
    """Bound on the norm of the loop's gain at a frequency and beyond."""
    c = loop.controller
    at_once = c.k_p + 2 * c.k_d / c.tau_d
    gain = at_once
    if c.integrates:
        gain = (1 + at_once * (c.tau_u * w + c.alpha)) / (c.tau_u * w)
    return gain * float((norms * (1 + (loop.tau_v * w) ** 2) ** (-powers / 2)).sum())


def _companion(loop: Loop, gains: list[Array]) -> Array:
    """d/dt of (lags, u_int, r_slow) in terms of themselves, (batch, k, k)."""
    c, depth = loop.controller, len(gains)
    batch, n = gains[0].shape[:2]
    parts = depth + c.integrates + c.differentiates
    out = np.zeros((batch, parts, n, parts, n))
    eye = np.eye(n)
    output = np.zeros((batch, n, parts, n))
    for k, gain in enumerate(gains):
        output[:, :, k] = gain
        out[:, k, :, k] = -eye / loop.tau_v
        if k:
            out[:, k, :, k - 1] = eye / loop.tau_v
    control = -(c.k_p + c.k_d / c.tau_d * c.differentiates) * output
    if c.integrates:
        control[:, :, depth] += eye
    if c.differentiates:
        slow = parts - 1
        control[:, :, slow] += c.k_d / c.tau_d * eye
        out[:, slow] = output / c.tau_d
        out[:, slow, :, slow] -= eye / c.tau_d
    out[:, 0] += control / loop.tau_v
    if c.integrates:
        leaking = control
        if c.leak == "integral":
            leaking = np.zeros_like(control)
            leaking[:, :, depth] = eye
        out[:, depth] = -(output + c.alpha * leaking) / c.tau_u
    return out.reshape(batch, parts * n, parts * n)
