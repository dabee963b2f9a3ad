"""Runs on a cluster of Dask: the same results, whoever dies; others' versions refused."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import distributed
import pytest
from deeds import Bad, Count

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.jobs import (
    OtherProgramsError,
    Run,
    Spool,
    Task,
    WorkerDiedError,
    engine_of,
    outcomes,
    run_kept,
    run_tasks,
)
from analogdfc.jobs.engines import dask

RUNS: list[Run[int]] = [Count(n) for n in (3, 1, 2)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster that is there: a scheduler and a worker in threads of this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0",
        protocol="tcp", host="127.0.0.1",
    ) as cluster:  # fmt: skip
        yield str(cluster.scheduler_address)


def silent(text: str) -> None:
    raise AssertionError(text)


def test_results_are_those_of_this_process_to_the_byte_and_kept_here(
    address: str, tmp_path: Path
) -> None:
    with Spool(tmp_path / "here") as here:
        run_kept(RUNS, here)
    with Spool(tmp_path / "there") as there, engine_of("dask", address).open(1, silent) as pool:
        found = outcomes([*RUNS, Bad(0)], there, pool)
    assert found[:3] == [3, 1, 2]
    error = found[3]
    assert isinstance(error, ConvergenceError)
    assert error.log == "what the simulator wrote"
    for run in RUNS:
        assert there.place(run).read_bytes() == here.place(run).read_bytes()


def test_a_cluster_is_found_by_the_file_of_its_scheduler(address: str, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": address}))
    with engine_of("dask", str(file)).open(1, silent) as pool:
        assert [result for _, result in run_tasks(RUNS[:1], pool)] == [3]


def test_a_defect_of_a_task_is_raised_as_it_is(address: str) -> None:
    with engine_of("dask", address).open(1, silent) as pool, pytest.raises(ZeroDivisionError):
        list(run_tasks([Bad(0, way="defect")], pool))


def test_a_worker_with_other_versions_is_named_with_what_differs(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of("dask", address)
    monkeypatch.setattr(dask, "made_with", other_versions)
    with (
        pytest.raises(
            OtherProgramsError,
            match=r"^worker tcp://\S+: there is torch 1\.0; here is torch 2\S+\. ",
        ),
        engine.open(1, silent),
    ):
        pass
    monkeypatch.setattr(dask, "made_with", no_package)
    with pytest.raises(UserError, match=r"^worker \S+: hasn't this version of analogdfc \(Module"):
        engine.open(1, silent).__enter__()


def other_versions() -> str:
    from analogdfc.jobs.origin import made_with

    return ", ".join([*made_with().split(", ")[:-1], "torch 1.0"])


def no_package() -> str:
    raise ModuleNotFoundError("No module named 'analogdfc'")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://127.0.0.1:1", "no scheduler of Dask answers there within 0.2 s"),
        ("nowhere://127.0.0.1", "no scheduler of Dask answers .*unknown address scheme 'nowhere'"),
        ("tcp://127.0.0.1", "no scheduler of Dask answers .*missing port number"),
        ("tls://127.0.0.1:80", "no scheduler of Dask answers .*is encrypted, and .* no certific"),
        ("missing.json", "can't be read: No such file"),
        ("damaged.json", "no scheduler has written this file: it has no 'address'"),
        (" ", "no scheduler has an empty one"),
    ],
)
def test_an_address_without_a_scheduler_is_one_line(
    address: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dask, "_TIMEOUT", 0.2)
    Path("damaged.json").write_text("{}")
    with pytest.raises(UserError, match=why), engine_of("dask", address).open(1, silent):
        pass


@dataclass(frozen=True)
class Pid(Task[int]):
    """The process that does it."""

    def run(self, progress: object) -> int:
        return os.getpid()


@pytest.mark.slow
def test_a_killed_worker_costs_no_run_and_a_run_that_kills_them_is_given_up() -> None:
    with engine_of("dask").open(1, silent) as pool:
        [(_, worker)] = run_tasks([Pid()], pool)
        assert worker != os.getpid()
        os.kill(worker, signal.SIGKILL)
        found = outcomes([*RUNS, Bad(0, way="death")], None, pool)
        assert found[:3] == [3, 1, 2]
        assert isinstance(found[3], WorkerDiedError)
        assert "bad: death: the workers that did it died each time, the last one" in str(found[3])
