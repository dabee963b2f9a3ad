"""Runs in a folder that machines share: data, done once, whoever is killed in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from deeds import Bad, Count

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.jobs import (
    Board,
    OtherProgramsError,
    Run,
    Spool,
    engine_of,
    outcomes,
    run_kept,
    work,
)
from analogdfc.jobs.described import PACKAGES, Store, made
from analogdfc.jobs.engines import shared
from analogdfc.jobs.engines.shared import FolderExecutor
from analogdfc.jobs.leases import Free, Leases

RUNS: list[Run[int]] = [Count(n) for n in (3, 1, 2)]
QUICK = 0.05
"""Seconds from count to count of a worker."""


@pytest.fixture(autouse=True)
def own_runs() -> Iterator[None]:
    PACKAGES.add("deeds")
    yield
    PACKAGES.discard("deeds")


def worker(folder: Path, limit: str = "") -> subprocess.Popen[str]:
    """A worker in a program of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from analogdfc.jobs import work\n"
        "from analogdfc.jobs.described import PACKAGES\n"
        "if __name__ == '__main__':\n"
        "    PACKAGES.add('deeds')\n"
        f"    {limit}\n"
        f"    work(Path({str(folder)!r}), every={QUICK})\n"
    )
    script = folder.with_suffix(".py")
    script.write_text(code)
    return subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)


def offered(pool: object, run: Run[int]) -> None:
    assert isinstance(pool, FolderExecutor)
    pool.submit_task(run)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, list[Run[int]], list[str]]:
    """Good and bad runs that one worker has done, and what it said."""
    PACKAGES.add("deeds")
    board = Board(tmp_path_factory.mktemp("mixed") / "runs")
    bad: list[Run[int]] = [Bad(0, way=way) for way in ("error", "defect", "death")]
    runs = [*bad, *RUNS]
    for run in runs:
        board.offer(run)
    said: list[str] = []
    tally = work(board.folder, every=QUICK, attempts=2, say=said.append)
    assert (tally.done, tally.failed) == (3, 3)
    return board, runs, said


def test_results_are_those_of_this_process_to_the_byte(
    mixed: tuple[Board, list[Run[int]], list[str]], tmp_path: Path
) -> None:
    board, _, _ = mixed
    with Spool(tmp_path / "here") as spool:
        assert run_kept(RUNS, spool) == [3, 1, 2]
        for run in RUNS:
            assert board.outcome(run) == spool.find(run)
            assert board.spool.place(run).read_bytes() == spool.place(run).read_bytes()


def test_a_run_that_fails_has_its_error_and_log_and_the_others_are_done(
    mixed: tuple[Board, list[Run[int]], list[str]],
) -> None:
    board, runs, said = mixed
    error, defect, death = runs[:3]
    found = board.outcome(error)
    assert isinstance(found, ConvergenceError)
    assert (str(found), found.log) == ("no rest", "what the simulator wrote")
    with pytest.raises(RuntimeError, match="return 1 // 0"):
        board.outcome(defect)
    died = board.outcome(death)
    assert isinstance(died, UserError)
    assert "died each time: it ended by the signal SIGKILL; it wrote: the last words" in str(died)
    logs = [path.read_text() for path in (board.folder / "failed").glob("*.log")]
    assert any("the last words" in log for log in logs)
    assert sum("It is in" in line for line in said) == 3
    assert board.open() == []
    assert not list((board.folder / "leases").iterdir())


def test_a_failed_run_that_is_offered_again_is_tried_again(tmp_path: Path) -> None:
    board = Board(tmp_path / "runs")
    name = board.offer(Bad(0))
    board.fail(name, ConvergenceError("no rest"), "")
    assert board.open() == []
    assert board.ended([name]) == [name]
    assert board.offer(Bad(0)) == name
    assert board.open() == [name]
    assert board.ended([name]) == []


