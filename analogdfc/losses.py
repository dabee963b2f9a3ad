"""Losses at the output, with the error that drives the controller's target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from analogdfc.errors import UserError

__all__ = ["LOSSES", "Loss", "SoftmaxCrossEntropy", "SpreadSquaredError", "SquaredError"]


class Loss(ABC):
    """A loss summed over outputs; y is (batch, n_L).

    Every loss refuses labels of another shape than the outputs, which would broadcast; the outputs
    may have further dimensions in front of a whole batch. No samples have no values, (0,).
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the labels in front of whatever a loss does with them."""
        super().__init_subclass__(**options)
        for name in {"value", "error"} & vars(cls).keys():
            setattr(cls, name, _matching(vars(cls)[name]))

    def __repr__(self) -> str:
        """The same for each loss of a kind, which have no settings."""
        return f"{type(self).__name__}()"

    @abstractmethod
    def value(self, r: Tensor, y: Tensor) -> Tensor:
        """Loss of each sample, (batch,).

        Args:
            r: output r_L, (batch, n_L).
            y: what it should be, (batch, n_L).

        Raises:
            UserError: labels of another shape.
        """

    @abstractmethod
    def error(self, r: Tensor, y: Tensor) -> Tensor:
        """Negative gradient of the sample's loss with respect to r, (batch, n_L).

        Args:
            r: output r_L, (batch, n_L).
            y: what it should be, (batch, n_L).

        Raises:
            UserError: labels of another shape.
        """

    def target(self, r: Tensor, y: Tensor, stepsize: float) -> Tensor:
        """Output target r* = r - stepsize dL/dr (Meulemans et al. 2021, eq. 3).

        Args:
            r: output r_L, (batch, n_L).
            y: what it should be, (batch, n_L).
            stepsize: how far the target lies from the output, dimensionless.

        Raises:
            UserError: labels of another shape.
        """
        return r + stepsize * self.error(r, y)


def _matching(method: Callable[[Any, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    @wraps(method)
    def checked(self: Any, r: Tensor, y: Tensor) -> Tensor:
        batch = r.shape[-y.dim() :] if y.dim() >= 2 else r.shape
        if y.shape != batch:
            raise UserError(
                f"labels {tuple(y.shape)} for outputs {tuple(r.shape)}: a loss compares like with "
                f"like, (batch, {r.shape[-1] if r.dim() else 1})"
            )
        return method(self, r, y)

    return checked


class SquaredError(Loss):
    """L = ||r - y||^2."""

    def value(self, r: Tensor, y: Tensor) -> Tensor:
        """Loss of each sample, (batch,)."""
        return ((r - y) ** 2).sum(dim=-1)

    def error(self, r: Tensor, y: Tensor) -> Tensor:
        """2 (y - r), (batch, n_L)."""
        return 2 * (y - r)


class SoftmaxCrossEntropy(Loss):
    """L = - sum_k y_k log softmax(r)_k (Meulemans et al. 2021, eq. 221); y sums to 1."""

    def value(self, r: Tensor, y: Tensor) -> Tensor:
        """Loss of each sample, (batch,)."""
        return -(y * torch.log_softmax(r, dim=-1)).sum(dim=-1)

    def error(self, r: Tensor, y: Tensor) -> Tensor:
        """Y - softmax(r), (batch, n_L)."""
        return y - torch.softmax(r, dim=-1)


class SpreadSquaredError(SquaredError):
    """L = ||r - z||^2, with z_k = 0.9 for the class of a one-hot y and -0.9 for the others.

    Outputs of tanh units reach both (Lillicrap et al. 2016, note 5).
    """

    _REACHED = 0.9

    def value(self, r: Tensor, y: Tensor) -> Tensor:
        """Loss of each sample, (batch,)."""
        return super().value(r, self._spread(y))

    def error(self, r: Tensor, y: Tensor) -> Tensor:
        """2 (z - r), (batch, n_L)."""
        return super().error(r, self._spread(y))

    def _spread(self, y: Tensor) -> Tensor:
        return self._REACHED * (2 * y - 1)


LOSSES: dict[str, Loss] = {
    "l2": SquaredError(),
    "l2-spread": SpreadSquaredError(),
    "cross-entropy": SoftmaxCrossEntropy(),
}
