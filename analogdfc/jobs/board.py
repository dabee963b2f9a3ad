"""A shared folder in which runs are offered as data, and their results left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from analogdfc.errors import ConvergenceError, TimeLimitError, UserError
from analogdfc.files import write_whole
from analogdfc.jobs.described import Store, described, made
from analogdfc.jobs.executors import WorkerDiedError
from analogdfc.jobs.kept import Run, Spool, make_spool
from analogdfc.jobs.leases import Leases
from analogdfc.jobs.origin import OtherProgramsError, check_programs, made_with

__all__ = ["Board"]

Result = TypeVar("Result")

_FAILURES: dict[str, type[UserError]] = {
    kind.__name__: kind for kind in (UserError, ConvergenceError, TimeLimitError, WorkerDiedError)
}
_DEFECT = "defect"


class Board:
    """A folder of runs that are offered and of their results.

    It is a `Spool` besides: results lie in it by the digest of what they depend on. Beside them are
    `open`, the descriptions of runs that have no result, `data`, what these have in common,
    `leases`, who does which, and `failed`, what became of those that came to no result, with a log
    each. No lock is needed: every file is written whole, and a run that two do gives the same.

    Args:
        folder: on a disk that all machines share; it needn't exist, its parent does.

    Raises:
        UserError: other things are there, or it can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            make_spool(folder)
        except OSError as error:
            raise self._unwritten(error) from error
        self.spool = Spool(folder)
        self._store = Store(folder / "data")

    def leases(self, every: float) -> Leases:
        """Its leases, as a worker of this process sees them.

        Args:
            every: seconds from count to count of those that are taken.
        """
        return Leases(self.folder / "leases", every)

    def offer(self, run: Run[Any]) -> str:
        """Offer a run to the workers, unless its result is there; an earlier failure is forgotten.

        Args:
            run: made of plain data, see `described`.

        Returns:
            Its name in this folder.

        Raises:
            UserError: it can't be described as data, or not written.
        """
        name = self.spool.place(run).stem
        if run in self.spool:
            return name
        try:
            offer = {
                "name": run.name,
                "key": run.key,
                "made_with": made_with(),
                "run": described(run, self._store),
            }
            self._failed(name).unlink(missing_ok=True)
            place = self._open(name)
            if not place.exists():
                place.parent.mkdir(exist_ok=True)
                write_whole(place, json.dumps(offer).encode())
        except TypeError as error:
            raise UserError(
                f"{run.name}: no worker of a shared folder can do it, which takes runs as data: "
                f"{error}"
            ) from error
        except OSError as error:
            raise self._unwritten(error) from error
        return name

    def withdraw(self, names: Iterable[str]) -> None:
        """Offer runs no longer; those that workers do already end there.

        Args:
            names: what `offer` gave.
        """
        for name in names:
            self._open(name).unlink(missing_ok=True)

    def open(self) -> list[str]:
        """Names of the runs that have no result yet, those offered first before others."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self.folder / "open") as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    with suppress(FileNotFoundError):
                        found.append((entry.stat().st_mtime_ns, entry.name[:-5]))
        return [name for _, name in sorted(found)]

    def ended(self, names: Iterable[str]) -> list[str]:
        """Those of some runs that have a result or have failed.

        Args:
            names: what `offer` gave.
        """
        there = {*os.listdir(self.folder)}
        with suppress(FileNotFoundError):
            there |= {f"failed/{file}" for file in os.listdir(self.folder / "failed")}
        return [n for n in names if f"{n}.h5" in there or f"failed/{n}.json" in there]

    def outcome(self, run: Run[Result]) -> Result | UserError:
        """What became of a run that has ended; or why it failed.

        Args:
            run: that was offered.

        Raises:
            UserError: it hasn't ended, or its result is damaged.
            RuntimeError: a defect of the program ended it; has the traceback.
        """
        failed = self._failed(self.spool.place(run).stem)
        if run in self.spool or not failed.exists():
            return self.spool.find(run)
        told = _read(failed)
        if "message" not in told:
            return UserError(f"{run.name} has failed, and {failed}, which says why, is damaged")
        if told.get("kind") == _DEFECT:
            raise RuntimeError(f"{run.name}: {told.get('message')}\n{told.get('log')}")
        error = _FAILURES.get(str(told.get("kind")), UserError)(str(told.get("message")))
        error.log = str(told.get("log", ""))
        return error

    def about(self, name: str) -> dict[str, Any]:
        """The offer of a run: 'name', 'key', 'made_with' and 'run'; empty where it is gone.

        Args:
            name: what `offer` gave.
        """
        return _read(self._open(name))

    def damaged(self, name: str) -> UserError | None:
        """What is wrong with an offer that is there and can't be read; None with others.

        Args:
            name: what `offer` gave.
        """
        try:
            if isinstance(json.loads(self._open(name).read_text("utf-8")), dict):
                return None
        except OSError:
            return None  # it has ended
        except ValueError:
            pass
        return UserError(f"{self._open(name)}: is damaged; offer its run again")

    def run(self, name: str) -> Run[Any]:
        """A run that is offered, made anew from its description.

        Args:
            name: what `offer` gave.

        Raises:
            UserError: it is gone or no description of a run.
            OtherProgramsError: here it would be another run.
        """
        offer = self.about(name)
        if not offer:
            raise UserError(f"{self._open(name)}: can't be read")
        check_programs(self.folder, str(offer.get("made_with")))
        run = made(offer.get("run"), self._store)
        if not isinstance(run, Run):
            raise UserError(f"{self._open(name)}: describes no run")
        if run.key != offer.get("key"):
            raise UserError(f"{self._open(name)}: {run.name} has other settings than were offered")
        if self.spool.place(run).stem != name:
            raise OtherProgramsError(
                f"{self.folder}: {run.name} was offered by another simulator than {run.made_with()}"
            )
        return run

    def close(self, name: str) -> None:
        """Remove what is left of a run whose result is there, or that has failed.

        Args:
            name: what `offer` gave.
        """
        self._open(name).unlink(missing_ok=True)
        self.leases(0).drop(name)

    def fail(self, name: str, error: BaseException, log: str) -> Path:
        """Write down why a run came to no result, and offer it no longer.

        Args:
            name: what `offer` gave.
            error: what it raised.
            log: what a program wrote that failed, lines; may be empty.

        Returns:
            The file.

        Raises:
            OSError: it can't be written.
        """
        kind = type(error).__name__ if isinstance(error, UserError) else _DEFECT
        message = str(error) if isinstance(error, UserError) else repr(error)
        place = self._failed(name)
        place.parent.mkdir(exist_ok=True)
        told = {"name": self.about(name).get("name"), "kind": kind, "message": message, "log": log}
        if log:
            write_whole(place.with_suffix(".log"), log.encode("utf-8", errors="replace"))
        write_whole(place, json.dumps(told).encode())
        self.close(name)
        return place.with_suffix(".log") if log else place

    def checkpoint(self, name: str) -> str:
        """What tells a checkpoint of a run from an earlier one; empty for none.

        Args:
            name: what `offer` gave.
        """
        try:
            found = (self.folder / f"{name}.checkpoint").stat()
        except OSError:
            return ""
        return f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"

    def forget(self, names: Iterable[str]) -> None:
        """Remove results that are no longer needed.

        Args:
            names: what `offer` gave.
        """
        for name in names:
            (self.folder / f"{name}.h5").unlink(missing_ok=True)

    def _open(self, name: str) -> Path:
        return self.folder / "open" / f"{name}.json"

    def _failed(self, name: str) -> Path:
        return self.folder / "failed" / f"{name}.json"

    def _unwritten(self, error: OSError) -> UserError:
        return UserError(f"{self.folder}: can't be written: {error.strerror or error}")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