def test_a_run_whose_worker_is_killed_goes_on_with_another_from_its_checkpoint(
    tmp_path: Path,
) -> None:
    board, halt = Board(tmp_path / "runs"), tmp_path / "halt"
    halt.touch()
    run = Count(5, str(halt))
    name = board.offer(run)
    with worker(board.folder) as lost:
        until(lambda: bool(board.checkpoint(name)))
        time.sleep(3 * QUICK)  # it counts, so that nobody takes the run
        assert not list(board.leases(QUICK).free([name]))
        os.kill(lost.pid, signal.SIGKILL)
        halt.unlink()
        said: list[str] = []
        assert work(board.folder, every=QUICK, say=said.append).done == 1
    assert said[0].startswith("count to 5: begun")
    assert board.outcome(run) == 5
    assert Path(f"{halt}.resumed").read_text() == "2"
    assert not board.checkpoint(name)


def test_a_run_that_loses_its_workers_again_and_again_has_failed(tmp_path: Path) -> None:
    board = Board(tmp_path / "runs")
    run = RUNS[0]
    name = board.offer(run)
    for number in (1, 2):
        leases = board.leases(0.001)
        (free,) = until_free(leases, name)
        assert (free.number, free.lost) == (number, number - 1)
        assert leases.take(free, "") is not None
        assert leases.take(free, "") is None  # nobody else has it
    assert work(board.folder, every=QUICK, attempts=2).failed == 1
    assert "the workers that did it were lost 2 times" in str(board.outcome(run))


def test_a_new_checkpoint_starts_the_count_of_lost_workers_anew(tmp_path: Path) -> None:
    board = Board(tmp_path / "runs")
    name = board.offer(RUNS[0])
    leases = board.leases(0.001)
    for checkpoint, lost in (("", 0), ("", 1), ("a", 0), ("a", 1), ("b", 0)):
        (free,) = until_free(leases, name)
        lease = leases.take(free, checkpoint)
        assert lease is not None
        assert lease.told["lost"] == lost


def until_free(leases: Leases, name: str) -> list[Free]:
    found: list[Free] = []

    def looked() -> bool:
        found[:] = leases.free([name])
        return bool(found)

    until(looked)
    return found


def test_workers_of_other_versions_leave_a_run_alone_and_say_so(tmp_path: Path) -> None:
    board = Board(tmp_path / "runs")
    path = board.folder / "open" / f"{board.offer(RUNS[0])}.json"
    offer = json.loads(path.read_text())
    offer["made_with"] = offer["made_with"].replace("torch ", "torch 1")
    path.write_text(json.dumps(offer))
    with pytest.raises(OtherProgramsError, match=r"there is torch 12\S*; here is torch 2\S*\. "):
        work(board.folder, every=QUICK)

    def say(text: str) -> None:
        raise InterruptedError(text)

    with pytest.raises(InterruptedError, match=r"there is torch 12\S*; here is torch 2\S*\. "):
        work(board.folder, every=QUICK, stay=True, say=say)  # which would wait for more
    assert len(board.open()) == 1


def test_a_worker_on_a_full_disk_ends_with_one_line_and_leaves_its_run(tmp_path: Path) -> None:
    board = Board(tmp_path / "runs")
    board.offer(RUNS[0])
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))"
    with worker(board.folder, full) as process:
        assert process.stderr is not None
        last = process.stderr.read().strip().splitlines()[-1]
    assert "cannot be written: File too large" in last
    assert work(board.folder, every=QUICK).done == 1  # at once, since the lease was released


def test_a_description_makes_no_class_but_those_of_known_packages(tmp_path: Path) -> None:
    board = Board(tmp_path / "runs")
    for name in ("subprocess:Popen", "builtins:eval", "analogdfc.jobs.board:os", "analogdfc:nn"):
        for kind in ("object", "made"):
            with pytest.raises(UserError, match="no description of a run"):
                made({"is": kind, "class": name, "of": {}}, Store(tmp_path))
    PACKAGES.discard("deeds")
    with pytest.raises(
        UserError, match=r"count to 3: no worker .* takes runs as data: deeds:Count"
    ):
        board.offer(RUNS[0])


