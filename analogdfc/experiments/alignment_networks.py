"""The linear and the quadratic task of Lillicrap et al. 2016: what aligns while a network learns.

Figure S9 is a supplement to the main text, which isn't among the five texts. What the supplement
and its citations leave open is chosen here: see each task.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.datasets import Dataset, linear_teacher
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
)
from analogdfc.jobs import Progress
from analogdfc.learning import Backpropagation, FeedbackAlignment
from analogdfc.learning.alignment import SequentialFeedback
from analogdfc.measures import angle
from analogdfc.network import Network

__all__ = ["LinearTaskRun", "NeuronsRun", "quadratic_teacher"]


@dataclass(frozen=True, kw_only=True)
class LinearTaskRun(TaskRun):
    """The linear task of a 30-20-10 network, one sample at a time, by both rules.

    Podlaski and Machens 2020, 7.5.2, print its settings: spreads of T, of the weights and of the
    feedback, and the learning rate.

    Attributes:
        sizes: n_i, n_h and n_o.
        rate: learning rate of the paper's loss, half of the squared error.
        weights: largest size of an initial weight.
        feedback: largest size of an element of B.
        every: samples between two points of a curve.
    """

    steps: int = 2000
    sizes: tuple[int, int, int] = (30, 20, 10)
    rate: float = 0.01
    weights: float = 0.01
    feedback: float = 0.5
    every: int = 20

    def run(self, progress: Progress) -> Curves:
        """Learn; see `Task.run`."""
        n_i, _, n_o = self.sizes
        data = linear_teacher(n_i, n_o, samples=(self.steps, 0, 500), seed=self.seed)
        found = {}
        for name in ("bp", "fa"):
            network = uniform(Network(self.sizes, "linear"), self.weights, self.seed)
            pathway = SequentialFeedback.random(network, generator_of(self.seed), self.feedback)
            rule = Backpropagation(network) if name == "bp" else FeedbackAlignment(network, pathway)
            (b,) = pathway.matrices
            angles: list[float] = []

            def measure(
                network: Network = network, b: Tensor = b, to: list[float] = angles
            ) -> float:
                to.append(_hidden_angle(network, b, data))
                return remaining(network, data)

            step = plain(network, self.rate / 2)
            errors = train(rule, data, step, self.steps, 1, measure, self.every)
            found[f"error, {name}"] = curve(errors, "1", REMAINING)
            if name == "fa":
                text = "between the hidden updates of both rules, test samples together"
                found["angle"] = curve(angles, "degree", text)
        progress(1)
        return found


def _hidden_angle(network: Network, b: Tensor, data: Dataset) -> float:
    """Angle between B e and W^T e of all test samples, in degrees."""
    with torch.no_grad():
        error = network(data.x_test) - data.y_test
        return angle(error @ b.T, error @ network.weights[1])


def quadratic_teacher(size: int, samples: int, seed: int) -> Dataset:
    """Standard normal inputs and as many quadratic functions of them, each of unit variance.

    Each is ((t x)^2 - 1) / sqrt(2) along a random direction t of unit length.

    Args:
        size: inputs and outputs.
        samples: to learn from, and half as many to test.
        seed: of the directions and the inputs.
    """
    source = generator_of(seed)
    t = torch.randn(size, size, dtype=torch.float64, generator=source)
    t /= t.norm(dim=1, keepdim=True)
    x = torch.randn(samples + samples // 2, size, dtype=torch.float64, generator=source)
    y = ((x @ t.T).square() - 1) / math.sqrt(2)
    return Dataset(x[:samples], y[:samples], x[samples:], y[samples:])


@dataclass(frozen=True, kw_only=True)
class NeuronsRun(TaskRun):
    """Figure S9: 20-1000-20 on a quadratic function; the angle between paths of each neuron.

    That the function is quadratic is said by the caption of figure S14; its coefficients, the
    learning rate and the spreads aren't printed.

    Attributes:
        hidden: neurons of the hidden layer.
        size: inputs and outputs.
        rate: learning rate of the paper's loss.
        samples: to learn from.
        feedback: largest size of an element of B.
        output: what the initial weights of the output are, of Glorot's.
        batch: samples of a mini-batch.
        every: updates between two points of the curve.
    """

    steps: int = 4000
    hidden: int = 1000
    size: int = 20
    rate: float = 0.003
    samples: int = 20000
    feedback: float = 1.0
    output: float = 0.3
    batch: int = 20
    every: int = 100

    def run(self, progress: Progress) -> Curves:
        """Learn; see `Task.run`."""
        data = quadratic_teacher(self.size, self.samples, self.seed)
        network = Network([self.size, self.hidden, self.size], generator=generator_of(self.seed))
        network.weights[1].data.mul_(self.output)
        # With biases of 0 its output would be odd, and the function is even.
        network.biases[0].data.uniform_(-1.0, 1.0, generator=generator_of(self.seed))
        pathway = SequentialFeedback.random(network, generator_of(self.seed), self.feedback)
        (b,) = pathway.matrices
        before = _of_neurons(network, b)
        errors = train(
            FeedbackAlignment(network, pathway),
            data,
            plain(network, self.rate / 2),
            self.steps,
            self.batch,
            lambda: remaining(network, data),
            self.every,
        )
        progress(1)
        text = "between forward and backward weights of hidden neurons, ascending, "
        return {
            "error": curve(errors, "1", REMAINING),
            "before": curve(before, "degree", f"{text}before learning"),
            "after": curve(_of_neurons(network, b), "degree", f"{text}after learning"),
        }


def _of_neurons(network: Network, b: Tensor) -> list[float]:
    """Angles between hidden neurons' output weights and rows of B, in degrees, ascending."""
    w = network.weights[1].detach().T
    return sorted(angle(*pair) for pair in zip(w, b, strict=True))
