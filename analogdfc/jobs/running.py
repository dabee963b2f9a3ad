"""A list of tasks done by whatever has the interface of `concurrent.futures`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from functools import partial
from typing import TypeVar

from analogdfc.errors import ConvergenceError, TimeLimitError, UserError
from analogdfc.jobs.executors import Elsewhere, Processes, Reporting, WorkerDiedError, counted
from analogdfc.jobs.kept import Keeping, Run, Spool
from analogdfc.jobs.task import Progress, Task

Result = TypeVar("Result")
Ended = tuple[int, "Result | UserError"]
"""Number of a task, and what it gave or why it didn't."""

_LISTEN = 0.2
"""Seconds between two looks at the progress of tasks that still run."""

_ATTEMPTS = 2
"""How often a task may end the process that does it alone, before it is given up."""

_ITS_OWN = (ConvergenceError, TimeLimitError, WorkerDiedError)
"""Failures that say nothing about other runs."""


def run_tasks(
    tasks: Sequence[Task[Result]],
    executor: Executor | None = None,
    progress: Progress = lambda units: None,
) -> Iterator[tuple[Task[Result], Result]]:
    """Do tasks and hand back each as soon as it is done.

    Where a process dies, those that may have killed it are done alone, one after another, and the
    others go on in fresh processes.

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
            that have not begun are given up.
        WorkerDiedError: a task whose process died whenever it was tried; says how.
    """
    for index, result in _ended(tasks, executor, progress):
        if isinstance(result, UserError):
            raise result
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
    for index, result in _ended(tasks, executor, progress):
        if isinstance(result, UserError):
            raise result
        early[index] = result
        while following in early:
            yield early.pop(following)
            following += 1


def run_kept(
    runs: Sequence[Run[Result]],
    spool: Spool | None,
    executor: Executor | None = None,
    progress: Progress = lambda units: None,
) -> list[Result]:
    """Results of runs in their order; those that the spool has are read, the others kept there.

    With a spool, a run that doesn't converge, takes too long or kills its process doesn't keep
    the others from being done: what it raises is raised when all have ended.

    Args:
        runs: what to do, each with a key of its own.
        spool: where results are kept; None keeps none.
        executor: what does them; see `run_tasks`.
        progress: called with the units done, those of kept runs at once; see `run_tasks`.

    Raises:
        UserError: what runs raise; says what is kept.
    """
    if spool is None:
        return list(results(runs, executor, progress))
    failed: dict[int, UserError] = {}
    done: list[Result] = []
    ended = outcomes(runs, spool, executor, progress)
    for index, outcome in enumerate(ended):
        if isinstance(outcome, UserError):
            failed[index] = outcome
        else:
            done.append(outcome)
    if failed:
        raise _summary(runs, failed, spool)
    return done


def outcomes(
    runs: Sequence[Run[Result]],
    spool: Spool | None,
    executor: Executor | None = None,
    progress: Progress = lambda units: None,
) -> list[Result | UserError]:
    """What became of runs, in their order: a run that fails alone is among them with its error.

    Such a run doesn't converge, takes too long, or kills its process; it isn't kept, and is tried
    anew when the list is.

    Args:
        runs: what to do, each with a key of its own.
        spool: where results are kept, and found; None keeps none.
        executor: what does them; see `run_tasks`.
        progress: see `run_kept`.

    Raises:
        UserError: what a run raises that says something about the others too.
    """
    done: dict[int, Result | UserError] = {}
    if spool is not None:
        done.update({k: spool.find(run) for k, run in enumerate(runs) if run in spool})
    if done:
        progress(sum(runs[k].work for k in done))
    left = [k for k in range(len(runs)) if k not in done]
    away = isinstance(executor, Elsewhere)
    tasks = [runs[k] if spool is None or away else Keeping(runs[k], spool) for k in left]
    for index, result in _ended(tasks, executor, progress):
        if isinstance(result, UserError):
            if not isinstance(result, _ITS_OWN):
                raise result
        elif spool is not None and away:
            spool.keep(runs[left[index]], result)
        done[left[index]] = result
    return [done[k] for k in range(len(runs))]


