"""Figures of angles layer by layer, taken while networks learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any

from analogdfc.errors import UserError
from analogdfc.experiments.measuring import LAYER_REFERENCES
from analogdfc.experiments.results import values
from analogdfc.experiments.toy import FeedbackKind, ToyRun, ToySettings
from analogdfc.experiments.toy import Method as ToyMethod
from analogdfc.jobs import Run
from analogdfc.reproduction.cells import Column, Method
from analogdfc.reproduction.claims import Claim
from analogdfc.reproduction.costs import cost_of
from analogdfc.reproduction.criterion import Row, statement
from analogdfc.reproduction.items import Findings, Item, Missing, Scope
from analogdfc.reproduction.scoping import ENOUGH, chosen, cut, refuse_missing, taken, training
from analogdfc.reproduction.training import TrainingRun
from analogdfc.training import Angles

if TYPE_CHECKING:
    from analogdfc.drawing import Figure

__all__ = ["AngleFigure", "Means", "Source", "ToySource", "TrainingSource"]

Means = Mapping[str, Angles]
"""Of a seed, the angles of each method that is done."""


class Source(ABC):
    """Where the angles of a figure come from."""

    @property
    @abstractmethod
    def methods(self) -> Sequence[str]:
        """Names of the methods."""

    @abstractmethod
    def run(self, method: str, seed: int, scope: Scope) -> Run[Any]:
        """The learning of a method.

        Args:
            method: its name.
            seed: of the run.
            scope: how much is run.
        """

    @abstractmethod
    def angles(self, result: Any) -> Angles:
        """The angles that a run has.

        Args:
            result: what it gave.
        """

    @abstractmethod
    def seconds(self, run: Run[Any]) -> float:
        """What a run takes on one core, to a factor of two or three.

        Args:
            run: the run.
        """

    @abstractmethod
    def cut(self, scope: Scope, share: float = 1.0) -> str:
        """Why there is no verdict at so large a share of the paper's epochs; empty if there is.

        Args:
            scope: how much is run.
            share: of the epochs.
        """

    def missing(self, scope: Scope) -> list[Missing]:
        """Data that aren't there.

        Args:
            scope: how much is run.
        """
        return []


@dataclass(frozen=True)
class TrainingSource(Source):
    """Trainings with the settings of a preset.

    Attributes:
        column: the experiment; its values and its figure mean nothing here.
        of: the methods by name, each with the references of its angles.
        every: steps from one measurement to the next.
    """

    column: Column
    of: Mapping[str, tuple[Method, str]]
    every: int = 200

    @property
    def methods(self) -> Sequence[str]:
        """See `Source`."""
        return [*self.of]

    def run(self, method: str, seed: int, scope: Scope) -> Run[Any]:
        """See `Source.run`."""
        how, references = self.of[method]
        return training(self.column, how, scope, seed, angles=references, every=self.every)

    def angles(self, result: Any) -> Angles:
        """See `Source.angles`."""
        found: Angles = result.angles
        return found

    def seconds(self, run: Run[Any]) -> float:
        """See `Source.seconds`; a measurement costs about as much as a mini-batch of `dfc`."""
        assert isinstance(run, TrainingRun)
        dear = cost_of(run.preset, "bp").forward * 1e-6 * 128 * 40 / run.every
        steps = run.epochs * (run.samples or 55000) / (run.batch_size or 128)
        return run.seconds(cost_of(run.preset, run.rule)) + dear * steps

    def cut(self, scope: Scope, share: float = 1.0) -> str:
        """See `Source.cut`."""
        return cut(self.column, scope, share)

    def missing(self, scope: Scope) -> list[Missing]:
        """See `Source.missing`."""
        name = self.column.dataset
        found = taken(name, scope)
        return [] if found == name else [Missing(name, found or "")]


_TOY_EPOCHS = 300
_TOY_COST = {"dfc": 2.75, "dfc-ss": 0.19, "dfc-ssa": 0.13, "dfa": 0.03}
_TOY_FEEDBACK, _TOY_SAMPLES = 0.22, 5000
_TOY_START = 1.0  # seconds of a run, whatever its length
"""Seconds of one core of an epoch; see `analogdfc.reproduction.theory`."""


@dataclass(frozen=True)
class ToySource(Source):
    """The student-teacher experiment of Meulemans et al. 2021, measured once an epoch.

    Attributes:
        of: by name the rule, its feedback and whether the learning rule is the nonlinear one.
        damping: gamma of the MN and GN references.
    """

    of: Mapping[str, tuple[ToyMethod, FeedbackKind, bool]]
    damping: float

    @property
    def methods(self) -> Sequence[str]:
        """See `Source`."""
        return [*self.of]

    def run(self, method: str, seed: int, scope: Scope) -> Run[Any]:
        """See `Source.run`."""
        rule, feedback, nonlinear = self.of[method]
        toy = ToySettings(
            seed=seed,
            damping=self.damping,
            spectra=False,
            layers=True,
            nonlinear=nonlinear,
            epochs=scope.epochs or _TOY_EPOCHS,
        )
        if scope.quick:
            toy = replace(
                toy,
                teacher=(15, 50, 50, 5),
                samples=(256, 64, 64),
                epochs=scope.epochs or 2,
                pretraining=1,
                steps=200,
            )
        return ToyRun(rule, feedback, toy)

    def angles(self, result: Any) -> Angles:
        """See `Source.angles`."""
        layers = len(ToySettings().sizes) - 1
        of = {}
        for key in LAYER_REFERENCES:
            columns = [values(result, f"{key}_layer{i}") for i in range(1, layers + 1)]
            of[key.upper()] = tuple(zip(*(c.tolist() for c in columns), strict=True))
        batches = -(-_TOY_SAMPLES // ToySettings().batch_size)
        return Angles(tuple(batches * k for k in range(len(of["BP"]))), of)

    def seconds(self, run: Run[Any]) -> float:
        """See `Source.seconds`."""
        assert isinstance(run, ToyRun)
        toy, sleeps = run.toy, 0
        if run.feedback == "trained":
            sleeps = toy.epochs * (toy.before + toy.after) + toy.pretraining
        whole = toy.epochs * _TOY_COST[run.method] + sleeps * _TOY_FEEDBACK
        return _TOY_START + whole * toy.samples[0] / _TOY_SAMPLES

    def cut(self, scope: Scope, share: float = 1.0) -> str:
        """See `Source.cut`."""
        if scope.quick:
            return "short form"
        epochs = scope.epochs or _TOY_EPOCHS
        return f"{epochs} of {_TOY_EPOCHS} epochs" if epochs < share * _TOY_EPOCHS else ""


@dataclass(frozen=True)
class AngleFigure(Item):
    """A figure of angles, with what the paper says of them.

    Attributes:
        source: where the angles come from.
        seeds: how many suffice; the papers show one.
        shown: reference whose angles are drawn, in the panels of the layers.
        judge: what the angles of a seed say; may leave out what needs a method that isn't done.
        share: part of the paper's epochs after which there is a verdict.
    """

    _: KW_ONLY
    source: Source
    seeds: int
    shown: str
    judge: Callable[[Means], Sequence[Claim]]
    share: float = ENOUGH

    def missing(self, scope: Scope) -> list[Missing]:
        """See `Item.missing`."""
        return self.source.missing(scope)

    def runs(self, scope: Scope) -> list[Run[Any]]:
        """See `Item.runs`."""
        refuse_missing(self.name, self.missing(scope))
        return [
            self.source.run(method, seed, scope)
            for seed in range(self._seeds(scope))
            for method in chosen(self.name, self.source.methods, scope)
        ]

    def seconds(self, scope: Scope) -> float:
        """See `Item.seconds`."""
        return sum(self.source.seconds(run) for run in self.runs(scope))

    def rows(self, scope: Scope, found: Findings) -> list[Row]:
        """See `Item.rows`; a seed counts with the methods that are done."""
        judged: dict[str, list[Claim]] = {}
        for means in self._done(scope, found):
            for claim in self.judge(means):
                judged.setdefault(claim.says, []).append(claim)
        why, early = self.source.cut(scope, self.share), self.source.cut(scope)
        rows = []
        for says, claims in judged.items():
            names = dict.fromkeys(name for c in claims for name in c.numbers)
            numbers = {n: [c.numbers[n] for c in claims if n in c.numbers] for n in names}
            verdicts = [None if why else c.agrees for c in claims]
            row = statement(says, claims[0].unit, numbers, verdicts, why)
            if row.agrees is not None:
                row = replace(row, why="; ".join(filter(None, [row.why, early])))
            rows.append(row)
        return rows

    def draw(self, scope: Scope, found: Findings) -> Figure | None:
        """Angles of the first seed of which something is done; see `Item.draw`."""
        from analogdfc.reproduction.curves import angle_curves  # drawing takes long to import

        done = self._done(scope, found)
        if not done:
            return None
        return angle_curves(done[0], self.shown, self.title)

    def _done(self, scope: Scope, found: Findings) -> list[Means]:
        """Angles of each seed, by method; without the seeds of which nothing is done."""
        seeds: list[Means] = []
        for seed in range(self._seeds(scope)):
            means = {}
            for method in chosen(self.name, self.source.methods, scope):
                run = self.source.run(method, seed, scope)
                if run in found and not isinstance(found[run], UserError):
                    means[method] = self.source.angles(found[run])
            if means:
                seeds.append(means)
        return seeds

    def _seeds(self, scope: Scope) -> int:
        return scope.seeds or (1 if scope.quick else self.seeds)
