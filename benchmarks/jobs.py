"""The same 200 runs by every engine: identical records, what an engine costs, who may be killed.

    python -m benchmarks.jobs [--runs 200] [--only "spool, two workers"] [--no-kills]

Each run lets two networks learn XOR for a few steps. They are done in this process first, then by
every engine; each result is kept as a record, which has to be the same to the byte. The cost of an
engine is the processor time of all its processes in 80 % of the runs, after the others have started
and warmed it, less that of the same runs in this process. Then a worker is killed in mid-run (by
SIGKILL), in another turn again and again, where the engine starts workers itself, and in a third
the driver, which is started again. Returns 1 where a record differs or is missing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import click
import torch
from rich.console import Console
from rich.table import Table

from analogdfc.experiments.alignment_tasks import XorRun
from analogdfc.jobs import Spool, engine_of, run_kept

STEPS = 20
WORKERS = 2
WARM = 0.2
"""Share of the runs that start an engine and aren't measured."""

TICKS = os.sysconf("SC_CLK_TCK")
KILLS = 5
"""How often a worker is killed where that is done again and again."""

HEARTBEAT = 0.5
"""Seconds, so that a killed worker of a folder is soon missed."""


class Way(NamedTuple):
    """A way to do the runs.

    Attributes:
        name: in the table.
        engine: of `analogdfc.jobs`.
        workers: runs at a time.
    """

    name: str
    engine: str
    workers: int


WAYS = (
    Way("one process", "processes", 1),
    Way("two processes", "processes", WORKERS),
    Way("spool, two workers", "spool", WORKERS),
    Way("local Dask cluster", "dask", WORKERS),
)


def runs_of(count: int) -> list[XorRun]:
    """The runs: XOR from the weights of a seed each, in a few steps.

    Args:
        count: how many.
    """
    return [XorRun(seed=seed, steps=STEPS, starts=1) for seed in range(count)]


