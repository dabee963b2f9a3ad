"""The toy figures of deep feedback control, with the claims of their captions."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any

from analogdfc.errors import UserError
from analogdfc.experiments import Configurations, FeedbackLearning, Finding, Plan, ToyRun, find
from analogdfc.experiments.plan import BUDGETS
from analogdfc.experiments.results import Results
from analogdfc.jobs import Run
from analogdfc.reproduction.criterion import Row, statement
from analogdfc.reproduction.items import Findings, Item, Scope

if TYPE_CHECKING:
    from analogdfc.drawing import Figure

__all__ = ["TheoryFigure"]

# Seconds of one core for 5000 samples: an epoch of forward learning with its measurements, one of
# feedback learning, and one of those of figures S3 to S5; measured at the published settings.
_FORWARD = {"dfc": 2.75, "dfc-ss": 0.19, "dfc-ssa": 0.13, "dfa": 0.03}
_FEEDBACK = 0.22
_ALONE = 0.72
_CONFIGURATION = 6e-4
_SAMPLES = 5000
_STEPS = 1000
_SHORT = {"fig2": 1.5, "fig3": 10.0, "fig4": 8.0, "s2": 9.0, "s3": 7.0, "s4": 11.0, "s5": 11.0}
"""Seconds of a seed's short form, by item: most of it are starts that runs of one size share."""

_EPOCHS = ("epochs", "sweep_epochs", "feedback_epochs")


@dataclass(frozen=True)
class TheoryFigure(Item):
    """A figure of `analogdfc.experiments`.

    Attributes:
        figure: one of `analogdfc.experiments.FIGURES`.
    """

    _: KW_ONLY
    figure: str

    def runs(self, scope: Scope) -> list[Run[Any]]:
        """See `Item.runs`."""
        return [run for plan in self._plans(scope) for run in plan.runs([self.figure])]

    def seconds(self, scope: Scope) -> float:
        """See `Item.seconds`."""
        if scope.quick and scope.epochs is None:
            return _SHORT[self.name.rpartition("/")[2]] * (scope.seeds or 1)
        return sum(_seconds(run) for run in self.runs(scope))

    def rows(self, scope: Scope, found: Findings) -> list[Row]:
        """See `Item.rows`; a seed counts when all its runs are done."""
        plans = [(plan, self._results(plan, found)) for plan in self._plans(scope)]
        seeds = [find(self.figure, results, plan) for plan, results in plans if results]
        return [_row(one) for one in zip(*seeds, strict=True)]

    def draw(self, scope: Scope, found: Findings) -> Figure | None:
        """The paper's figure for the first seed that is done; see `Item.draw`."""
        from analogdfc.experiments.figures import draw  # drawing takes long to import

        for plan in self._plans(scope):
            if results := self._results(plan, found):
                heading = f"as figure {self.figure.upper()} of the paper; seed {plan.toy.seed}"
                return draw(self.figure, results, heading)
        return None

    def _results(self, plan: Plan, found: Findings) -> Results | None:
        """Curves by the name of the run; None where they aren't all there."""
        runs = plan.runs([self.figure])
        if any(isinstance(found.get(run, UserError("")), UserError) for run in runs):
            return None
        return {run.name: found[run] for run in runs}

    def _plans(self, scope: Scope) -> list[Plan]:
        """What is run for each seed."""
        if scope.rows:
            raise UserError(f"{self.name}: its statements belong together; there are no rows apart")
        plan = Plan.quick() if scope.quick else Plan()
        if scope.epochs is not None:
            name = next((n for n in _EPOCHS if self.figure in BUDGETS[n]), None)
            if name is None:
                raise UserError(f"{self.name}: nothing in it is learned in epochs")
            plan = _of_epochs(plan, name, scope.epochs)
        return [replace(plan, toy=replace(plan.toy, seed=seed)) for seed in range(scope.seeds or 1)]


def _of_epochs(plan: Plan, name: str, epochs: int) -> Plan:
    if name == "epochs":
        return replace(plan, toy=replace(plan.toy, epochs=epochs))
    if name == "sweep_epochs":
        return replace(plan, sweep_epochs=epochs)
    return replace(plan, feedback_epochs=epochs)


def _row(findings: tuple[Finding, ...]) -> Row:
    """The finding of each seed as one row."""
    first = findings[0]
    numbers = {name: [f.numbers[name] for f in findings] for name in first.numbers}
    verdicts = [f.agrees for f in findings]
    return statement(first.statement, first.units, numbers, verdicts, first.unjudged)


def _seconds(run: Run[Any]) -> float:
    if isinstance(run, Configurations):
        return _CONFIGURATION * run.count
    if isinstance(run, FeedbackLearning):
        return _ALONE * run.epochs * run.samples / _SAMPLES
    assert isinstance(run, ToyRun)
    toy, sleeps = run.toy, 0
    share = toy.samples[0] / _SAMPLES
    forward = _FORWARD[run.method] * (toy.steps / _STEPS if run.method == "dfc" else 1.0)
    if run.feedback == "trained":
        sleeps = toy.epochs * (toy.before + toy.after) + toy.pretraining
    return share * (toy.epochs * forward + sleeps * _FEEDBACK)
