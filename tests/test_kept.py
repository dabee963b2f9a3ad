"""Kept runs: done once, whole or not there, by one command at a time, the same in any order."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from analogdfc import records
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.jobs import Processes, Progress, Run, Spool, Threads, run_kept, spool_beside
from analogdfc.records import Quantity, Record, Tree

done: list[int] = []


@dataclass(frozen=True)
class Square(Run[float]):
    """A square root, of which it is written down that it was taken."""

    number: int

    @property
    def name(self) -> str:
        return f"root of {self.number}"

    def run(self, progress: Progress) -> float:
        done.append(self.number)
        progress(1)
        if self.number < 0:
            raise ConvergenceError("no real root")
        drawn = float(np.random.default_rng(self.key_seed).normal())
        return drawn + math.sqrt(self.number)

    def pack(self, result: float) -> Tree:
        return {"root": Quantity(result, "1")}

    def unpack(self, record: Record) -> float:
        return record.number("root")


RUNS = [Square(n) for n in (4, 9, 16)]


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    done.clear()


def test_what_is_kept_is_not_done_again_and_gives_the_same(tmp_path: Path) -> None:
    told: list[int] = []
    with Spool(tmp_path / "runs") as spool:
        first = run_kept(RUNS[:2], spool)
    with Spool(tmp_path / "runs") as spool:
        assert run_kept(RUNS, spool, progress=told.append) == [*first, *run_kept(RUNS[2:], None)]
        assert len(spool) == 3
    assert done == [4, 9, 16, 16]
    assert sum(told) == 3


def test_results_and_seeds_do_not_depend_on_where_and_in_what_order_runs_are_done(
    tmp_path: Path,
) -> None:
    expected = run_kept(RUNS, None)
    with Spool(tmp_path / "a") as spool, Threads(3, lambda: None) as pool:
        assert run_kept(RUNS[::-1], spool, pool) == expected[::-1]
    with Spool(tmp_path / "b") as spool, Processes(2) as pool:
        assert run_kept(RUNS, spool, pool) == expected
        assert [run in spool for run in RUNS] == [True] * 3  # the workers have written them
    for run in RUNS:
        one, other = (Spool(tmp_path / folder).place(run).read_bytes() for folder in "ab")
        assert one == other
    assert len({run.key_seed for run in RUNS}) == 3


def test_a_run_that_fails_by_itself_does_not_cost_the_others(tmp_path: Path) -> None:
    runs = [RUNS[0], Square(-1), Square(-2), RUNS[1]]
    with (
        Spool(tmp_path / "runs") as spool,
        pytest.raises(
            ConvergenceError,
            match=r"root of -1: no real root; neither did root of -2 end well\. 2 of 4 runs are",
        ),
    ):
        run_kept(runs, spool)
    assert done == [4, -1, -2, 9]
    with pytest.raises(ConvergenceError, match=r"^no real root$"):
        run_kept(runs, None)
    assert done[4:] == [4, -1]


def test_other_settings_are_another_run(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Cube(Square):
        """The same fields, but other work."""

    assert len({Square(4).key, Square(5).key, Cube(4).key}) == 3


def test_what_other_programs_made_is_done_anew(tmp_path: Path) -> None:
    class Later(Square):
        """The same work after an update."""

        @property
        def key(self) -> str:
            return Square(self.number).key

        def made_with(self) -> str:
            return f"{super().made_with()}, a simulator 2.0"

    with Spool(tmp_path / "runs") as spool:
        kept, later = Square(4), Later(4)
        run_kept([kept], spool)
        assert kept.key_seed == later.key_seed  # a run draws the same, whatever the programs
        assert kept in spool
        assert later not in spool


def test_two_commands_can_not_work_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    code = f"""
import pathlib
from analogdfc.jobs import Spool
Spool(pathlib.Path({str(folder)!r})).__enter__()
"""
    with Spool(folder):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"another command works here: process {os.getpid()} on " in other.stderr
    # Its end, by whatever, frees the folder.
    subprocess.run([sys.executable, "-c", code], check=True)
    with Spool(folder):
        pass


def test_a_spool_goes_with_the_end_of_its_command_and_stays_when_that_is_interrupted(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "runs"

    def interrupted() -> None:
        with spool_beside(folder) as spool:
            run_kept(RUNS[:1], spool)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(Spool(folder)) == 1
    (folder / ".0123456789abcdef.part").touch()  # of a command that was killed while it wrote
    with spool_beside(folder) as spool:
        run_kept(RUNS, spool)
    assert not folder.exists()
    with spool_beside(folder, keep=True) as spool:
        run_kept(RUNS, spool)
    assert len(Spool(folder)) == 3


def a_file(folder: Path) -> None:
    folder.write_text("mine")


def a_folder_of_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")


@pytest.mark.parametrize("make", [a_file, a_folder_of_files])
def test_what_is_no_spool_is_refused_and_left_as_it_is(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "runs"
    make(folder)
    with pytest.raises(UserError, match=r"runs: is a f.*Move it away"), Spool(folder):
        pass
    assert "mine" in (folder if folder.is_file() else folder / "thesis.tex").read_text()


def test_files_of_others_in_a_spool_stay(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    with spool_beside(folder) as spool:
        run_kept(RUNS, spool)
        (folder / "note.txt").write_text("mine")
    assert [path.name for path in folder.iterdir()] == ["note.txt"]


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    with Spool(tmp_path / "runs") as spool:
        run_kept(RUNS, spool)
        place = spool.place(RUNS[0])
        place.write_bytes(place.read_bytes()[:100])
        with pytest.raises(UserError, match=place.name):
            run_kept(RUNS, spool)
        place.unlink()
        records.write(place, {"other": 1})
        with pytest.raises(UserError, match="missing key 'result'"):
            run_kept(RUNS, spool)


def test_a_record_that_is_no_result_is_named(tmp_path: Path) -> None:
    class Other(Square):
        def pack(self, result: float) -> Tree:
            return {"root": "[" if self.number == 4 else "[]"}

        def unpack(self, record: Record) -> float:
            return float(json.loads(record.text("root"))["value"])

    with Spool(tmp_path / "runs") as spool:
        for run in (Other(4), Other(9)):
            spool.keep(run, 2.0)
            with pytest.raises(UserError, match=r"doesn't hold the result of a run.*Delete"):
                spool.find(run)


def test_a_folder_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its directory doesn't exist"), Spool(tmp_path / "a/b"):
        pass
