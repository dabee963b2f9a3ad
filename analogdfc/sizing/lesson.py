"""A training as a trial: what a network learns through a chip with given properties."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import NamedTuple

import torch

from analogdfc.cards.technology import Card
from analogdfc.controller import PI
from analogdfc.datasets import Dataset
from analogdfc.errors import UserError
from analogdfc.jobs import Progress, Run, Shared
from analogdfc.onchip.registry import HardwareDFC
from analogdfc.onchip.substrate import ChipSubstrate
from analogdfc.presets import load_preset, preset_names
from analogdfc.records import Record, Tree
from analogdfc.sizing.specification import (
    loosest,
    own_values,
    requirements_of,
    tightest,
    with_values,
)
from analogdfc.states import digest
from analogdfc.training.experiment import HIDDEN, Experiment, default_experiment

__all__ = ["IDEAL", "SOUGHT", "Lesson", "Score", "Taught", "ideal_experiment"]

IDEAL = "dfc-ssa"
"""The rule whose accuracy a chip has to reach, with fixed feedback."""

SOUGHT = ("gain", "offset", "levels", "window", "word", "bit")
"""Requirements on which the chip at rest depends; all others are the card's."""

_TIMED = 3
"""Mini-batches by which the time of a training is foretold."""


def ideal_experiment(
    dataset: str, sizes: tuple[int, ...] | None, epochs: int, samples: int | None
) -> tuple[Experiment, Dataset]:
    """A training by the ideal rule: by the preset of the data set, where there is one.

    Args:
        dataset: its name.
        sizes: neurons of layers 0..L; by default the preset's, else one hidden layer.
        epochs: over the samples.
        samples: to learn from; None for all.

    Returns:
        The training, and its data.

    Raises:
        UserError: an unknown or missing set, more samples than it has, or sizes that don't fit it.
    """
    if dataset in preset_names():
        made = load_preset(dataset).experiment(IDEAL, "fixed")
    else:
        made = replace(default_experiment(IDEAL), dataset=dataset)
    made = replace(made, samples=samples, plan=replace(made.plan, epochs=epochs))
    data = made.load()
    ends = data.x.shape[1], data.y.shape[1]
    if sizes is None:
        sizes = made.sizes if dataset in preset_names() else (ends[0], HIDDEN, ends[1])
    if (sizes[0], sizes[-1]) != ends:
        raise UserError(
            f"sizes {'-'.join(map(str, sizes))}: {dataset} has {ends[0]} inputs and {ends[1]} "
            "classes, which the first and the last layer must have"
        )
    return replace(made, sizes=sizes), data


