"""What a loop of many channels does, without its loop gain L(s) in all of them.

Every product of L(s) with a vector is a sweep through the amplifiers. By the generalised minimal
residual method (Saad, Schultz 1986), at many frequencies at a time, so that sweeps are products of
matrices. How exact a sweep has to be falls with the residual (Simoncini, Szyld 2003).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.rational import Complex
from analogdfc.analysis.settling.transfer import OVERLOADED, SINGLE, Line
from analogdfc.errors import ConvergenceError

Array = NDArray[np.float64]
Places = NDArray[np.intp]

_STEPS = 180
"""Bound on the vectors of a frequency."""

_ROOM = 16
"""Vectors for which there is room at first."""

_ROUNDS = 4
"""Bound on how often a residual that sweeps have left too large is solved for again."""

_ROUGHEST = 1e-2
_EXACT = 0.1
"""Precision of a sweep: at least, and relative to what may be left over what is left."""

_FAR = SINGLE / _EXACT
"""What corrections in single precision leave of a residual at best."""

_SURE, _EVERY = 2, 8
"""First sweeps that are looked after, and how many apart later ones are."""

_NOISE = 1e-13
"""Changes from one sweep to the next that are those of rounding."""

_ENOUGH = 0.5
"""Part of the residual allowed that the method may leave, so that rough sweeps have the other."""

_NOT_FOUND = (
    f"the response of the loop was not found within {_STEPS} sweeps a frequency: it is about to "
    "oscillate, or its channels differ too much"
)


class Arnoldi:
    """Orthonormal vectors V of spaces spanned by powers of L, with L V = V H, at many frequencies.

    Args:
        line: L at frequencies.
        where: which of them, (m,).
        start: first vectors, (m, n_L), not 0, in the precision in which all else is found.

    Attributes:
        where: those that are still gone on with, (m,).
        basis: the vectors, (m, steps + 1, n_L).
        projected: H, in the first (m, steps + 1, steps).
        steps: steps made.
    """

    def __init__(self, line: Line, where: Places, start: Complex) -> None:
        self._line, self.where, self.steps = line, where, 0
        first = start / np.linalg.norm(start, axis=-1, keepdims=True)
        self._basis = np.empty((len(where), _ROOM + 1, start.shape[-1]), dtype=start.dtype)
        self._basis[:, 0] = first
        self.projected = np.zeros((len(where), _ROOM + 1, _ROOM), dtype=complex)

    @property
    def size(self) -> int:
        """Number of channels, n_L."""
        return int(self._basis.shape[-1])

    @property
    def basis(self) -> Complex:
        """The vectors, (m, steps + 1, n_L)."""
        return self._basis[:, : self.steps + 1]

    def extend(self, tolerance: Array | float) -> None:
        """One vector more at every frequency.

        Args:
            tolerance: of the sweeps, relative, (m,), as far as some that are looked after tell.

        Raises:
            ConvergenceError: a sweep does not converge.
        """
        j = self.steps
        if j == self.projected.shape[2]:
            self.projected = _roomier(self.projected, 2 * j + 1, 2 * j)
            self._basis = _roomier(self._basis, 2 * j + 1, self.size)
        sure = j < _SURE or j % _EVERY == 0
        new = self._line.times(self._basis[:, j], self.where, tolerance, sure=sure)
        if np.isnan(new).any():
            raise ConvergenceError(OVERLOADED)
        known = self._basis[:, : j + 1]
        for _ in range(2):  # once more, since what is left is small
            share = (known.conj() @ new[..., None])[..., 0]
            new = new - (share[:, None] @ known)[:, 0]
            self.projected[:, : j + 1, j] += share
        size = np.linalg.norm(new, axis=-1).astype(float)
        self.projected[:, j + 1, j] = size
        # A space that L does not leave is left by noise, which has no part in any solution.
        self._basis[:, j + 1] = new / np.maximum(size, 1e-300)[:, None]
        self.steps += 1

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Go on with some of them only."""
        self.where = self.where[which]
        self._basis, self.projected = self._basis[which], self.projected[which]


def _roomier(x: Complex, rows: int, columns: int) -> Complex:
    """Matrices (m, ., .) with zeros behind them, (m, rows, columns)."""
    out = np.zeros((len(x), rows, columns), dtype=x.dtype)
    out[:, : x.shape[1], : x.shape[2]] = x
    return out


