"""Experiments as independent pieces of work, run one after another or side by side."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import Any

import torch

from analogdfc.records import Quantity

Curves = Mapping[str, Quantity | str]
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Job(ABC):
    """One run of an experiment: what it needs is in its fields, what it finds is in its curves.

    Two equal jobs give equal curves, on any process. Subclasses are frozen dataclasses whose
    fields JSON can hold, so that a record can tell whether it has a job's curves already.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Where its curves are kept, the names of groups joined by '/'."""

    @property
    @abstractmethod
    def work(self) -> int:
        """How many units of progress it reports."""

    @abstractmethod
    def run(self, progress: Progress) -> Curves:
        """Do the work.

        Args:
            progress: called with the units done since the last call.

        Returns:
            Curves by name, each with its unit; texts say what went wrong.
        """

    def settings(self) -> str:
        """All fields as a JSON text."""
        return json.dumps(asdict(self), sort_keys=True)


def run_jobs(jobs: Sequence[Job], workers: int, progress: Progress) -> Iterator[tuple[Job, Curves]]:
    """Run jobs and hand back each as soon as it is done.

    Args:
        jobs: what to do; long ones first keep all workers busy.
        workers: processes that work at the same time, >= 1; with 1 the work is done in this one.
        progress: called in this process with the units done.

    Yields:
        A job and its curves, in the order in which they end.

    Raises:
        UserError: what a job raises; the jobs that still run are given up.
    """
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, job.run(progress)
        return
    # One thread a worker, or they would be in each other's way; read when a worker starts.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    done: multiprocessing.Queue[int] = context.Queue()
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=context, initializer=_start_worker, initargs=(done,)
    )
    try:
        pending: dict[Future[Curves], Job] = {pool.submit(_run, job): job for job in jobs}
        while pending:
            finished, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            _report(done, progress)
            # Those that went well first: an error ends everything.
            for future in sorted(finished, key=lambda f: f.exception() is not None):
                yield pending.pop(future), future.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    pool.shutdown()


_done: multiprocessing.Queue[int] | None = None


def _start_worker(done: multiprocessing.Queue[int]) -> None:
    global _done
    _done = done
    torch.set_num_threads(1)
    # The parent hears the interrupt too and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(job: Job) -> Curves:
    assert _done is not None
    return job.run(_done.put)


def _report(done: multiprocessing.Queue[int], progress: Progress) -> None:
    total: Any = 0
    while True:
        try:
            total += done.get_nowait()
        except queue.Empty:
            break
    if total:
        progress(total)
