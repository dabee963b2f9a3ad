"""Runs that workers take from a shared folder; see `analogdfc.jobs.pulling`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from analogdfc.errors import UserError
from analogdfc.jobs.board import Board
from analogdfc.jobs.engines import PATIENCE, Say
from analogdfc.jobs.executors import Elsewhere
from analogdfc.jobs.kept import Run
from analogdfc.jobs.task import Task

__all__ = ["FolderExecutor", "SharedFolder"]

Result = TypeVar("Result")

_LOOK = 0.2
"""Seconds between two looks at the folder; longer where that takes long."""


class SharedFolder:
    """Workers of a folder that all machines share; see `Engine`.

    Args:
        address: the folder.

    Raises:
        UserError: no folder.
    """

    def __init__(self, address: str | None = None) -> None:
        if not address:
            raise UserError("the engine spool needs an address: a folder that all machines share")
        self.folder = Path(address)

    def open(self, count: int, say: Say) -> AbstractContextManager[Executor]:
        """See `Engine.open`; how many are done at a time is the workers' matter."""
        return FolderExecutor(self.folder, say)


class FolderExecutor(Elsewhere):
    """Offers runs in a shared folder and waits for their results. A context manager.

    Left by an interrupt, or killed, it leaves the offers: the same runs, offered again, are where
    the workers have them then. Left by an error, it takes back those that nobody has begun.

    Args:
        folder: see `Board`.
        say: told that runs wait and nobody does them.
    """

    def __init__(self, folder: Path, say: Say = lambda text: None) -> None:
        self._board = Board(folder)
        self._leases = self._board.leases(0)
        self._say = say
        self._waiting: dict[str, list[tuple[Run[Any], Future[Any]]]] = {}
        self._taken: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Refused: a shared folder holds runs, no functions."""
        raise TypeError("a shared folder holds runs, no functions")

    def submit_task(self, task: Task[Result]) -> Future[tuple[Result, int]]:
        """Offer a run; see `Reporting`.

        Args:
            task: a `Run` of plain data.

        Raises:
            UserError: another task, or the folder can't be written.
        """
        if not isinstance(task, Run):
            raise UserError(f"{task.name}: only runs whose results a record holds can be offered")
        name = self._board.offer(task)
        future: Future[tuple[Result, int]] = Future()
        with self._lock:
            self._waiting.setdefault(name, []).append((task, future))
        if not self._watcher.is_alive() and not self._stop.is_set():
            self._watcher.start()
        return future

    def reported(self) -> int:
        """None: what is known of a run is that it has ended."""
        return 0

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Look at the folder no longer; see `concurrent.futures.Executor`.

        Args:
            wait: until that has ended.
            cancel_futures: take back what nobody has begun.
        """
        if cancel_futures:
            with self._lock:
                begun = self._leases.latest()
                self._board.withdraw(name for name in self._waiting if name not in begun)
        self._stop.set()
        if wait and self._watcher.is_alive():
            self._watcher.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown(cancel_futures=kind is not None and issubclass(kind, Exception))
        if kind is None:
            self._board.forget(self._taken)

    def _watch(self) -> None:
        heard, since, pause = "", time.monotonic(), 0.0
        while not self._stop.wait(pause):
            begun = time.monotonic()
            try:
                self._settle()
                told = self._leases.heard()
            except BaseException as error:  # whoever waits for a run has to hear of it
                self._break(error)
                return
            if told != heard or not self._waiting:
                heard, since = told, time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                self._say(
                    f"{self._board.folder}: {len(self._waiting)} runs wait, and no worker has been "
                    f"heard of for {PATIENCE:g} s; start some"
                )
                since = float("inf")  # once is enough, until one is heard
            pause = max(_LOOK, 5 * (time.monotonic() - begun))

    def _settle(self) -> None:
        """Hand on what has ended since the last look."""
        with self._lock:
            waiting = list(self._waiting)
        ended = self._board.ended(waiting)
        for name in ended:
            with self._lock:
                asked = self._waiting.pop(name)
            left = [(run, one) for run, one in asked if not _settle(one, run, self._board)]
            if left:
                with self._lock:
                    self._waiting.setdefault(name, []).extend(left)
            else:
                self._taken.add(name)
        # Another driver may have asked for the same run and taken its result away.
        gone = {*waiting} - {*ended} - {*self._board.open()}
        for name in {*gone} - {*self._board.ended(gone)}:
            with self._lock:
                run = self._waiting[name][0][0]
            self._board.offer(run)

    def _break(self, error: BaseException) -> None:
        with self._lock:
            for asked in self._waiting.values():
                for _, future in asked:
                    if not future.done():
                        future.set_exception(error)
            self._waiting.clear()


def _settle(future: Future[Any], run: Run[Any], board: Board) -> bool:
    """Hand on what became of a run; False where it has just been taken away."""
    error: Exception | None = None
    try:
        found = board.outcome(run)
    except Exception as raised:
        if not board.ended([board.spool.place(run).stem]):
            return False
        error = raised
    if not future.set_running_or_notify_cancel():
        return True
    if error is None and isinstance(found, UserError):
        error = found
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result((found, run.work))
    return True
