"""Tasks: the same results wherever they run, progress, errors, interrupts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from deeds import Crash, Endless, Killed, Nap, Once

from analogdfc.errors import TimeLimitError, UserError
from analogdfc.jobs import (
    Processes,
    Progress,
    Shared,
    Task,
    Threads,
    WorkerDiedError,
    processes,
    results,
    run_tasks,
)
from analogdfc.scratch import Scratch


@dataclass(frozen=True)
class Draw(Task[float]):
    """A random number from its seed, in as many steps as it is told."""

    seed: int
    steps: int = 1
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"draw/{self.seed}"

    @property
    def work(self) -> int:
        return self.steps

    def run(self, progress: Progress) -> float:
        time.sleep(self.seconds)
        for _ in range(self.steps):
            progress(1)
        return torch.rand((), generator=torch.Generator().manual_seed(self.seed)).item()


@dataclass(frozen=True)
class Refused(Task[float]):
    """An error, as soon as a file is there."""

    after: str

    def run(self, progress: Progress) -> float:
        while not Path(self.after).exists():
            time.sleep(0.01)
        raise UserError("nothing will do")


@dataclass(frozen=True)
class Where(Task[tuple[int, int, str, int]]):
    """The process that it runs in, its threads, by two accounts, and the object it was given."""

    given: Shared[list[int]]

    def run(self, progress: Progress) -> tuple[int, int, str, int]:
        time.sleep(0.05)
        threads = torch.get_num_threads()
        return os.getpid(), threads, os.environ.get("OMP_NUM_THREADS", ""), id(self.given.value)


@pytest.fixture(scope="module")
def pool() -> Iterator[Processes]:
    with Processes(2) as workers:
        yield workers


TASKS = [Draw(seed, steps=seed + 1) for seed in range(6)]


@pytest.mark.parametrize("kind", ["here", "ours", "threads", "library's"])
def test_results_do_not_depend_on_where_tasks_run(kind: str, pool: Processes) -> None:
    told: list[int] = []
    expected = [task.run(lambda units: None) for task in TASKS]
    other: dict[str, Executor | None] = {
        "here": None,
        "ours": pool,
        "threads": Threads(3, lambda: None),
        "library's": ThreadPoolExecutor(2),
    }
    assert list(results(TASKS, other[kind], told.append)) == expected
    assert sum(told) == sum(task.work for task in TASKS)
    found = dict(run_tasks(TASKS, other[kind]))
    assert [found[task] for task in TASKS] == expected


def test_an_executor_of_the_standard_library_will_do() -> None:
    with ProcessPoolExecutor(1) as library:
        assert list(results(TASKS[:2], library)) == list(results(TASKS[:2]))


def test_each_task_is_handed_back_as_it_ends_and_results_in_their_order() -> None:
    tasks = [Draw(1, seconds=0.4), Draw(2), Draw(3)]
    with Threads(2, lambda: None) as pool:
        assert [task for task, _ in run_tasks(tasks, pool)][-1] == tasks[0]
        assert list(results(tasks, pool)) == list(results(tasks))


def test_in_this_process_a_task_begins_when_it_is_asked_for() -> None:
    begun: list[int] = []
    runs = run_tasks(TASKS, progress=begun.append)
    next(runs)
    assert sum(begun) == TASKS[0].work


def test_progress_is_told_while_a_task_runs() -> None:
    go = threading.Event()

    @dataclass(frozen=True)
    class Slow(Task[bool]):
        def run(self, progress: Progress) -> bool:
            progress(3)
            return go.wait(10)

    told: list[int] = []

    def tell(units: int) -> None:
        told.append(units)
        go.set()

    with Threads(1, go.set) as pool:
        assert list(results([Slow()], pool, tell)) == [True]
    assert told == [3]


def test_an_error_hands_back_what_ended_well_and_gives_up_the_rest(
    pool: Processes, tmp_path: Path
) -> None:
    kept: dict[Task[float], float] = {}
    refused = Refused(str(tmp_path / "go"))

    def collect() -> None:
        for task, value in run_tasks([Draw(1), refused, Draw(2)], pool):
            kept[task] = value
            Path(refused.after).touch()

    with pytest.raises(UserError, match="nothing will do"):
        collect()
    assert kept[Draw(1)] == next(results([Draw(1)]))
    # The pool is still good for others.
    assert list(results(TASKS, pool)) == list(results(TASKS))


def test_a_run_that_kills_its_worker_each_time_is_named_and_one_that_does_once_is_done(
    tmp_path: Path,
) -> None:
    once = Once(str(tmp_path / "mark"))
    with Processes(1) as workers:
        assert list(results([once, Nap(), Nap()], workers)) == ["done"] * 3
        with pytest.raises(WorkerDiedError, match=r"^killed: .* died each time: .* SIGKILL"):
            list(results([Killed()], workers))


def test_a_crash_is_told_with_the_last_that_the_process_wrote() -> None:
    with Processes(1) as workers, pytest.raises(WorkerDiedError) as caught:
        list(results([Crash()], workers))
    assert "by the signal SIGSEGV; it wrote: about to read address 0" in str(caught.value)
    assert "string_at" in str(caught.value)  # where it was, by the Python's own account


def test_an_executor_that_can_not_start_anew_names_what_is_not_done() -> None:
    with (
        ProcessPoolExecutor(1) as library,
        pytest.raises(WorkerDiedError, match=r"ran out of memory\. Not done: .*killed"),
    ):
        list(results([Killed()], library))


@pytest.mark.parametrize("deaf", [False, True])
def test_a_process_holds_the_time_limit_of_what_it_does(deaf: bool) -> None:
    begin = time.monotonic()
    error = WorkerDiedError if deaf else TimeLimitError
    with Processes(1) as workers, pytest.raises(error, match="time limit"):
        list(results([Endless(deaf)], workers))
    assert time.monotonic() - begin < 50


def test_what_is_shared_is_unpacked_once_in_a_process_that_has_one_thread(
    pool: Processes,
) -> None:
    given = Shared([1, 2, 3])
    found = list(results([Where(given)] * 8, pool))
    assert os.getpid() not in {pid for pid, *_ in found}
    assert len({(pid, thing) for pid, _, _, thing in found}) == len({pid for pid, *_ in found})
    assert all(threads == 1 for _, threads, _, _ in found)
    assert next(results([Where(given)]))[3] == id(given.value)


def test_one_process_is_this_one() -> None:
    with processes(1) as none:
        assert none is None
    with processes(2) as some:
        assert isinstance(some, Processes)


def test_leaving_threads_by_an_error_stops_what_they_wait_for() -> None:
    started, stopped = threading.Event(), threading.Event()

    @dataclass(frozen=True)
    class Waiting(Task[bool]):
        def run(self, progress: Progress) -> bool:
            started.set()
            return stopped.wait(30)

    begin = time.monotonic()
    queued: list[Future[tuple[bool, int]]] = []

    def interrupted() -> None:
        with Threads(1, stopped.set) as pool:
            pool.submit_task(Waiting())
            queued.extend(pool.submit_task(Waiting()) for _ in range(3))
            started.wait(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - begin < 10
    assert all(future.cancelled() for future in queued)


def test_leaving_processes_by_an_error_ends_what_they_do() -> None:
    began: list[int] = []

    def interrupted() -> None:
        with Processes(1) as pool:
            began.append(next(results([Where(Shared([]))], pool))[0])
            pool.submit_task(Draw(1, seconds=60))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    end = time.monotonic() + 20
    while Path(f"/proc/{began[0]}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{began[0]}").exists()


def test_what_a_killed_program_left_is_removed_and_what_another_uses_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "analogdfc-run-ab_01234"
    left.mkdir()
    with Processes(1):
        (first,) = tmp_path.iterdir()
        assert first != left
        os.utime(first, (1e9, 1e9))
        with Processes(1):
            assert first.exists()
            assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.iterdir())


def test_a_folder_that_its_maker_may_still_lock_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    young, old = tmp_path / "analogdfc-new-ab_01234", tmp_path / "analogdfc-new-ab_56789"
    for folder in (young, old):
        folder.mkdir()
    os.utime(old, (1e9, 1e9))
    with Scratch():
        pass
    assert list(tmp_path.iterdir()) == [young]


def test_a_folder_of_the_user_is_not_taken_for_one_that_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = tmp_path / "analogdfc-run-of-mine"
    mine.mkdir()
    os.utime(mine, (1e9, 1e9))
    with Scratch() as folder:
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == [mine]


def test_settings_tell_tasks_apart_and_are_json() -> None:
    assert Draw(1).settings() == '{"seconds": 0.0, "seed": 1, "steps": 1}'
    with pytest.raises(TypeError):
        Where(Shared([1])).settings()


def test_describing_tasks_needs_no_torch() -> None:
    code = "import sys, analogdfc.jobs; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
