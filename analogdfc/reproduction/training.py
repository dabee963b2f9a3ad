"""A training with the settings of a preset, as a run that is kept and goes on after each epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc import records
from analogdfc.datasets import Dataset, Samples
from analogdfc.errors import UserError
from analogdfc.files import exists
from analogdfc.jobs import Progress, Run, checkpoint_place
from analogdfc.presets import ControlPreset, load_preset
from analogdfc.records import Quantity, Record, Tree
from analogdfc.reproduction.costs import SAMPLES, Cost
from analogdfc.training import (
    Angles,
    AngleSettings,
    Experiment,
    Metrics,
    Trainer,
    checkpoint_tree,
    restore,
)
from analogdfc.training.angles import angles_tree, read_angles
from analogdfc.training.checkpoints import ALIGNMENT
from analogdfc.training.experiment import DTYPES
from analogdfc.training.metrics import Score

__all__ = ["FIGURES", "Course", "TrainingRun", "partial"]

_SECONDS = "seconds"
_IMAGES = "images"


@dataclass(frozen=True)
class Course:
    """What a training gave.

    Attributes:
        history: figures of its epochs.
        outputs: how many a loss is summed over.
        seconds: of a processor that it took, in all its parts; nan where nobody kept them.
        angles: those that were taken of its updates.
        stopped: why it broke off before its end; empty where it didn't.
        images: test samples, and what the network makes of them at the end, (2, samples, n_L); or
            weights of hidden neurons at the start and at the end, (2, neurons, n_0). None where
            nobody wants any.
    """

    history: tuple[Metrics, ...]
    outputs: int
    seconds: float
    angles: Angles = field(default_factory=lambda: Angles((), {}))
    stopped: str = ""
    images: NDArray[np.float64] | None = field(default=None, compare=False)

    @property
    def best_by_error(self) -> Metrics:
        """The epoch with the least validation error."""
        return min(self.history, key=lambda m: m.validation.error)

    @property
    def best_by_loss(self) -> Metrics:
        """The epoch with the least validation loss."""
        return min(self.history, key=lambda m: m.validation.loss)


FIGURES = {
    "test error": (
        "%",
        lambda course: 100 * course.best_by_error.test.error,
        "test error at the epoch with the least validation error",
    ),
    "test loss": (
        "1",
        lambda course: course.best_by_loss.test.loss / course.outputs,
        "squared error of the test samples, mean over outputs, at the epoch with the least "
        "validation loss",
    ),
    "training loss": (
        "1",
        lambda course: course.history[-1].train.loss,
        "training loss, mean during the last epoch",
    ),
    "test loss, sum over outputs": (
        "1",
        lambda course: course.best_by_loss.test.loss,
        "squared error of the test samples, sum over outputs, at the epoch with the least "
        "validation loss",
    ),
    "time of an epoch": (
        "s",
        lambda course: course.seconds / len(course.history),
        "time of one core in an epoch, feedback learning and figures included",
    ),
    "least training loss": (
        "1",
        lambda course: min(m.train.loss for m in course.history),
        "least training loss of an epoch, mean during it",
    ),
    "least training loss, mean over outputs": (
        "1",
        lambda course: min(m.train.loss for m in course.history) / course.outputs,
        "least training loss of an epoch, mean during it and over outputs",
    ),
}
"""What papers print of a training, by name: unit, how it follows from the course, in words."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun(Run[Course]):
    """A training with a preset's settings.

    Attributes:
        preset: name of the preset.
        rule: name of the rule.
        feedback: 'learned' or 'fixed', for deep feedback control.
        dataset: name of the set; another one than the preset's makes the network fit it.
        seed: of weights, order and noise.
        epochs: of forward learning.
        pretraining: epochs of feedback learning before; None for the preset's.
        samples: that are learned from; None for all.
        held_out: of validation and of test samples each; None for all.
        batch_size: None for the preset's.
        simulate: `dfc-ss` simulates its loop, as the published code does; else Newton's method.
        target_stepsize: lambda in the paper's convention, for deep feedback control; the learning
            rate follows, so that their product stays. None for the preset's.
        alpha: leak of the control signal; None for the preset's.
        angles: references of the angles that are taken, as `AngleSettings.parse` reads them.
        every: steps from one measurement of them to the next.
        shown: first test samples of an autoencoder whose outputs are kept.
        fields: first neurons of the first layer whose weights are kept; not with `shown`.
        dtype: floating type.
        data: folder of data sets; no part of the settings.
        checkpoint: where the state is kept after each epoch; no part of the settings. None for
            where whoever does the run says, if anywhere.
    """

    preset: str
    rule: str
    feedback: str | None = None
    dataset: str
    seed: int
    epochs: int
    pretraining: int | None = None
    samples: int | None = None
    held_out: int | None = None
    batch_size: int | None = None
    simulate: bool = False
    target_stepsize: float | None = None
    alpha: float | None = None
    angles: str = ""
    every: int = 100
    shown: int = 0
    fields: int = 0
    dtype: str = "float64"
    data: Path | None = field(default=None, compare=False)
    checkpoint: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What is trained on what, and the seed."""
        fixed = " fixed" if self.feedback == "fixed" else ""
        told = (("lambda", self.target_stepsize), ("alpha", self.alpha))
        other = "".join(f" {name} {value:g}" for name, value in told if value is not None)
        return f"{self.preset}/{self.rule}{fixed}{other}/{self.seed}"

    @property
    def work(self) -> int:
        """Epochs, those of pre-training too."""
        return self._pretraining + self.epochs

    def settings(self) -> str:
        """See `Task.settings`; what is as by default is left out."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
        default = {f.name: f.default for f in fields(self)}
        kept = {name: value for name, value in told.items() if value != default[name]}
        return json.dumps(kept, sort_keys=True)

    def placed(self) -> TrainingRun:
        """The same for whoever works in another folder."""
        return replace(self, data=self.data and self.data.resolve())

    @property
    def _base(self) -> Experiment:
        preset = load_preset(self.preset)
        if isinstance(preset, ControlPreset):
            preset = preset.changed(self.target_stepsize, self.alpha)
        return preset.experiment(self.rule, self.feedback)

    @property
    def _pretraining(self) -> int:
        feedback = self._base.plan.feedback
        if feedback is None:
            return 0
        return feedback.pretraining_epochs if self.pretraining is None else self.pretraining

    def seconds(self, cost: Cost) -> float:
        """About what it takes on one core.

        Args:
            cost: of a sample.
        """
        count = self.samples or SAMPLES[self.dataset]
        feedback = self._base.plan.feedback
        sleeps = 0 if feedback is None else feedback.before + feedback.after
        learned = self.epochs * (cost.forward + sleeps * cost.feedback)
        return 1e-6 * count * (learned + self._pretraining * cost.feedback)

    def run(self, progress: Progress) -> Course:
        """Train, from the checkpoint where there is one; see `Task.run`."""
        base, samples = self._base, self.samples
        how = base.autoencoder, base.standardised, base.between
        data = _loaded(self.dataset, self.data, self.dtype, samples, *how)
        experiment = self.experiment(data)
        trainer = experiment.trainer(_cut(data, self.held_out))
        weights = trainer.rule.network.weights[0]
        fields = [_rows(weights, self.fields)]
        checkpoint, spent = self.checkpoint or checkpoint_place(), 0.0
        if checkpoint is not None and exists(checkpoint):
            with _to_begin_anew():
                record = records.read(checkpoint)
                restore(trainer, record, experiment.about())
                spent = record.number(_SECONDS)
            progress(trainer.pretrained + trainer.epochs)
        begin = time.process_time() - spent

        def completed(_: Trainer) -> None:
            if checkpoint is not None:
                state = checkpoint_tree(trainer, experiment.about())
                state |= {"run": self.settings(), _SECONDS: time.process_time() - begin}
                records.write(checkpoint, state)
            progress(1)

        trainer.run(completed=completed)
        angles = Angles((), {}) if trainer.angles is None else trainer.angles.found
        seconds = time.process_time() - begin
        course = Course(tuple(trainer.history), experiment.sizes[-1], seconds, angles)
        if self.fields:
            return replace(course, images=np.stack([*fields, _rows(weights, self.fields)]))
        if not self.shown:
            return course
        given = trainer.data.x_test[: self.shown]
        with torch.no_grad():
            pairs = torch.stack([given, trainer.rule.outputs(given)])
        return replace(course, images=pairs.double().numpy())

    def experiment(self, data: Dataset) -> Experiment:
        """What is trained: the preset's settings, with what is said here.

        Args:
            data: the set, which says the sizes of the first and the last layer.
        """
        base = self._base
        feedback = base.plan.feedback
        if feedback is not None:
            feedback = replace(feedback, pretraining_epochs=self._pretraining)
        plan = replace(
            base.plan,
            epochs=self.epochs,
            batch_size=self.batch_size or base.plan.batch_size,
            feedback=feedback,
        )
        sizes = (data.x.shape[1], *base.sizes[1:-1], data.y.shape[1])
        options = {**base.options, **({"newton": False} if self.simulate else {})}
        return replace(
            base,
            dataset=self.dataset,
            sizes=sizes,
            seed=self.seed,
            plan=plan,
            options=options,
            angles=AngleSettings.parse(self.angles, self.every) if self.angles else None,
        )

    def pack(self, result: Course) -> Tree:
        """See `Run.pack`."""
        return {
            **_history(result.history, result.outputs),
            "outputs": result.outputs,
            _SECONDS: result.seconds,
            **({} if result.images is None else {_IMAGES: self._images(result.images)}),
            **({ALIGNMENT: angles_tree(result.angles, self._depth)} if self.angles else {}),
            **({"stopped": result.stopped} if result.stopped else {}),
        }

    def unpack(self, record: Record) -> Course:
        """See `Run.unpack`."""
        course = _course(record, "", record.integer("outputs"))
        if self.shown or self.fields:
            width = course.outputs if self.shown else None
            course = replace(course, images=record.array(_IMAGES, shape=(2, None, width)))
        if not self.angles:
            return course
        names = [str(r) for r in AngleSettings.parse(self.angles).references]
        return replace(course, angles=read_angles(record, ALIGNMENT, names, self._depth))

    def _images(self, pairs: NDArray[np.float64]) -> Quantity:
        if self.fields:
            text = "weights of the first layer, at the start and at the end"
            return Quantity(pairs, "1", text, ("start or end", "neuron", "input"))
        text = "test samples, and what the network makes of them"
        return Quantity(pairs, "1", text, ("input or output", "sample", "pixel"))

    @property
    def _depth(self) -> int:
        return len(self._base.sizes) - 1


