"""Margins of a loop of many channels from the convex hull of its characteristic loci.

At a frequency the eigenvalues of L on the edge of their hull are those that powers of L bring out
first. All loci lie inside, so that the hull's margins are no larger than theirs; they are the same
where the locus that has the least one is on the edge.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.krylov import Arnoldi
from analogdfc.analysis.settling.rational import Complex
from analogdfc.analysis.settling.transfer import Line, LoopTransfer
from analogdfc.errors import ConvergenceError

Array = NDArray[np.float64]

_ROUGH = 16
"""Vectors from which it is seen where the margins are least."""

_FIRST = 32
_STRIDE = 16
_MOST = 176
"""Vectors after which a hull is looked at first, and again, and their bound."""

_SAME = 0.01
"""By how much a hull's margins may differ from those of one look before, relatively and in rad."""

_SWEEPS = 1e-4
"""Precision of the sweeps."""

_ROUNDS = 16
_NEAR = 1.03
"""Bound on the halvings of the worst interval, and its ratio of frequencies that is enough."""


def hull_margins(loop: LoopTransfer, s: Complex) -> tuple[float, float]:
    """Gain margin and phase margin of the hull of the loci; see `LoopSpectrum.margins`.

    Between two frequencies the loci are taken to lie in the hull of those at both.

    Args:
        loop: transfer functions of a batch of one.
        s: points of a line with imaginary part > 0, rising, (points,), in rad/s.

    Raises:
        ConvergenceError: the hull is not found.
    """
    known = {w: (here, False) for w, here in zip(s.imag, _rough(loop, s), strict=True)}
    for _ in range(_ROUNDS):
        line = sorted(known)
        pairs = itertools.pairwise(known[w][0] for w in line)
        edges = np.array([edge(np.concatenate(pair)) for pair in pairs])
        crossing, gap = edges.min(axis=0)
        found = ((0, crossing < 0), (1, gap < math.pi))
        worst = {int(edges[:, k].argmin()) for k, there in found if there}
        new = {line[k + j] for k in worst for j in (0, 1) if not known[line[k + j]][1]}
        wide = (k for k in worst if line[k + 1] > _NEAR * line[k])
        new |= {math.sqrt(line[k] * line[k + 1]) for k in wide}
        if not new:
            break
        there = np.array(sorted(new))
        loci = _fine(loop, s[0].real + 1j * there)
        known |= {w: (here, True) for w, here in zip(there, loci, strict=True)}
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


def _rough(loop: LoopTransfer, s: Complex) -> list[Complex]:
    """The outer loci as far as a few vectors tell, by frequency."""
    space = _space(loop, s)
    for _ in range(min(_ROUGH, loop.channels)):
        space.extend(_SWEEPS)
    return _loci(space)


def _fine(loop: LoopTransfer, s: Complex) -> list[Complex]:
    """The outer loci, by frequency.

    Raises:
        ConvergenceError: the edge of their hull is not found.
    """
    space, left = _space(loop, s), np.arange(len(s))
    out = [np.zeros(0, dtype=complex)] * len(s)
    edges = np.full((len(s), 2), np.inf)
    while space.steps < _MOST:
        for _ in range(min(_STRIDE if space.steps else _FIRST, loop.channels - space.steps)):
            space.extend(_SWEEPS)
        loci = _loci(space)
        now = np.array([edge(each) for each in loci])
        moved = np.abs(now - edges[left])
        found = (moved[:, 0] <= -_SAME * now[:, 0]) & (moved[:, 1] <= _SAME)
        found |= space.steps == loop.channels
        edges[left] = now
        for k in np.flatnonzero(found):
            out[left[k]] = loci[k]
        space.keep(~found)
        left = left[~found]
        if not len(left):
            return out
    raise ConvergenceError(f"the loop's margins were not found within {_MOST} sweeps a frequency")


def _space(loop: LoopTransfer, s: Complex) -> Arnoldi:
    start = np.random.default_rng(0).standard_normal(loop.channels)
    return Arnoldi(Line(loop, s), np.arange(len(s)), np.broadcast_to(start, (len(s), len(start))))


def _loci(space: Arnoldi) -> list[Complex]:
    """What the spaces know of the loci, by frequency."""
    j = space.steps
    return [np.linalg.eigvals(h).astype(complex) for h in space.projected[:, :j, :j]]
