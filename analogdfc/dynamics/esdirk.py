"""An implicit Runge-Kutta method for semilinear systems: few steps, each put where it is needed.

ESDIRK4(3)6L[2]SA of Kennedy and Carpenter (Applied Numerical Mathematics 44 (2003) 139, table
'ARK4(3)6L[2]SA'): five implicit stages of one matrix, fourth order, L-stable and stiffly accurate,
stage order 2, with an embedded third order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.dynamics.factor import is_wide
from analogdfc.dynamics.implicit import Implicit
from analogdfc.dynamics.semilinear import Semilinear, rate
from analogdfc.dynamics.step_lengths import LEVELS, WHOLE, first, length_of, longer, shorter
from analogdfc.dynamics.tableau import AHEAD, ERROR, GAMMA, IN_TIME, A, C, weights_inside
from analogdfc.errors import ConvergenceError

__all__ = ["ESDIRK", "WHOLE", "Piece"]

_HALVINGS = 24
"""The shortest step of a drive's interval is that / 2^24."""
_SETTLE = 24
_MORE = 0.04
"""Error in tolerances below which a step of a drive may be twice as long: 2^5 with room."""
_ITERATION = 1e-3
"""Error at which the iteration of a stage stops, in tolerances."""
_ROUNDINGS = 16
"""And never below so many roundings of a volt."""
_OF_AN_ERROR = 1e-4
"""How well the error of a step is known of wide layers, as a part of it."""
_FACTORS = 3
"""Factors that are kept: of the step, one that was too long, and one before."""


class _Step(NamedTuple):
    stages: Tensor  # (stages, chips, n, batch)
    slope: Tensor
    error: Tensor


TOLERANCE = 2e-6
"""Usual error of a step, in units of the unknowns: of a circuit in volts."""


@dataclass
class ESDIRK:
    """Integrates with one step size for the whole batch, led by the embedded error estimate.

    A step is a binary fraction of the whole time, so that few factors are needed; where steps grow
    fast, it may be what is left of one. Between steps the states come from the polynomial through
    a step's stages.

    Attributes:
        tolerance: largest error of a step in any watched unknown, in units of the unknowns.
        settle: longest time in which the algebraic unknowns are made consistent at the start, in
            the unit of time; 2^-24 of the output grid's spacing where that is less.
        steps: how many the last run took.
        eliminated: for how many of its step sizes wide layers were eliminated, since sweeps would
            not have been quick to find their voltages.
    """

    tolerance: float = TOLERANCE
    settle: float = math.inf
    steps: int = field(default=0, init=False)
    eliminated: int = field(default=0, init=False)

    def run(
        self,
        system: Semilinear,
        start: Tensor,
        spacing: float,
        steps: int,
        *,
        watched: Tensor | None = None,
        columns: Tensor | None = None,
        observe: Callable[[float, Tensor, Tensor], object] | None = None,
    ) -> Iterator[Tensor]:
        """States at 0, spacing, 2 spacing, ..., steps * spacing.

        Args:
            system: the equations.
            start: state whose M z is carried over, (chips, batch, n); the algebraic unknowns are
                made consistent.
            spacing: distance of the output times.
            steps: their number.
            watched: unknowns whose error counts; all of them by default. One that is the
                derivative of another may jump.
            columns: the unknowns that are wanted; all by default.
            observe: called after each step and for each of its stages, which the output grid
                doesn't show, with the time since the one before and the states before and after.

        Yields:
            States of successive output times, (times, chips, batch, columns); the first is that
            right after the start.

        Raises:
            ConvergenceError: the step size fell below the whole time / 2^44, or the state is not
                finite.
        """
        for piece in self.pieces(
            system, start, spacing, steps, watched=watched, columns=columns, observe=observe
        ):
            if times := piece.among(steps):
                yield piece.at(times, steps)

    def pieces(
        self,
        system: Semilinear,
        start: Tensor,
        spacing: float,
        steps: int,
        *,
        watched: Tensor | None = None,
        columns: Tensor | None = None,
        observe: Callable[[float, Tensor, Tensor], object] | None = None,
    ) -> Iterator[Piece]:
        """The steps that are taken over a time, each with the states within it.

        Args:
            system: see `run`, as for all others.
            start: a state.
            spacing: a time that is short for what is looked for.
            steps: the whole time in units of it.
            watched: unknowns whose error counts.
            columns: the unknowns that are wanted.
            observe: called for each stage.

        Raises:
            ConvergenceError: see `run`.
        """
        solver = _Solver(system, self.tolerance)
        self.steps = self.eliminated = 0
        place = system.place
        shown = place if columns is None else place[columns]
        counted = place if watched is None else place[watched]
        z, f = solver.settle(start, min(spacing * 2.0**-_SETTLE, self.settle))
        whole = spacing * steps
        level, position = first(self.tolerance), 0
        while position < WHOLE:
            length = length_of(level, position)
            h = whole * (length / WHOLE)
            step = solver.step(z, f, h)
            ratio = float(step.error[:, counted].abs().max()) / self.tolerance
            if not ratio <= 1:
                level = shorter(length, ratio)
                if level > LEVELS:
                    raise ConvergenceError(
                        f"time step too small at t = {position / WHOLE * whole:.4g}: "
                        "the model's amplifiers change faster than it can follow"
                    )
                continue
            if observe is not None:
                _show(system, step.stages, h, observe)
            z, f = step.stages[-1], step.slope
            solver.accepted()
            self.steps += 1
            self.eliminated = solver.eliminated
            before, position = position, position + length
            yield Piece(before, position, step.stages, shown)
            level = longer(length, position, ratio)

    def driven(
        self,
        system: Semilinear,
        start: Tensor,
        drive: Sequence[Tensor],
        whole: float,
        *,
        watched: Tensor | None = None,
        columns: Tensor | None = None,
    ) -> Iterator[Piece]:
        """Steps of a system with a drive that follows straight lines between evenly spaced times.

        No step goes beyond a time at which the drive bends.

        Args:
            system: see `run`, as for all others.
            start: a state.
            drive: what is added to the right-hand side at 0, whole / n, ..., whole, each
                (chips, batch, unknowns); two or more.
            whole: the whole time.
            watched: unknowns whose error counts.
            columns: the unknowns that are wanted.

        Raises:
            ConvergenceError: see `run`.
        """
        solver, place = _Solver(system, self.tolerance), system.place
        shown = place if columns is None else place[columns]
        counted = place if watched is None else place[watched]
        count = len(drive) - 1
        self.steps = self.eliminated = level = 0
        z, f = solver.settle(start, min(whole / count * 2.0**-_SETTLE, self.settle))
        before = system.grouped(drive[0])
        f = f + before
        for interval in range(count):
            after, position, unit = system.grouped(drive[interval + 1]), 0, 1 << _HALVINGS
            while position < unit:
                part = 2.0**-level
                at = torch.from_numpy(position / unit + part * C).to(z)[:, None, None, None]
                h = whole / count * part
                step = solver.step(z, f, h, torch.lerp(before, after, at))
                ratio = float(step.error[:, counted].abs().max()) / self.tolerance
                if not ratio <= 1:
                    level += 1
                    if level > _HALVINGS:
                        reached = (interval + position / unit) / count * whole
                        raise ConvergenceError(f"time step too small at t = {reached:.4g}")
                    continue
                z, f = step.stages[-1], step.slope
                solver.accepted()
                self.steps += 1
                self.eliminated = solver.eliminated
                begin, position = position, position + (unit >> level)
                first, last = (
                    (interval * unit + p) * WHOLE // (count * unit) for p in (begin, position)
                )
                yield Piece(first, last, step.stages, shown)
                while level and ratio < _MORE and position % (unit >> (level - 1)) == 0:
                    level, ratio = level - 1, ratio * 32
            before = after


