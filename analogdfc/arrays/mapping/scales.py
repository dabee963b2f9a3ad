"""The weight that the end of the conductance window stands for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.devices.draws import check_number
from analogdfc.errors import UserError


class Scale(ABC):
    """How the largest representable weight of each output is chosen."""

    @abstractmethod
    def of(self, matrix: Tensor) -> Tensor:
        """Largest representable weights.

        Args:
            matrix: weights with their bias rows, (outputs, inputs).

        Returns:
            (outputs, 1), > 0.

        Raises:
            UserError: a weight that can't be represented.
        """


@dataclass(frozen=True)
class _Fitted(Scale):
    headroom: float = 1.0

    def __post_init__(self) -> None:
        check_number("headroom", self.headroom, low=1.0)

    def _largest(self, largest: Tensor) -> Tensor:
        return torch.where(largest > 0, largest * self.headroom, 1.0)


@dataclass(frozen=True)
class PerLayer(_Fitted):
    """One scale for all outputs.

    Attributes:
        headroom: what the largest weight is multiplied by, >= 1: room for weights that will grow.

    Raises:
        UserError: a headroom below 1.
    """

    def of(self, matrix: Tensor) -> Tensor:
        """The largest magnitude of all."""
        return self._largest(matrix.abs().max()).expand(len(matrix), 1).clone()


@dataclass(frozen=True)
class PerColumn(_Fitted):
    """A scale for each output, the gain of its column's amplifier.

    Attributes:
        headroom: what the largest weight is multiplied by, >= 1: room for weights that will grow.

    Raises:
        UserError: a headroom below 1.
    """

    def of(self, matrix: Tensor) -> Tensor:
        """The largest magnitude of each output."""
        return self._largest(matrix.abs().amax(dim=1, keepdim=True))


@dataclass(frozen=True)
class Fixed(Scale):
    """No scaling: the window stands for the same weights whatever they are.

    Attributes:
        limit: the largest representable magnitude.

    Raises:
        UserError: a limit that isn't > 0.
    """

    limit: float = 1.0

    def __post_init__(self) -> None:
        check_number("largest weight", self.limit, low=0.0, open_low=True)

    def of(self, matrix: Tensor) -> Tensor:
        """The limit; a larger weight is an error."""
        outside = (matrix.abs() > self.limit * (1 + 1e-12)).nonzero()
        if len(outside):
            i, j = (int(k) for k in outside[0])
            raise UserError(
                f"weight [{i}, {j}] = {float(matrix[i, j]):g} is outside of the window, which "
                f"stands for -{self.limit:g} to {self.limit:g}; scale the weights (per layer or "
                "per column) or give a larger limit"
            )
        return torch.full_like(matrix[:, :1], self.limit)
