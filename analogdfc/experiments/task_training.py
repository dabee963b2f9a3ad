"""What the small tasks of the papers share: runs of a seed and a length, and plain descent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from analogdfc.datasets import Dataset
from analogdfc.experiments.results import CurvesRun
from analogdfc.experiments.toy import descend
from analogdfc.learning import LearningRule
from analogdfc.network import Network
from analogdfc.records import Quantity

__all__ = [
    "REMAINING",
    "TaskRun",
    "curve",
    "generator_of",
    "plain",
    "remaining",
    "train",
    "uniform",
    "with_momentum",
]

Step = Callable[[], None]
"""Moves parameters by the gradients that they have."""

REMAINING = "normalised squared error of the test samples"


@dataclass(frozen=True, kw_only=True)
class TaskRun(CurvesRun):
    """A task with its seed and length.

    Attributes:
        seed: of all that is drawn.
        steps: updates of each network.
    """

    seed: int = 0
    steps: int

    @property
    def name(self) -> str:
        """The kind and the seed."""
        return f"{type(self).__name__.removesuffix('Run').lower()}/{self.seed}"


def generator_of(seed: int) -> torch.Generator:
    """A new source of random numbers, on the CPU.

    Args:
        seed: its seed.
    """
    return torch.Generator().manual_seed(seed)


def uniform(network: Network, spread: float, seed: int) -> Network:
    """A network with all parameters drawn anew, uniform and centred on 0; it is changed.

    Args:
        network: the network.
        spread: largest size of a parameter.
        seed: of the draw.
    """
    source = generator_of(seed)
    for parameter in network.parameters():
        parameter.data.uniform_(-spread, spread, generator=source)
    return network


def train(
    rule: LearningRule,
    data: Dataset,
    step: Step,
    steps: int,
    size: int,
    measure: Callable[[], float] | None = None,
    every: int = 1,
) -> list[float]:
    """Learn from mini-batches, one after the other and from the start again.

    Args:
        rule: the rule; its loss counts.
        data: the samples.
        step: moves the parameters by their gradients.
        steps: mini-batches.
        size: samples of each.
        measure: what is measured; None for the loss.
        every: steps between two measurements.

    Returns:
        What was measured, before steps and at the end, or the loss before each step.
    """
    found = []
    for k in range(steps):
        first = k * size % len(data.x)
        rows = slice(first, first + size)
        if measure is not None and k % every == 0:
            found.append(measure())
        loss = float(rule.backward(data.x[rows], data.y[rows]))
        if measure is None:
            found.append(loss)
        step()
    if measure is not None:
        found.append(measure())
    return found


def plain(network: Network, rate: float) -> Step:
    """Gradient descent.

    Args:
        network: what learns.
        rate: learning rate.
    """
    parameters = list(network.parameters())
    return lambda: descend(parameters, rate)


def with_momentum(network: Network, rate: float, alpha: float) -> Step:
    """Gradient descent with momentum (Lillicrap et al. 2016, note 8).

    Args:
        network: what learns.
        rate: learning rate.
        alpha: share of the last step that is kept.
    """
    parameters = list(network.parameters())
    velocity = [torch.zeros_like(p) for p in parameters]

    def step() -> None:
        with torch.no_grad():
            for v, p in zip(velocity, parameters, strict=True):
                assert p.grad is not None
                v.mul_(alpha).sub_(p.grad, alpha=rate)
                p.add_(v)

    return step


def remaining(network: Network, data: Dataset) -> float:
    """Squared error of the test samples over that of their mean.

    Args:
        network: the network.
        data: the samples.
    """
    with torch.no_grad():
        error = (network(data.x_test) - data.y_test).square().sum()
        return float(error / (data.y_test - data.y_test.mean(dim=0)).square().sum())


def curve(values: Sequence[float], unit: str, text: str) -> Quantity:
    """Numbers as a curve of a record.

    Args:
        values: the numbers.
        unit: their unit.
        text: what they are.
    """
    return Quantity(list(values), unit, text, ("point",))
