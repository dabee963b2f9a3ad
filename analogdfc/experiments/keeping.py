"""The record of a verification: its runs, and those that another record has already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analogdfc import records
from analogdfc.errors import UserError
from analogdfc.experiments.results import Curves, CurvesRun
from analogdfc.files import exists
from analogdfc.jobs import Spool
from analogdfc.records import Record

KIND = "verify-theory"
_ABOUT = ("settings", "made_with")


def runs_tree(work: Sequence[CurvesRun], runs: Mapping[str, Curves], seed: int) -> dict[str, Any]:
    """Inputs and curves for the record.

    Args:
        work: the runs.
        runs: their curves, by name.
        seed: of the runs.
    """
    stored: dict[str, Any] = {}
    for run in work:
        *path, last = run.name.split("/")
        place = stored
        for name in path:
            place = place.setdefault(name, {})
        about = {"settings": run.settings(), "made_with": run.made_with()}
        place[last] = {**about, **run.pack(runs[run.name])}
    return {
        "kind": KIND,
        "complete": True,
        "seed": seed,
        "provenance": records.provenance(),
        "runs": stored,
    }


def take_over(path: Path, work: Sequence[CurvesRun], spool: Spool) -> int:
    """Keep those runs in a spool that a record has with the same settings.

    Args:
        path: the record; it needn't exist.
        work: the runs.
        spool: where they are kept.

    Returns:
        How many it has that were made with another version of the programs, and aren't taken.

    Raises:
        UserError: not a record, or not one of a verification.
    """
    if not exists(path):
        return 0
    record = records.read(path)
    if not record.says("kind", KIND):
        raise UserError(f"{path}: not a record of {KIND}; there is nothing to resume")
    others = 0
    for run in work:
        key = f"runs/{run.name}"
        if run in spool or key not in record or record.text(f"{key}/settings") != run.settings():
            continue
        if not record.says(f"{key}/made_with", run.made_with()):
            others += 1
            continue
        curves = {n: leaf for n, leaf in record.group(key).items() if n not in _ABOUT}
        spool.keep(run, run.unpack(Record(path, curves, record.format)))
    return others


def check_finished(path: Path) -> None:
    """Make sure that a file isn't the record of a verification that was interrupted.

    Versions before the folders of runs wrote such records.

    Args:
        path: the file; it needn't exist.

    Raises:
        UserError: it is.
    """
    if not exists(path):
        return
    record = records.read(path)
    if record.says("kind", KIND) and not record.truth("complete"):
        raise UserError(
            f"{path}: holds a verification that isn't finished; go on with it (`resume`), delete "
            "the file or choose another"
        )
