"""The ideal updates of the parameters as learning rules."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from analogdfc.learning.base import LearningRule, register
from analogdfc.learning.ideal import (
    ParameterUpdate,
    gauss_newton_batch_update,
    gauss_newton_update,
    minimum_norm_update,
)
from analogdfc.learning.targets.gauss_newton import check_damping
from analogdfc.losses import Loss
from analogdfc.network import Network


class IdealRule(LearningRule):
    """An ideal update for an output error, the negative gradient of each sample's loss.

    Args:
        network: the network that learns.
        loss: the loss at the output; by default the squared error ||r - y||^2, whose full
            Gauss-Newton step is half of what is written here.
        damping: Tikhonov constant, >= 0.

    Raises:
        UserError: a negative damping.
    """

    def __init__(self, network: Network, loss: Loss | None = None, *, damping: float = 0.0) -> None:
        super().__init__(network, loss)
        check_damping(damping)
        self.damping = damping

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "damping": self.damping,
        }

    @abstractmethod
    def _update(self, x: Tensor, error: Tensor) -> ParameterUpdate:
        """The update for inputs, (batch, n_0), and output errors, (batch, n_L)."""

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad`; see `LearningRule.backward`."""
        r = self.network(x)
        update = self._update(x, self.loss.error(r, y))
        self._write(update.weights, update.biases)
        return self.loss.value(r, y).mean()


@register(
    "gn",
    family="ideal",
    feedback="the Jacobian of the output",
    local="no: an ideal to measure against",
    local_time="no",
    equation="Delta theta = J_theta^+ e_L",
    source="Meulemans et al. 2020, eq. 5",
)
class GaussNewton(IdealRule):
    """Gauss-Newton on the weights and biases, J_theta^+ e_L.

    Args:
        network: see `IdealRule`.
        loss: see `IdealRule`.
        damping: see `IdealRule`.
        whole_batch: one least-squares problem of the minibatch; else the mean of the samples' own
            solutions, which is what the rules with targets relate to.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | None = None,
        *,
        damping: float = 0.0,
        whole_batch: bool = False,
    ) -> None:
        super().__init__(network, loss, damping=damping)
        self.whole_batch = whole_batch

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "whole_batch": self.whole_batch,
        }

    def _update(self, x: Tensor, error: Tensor) -> ParameterUpdate:
        update = gauss_newton_batch_update if self.whole_batch else gauss_newton_update
        return update(self.network, x, error, self.damping)


@register(
    "mn",
    family="ideal",
    feedback="the Jacobian of the output",
    local="no: an ideal to measure against",
    local_time="no",
    equation="Delta W_i = (J^+ e_L)_i r_{i-1}^T",
    source="Meulemans et al. 2021, eqs. 214 and 215",
)
class MinimumNorm(IdealRule):
    """The least change of all potentials that moves the output along the error, R J^+ e_L.

    Args:
        network: see `IdealRule`.
        loss: see `IdealRule`.
        damping: see `IdealRule`.
        nonlinear: as of `minimum_norm_update`.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | None = None,
        *,
        damping: float = 0.0,
        nonlinear: bool = False,
    ) -> None:
        super().__init__(network, loss, damping=damping)
        self.nonlinear = nonlinear

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "nonlinear": self.nonlinear,
        }

    def _update(self, x: Tensor, error: Tensor) -> ParameterUpdate:
        return minimum_norm_update(self.network, x, error, self.damping, nonlinear=self.nonlinear)