@dataclass(frozen=True)
class Piece:
    """A step that was taken, with the polynomial through its stages.

    Attributes:
        begin: where it starts, in parts of 2^-44 of the whole time.
        end: where it ends, in the same unit.
        stages: (stages, chips, n, batch), in grouped order.
        shown: places of the unknowns that are wanted.
    """

    begin: int
    end: int
    stages: Tensor
    shown: Tensor

    def among(self, count: int) -> range:
        """Which of the times k / count of the whole lie within, each in one step only.

        A step has its end and not its start; the first has both.

        Args:
            count: how many parts the whole time is divided into.

        Returns:
            The numbers k.
        """
        first = self.begin * count // WHOLE + 1 if self.begin else 0
        return range(first, self.end * count // WHOLE + 1)

    def part(self, number: int, count: int) -> float:
        """Part of the step at which the time k / count of the whole lies.

        Args:
            number: k.
            count: how many parts the whole time is divided into.
        """
        # Exact integers: it may be the step's end.
        return (number * WHOLE - self.begin * count) / ((self.end - self.begin) * count)

    def at(self, numbers: range, count: int) -> Tensor:
        """States at the times k / count of the whole, (times, chips, batch, columns).

        Args:
            numbers: the k; see `among`.
            count: how many parts the whole time is divided into.
        """
        return self.inside(self.parts(numbers, count))

    def parts(self, numbers: range, count: int) -> NDArray[np.float64]:
        """Parts of the step at which the times k / count of the whole lie, (times,).

        Args:
            numbers: the k; see `among`.
            count: how many parts the whole time is divided into.
        """
        times = np.arange(numbers.start, numbers.stop) * WHOLE - self.begin * count
        found: NDArray[np.float64] = times / ((self.end - self.begin) * count)
        return found

    def inside(self, parts: NDArray[np.float64]) -> Tensor:
        """States at parts of the step, (times, chips, batch, columns).

        Args:
            parts: times from 0 to 1, (times,).
        """
        weights = torch.from_numpy(weights_inside(parts)).to(self.stages)
        values = self.stages.index_select(2, self.shown)
        found = (weights @ values.flatten(1)).view(len(parts), *values.shape[1:])
        return found.mT


def _show(
    system: Semilinear,
    stages: Tensor,
    h: float,
    observe: Callable[[float, Tensor, Tensor], object],
) -> None:
    before = system.ungrouped(stages[0])
    for i, k in itertools.pairwise(IN_TIME):
        after = system.ungrouped(stages[k])
        observe(h * (C[k] - C[i]), before, after)
        before = after


class _Solver:
    """Stages of a step, with the factors of the step sizes that are in use."""

    def __init__(self, system: Semilinear, tolerance: float) -> None:
        self.system = system
        rounding = _ROUNDINGS * torch.finfo(system.constant.dtype).eps
        self.close = max(tolerance * _ITERATION, rounding)
        self._reference: Tensor | None = None
        self._kept: dict[float, Implicit] = {}
        self._last: tuple[float, Tensor, bool] | None = None
        self.eliminated = 0

    def _implicit(self, beta: float, y: Tensor) -> Implicit:
        """The equations M z - beta (A z + b + N(z)) = base."""
        if self._reference is None:
            self._reference = self.system.nonlinear.reference(y)
        if beta not in self._kept:
            while len(self._kept) >= _FACTORS:
                del self._kept[next(iter(self._kept))]
            matrix = self.system.mass.plus(self.system.linear, -beta)
            made = Implicit(matrix, beta, self.system.nonlinear, self._reference)
            self._kept[beta] = made
            self.eliminated += is_wide(matrix.layout) and made.factor.sweeps is None
        return self._kept[beta]

    def settle(self, start: Tensor, h: float) -> tuple[Tensor, Tensor]:
        """Consistent state and slope right after a change of the equations."""
        system = self.system
        z = system.grouped(start)
        equations = self._implicit(h, system.nonlinear.inputs(z))
        right = (system.mass @ z).add_(h * system.constant)
        found = equations.solve(right, equations.guess(z), self.close)
        if not bool(torch.isfinite(found).all()):
            raise ConvergenceError("the model found no consistent state at the release")
        self._kept.clear()
        return found, rate(system.linear, system.constant, system.nonlinear, found)

    def step(self, z: Tensor, f: Tensor, h: float, drive: Tensor | None = None) -> _Step:
        """The stages of a step, the slope at its end and the estimated error.

        Args:
            z: state at its start.
            f: slope there.
            h: length.
            drive: what is added to the constant at each stage, (stages, chips, n, batch).
        """
        system, beta = self.system, h * GAMMA
        stages, slopes = (z.new_empty(len(C), *z.shape) for _ in range(2))
        stages[0], slopes[0] = z, f
        equations = self._implicit(beta, system.nonlinear.inputs(z))
        start = equations.guess(z)
        inputs = z.new_empty(len(C), *start.shape)
        inputs[0] = start
        charge, constant = system.mass @ z, beta * system.constant
        for i in range(1, len(C)):
            base = _sum(h * A[i, :i], slopes[:i]).add_(charge)
            guess = self._guess(inputs, h, i)
            right = base + constant if drive is None else base + constant + beta * drive[i]
            stages[i] = equations.solve(right, guess, self.close)
            inputs[i] = equations.guess(stages[i])
            if not math.isfinite(float(stages[i].sum())):
                self._last = None  # it leads nowhere
                return _Step(stages, f, torch.full_like(z, torch.nan))
            torch.sub(system.mass @ stages[i], base, out=slopes[i]).div_(beta)
        error = equations.factor.solve(_sum(h * ERROR, slopes), _OF_AN_ERROR)
        self._last = h, inputs, False
        return _Step(stages, slopes[-1], error)

    def accepted(self) -> None:
        """The last step was short enough."""
        if self._last is not None:
            self._last = (*self._last[:2], True)
        if any(equations.newton for equations in self._kept.values()):
            # The channels have left the straight lines that the factors have for them.
            self._reference = None
            self._kept.clear()

    def _guess(self, inputs: Tensor, h: float, i: int) -> Tensor:
        """The channels' inputs that the stages so far lead to in the next one."""
        if i > 1:
            return _sum(AHEAD[i - 2], inputs[:i])
        if self._last is None:
            return inputs[0]
        # A step before that was accepted ends here; one that was too long starts here.
        before, known, accepted = self._last
        return _sum(weights_inside(np.array([C[i] * h / before + accepted]))[0], known)


def _sum(weights: NDArray[np.float64], states: Tensor) -> Tensor:
    """Weighted sum over the first dimension."""
    factors = torch.from_numpy(np.ascontiguousarray(weights)).to(states)
    return (factors @ states.flatten(1)).view(states.shape[1:])