def test_a_driver_takes_results_from_workers_and_goes_on_after_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    runs: list[Run[int]] = [*RUNS, Bad(0)]
    engine, said = engine_of("spool", str(folder)), list[str]()

    with suppress(KeyboardInterrupt), engine.open(1, said.append) as pool:
        for run in runs:
            offered(pool, run)
        raise KeyboardInterrupt
    assert len(Board(folder).open()) == 4  # the workers go on
    assert work(folder, every=QUICK).done == 3
    with Spool(tmp_path / "own") as own, engine.open(1, said.append) as pool:
        board = Board(folder)

        def work_then() -> None:
            until(lambda: bool(board.open()))
            work(folder, every=QUICK)

        doing = Thread(target=work_then)
        doing.start()
        found = outcomes(runs, own, pool)
        doing.join()
        assert found[:3] == [3, 1, 2]
        assert isinstance(found[3], ConvergenceError)
        assert len(own) == 3
    assert not list(folder.glob("*.h5"))  # the driver has them


def test_a_result_that_another_driver_takes_away_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = Board.outcome, list[Path]()

    def outcome(self: Board, run: Run[int]) -> int | UserError:
        if not taken:  # between the two looks of this one
            taken.append(self.spool.place(run))
            taken[0].unlink()
        return real(self, run)

    monkeypatch.setattr(Board, "outcome", outcome)
    folder = tmp_path / "runs"
    with engine_of("spool", str(folder)).open(1, lambda text: None) as pool:
        offered(pool, RUNS[1])
        assert work(folder, every=QUICK).done == 1
        until(lambda: bool(Board(folder).open()))
        doing = Thread(target=work, args=(folder,), kwargs={"every": QUICK})
        doing.start()
        assert run_kept([RUNS[1]], None, pool) == [1]
        doing.join()
    assert taken


def test_a_damaged_offer_fails_and_damaged_leases_are_taken_anew(tmp_path: Path) -> None:
    board = Board(tmp_path / "runs")
    names = [board.offer(run) for run in RUNS]
    (board.folder / "open" / f"{names[0]}.json").write_bytes(b'{"name": "cou')
    said: list[str] = []
    (board.folder / "leases").mkdir()
    for name, text in zip(
        names[1:], ('{"lost": "x", "every": 0}', '{"released": true, "every": 1e400}'), strict=True
    ):
        (board.folder / "leases" / f"{name}.1").write_text(text)
    leases, now = Leases(board.folder / "leases", QUICK), time.monotonic()
    assert [*leases.free(names[1:])] == []
    leases._seen = {name: (text, now - 61) for name, (text, _) in leases._seen.items()}
    assert [(free.number, free.lost) for free in leases.free(names[1:])] == [(2, 1), (2, 1)]
    for name in names[1:]:
        leases.drop(name)
    assert work(board.folder, every=QUICK, say=said.append).done == 2
    assert any("is damaged; offer its run again" in line for line in said)
    found = board.outcome(RUNS[0])
    assert "is damaged" in str(found)
    (board.folder / "failed" / f"{names[0]}.json").write_bytes(b"")
    assert "which says why, is damaged" in str(board.outcome(RUNS[0]))
    board.offer(RUNS[0])
    assert work(board.folder, every=QUICK).done == 1


def test_a_driver_says_that_nobody_does_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "PATIENCE", 0.2)
    said: list[str] = []
    with engine_of("spool", str(tmp_path / "runs")).open(1, said.append) as pool:
        offered(pool, RUNS[0])
        until(lambda: bool(said))
    assert said == [
        f"{tmp_path / 'runs'}: 1 runs wait, and no worker has been heard of for 0.2 s; start some"
    ]


def test_engines_take_the_address_that_they_need() -> None:
    with pytest.raises(UserError, match="the engine spool needs an address: a folder"):
        engine_of("spool")
    with pytest.raises(UserError, match="the engine processes has none; dask and spool have"):
        engine_of("processes", "tcp://somewhere:8786")
    with pytest.raises(UserError, match="unknown engine 'ray'; processes, dask, spool"):
        engine_of("ray")
