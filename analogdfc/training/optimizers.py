"""Optimisers as settings, which presets hold and records keep, and the clipping of gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from analogdfc.errors import UserError
from analogdfc.states import State


@runtime_checkable
class Wrapping(Protocol):
    """An optimiser around another one, such as that which writes the step into devices.

    Attributes:
        inner: the optimiser that it asks for the step.
    """

    inner: torch.optim.Optimizer

    def settings(self) -> dict[str, Any]:
        """What decides over its steps: plain values by name."""

    def kept(self) -> State:
        """What it keeps from step to step beside the inner optimiser."""

    def take_up(self, state: Mapping[str, Tensor | int | float]) -> None:
        """Go on where another one was.

        Args:
            state: of its `kept`.
        """


def innermost(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimiser that makes the step, behind those around it.

    Args:
        optimizer: an optimiser.
    """
    while isinstance(optimizer, Wrapping):
        optimizer = optimizer.inner
    return optimizer


@dataclass(frozen=True)
class OptimizerSettings(ABC):
    """What an optimiser needs to know besides the parameters.

    Attributes:
        lr: learning rate, > 0.
        weight_decay: L2 penalty, >= 0; its gradient is added to that of the parameters.

    Raises:
        UserError: a value outside its range.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not (self.lr > 0 and self.weight_decay >= 0):
            raise UserError(f"{self}: lr > 0 and weight_decay >= 0 are required")

    @abstractmethod
    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of these parameters, at its start.

        Args:
            parameters: what is learned.
        """


@dataclass(frozen=True)
class Adam(OptimizerSettings):
    """Adam (Kingma and Ba 2015).

    Attributes:
        betas: decay of the two moments, each in [0, 1).
        eps: added to the root of the second moment, >= 0.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (all(0 <= beta < 1 for beta in self.betas) and self.eps >= 0):
            raise UserError(f"{self}: betas in [0, 1) and eps >= 0 are required")

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of these parameters, at its start."""
        return torch.optim.Adam(
            parameters,
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class SGD(OptimizerSettings):
    """Gradient descent in mini-batches.

    Attributes:
        momentum: share of the last step that is kept, in [0, 1).
    """

    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise UserError(f"{self}: a momentum in [0, 1) is required")

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of these parameters, at its start."""
        kind = torch.optim.SGD if self.momentum > 0 else Descent
        return kind(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)


class Descent(torch.optim.SGD):
    """Gradient descent without momentum, in place: w <- (1 - lr decay) w - lr gradient.

    PyTorch's own adds the decay to a copy of the gradient, which for large layers learning from
    single samples takes three times as long. Its fused form takes gradients in another order of
    memory than the parameters' for what they are not.

    >>> parameter = torch.nn.Parameter(torch.ones(2))
    >>> parameter.grad = torch.tensor([1.0, -1.0])
    >>> _ = Descent([parameter], lr=0.5, weight_decay=0.5).step()
    >>> parameter.tolist()
    [0.25, 1.25]
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step.

        Args:
            closure: computes the loss, with the gradients; by default they are there.

        Returns:
            What the closure returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rate, kept = group["lr"], 1 - group["lr"] * group["weight_decay"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if kept != 1:
                    parameter.mul_(kept)
                parameter.add_(parameter.grad, alpha=-rate)
        return loss


OPTIMIZERS: dict[str, type[OptimizerSettings]] = {"adam": Adam, "sgd": SGD}


def clip_each(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Scale the gradient of each tensor down to at most this norm."""
    for parameter in parameters:
        nn.utils.clip_grad_norm_(parameter, norm)


def clip_together(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Scale all gradients down by one factor, so that their joint norm is at most this."""
    nn.utils.clip_grad_norm_(list(parameters), norm)
