"""Stiff, possibly differential-algebraic systems M dz/dt = A z + b + N(z), batched.

The linear part is the same for all samples of a chip and holds all the stiffness; the nonlinear
channels are few and within the cells of the matrices' layout (see `blocks`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.dynamics.blocks import BlockMatrix
from analogdfc.dynamics.channels import Channels, Nonlinear, deadzone
from analogdfc.dynamics.implicit import Implicit
from analogdfc.errors import ConvergenceError

__all__ = ["Channels", "Fed", "Semilinear", "deadzone"]

_DENSE = 2000
"""Unknowns up to which a rest is looked for without structure, where with it none was found."""


class Fed(NamedTuple):
    """What the voltages of sources add to the right-hand side.

    Attributes:
        rows: where they add anything, places in grouped order, (rows,).
        values: (chips, rows, sources).
        unknowns: number of the unknowns.
    """

    rows: Tensor
    values: Tensor
    unknowns: int

    def of(self, sources: NDArray[np.intp]) -> Fed:
        """That of some of the sources.

        Args:
            sources: their numbers.
        """
        return self._replace(values=self.values[..., sources])

    def __matmul__(self, volts: Tensor) -> Tensor:
        """What voltages, (chips, sources, batch), add, (chips, n, batch), in grouped order."""
        out = volts.new_zeros(len(volts), self.unknowns, volts.shape[-1])
        return out.index_copy_(1, self.rows, self.values @ volts)


@dataclass(frozen=True)
class Semilinear:
    """The system M dz/dt = A z + b + N(z).

    States come in two orders: (chips, batch, n) in the unknowns' own, and (chips, n, batch) in the
    grouped one of the layout, in which all work is done.

    Attributes:
        mass: M, (chips, n, n); may be singular.
        linear: A, of the same layout.
        constant: b, (chips, n, batch or 1), in grouped order.
        channels: the nonlinear channels N, each within one cell.
    """

    mass: BlockMatrix
    linear: BlockMatrix
    constant: Tensor
    channels: Channels

    @classmethod
    def whole(cls, mass: Tensor, linear: Tensor, constant: Tensor, channels: Channels) -> Self:
        """A system without structure.

        Args:
            mass: (chips, n, n).
            linear: (chips, n, n).
            constant: (chips, batch, n).
            channels: the channels.
        """
        matrices = BlockMatrix.whole(mass), BlockMatrix.whole(linear)
        return cls(*matrices, constant.mT.contiguous(), channels)

    @cached_property
    def order(self) -> Tensor:
        """The unknowns in grouped order."""
        return torch.from_numpy(self.linear.layout.order).to(self.constant.device)

    @cached_property
    def place(self) -> Tensor:
        """Place of each unknown in grouped order."""
        return torch.from_numpy(self.linear.layout.place).to(self.constant.device)

    @cached_property
    def nonlinear(self) -> Nonlinear:
        """The channels in grouped order."""
        return Nonlinear.of(self.channels, self.linear.layout)

    def grouped(self, z: Tensor) -> Tensor:
        """A state (chips, batch, n) in grouped order, (chips, n, batch)."""
        return z.mT[:, self.order].contiguous()

    def ungrouped(self, z: Tensor) -> Tensor:
        """The inverse of `grouped`."""
        return z[:, self.place].mT.contiguous()

    def to(self, dtype: torch.dtype) -> Semilinear:
        """The system in another precision.

        Args:
            dtype: of the numbers.
        """
        return Semilinear(
            self.mass.to(dtype),
            self.linear.to(dtype),
            self.constant.to(dtype),
            self.channels.to(dtype),
        )

    def driven(self, more: Tensor) -> Semilinear:
        """The same with more added to the constant.

        Args:
            more: (chips, batch, n), in the unknowns' own order.
        """
        return replace(self, constant=self.constant + self.grouped(more))

    def slope(self, z: Tensor) -> Tensor:
        """Right-hand side A z + b + N(z), (chips, batch, n)."""
        found = rate(self.linear, self.constant, self.nonlinear, self.grouped(z))
        return self.ungrouped(found)

    def jacobian(self, z: Tensor) -> Tensor:
        """Derivative of the right-hand side, (chips, batch, n, n), dense."""
        c, n = self.channels, z.shape[-1]
        out = self.linear.dense().unsqueeze(1).repeat(1, z.shape[1], 1, 1)
        out.flatten(-2).index_add_(-1, c.row * n + c.source, c.slope(z.mT[:, c.source]).mT)
        return out

    def equilibrium(self, start: Tensor, tolerance: float = 1e-12, iterations: int = 100) -> Tensor:
        """Solution of A z + b + N(z) = 0.

        By substitution, and by Newton's method with step halving where that does not contract.

        Args:
            start: first guess, (chips, batch, n).
            tolerance: largest change of an unknown at which the iteration stops.
            iterations: bound on their number.

        Raises:
            ConvergenceError: no solution within the bound.
        """
        structured = bool(self.linear.pairs)
        try:
            return self._rest(start, tolerance, iterations)
        except ConvergenceError:
            if not structured or start.shape[-1] > _DENSE:
                raise
        # A cell by itself may have no rest, such as an integrator without loss, where all have.
        return self.as_whole()._rest(start, tolerance, iterations)

    def as_whole(self) -> Semilinear:
        """The same system without its structure."""
        return Semilinear.whole(
            self.mass.dense(), self.linear.dense(), self.ungrouped(self.constant), self.channels
        )

    def _rest(self, start: Tensor, tolerance: float, iterations: int) -> Tensor:
        z, channels = self.grouped(start), self.nonlinear
        reference = channels.reference(channels.inputs(z))
        equations = Implicit(self.linear.times(-1.0), 1.0, channels, reference)
        found, whole = equations.rest(self.constant, z, tolerance, iterations)
        if not whole:
            residual = float(rate(self.linear, self.constant, channels, found).abs().max())
            raise ConvergenceError(
                f"Newton's method found no operating point in {iterations} iterations; the largest "
                f"residual is {residual:.3g} V"
            )
        return self.ungrouped(found)


def rate(linear: BlockMatrix, constant: Tensor, channels: Nonlinear, z: Tensor) -> Tensor:
    """Right-hand side A z + b + N(z) in grouped order.

    Args:
        linear: A.
        constant: b, (chips, n, batch or 1).
        channels: N.
        z: (chips, n, batch).
    """
    return channels.add_to((linear @ z).add_(constant), channels.values(channels.inputs(z)))
