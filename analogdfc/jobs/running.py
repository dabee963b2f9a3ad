"""A list of tasks done by whatever has the interface of `concurrent.futures`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from typing import TypeVar

from analogdfc.errors import UserError
from analogdfc.jobs.executors import Reporting, counted
from analogdfc.jobs.task import Progress, Task

Result = TypeVar("Result")

_LISTEN = 0.2
"""Seconds between two looks at the progress of tasks that still run."""


def run_tasks(
    tasks: Sequence[Task[Result]],
    executor: Executor | None = None,
    progress: Progress = lambda units: None,
) -> Iterator[tuple[Task[Result], Result]]:
    """Do tasks and hand back each as soon as it is done.

    Args:
        tasks: what to do; long ones first keep all workers busy.
        executor: what does them: `Processes`, `Threads`, or any other with the interface of
            `concurrent.futures`; None does one after another in this process. The caller opens
            and closes it.
        progress: called in this thread with the units done since the last call; those of a task
            that runs in an executor of another library are told when it ends.

    Yields:
        A task and its result, in the order in which they end.

    Raises:
        UserError: what a task raises, after those were handed back that had ended well; tasks
            that have not begun are given up. A process that was killed.
    """
    for index, result in _finished(tasks, executor, progress):
        yield tasks[index], result


def results(
    tasks: Sequence[Task[Result]],
    executor: Executor | None = None,
    progress: Progress = lambda units: None,
) -> Iterator[Result]:
    """Do tasks and hand back their results in the order of the tasks, each as soon as it can be.

    Args:
        tasks: what to do.
        executor: what does them; see `run_tasks`.
        progress: called with the units done; see `run_tasks`.

    Yields:
        The result of each task.

    Raises:
        UserError: what a task raises; see `run_tasks`.
    """
    early: dict[int, Result] = {}
    following = 0
    for index, result in _finished(tasks, executor, progress):
        early[index] = result
        while following in early:
            yield early.pop(following)
            following += 1


def _finished(
    tasks: Sequence[Task[Result]], executor: Executor | None, progress: Progress
) -> Iterator[tuple[int, Result]]:
    """Number and result of each task as it ends."""
    if executor is None:
        for index, task in enumerate(tasks):
            yield index, task.run(progress)
        return
    reporting = executor if isinstance(executor, Reporting) else None
    pending: dict[Future[tuple[Result, int]], int] = {}
    shown = told = due = index = 0
    try:
        for index, task in enumerate(tasks):
            future = reporting.submit_task(task) if reporting else executor.submit(counted, task)
            pending[future] = index
        while pending:
            finished, _ = wait(pending, timeout=_LISTEN, return_when=FIRST_COMPLETED)
            told += reporting.reported() if reporting else 0
            # A task that has ended has told all its units, though some may still be on their way.
            due += sum(f.result()[1] for f in finished if f.exception() is None)
            if max(told, due) > shown:
                progress(max(told, due) - shown)
                shown = max(told, due)
            # Those that went well first: an error ends everything.
            for future in sorted(finished, key=lambda f: f.exception() is not None):
                index = pending.pop(future)
                yield index, future.result()[0]
    except BrokenExecutor as error:
        undone = ", ".join(tasks[k].name for k in sorted({*pending.values(), index}))
        raise UserError(
            "a process that worked ended at once: it was killed, or ran out of memory. Not done: "
            f"{undone}. Run fewer at a time, or again"
        ) from error
    finally:
        for future in pending:
            future.cancel()
