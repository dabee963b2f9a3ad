"""Where tasks run: executors of the standard library that can be interrupted."""

from __future__ import annotations

import faulthandler
import math
import multiprocessing
import multiprocessing.connection
import os
import queue
import shutil
import signal
import sys
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol, TypeVar, runtime_checkable

from analogdfc.errors import TimeLimitError, UserError
from analogdfc.jobs.task import Progress, Task
from analogdfc.scratch import Scratch

Result = TypeVar("Result")

_GRACE = 3.0
"""Seconds after its time limit at which a process ends whose task is deaf, in a library's code."""

_LINES = 5
"""Lines before and of its last words that are told when a process died."""

_GAVE_UP = 124
"""Exit code of such a process."""


@runtime_checkable
class Reporting(Protocol):
    """An executor that hears of the progress of a task while it runs."""

    def submit_task(self, task: Task[Result]) -> Future[tuple[Result, int]]:
        """Have the task done; gives its result and the units of progress that it told.

        Args:
            task: the task.
        """

    def reported(self) -> int:
        """Units of progress that tasks have told since the last call."""


class Elsewhere(Executor):
    """An executor whose tasks are done on other machines, which have no folder of this one.

    It is `Reporting`; what its runs give is kept by whoever asked for them.
    """

    @abstractmethod
    def submit_task(self, task: Task[Result]) -> Future[tuple[Result, int]]:
        """See `Reporting.submit_task`.

        Args:
            task: the task.
        """

    @abstractmethod
    def reported(self) -> int:
        """See `Reporting.reported`."""


class WorkerDiedError(UserError):
    """A process that worked ended before its task did: killed, out of memory, a crash."""


class Processes(Executor):
    """Fresh processes of this machine, each with one thread. A context manager.

    Left by an exception, an interrupt among them, it ends the processes and what they do. They
    end by themselves when this process is gone, however it ended. What a task writes to the
    standard error stream appears when the task ends.

    Args:
        count: how many, >= 1.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._context = multiprocessing.get_context("spawn")
        self._reports: multiprocessing.Queue[int] = self._context.Queue()
        self._scratch = Scratch()
        self._logs = self._scratch.path
        self._pool = self._fresh()
        self._started: list[multiprocessing.Process] = []

    def _fresh(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.count,
            mp_context=self._context,
            initializer=_start,
            initargs=(self._reports, str(self._logs)),
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a process call a function; see `concurrent.futures.Executor`.

        Args:
            fn: the function; it can be pickled, as its arguments and its result.
            args: its arguments.
            kwargs: its arguments by name.
        """
        future = self._pool.submit(fn, *args, **kwargs)
        self._started = list(self._processes())
        return future

    def submit_task(self, task: Task[Result]) -> Future[tuple[Result, int]]:
        """Have a process do the task; see `Reporting`.

        Args:
            task: the task; it can be pickled.
        """
        return self.submit(_counted_there, task)

    def reported(self) -> int:
        """Units of progress that tasks have told since the last call."""
        return _waiting(self._reports)

    def renew(self) -> None:
        """Start anew after a process has died, which is the end of all of them."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for log in self._logs.iterdir():
            log.unlink()
        self._pool = self._fresh()

    def death(self) -> tuple[bool, str]:
        """Whether a process ended at its time limit; how one ended, and what it wrote."""
        self._pool.shutdown(wait=True)
        codes = [process.exitcode or 0 for process in self._started]
        # The others are told to end when one has died.
        code = next((c for c in codes if c not in (0, -signal.SIGTERM)), 0)
        how = f"by the signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        if code == _GAVE_UP:
            how = "since it did not heed its time limit"
        said = "\n".join(path.read_text(errors="replace") for path in self._logs.iterdir())
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        # From shortly before Python's own account of a crash, or the end.
        crash = (k for k, line in enumerate(lines) if line.startswith("Fatal Python error"))
        first = max(next(crash, len(lines)) - _LINES, 0)
        shown = " / ".join(lines[first : first + 2 * _LINES])
        return code == _GAVE_UP, f"it ended {how}" + (f"; it wrote: {shown}" if shown else "")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; see `concurrent.futures.Executor`.

        Args:
            wait: until they have ended.
            cancel_futures: give up what has not begun.
        """
        self._pool.shutdown(wait, cancel_futures=cancel_futures)
        self._scratch.remove()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if kind is None:
            return super().__exit__(kind, error, trace)
        running = list(self._processes())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.terminate()
        for process in running:
            process.join(_GRACE)
        self._scratch.remove()  # where one that is just starting still writes
        return None

    def _processes(self) -> Iterable[multiprocessing.Process]:
        return (self._pool._processes or {}).values()


