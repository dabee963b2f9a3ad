"""Iterative solution of the nodal equations, for arrays too large to factorise.

The word lines are eliminated (one ladder a row), which leaves equations for the bit-line nodes,

    S b = (L_b + G - G T_w^-1 G) b = i,    T_w = L_w + G,

with L_w and L_b the Laplacians of the lines, G the cells. They are solved by conjugate gradients.
The preconditioner is additive: the bit lines with their cells, (L_b + G)^-1, one ladder a column,
and a correction of the smooth modes that run through the whole array, which ladders of one line
alone cannot see. For equal cells the modes are products of the eigenvectors of L_w and of L_b, and
S has the eigenvalue mu + g lambda / (lambda + g); the correction makes the preconditioner exact
there, with the mean conductance for g.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.wires.exact import Factorised, turned
from analogdfc.wires.ladder import Ladder
from analogdfc.wires.lines import Lines

Array = NDArray[np.float64]

_SMOOTH = 4.0
"""A mode is smooth while its line conducts at most this many times the mean cell."""
_MOST_MODES = 256

_FEW, _LOOSE = 8, 1e-6
"""Steps within which the recursion of a residual has not drifted by as much as a tolerance."""


class Solution(NamedTuple):
    """Node voltages, with how well they satisfy the equations.

    Attributes:
        word: voltages of the word-line nodes, (..., k, rows, columns), in volts.
        bit: voltages of the bit-line nodes, (..., k, rows, columns), in volts.
        residual: unbalanced currents of the bit-line nodes (those of the word-line nodes are
            balanced), as a norm relative to the currents that the cells would push into ideal bit
            lines, (..., k).
        steps: steps of conjugate gradients.
    """

    word: Tensor
    bit: Tensor
    residual: Tensor
    steps: int


class Preconditioned:
    """Arrays whose equations are solved anew for each input, by conjugate gradients.

    Args:
        g: conductances, (..., rows, columns), in siemens, >= 0.
        lines: resistances of the lines.
        tolerance: largest residual of an input.
        max_steps: steps after which to give up.

    Raises:
        UserError: a tolerance or a number of steps that is not positive.
    """

    def __init__(
        self, g: Tensor, lines: Lines, *, tolerance: float = 1e-8, max_steps: int = 500
    ) -> None:
        if not tolerance > 0:
            raise UserError(f"tolerance: {tolerance}; it must be > 0")
        if max_steps < 1:
            raise UserError(f"max_steps: {max_steps}; it must be at least 1")
        self._tolerance, self._max_steps = tolerance, max_steps
        g = g.detach()
        self._exact = Factorised(g, lines) if lines.r_word == lines.r_bit == 0 else None
        if self._exact is not None:
            return
        self._turned = lines.r_bit == 0
        if self._turned:
            g, lines = turned(g), lines.turned()
        self._lines, self._g = lines, g
        self._word, self._bit = Ladder.words(g, lines), Ladder.bits(g, lines)
        self._cells = g.unsqueeze(-3)
        self._drive = self._word.drive().mT.contiguous().unsqueeze(-3)
        self._smooth_modes()

    def voltages(
        self, row: Tensor | None, column: Tensor | None, source: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Node voltages; arguments, results and errors are those of `solve`."""
        found = self.solve(row, column, source)
        return found.word, found.bit

    def solve(
        self, row: Tensor | None, column: Tensor | None, source: Tensor | None = None
    ) -> Solution:
        """Node voltages for voltages on the terminals and current sources over the cells.

        Args:
            row: voltages of the rows' drivers, (..., k, rows), in volts; None for ground.
            column: voltages behind the sense amplifiers, (..., k, columns); None for ground. Row,
                column or both must be given.
            source: currents from the word node to the bit node of each cell, in parallel to it,
                (..., k, rows, columns), in amperes; None for none.

        Raises:
            ConvergenceError: an input whose residual is above the tolerance after max_steps.
        """
        if self._exact is not None:
            word, bit = self._exact.voltages(row, column, source)
            return Solution(word, bit, torch.zeros_like(word[..., 0, 0]), 0)
        if self._turned:
            row, column = (None if x is None else x.flip(-1) for x in (column, row))
            source = None if source is None else -turned(source)
        found = self._solve(row, column, source)
        if not self._turned:
            return found
        return Solution(turned(found.bit), turned(found.word), found.residual, found.steps)

    def _solve(self, row: Tensor | None, column: Tensor | None, source: Tensor | None) -> Solution:
        g = self._cells
        # Bit-line nodes are counted from their column's voltage: its wires then carry no
        # difference of two large numbers.
        word = torch.zeros_like(g)
        if row is not None:
            word = self._drive * row.unsqueeze(-1)
        push = None if source is None else -source
        if column is not None:
            column = column.unsqueeze(-2)
            push = g * column if push is None else g * column + push
        if push is not None:
            word = word + self._along_words(push)
        right = g * (word if column is None else word - column)
        if source is not None:
            right = right + source
        bit, residual, steps = self._conjugate_gradients(right)
        word = word + self._along_words(g * bit)
        return Solution(word, bit if column is None else bit + column, residual, steps)

    def _along_words(self, current: Tensor) -> Tensor:
        if self._word.ideal:
            return torch.zeros_like(current)
        return self._word.solve(current.mT, extra=1).mT

    def _apply(self, b: Tensor) -> Tensor:
        """S b, in amperes."""
        lines = self._lines
        cell = self._cells * b
        out = torch.addcmul(cell, self._cells, self._along_words(cell), value=-1)
        flow = (b[..., 1:, :] - b[..., :-1, :]) / lines.r_bit
        out[..., :-1, :] -= flow
        out[..., 1:, :] += flow
        out[..., -1, :] += b[..., -1, :] / lines.bit_lead
        if lines.sensed == "both":
            out[..., 0, :] += b[..., 0, :] / lines.bit_lead
        return out

    def _precondition(self, r: Tensor) -> Tensor:
        z = self._bit.solve(r, extra=1)
        if self._correction is not None:
            smooth = self._bit_modes.mT @ r @ self._word_modes
            z += self._bit_modes @ (smooth * self._correction) @ self._word_modes.mT
        return z

    def _smooth_modes(self) -> None:
        """Sets the modes of the bit lines, of the word lines, and what they lack."""
        lines, g = self._lines, self._g
        rows, columns = g.shape[-2:]
        mean = g.mean((-2, -1))
        top = float(mean.max())
        self._correction: Tensor | None = None
        if self._word.ideal or top == 0:
            return
        mu, bit_modes = _modes(rows, lines.r_bit, lines.bit_lead, lines.sensed == "both", top)
        both = lines.driven == "both"
        lam, word_modes = _modes(columns, lines.r_word, lines.word_lead, both, top)
        # A chain has its lead at its first node or at its last: mirrored, the modes are the same.
        self._bit_modes = torch.from_numpy(bit_modes[::-1].copy()).to(g)
        self._word_modes = torch.from_numpy(word_modes).to(g)
        mu_, lam_ = torch.from_numpy(mu).to(g)[:, None], torch.from_numpy(lam).to(g)
        cell = mean[..., None, None, None].clamp_min(torch.finfo(g.dtype).tiny)
        self._correction = 1 / (mu_ + cell * (lam_ / (lam_ + cell))) - 1 / (mu_ + cell)

    def _conjugate_gradients(self, right: Tensor) -> tuple[Tensor, Tensor, int]:
        size = _norm(right)
        aim = self._tolerance * size
        x = torch.zeros_like(right)
        r, steps, best = right.clone(), 0, math.inf
        while True:
            z = self._precondition(r)
            p, energy = z, _dot(r, z)
            while steps < self._max_steps and not bool((_norm(r) <= aim).all()):
                s = self._apply(p)
                length = _ratio(energy, _dot(p, s))
                x.addcmul_(length, p)
                r.addcmul_(length, s, value=-1)
                z = self._precondition(r)
                previous, energy = energy, _dot(r, z)
                p = z.addcmul_(_ratio(energy, previous), p)
                steps += 1
            if steps <= _FEW and self._tolerance >= _LOOSE and bool((_norm(r) <= aim).all()):
                return x, _ratio(_norm(r), size)[..., 0, 0], steps
            # The recursion drifts from the residual; what counts is the residual.
            r = right - self._apply(x)
            residual = _ratio(_norm(r), size)[..., 0, 0]
            if bool((_norm(r) <= aim).all()):
                return x, residual, steps
            # A restart that gains nothing has met the rounding of the residual itself.
            stuck = not float(residual.max()) < best / 2
            best = float(residual.max())
            if steps >= self._max_steps or stuck:
                raise ConvergenceError(
                    f"wires: residual {best:.3g} after {steps} steps, above the "
                    f"tolerance {self._tolerance:g}. Raise max_steps or the tolerance, or use the "
                    "exact solver"
                )


