"""Arrays whose cells are not ohmic: Newton's method on top of the linear solution."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.wires.array import Exact, Iterative
from analogdfc.wires.autograd import over_cells, sum_to
from analogdfc.wires.branches import BranchCurrents, branch_currents
from analogdfc.wires.lines import (
    Lines,
    check_iteration,
    checked_conductances,
    checked_inputs,
    outputs,
)

_HALVINGS = 40


class Cell(ABC):
    """Current-voltage characteristic of a cell, I = g f(v), with f rising and f(0) = 0."""

    @abstractmethod
    def current(self, v: Tensor) -> Tensor:
        """The current per siemens at a voltage, f(v), in volts.

        Args:
            v: voltages over cells, any shape, in volts.
        """

    @abstractmethod
    def slope(self, v: Tensor) -> Tensor:
        """Its derivative f'(v), >= 0, dimensionless.

        Args:
            v: voltages over cells, any shape, in volts.
        """


@dataclass(frozen=True)
class Sinh(Cell):
    """A filament or a tunnel barrier: I = g v0 sinh(v / v0), ohmic for v << v0.

    Attributes:
        v0: voltage of the nonlinearity, in volts, > 0.
    """

    v0: float

    def __post_init__(self) -> None:
        _require_positive(v0=self.v0)

    def current(self, v: Tensor) -> Tensor:
        """The current per siemens at a voltage, in volts."""
        return self.v0 * torch.sinh(v / self.v0)

    def slope(self, v: Tensor) -> Tensor:
        """Its derivative."""
        return torch.cosh(v / self.v0)


@dataclass(frozen=True)
class Selector(Cell):
    """A cell behind a threshold selector, which conducts in both directions above its threshold.

    I = g (leak v + (1 - leak) w (s((v - v_t) / w) - s((-v - v_t) / w))) with s(x) = log(1 + e^x):
    far above the threshold the cell's conductance in series with an ideal drop, far below it the
    leakage.

    Attributes:
        threshold: v_t, in volts, > 0.
        width: w, voltage over which it turns on, in volts, > 0.
        leak: conductance below the threshold relative to that above it, 0 to 1.
    """

    threshold: float
    width: float
    leak: float = 0.0

    def __post_init__(self) -> None:
        _require_positive(threshold=self.threshold, width=self.width)
        if not 0 <= self.leak <= 1:
            raise UserError(f"leak: {self.leak}; it must lie between 0 and 1")

    def current(self, v: Tensor) -> Tensor:
        """The current per siemens at a voltage, in volts."""
        w, above, below = self.width, v - self.threshold, -v - self.threshold
        # Beyond the threshold given as 1e3, PyTorch's softplus would be linear too early.
        on = softplus(above / w, threshold=1e3) - softplus(below / w, threshold=1e3)
        return self.leak * v + (1 - self.leak) * w * on

    def slope(self, v: Tensor) -> Tensor:
        """Its derivative."""
        on = torch.sigmoid((v - self.threshold) / self.width)
        on = on + torch.sigmoid((-v - self.threshold) / self.width)
        return self.leak + (1 - self.leak) * on


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"{name}: {value} V; it must be finite, > 0")


class OperatingPoint(NamedTuple):
    """Where an array of nonlinear cells settles.

    Attributes:
        cell: voltages over the cells, (..., k, rows, columns), in volts.
        current: currents of the cells, (..., k, rows, columns), in amperes; each is g f(v) of its
            voltage.
        mismatch: largest difference between a cell's current and what its wires carry, relative to
            the largest current of the array, (..., k).
        steps: steps of Newton's method.
    """

    cell: Tensor
    current: Tensor
    mismatch: Tensor
    steps: int

    @property
    def output(self) -> Tensor:
        """Currents out of the columns, (..., k, columns), in amperes."""
        return self.current.sum(-2)


class NonlinearArray:
    """Arrays of nonlinear cells with their lines.

    Args:
        g: conductances of the cells, (..., rows, columns), in siemens, >= 0.
        lines: resistances of the lines.
        cell: characteristic of the cells.
        method: how each step's linear equations are solved.
        tolerance: largest mismatch (see `OperatingPoint`). With an iterative method it should not
            be below the tolerance of that method.
        max_steps: steps of Newton's method after which to give up.

    Raises:
        UserError: a conductance, a tolerance or a number of steps that is not allowed.
    """

    def __init__(
        self,
        g: Tensor,
        lines: Lines,
        cell: Cell,
        method: Exact | Iterative | None = None,
        *,
        tolerance: float = 1e-11,
        max_steps: int = 100,
    ) -> None:
        check_iteration(tolerance, max_steps)
        self.g, self.lines, self.cell = checked_conductances(g), lines, cell
        self.method = method or Exact()
        self._tolerance, self._max_steps = tolerance, max_steps

    def read(self, v: Tensor) -> Tensor:
        """Currents out of the columns, differentiable, of the shapes of `WiredArray.read`.

        Args:
            v: voltages on the rows, (rows,) or (..., k, rows), in volts.

        Raises:
            UserError: a shape that does not fit, or a voltage that is not finite.
            ConvergenceError: a mismatch above the tolerance.
        """
        inputs = checked_inputs(v, self.g)
        out = cast(Tensor, _Read.apply(inputs, self.g, self))  # type: ignore[no-untyped-call]
        return outputs(out, v, self.g)

    def currents(self, v: Tensor) -> BranchCurrents:
        """Currents of all branches, without a gradient; arguments and errors as of `read`.

        Args:
            v: voltages on the rows, (rows,) or (..., k, rows), in volts.
        """
        return branch_currents(self.solve(v).current, self.lines)

    def solve(self, v: Tensor) -> OperatingPoint:
        """The operating point, without a gradient; arguments and errors as of `read`.

        Each step solves the array with every cell replaced by its tangent. The steps are damped by
        the co-content, whose minimum the operating point is: its slope along the step needs no
        more than the cells' currents.

        Args:
            v: voltages on the rows, (rows,) or (..., k, rows), in volts.
        """
        with torch.no_grad():
            return self._solve(checked_inputs(v, self.g))

    def _solve(self, v: Tensor) -> OperatingPoint:
        g = self.g.detach().unsqueeze(-3)
        over = over_cells(self.method.solver(self.g.detach(), self.lines), v, None)
        wires = g * over  # the cells' currents that the wires' voltages call for
        v = v.expand(*over.shape[:-2], v.shape[-1]).unsqueeze(-2)
        for steps in range(self._max_steps + 1):
            current = g * self.cell.current(over)
            mismatch = _largest(current - wires) / _largest(wires).clamp_min(_tiny(wires))
            if bool((mismatch <= self._tolerance).all()):
                return OperatingPoint(over, current, mismatch[..., 0, 0], steps)
            if steps == self._max_steps or not bool(torch.isfinite(current).all()):
                break
            slope = g * self.cell.slope(over)
            source = (current - slope * over).unsqueeze(-3)
            word, bit = self.method.solver(slope, self.lines).voltages(v, None, source)
            step = (word - bit).squeeze(-3) - over
            change = current + slope * step - wires
            size = self._step_size(g, over, step, wires, change)
            over, wires = over + size * step, wires + size * change
        worst = float(mismatch.max())
        raise ConvergenceError(
            f"cells: Newton's method did not settle; mismatch {worst:.3g} after {steps} steps, "
            f"above the tolerance {self._tolerance:g}. Lower the inputs, raise max_steps or the "
            "tolerance"
        )

    def _step_size(
        self, g: Tensor, over: Tensor, step: Tensor, wires: Tensor, change: Tensor
    ) -> Tensor:
        """How much of a step to take: less, where the co-content rises again behind its minimum."""
        size = torch.ones_like(over[..., :1, :1])

        def rise(size: Tensor) -> tuple[Tensor, Tensor]:
            gap = g * self.cell.current(over + size * step) - wires - size * change
            settled = _largest(gap) <= self._tolerance * _largest(wires + size * change)
            return (step * gap).sum((-2, -1), keepdim=True), settled

        start, _ = rise(torch.zeros_like(size))
        for _ in range(_HALVINGS):
            slope, settled = rise(size)
            good = settled | (slope <= start.abs() / 2)  # false for a number that overflowed
            if bool(good.all()):
                break
            size = torch.where(good, size, size / 2)
        return size


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, g: Tensor, array: NonlinearArray) -> Tensor:
        point = array._solve(v)
        ctx.array = array
        ctx.save_for_backward(v, g, point.cell)
        return point.output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        v, g, over = ctx.saved_tensors
        array: NonlinearArray = ctx.array
        slope = g.unsqueeze(-3) * array.cell.slope(over)
        tangent = array.method.solver(slope, array.lines)
        adjoint = over_cells(tangent, None, upstream.unsqueeze(-2)).squeeze(-3)
        of_g = -(array.cell.current(over) * adjoint).sum(-3)
        return sum_to(-(slope * adjoint).sum(-1), v.shape), sum_to(of_g, g.shape), None


def _largest(x: Tensor) -> Tensor:
    return x.abs().amax((-2, -1), keepdim=True)


def _tiny(x: Tensor) -> float:
    return torch.finfo(x.dtype).tiny