def family() -> dict[int, float]:
    """Processor time of this process and all that it has started, in seconds, by process."""
    stats: dict[int, tuple[int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        stats[int(path.parent.name)] = int(words[1]), (int(words[11]) + int(words[12])) / TICKS
    found = {os.getpid()}
    while more := {pid for pid, (parent, _) in stats.items() if parent in found} - found:
        found |= more
    return {pid: stats[pid][1] for pid in found if pid in stats}


def doers(way: Way) -> list[int]:
    """Processes that do runs now: of the pool, of the folder's workers, of the cluster."""
    usual = family()
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in usual}
    mark = "analogdfc\0work" if way.engine == "spool" else "spawn_main"
    return [pid for pid, line in lines.items() if mark in line and pid != os.getpid()]


@contextmanager
def opened(way: Way, folder: Path, say: Callable[[str], object]) -> Iterator[Executor | None]:
    """The executor of a way; with its workers, where these are started by hand."""
    with ExitStack() as stack:
        address = None
        if way.engine == "spool":
            address = str(folder / "shared")
            command = [sys.executable, "-m", "analogdfc", "work", address, "--wait"]
            for _ in range(way.workers):
                stack.enter_context(ended(subprocess.Popen(
                    [*command, "--heartbeat", str(HEARTBEAT)], stderr=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )))  # fmt: skip
        yield stack.enter_context(engine_of(way.engine, address).open(way.workers, say))


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A process that ends with the block."""
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def done(
    way: Way,
    runs: Sequence[XorRun],
    folder: Path,
    begun: Callable[[Spool], object] = lambda spool: None,
) -> float:
    """Do runs and keep them; milliseconds of processor time a run, once it is warm.

    Args:
        way: how.
        runs: the runs.
        folder: the results go to `kept` in it.
        begun: called before the part that is measured.
    """
    warm = max(1, round(WARM * len(runs)))
    with (
        Spool(folder / "kept") as spool,
        opened(way, folder, lambda text: print(text, file=sys.stderr)) as executor,
    ):
        # Interleaved, so that both parts are alike.
        every = len(runs) // warm
        first = runs[::every]
        rest = [run for k, run in enumerate(runs) if k % every]
        run_kept(first, spool, executor)
        begun(spool)
        before = family()
        run_kept(rest, spool, executor)
        after = family()
    spent = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
    return 1e3 * spent / len(rest)


def records(runs: Sequence[XorRun], folder: Path) -> list[bytes]:
    """The records of runs; empty where one is missing."""
    spool = Spool(folder / "kept")
    return [spool.place(run).read_bytes() if run in spool else b"" for run in runs]


def killed_workers(way: Way, runs: Sequence[XorRun], folder: Path, times: int) -> str:
    """Do runs, in the middle of which workers are killed so many times; what happened."""
    told: list[int] = []

    def kill(spool: Spool) -> None:
        def soon() -> None:
            first = len(spool)
            for k in range(1, times + 1):
                enough = first + k * (len(runs) - first) // (times + 1)
                while len(spool) < enough:
                    time.sleep(0.01)
                # One that was killed a moment ago may not have been replaced yet.
                while not (doing := doers(way)):
                    time.sleep(0.01)
                told.append(len(spool))
                with suppress(ProcessLookupError):
                    os.kill(doing[0], signal.SIGKILL)

        threading.Thread(target=soon, daemon=True).start()

    done(way, runs, folder, kill)
    return f"after {', '.join(map(str, told))} runs" if told else "never"


def killed_driver(way: Way, runs: Sequence[XorRun], folder: Path) -> str:
    """Do runs by a driver that is killed in the middle, and go on by another; what happened."""
    # Semaphores that a killed driver leaves are removed by Python's tracker, which needn't say so;
    # it is started with the options of the driver.
    quiet = ["-W", "ignore:resource_tracker:UserWarning"]
    command = [sys.executable, *quiet, "-m", "benchmarks.jobs", "--runs", str(len(runs))]
    process = subprocess.Popen([*command, "--drive", way.name, str(folder)])
    spool = Spool(folder / "kept")
    while len(spool) < 0.4 * len(runs) and process.poll() is None:
        time.sleep(0.05)
    # Workers of a folder outlive their driver, as they should; they go on in the second turn.
    workers = doers(way) if way.engine == "spool" else []
    process.kill()
    process.wait()
    there = len(spool)
    places = [spool.place(run) for run in runs if run in spool]
    before = [place.stat().st_mtime_ns for place in places]
    try:
        done(way, runs, folder)
    finally:
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGTERM)
    again = sum(p.stat().st_mtime_ns != when for p, when in zip(places, before, strict=True))
    return f"after {there} runs, {again} of them done again"


def _row(way: Way, runs: Sequence[XorRun], base: float, kills: bool) -> tuple[list[str], bool]:
    """A way's row of the table, and whether all its records are there."""
    cells, good = [way.name], True
    turns: list[Callable[[Path], str]] = []
    if kills and way.workers > 1:
        turns.append(lambda folder: killed_workers(way, runs, folder, 1))
    if kills and _replaces(way):
        turns.append(lambda folder: killed_workers(way, runs, folder, KILLS))
    if kills:
        turns.append(lambda folder: killed_driver(way, runs, folder))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cost = done(way, runs, folder)
        found = records(runs, folder)
    same = sum(a == b for a, b in zip(found, EXPECTED, strict=True))
    good &= same == len(runs)
    cells += [f"{same} of {len(runs)}", f"{cost:.1f}", f"{cost - base:+.1f}"]
    if kills and way.workers == 1:
        cells += 2 * ["there is none"]
    for turn in turns:
        if kills and len(cells) == len(_HEADS) + 1 and not _replaces(way):
            cells.append("they are started by hand")
        with tempfile.TemporaryDirectory() as name:
            how = turn(Path(name))
            found = records(runs, Path(name))
        same = sum(a == b for a, b in zip(found, EXPECTED, strict=True))
        good &= same == len(runs)
        cells.append(f"{how}: {same} of {len(runs)}")
    return cells, good


def _replaces(way: Way) -> bool:
    """Whether the engine starts workers, several and anew where one has died."""
    return way.workers > 1 and way.engine != "spool"


_HEADS = ("engine", "identical records", "CPU ms a run", "cost of the engine, CPU ms a run")
_KILLS = ("a worker killed", f"workers killed {KILLS} times", "the driver killed")

EXPECTED: list[bytes] = []
"""Records of the runs in this process."""


@click.command(help=__doc__)
@click.option("--runs", "count", type=click.IntRange(min=20), default=200, show_default=True)
@click.option("--only", help="One of the ways.  [default: all]")
@click.option("--kills/--no-kills", default=True, show_default=True)
@click.option("--drive", type=(str, click.Path(path_type=Path)), hidden=True)
def main(count: int, only: str | None, kills: bool, drive: tuple[str, Path] | None) -> None:
    """Print the table; see the module."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    runs = runs_of(count)
    ways = {way.name: way for way in WAYS}
    if drive is not None:
        done(ways[drive[0]], runs, drive[1])
        return
    table = Table(title=f"{count} runs, each two networks that learn XOR for {STEPS} steps")
    for column in (*_HEADS, *(_KILLS if kills else ())):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as name:
        base = done(WAYS[0], runs, Path(name))
        EXPECTED[:] = records(runs, Path(name))
    missed = not all(EXPECTED)
    for way in [ways[only]] if only else WAYS:
        print(way.name, file=sys.stderr)
        cells, good = _row(way, runs, base, kills)
        table.add_row(*cells)
        missed |= not good
    Console().print(table)
    print("MISSED" if missed else "good: all records are identical")
    sys.exit(missed)


if __name__ == "__main__":
    main()
