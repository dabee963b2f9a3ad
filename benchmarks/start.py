"""CPU seconds that the command line takes to start, beside those of a bare `import torch`.

`python -m benchmarks.start`
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

BARS = {"--help": 0.5, "netlist --sizes 3-4-2": 1.5}
"""CPU seconds that `analogdfc` may take with these arguments."""


def cpu_seconds(arguments: Sequence[str], folder: str) -> float:
    """CPU time, of user and system, of a fresh interpreter with these arguments.

    Args:
        arguments: of the interpreter.
        folder: where it runs.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median counts")
    options = parser.parse_args(arguments)
    runs = {
        "python, empty": ["-c", "pass"],
        "import torch": ["-c", "import torch"],
        **{name: ["-m", "analogdfc", *name.split()] for name in BARS},
    }
    found: dict[str, list[float]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.runs):  # in turn, so that all have the same load of the machine
            for name, given in runs.items():
                found[name].append(cpu_seconds(given, folder))
    median = {name: statistics.median(times) for name, times in found.items()}
    table = Table()
    for name in ("what", "CPU (s)", "over torch (s)", "bar (s)"):
        table.add_column(name, no_wrap=True)
    for name, seconds in median.items():
        bar = f"{BARS[name]:g}" if name in BARS else ""
        table.add_row(name, f"{seconds:.2f}", f"{seconds - median['import torch']:+.2f}", bar)
    Console().print(table)
    return int(any(median[name] > bar for name, bar in BARS.items()))


if __name__ == "__main__":
    sys.exit(main())
