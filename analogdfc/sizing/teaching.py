"""The loosest chip through which a network learns nearly as well as by the ideal rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from statistics import mean
from typing import Any, NamedTuple

from analogdfc.cards.writing import card_text
from analogdfc.cost.estimate import Estimate
from analogdfc.errors import ConvergenceError
from analogdfc.jobs import Shared, Spool, run_kept
from analogdfc.onchip.bill import sample_cost
from analogdfc.records import Quantity
from analogdfc.sizing.lesson import IDEAL, Lesson, Score, Taught
from analogdfc.sizing.specification import REQUIREMENTS, effort, loosest, tightest

__all__ = ["STOPS", "Education", "LessonTrial", "most_trainings", "teach"]

STOPS = 6
"""Values of a requirement that are tried, from the one before to the easy end of its range."""

_PRICED = 4
"""Samples over which the cost of one is a mean."""


class LessonTrial(NamedTuple):
    """A chip that was tried.

    Attributes:
        values: of what is sought, in SI units.
        lost: points of wrong answers in the test more than by the ideal rule, on the mean; nan
            where a training broke off.
        reason: why it did; else empty.
    """

    values: dict[str, float]
    lost: float
    reason: str = ""

    @property
    def rank(self) -> float:
        """Points that are lost; more than any where a training broke off."""
        return math.inf if math.isnan(self.lost) else self.lost


@dataclass(frozen=True)
class Education:
    """What was found.

    Attributes:
        lesson: what was learned.
        ideal: share of wrong answers by the ideal rule, one a seed.
        trials: all chips that were tried, in their order.
        final: the one that was found.
        fresh: points that it loses on seeds that the search never saw, one a seed; nan where a
            training broke off.
        cost: of a sample on it, with the weights at the start; None where its loop doesn't settle.
    """

    lesson: Lesson
    ideal: tuple[float, ...]
    trials: tuple[LessonTrial, ...]
    final: LessonTrial
    fresh: tuple[float, ...]
    cost: Estimate | None

    @property
    def holds(self) -> bool:
        """Whether the chip keeps the bound on fresh seeds, too, on their mean."""
        return mean(self.fresh) <= self.lesson.points

    @property
    def card_text(self) -> str:
        """The chip's technology card (TOML)."""
        base, experiment = self.lesson.card, self.lesson.experiment
        identity = base.card.model_copy(update={"name": f"sized: {base.card.name}"[:120]})
        card = self.lesson.on(self.final.values).model_copy(update={"card": identity})
        bound = f"sized to learn {experiment.dataset} within {self.lesson.points:g} points"
        return card_text(card, base, bound)

    def numbers(self) -> dict[str, Any]:
        """The results, with units in the names or beside the values."""
        plan, cost = self.lesson.experiment.plan, self.cost
        found: dict[str, Any] = {
            "dataset": self.lesson.experiment.dataset,
            "rule": IDEAL,
            "sizes": "-".join(map(str, self.lesson.experiment.sizes)),
            "epochs": plan.epochs,
            "samples": len(self.lesson.data.x),
            "trainings_of_a_chip": len(self.lesson.seeds),
            "points_allowed": self.lesson.points,
            "wrong_by_the_ideal_rule_percent": 100 * mean(self.ideal),
            "points_lost": self.final.lost,
            "points_lost_on_fresh_seeds": mean(self.fresh),
            "keeps_the_bound_on_fresh_seeds": self.holds,
            "effort_decades": effort(self.final.values, self.lesson.ranges),
            "chips_tried": len(self.trials),
            "chips_without_result": sum(1 for t in self.trials if t.reason),
            "specification": {
                name: {
                    "value": value,
                    "unit": REQUIREMENTS[name].unit,
                    "safe_side": REQUIREMENTS[name].side,
                }
                for name, value in self.final.values.items()
            },
        }
        if cost is not None:
            found |= {
                "sample_us": 1e6 * cost.seconds,
                "energy_per_sample_joule": cost.joules,
                "area_total_square_metre": cost.area.total,
                "left_out": [*cost.energy.unknown, *(f"area of {c}" for c in cost.area.unknown)],
            }
        return found

    def tree(self) -> dict[str, Any]:
        """The branches of a record."""
        columns: dict[str, Any] = {
            name: Quantity(
                [t.values[name] for t in self.trials],
                REQUIREMENTS[name].unit,
                REQUIREMENTS[name].meaning,
                ("trial",),
            )
            for name in self.final.values
        }
        about = "share of wrong answers in the test more than by the ideal rule; nan: none"
        lost = [t.lost / 100 for t in self.trials]
        columns["lost"] = Quantity(lost, "1", about, ("trial",))
        columns["reason"] = [t.reason for t in self.trials]
        return {"results": self.numbers(), "trials": columns, "card": self.card_text}


def most_trainings(lesson: Lesson) -> int:
    """Trainings that a search takes at most, those on fresh seeds among them.

    Args:
        lesson: what is learned.
    """
    chips = 2 + (STOPS - 1) * len(lesson.ranges)
    return len(lesson.seeds) * (chips + 1 + 2)


