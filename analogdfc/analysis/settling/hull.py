"""Margins of a loop of many channels from the convex hull of its characteristic loci.

At a frequency the eigenvalues of L on the edge of their hull are those that powers of L bring out
first. All loci lie inside, so that the hull's margins are no larger than theirs; they are the same
where the locus that has the least one is on the edge.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.krylov import Arnoldi
from analogdfc.analysis.settling.rational import Complex
from analogdfc.analysis.settling.stages import single
from analogdfc.analysis.settling.transfer import Line, LoopTransfer
from analogdfc.errors import ConvergenceError

Array = NDArray[np.float64]

_ROUGH = 16
"""Vectors from which it is seen where the margins are least."""

_FIRST = 32
_STRIDE = 16
_MOST = 176
"""Vectors after which a hull is looked at first, and again, and their bound."""

_SAME = 0.015
"""By how much a hull's margins may differ from those of one look before, relatively and in rad."""

_SWEEPS = 1e-4
"""Precision of the sweeps, which single precision has."""

_ROUNDS = 16
_NEAR = 0.08
"""Bound on the halvings of intervals, and the logarithm of their ends' ratio that is enough."""

_ARC = 0.2
"""By how many rad a locus may pass the hull of its ends on the unit circle, for a width of 1."""


def hull_margins(loops: Sequence[LoopTransfer], s: Complex) -> list[tuple[float, float]]:
    """Gain margin and phase margin of the hull of the loci; see `LoopSpectrum.margins`.

    Args:
        loops: loops of one chip, each of a batch of one.
        s: points of a line with imaginary part > 0, rising, (points,), in rad/s.

    Raises:
        ConvergenceError: a hull is not found.
    """
    every = [(k, w) for k in range(len(loops)) for w in s.imag]
    rough = iter(_rough(_space(loops, s[0].real, every)))
    hulls = [_Hull({w: next(rough) for w in s.imag}) for _ in loops]
    for _ in range(_ROUNDS):
        new = [(k, w) for k, hull in enumerate(hulls) for w in hull.wanted()]
        if not new:
            break
        for (k, w), loci in zip(new, _fine(_space(loops, s[0].real, new)), strict=True):
            hulls[k].add(w, loci)
    return [hull.margins() for hull in hulls]


class _Hull:
    """What is known of one loop's loci along the line.

    Args:
        rough: loci by frequency, as far as a few vectors tell.
    """

    def __init__(self, rough: Mapping[float, Complex]) -> None:
        self._loci, self._fine = dict(rough), set[float]()

    def add(self, w: float, loci: Complex) -> None:
        """Know the outer loci at a frequency."""
        self._loci[w] = loci
        self._fine.add(w)

    def _edges(self) -> tuple[list[float], Array]:
        """The frequencies, and the edges between each and the next."""
        line = sorted(self._loci)
        pairs = itertools.pairwise(self._loci[w] for w in line)
        return line, np.array([edge(np.concatenate(pair)) for pair in pairs])

    def wanted(self) -> set[float]:
        """Frequencies at which more must be known where the margins may be least; empty if enough.

        Between two frequencies loci go in arcs, which reach further than the hull of their ends by
        what grows with the square of the interval.
        """
        line, edges = self._edges()
        widths = np.diff(np.log(line))
        least = edges.min(axis=0)
        further = edges[:, 0] * (1 + widths**2), edges[:, 1] - _ARC * widths**2
        new: set[float] = set()
        for k in np.flatnonzero((further[0] < least[0]) | (further[1] < least[1])):
            if widths[k] > _NEAR:
                new.add(math.sqrt(line[k] * line[k + 1]))
        for k in edges.argmin(axis=0)[least < (0, math.pi)]:
            new |= {line[k], line[k + 1]}
        return new - self._fine

    def margins(self) -> tuple[float, float]:
        """Gain margin and phase margin."""
        crossing, gap = self._edges()[1].min(axis=0)
        return (1 / -float(crossing) if crossing < 0 else math.inf), float(gap)


def edge(loci: Complex) -> tuple[float, float]:
    """Where the convex hull of some loci comes nearest to -1.

    Args:
        loci: at one frequency, (m,).

    Returns:
        The least point of the negative real axis above -1 that lies in the hull, -1 if that does,
        0 if none; and the least angle between -1 and the hull on the unit circle, in radians, pi if
        none.
    """
    a, b = (loci[k] for k in np.triu_indices(len(loci)))
    way = b - a
    # Where a line meets the hull, the ends lie on lines between two of its corners.
    over = (a.imag > 0) != (b.imag > 0)
    at = a.real[over] - a.imag[over] * way.real[over] / way.imag[over]
    crossing = 0.0
    if len(at) and at.min() < 0:
        crossing = float(max(at.min(), -1.0)) if at.max() >= -1 else 0.0
    square, along = np.abs(way) ** 2, (a * way.conj()).real
    root = along**2 - square * (np.abs(a) ** 2 - 1)
    met = (root >= 0) & (square > 0)
    gap = 0.0 if crossing == -1 else math.pi
    for sign in (1, -1):
        t = (-along[met] + sign * np.sqrt(root[met])) / square[met]
        inside = (t >= 0) & (t <= 1)
        if inside.any():
            points = (a[met] + t * way[met])[inside]
            gap = min(gap, math.pi - float(np.abs(np.angle(points)).max()))
    return crossing, gap


def _rough(space: Arnoldi) -> list[Complex]:
    """The outer loci as far as a few vectors tell, by frequency."""
    for _ in range(min(_ROUGH, space.size)):
        space.extend(_SWEEPS)
    return _loci(space)


def _fine(space: Arnoldi) -> list[Complex]:
    """The outer loci, by frequency.

    Raises:
        ConvergenceError: the edge of their hull is not found.
    """
    left = np.arange(len(space.where))
    out = [np.zeros(0, dtype=complex)] * len(left)
    edges = np.full((len(left), 2), np.inf)
    while space.steps < _MOST:
        for _ in range(min(_STRIDE if space.steps else _FIRST, space.size - space.steps)):
            space.extend(_SWEEPS)
        loci = _loci(space)
        now = np.array([edge(each) for each in loci])
        moved = np.abs(now - edges[left])
        found = (moved[:, 0] <= -_SAME * now[:, 0]) & (moved[:, 1] <= _SAME)
        found |= space.steps == space.size
        edges[left] = now
        for k in np.flatnonzero(found):
            out[left[k]] = loci[k]
        space.keep(~found)
        left = left[~found]
        if not len(left):
            return out
    raise ConvergenceError(f"the loop's margins were not found within {_MOST} sweeps a frequency")


def _space(
    loops: Sequence[LoopTransfer], offset: float, places: Sequence[tuple[int, float]]
) -> Arnoldi:
    """Powers of L at frequencies, each of one of the loops, times a random vector."""
    owner, w = (np.array(each) for each in zip(*places, strict=True))
    draw = np.random.default_rng(0).standard_normal(loops[0].channels)
    start = single(np.broadcast_to(draw, (len(w), len(draw))).astype(complex))
    return Arnoldi(Line(loops, offset + 1j * w, owner), np.arange(len(w)), start)


def _loci(space: Arnoldi) -> list[Complex]:
    """What the spaces know of the loci, by frequency."""
    j = space.steps
    return [np.linalg.eigvals(h).astype(complex) for h in space.projected[:, :j, :j]]
