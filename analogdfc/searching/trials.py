"""A trial's training up to a rung, as a run that goes on from where the rung before left it."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from analogdfc.datasets import Dataset
from analogdfc.errors import UserError
from analogdfc.jobs import Progress
from analogdfc.presets import Preset, load_preset
from analogdfc.reproduction.training import Course, TrainingRun
from analogdfc.searching.spaces import Variable, chosen, space_of
from analogdfc.training import Divergence, Experiment
from analogdfc.training.experiment import DTYPES
from analogdfc.tuning import settings_of, with_settings

__all__ = ["Measure", "Rung", "Search", "changes"]

Measure = Literal["validation error", "validation loss", "training loss"]

_BY_TRAINING_LOSS = ("mnist-train",)
"""Presets whose paper searched for the least training loss of the last epoch."""

_FACTOR = 3
"""Of the epochs of two rungs, where nobody says them."""


@dataclass(frozen=True, kw_only=True)
class Rung(TrainingRun):
    """The training of a trial up to an epoch; the same wherever it begins.

    Attributes:
        values: settings that are other than the preset's, by their names, sorted.
    """

    values: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        """What is trained, up to which epoch, and which settings."""
        return f"{super().name}, to epoch {self.epochs}, {self.trial[:8]}"

    @property
    def trial(self) -> str:
        """Digest of all that the rungs of a trial share."""
        told = json.loads(replace(self, epochs=0).settings())
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]

    def with_state(self, folder: Path) -> Rung:
        """The same with its state in a folder, where whoever does it sees that.

        Args:
            folder: of the runs' results.
        """
        return replace(self, checkpoint=folder.resolve() / f"{self.trial}.checkpoint")

    def run(self, progress: Progress) -> Course:
        """Train on; see `Task.run`. A training that diverges is a result."""
        here = self
        if self.checkpoint is not None and not self.checkpoint.parent.is_dir():
            here = replace(self, checkpoint=None)
        try:
            return super(Rung, here).run(progress)
        except Divergence as error:
            return Course((), 1, math.nan, stopped=str(error))

    def experiment(self, data: Dataset) -> Experiment:
        """See `TrainingRun.experiment`."""
        return with_settings(super().experiment(data), dict(self.values))


def changes(changed: Experiment, base: Experiment) -> tuple[tuple[str, Any], ...]:
    """Settings of an experiment that another one has otherwise, by their names, sorted.

    Args:
        changed: the experiment.
        base: the other one.
    """
    before = {name: one.value for name, one in settings_of(base).items()}
    now = {name: one.value for name, one in settings_of(changed).items()}
    return tuple(sorted((name, v) for name, v in now.items() if v != before.get(name)))


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, and how.

    Attributes:
        preset: a published preset, whose paper's space is searched.
        rule: one of its rules.
        feedback: 'learned' or 'fixed', for deep feedback control; None for the preset's.
        dataset: another set than the preset's; None for that.
        trials: how many settings are tried; rounded up to whole generations.
        epochs: of a training.
        rungs: epochs after which half of the trials end, ascending and below `epochs`.
        together: trials of a generation, whose settings are drawn from what those before it gave.
        pretraining: epochs of feedback learning before; None for the preset's.
        samples: that are learned from; None for all.
        held_out: of validation and of test samples each; None for all.
        seed: of the search, and of the weights and the order of samples of every trial.
        dtype: floating type.
        data: folder of data sets.

    Raises:
        UserError: counts out of range, or a preset, rule or feedback without a published space.
    """

    preset: str
    rule: str
    feedback: str | None = None
    dataset: str | None = None
    trials: int = 200
    epochs: int = 100
    rungs: tuple[int, ...] = ()
    together: int = 8
    pretraining: int | None = None
    samples: int | None = None
    held_out: int | None = None
    seed: int = 0
    dtype: str = "float64"
    data: Path | None = None

    def __post_init__(self) -> None:
        if min(self.trials, self.epochs, self.together) < 1:
            raise UserError(
                f"{self.trials} trials, {self.epochs} epochs, {self.together} together: all >= 1"
            )
        steps = (0, *self.rungs, self.epochs)
        if any(b <= a for a, b in itertools.pairwise(steps)):
            raise UserError(
                f"rungs {', '.join(map(str, self.rungs))}: ascending epochs from 1 to "
                f"{self.epochs - 1} are possible"
            )
        space_of(self.published, self.rule, self.feedback)

    @classmethod
    def rungs_of(cls, epochs: int) -> tuple[int, ...]:
        """Rungs where nobody says them: each a third of the next.

        Args:
            epochs: of a training.

        >>> Search.rungs_of(100)
        (1, 3, 11, 33)
        """
        found: list[int] = []
        while (epochs := epochs // _FACTOR) >= 1:
            found.insert(0, epochs)
        return tuple(found)

    @property
    def published(self) -> Preset:
        """The preset."""
        return load_preset(self.preset)

    @property
    def base(self) -> Experiment:
        """The published settings."""
        return self.published.experiment(self.rule, self.feedback)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of the layers, as the data set needs them."""
        base = self.base
        if self.dataset is None:
            return base.sizes
        data = replace(base, dataset=self.dataset).load(self.data, DTYPES[self.dtype])
        return (data.x.shape[1], *base.sizes[1:-1], data.y.shape[1])

    @property
    def space(self) -> tuple[Variable, ...]:
        """What is searched over."""
        return space_of(self.published, self.rule, self.feedback)

    @property
    def measure(self) -> Measure:
        """What is made small, as the papers did."""
        if self.preset in _BY_TRAINING_LOSS:
            return "training loss"
        base = self.base
        return "validation error" if base.loss == "cross-entropy" else "validation loss"

    def experiment(self, values: Mapping[str, Any]) -> Experiment:
        """The experiment of a trial, in this library's conventions.

        Args:
            values: of the hyperparameters, in the published ones, by name.
        """
        return self.published.with_entries(chosen(self.space, values)).experiment(
            self.rule, self.feedback
        )

    def rung(self, settings: tuple[tuple[str, Any], ...], epochs: int) -> Rung:
        """The training of a trial up to an epoch.

        Args:
            settings: see `Rung.values`; none for the published ones.
            epochs: where it ends.
        """
        base = self.base
        return Rung(
            preset=self.preset,
            rule=self.rule,
            feedback=base.feedback if base.controlled else None,
            dataset=self.dataset or base.dataset,
            seed=self.seed,
            epochs=epochs,
            pretraining=self.pretraining,
            samples=self.samples,
            held_out=self.held_out,
            dtype=self.dtype,
            data=self.data and self.data.resolve(),
            values=settings,
        )

    def value(self, course: Course) -> float:
        """What a trial has reached; inf where it came to nothing.

        Args:
            course: its training.
        """
        if course.stopped or not course.history:
            return math.inf
        if self.measure == "training loss":
            return course.history[-1].train.loss
        if self.measure == "validation loss":
            return course.best_by_loss.validation.loss
        return course.best_by_error.validation.error

    def shown(self, value: float) -> str:
        """A value for people.

        Args:
            value: of `value`.
        """
        return f"{value:.2%}" if self.measure == "validation error" else f"{value:.4g}"

    def described(self) -> dict[str, Any]:
        """What a journal has to share with the search that goes on with it, for JSON."""
        return {
            "preset": self.preset,
            "rule": self.rule,
            "feedback": self.base.feedback if self.base.controlled else "",
            "dataset": self.dataset or self.base.dataset,
            "epochs": self.epochs,
            "rungs": list(self.rungs),
            "together": self.together,
            "pretraining": self.pretraining,
            "samples": self.samples,
            "held_out": self.held_out,
            "seed": self.seed,
            "dtype": self.dtype,
        }
