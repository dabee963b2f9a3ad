"""Modes, stability and margins of a loop that has too many channels for all of its loop gain.

What follows the release, and what follows random forces on all channels, are found at frequencies
along a line beside the imaginary axis (`krylov`). First at few, which others are then predicted
from; how well that goes shows whether the points are enough, and what is predicted is made exact.

A mode that grows is a pole on the right of the line, which random forces excite with probability
1. That there is none is seen by decaying terms alone being everything that these forces lead to.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from analogdfc.analysis.settling.hull import hull_margins
from analogdfc.analysis.settling.krylov import solve
from analogdfc.analysis.settling.rational import Complex, Interpolant, Modal, poles
from analogdfc.analysis.settling.spectrum import LoopSpectrum, Modes, between, scaled
from analogdfc.analysis.settling.transfer import Line, LoopTransfer
from analogdfc.errors import ConvergenceError

_TOLERANCE = 1e-7
"""Residual of what follows, relative to what it follows."""

_STRIDES = 4, 2, 1
"""From coarse to fine."""

_FORETOLD = 1e-3
"""By how much the last points may be missed by the others."""

_REFINEMENTS = 3

_POLES = 3e-7
_MIXED = 6
"""Precision of the poles, and mixtures of the channels from which they are found."""

_DECAYING = 3e-5
"""What decaying terms may leave of all that follows, if nothing grows."""

_STARTS, _SEEKS, _STEP, _SAME = 6, 12, 1e-4, 1e-6
"""Bounds on the starts and steps to modes that grow, how far apart a slope is taken, relatively,
and up to which step one is found."""

_TOO_MANY = (
    "the settling of the loop was not found: what follows the release is no sum of some tens of "
    "decaying terms"
)


class WideSpectrum(LoopSpectrum):
    """From what follows the release and random forces.

    Args:
        loop: transfer functions of a batch of one.

    Raises:
        ConvergenceError: what follows them is not found.
    """

    def __init__(self, loop: LoopTransfer) -> None:
        super().__init__(loop, rough=True)
        n = loop.channels
        self._force = np.random.default_rng(0).standard_normal(n)
        line, self.s = self.s, self.s[:0]
        # What follows the release and the forces, (points, 2, n_L).
        self._found = np.zeros((0, 2, n), dtype=complex)
        last = len(line) - 1
        for stride in _STRIDES:
            level = line[np.unique(np.append(np.arange(0, last + 1, stride), last))]
            missed = self._add(np.setdiff1d(level, self.s))
        for _ in range(_REFINEMENTS):
            if missed <= _FORETOLD:
                return
            missed = self._add(between(self.s))
        raise ConvergenceError(_TOO_MANY)

    def _add(self, new: Complex) -> float:
        """Find what follows at more points of the line; by how much the others had missed it."""
        push = self.loop.open_response(new)[0, ..., 0]
        b = np.stack([push, np.broadcast_to(self._force, push.shape)], axis=1)
        # In sizes that are about the same along the line.
        size, known = self._size(new), self._found * self._size(self.s)
        foretold = np.zeros((len(new), *b.shape[1:]), dtype=complex)
        if len(self.s):
            for k in range(2):
                through = Interpolant.through(self.s, known[:, k], tolerance=_TOLERANCE)
                foretold[:, k] = through.at(new)
        where = np.repeat(np.arange(len(new)), 2)
        flat = (-1, b.shape[-1])
        line = Line(self.loop, new)
        guess = foretold / size
        found = solve(line, where, b.reshape(flat), guess.reshape(flat), _TOLERANCE)
        found = found.reshape(b.shape)
        order = np.argsort(np.concatenate([self.s, new]).imag)
        self.s = np.concatenate([self.s, new])[order]
        self._found = np.concatenate([self._found, found])[order]
        for name in ("response", "poles", "unstable", "_growing"):
            self.__dict__.pop(name, None)
        missed = np.abs(found * size - foretold).max(axis=(0, 2))
        whole = np.abs(self._found * self._size(self.s)).max(axis=(0, 2))
        return float((missed / whole).max())

    def _size(self, s: Complex) -> Complex:
        """What makes both of a size along the line, (points, 2, 1)."""
        return np.stack([s + self.rate, np.ones_like(s)], axis=1)[..., None]

    @cached_property
    def response(self) -> dict[str, Complex]:
        """See `LoopSpectrum.response`."""
        found = self.loop.response(self.s, self._found[None, :, 0])
        return {name: v[0] for name, v in found.items()}

    @cached_property
    def poles(self) -> Complex:
        """See `LoopSpectrum.poles`."""
        draw = np.random.default_rng(1)
        both = self._found * self._size(self.s) @ draw.standard_normal((self.loop.channels, _MIXED))
        columns = [both[:, 0], both[:, 1], *self._sketches(draw)]
        return poles(self.s, scaled(columns), tolerance=_POLES)

    @cached_property
    def unstable(self) -> int:
        """See `LoopSpectrum.unstable`."""
        for _ in range(_REFINEMENTS):
            if self._left() <= _DECAYING:
                return 0
            growing = self._growing
            if len(growing):
                return int((1 + (growing.imag > 0)).sum())
            self._add(between(self.s))
        raise ConvergenceError(_TOO_MANY)

    def _left(self) -> float:
        """What decaying terms leave of what follows, relative to the largest."""
        decaying, left = self.poles[self.poles.real < 0], 0.0
        # Forces that fall off like a signal are those of a pole of their own.
        fall = np.stack([np.ones_like(self.s), 1 / (self.s + self.rate)], axis=1)
        transforms = self._found * fall[..., None]
        for k, own in enumerate((decaying, np.append(decaying, -self.rate + 0j))):
            terms = Modal.fit(self.s, transforms[:, k], own)
            fit = (1 / (self.s[:, None] - terms.poles)) @ terms.residues
            weight = np.abs(self.s)[:, None]
            error = np.abs(weight * (fit - transforms[:, k])).max()
            left = max(left, float(error / np.abs(weight * transforms[:, k]).max()))
        return left

    @cached_property
    def _growing(self) -> Complex:
        """Modes that grow, as far as they are found: those of pairs with imaginary part >= 0."""
        p = self.poles
        p = p[(p.real > 0) & (p.imag >= 0) & (np.abs(p) < self.s.imag.max())]
        found: list[complex] = []
        for start in p[np.argsort(np.abs(p))][:_STARTS]:
            zero = self._zero(complex(start))
            if zero is None or zero.real <= 0:
                continue
            if all(abs(zero - other) > _SAME * abs(zero) for other in found):
                found.append(zero)
        return np.array(sorted(found, key=lambda z: -z.real), dtype=complex)

    def _zero(self, z: complex) -> complex | None:
        """A zero of det(I + L) near a point: where random forces lead to infinitely much."""
        left = np.random.default_rng(2).standard_normal(self.loop.channels)
        for _ in range(_SEEKS):
            s = z * np.array([1.0, 1 + _STEP])
            force = np.broadcast_to(self._force, (2, len(left))).astype(complex)
            try:
                moved = solve(Line(self.loop, s), np.arange(2), force, 0 * force, _TOLERANCE)
            except ConvergenceError:
                return None
            value, beside = 1 / (moved @ left)
            step = value * _STEP * z / (beside - value)
            z -= complex(step)
            if abs(step) <= _SAME * abs(z):
                return complex(z.real, abs(z.imag) if abs(z.imag) > _SAME * abs(z) else 0.0)
        return None

    def margins(self) -> tuple[float, float]:
        """See `LoopSpectrum.margins`."""
        return hull_margins(self.loop, self.s[self.s.imag > 0][::2])

    def modes(self) -> Modes:
        """See `LoopSpectrum.modes`."""
        values = self._growing if self.unstable else np.zeros(0, dtype=complex)
        return Modes(values, np.zeros((len(values), self.loop.channels), dtype=complex))
