"""Every item of `analogdfc reproduce --list` in its short form, from the installed program.

Prints for each what it took and how many of its rows have numbers; returns 1 where one fails, or
gives no numbers.

    python -m benchmarks.reproduce [--only dfc/s5,tp/table1] [--data FOLDER]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

PROGRAM = [sys.executable, "-m", "analogdfc", "reproduce"]


def _called(arguments: list[str], folder: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """The program in a folder, and the processor time that it took, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@click.command(help=__doc__)
@click.option("--only", help="Items, with commas between.  [default: all]")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of data sets.")
def main(only: str | None, data: Path | None) -> None:
    """Run the short forms; see the module."""
    given = [] if data is None else ["--data", str(data.resolve())]
    table = Table(title="short forms, one process each")
    for column in ("item", "CPU s", "runs", "rows", "with numbers", "data", "state"):
        table.add_column(column)
    missed = 0
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        listed, _ = _called(["--list", "--json", *given], folder)
        items = json.loads(listed.stdout)
        names = only.split(",") if only else [one["item"] for one in items]
        for name in names:
            done, seconds = _called([name, "--quick", "--json", "--jobs", "1", *given], folder)
            if done.returncode:
                missed += 1
                table.add_row(name, f"{seconds:.1f}", "", "", "", "", done.stderr.strip()[-200:])
                continue
            found = json.loads(done.stdout)
            numbers = sum(bool(row["ours"]) for row in found["rows"])
            good = bool(numbers) and found["runs_done"] == found["runs"]
            missed += not good
            table.add_row(
                name,
                f"{seconds:.1f}",
                f"{found['runs_done']} of {found['runs']}",
                str(len(found["rows"])),
                str(numbers),
                "; ".join(found["missing"]),
                "good" if good else "MISSED",
            )
            print(f"{name}: {seconds:.1f} s", file=sys.stderr)
    Console().print(table)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
