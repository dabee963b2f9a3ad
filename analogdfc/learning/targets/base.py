"""What all rules share that give each layer a target for its activation."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from analogdfc.activations import Activation
from analogdfc.errors import UserError
from analogdfc.learning._rounding import RoundingWatch, larger
from analogdfc.learning.base import LearningRule
from analogdfc.losses import Loss
from analogdfc.network import Forward, Network

FAMILY = "target propagation"


def _tanh_slope(h: Tensor) -> Tensor:
    return h.square().neg_().add_(1)


def _sigmoid_slope(h: Tensor) -> Tensor:
    return h - h.square()


# Slopes from the activation itself, which spares a second evaluation of the function.
_SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": torch.ones_like,
    "tanh": _tanh_slope,
    "sigmoid": _sigmoid_slope,
}


def slope(phi: Activation, v: Tensor, h: Tensor) -> Tensor:
    """phi'(v), where h = phi(v) is known already; a new tensor."""
    known = _SLOPES.get(phi.name)
    return phi.derivative(v) if known is None else known(h)


class TargetRule(LearningRule):
    """Each layer descends its local loss, the squared distance to its target.

    The output target is a step along the negative gradient of each sample's loss, Delta h_L =
    - eta dL/dh_L (Meulemans et al. 2020, eq. 2); what gives the hidden layers theirs is the
    subclass. With targets held fixed, the gradient of L_i = 1/B sum_b ||h^_i - h_i||^2 (Algorithms
    1 to 5) is - 2/B sum_b D_i Delta h_i h_{i-1}^T: at the output layer that is 2 eta times the
    gradient of the mean loss.

    The published code steps along the gradient of the mean loss of the minibatch: its stepsize
    divided by the size of the minibatch is `target_stepsize` here.

    Args:
        network: the network that learns.
        loss: the loss at the output; by default the squared error. A softmax belongs to the loss,
            and the output layer is then linear (App. B.1).
        target_stepsize: eta, > 0.
        frozen: numbers of the layers, 1 to L, whose weights and biases get no gradient.

    Raises:
        UserError: a stepsize or a layer outside its range.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss | None = None,
        *,
        target_stepsize: float = 0.1,
        frozen: Collection[int] = (),
    ) -> None:
        super().__init__(network, loss)
        if not (math.isfinite(target_stepsize) and target_stepsize > 0):
            raise UserError(f"target_stepsize = {target_stepsize}: it must be finite and > 0")
        strange = sorted(set(frozen) - set(range(1, network.depth + 1)))
        if strange:
            raise UserError(f"frozen layers {strange}: the network has layers 1 to {network.depth}")
        self.target_stepsize = target_stepsize
        self.frozen = tuple(sorted(set(frozen)))
        # For the rules that compare two states; those with Jacobians lose no digits.
        self._steps_seen = RoundingWatch(
            "target steps", larger(f"target_stepsize = {target_stepsize:g}")
        )

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "target_stepsize": self.target_stepsize,
            "frozen": self.frozen,
        }

    def counters(self) -> dict[str, int]:
        """Under `small_steps`, the batches whose target steps were lost in the rounding."""
        return {**super().counters(), "small_steps": self._steps_seen.lost}

    def _count_on(self, counts: Mapping[str, int]) -> None:
        super()._count_on(counts)
        self._steps_seen.lost = counts["small_steps"]

    def notes(self) -> list[str]:
        """Target steps that are lost in the rounding."""
        return [*super().notes(), *self._steps_seen.notes()]

    @abstractmethod
    def _hidden(self, free: Forward, last: Tensor, y: Tensor) -> list[Tensor]:
        """Steps Delta h_1..Delta h_{L-1}, (batch, n_i), to the targets of the hidden layers.

        Args:
            free: the forward pass.
            last: step Delta h_L to the output target, (batch, n_L).
            y: labels, (batch, n_L).
        """

    @torch.no_grad()
    def target_steps(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Steps to the targets of all layers, without touching any gradient.

        Args:
            x: inputs, (batch, n_0).
            y: labels, (batch, n_L).

        Returns:
            Delta h_1..Delta h_L = h^_i - h_i, (batch, n_i).
        """
        free = self.network.run(x)
        return tuple(self._steps(free, y))

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad` of the layers that aren't frozen; see `LearningRule.backward`."""
        free = self.network.run(x)
        self._descend(free, self._steps(free, y))
        return self.loss.value(free.output, y).mean()

    def _steps(self, free: Forward, y: Tensor) -> list[Tensor]:
        last = self.target_stepsize * self.loss.error(free.output, y)
        return [*self._hidden(free, last, y), last]

    def _descend(self, free: Forward, steps: Sequence[Tensor]) -> None:
        """Write the gradients of the local losses."""
        network = self.network
        for k, (step, phi) in enumerate(zip(steps, network.activations, strict=True)):
            w, b = network.weights[k], network.biases[k]
            if k + 1 in self.frozen:
                w.grad = b.grad = None
                continue
            delta = slope(phi, free.v[k], free.r[k + 1]).mul_(step).mul_(-2 / len(step))
            w.grad, b.grad = delta.T @ free.r[k], delta.sum(dim=0)
