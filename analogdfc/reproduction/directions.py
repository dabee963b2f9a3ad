"""Where updates push the output: figure S2 of Meulemans et al. 2020."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analogdfc.datasets import student_teacher
from analogdfc.experiments.results import Curves, CurvesRun, values
from analogdfc.experiments.rule_alignment import update_of
from analogdfc.experiments.targets import output_direction
from analogdfc.jobs import Progress
from analogdfc.learning import Backpropagation, GaussNewtonTargets, LearningRule, ParameterUpdate
from analogdfc.measures import angle
from analogdfc.network import Network
from analogdfc.records import Quantity
from analogdfc.reproduction.claims import Claim, Drawn

__all__ = ["DRAWN", "DirectionRun", "judge", "make"]

_SIZES = (4, 4, 4, 2)
_TEACHER = (4, 1000, 1000, 1000, 1000, 2)
_TEACHER_SEED = 42
_SAMPLES, _SHORT = 1000, 50
_RATES = {"gnt": 1e-2, "bp": 1e-3}
"""Learning rates; the paper prints none. A unit step of GNT would reach the target and more."""
_NEAR = 20.0
"""Degrees within which a move is approximately along a direction; ours, the paper gives none."""


@dataclass(frozen=True, kw_only=True)
class DirectionRun(CurvesRun):
    """Learning sample by sample, with the direction of each update's move of the output.

    Attributes:
        rule: 'gnt' or 'bp'.
        seed: of the student; the samples come as they were drawn.
        samples: how many are learned from, once each.
    """

    rule: str
    seed: int
    samples: int = _SAMPLES

    @property
    def name(self) -> str:
        """What it is, and its seed."""
        return f"output direction/{self.rule}/{self.seed}"

    def run(self, progress: Progress) -> Curves:
        """Learn and measure; see `Task.run`."""
        data = student_teacher(_TEACHER, (self.samples, 0, 1), _TEACHER_SEED)
        network = Network(_SIZES, generator=torch.Generator().manual_seed(self.seed))
        rule: LearningRule
        if self.rule == "bp":
            rule = Backpropagation(network)
        else:
            rule = GaussNewtonTargets(network, target_stepsize=1.0)
        angles, losses = [], []
        for x, y in zip(torch.split(data.x, 1), torch.split(data.y, 1), strict=True):
            with torch.no_grad():
                output = network(x)
            found = update_of(rule, x, y)
            # The published networks of this figure have no biases.
            update = ParameterUpdate(
                found.weights, tuple(torch.zeros_like(b) for b in found.biases)
            )
            angles.append(angle(output_direction(network, x, update), rule.loss.error(output, y)))
            losses.append(float(rule.loss.value(output, y)))
            with torch.no_grad():
                for w, change in zip(network.weights, update.weights, strict=True):
                    w.add_(change, alpha=_RATES[self.rule])
        progress(1)
        what = "between the move of the output and the negative gradient of its loss"
        return {
            self.rule: Quantity(angles, "degree", what, ("sample",)),
            f"{self.rule} loss": Quantity(
                losses, "1", "of the sample before its update", ("sample",)
            ),
        }


def make(seed: int, quick: bool) -> Sequence[DirectionRun]:
    """The runs of a seed.

    Args:
        seed: of the student.
        quick: the short form.
    """
    samples = _SHORT if quick else _SAMPLES
    return [DirectionRun(rule=rule, seed=seed, samples=samples) for rule in _RATES]


def judge(found: Sequence[Curves]) -> list[Claim]:
    """What the paper says of the figure.

    Args:
        found: curves of `make`.
    """
    middle = {
        rule: float(np.median(values(curves, rule)))
        for rule, curves in zip(_RATES, found, strict=True)
    }
    return [
        Claim(
            "GNT updates push the output approximately along the negative gradient (median angle "
            f"below {_NEAR:g} degrees)",
            "degree",
            {"gnt": middle["gnt"]},
            middle["gnt"] < _NEAR,
        ),
        Claim(
            "BP updates do so less (median angle)",
            "degree",
            middle,
            middle["gnt"] < middle["bp"],
        ),
    ]


DRAWN = (
    Drawn(["gnt", "bp"], "sample", "move of the output to the negative gradient (degree)"),
    Drawn(["gnt loss", "bp loss"], "sample", "squared error (1)", log=True),
)