def partial(path: Path) -> Course | None:
    """How far a training has come; None where it hasn't begun an epoch.

    Args:
        path: of its checkpoint, which need not be there.
    """
    if not exists(path):
        return None
    with _to_begin_anew():
        record = records.read(path)
        settings = json.loads(record.text("settings"))
        course = _course(record, "history/", int(settings["sizes"][-1]))
    return course if course.history else None


@contextmanager
def _to_begin_anew() -> Iterator[None]:
    """Says of a checkpoint that can't be used what to do with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}. Delete the file, and the training begins anew") from error


def _rows(weights: Tensor, count: int) -> NDArray[np.float64]:
    """A copy of the first rows of a matrix."""
    return weights.detach()[:count].double().cpu().numpy().copy()


def _history(history: tuple[Metrics, ...], outputs: int) -> dict[str, Quantity]:
    what = {"loss": f"of a sample, sum over {outputs} outputs", "error": "share of wrong answers"}
    return {
        f"{part}_{figure}": Quantity(
            [getattr(getattr(m, part), figure) for m in history], "1", words, ("epoch",)
        )
        for part in Metrics._fields[1:]
        for figure, words in what.items()
    }


def _course(record: Record, where: str, outputs: int) -> Course:
    names = [f"{where}{part}_{figure}" for part in Metrics._fields[1:] for figure in Score._fields]
    columns = np.array([np.ravel(record.array(name, finite=False)) for name in names])
    history = tuple(
        Metrics(k, Score(*row[0:2]), Score(*row[2:4]), Score(*row[4:6]))
        for k, row in enumerate(columns.T.tolist(), start=1)
    )
    seconds = record.number(_SECONDS) if _SECONDS in record else math.nan
    stopped = record.text("stopped") if "stopped" in record else ""
    return Course(history, outputs, seconds, stopped=stopped)


@lru_cache(maxsize=1)
def _loaded(
    dataset: str,
    folder: Path | None,
    dtype: str,
    samples: int | None,
    autoencoder: bool,
    standardised: bool,
    between: tuple[float, float] | None,
) -> Dataset:
    """A set, kept for the next run: reading one takes longer than an epoch of some rules."""
    asked = Experiment(
        dataset=dataset,
        samples=samples,
        autoencoder=autoencoder,
        standardised=standardised,
        between=between,
    )
    return asked.load(folder, DTYPES[dtype])


def _cut(data: Dataset, count: int | None) -> Dataset:
    """The set with no more than so many samples held out for either purpose."""
    aside = data.validation
    if aside is not None:
        aside = Samples(aside.x[:count], aside.y[:count])
    return Dataset(data.x, data.y, data.x_test[:count], data.y_test[:count], aside)
