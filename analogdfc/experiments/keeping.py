"""The record of a verification: runs as they end, kept and gone on with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from analogdfc import records
from analogdfc.errors import UserError
from analogdfc.experiments.results import Curves
from analogdfc.jobs import Task, run_tasks
from analogdfc.records import Quantity

KIND = "verify-theory"
_PAUSE = 10.0
"""Seconds between two writings of an unfinished record."""


def run_kept(
    work: Sequence[Task[Curves]],
    kept: Mapping[str, Curves],
    output: Path,
    seed: int,
    *,
    executor: Executor | None = None,
    progress: Callable[[int], object] = lambda units: None,
) -> dict[str, Curves]:
    """Curves of all runs; the record has the first at once, others within seconds and at any end.

    Args:
        work: the runs.
        kept: curves of those that are done, by name.
        output: the record.
        seed: of the runs, for the record.
        executor: what does them; see `run_tasks`.
        progress: called with the units done.
    """
    runs = dict(kept)
    left = [job for job in work if job.name not in kept]
    written = -_PAUSE
    try:
        for job, curves in run_tasks(left, executor, progress):
            runs[job.name] = curves
            if time.monotonic() - written > _PAUSE:
                records.write(output, runs_tree(work, runs, seed, finished=False))
                written = time.monotonic()
    except BaseException:
        if runs:
            records.write(output, runs_tree(work, runs, seed, finished=False))
        raise
    return runs


def runs_tree(
    work: Sequence[Task[Curves]], runs: Mapping[str, Curves], seed: int, *, finished: bool
) -> dict[str, Any]:
    """Inputs and curves for the record.

    Args:
        work: the runs.
        runs: curves of those that are done, by name.
        seed: of the runs.
        finished: whether these are all.
    """
    stored: dict[str, Any] = {}
    for job in work:
        if job.name in runs:
            *path, last = job.name.split("/")
            place = stored
            for name in path:
                place = place.setdefault(name, {})
            place[last] = {"settings": job.settings(), **runs[job.name]}
    return {
        "kind": KIND,
        "complete": finished,
        "seed": seed,
        "provenance": records.provenance(),
        "runs": stored,
    }


def finished_runs(path: Path, work: Sequence[Task[Curves]]) -> dict[str, Curves]:
    """Curves of the runs that a record has, with the same settings.

    Args:
        path: the record; nothing is finished where there is none yet.
        work: the runs.

    Raises:
        UserError: not a record, or not one of a verification.
    """
    if not path.exists():
        return {}
    record = records.read(path)
    if "kind" not in record or record["kind"] != KIND:
        raise UserError(f"{path}: not a record of {KIND}; there is nothing to resume")
    found: dict[str, Curves] = {}
    for job in work:
        key = f"runs/{job.name}"
        if key in record and record.text(f"{key}/settings") == job.settings():
            run = record.group(key)
            found[job.name] = {
                name: leaf
                for name, leaf in run.items()
                if name != "settings" and isinstance(leaf, Quantity | str)
            }
    return found


def check_finished(path: Path) -> None:
    """Make sure that a file isn't the record of a verification that was interrupted.

    Args:
        path: the file; it needn't exist.

    Raises:
        UserError: it is.
    """
    if not path.exists():
        return
    record = records.read(path)
    if "kind" in record and record["kind"] == KIND and not record["complete"]:
        raise UserError(
            f"{path}: holds a verification that isn't finished; go on with it (resume), delete the "
            "file or choose another"
        )