class Threads(ThreadPoolExecutor):
    """Threads of this process, for tasks that wait for another program. A context manager.

    Args:
        count: how many, >= 1.
        stop: ends what the tasks are waiting for; called when an exception, an interrupt among
            them, leaves the block.
    """

    def __init__(self, count: int, stop: Callable[[], object]) -> None:
        super().__init__(count)
        self._stop = stop
        self._reports: queue.SimpleQueue[int] = queue.SimpleQueue()

    def submit_task(self, task: Task[Result]) -> Future[tuple[Result, int]]:
        """Have a thread do the task; see `Reporting`.

        Args:
            task: the task.
        """
        return self.submit(counted, task, self._reports.put)

    def reported(self) -> int:
        """Units of progress that tasks have told since the last call."""
        return _waiting(self._reports)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if kind is not None:
            # Without this the block would wait for every task that is left.
            self.shutdown(wait=False, cancel_futures=True)
            self._stop()
        return super().__exit__(kind, error, trace)


@contextmanager
def processes(count: int) -> Iterator[Executor | None]:
    """Processes, or none where the caller's is enough: what `run_tasks` takes.

    Args:
        count: processes that work at the same time, >= 1; with 1 the work is done in this one.
    """
    if count == 1:
        yield None
        return
    with Processes(count) as pool:
        yield pool


_reports: multiprocessing.Queue[int] | None = None


def _start(reports: multiprocessing.Queue[int], logs: str) -> None:
    """Make a new process ready for tasks."""
    threading.Thread(target=_die_with_parent, args=(logs,), daemon=True).start()
    # Read when torch is imported, which not every task needs.
    os.environ["OMP_NUM_THREADS"] = "1"
    global _reports, _said
    _reports = reports
    _said = _Said(Path(logs) / f"{os.getpid()}.log")
    # The parent hears the interrupt too and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Said:
    """The standard error stream of this process: a file that is there after a crash, too."""

    def __init__(self, path: Path) -> None:
        self._shown = os.dup(2)
        self._file = path.open("w+b", buffering=0)
        os.dup2(self._file.fileno(), 2)
        faulthandler.enable(2, all_threads=False)

    def show(self) -> None:
        """Hand on what was written since the last call."""
        sys.stderr.flush()
        self._file.seek(0)
        text = self._file.read()
        self._file.seek(0)
        self._file.truncate()
        with suppress(OSError):
            os.write(self._shown, text)


_said: _Said | None = None


def _die_with_parent(logs: str) -> None:
    """Wait for the end of the process that started this one, and end at once.

    By the pipe between the two: Linux's signal at the parent's death comes when the thread ends
    that started the process, which may be long before.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    shutil.rmtree(logs, ignore_errors=True)
    os._exit(1)


def _counted_there(task: Task[Result]) -> tuple[Result, int]:
    assert _reports is not None
    assert _said is not None
    try:
        with _limited(task):
            return counted(task, _reports.put)
    finally:
        _said.show()


@contextmanager
def _limited(task: Task[Result]) -> Iterator[None]:
    """Give a task up at its time limit, by an error, or by the end of the process."""
    if math.isinf(task.longest):
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise TimeLimitError(
            f"{task.name}: did not end within its time limit of {task.longest:g} s"
        )

    def end_all() -> None:
        os._exit(_GAVE_UP)

    last = threading.Timer(task.longest + _GRACE, end_all)
    last.daemon = True
    last.start()
    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, task.longest)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        last.cancel()


def counted(task: Task[Result], progress: Progress = lambda units: None) -> tuple[Result, int]:
    """Do a task; its result and the units of progress that it told.

    Args:
        task: the task.
        progress: told the units too.
    """
    total = 0

    def count(units: int) -> None:
        nonlocal total
        total += units
        progress(units)

    return task.run(count), total


def _waiting(reports: multiprocessing.Queue[int] | queue.SimpleQueue[int]) -> int:
    """Sum of what a queue holds, which is then empty."""
    total = 0
    while True:
        try:
            total += reports.get_nowait()
        except queue.Empty:
            return total
