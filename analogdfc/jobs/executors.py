"""Where tasks run: executors of the standard library that can be interrupted."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, TypeVar, runtime_checkable

from analogdfc.jobs.task import Progress, Task

Result = TypeVar("Result")


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


class Processes(ProcessPoolExecutor):
    """Fresh processes of this machine, each with one thread. A context manager.

    Left by an exception, an interrupt among them, it ends the processes and what they do. They
    end by themselves when this process is gone, however it ended.

    Args:
        count: how many, >= 1.
    """

    def __init__(self, count: int) -> None:
        # One thread each, or they would be in each other's way; read when one starts.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        context = multiprocessing.get_context("spawn")
        self._reports: multiprocessing.Queue[int] = context.Queue()
        super().__init__(count, mp_context=context, initializer=_start, initargs=(self._reports,))

    def submit_task(self, task: Task[Result]) -> Future[tuple[Result, int]]:
        """Have a process do the task; see `Reporting`.

        Args:
            task: the task; it can be pickled.
        """
        return self.submit(_counted_there, task)

    def reported(self) -> int:
        """Units of progress that tasks have told since the last call."""
        return _waiting(self._reports)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if kind is None:
            return super().__exit__(kind, error, trace)
        running = list((self._processes or {}).values())
        self.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.terminate()
        return None


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


def _start(reports: multiprocessing.Queue[int]) -> None:
    """Make a new process ready for tasks."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    import torch  # not needed by the process that starts it

    global _reports
    _reports = reports
    torch.set_num_threads(1)
    # The parent hears the interrupt too and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _die_with_parent() -> None:
    """Wait for the end of the process that started this one, and end at once.

    By the pipe between the two: Linux's signal at the parent's death comes when the thread ends
    that started the process, which may be long before.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _counted_there(task: Task[Result]) -> tuple[Result, int]:
    assert _reports is not None
    return counted(task, _reports.put)


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
