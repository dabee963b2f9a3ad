"""Many chips: how long they take, and in how much memory.

`python -m benchmarks.montecarlo` (some ten minutes).

many     16-10-10: 1000 chips in the behavioural model, 50 of them in SPICE, and a tenth of the
         chips beside them for the memory; of the command as a whole, with its start
kit      3-4-2: 30 chips in transistors that the kit draws, beside 200 of the behavioural model with
         the kit's card and its characterised offsets
corners  3-4-2: the nominal chip in transistors in every corner, at three temperatures and supplies
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from analogdfc.cards.technology import Card
from analogdfc.cases import example, stimuli_for
from analogdfc.circuit.design import Design
from analogdfc.kits import CORNERS, get_kit
from analogdfc.spice.engines import get_simulator
from analogdfc.study import Cells, Condition, Model, Study
from benchmarks._measure import cores

SIZES = "16-10-10"
CHIPS, CIRCUITS = 1000, 50
TIME_BAR = 600.0
"""Seconds on two cores."""

KIT = "gf180"
KIT_SIZES, KIT_CHIPS, KIT_CIRCUITS = "3-4-2", 200, 30
CHANCE_BAR = 0.05
"""Least chance of two samples as different, had both the same distribution."""

CASES = (
    *(Condition(corner) for corner in CORNERS),
    *(Condition(celsius=celsius) for celsius in (0.0, 60.0)),
    *(Condition(supply=supply) for supply in (1.5, 1.8)),
)

MEGA = 1024.0
"""Kibibytes, in which the system counts memory, in a mebibyte."""

Row = tuple[str, ...]


def montecarlo(*options: str) -> tuple[dict[str, Any], float, float, float]:
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
            found: dict[str, Any] = json.load(out)
    seconds = time.perf_counter() - start
    return found, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / MEGA


def kit() -> Iterator[Row]:
    """Rows: medians in SPICE and in the model with their intervals, chance, CPU seconds, met."""
    for switch in ("--double-sampling", "--no-double-sampling"):
        found, _, cpu, _ = montecarlo(
            "--sizes", KIT_SIZES, "--samples", "1", "--fidelity", "transistor", "--pdk", KIT,
            "--mismatch", "kit", "--chips", str(KIT_CHIPS), "--circuits", str(KIT_CIRCUITS),
            "--time-limit", "3600", switch,
        )  # fmt: skip
        medians = found["medians"]
        ranges = [interval(medians[name]) for name in ("ngspice", "behavioural")]
        met = "met" if medians["chance"] >= CHANCE_BAR else "MISSED"
        yield switch.removeprefix("--"), *ranges, f"{medians['chance']:.2g}", f"{cpu:.0f}", met


def interval(one: dict[str, float]) -> str:
    """A median with its 95 % confidence interval."""
    low, high = (one[f"median_95_percent_{end}_degree"] for end in ("low", "high"))
    return f"{one['median_degree']:.2f} ({low:.2f} to {high:.2f})"


def corners() -> Iterator[Row]:
    """Rows: condition, angle in transistors, in the model, CPU seconds."""
    sizes = [int(n) for n in KIT_SIZES.split("-")]
    model, _ = example(tuple(sizes), 0, lambda *_: None)
    design = Design.of(
        model.network, model.feedback, Card.load(KIT),
        controller=model.controller, tau_v=model.tau_v,
    )  # fmt: skip
    data = stimuli_for(model.network, 1, 0)
    for case in CASES:
        study = case.on(Study(design, data.x, data.step))
        process, simulator = get_kit(KIT, case.corner), get_simulator("batch")
        cells = Cells("transistor", simulator, time_limit=3600.0, kit=process,
                      celsius=case.celsius, rough=True)  # fmt: skip
        before = children()
        runs = cells.run(study), Model().run(study)
        ideal = study.ideal()
        angles = [
            study.compare("ideal", "other", "deviation", ideal, run).updates["all"].angle
            for run in runs
        ]
        yield str(case), *(f"{angle:.2f}" for angle in angles), f"{children() - before:.0f}"


def children() -> float:
    """CPU seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
    "kit": (
        f"{KIT_SIZES} in transistors of {KIT}, {KIT_CIRCUITS} chips drawn by the kit, beside "
        f"{KIT_CHIPS} of the model (bar: a difference of chance {CHANCE_BAR:g} or more)",
        ("", "median in SPICE, degrees", "in the model", "chance", "CPU s", ""),
        kit,
    ),
    "corners": (
        f"{KIT_SIZES}, the nominal chip in transistors of {KIT}: update against the ideal one",
        ("condition", "transistors, degrees", "model", "CPU s"),
        corners,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.montecarlo", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
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