@dataclass(frozen=True)
class Lesson:
    """What is learned, and the accuracy that a chip must reach.

    Attributes:
        experiment: the training by the ideal rule, of any seed.
        data: what is learned; the test samples decide.
        card: gives everything that isn't sought.
        points: of wrong answers in the test, %, that the chip may have more than the ideal rule, on
            the mean of the seeds.
        ranges: of the requirements that are sought, by name, of `SOUGHT`, in SI units.
        fixed: the other requirements.
        seeds: of weights, order of samples and chip.
        target_step: step of the output target, in units of one sample's loss gradient.

    Raises:
        UserError: points or a step that aren't positive, no seed, a card without a requirement that
            isn't sought, or nothing to seek.
    """

    experiment: Experiment
    data: Dataset
    card: Card
    _: KW_ONLY
    points: float
    ranges: Mapping[str, tuple[float, float]]
    fixed: Mapping[str, float]
    seeds: tuple[int, ...]
    target_step: float = 1.0

    def __post_init__(self) -> None:
        if not (self.points > 0 and self.target_step > 0 and self.seeds):
            raise UserError(
                f"points = {self.points}, target step = {self.target_step}, seeds {self.seeds}: "
                "both must be > 0, and a seed is needed"
            )
        if other := [name for name in self.ranges if name not in SOUGHT]:
            raise UserError(
                f"{other[0]}: a chip at rest doesn't depend on it, so that no training can seek "
                f"it; those that can be sought are {', '.join(SOUGHT)}"
            )
        if not self.ranges:
            raise UserError("every requirement is fixed, so there is nothing to size")
        self.on(loosest(self.ranges))

    @property
    def start(self) -> dict[str, float]:
        """The card's own values of what is sought, within the ranges."""
        own = {**tightest(self.ranges), **own_values(self.card)}
        return {n: min(max(own[n], low), high) for n, (low, high) in self.ranges.items()}

    def on(self, values: Mapping[str, float]) -> Card:
        """The card with these values of what is sought.

        Args:
            values: by name, in SI units.

        Raises:
            UserError: a card without one of the others, or values that contradict the card.
        """
        whole = {**own_values(self.card), **self.fixed, **values}
        if lacks := [name for name in requirements_of(self.card) if name not in whole]:
            raise UserError(
                f"the card says nothing of {', '.join(lacks)}: give it a value or a range"
            )
        return with_values(self.card, whole)

    def chip(self, values: Mapping[str, float], seed: int) -> Experiment:
        """The training through a chip at rest.

        Args:
            values: by name, in SI units.
            seed: of weights, order and chip.
        """
        base = replace(self.experiment, seed=seed)
        controller = base.options.get("controller", PI())
        # A chip needs a proportional part for its speed, which the ideal rule does without.
        made = PI(k_p=controller.k_p or 1.0, alpha=controller.alpha)
        substrate = ChipSubstrate(card=self.on(values), controller=made)
        options = {"target_stepsize": self.target_step}
        return replace(base, rule="dfc-chip", substrate=substrate, options=options)

    def rule(self, values: Mapping[str, float], seed: int) -> HardwareDFC:
        """The rule of that training, as it starts.

        Args:
            values: by name, in SI units.
            seed: of weights, order and chip.
        """
        rule = self.chip(values, seed).trainer(self.data).rule
        assert isinstance(rule, HardwareDFC)
        return rule

    def seconds(self) -> float:
        """CPU time of one training through a chip, foretold from a few mini-batches."""
        plan, data, clock = self.experiment.plan, self.data, time.process_time
        begin = clock()
        rule = self.rule(self.start, self.seeds[0])
        x, y = data.x[: plan.batch_size], data.y[: plan.batch_size]
        rule.backward(x, y)
        made = clock()
        for _ in range(_TIMED):
            rule.backward(x, y)
        learned = clock()
        rule.outputs(data.x_test)
        tested = clock() - learned
        steps = math.ceil(len(data.x) / plan.batch_size) * (learned - made) / _TIMED
        return (made - begin) + plan.epochs * (steps + 2 * tested)  # validation and test

    def fingerprint(self) -> str:
        """Digest of all that a score depends on, but for values and seed."""
        plan, parts = self.experiment.plan, self.data
        told = [
            str(replace(self.experiment, options={})),
            {name: str(value) for name, value in self.experiment.options.items()},
            str(plan),
            [digest(t) for t in (parts.x, parts.y, parts.x_test, parts.y_test)],
            [self.card.sha256, self.target_step],
            {name: float(value) for name, value in self.fixed.items()},
        ]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class Score(NamedTuple):
    """What a training comes to.

    Attributes:
        error: share of wrong answers in the test; nan where it broke off.
        reason: why it did; else empty.
    """

    error: float
    reason: str = ""


@dataclass(frozen=True)
class Taught(Run[Score]):
    """One training.

    Attributes:
        lesson: what is learned.
        values: of the chip; None for the ideal rule.
        seed: of weights, order and chip.
    """

    lesson: Shared[Lesson]
    values: tuple[tuple[str, float], ...] | None
    seed: int

    @property
    def name(self) -> str:
        """See `Task.name`."""
        what = IDEAL if self.values is None else ", ".join(f"{n} {v:g}" for n, v in self.values)
        return f"training by {what}, seed {self.seed}"

    def settings(self) -> str:
        """See `Task.settings`."""
        return json.dumps([self.lesson.value.fingerprint(), self.values, self.seed])

    def run(self, progress: Progress) -> Score:
        """See `Task.run`."""
        torch.set_num_threads(1)
        lesson = self.lesson.value
        try:
            if self.values is None:
                made = replace(lesson.experiment, seed=self.seed)
            else:
                made = lesson.chip(dict(self.values), self.seed)
            trainer = made.trainer(lesson.data)
            trainer.run()
            score = Score(trainer.history[-1].test.error)
        except UserError as error:
            if self.values is None:
                raise
            score = Score(math.nan, str(error))  # a weight out of the window, or no rest
        progress(1)
        return score

    def pack(self, result: Score) -> Tree:
        """See `Run.pack`."""
        return {"error": result.error, "reason": result.reason}

    def unpack(self, record: Record) -> Score:
        """See `Run.unpack`."""
        return Score(record.number("error"), record.text("reason"))