def teach(
    lesson: Lesson,
    *,
    spool: Spool | None = None,
    executor: Executor | None = None,
    progress: Callable[[int], object] = lambda trainings: None,
) -> Education:
    """Find the loosest chip by trainings through its model at rest.

    From the card's own values, or the hard ends of the ranges where those don't do, one requirement
    after another is loosened over a few values up to the easy end of its range, all of which are
    tried at once: as far as the chip keeps its part of the points, which grows evenly, so that none
    eats what the others need. The chip that is left is tried on as many fresh seeds.

    Args:
        lesson: what is learned.
        spool: where finished trainings are kept; None keeps none.
        executor: what does them; None this process.
        progress: called with the number of trainings since the last call.

    Raises:
        UserError: what a training by the ideal rule raises.
        ConvergenceError: no chip within the ranges keeps the points.
    """
    school = _School(lesson, spool, executor, progress)
    trials = school.tried([lesson.start])
    now = trials[0]
    if now.rank > lesson.points:
        trials += school.tried([tightest(lesson.ranges)])
        now = trials[-1]
    if now.rank > lesson.points:
        raise ConvergenceError(_nothing(lesson, trials))
    first = now.lost
    for k, name in enumerate(lesson.ranges, start=1):
        part = first + (lesson.points - first) * k / len(lesson.ranges)
        found = school.tried([{**now.values, name: v} for v in _way(lesson, now.values, name)])
        trials += found
        for trial in found:
            if trial.rank > part:
                break
            now = trial
    last = max(lesson.seeds)
    fresh = [last + 1 + k for k in range(len(lesson.seeds))]
    lost = school.lost([now.values], fresh)[0]
    try:
        rule = lesson.rule(now.values, lesson.seeds[0])
        x, y = lesson.data.x[:_PRICED], lesson.data.y[:_PRICED]
        cost = sample_cost(rule, x, y, lesson.seeds[0])
    except ConvergenceError:
        cost = None
    return Education(lesson, tuple(school.ideal), tuple(trials), now, tuple(lost), cost)


class _School:
    """Trainings of one lesson."""

    def __init__(
        self,
        lesson: Lesson,
        spool: Spool | None,
        executor: Executor | None,
        progress: Callable[[int], object],
    ) -> None:
        self._shared = Shared(lesson)
        self._seeds = lesson.seeds
        self._how = spool, executor, progress
        self.ideal = [score.error for score in self._scores([None], self._seeds)[0]]
        self._known = dict(zip(self._seeds, self.ideal, strict=True))

    def tried(self, chips: Sequence[Mapping[str, float]]) -> list[LessonTrial]:
        """What several chips lose."""
        scores = self._scores(chips, self._seeds)
        return [
            LessonTrial(
                dict(chip),
                mean(self._points(own, self._seeds)),
                next((score.reason for score in own if score.reason), ""),
            )
            for chip, own in zip(chips, scores, strict=True)
        ]

    def lost(self, chips: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[list[float]]:
        """Points that chips lose, one a seed; of seeds that may be new."""
        ideal = self._scores([None], seeds)[0]
        self._known |= {seed: score.error for seed, score in zip(seeds, ideal, strict=True)}
        return [self._points(own, seeds) for own in self._scores(chips, seeds)]

    def _points(self, scores: Sequence[Score], seeds: Sequence[int]) -> list[float]:
        return [100 * (s.error - self._known[n]) for s, n in zip(scores, seeds, strict=True)]

    def _scores(
        self, chips: Sequence[Mapping[str, float] | None], seeds: Sequence[int]
    ) -> list[list[Score]]:
        keys = [None if chip is None else tuple(sorted(chip.items())) for chip in chips]
        runs = [Taught(self._shared, key, seed) for key in keys for seed in seeds]
        found = run_kept(runs, *self._how)
        return [found[k : k + len(seeds)] for k in range(0, len(found), len(seeds))]


def _way(lesson: Lesson, values: Mapping[str, float], name: str) -> list[float]:
    """Looser values of a requirement, evenly in decades, the last the easy end of its range."""
    start, end = values[name], loosest(lesson.ranges)[name]
    if start == end:
        return []
    ways = [start * (end / start) ** (k / (STOPS - 1)) for k in range(1, STOPS - 1)]
    rounded = [float(f"{v:.1e}") for v in ways]
    if REQUIREMENTS[name].whole:
        rounded = [float(math.ceil(v)) for v in rounded]
    low, high = sorted((start, end))
    inner = [v for v in dict.fromkeys(rounded) if low < v < high]
    return [*inner, end]


def _nothing(lesson: Lesson, trials: Sequence[LessonTrial]) -> str:
    best = min(trials, key=lambda t: t.rank)
    how = f"break off ({best.reason})" if best.reason else f"lose {best.lost:.3g}"
    return (
        f"no chip within the ranges learns {lesson.experiment.dataset} within {lesson.points:g} "
        f"points of the ideal rule; the hardest ones {how}. Raise `accuracy`, "
        "widen the ranges, or train longer"
    )
