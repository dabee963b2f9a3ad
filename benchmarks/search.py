"""The papers' search with two workers, of which one is killed, beside the published settings.

    python -m benchmarks.search [--trials 40] [--epochs 10] [--samples N] [--feedback learned]

`analogdfc search` tries DFC-SSA on Fashion-MNIST by two workers of a shared folder. One of them is
killed (SIGKILL) once a tenth of the trials has been begun, and the driver once half of them has; it
is started again. Bars: the least validation error is no more than that of the published settings
after the same epochs, from the same weights; and nothing is lost: the journal has each trial once,
and each has ended without failing. Returns 1 where a bar is missed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from analogdfc.searching import Search
from benchmarks.jobs import ended

HEARTBEAT = 1.0
"""Seconds, so that a killed worker is soon missed."""


def asked(journal: Path) -> int:
    """Trials that have been begun."""
    if not journal.exists():
        return 0
    return sum(b'"values"' in line for line in journal.read_bytes().splitlines())


def lines(journal: Path) -> list[dict[str, Any]]:
    """What the journal has."""
    return [json.loads(line) for line in journal.read_bytes().splitlines()]


def searched(options: list[str], trials: int, folder: Path) -> dict[str, Any]:
    """Search with two workers, and kill one, then the driver; the numbers that it prints."""
    journal = folder / "found.journal"
    program = [sys.executable, "-m", "analogdfc"]
    work = [*program, "work", str(folder / "shared"), "--wait", "--heartbeat", str(HEARTBEAT)]
    command = [*program, "search", "fashion-mnist", *options, "--json", "-o",
               str(folder / "found.h5"), "--on", "spool", "--address",
               str(folder / "shared")]  # fmt: skip
    with ExitStack() as stack:
        workers = [subprocess.Popen(work, stderr=subprocess.DEVNULL) for _ in range(2)]
        for one in workers:
            stack.enter_context(ended(one))
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for share, victim in ((0.1, workers[0]), (0.5, driver)):
            while asked(journal) < share * trials and driver.poll() is None:
                time.sleep(0.2)
            time.sleep(2.0)  # in the middle of a training
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait()
            print(f"killed after {asked(journal)} trials were begun", file=sys.stderr)
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@click.command(help=__doc__)
@click.option("--trials", type=click.IntRange(min=8), default=40, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--samples", type=click.IntRange(min=1), help="To learn from.  [default: all]")
@click.option("--feedback", type=click.Choice(["learned", "fixed"]), default="learned")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def main(trials: int, epochs: int, samples: int | None, feedback: str, seed: int) -> None:
    """Print the table; see the module."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    options = ["--trials", str(trials), "--epochs", str(epochs), "--feedback", feedback,
               "--seed", str(seed), *(["--samples", str(samples)] if samples else [])]  # fmt: skip
    plan = Search(
        preset="fashion-mnist", rule="dfc-ssa", feedback=feedback, trials=trials, epochs=epochs,
        samples=samples, seed=seed,
    )  # fmt: skip
    published = plan.value(plan.rung((), epochs).run(lambda units: None))
    with tempfile.TemporaryDirectory() as name:
        found = searched(options, trials, Path(name))
        told = lines(Path(name) / "found.journal")
    begun = Counter(line["trial"] for line in told if "values" in line)
    ends = Counter(line["trial"] for line in told if "state" in line)
    kept = begun == ends == Counter(range(found["trials"])) and not found["failed"]
    table = Table(title=f"DFC-SSA, {feedback} feedback, Fashion-MNIST, "
                  f"{samples or 'all'} samples, {epochs} epochs, seed {seed}")  # fmt: skip
    for column in ("", "least validation error, %"):
        table.add_column(column)
    table.add_row("published settings", f"{100 * published:.2f}")
    table.add_row(f"best of {found['trials']} trials", f"{100 * found['best_value']:.2f}")
    Console().print(table)
    states = {state: found[state] for state in ("complete", "pruned", "diverged", "failed")}
    print(f"trials: {states}; nothing lost: {kept}")
    good = kept and found["best_value"] <= published
    print("good" if good else "MISSED")
    sys.exit(not good)


if __name__ == "__main__":
    main()
