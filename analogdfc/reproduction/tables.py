"""Tables whose cells are trainings over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any

from analogdfc.errors import UserError
from analogdfc.jobs import Run
from analogdfc.reproduction.cells import Cell, Column, Method
from analogdfc.reproduction.costs import cost_of
from analogdfc.reproduction.criterion import Published, Row, ordered, quantity
from analogdfc.reproduction.items import Findings, Item, Missing, Scope, done
from analogdfc.reproduction.scoping import ENOUGH, cut, refuse_missing, taken, training, wanted
from analogdfc.reproduction.training import FIGURES, Course

if TYPE_CHECKING:
    from analogdfc.drawing import Figure

__all__ = ["TrainingTable"]


@dataclass(frozen=True)
class TrainingTable(Item):
    """A table whose cells are trainings over seeds.

    Attributes:
        seeds: how many the paper has.
        methods: its rows, by name.
        columns: its columns, by name.
        printed: seeds behind the paper's numbers, where it has another number than `seeds`.
    """

    _: KW_ONLY
    seeds: int
    methods: Mapping[str, Method]
    columns: Mapping[str, Column]
    printed: int | None = None

    def missing(self, scope: Scope) -> list[Missing]:
        """See `Item.missing`."""
        sets = dict.fromkeys(c.dataset for c in self._chosen(scope).values())
        found = {name: taken(name, scope) for name in sets}
        return [Missing(name, other or "") for name, other in found.items() if name != other]

    def cells(self, scope: Scope) -> list[Cell]:
        """The cells that are wanted.

        Args:
            scope: how much.

        Raises:
            UserError: no row has such a name, or data are missing.
        """
        columns, seeds = self._chosen(scope), range(self._seeds(scope))
        lacks = [lack for lack in self.missing(scope) if not lack.instead]
        gone = {lack.what for lack in lacks}
        others = ", ".join(f"'{n}/*'" for n, c in columns.items() if c.dataset not in gone)
        rest = f"Rows of other sets can be chosen by `rows`: {others}. " if others else ""
        refuse_missing(self.name, lacks, rest)
        return [
            Cell(
                f"{name}/{row}",
                column,
                row,
                tuple(training(column, self.methods[row], scope, k) for k in seeds),
            )
            for name, column in columns.items()
            for row in column.values
            if wanted(f"{name}/{row}", scope.rows)
        ]

    def runs(self, scope: Scope) -> list[Run[Any]]:
        """The trainings, seed after seed; see `Item.runs`."""
        cells = self.cells(scope)
        runs = (cell.runs[k] for k in range(self._seeds(scope)) for cell in cells)
        return list(dict.fromkeys(runs))  # columns may print different figures of one training

    def seconds(self, scope: Scope) -> float:
        """See `Item.seconds`."""
        trainings = {run for cell in self.cells(scope) for run in cell.runs}
        return sum(run.seconds(cost_of(run.preset, run.rule, run.simulate)) for run in trainings)

    def rows(self, scope: Scope, found: Findings) -> list[Row]:
        """See `Item.rows`."""
        cells = self.cells(scope)
        rows = []
        for name, column in self._chosen(scope).items():
            own = [cell for cell in cells if cell.column is column]
            unit, figure, _ = FIGURES[column.figure]
            early = _told(column, scope, ENOUGH)
            made = [self._row(cell, unit, figure, scope, found) for cell in own]
            order = ordered(name, made, early)
            if order is not None and not early and (short := cut(column, scope)):
                order = replace(order, why="; ".join(filter(None, [order.why, short])))
            rows += [*made, *([] if order is None else [order])]
        return rows

    def draw(self, scope: Scope, found: Findings) -> Figure | None:
        """Curves of the trainings beside the published values; see `Item.draw`."""
        from analogdfc.reproduction.curves import training_curves  # drawing is long to import

        curves = {
            cell: courses for cell in self.cells(scope) if (courses := [*done(cell.runs, found)])
        }
        return training_curves(curves, self.title) if curves else None

    def _row(
        self,
        cell: Cell,
        unit: str,
        figure: Callable[[Course], float],
        scope: Scope,
        found: Findings,
    ) -> Row:
        mean, spread = cell.column.values[cell.row]
        said = None
        if not math.isnan(mean):
            said = Published(mean, spread, self.printed or self.seeds, source=self.name)
        values = [figure(course) for course in done(cell.runs, found)]
        failed = [str(found[r]) for r in cell.runs if isinstance(found.get(r), UserError)]
        row = quantity(cell.name, unit, said, values, _told(cell.column, scope))
        if failed:
            why = f"{len(failed)} of {len(cell.runs)} failed: {failed[0]}"
            return replace(row, agrees=False, why=why)
        return row

    def _chosen(self, scope: Scope) -> dict[str, Column]:
        names = [f"{n}/{row}" for n, c in self.columns.items() for row in c.values]
        for pattern in scope.rows:
            if not any(wanted(name, (pattern,)) for name in names):
                raise UserError(
                    f"rows {pattern!r}: {self.name} has none of that name; it has "
                    f"{', '.join(names)}, and patterns such as '{next(iter(self.columns))}/*'"
                )
        return {
            name: column
            for name, column in self.columns.items()
            if any(wanted(f"{name}/{row}", scope.rows) for row in column.values)
        }

    def _seeds(self, scope: Scope) -> int:
        return scope.seeds or (1 if scope.quick else self.seeds)


def _told(column: Column, scope: Scope, share: float = 1.0) -> str:
    """Why a number of the column has no verdict, see `cut`; empty where it can have one."""
    return ", ".join(filter(None, [cut(column, scope, share), column.apart]))
