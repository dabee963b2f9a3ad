"""Runs of items: done, gone on with, and collected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from analogdfc import records
from analogdfc.errors import UserError
from analogdfc.jobs import Elsewhere, Progress, Run, Spool, outcomes, unpacked
from analogdfc.records import Quantity, Tree
from analogdfc.reproduction.criterion import Interval, Row
from analogdfc.reproduction.items import Findings
from analogdfc.reproduction.training import Course, TrainingRun, partial

__all__ = ["Collected", "collect", "do", "record_tree"]

KIND = "reproduce"


@dataclass(frozen=True)
class Collected:
    """What a folder has of an item.

    Attributes:
        found: results by run.
        partial: trainings that are under way, or were interrupted.
        others: names of runs that were made with another version of the programs, and are among
            the results all the same.
        damaged: why files of other runs were passed over, a line each.
    """

    found: Findings
    partial: Mapping[Run[Any], Course]
    others: tuple[str, ...]
    damaged: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Of a processor that the trainings took that are done, as far as it is known."""
        spent = [c.seconds for c in self.found.values() if isinstance(c, Course)]
        return sum(s for s in spent if math.isfinite(s))


def do(
    runs: Sequence[Run[Any]],
    spool: Spool,
    executor: Executor | None = None,
    progress: Progress = lambda units: None,
) -> dict[Run[Any], Any]:
    """Do those runs that a spool hasn't yet, and hand back the results of all.

    A run that fails alone has its error for a result, and is tried anew the next time.

    Args:
        runs: the runs.
        spool: where results are kept, and the states of trainings after each epoch.
        executor: what does them; see `run_tasks`.
        progress: called with the units done.

    Raises:
        UserError: what a run raises that says something about the others too.
    """
    away = isinstance(executor, Elsewhere)
    kept: list[Run[Any]] = [
        run.placed() if away and isinstance(run, TrainingRun) else run for run in runs
    ]
    return dict(zip(runs, outcomes(kept, spool, executor, progress), strict=True))


def collect(runs: Sequence[Run[Any]], spool: Spool) -> Collected:
    """What a spool has of runs, whatever version of the programs made it; nothing is run.

    Args:
        runs: the runs.
        spool: the folder; another command may be at work in it.

    Raises:
        UserError: the file of one of the runs is damaged; those of others are passed over.
    """
    found: dict[Run[Any], Any] = {run: spool.find(run) for run in runs if run in spool}
    left = {run.described: run for run in runs if run not in found}
    others, damaged = [], []
    for path in sorted(spool.folder.glob("[0-9a-f]" * 32 + ".h5")) if left else ():
        try:
            record = records.read(path)
            run = left.get(record.text("run/settings"))
            if run is not None and run not in found:
                found[run] = unpacked(run, record)
                others.append(run.name)
        except UserError as error:
            damaged.append(str(error))
    begun: dict[Run[Any], Course] = {
        run: course
        for run in runs
        if isinstance(run, TrainingRun) and run not in found
        if (course := partial(spool.checkpoint(run))) is not None
    }
    return Collected(found, begun, tuple(others), tuple(damaged))


def record_tree(
    name: str, settings: Mapping[str, Any], rows: Sequence[Row], found: Findings
) -> Tree:
    """The record of an item: its settings, its table and all its runs.

    Args:
        name: of the item.
        settings: what the command was told.
        rows: the table.
        found: results by run.
    """
    runs = {
        f"{k:04d}": {
            "name": run.name,
            "settings": run.described,
            **({"failed": str(result)} if isinstance(result, UserError) else _packed(run, result)),
        }
        for k, (run, result) in enumerate(found.items(), start=1)
    }
    return {
        "kind": KIND,
        "item": name,
        "settings": dict(settings),
        "provenance": records.provenance(),
        "results": {f"{k:03d}": row_tree(row) for k, row in enumerate(rows, start=1)},
        "runs": runs,
    }


def _packed(run: Run[Any], result: Any) -> Tree:
    """A run's branch; the same whenever it was run, so without the time that it took."""
    return {key: leaf for key, leaf in run.pack(result).items() if key != "seconds"}


def row_tree(row: Row) -> dict[str, Any]:
    """A row as a branch of a record.

    Args:
        row: the row.
    """
    ours = {name.replace("/", "_") or "ours": _interval(i, row) for name, i in row.numbers.items()}
    said = row.published
    return {
        "name": row.name,
        **({} if row.agrees is None else {"agrees": row.agrees}),
        "why": row.why,
        **({} if said is None else {"published": {**_interval(said, row), "source": said.source}}),
        "numbers": ours,
    }


def _interval(interval: Interval, row: Row) -> dict[str, Any]:
    return {
        "mean": Quantity(interval.mean, row.unit, "mean over seeds"),
        "spread": Quantity(interval.spread, row.unit, "standard deviation over seeds"),
        "seeds": interval.count,
    }