def _modes(n: int, r: float, lead: float, both: bool, cell: float) -> tuple[Array, Array]:
    """Eigenvalues in siemens and eigenvectors (n, modes) of a line's smooth modes.

    The lead is at the first node, or at both ends.
    """
    if r == 0:  # every mode but the constant one costs infinite energy
        return np.full(1, (1 + both) / lead / n), np.full((n, 1), n**-0.5)
    diagonal = np.full(n, 2.0)
    diagonal[[0, -1]] -= 1
    diagonal[0] += r / lead
    diagonal[-1] += both * r / lead
    chain = diagonal, np.full(n - 1, -1.0)
    smooth = scipy.linalg.eigvalsh_tridiagonal(
        *chain, select="v", select_range=(-1.0, r * _SMOOTH * cell)
    )
    count = min(max(len(smooth), 8), _MOST_MODES, n)
    values, vectors = scipy.linalg.eigh_tridiagonal(*chain, select="i", select_range=(0, count - 1))
    return np.maximum(values, 0) / r, np.asarray(vectors, dtype=np.float64)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)


def _norm(a: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(a, dim=(-2, -1), keepdim=True)
    return found


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """The quotient a / b, and 0 where b is 0: for inputs that are 0 or already solved."""
    return torch.where(b == 0, torch.zeros_like(a), a / torch.where(b == 0, torch.ones_like(b), b))
