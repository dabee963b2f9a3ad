"""What it costs to import the package, to list the commands, and to open each room.

`python -m benchmarks.importing`, `--rooms` for each room too
"""

from __future__ import annotations

import argparse
import pkgutil
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

import analogdfc

HELP = 0.7
"""Seconds that `analogdfc --help` may take."""

HEAVY = ("torch", "scipy", "sklearn", "matplotlib", "optuna", "h5py", "pydantic", "pint")
_CLI = "from analogdfc.cli import cli; cli(['--help'])"


def seconds(code: str, runs: int) -> float:
    """Median wall-clock time of a fresh interpreter that runs the code.

    Args:
        code: the code.
        runs: how often it is run, >= 1.
    """
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def import_time(module: str, runs: int) -> float:
    """Median of what `python -X importtime` says of a module and all it imports, in seconds."""
    line = re.compile(rf"import time:\s+\d+ \|\s+(\d+) \| {re.escape(module)}$", re.MULTILINE)
    found = []
    for _ in range(runs):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", f"import {module}"],
            check=True,
            capture_output=True,
            text=True,
        )
        found.append(int(line.findall(done.stderr)[-1]) * 1e-6)
    return statistics.median(found)


def heavy(code: str) -> str:
    """Which of the large packages the code imports."""
    script = f"{code}\nimport sys\nprint(*[n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median counts")
    parser.add_argument("--rooms", action="store_true", help="each room too")
    options = parser.parse_args(arguments)
    table = Table("what", "time (s)", "of which the package (s)", "large packages")
    own = import_time("analogdfc", options.runs)
    table.add_row("python, empty", f"{seconds('pass', options.runs):.3f}", "-", "")
    code = "import analogdfc"
    table.add_row(code, f"{seconds(code, options.runs):.3f}", f"{own:.4f}", heavy(code))
    listing = seconds(_CLI, options.runs)
    table.add_row("analogdfc --help", f"{listing:.3f}", "-", heavy("import analogdfc.cli"))
    rooms = [m.name for m in pkgutil.iter_modules(analogdfc.__path__)] if options.rooms else []
    for room in rooms:
        code = f"import analogdfc.{room}"
        inside = import_time(f"analogdfc.{room}", options.runs)
        table.add_row(code, f"{seconds(code, options.runs):.3f}", f"{inside:.4f}", heavy(code))
    Console().print(table)
    print(f"analogdfc --help: {listing:.2f} s, bar {HELP} s")
    return int(listing > HELP)


if __name__ == "__main__":
    sys.exit(main())
