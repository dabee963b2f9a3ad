"""Gradients through an array's nodal equations, by implicit differentiation.

With the equations A x = s, an output c^T x changes with the conductance of a cell by

    d(c^T x) / dg = -(voltage over the cell in x) (voltage over the cell in A^-T c).

A is symmetric: the second is the voltage over the cell when c drives the columns. One more solution
gives the gradient with respect to all cells.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from analogdfc.wires.exact import Factorised
from analogdfc.wires.lines import Lines

_CHUNK = 32
"""Inputs whose node voltages are held at once for the gradient of a whole transfer matrix."""


class Solver(Protocol):
    """What knows the node voltages of an array."""

    def voltages(
        self, row: Tensor | None, column: Tensor | None, source: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Node voltages for voltages on the terminals and sources over the cells."""
        ...


def over_cells(solver: Solver, row: Tensor | None, column: Tensor | None) -> Tensor:
    """Voltages over the cells, word line minus bit line, (..., k, rows, columns), in volts."""
    word, bit = solver.voltages(row, column)
    return word - bit


def sum_to(x: Tensor, shape: torch.Size) -> Tensor:
    """Sums of x over the dimensions that were broadcast from the shape."""
    return x.sum_to_size(shape) if x.shape != shape else x


class _Transfer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, lines: Lines) -> Tensor:
        ctx.solver = Factorised(g, lines, keep=ctx.needs_input_grad[0])
        return cast(Tensor, ctx.solver.transfer)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        rows = upstream.shape[-1]
        eye = torch.eye(rows, dtype=upstream.dtype, device=upstream.device)
        eye = eye.expand(*upstream.shape[:-2], rows, rows)
        gradient: Tensor | None = None
        for first in range(0, rows, _CHUNK):
            chosen = slice(first, first + _CHUNK)
            forward = over_cells(ctx.solver, eye[..., chosen, :], None)
            adjoint = over_cells(ctx.solver, None, upstream.mT[..., chosen, :])
            part = -(forward * adjoint).sum(-3)
            gradient = part if gradient is None else gradient + part
        assert gradient is not None
        return gradient, None


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, g: Tensor, solver: Solver) -> Tensor:
        ctx.solver = solver
        if isinstance(solver, Factorised):
            ctx.save_for_backward(v, g, None)
            return v @ solver.transfer.mT
        over = over_cells(solver, v, None)
        ctx.save_for_backward(v, g, over)
        return (g.unsqueeze(-3) * over).sum(-2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        v, g, over = ctx.saved_tensors
        of_v, of_g = None, None
        solver = ctx.solver
        exact = isinstance(solver, Factorised)
        if exact and ctx.needs_input_grad[0]:
            of_v = upstream @ solver.transfer
        if ctx.needs_input_grad[1] or (ctx.needs_input_grad[0] and not exact):
            adjoint = over_cells(solver, None, upstream)
            if not exact and ctx.needs_input_grad[0]:
                # By reciprocity: the currents into the rows' drivers when the columns are driven.
                of_v = -(g.unsqueeze(-3) * adjoint).sum(-1)
            if ctx.needs_input_grad[1]:
                over = over_cells(solver, v, None) if over is None else over
                of_g = sum_to(-(over * adjoint).sum(-3), g.shape)
        return None if of_v is None else sum_to(of_v, v.shape), of_g, None


def transfer_with_gradient(g: Tensor, lines: Lines) -> Tensor:
    """Transfer matrices (..., columns, rows) of checked conductances, differentiable."""
    return cast(Tensor, _Transfer.apply(g, lines))  # type: ignore[no-untyped-call]


def read_with_gradient(v: Tensor, g: Tensor, solver: Solver) -> Tensor:
    """Currents (..., k, columns) for inputs (..., k, rows), differentiable in both.

    Args:
        v: voltages on the rows.
        g: the conductances that the solver was made from.
        solver: the solution of their equations.
    """
    return cast(Tensor, _Read.apply(v, g, solver))  # type: ignore[no-untyped-call]
