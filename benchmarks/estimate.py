"""Seconds and memory of `analogdfc estimate` for the paper's MNIST network and for many outputs.

python -m benchmarks.estimate, `--sizes N-N-N` for another network
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARS = {
    "784-256-256-256-10": (30.0, 2.0),
    "10-10-25": (30.0, 2.0),
    "10-10-50": (50.0, 2.0),
    "64-16-64": (75.0, 2.0),
    "784-256-32-256-784": (60.0, 2.0),
}
"""Seconds of a processor and gigabytes that a network may take."""

STEPS = {"784-256-32-256-784": "0.05"}
"""Rms of target steps where the usual ones would drive the controller to its rails."""


def spent() -> float:
    """Seconds of a processor that ended processes have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(sizes: str) -> None:
    """Run the command as a user does, in a process of its own, and print what it took.

    Args:
        sizes: of the network.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "estimate.h5"
        program = "from analogdfc.cli import main; main()"
        command = [sys.executable, "-c", program, "estimate", "--sizes", sizes]
        if sizes in STEPS:
            command += ["--target-stepsize", STEPS[sizes]]
        start, before = time.perf_counter(), spent()
        subprocess.run(
            [*command, "-o", str(output)],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        seconds, processor = time.perf_counter() - start, spent() - before
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    most = BARS.get(sizes)
    bars = [""] * 2 if most is None else [f" (bar {bar:g})" for bar in most]
    print(
        f"analogdfc estimate --sizes {sizes}, one thread: {seconds:.1f} s, of a processor "
        f"{processor:.1f} s{bars[0]}, {peak / 1e9:.2f} GB so far{bars[1]}",
        flush=True,
    )


def main() -> None:
    """Measure the networks that have bars, or the one that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", metavar="N-N-N", help="another network")
    asked = parser.parse_args().sizes
    for sizes in [asked] if asked else BARS:
        measure(sizes)


if __name__ == "__main__":
    main()