class _Least:
    """The least residual of (I + H) y = |b| e_1 for one more column of H after another.

    By Givens rotations (Saad, Schultz 1986).

    Args:
        size: |b|, (m,).
    """

    def __init__(self, size: Array) -> None:
        count = len(size)
        self._upper = np.zeros((count, _ROOM, _ROOM), dtype=complex)
        self._turn = np.zeros((count, _STEPS, 2), dtype=complex)
        self._right = np.zeros((count, _STEPS + 1), dtype=complex)
        self._right[:, 0] = size

    def add(self, projected: Complex, j: int) -> Array:
        """The residual with column j, (m,).

        Args:
            projected: H, (m, steps + 1, steps).
            j: the column.
        """
        if j == self._upper.shape[2]:
            self._upper = _roomier(self._upper, 2 * j, 2 * j)
        column = projected[:, : j + 2, j].copy()
        column[:, j] += 1
        for k in range(j):
            c, s = self._turn[:, k].T
            above, below = column[:, k].copy(), column[:, k + 1]
            column[:, k], column[:, k + 1] = c * above + s * below, c * below - s.conj() * above
        above, below = column[:, j], column[:, j + 1]
        size = np.hypot(np.abs(above), np.abs(below))
        phase = np.where(above == 0, 1, above / np.maximum(np.abs(above), 1e-300))
        c, s = np.abs(above) / size, phase * below.conj() / size
        self._turn[:, j, 0], self._turn[:, j, 1] = c, s
        column[:, j] = phase * size
        self._upper[:, : j + 1, j] = column[:, : j + 1]
        right = self._right[:, j].copy()
        self._right[:, j], self._right[:, j + 1] = c * right, -s.conj() * right
        return np.asarray(np.abs(self._right[:, j + 1]))

    def solution(self, which: NDArray[np.bool_], j: int) -> Complex:
        """Solutions y of some of them after column j, (k, j + 1)."""
        upper, right = self._upper[which, : j + 1, : j + 1], self._right[which, : j + 1]
        return np.asarray(np.linalg.solve(upper, right[..., None])[..., 0])

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Go on with some of them only."""
        self._upper, self._turn = self._upper[which], self._turn[which]
        self._right = self._right[which]


def solve(line: Line, where: Places, b: Complex, guess: Complex, tolerance: float) -> Complex:
    """(I + L(s))^-1 b at frequencies.

    Corrections are found in single precision. What they leave is known in double: a correction that
    is small beside the solution passes the loop in single precision, any other in double.

    Args:
        line: L at frequencies.
        where: at which of them, (m,).
        b: right-hand sides, (m, n_L).
        guess: where it starts from, (m, n_L).
        tolerance: residual relative to the right-hand side.

    Raises:
        ConvergenceError: it isn't reached.
    """
    size = np.linalg.norm(b, axis=-1)
    at, bound = np.arange(len(where)), tolerance * size
    out, moved, residual = guess.astype(complex), guess.astype(complex), b.astype(complex)
    for _ in range(_ROUNDS):
        residual = residual - _seen(line, where[at], moved, _EXACT * bound[at])
        left = np.linalg.norm(residual, axis=-1)
        far = ~(left <= bound[at])
        at, residual, left = at[far], residual[far], left[far]
        if not len(at):
            return out
        least = np.maximum(_ENOUGH * bound[at], _FAR * left)
        moved = _corrections(line, where[at], residual, least)
        out[at] += moved
    raise ConvergenceError(_NOT_FOUND)


def _seen(line: Line, where: Places, moved: Complex, within: Array) -> Complex:
    """(I + L(s)) times vectors, (m, n_L), to within an error, (m,)."""
    out, size = moved.copy(), np.linalg.norm(moved, axis=-1)
    exact = np.maximum(within / np.maximum(size, 1e-300), _NOISE)
    rough = exact >= SINGLE
    for some, kind in ((rough, np.complex64), (~rough, np.complex128)):
        some = some & (size > 0)
        if some.any():
            out[some] += line.times(moved[some].astype(kind), where[some], exact[some])
    return out


def _corrections(line: Line, where: Places, residual: Complex, bound: Array) -> Complex:
    """(I + L(s))^-1 of residuals, within a bound on what is left, (m,), if sweeps are exact."""
    out = np.zeros_like(residual)
    at, left = np.arange(len(where)), np.linalg.norm(residual, axis=-1)
    unit = (residual / left[:, None]).astype(np.complex64)
    space, least = Arnoldi(line, where, unit), _Least(left)
    for j in range(_STEPS):
        # What is left in the end is seen by products that are sure.
        space.extend(np.minimum(_EXACT * bound[at] / left, _ROUGHEST))
        left = least.add(space.projected, j)
        done = left <= bound[at]
        if done.any():
            moved = least.solution(done, j)[:, None] @ space.basis[done, :-1]
            out[at[done]] = moved[:, 0]
            space.keep(~done)
            least.keep(~done)
            at, left = at[~done], left[~done]
            if not len(at):
                return out
    raise ConvergenceError(_NOT_FOUND)
