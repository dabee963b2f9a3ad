"""Arrays of conductances with wires: transfer matrix, reads, voltages and currents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.errors import UserError
from analogdfc.wires.autograd import read_with_gradient, transfer_with_gradient
from analogdfc.wires.branches import BranchCurrents, NodeVoltages, branch_currents
from analogdfc.wires.exact import Factorised
from analogdfc.wires.iterative import Preconditioned, Solution
from analogdfc.wires.lines import (
    Lines,
    check_iteration,
    checked_conductances,
    checked_inputs,
    outputs,
)


def transfer_matrix(g: Tensor, lines: Lines) -> Tensor:
    """Currents into grounded columns per volt on the rows, with wire resistance.

    Solves the nodal equations exactly, by nested dissection: O(n^3) operations for n x n cells.
    Differentiable with respect to the conductances, once.

    Args:
        g: conductances, (..., rows, columns), in siemens, >= 0; 0 for an open cell.
        lines: resistances of the lines.

    Returns:
        (..., columns, rows), in siemens.

    Raises:
        UserError: a conductance that is negative, infinite or no number; the message has its index.
    """
    return transfer_with_gradient(checked_conductances(g), lines)


@dataclass(frozen=True)
class Exact:
    """Solve an array by one factorisation, after which each read is one matrix product."""

    def solver(self, g: Tensor, lines: Lines, *, keep: bool = True) -> Factorised:
        """The factorised equations of checked conductances.

        Args:
            g: conductances, (..., rows, columns), in siemens, checked.
            lines: resistances of the lines.
            keep: keep the factorisation for further reads.
        """
        return Factorised(g, lines, keep=keep)


@dataclass(frozen=True)
class Iterative:
    """Solve an array anew for each input, by preconditioned conjugate gradients.

    Attributes:
        tolerance: largest residual of an input (see `Solution.residual`).
        max_steps: steps after which a ConvergenceError is raised.
    """

    tolerance: float = 1e-8
    max_steps: int = 500

    def __post_init__(self) -> None:
        check_iteration(self.tolerance, self.max_steps)

    def solver(self, g: Tensor, lines: Lines, *, keep: bool = True) -> Preconditioned:
        """The equations of checked conductances, with their preconditioner.

        Args:
            g: conductances, (..., rows, columns), in siemens, checked.
            lines: resistances of the lines.
            keep: without effect here.
        """
        return Preconditioned(g, lines, tolerance=self.tolerance, max_steps=self.max_steps)


class WiredArray:
    """Arrays of conductances with their lines, solved once and read many times.

    The factorisation is kept until the conductances change: by assigning `g`, or by an operation in
    place on that tensor that PyTorch records (an optimiser's step; not one through `.data` or
    NumPy, after which `g` must be assigned again).

    Args:
        g: conductances, (..., rows, columns), in siemens, >= 0; 0 for an open cell. Reads are
            differentiable with respect to it if it requires a gradient.
        lines: resistances of the lines.
        method: `Exact()`, or `Iterative(...)` for arrays of which only some reads are wanted.

    Raises:
        UserError: a conductance that is negative, infinite or no number; the message has its index.
    """

    def __init__(self, g: Tensor, lines: Lines, method: Exact | Iterative | None = None) -> None:
        self.lines = lines
        self.method = method or Exact()
        self.g = g

    @property
    def g(self) -> Tensor:
        """Conductances, (..., rows, columns), in siemens."""
        return self._g

    @g.setter
    def g(self, g: Tensor) -> None:
        self._g = checked_conductances(g)
        self._version = g._version
        self._solver: Factorised | Preconditioned | None = None
        self._whole = False

    @property
    def transfer(self) -> Tensor:
        """Currents into grounded columns per volt on the rows, (..., columns, rows), no gradient.

        Raises:
            UserError: the method is iterative, which never forms it.
        """
        solver = self._solved(voltages=False)
        if not isinstance(solver, Factorised):
            raise UserError(
                "an iterative solution has no transfer matrix; use Exact(), or read the inputs"
            )
        return solver.transfer

    def read(self, v: Tensor) -> Tensor:
        """Currents out of the columns, differentiable with respect to v and g.

        Args:
            v: voltages on the rows, (rows,) or (..., k, rows), in volts.

        Returns:
            (columns,) or (..., k, columns), in amperes; (..., 1, columns) for one vector and
            several arrays.

        Raises:
            UserError: a shape that does not fit, or a voltage that is not finite.
            ConvergenceError: an iterative solution that does not reach its tolerance.
        """
        inputs = self._inputs(v)
        learns = torch.is_grad_enabled() and self._g.requires_grad
        solver = self._solved(voltages=learns)
        if isinstance(solver, Factorised) and not learns:
            out = inputs @ solver.transfer.mT
        else:
            out = read_with_gradient(inputs, self._g, solver)
        return outputs(out, v, self._g)

    def voltages(self, v: Tensor) -> NodeVoltages:
        """Voltages of all nodes, (..., k, rows, columns), without a gradient.

        Args:
            v: voltages on the rows, (rows,) or (..., k, rows), in volts; k is 1 for one vector.

        Raises:
            UserError: a shape that does not fit, or a voltage that is not finite.
            ConvergenceError: an iterative solution that does not reach its tolerance.
        """
        with torch.no_grad():
            return NodeVoltages(*self._solved(voltages=True).voltages(self._inputs(v), None))

    def currents(self, v: Tensor) -> BranchCurrents:
        """Currents of all branches; arguments and errors are those of `voltages`.

        Args:
            v: voltages on the rows, (rows,) or (..., k, rows), in volts.
        """
        with torch.no_grad():
            cell = self._g.unsqueeze(-3) * self.voltages(v).cell
            return branch_currents(cell, self.lines)

    def solution(self, v: Tensor) -> Solution:
        """Node voltages of an iterative solution, with its residual and its steps.

        Args:
            v: voltages on the rows, (rows,) or (..., k, rows), in volts.

        Raises:
            UserError: the method is exact, or the inputs do not fit.
            ConvergenceError: a residual above the tolerance.
        """
        solver = self._solved(voltages=True)
        if not isinstance(solver, Preconditioned):
            raise UserError("an exact solution has no residual to report; use Iterative()")
        with torch.no_grad():
            return solver.solve(self._inputs(v), None)

    def _inputs(self, v: Tensor) -> Tensor:
        return checked_inputs(v, self._g)

    def _solved(self, *, voltages: bool) -> Factorised | Preconditioned:
        if self._version != self._g._version:
            self.g = self._g
        if self._solver is None or (voltages and not self._whole):
            with torch.no_grad():
                self._solver = self.method.solver(self._g.detach(), self.lines, keep=voltages)
            self._whole = voltages
        return self._solver
