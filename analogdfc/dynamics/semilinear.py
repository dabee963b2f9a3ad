"""Stiff, possibly differential-algebraic systems M dz/dt = A z + b + N(z), batched.

The linear part is the same for all samples of a chip and holds all the stiffness, so one inverse a
step size serves every step and sample; the nonlinear channels are iterated in their own, small
space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.dynamics.linalg import inverse, solve
from analogdfc.errors import ConvergenceError


def deadzone(z: Tensor) -> Tensor:
    """Excess of z over the interval [-1, 1]."""
    return z - z.clamp(-1, 1)


def _deadzone_slope(z: Tensor) -> Tensor:
    return (z.abs() > 1).to(z.dtype)


def _tanh_slope(z: Tensor) -> Tensor:
    return 1 - torch.tanh(z) ** 2


class Channels(NamedTuple):
    """Scalar nonlinearities gain * g((sign z[source] + offset) / scale), each added to one row.

    The first `tanh` channels have g = tanh, the others g = `deadzone`. Source and row are (m,); all
    others are (chips, 1, m).
    """

    tanh: int
    source: Tensor
    row: Tensor
    gain: Tensor
    sign: Tensor
    offset: Tensor
    scale: Tensor

    def _each(
        self, y: Tensor, g: Callable[[Tensor], Tensor], h: Callable[[Tensor], Tensor]
    ) -> Tensor:
        z = (self.sign * y + self.offset) / self.scale
        return torch.cat([g(z[..., : self.tanh]), h(z[..., self.tanh :])], dim=-1)

    def value(self, y: Tensor) -> Tensor:
        """Values of the channels, (chips, batch, m), at y = z[source]."""
        return self.gain * self._each(y, torch.tanh, deadzone)

    def slope(self, y: Tensor) -> Tensor:
        """Derivatives of the values with respect to y."""
        return self.gain * self.sign / self.scale * self._each(y, _tanh_slope, _deadzone_slope)


@dataclass(frozen=True)
class Semilinear:
    """The system M dz/dt = A z + b + N(z).

    Attributes:
        mass: M, (chips, n, n); may be singular.
        linear: A, (chips, n, n).
        constant: b, (chips, batch, n).
        channels: the nonlinear channels N.
    """

    mass: Tensor
    linear: Tensor
    constant: Tensor
    channels: Channels

    def slope(self, z: Tensor) -> Tensor:
        """Right-hand side A z + b + N(z), (chips, batch, n)."""
        out = z @ self.linear.mT + self.constant
        return out.index_add(
            -1, self.channels.row, self.channels.value(z[..., self.channels.source])
        )

    def jacobian(self, z: Tensor) -> Tensor:
        """Derivative of the right-hand side, (chips, batch, n, n)."""
        c = self.channels
        out = self.linear.unsqueeze(1).expand(-1, z.shape[1], -1, -1).contiguous().clone()
        flat = out.flatten(-2)
        flat.index_add_(-1, c.row * z.shape[-1] + c.source, c.slope(z[..., c.source]))
        return flat.view(out.shape)

    def equilibrium(self, start: Tensor, tolerance: float = 1e-12, iterations: int = 100) -> Tensor:
        """Solution of A z + b + N(z) = 0 by Newton's method with step halving.

        Args:
            start: first guess, (chips, batch, n).
            tolerance: largest change of an unknown at which the iteration stops.
            iterations: bound on their number.

        Raises:
            ConvergenceError: no solution within the bound.
        """
        z, residual = start, self.slope(start)
        for _ in range(iterations):
            step = solve(self.jacobian(z), -residual)
            factor = torch.ones_like(step[..., :1])
            before = residual.norm(dim=-1, keepdim=True)
            for _ in range(30):
                trial = self.slope(z + factor * step)
                worse = ~(trial.norm(dim=-1, keepdim=True) <= before * (1 - 1e-4 * factor) + 1e-14)
                if not worse.any():
                    break
                factor = torch.where(worse, factor / 2, factor)
            z = z + factor * step
            residual = self.slope(z)
            # Not the damped step: one that was halved away is no sign of a solution.
            if step.abs().max() < tolerance:
                return z
        raise ConvergenceError(
            f"Newton's method found no operating point in {iterations} iterations; the largest "
            f"residual is {float(residual.abs().max()):.3g} V"
        )


class _Stage(NamedTuple):
    inverse: Tensor  # (chips, n, n), transposed
    response: Tensor  # (chips, m, n): unknowns per unit of channel value
    own: Tensor  # (chips, m, m): channel inputs per unit of channel value


_GAMMA = 2 - math.sqrt(2)
_D = _GAMMA / 2
_W = math.sqrt(2) / 4
_ERROR = ((1 - _W) / 3 - _W, (3 * _W + 1) / 3 - _W, _D / 3 - _D)
_LEVELS = 34  # the shortest step is spacing / 2^34
_SETTLE = 24  # the step over a release
_FIRST = 12  # the first step tried


@dataclass
class TRBDF2:
    """Trapezoidal rule and second-order backward differentiation in one L-stable step.

    One step size for the whole batch, halved and doubled by an embedded error estimate, always a
    binary fraction of the output grid (Bank et al. 1985; Hosea and Shampine 1996).

    Attributes:
        tolerance: largest error of a step in any unknown, in units of the unknowns.
        settle: longest time in which the algebraic unknowns are made consistent at the start, in
            the unit of time; 2^-24 of the output grid's spacing where that is less.
    """

    tolerance: float = 2e-6
    settle: float = math.inf

    def run(
        self,
        system: Semilinear,
        start: Tensor,
        spacing: float,
        steps: int,
        *,
        watched: Tensor | None = None,
        observe: Callable[[float, Tensor, Tensor], object] | None = None,
    ) -> Iterator[Tensor]:
        """States at spacing, 2 spacing, ..., steps * spacing.

        Args:
            system: the equations.
            start: state whose M z is carried over; the algebraic unknowns are made consistent.
            spacing: distance of the output times.
            steps: their number.
            watched: unknowns whose error counts; all of them by default. One that is the
                derivative of another may jump.
            observe: called after each step, which the output grid doesn't show, with its length
                and the states before and after.

        Yields:
            The state, (chips, batch, n). The first one yielded is that right after the start.

        Raises:
            ConvergenceError: the step size fell below spacing / 2^34, or the state is not finite.
        """
        solver = _Solver(system, start)
        z, f = solver.settle(start, min(spacing * 2.0**-_SETTLE, self.settle))
        yield z
        level, position, unit = _FIRST, 0, 1 << _LEVELS
        while position < steps * unit:
            h = spacing * 2.0**-level
            trial, slope, errors = solver.step(z, f, h)
            if watched is not None:
                errors = errors[..., watched]
            ratio = float(errors.abs().max()) / self.tolerance
            if not ratio <= 1:
                level += 1
                if level > _LEVELS:
                    raise ConvergenceError(
                        f"time step too small at t = {position / unit * spacing:.4g}: "
                        "the model's amplifiers change faster than it can follow"
                    )
                continue
            if observe is not None:
                observe(h, z, trial)
            z, f = trial, slope
            position += unit >> level
            if position % unit == 0:
                yield z
            if ratio < 0.08 and level > 0 and position % (unit >> (level - 1)) == 0:
                level -= 1


class _Solver:
    """Stages of the implicit step with cached inverses."""

    def __init__(self, system: Semilinear, start: Tensor) -> None:
        self.system = system
        c = system.channels
        self.reference = c.slope(start[..., c.source]).mean(dim=1, keepdim=True)
        rows, columns = torch.nonzero((system.mass != 0).any(dim=0), as_tuple=True)
        self._mass = rows, columns, system.mass[:, rows, columns].unsqueeze(1)
        self.jacobian = system.linear.contiguous().clone()
        n = start.shape[-1]
        self.jacobian.flatten(-2).index_add_(-1, c.row * n + c.source, self.reference.squeeze(1))
        self._stages: dict[float, _Stage] = {}

    def _stage(self, h: float) -> _Stage:
        if h not in self._stages:
            c = self.system.channels
            matrix = self.system.mass - h * self.jacobian
            # Algebraic rows shrink with h; without this the pivots would be chosen badly.
            scale = 1 / matrix.abs().amax(dim=-1, keepdim=True)
            inverted = inverse(matrix * scale) * scale.mT
            response = h * inverted[..., c.row].mT
            self._stages[h] = _Stage(
                inverted.mT.contiguous(),
                response.contiguous(),
                response[..., c.source].contiguous(),
            )
        return self._stages[h]

    def charge(self, z: Tensor) -> Tensor:
        """M z; the mass matrix is nearly empty."""
        rows, columns, values = self._mass
        return torch.zeros_like(z).index_add_(-1, rows, values * z[..., columns])

    def solve(self, base: Tensor, h: float, guess: Tensor) -> Tensor:
        """The z with M z = base + h (A z + b + N(z))."""
        c, stage = self.system.channels, self._stage(h)
        z = (base + h * self.system.constant) @ stage.inverse
        if len(c.source) == 0:
            return z
        y0, y = z[..., c.source], guess[..., c.source]
        for iteration in range(60):
            rest = c.value(y) - self.reference * y
            residual = y0 + rest @ stage.own - y
            size = residual.abs().max()
            if size < 1e-10:
                return z + rest @ stage.response
            if not torch.isfinite(size):
                break
            # Cheap substitution first; Newton's method where a channel has left its linear range.
            y = y + (residual if iteration < 5 else self._newton(y, residual, stage))
        return torch.full_like(z, torch.nan)

    def _newton(self, y: Tensor, residual: Tensor, stage: _Stage) -> Tensor:
        slope = self.system.channels.slope(y) - self.reference
        eye = torch.eye(y.shape[-1], dtype=y.dtype, device=y.device)
        matrix = eye - (slope.unsqueeze(-1) * stage.own.unsqueeze(1)).mT
        return solve(matrix, residual)

    def settle(self, start: Tensor, h: float) -> tuple[Tensor, Tensor]:
        """Consistent state and slope right after a change of the equations."""
        z = self.solve(self.charge(start), h, start)
        if not torch.isfinite(z).all():
            raise ConvergenceError("the model found no consistent state at the release")
        self._stages.clear()
        return z, self.system.slope(z)

    def step(self, z: Tensor, f: Tensor, h: float) -> tuple[Tensor, Tensor, Tensor]:
        """State and slope after h, and the estimated error of each unknown."""
        start = self.charge(z)
        base = start + h * _D * f
        middle = self.solve(base, h * _D, z)
        f_middle = (self.charge(middle) - base) / (h * _D)
        base = start + h * _W * (f + f_middle)
        end = self.solve(base, h * _D, middle + (1 / _GAMMA - 1) * (middle - z))
        f_end = (self.charge(end) - base) / (h * _D)
        rate = _ERROR[0] * f + _ERROR[1] * f_middle + _ERROR[2] * f_end
        error = (h * rate) @ self._stage(h * _D).inverse
        return end, f_end, error
