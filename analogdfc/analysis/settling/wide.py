"""Modes, stability and margins of a loop that has too many channels for all of its loop gain.

A mode that grows is a pole on the right of the line, which random forces excite with probability
1. That there is none is seen by decaying terms alone being everything that these forces lead to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from analogdfc.analysis.settling.forced import TOO_MANY, Forced
from analogdfc.analysis.settling.hull import hull_margins
from analogdfc.analysis.settling.krylov import Arnoldi
from analogdfc.analysis.settling.rational import Complex, Modal, poles
from analogdfc.analysis.settling.spectrum import LoopSpectrum, Modes, scaled
from analogdfc.analysis.settling.transfer import PRECISE, SINGLE, Line, LoopTransfer
from analogdfc.errors import ConvergenceError

_TOLERANCE = 1e-7
_TOLERANCE_ROUGH = 1e-5
"""Residual of what follows, relative to what it follows."""

_REFINEMENTS = 3

_MIXED, _MOST = 6, 60
"""Mixtures of the channels from which poles are found, and a bound on their number."""

_DECAYING = 100
"""What decaying terms may leave of all that follows, in its tolerance, if nothing grows."""

_STARTS, _SEEKS, _STEP = 6, 12, 1e-3
"""Bounds on the starts and steps to modes that grow, and how far apart a slope is taken."""

_SAME, _SAME_ROUGH = 1e-6, 1e-4
"""Relative step up to which a mode that grows is found, exactly and roughly."""

_STRIDE, _VECTORS = 16, 128
"""Vectors after which a locus is looked at, and their bound."""


class WideLoops:
    """Samples of one chip.

    Args:
        loops: transfer functions, each of a batch of one.
        rough: as exact as a time within 1e-4 takes.

    Attributes:
        forced: what follows a few forces on them.
        rough: that.

    Raises:
        ConvergenceError: it is not found.
    """

    def __init__(self, loops: Sequence[LoopTransfer], *, rough: bool = False) -> None:
        self.rough = rough
        self.forced = Forced(loops, _TOLERANCE_ROUGH if rough else _TOLERANCE)

    def spectra(self) -> list[WideSpectrum]:
        """What each of them does."""
        return [WideSpectrum(self, k) for k in range(len(self.forced.loops))]

    @cached_property
    def margins(self) -> list[tuple[float, float]]:
        """Gain margin and phase margin of each; see `LoopSpectrum.margins`."""
        s = self.forced.s[0]
        return hull_margins(self.forced.loops, s[s.imag > 0][::2])


class WideSpectrum(LoopSpectrum):
    """From what follows the release and random forces.

    Args:
        samples: the samples.
        k: which of them.
    """

    def __init__(self, samples: WideLoops, k: int) -> None:
        forced = samples.forced
        super().__init__(forced.loops[k], rough=True)
        self._samples, self._forced, self._k = samples, forced, k
        self.s = forced.s[k]

    @property
    def _found(self) -> Complex:
        return self._forced.found[self._k]

    def _refine(self) -> None:
        """Put points between those of the line."""
        self._forced.refine(self._k)
        self.s = self._forced.s[self._k]
        for name in ("response", "poles", "_growing"):
            self.__dict__.pop(name, None)

    @cached_property
    def response(self) -> dict[str, Complex]:
        """See `LoopSpectrum.response`."""
        found = self.loop.response(self.s, self._found[None, :, 0])
        return {name: v[0] for name, v in found.items()}

    @cached_property
    def poles(self) -> Complex:
        """See `LoopSpectrum.poles`."""
        draw = np.random.default_rng(1)
        even = self._found * self._forced.evened(self.s)
        both = even @ draw.standard_normal((self.loop.channels, _MIXED))
        columns = [both[:, 0], both[:, 1], *self._sketches(draw)]
        return poles(self.s, scaled(columns), tolerance=3 * self._forced.tolerance, most=_MOST)

    @cached_property
    def unstable(self) -> int:
        """See `LoopSpectrum.unstable`."""
        for _ in range(_REFINEMENTS):
            if self._left() <= _DECAYING * self._forced.tolerance:
                return 0
            growing = self._growing
            if len(growing):
                return int((1 + (growing.imag > 0)).sum())
            self._refine()
        raise ConvergenceError(TOO_MANY)

    def _left(self) -> float:
        """What decaying terms leave of what follows, relative to the largest."""
        left = 0.0
        for transforms, terms in self._terms(self.poles[self.poles.real < 0]):
            fit = (1 / (self.s[:, None] - terms.poles)) @ terms.residues
            weight = np.abs(self.s)[:, None]
            error = np.abs(weight * (fit - transforms)).max()
            left = max(left, float(error / np.abs(weight * transforms).max()))
        return left

    def _terms(self, own: Complex) -> Iterator[tuple[Complex, Modal]]:
        """Both transforms of what follows, (points, n_L), and terms of some poles that fit them."""
        # Forces that fall off like a signal bring a pole of their own.
        fall = np.stack([np.ones_like(self.s), 1 / (self.s + self.rate)], axis=1)
        transforms = self._found * fall[..., None]
        for k, every in enumerate((own, np.append(own, -self.rate + 0j))):
            yield transforms[:, k], Modal.fit(self.s, transforms[:, k], every)

    @cached_property
    def _growing(self) -> Complex:
        """Modes that grow, as far as they are found: those of pairs with imaginary part >= 0."""
        shown = sum(terms.shown(self.s)[: len(self.poles)] for _, terms in self._terms(self.poles))
        assert isinstance(shown, np.ndarray)
        first = np.argsort(-shown)
        noise = _DECAYING * self._forced.tolerance * shown.max()
        p = self.poles[first[shown[first] > noise]]
        p = p[(p.real > 0) & (p.imag >= 0) & (np.abs(p) < self.s.imag.max())]
        found: list[complex] = []
        for start in p[:_STARTS]:
            zero = self._zero(complex(start))
            if zero is None or zero.real <= 0:
                continue
            if all(abs(zero - other) > self._same * abs(zero) for other in found):
                found.append(zero)
        return np.array(sorted(found, key=lambda z: -z.real), dtype=complex)

    def _zero(self, z: complex) -> complex | None:
        """A zero of det(I + L) near a point, by Newton's method on the locus next to -1."""
        for _ in range(_SEEKS):
            here, beside = self._locus(z * np.array([1.0, 1 + _STEP]))
            if here == beside or np.isnan(here + beside):
                return None
            step = (1 + here) * _STEP * z / (beside - here)
            z -= complex(step)
            if abs(step) <= self._same * abs(z):
                return complex(z.real, abs(z.imag) if abs(z.imag) > self._same * abs(z) else 0.0)
        return None

    @property
    def _same(self) -> float:
        return _SAME_ROUGH if self._samples.rough else _SAME

    def _locus(self, s: Complex) -> Complex:
        """The eigenvalue of L next to -1 at some points; nan where it is not found."""
        kind, exact = (np.complex64, SINGLE) if self._samples.rough else (np.complex128, PRECISE)
        start = np.broadcast_to(self._forced.force, (len(s), self.loop.channels))
        space = Arnoldi(Line([self.loop], s), np.arange(len(s)), start.astype(kind))
        now = np.full(len(s), np.nan, dtype=complex)
        while space.steps < min(_VECTORS, space.size):
            for _ in range(min(_STRIDE, space.size - space.steps)):
                space.extend(exact)
            before, j = now, space.steps
            loci = np.linalg.eigvals(space.projected[:, :j, :j])
            now = loci[np.arange(len(s)), np.abs(1 + loci).argmin(axis=1)]
            if j == space.size or (np.abs(now - before) <= 10 * exact * np.abs(now)).all():
                return np.asarray(now, dtype=np.complex128)
        return np.full(len(s), np.nan, dtype=complex)

    def margins(self) -> tuple[float, float]:
        """See `LoopSpectrum.margins`."""
        return self._samples.margins[self._k]

    def modes(self) -> Modes:
        """See `LoopSpectrum.modes`."""
        values = self._growing if self.unstable else np.zeros(0, dtype=complex)
        return Modes(values, np.zeros((len(values), self.loop.channels), dtype=complex))
