"""Seconds and memory of `analogdfc estimate` for the paper's MNIST network.

python -m benchmarks.estimate
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = "784-256-256-256-10"
SECONDS_BAR, GIGABYTES_BAR = 30.0, 2.0


def main() -> None:
    """Run the command as a user does, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "estimate.h5"
        program = "from analogdfc.cli import main; main()"
        command = [sys.executable, "-c", program, "estimate", "--sizes", SIZES]
        start = time.perf_counter()
        subprocess.run(
            [*command, "-o", str(output)],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"analogdfc estimate --sizes {SIZES}, one thread")
    print(f"{seconds:.1f} s (bar {SECONDS_BAR:g}), {peak / 1e9:.2f} GB (bar {GIGABYTES_BAR:g})")


if __name__ == "__main__":
    main()
