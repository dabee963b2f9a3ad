"""Linear regression by dynamic inversion (Podlaski and Machens 2020, figures 3a to 3f).

A 30-20-10 network learns t = T x online, by updates of the published learning rate or by updates
whose norm is that rate, so that only the direction counts. Weights start uniform in +-0.01, the
feedback of alignment in +-0.5, that of R-Init in +-0.01. Dynamic inversion is taken at its steady
state, and simulated now and then to be compared with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.controller import I
from analogdfc.dynamics.settling import DirectSolution, Settling, Simulation
from analogdfc.errors import ConvergenceError
from analogdfc.experiments.results import Curves, CurvesRun
from analogdfc.jobs import Progress
from analogdfc.learning.alignment import FeedbackAlignment, SequentialFeedback
from analogdfc.learning.base import LearningRule
from analogdfc.learning.controls import Backpropagation
from analogdfc.learning.inversion import (
    DynamicInversion,
    Inversion,
    NonDynamicInversion,
    Pseudobackpropagation,
)
from analogdfc.network import Network
from analogdfc.records import Quantity

__all__ = [
    "EXAMPLES",
    "MAX_NORM",
    "NAMES",
    "RATE",
    "SIMULATION",
    "SIZES",
    "InversionRun",
    "LinearTask",
    "angle_between",
    "rules",
]

SIZES = (30, 20, 10)
EXAMPLES = 4000
RATE = 0.01
"""The paper's, whose loss is half of ours."""

MAX_NORM = 10.0
SIMULATION = Simulation(dt=0.1, steps=10000)
"""Of the paper."""

_DIRECT = DirectSolution()
_EVERY = 20
DIVERGED = 1e3
"""Error, of that at the start, from which learning has diverged, and ends."""

_SIMULATED = 400


def rules(
    network: Network,
    seed: int,
    max_norm: float = MAX_NORM,
    settling: Settling = _DIRECT,
) -> dict[str, Callable[[], LearningRule]]:
    """The figure's rules, on a network that each is to start from.

    Args:
        network: the network.
        seed: of the random feedback.
        max_norm: bound on the norm of hidden errors.
        settling: how dynamic inversion comes to rest.
    """

    def feedback(spread: float) -> SequentialFeedback:
        return SequentialFeedback.random(network, torch.Generator().manual_seed(seed), spread)

    def ndi(alpha: float, *, random: bool = False) -> NonDynamicInversion:
        start = feedback(0.01) if random else None
        return NonDynamicInversion(network, start, alpha, max_norm=max_norm)

    def di(alpha: float, *, random: bool = False) -> DynamicInversion:
        start = feedback(0.01) if random else None
        control = I(alpha=alpha)
        return DynamicInversion(network, start, control, settling=settling, max_norm=max_norm)

    return {
        "BP": lambda: Backpropagation(network),
        "FA": lambda: FeedbackAlignment(network, feedback(0.5)),
        "PBP": lambda: Pseudobackpropagation(network, max_norm=max_norm),
        "NDI Tr 0": lambda: ndi(0.0),
        "NDI Tr 0.001": lambda: ndi(0.001),
        "NDI R 0.01": lambda: ndi(0.01, random=True),
        "DI Tr 0": lambda: di(0.0),
        "DI Tr 0.001": lambda: di(0.001),
        "DI R 0.01": lambda: di(0.01, random=True),
    }


NAMES = ("BP", "FA", "PBP", *(f"{k} {s}" for k in ("NDI", "DI")
         for s in ("Tr 0", "Tr 0.001", "R 0.01")))  # fmt: skip
"""Of the rules."""


class LinearTask:
    """Teacher, examples and initial weights of a seed.

    Args:
        seed: of all of them.
    """

    def __init__(self, seed: int) -> None:
        source = torch.Generator().manual_seed(seed)

        def uniform(size: float, *shape: int) -> Tensor:
            return size * (2 * torch.rand(*shape, dtype=torch.float64, generator=source) - 1)

        n, m, k = SIZES
        self.teacher = uniform(1.0, k, n)
        self.start = (uniform(0.01, m, n), uniform(0.01, k, m))
        self.x = torch.randn(EXAMPLES, n, dtype=torch.float64, generator=source)
        self.covariance = self.x.T @ self.x / EXAMPLES

    def network(self) -> Network:
        """The network at the start."""
        network = Network(SIZES, "linear", generator=torch.Generator())
        for parameter, w in zip(network.weights, self.start, strict=True):
            parameter.data.copy_(w)
        return network

    def error(self, network: Network) -> float:
        """Squared error over all examples, in their mean.

        Args:
            network: the network.
        """
        w1, w2 = (w.detach() for w in network.weights)
        off = w2 @ w1 - self.teacher
        return float(torch.trace(off @ self.covariance @ off.T))


