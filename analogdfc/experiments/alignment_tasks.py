"""The tasks of Lillicrap et al. 2016, supplement, as runs: what each figure's networks do.

Learning rates are the paper's, whose loss is half of ours: half of them makes the same steps. What
it leaves open (how long, the spread of the teachers, the units for XOR) is chosen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from analogdfc.datasets import Dataset, nonlinear_teacher, xor
from analogdfc.experiments.alignment import LinearAlignment, Measures, Weights, draw
from analogdfc.experiments.results import Curves
from analogdfc.experiments.task_training import (
    REMAINING,
    TaskRun,
    curve,
    generator_of,
    plain,
    remaining,
    train,
    uniform,
    with_momentum,
)
from analogdfc.jobs import Progress
from analogdfc.learning import Backpropagation, FeedbackAlignment, LearningRule
from analogdfc.learning.alignment import SequentialFeedback
from analogdfc.measures import angle
from analogdfc.network import Network
from analogdfc.records import Quantity

__all__ = [
    "FlowRun",
    "FrozenRun",
    "LinearRun",
    "MomentumRun",
    "SmallWeightsRun",
    "SwitchRun",
    "XorRun",
]


@dataclass(frozen=True, kw_only=True)
class XorRun(TaskRun):
    """Figure S7: networks 2-2-1 from the printed weights, and one 2-25-1, by both rules.

    Attributes:
        starts: first layers that the small network is tried from.
        limit: loss below which it is solved.
    """

    steps: int = 2000
    starts: int = 20
    limit: float = 0.02

    def run(self, progress: Progress) -> Curves:
        """Learn; see `Task.run`."""
        solved: dict[str, list[float]] = {"bp": [], "fa": []}
        after = []
        printed = torch.tensor([[0.15, -0.13]], dtype=torch.float64)
        b = torch.tensor([[-3.75], [-4.53]], dtype=torch.float64)
        data = xor()
        for start in range(self.starts):
            for rule in solved:
                network = Network([2, 2, 1], "sigmoid", "sigmoid")
                uniform(network, 1.0, self.starts * self.seed + start)
                network.weights[1].data.copy_(printed)
                learner = self._rule(rule, network, SequentialFeedback([b]))
                # The paper's error is the sum over the four samples.
                losses = train(learner, data, plain(network, 0.5 * 4 / 2), self.steps, 4)
                solved[rule].append(losses[-1])
                if rule == "fa" and losses[-1] < self.limit:
                    after.append(float(angle(network.weights[1].detach().T, b)))
        found = self._wide(data)
        for rule, losses in solved.items():
            found[f"loss 2-2-1, {rule}"] = curve(losses, "1", "last loss from each first layer")
        found["angle 2-2-1"] = curve(after, "degree", "between W and B where it is solved")
        progress(1)
        return found

    def _rule(self, name: str, network: Network, feedback: SequentialFeedback) -> LearningRule:
        return Backpropagation(network) if name == "bp" else FeedbackAlignment(network, feedback)

    def _wide(self, data: Dataset) -> dict[str, Quantity]:
        found = {}
        for name in ("bp", "fa"):
            network = uniform(Network([2, 25, 1], "tanh", "sigmoid"), 1.0, self.seed)
            feedback = SequentialFeedback.random(network, generator_of(self.seed), 1.0)
            (b,) = feedback.matrices
            before = float(angle(network.weights[1].detach().T, b))
            rule = self._rule(name, network, feedback)
            losses = train(rule, data, plain(network, 0.25), self.steps, 4)
            found[f"loss 2-25-1, {name}"] = curve(losses, "1", "loss before each update")
            if name == "fa":
                ends = [before, float(angle(network.weights[1].detach().T, b))]
                found["angle 2-25-1"] = curve(ends, "degree", "between W and B, start and end")
        return found


@dataclass(frozen=True, kw_only=True)
class MomentumRun(TaskRun):
    """Figure S8: 30-20-10-10 by feedback alignment with momentum.

    Attributes:
        alphas: coefficients of the momentum.
        rate: learning rate of the paper's loss.
    """

    steps: int = 1000
    alphas: tuple[float, ...] = (0.0, 0.5, 0.9)
    rate: float = 0.01

    def run(self, progress: Progress) -> Curves:
        """Learn; see `Task.run`."""
        data = nonlinear_teacher(samples=(5000, 0, 500), seed=self.seed)
        found = {}
        for alpha in self.alphas:
            network = Network([30, 20, 10, 10], generator=generator_of(self.seed))
            step = with_momentum(network, self.rate / 2, alpha)
            rule = FeedbackAlignment(network)
            errors = train(rule, data, step, self.steps, 20, partial(remaining, network, data), 20)
            found[f"momentum {alpha:g}"] = curve(errors, "1", REMAINING)
        progress(1)
        return found


@dataclass(frozen=True, kw_only=True)
class FrozenRun(TaskRun):
    """Figure S6: is depth used? With and without learning in the first layer.

    Attributes:
        hidden: neurons of the first hidden layer.
        rate: learning rate of the paper's loss.
    """

    steps: int = 4000
    hidden: int = 40
    rate: float = 0.05

    def run(self, progress: Progress) -> Curves:
        """Learn; see `Task.run`."""
        data = nonlinear_teacher((30, 20, 10, 10), (20000, 0, 1000), seed=self.seed)
        deep, shallow = [30, self.hidden, 10, 10], [30, self.hidden, 10]
        found = {}
        kinds: dict[str, type[Backpropagation] | type[FeedbackAlignment]] = {
            "bp": Backpropagation,
            "fa": FeedbackAlignment,
        }
        for name, kind in kinds.items():
            for label, sizes, frozen in (
                ("four layers", deep, ()),
                ("first frozen", deep, (1,)),
                ("three layers", shallow, ()),
            ):
                network = Network(sizes, generator=generator_of(self.seed))
                errors = train(
                    kind(network, frozen=frozen),
                    data,
                    plain(network, self.rate / 2),
                    self.steps,
                    100,
                    partial(remaining, network, data),
                    100,
                )
                found[f"{name}, {label}"] = curve(errors, "1", REMAINING)
        progress(1)
        return found


@dataclass(frozen=True, kw_only=True)
class SwitchRun(TaskRun):
    """Figure S14: a quadratic function by backpropagation, then by feedback alignment.

    Attributes:
        sizes: the network's layers, fewer neurons than the function needs.
        rate: learning rate.
    """

    steps: int = 3000
    sizes: tuple[int, ...] = (4, 12, 2)
    rate: float = 0.05

    def run(self, progress: Progress) -> Curves:
        """Learn; see `Task.run`."""
        x = torch.randn(100, 4, dtype=torch.float64, generator=generator_of(100 + self.seed))
        y = torch.stack([x[:, 0] ** 2 - x[:, 1] * x[:, 2], x[:, 3] * x[:, 0]], dim=1)
        data = Dataset(x, y, x, y)
        network = Network(list(self.sizes), generator=generator_of(self.seed))
        step = plain(network, self.rate)
        first = train(Backpropagation(network), data, step, self.steps, 100)
        then = train(FeedbackAlignment(network), data, step, self.steps, 100)
        progress(1)
        text = "mean squared error before each update"
        return {"bp": curve(first, "1", text), "fa": curve(then, "1", text)}


@dataclass(frozen=True, kw_only=True)
class LinearRun(TaskRun):
    """Figures S11 and S12: the deterministic dynamics of linear networks, many at a time.

    Attributes:
        sizes: n_i, n_h and n_o.
        count: networks, each with a target of its own.
        rate: learning rate.
        turns: in how many turns each of A and W learns; 0 for both at the same time.
    """

    steps: int = 400
    sizes: tuple[int, int, int] = (30, 20, 10)
    count: int = 20
    rate: float = 0.02
    turns: int = 0

    @property
    def name(self) -> str:
        """The sizes, the regimen and the seed."""
        how = f"{self.turns} turns" if self.turns else "together"
        return f"linear/{'-'.join(map(str, self.sizes))}, {how}/{self.seed}"

    def run(self, progress: Progress) -> Curves:
        """Follow the dynamics; see `Task.run`."""
        seeds = range(self.count * self.seed, self.count * (self.seed + 1))
        task, weights = draw(self.sizes, list(seeds))
        course = [task.measure(weights)]
        for k in range(self.steps):
            a = not self.turns or (2 * self.turns * k // self.steps) % 2 == 0
            weights = task.step(weights, self.rate, a=a, w=not self.turns or not a)
            course.append(task.measure(weights))
        progress(1)
        return _of_measures(course)


@dataclass(frozen=True, kw_only=True)
class SmallWeightsRun(TaskRun):
    """Figure S13: what updates align with, for initial weights of some sizes.

    Attributes:
        spreads: largest size of an initial weight.
        count: networks of each.
        rate: learning rate.
        left: normalised error at which the angles are read.
    """

    steps: int = 300
    spreads: tuple[float, ...] = (0.0001, 0.001, 0.05, 0.1, 0.125, 0.15, 0.2, 0.25)
    count: int = 20
    rate: float = 0.02
    left: float = 1e-3

    def run(self, progress: Progress) -> Curves:
        """Follow the dynamics; see `Task.run`."""
        seeds = list(range(self.count * self.seed, self.count * (self.seed + 1)))
        angles: dict[str, list[float]] = {"backprop": [], "pseudobackprop": []}
        ends = []
        for spread in self.spreads:
            task, weights = draw((30, 20, 10), seeds, weights=spread)
            measured = task.measure(weights)
            for _ in range(self.steps):
                if float(measured.error.mean()) < self.left:
                    break
                weights = task.step(weights, self.rate)
                measured = task.measure(weights)
            angles["backprop"].append(float(measured.to_backprop.mean()))
            angles["pseudobackprop"].append(float(measured.to_pseudobackprop.mean()))
            ends.append(float(measured.error.mean()))
        progress(1)
        text = "angle of the hidden updates, mean over networks, by initial spread"
        return {
            "spread": curve(self.spreads, "1", "largest size of an initial weight"),
            **{f"angle to {name}": curve(v, "degree", text) for name, v in angles.items()},
            "error": curve(ends, "1", "normalised squared error there"),
        }


@dataclass(frozen=True, kw_only=True)
class FlowRun(TaskRun):
    """Figure S10: where three neurons, T = B = 1, go from a grid of starts and from near zero.

    Attributes:
        side: starts on a side of the grid, from -reach to reach.
        reach: half the side of the region.
        rate: length of a time step.
    """

    steps: int = 4000
    side: int = 81
    reach: float = 2.0
    rate: float = 0.01

    def run(self, progress: Progress) -> Curves:
        """Follow the dynamics; see `Task.run`."""
        grid = torch.linspace(-self.reach, self.reach, self.side, dtype=torch.float64)
        w, a = torch.meshgrid(grid, grid, indexing="ij")
        near = 0.01 * torch.randn(100, 2, dtype=torch.float64, generator=generator_of(self.seed))
        a = torch.cat([a.flatten(), near[:, 0]])
        w = torch.cat([w.flatten(), near[:, 1]])
        one = torch.ones(len(a), 1, 1, dtype=torch.float64)
        task, weights = LinearAlignment(one, one), Weights(a[:, None, None], w[:, None, None])
        for _ in range(self.steps):
            weights = task.step(weights, self.rate)
        error = task.error(weights).flatten().abs()
        bad = weights.w.flatten() < 0
        progress(1)
        return {
            "error": curve(error[:-100].tolist(), "1", "|T - AW| at the end, from the grid"),
            "bad": curve(bad[:-100].double().tolist(), "1", "whether W B < 0 at the end"),
            "error near zero": curve(error[-100:].tolist(), "1", "the same, from near zero"),
            "bad near zero": curve(bad[-100:].double().tolist(), "1", "the same, from near zero"),
        }


def _of_measures(course: Sequence[Measures]) -> Curves:
    def over(name: str, unit: str, text: str) -> Quantity:
        values: list[Tensor] = [getattr(m, name) for m in course]
        return Quantity(torch.stack(values).numpy(), unit, text, ("step", "network"))

    return {
        "error": over("error", "1", "normalised squared error"),
        "trace_bw": over("trace_bw", "1", "tr(BW)"),
        "trace_abe": over("trace_abe", "1", "tr(A^T B E)"),
        "angle": over("angle", "degree", "between W and B^T"),
    }
