"""What follows the release, and random forces, in loops of many channels.

Found at points along a line beside the imaginary axis (`krylov`): first at few, from which others
are foretold. How well that goes shows whether the points are enough, and what is foretold is then
made exact. Samples of one chip go together, since what passes its crossbars is products of matrices
that are read once for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.krylov import solve
from analogdfc.analysis.settling.rational import Complex, Interpolant
from analogdfc.analysis.settling.spectrum import between, line_of
from analogdfc.analysis.settling.transfer import Line, LoopTransfer
from analogdfc.errors import ConvergenceError

Array = NDArray[np.float64]

_STRIDES = 4, 2, 1
"""From coarse to fine."""

_FORETOLD = 1e-3
"""By how much the others may miss the last points, relative to the largest of all."""

_REFINEMENTS = 8
"""Bound on how often points are put beside those that were missed."""

TOO_MANY = (
    "the settling of the loop was not found: what follows the release is no sum of some tens of "
    "decaying terms"
)


class Forced:
    """What follows the release and random forces in some loops.

    Args:
        loops: the loops of one chip, each of a batch of one.
        tolerance: residual of what follows, relative to what it follows.

    Attributes:
        loops: those.
        tolerance: that.
        rate: of the slowest part of the algorithm, in rad/s.
        s: points of the line with imaginary part >= 0, rising, (points,) for each loop, in rad/s.
        found: deviations at the cut after the release, in volts times seconds, and after the
            forces, (points, 2, n_L) for each loop.

    Raises:
        ConvergenceError: it is not found.
    """

    def __init__(self, loops: Sequence[LoopTransfer], tolerance: float) -> None:
        self.loops, self.tolerance = loops, tolerance
        n = loops[0].channels
        self.force: Array = np.random.default_rng(0).standard_normal(n)
        self.rate, line = line_of(loops[0], rough=True)
        every = range(len(loops))
        self.s: list[Complex] = [line[:0] for _ in every]
        self.found: list[Complex] = [np.zeros((0, 2, n), dtype=complex) for _ in every]
        last = len(line) - 1
        for stride in _STRIDES:
            level = line[np.unique(np.append(np.arange(0, last + 1, stride), last))]
            coarse = self._add({k: np.setdiff1d(level, self.s[k]) for k in every})
        for _ in range(_REFINEMENTS):
            coarse = {k: self._beside(k, s) for k, s in coarse.items() if len(s)}
            if not coarse:
                return
            coarse = self._add(coarse)
        raise ConvergenceError(TOO_MANY)

    def refine(self, k: int) -> None:
        """Put points between those of a loop."""
        self._add({k: between(self.s[k])})

    def evened(self, s: Complex) -> Complex:
        """What makes both of a size along the line, (points, 2, 1)."""
        return np.stack([s + self.rate, np.ones_like(s)], axis=1)[..., None]

    def _beside(self, k: int, points: Complex) -> Complex:
        """Halfway from some points of a loop's line to both of their neighbours."""
        at = np.searchsorted(self.s[k].imag, points.imag)
        places = np.unique(np.concatenate([at - 1, at]))
        return between(self.s[k], places[(places >= 0) & (places < len(self.s[k]) - 1)])

    def _add(self, new: Mapping[int, Complex]) -> dict[int, Complex]:
        """Find what follows at more points of loops; those where the others had missed it."""
        owner = np.concatenate([np.full(len(s), k) for k, s in new.items()])
        pushed = [self._pushed(k, s) for k, s in new.items()]
        guessed = [self._foretold(k, s) for k, s in new.items()]
        where = np.repeat(np.arange(len(owner)), 2)
        b, guess = (np.concatenate(each).reshape(len(where), -1) for each in (pushed, guessed))
        line = Line(self.loops, np.concatenate(list(new.values())), owner)
        found = solve(line, where, b, guess, self.tolerance).reshape(len(owner), 2, -1)
        missed = {}
        for (k, s), foretold in zip(new.items(), guessed, strict=True):
            own = found[owner == k]
            every = np.concatenate([self.s[k], s])
            order = np.argsort(every.imag)
            self.s[k] = every[order]
            self.found[k] = np.concatenate([self.found[k], own])[order]
            error = np.abs((own - foretold) * self.evened(s)).max(axis=2)
            whole = np.abs(self.found[k] * self.evened(self.s[k])).max(axis=(0, 2))
            missed[k] = s[(error > _FORETOLD * whole).any(axis=1)]
        return missed

    def _pushed(self, k: int, s: Complex) -> Complex:
        """What pushes a loop, (points, 2, n_L)."""
        push = self.loops[k].open_response(s)[0, ..., 0]
        return np.stack([push, np.broadcast_to(self.force, push.shape)], axis=1)

    def _foretold(self, k: int, s: Complex) -> Complex:
        """What follows at more points, as far as the others tell, (points, 2, n_L)."""
        if not len(self.s[k]):
            return np.zeros((len(s), *self.found[k].shape[1:]), dtype=complex)
        known, out = self.found[k] * self.evened(self.s[k]), []
        for signal in np.swapaxes(known, 0, 1):
            through = Interpolant.through(self.s[k], signal, tolerance=self.tolerance)
            out.append(through.at(s))
        return np.asarray(np.stack(out, axis=1) / self.evened(s), dtype=np.complex128)
