"""Tables whose cells are trainings over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from analogdfc.datasets import is_there
from analogdfc.errors import UserError
from analogdfc.jobs import Run
from analogdfc.presets import load_preset
from analogdfc.reproduction.cells import Cell, Column, Method
from analogdfc.reproduction.costs import cost_of
from analogdfc.reproduction.criterion import Published, Row, ordered, quantity
from analogdfc.reproduction.items import Findings, Item, Missing, Scope, done
from analogdfc.reproduction.training import FIGURES, Course, TrainingRun

if TYPE_CHECKING:
    from analogdfc.drawing import Figure

__all__ = ["TrainingTable"]

_STANDINS = {"mnist": "mnist5000"}
"""Sets of which a part is at hand where they are not."""

_SHORT = "digits"
"""What stands in for any set that isn't there in the short form."""

_SHORT_BATCH, _SHORT_HELD_OUT = 32, 200
_ENOUGH = 0.1
"""Part of the paper's epochs after which the order of methods is judged."""


@dataclass(frozen=True)
class TrainingTable(Item):
    """A table whose cells are trainings over seeds.

    Attributes:
        seeds: how many the paper has.
        methods: its rows, by name.
        columns: its columns, by name.
    """

    _: KW_ONLY
    seeds: int
    methods: Mapping[str, Method]
    columns: Mapping[str, Column]

    def missing(self, scope: Scope) -> list[Missing]:
        """See `Item.missing`."""
        sets = dict.fromkeys(c.dataset for c in self._chosen(scope).values())
        found = {name: _taken(name, scope) for name in sets}
        return [Missing(name, other or "") for name, other in found.items() if name != other]

    def cells(self, scope: Scope) -> list[Cell]:
        """The cells that are wanted.

        Args:
            scope: how much.

        Raises:
            UserError: no row has such a name, or data are missing.
        """
        columns = self._chosen(scope)
        for lack in self.missing(scope):
            if not lack.instead:
                others = ", ".join(f"'{n}/*'" for n, c in columns.items() if c.dataset != lack.what)
                rest = f"; rows of other sets can be chosen: {others}" if others else ""
                raise UserError(f"{self.name}: the data set {lack.what} isn't there{rest}")
        return [
            Cell(f"{name}/{row}", column, row, self._trainings(column, self.methods[row], scope))
            for name, column in columns.items()
            for row in column.values
            if _wanted(f"{name}/{row}", scope.rows)
        ]

    def runs(self, scope: Scope) -> list[Run[Any]]:
        """The trainings, seed after seed; see `Item.runs`."""
        cells = self.cells(scope)
        return [cell.runs[k] for k in range(self._seeds(scope)) for cell in cells]

    def seconds(self, scope: Scope) -> float:
        """See `Item.seconds`."""
        trainings = [run for cell in self.cells(scope) for run in cell.runs]
        return sum(run.seconds(cost_of(run.preset, run.rule)) for run in trainings)

    def rows(self, scope: Scope, found: Findings) -> list[Row]:
        """See `Item.rows`."""
        cells = self.cells(scope)
        rows = []
        for name, column in self._chosen(scope).items():
            own = [cell for cell in cells if cell.column is column]
            unit, figure, _ = FIGURES[column.figure]
            cut = self._cut(column, scope, _ENOUGH)
            made = [self._row(cell, unit, figure, scope, found) for cell in own]
            order = ordered(name, made, cut)
            if order is not None and not cut and (early := self._cut(column, scope)):
                order = replace(order, why="; ".join(filter(None, [order.why, early])))
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
        said = Published(mean, spread, self.seeds, source=self.name)
        values = [figure(course) for course in done(cell.runs, found)]
        failed = [str(found[r]) for r in cell.runs if isinstance(found.get(r), UserError)]
        row = quantity(cell.name, unit, said, values, self._cut(cell.column, scope))
        if failed:
            why = f"{len(failed)} of {len(cell.runs)} failed: {failed[0]}"
            return replace(row, agrees=False, why=why)
        return row

    def _cut(self, column: Column, scope: Scope, share: float = 1.0) -> str:
        """Why a verdict can't be had at so large a share of the paper's epochs; empty if it can."""
        epochs, whole = self._epochs(column, scope), self._epochs(column, Scope())
        reasons = []
        if scope.quick:
            reasons.append("short form")
        taken = _taken(column.dataset, scope)
        if taken != column.dataset:
            reasons.append(f"on {taken}")
        if epochs < share * whole and not scope.quick:
            reasons.append(f"{epochs} of {whole} epochs")
        return ", ".join(reasons)

    def _chosen(self, scope: Scope) -> dict[str, Column]:
        names = [f"{n}/{row}" for n, c in self.columns.items() for row in c.values]
        for pattern in scope.rows:
            if not any(_wanted(name, (pattern,)) for name in names):
                raise UserError(
                    f"rows {pattern!r}: {self.name} has none of that name; it has "
                    f"{', '.join(names)}, and patterns such as '{next(iter(self.columns))}/*'"
                )
        return {
            name: column
            for name, column in self.columns.items()
            if any(_wanted(f"{name}/{row}", scope.rows) for row in column.values)
        }

    def _seeds(self, scope: Scope) -> int:
        return scope.seeds or (1 if scope.quick else self.seeds)

    def _epochs(self, column: Column, scope: Scope) -> int:
        if scope.epochs is not None:
            return scope.epochs
        if scope.quick:
            return 1
        return load_preset(column.preset).experiment("bp").plan.epochs

    def _trainings(self, column: Column, method: Method, scope: Scope) -> tuple[TrainingRun, ...]:
        dataset = _taken(column.dataset, scope)
        assert dataset is not None
        run = TrainingRun(
            preset=column.preset,
            rule=method.rule,
            feedback=method.feedback,
            dataset=dataset,
            seed=0,
            epochs=self._epochs(column, scope),
            simulate=column.simulate and method.rule == "dfc-ss",
            data=scope.data,
        )
        if scope.quick:
            run = replace(
                run,
                pretraining=1,
                samples=column.short,
                held_out=_SHORT_HELD_OUT,
                batch_size=min(_SHORT_BATCH, column.short),
            )
        return tuple(replace(run, seed=seed) for seed in range(self._seeds(scope)))


def _taken(dataset: str, scope: Scope) -> str | None:
    """The set that is learned from: the paper's, what stands in, or None."""
    if is_there(dataset, scope.data):
        return dataset
    other = _STANDINS.get(dataset)
    if other is not None and is_there(other):
        return other
    return _SHORT if scope.quick else None


def _wanted(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a cell has a name that was asked for, as a whole, or by its row or column."""
    column, _, row = name.partition("/")
    asked = [p.lower() for p in patterns]
    return not asked or any(fnmatchcase(part, p) for p in asked for part in (name, column, row))
