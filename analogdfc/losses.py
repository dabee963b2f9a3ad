"""Losses at the output, with the error that drives the controller's target."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["LOSSES", "Loss", "SoftmaxCrossEntropy", "SquaredError"]


class Loss(ABC):
    """A loss summed over outputs; y is (batch, n_L)."""

    @abstractmethod
    def value(self, r: Tensor, y: Tensor) -> Tensor:
        """Loss of each sample, (batch,).

        Args:
            r: output r_L, (batch, n_L).
            y: what it should be, (batch, n_L).
        """

    @abstractmethod
    def error(self, r: Tensor, y: Tensor) -> Tensor:
        """Negative gradient of the sample's loss with respect to r, (batch, n_L).

        Args:
            r: output r_L, (batch, n_L).
            y: what it should be, (batch, n_L).
        """

    def target(self, r: Tensor, y: Tensor, stepsize: float) -> Tensor:
        """Output target r* = r - stepsize dL/dr (Meulemans et al. 2021, eq. 3).

        Args:
            r: output r_L, (batch, n_L).
            y: what it should be, (batch, n_L).
            stepsize: how far the target lies from the output, dimensionless.
        """
        return r + stepsize * self.error(r, y)


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


LOSSES: dict[str, Loss] = {"l2": SquaredError(), "cross-entropy": SoftmaxCrossEntropy()}
