"""Tables of trainings whose paper says which does better, where its numbers alone don't tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

from analogdfc.errors import UserError
from analogdfc.reproduction.cells import Cell
from analogdfc.reproduction.criterion import Row, statement
from analogdfc.reproduction.items import Findings, Scope
from analogdfc.reproduction.scoping import ENOUGH, cut
from analogdfc.reproduction.tables import TrainingTable
from analogdfc.reproduction.training import FIGURES

__all__ = ["ComparedTable", "Comparison"]


@dataclass(frozen=True)
class Comparison:
    """A statement that some cells have less of their figure than others.

    Attributes:
        says: the paper, made precise.
        less: names of cells, such as 'narrow/bp'.
        more: names of the others.
        factor: each of the first has at most so many times each of the others.
    """

    says: str
    _: KW_ONLY
    less: Sequence[str]
    more: Sequence[str]
    factor: float = 1.0

    def holds(self, figures: dict[str, float]) -> bool:
        """Whether it holds.

        Args:
            figures: of all its cells, by their names.
        """
        most = max(figures[name] for name in self.less)
        return most <= self.factor * min(figures[name] for name in self.more)


@dataclass(frozen=True)
class ComparedTable(TrainingTable):
    """A table with statements on its cells.

    Attributes:
        comparisons: the statements.
    """

    _: KW_ONLY
    comparisons: Sequence[Comparison] = field(default=())

    def rows(self, scope: Scope, found: Findings) -> list[Row]:
        """See `Item.rows`; a statement has a row once a seed of all its cells is done."""
        cells = {cell.name: cell for cell in self.cells(scope)}
        made = super().rows(scope, found)
        for one in self.comparisons:
            names = [*one.less, *one.more]
            if all(name in cells for name in names):
                made += _judged(one, {name: cells[name] for name in names}, scope, found)
        return made


def _judged(one: Comparison, cells: dict[str, Cell], scope: Scope, found: Findings) -> list[Row]:
    column = next(iter(cells.values())).column
    unit, figure, _ = FIGURES[column.figure]
    seeds: list[dict[str, float]] = []
    for runs in zip(*(cell.runs for cell in cells.values()), strict=True):
        results = [found.get(run) for run in runs]
        if all(r is not None and not isinstance(r, UserError) for r in results):
            seeds.append(dict(zip(cells, map(figure, results), strict=True)))
    if not seeds:
        return []
    why = cut(column, scope, ENOUGH)
    numbers = {name: [figures[name] for figures in seeds] for name in cells}
    agrees = [None if why else one.holds(figures) for figures in seeds]
    return [statement(one.says, unit, numbers, agrees, why)]