@dataclass(frozen=True, kw_only=True)
class InversionRun(CurvesRun):
    """Learning by one rule.

    Attributes:
        rule: one of `NAMES`.
        normed: every update has the norm of the learning rate.
        seed: of the task and the feedback.
        steps: examples, one an update.
    """

    rule: str
    normed: bool
    seed: int = 0
    steps: int = EXAMPLES

    @property
    def name(self) -> str:
        """Rule, kind of update and seed."""
        return f"inversion/{self.rule}, {'norm' if self.normed else 'rate'}/{self.seed}"

    def run(self, progress: Progress) -> Curves:
        """Learn and measure; see `Task.run`."""
        task = LinearTask(self.seed)
        network = task.network()
        rule = rules(network, self.seed)[self.rule]()
        first = task.error(network)
        found: dict[str, list[float]] = {
            name: [] for name in ("nmse", "feedback", "to pbp", "to ndi", "abscissa")
        }
        for k in range(self.steps):
            x = task.x[k : k + 1]
            y = x @ task.teacher.T
            if k % _EVERY == 0:
                found["nmse"].append(task.error(network) / first)
                if not found["nmse"][-1] < DIVERGED:
                    break
            rule.backward(x, y)
            updates = [w.grad.clone() for w in network.weights if w.grad is not None]
            if k % _EVERY == 0:
                self._measure(found, rule, x, y, updates[0])
            if isinstance(rule, DynamicInversion) and k % _SIMULATED == _SIMULATED // 2:
                found["to ndi"].append(_simulated(rule, x, y))
            for w, update in zip(network.weights, updates, strict=True):
                w.data -= RATE * (update / update.norm() if self.normed else update / 2)
        progress(1)
        found["nmse"].append(task.error(network) / first)
        said = {
            "nmse": ("1", "squared error over all examples, of that at the start"),
            "feedback": ("degree", "between B and -W^T of the output layer"),
            "to pbp": ("degree", "between the hidden error and pseudobackprop's"),
            "to ndi": ("degree", "between the hidden error of a simulation and the steady state's"),
            "abscissa": ("1", "largest real part of the loop's eigenvalues"),
        }
        return {name: Quantity(values, *said[name], ("point",)) for name, values in found.items()}

    def _measure(
        self,
        found: dict[str, list[float]],
        rule: LearningRule,
        x: Tensor,
        y: Tensor,
        update: Tensor,
    ) -> None:
        """Angles and stability at an example, before the network learns from it."""
        network = rule.network
        if isinstance(rule, Inversion):
            (q,) = rule.feedback.matrices
            found["feedback"].append(angle_between(q.detach(), network.weights[1].detach().T))
        if isinstance(rule, DynamicInversion):
            found["abscissa"].append(max(rule.abscissas()))
        if not isinstance(rule, Pseudobackpropagation):
            twin = Pseudobackpropagation(network, max_norm=MAX_NORM)
            found["to pbp"].append(angle_between(_first(twin, x, y), update))


def _first(rule: LearningRule, x: Tensor, y: Tensor) -> Tensor:
    """Gradient of the first layer by a rule."""
    rule.backward(x, y)
    grad = rule.network.weights[0].grad
    assert grad is not None
    found: Tensor = grad.clone()
    return found


def _simulated(rule: DynamicInversion, x: Tensor, y: Tensor) -> float:
    """Angle between the hidden error by the paper's simulation and that of its steady state."""
    twin = DynamicInversion(rule.network, rule.feedback, rule.controls, settling=SIMULATION)
    try:
        return angle_between(_first(twin, x, y), _first(rule, x, y))
    except ConvergenceError:
        return math.nan


def angle_between(x: Tensor, y: Tensor) -> float:
    """Angle of two arrays as vectors, in degrees.

    Args:
        x: one.
        y: the other, of the same shape.
    """
    cosine = torch.nn.functional.cosine_similarity(x.flatten(), y.flatten(), dim=0)
    return math.degrees(math.acos(min(1.0, max(-1.0, float(cosine)))))
