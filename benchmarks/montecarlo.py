"""Many chips: how long they take, and in how much memory.

`python -m benchmarks.montecarlo` (some ten minutes).

many   16-10-10: 1000 chips in the behavioural model, 50 of them in SPICE, and a tenth of the chips
       beside them for the memory; of the command as a whole, with its start
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks._measure import cores

SIZES = "16-10-10"
CHIPS, CIRCUITS = 1000, 50
TIME_BAR = 600.0
"""Seconds on two cores."""

MEGA = 1024.0
"""Kibibytes, in which the system counts memory, in a mebibyte."""

Row = tuple[str, ...]


def montecarlo(*options: str) -> tuple[dict[str, object], float, float, float]:
    """What the command finds; its seconds, its CPU seconds, and MiB of its largest process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "analogdfc", "montecarlo", *options, "--json",
                   "-o", str(Path(folder) / "out.h5")]  # fmt: skip
        start = time.perf_counter()
        with (Path(folder) / "out.json").open("w+") as out:
            process = subprocess.Popen(command, stdout=out)
            _, status, used = os.wait4(process.pid, 0)
            out.seek(0)
            if status:
                raise SystemExit(f"montecarlo {' '.join(options)} failed")
            found: dict[str, object] = json.load(out)
    seconds = time.perf_counter() - start
    return found, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / MEGA


def many() -> Iterator[Row]:
    """Rows: chips, circuits, seconds, CPU seconds over two, MiB of the largest process, met."""
    for chips, circuits in ((CHIPS // 10, 0), (CHIPS, 0), (CHIPS, CIRCUITS)):
        _, seconds, cpu, memory = montecarlo(
            "--sizes", SIZES, "--chips", str(chips), "--circuits", str(circuits)
        )  # fmt: skip
        met = "" if circuits == 0 else "met" if cpu / 2 <= TIME_BAR else "MISSED"
        yield (
            str(chips), str(circuits), f"{seconds:.0f}", f"{cpu / 2:.0f}", f"{memory:.0f}", met
        )  # fmt: skip


PARTS: dict[str, tuple[str, Row, Callable[[], Iterator[Row]]]] = {
    "many": (
        f"{SIZES}, 4 samples, {cores()} cores (bar {TIME_BAR:g} s on two)",
        ("chips", "in SPICE", "s", "CPU s / 2", "MiB", ""),
        many,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.montecarlo", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    given = parser.parse_args(arguments)
    missed = False
    for part in given.parts:
        title, columns, rows = PARTS[part]
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column, justify="right")
        for row in rows():
            table.add_row(*row)
            missed |= "MISSED" in row
        Console().print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
