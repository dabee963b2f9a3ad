"""Figures whose captions make claims: runs over seeds, and what follows from each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from analogdfc.errors import UserError
from analogdfc.experiments.results import Curves, CurvesRun
from analogdfc.jobs import Run
from analogdfc.reproduction.criterion import Row, statement
from analogdfc.reproduction.items import Findings, Item, Scope, done

if TYPE_CHECKING:
    from analogdfc.drawing import Figure

__all__ = ["Claim", "ClaimsFigure", "Drawn"]


class Claim(NamedTuple):
    """A statement of the paper and what a seed's runs say of it.

    Attributes:
        says: the paper, made precise.
        unit: of the numbers.
        numbers: what was measured.
        agrees: whether they agree; None for a number without a claim.
    """

    says: str
    unit: str
    numbers: Mapping[str, float]
    agrees: bool | None


class Drawn(NamedTuple):
    """What is drawn of the first seed.

    Attributes:
        curves: names of curves of the runs, each (points,) or (points, networks).
        x: label.
        y: label.
        log: whether y is logarithmic.
    """

    curves: Sequence[str]
    x: str
    y: str
    log: bool = False


@dataclass(frozen=True)
class ClaimsFigure(Item):
    """A figure with claims.

    Attributes:
        seeds: how many the paper has, or suffice where it doesn't say.
        make: the runs of a seed, in full or in the short form.
        judge: what the curves of these runs say.
        cost: seconds of one core of a seed, in full and in the short form.
        drawn: panels of its figure.
    """

    _: KW_ONLY
    seeds: int
    make: Callable[[int, bool], Sequence[CurvesRun]]
    judge: Callable[[Sequence[Curves]], Sequence[Claim]]
    cost: tuple[float, float]
    drawn: Sequence[Drawn]

    def runs(self, scope: Scope) -> list[Run[Any]]:
        """See `Item.runs`."""
        return [run for seed in self._seeds(scope) for run in self.make(seed, scope.quick)]

    def seconds(self, scope: Scope) -> float:
        """See `Item.seconds`."""
        return self.cost[scope.quick] * len(self._seeds(scope))

    def rows(self, scope: Scope, found: Findings) -> list[Row]:
        """See `Item.rows`; a seed counts when all its runs are done."""
        judged = [self.judge(curves) for _, curves in self._done(scope, found)]
        short = "short form" if scope.quick else ""
        return [
            statement(
                claims[0].says,
                claims[0].unit,
                {name: [c.numbers[name] for c in claims] for name in claims[0].numbers},
                [None if short else c.agrees for c in claims],
                short,
            )
            for claims in zip(*judged, strict=True)
        ]

    def draw(self, scope: Scope, found: Findings) -> Figure | None:
        """Curves of the first seed that is done; see `Item.draw`."""
        from analogdfc.reproduction.curves import claim_curves  # drawing is long to import

        for runs, curves in self._done(scope, found):
            told = [_told_apart(run) for run in runs]
            return claim_curves([*zip(told, curves, strict=True)], self.drawn, self.title)
        return None

    def _done(
        self, scope: Scope, found: Findings
    ) -> Iterator[tuple[Sequence[CurvesRun], list[Curves]]]:
        """Runs and curves of each seed of which all are done."""
        for seed in self._seeds(scope):
            runs = self.make(seed, scope.quick)
            results = [*done(list(runs), found)]
            if len(results) == len(runs):
                yield runs, results

    def _seeds(self, scope: Scope) -> range:
        if scope.rows:
            raise UserError(f"{self.name}: its statements belong together; there are no rows apart")
        if scope.epochs is not None:
            raise UserError(f"{self.name}: nothing in it is learned in epochs")
        return range(scope.seeds or (1 if scope.quick else self.seeds))


def _told_apart(run: CurvesRun) -> str:
    """What tells a run from the others of its seed: its name without the kind and the seed."""
    return run.name.partition("/")[2].rpartition("/")[0]
