"""A worker that takes runs from a shared folder, until none is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from analogdfc.errors import UserError
from analogdfc.jobs.board import Board
from analogdfc.jobs.described import PACKAGES
from analogdfc.jobs.executors import Processes, WorkerDiedError
from analogdfc.jobs.kept import Run, Spool
from analogdfc.jobs.leases import Free, Lease, Leases
from analogdfc.jobs.origin import OtherProgramsError, check_programs
from analogdfc.jobs.task import Progress, Task, checkpointed

__all__ = ["Tally", "work"]

_LOOK = 1.0
"""Seconds between two looks at a folder that has nothing to do."""

Say = Callable[[str], object]


class _NotKeptError(UserError):
    """A result that can't be written: that says nothing about the run."""


@dataclass
class Tally:
    """What a worker did.

    Attributes:
        done: runs whose results it has written.
        failed: runs that came to no result.
        others: runs that it left, since they were offered by other programs; why.
    """

    done: int = 0
    failed: int = 0
    others: str = ""


def work(
    folder: Path,
    *,
    stay: bool = False,
    every: float = 10.0,
    attempts: int = 3,
    say: Say = lambda text: None,
) -> Tally:
    """Do the runs that are offered in a folder, beside other workers, until all have ended.

    A run is done in a process of its own, so that its end by a crash is the run's alone. One whose
    worker is lost is taken by another after six times the seconds that it counts in, and goes on
    from its checkpoint where it left one. A run that was lost or crashed `attempts` times, without
    a new checkpoint, has failed; so has one that raises an error. The others are done.

    Args:
        folder: see `Board`.
        stay: for runs that are offered later, too; until an interrupt.
        every: seconds after which this worker counts in its lease.
        attempts: how often a run may be lost.
        say: called with a line when a run was taken or has ended.

    Raises:
        UserError: no such folder, or it can't be written; the run that was being done is left to
            others.
        OtherProgramsError: all runs that are left were offered by other versions than are here.
    """
    if not (stay or folder.is_dir()):
        raise UserError(f"{folder}: there is no such folder; runs are offered in one")
    worker = _Worker(Board(folder), every, attempts, say, stay)
    with Processes(1) as pool:
        while True:
            if worker.one(pool):
                continue
            left = [name for name in worker.board.open() if name not in worker.others]
            if not left and not stay:
                break
            time.sleep(min(_LOOK, every))
    if worker.others and not (worker.tally.done or worker.tally.failed):
        raise OtherProgramsError(worker.tally.others)
    return worker.tally


@dataclass(frozen=True)
class _Offered(Task[None]):
    """A run of a folder, made from its description where it is done."""

    folder: Path
    of: str
    packages: tuple[str, ...]

    @property
    def longest(self) -> float:
        return self._run.longest

    @property
    def _run(self) -> Run[Any]:
        PACKAGES.update(self.packages)
        return _made(self.folder, self.of)

    def run(self, progress: Progress) -> None:
        run, spool = self._run, Spool(self.folder)
        if run in spool:
            return
        checkpoint = spool.checkpoint(run)
        with checkpointed(checkpoint):
            result = run.run(progress)
        try:
            spool.keep(run, result)
        except UserError as error:
            raise _NotKeptError(str(error)) from error
        checkpoint.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _made(folder: Path, name: str) -> Run[Any]:
    return Board(folder).run(name)


class _Worker:
    """Takes one run after another.

    Args:
        board: where from.
        every: seconds after which it counts.
        attempts: how often a run may be lost.
        say: told what happens.
        stay: it doesn't end, so that what it leaves to others is told at once.
    """

    def __init__(
        self, board: Board, every: float, attempts: int, say: Say, stay: bool = False
    ) -> None:
        self.board, self.every, self.attempts, self.say = board, every, attempts, say
        self.stay = stay
        self.tally = Tally()
        self.others: set[str] = set()
        self._leases: Leases = board.leases(every)

    def one(self, pool: Processes) -> bool:
        """Do a run, if one may be taken."""
        names = [name for name in self.board.open() if name not in self.others]
        for free in self._leases.free(names):
            if (damaged := self.board.damaged(free.name)) is not None:
                self._fail(free.name, free.name, damaged, "")
                return True
            with self._writing():
                about, checkpoint = self.board.about(free.name), self.board.checkpoint(free.name)
                lease = self._leases.take(free, checkpoint) if about else None
            if lease is None:
                continue
            try:
                self._attempt(pool, free, lease, str(about.get("name")))
            except OtherProgramsError as error:
                lease.release()
                self.others.add(free.name)
                if self.stay and str(error) != self.tally.others:
                    self.say(str(error))
                self.tally.others = str(error)
                continue
            except BaseException:
                lease.release()
                raise
            return True
        return False

    def _attempt(self, pool: Processes, free: Free, lease: Lease, called: str) -> None:
        if not self.board.about(free.name):  # it ended between two looks
            self._leases.drop(free.name)
            return
        check_programs(self.board.folder, str(self.board.about(free.name).get("made_with")))
        if (lost := lease.told["lost"]) >= self.attempts:
            how = f"{called}: the workers that did it were lost {lost} times, without a checkpoint"
            self._fail(free.name, called, WorkerDiedError(how), "")
            return
        self.say(f"{called}: begun" + (f", after {lost} lost workers" if lost else ""))
        crashed, before = lost, self.board.checkpoint(free.name)
        while True:
            future = pool.submit_task(
                _Offered(self.board.folder, free.name, tuple(sorted(PACKAGES)))
            )
            try:
                self._until_ended(future, lease)
                future.result()
            except BrokenExecutor:
                _, how = pool.death()
                pool.renew()
                after = self.board.checkpoint(free.name)
                crashed, before = (0 if after != before else crashed) + 1, after
                if crashed < self.attempts:
                    continue
                told = WorkerDiedError(f"{called}: the process that does it died each time: {how}")
                self._fail(free.name, called, told, how)
            except (_NotKeptError, OtherProgramsError):
                raise
            except Exception as error:
                log = error.log if isinstance(error, UserError) else str(error.__cause__ or "")
                self._fail(free.name, called, error, log)
            else:
                with self._writing():
                    self.board.close(free.name)
                self.tally.done += 1
                self.say(f"{called}: done")
            return

    def _until_ended(self, future: Future[tuple[None, int]], lease: Lease) -> None:
        while not wait([future], timeout=self.every).done:
            with self._writing():
                lease.beat()

    def _fail(self, name: str, called: str, error: BaseException, log: str) -> None:
        with self._writing():
            place = self.board.fail(name, error, log)
        self.tally.failed += 1
        said = str(error) if isinstance(error, UserError) else repr(error)
        said = said if called in said else f"{called}: {said}"
        self.say(f"{said}. It is in {place}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self.board.folder}: can't be written: {error.strerror or error}"
            ) from error