def _summary(runs: Sequence[Run[Result]], failed: dict[int, UserError], spool: Spool) -> UserError:
    """One error of several runs, of the first one's kind."""
    first, error = min(failed.items())
    named = str(error) if runs[first].name in str(error) else f"{runs[first].name}: {error}"
    others = ", ".join(runs[k].name for k in sorted(failed)[1:])
    more = f"; neither did {others} end well" if others else ""
    kept = len(runs) - len(failed)
    whole = type(error)(
        f"{named}{more}. {kept} of {len(runs)} runs are kept in {spool.folder}, where the same "
        "command goes on"
    )
    whole.log = "\n".join(one.log for one in failed.values() if one.log)
    return whole


class _Meter:
    """Progress of tasks, some of which tell it while they run and all of which do at their end."""

    def __init__(self, executor: Executor, progress: Progress) -> None:
        self._reporting = executor if isinstance(executor, Reporting) else None
        self._progress = progress
        self._told = self._due = self._shown = 0

    def listen(self, units_of_ended: int) -> None:
        """Pass on what was told since the last call, and the units of tasks that have ended."""
        self._told += self._reporting.reported() if self._reporting else 0
        # A task that has ended has told all its units, though some may still be on their way.
        self._due += units_of_ended
        known = max(self._due, self._told)
        if known > self._shown:
            self._progress(known - self._shown)
            self._shown = known

    def forget(self) -> None:
        """Leave out what was told by tasks that have not ended: they begin again."""
        self.listen(0)
        self._told = self._due


def _ended(
    tasks: Sequence[Task[Result]], executor: Executor | None, progress: Progress
) -> Iterator[Ended[Result]]:
    """What became of each task, as it ends."""
    if executor is None:
        for index, task in enumerate(tasks):
            yield index, _attempted(partial(task.run, progress))
        return
    left = dict(enumerate(tasks))
    meter = _Meter(executor, progress)
    while not (yield from _all_at_once(left, executor, meter)):
        if not isinstance(executor, Processes):
            undone = ", ".join(left[k].name for k in sorted(left))
            raise WorkerDiedError(
                "a process that worked ended at once: it was killed, or ran out of memory. Not "
                f"done: {undone}. Run fewer at a time, or again"
            )
        meter.forget()
        # Work is handed out in order, to each process one and one in advance.
        for index in sorted(left)[: executor.count + 1]:
            yield index, _alone(left.pop(index), meter)
        executor.renew()


def _result(future: Future[tuple[Result, int]]) -> Result:
    return future.result()[0]


def _attempted(call: Callable[[], Result]) -> Result | UserError:
    try:
        return call()
    except UserError as error:
        return error


def _all_at_once(
    left: dict[int, Task[Result]], executor: Executor, meter: _Meter
) -> Generator[Ended[Result], None, bool]:
    """Do tasks and take those that ended out of `left`; False where a process died before."""
    pending: dict[Future[tuple[Result, int]], int] = {}
    try:
        for index, task in left.items():
            pending[_submitted(task, executor)] = index
        while pending:
            finished, _ = wait(pending, timeout=_LISTEN, return_when=FIRST_COMPLETED)
            well = [f for f in finished if f.exception() is None]
            meter.listen(sum(f.result()[1] for f in well))
            # Those that went well first: an error may end everything.
            for future in [*well, *(f for f in finished if f.exception() is not None)]:
                result = _attempted(partial(_result, future))
                index = pending.pop(future)
                left.pop(index)
                yield index, result
    except BrokenExecutor:
        return False
    finally:
        for future in pending:
            future.cancel()
    return True


def _submitted(task: Task[Result], executor: Executor) -> Future[tuple[Result, int]]:
    if isinstance(executor, Reporting):
        return executor.submit_task(task)
    return executor.submit(counted, task)


def _alone(task: Task[Result], meter: _Meter) -> Result | UserError:
    """Do a task in a process of its own."""
    how = ""
    for _ in range(_ATTEMPTS):
        with Processes(1) as single:
            future = single.submit_task(task)
            try:
                result, units = future.result()
            except BrokenExecutor:
                late, how = single.death()
                if late:
                    break
                continue
            except UserError as error:
                return error
            meter.listen(units)
            return result
    return WorkerDiedError(
        f"{task.name}: the process that does it died each time: {how}. It may need more memory "
        "than there is, or a library crashes"
    )
