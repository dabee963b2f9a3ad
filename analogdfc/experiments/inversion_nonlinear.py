"""Nonlinear regression by dynamic inversion (Podlaski and Machens 2020, figures 3g to 3k).

A 30-20-10-10 network of tanh neurons with a linear output learns the outputs of another one online.
Weights start uniform in +-0.01, as do the other one's with its biases; hidden errors are no larger
than 1. Dynamic inversion is simulated for each example, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.controller import I
from analogdfc.dynamics.settling import Settling, Simulation
from analogdfc.errors import ConvergenceError
from analogdfc.experiments.inversion_tasks import DIVERGED, SIMULATION, angle_between, rules
from analogdfc.experiments.inversion_tasks import NAMES as LINEAR_NAMES
from analogdfc.experiments.results import Curves, CurvesRun
from analogdfc.jobs import Progress
from analogdfc.learning.base import LearningRule
from analogdfc.learning.inversion import (
    Dynamic,
    Inversion,
    NonDynamicInversion,
    SingleLoopInversion,
)
from analogdfc.network import Network
from analogdfc.records import Quantity

__all__ = ["EXAMPLES", "NAMES", "SIZES", "NonlinearRun"]

SIZES = (30, 20, 10, 10)
EXAMPLES = 4000
"""As for the linear task; the paper prints no number for either."""

RATE = 1e-3
"""The paper's, whose loss is half of ours."""

MAX_NORM = 1.0
SPREAD = 0.01
NAMES = (*LINEAR_NAMES, "SDI Tr 0.001")
"""Of the rules; SDI inverts by a single loop."""

_TESTED = 500
_POINTS = 200


class _Task:
    """Teacher, examples and initial weights of a seed."""

    def __init__(self, seed: int, steps: int) -> None:
        self._source = torch.Generator().manual_seed(seed)
        self.teacher = self._network(biases=True)
        self.network = self._network(biases=False)
        self.x = self._normal(steps)
        self._tested = self._normal(_TESTED)
        with torch.no_grad():
            self.y = self.teacher(self.x)
            self._wanted = self.teacher(self._tested)

    def error(self) -> float:
        """Squared error, mean over examples that nobody learns from."""
        with torch.no_grad():
            off = self.network(self._tested) - self._wanted
        return float(off.square().sum(dim=1).mean())

    def _normal(self, count: int) -> Tensor:
        return torch.randn(count, SIZES[0], dtype=torch.float64, generator=self._source)

    def _network(self, *, biases: bool) -> Network:
        network = Network(SIZES, "tanh", generator=torch.Generator())
        for parameter in (*network.weights, *network.biases):
            drawn = torch.rand(parameter.shape, dtype=torch.float64, generator=self._source)
            parameter.data = SPREAD * (2 * drawn - 1)
        if not biases:
            for bias in network.biases:
                bias.data.zero_()
        return network


def _rules(
    network: Network, seed: int, settling: Settling
) -> dict[str, Callable[[], LearningRule]]:
    def single() -> LearningRule:
        control = I(alpha=0.001)
        return SingleLoopInversion(network, None, control, settling=settling, max_norm=MAX_NORM)

    return {**rules(network, seed, MAX_NORM, settling), NAMES[-1]: single}


@dataclass(frozen=True, kw_only=True)
class NonlinearRun(CurvesRun):
    """Learning by one rule.

    Attributes:
        rule: one of `NAMES`.
        seed: of the task and the feedback.
        steps: examples, one an update.
        simulated: Euler steps of a simulation, at most.
    """

    rule: str
    seed: int = 0
    steps: int = EXAMPLES
    simulated: int = SIMULATION.steps

    @property
    def name(self) -> str:
        """Rule and seed."""
        return f"nonlinear inversion/{self.rule}/{self.seed}"

    def run(self, progress: Progress) -> Curves:
        """Learn and measure; see `Task.run`."""
        task = _Task(self.seed, self.steps)
        network = task.network
        settling = Simulation(dt=SIMULATION.dt, steps=self.simulated)
        rule = _rules(network, self.seed, settling)[self.rule]()
        every = max(1, self.steps // _POINTS)
        found: dict[str, list[float]] = {name: [] for name in _SAID}
        first = task.error()
        for k in range(self.steps):
            if k % every == 0:
                found["nmse"].append(task.error() / first)
                if not found["nmse"][-1] < DIVERGED:
                    break
            rule.backward(task.x[k : k + 1], task.y[k : k + 1])
            if k % every == 0:
                _measure(found, rule, task.x[k : k + 1], task.y[k : k + 1])
            for parameter in (*network.weights, *network.biases):
                if parameter.grad is not None:
                    parameter.data -= RATE / 2 * parameter.grad
        progress(1)
        found["nmse"].append(task.error() / first)
        return {name: Quantity(values, *_SAID[name], ("point",)) for name, values in found.items()}


_SAID = {
    "nmse": ("1", "squared error over other examples, of that at the start"),
    "feedback 2": ("degree", "between B and -W^T of the middle layer"),
    "feedback 3": ("degree", "between B and -W^T of the output layer"),
    "to ndi": ("degree", "between the error of the first layer and that of non-dynamic inversion"),
    "abscissa": ("1", "largest real part of the loops' eigenvalues"),
    "changed": ("1", "times that a loop had become unstable, and its feedback was changed"),
    "residual": ("1", "largest rate of change at the simulations' end, of the target"),
}


def _measure(found: dict[str, list[float]], rule: LearningRule, x: Tensor, y: Tensor) -> None:
    """Angles and stability at an example, before the network learns from it."""
    network = rule.network
    single = isinstance(rule, SingleLoopInversion)
    if isinstance(rule, Inversion) and not single:
        for layer, q in enumerate(rule.feedback.matrices, start=2):
            w = network.weights[layer - 1].detach()
            found[f"feedback {layer}"].append(angle_between(q.detach(), w.T))
    if not isinstance(rule, Dynamic):
        return
    found["abscissa"].append(max(rule.abscissas()))
    found["changed"].append(float(rule.stabilisations))
    found["residual"].append(rule.residual)
    kept = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    start, alpha = None if single else rule.feedback, rule.controls[0].alpha
    twin = NonDynamicInversion(network, start, alpha, max_norm=MAX_NORM)
    try:
        twin.backward(x, y)
        found["to ndi"].append(_first_angle(network, kept[0]))
    except ConvergenceError:
        found["to ndi"].append(math.nan)
    for parameter, grad in zip(network.parameters(), kept, strict=True):
        parameter.grad = grad


def _first_angle(network: Network, other: Tensor | None) -> float:
    """Angle between the gradient of the first layer and another one."""
    grad = network.weights[0].grad
    assert grad is not None
    assert other is not None
    return angle_between(grad, other)
