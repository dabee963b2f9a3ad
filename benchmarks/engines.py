"""Simulators beside each other, linear solvers beside each other, and the largest circuits.

`python -m benchmarks.engines` (minutes), `--parts engines solvers large netlists`, and of the first
two `--only 16-10-10 "transistor, generic"`, rows whose network or cells are called so; it ends with
exit code 1 where a bar is missed.

engines   ngspice against VACASK on the same netlists: v and u, and the update
solvers   KLU against Sparse: the worst signal, and CPU seconds
large     one settle of a circuit with every wire in it: seconds, and the simulator's memory
netlists  a large network written in every dialect: CPU seconds, memory
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.comparison import Comparison
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.kits import KITS, Kit
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.dialects import DIALECTS
from analogdfc.spice.netlist import FIDELITIES, Fidelity, Netlist
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.testbench import Testbench
from analogdfc.spice.vacask import VacaskProgram
from analogdfc.study import Cells
from benchmarks._measure import Case, case

ENGINES_BAR = 2e-4
SOLVERS_BAR = 5e-5
SPEED_BAR = 3.0
LARGE = "196-64-10"
LARGE_BAR = (180.0, 300.0)
NETLIST = "784-256-256-256-10"
NETLIST_BAR = (60.0, 1000.0)
LIMIT = 3600.0
"""Seconds that one simulation may take."""

MEGA = 1024.0
"""Kibibytes, in which the system counts memory, in a mebibyte."""


def network(sizes: str, steps: int = 400) -> Case:
    """A random network with one sample."""
    return replace(case([int(n) for n in sizes.split("-")], 0, 1), dt=0.05, steps=steps)


def children() -> float:
    """CPU seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Peak(threading.Thread):
    """The most memory of any ngspice while this is on, in MiB.

    The system counts what a process had before it became a simulator too: as much as this one.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mebibytes = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        """Look at all processes, again and again."""
        while not self._over.wait(0.05):
            for file in Path("/proc").glob("[0-9]*/status"):
                try:
                    lines = dict(line.split(":\t", 1) for line in file.read_text().splitlines())
                except (OSError, ValueError):
                    continue  # it has ended
                if lines["Name"] == "ngspice" and "VmHWM" in lines:
                    self.mebibytes = max(self.mebibytes, int(lines["VmHWM"].split()[0]) / MEGA)

    def __enter__(self) -> Peak:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        self.join()


def levels(fidelities: Sequence[Fidelity], case: Case) -> Iterator[tuple[str, Cells, Case]]:
    """Cells of every level, what they are called, and the case on a card that they can do.

    Args:
        fidelities: levels; transistors in each kit that is installed.
        case: the case on its own card.
    """
    for fidelity in fidelities:
        if fidelity != "transistor":
            yield fidelity, Cells(fidelity, BatchProcess(), seed=0, time_limit=LIMIT), case
            continue
        for kit in installed_kits():
            cells = Cells(fidelity, BatchProcess(), seed=0, time_limit=LIMIT, kit=kit)
            yield f"transistor, {kit.name}", cells, case.on(Card.load(kit.name))


def installed_kits() -> Iterator[Kit]:
    """The process kits that are here."""
    for kind in KITS.values():
        kit = kind()
        try:
            kit.files()
        except UserError:
            continue
        yield kit


def worst_of_both(comparison: Comparison) -> float:
    """Worst NRMSE of v and u."""
    return max(v for name, v in comparison.signals.items() if name == "u" or name[0] == "v")


def beside(
    cells: Cells, simulators: Sequence[Simulator], here: Case
) -> tuple[Comparison | None, list[str]]:
    """A circuit in two simulators, the first as the reference, and CPU seconds of each.

    One that doesn't converge is said to, and then there is nothing to compare.
    """
    runs, seconds = [], []
    for simulator in simulators:
        before = children()
        try:
            runs.append(replace(cells, simulator=simulator).run(here))
        except ConvergenceError:
            seconds.append("no rest")
        else:
            seconds.append(f"{children() - before:.2f}")
    both = len(runs) == len(simulators)
    return here.compare("one", "other", "parity", *runs) if both else None, seconds


def chosen(
    only: Sequence[str], *rows: tuple[str, Sequence[Fidelity]]
) -> Iterator[tuple[str, str, Cells, Case]]:
    """Networks with their levels, of which only those are left that were asked for.

    Args:
        only: names of networks, levels or both; of a kind of which none is named all are left.
        rows: networks and levels.
    """
    sizes_named = {sizes for sizes, _ in rows}.intersection(only)
    levels_named = set(only) - sizes_named
    for sizes, fidelities in rows:
        if sizes in (sizes_named or {sizes}):
            for name, cells, here in levels(fidelities, network(sizes)):
                if name in (levels_named or {name}):
                    yield sizes, name, cells, here


def engines(only: Sequence[str]) -> Iterator[Sequence[str]]:
    """Rows: network, level, worst of v and u in %, angle, seconds of each."""
    rows = [(sizes, FIDELITIES) for sizes in ("3-4-2", "16-10-10")]
    for sizes, name, cells, here in chosen(only, *rows):
        found, seconds = beside(cells, (BatchProcess(), VacaskProgram()), here)
        worst, angle = "", ""
        if found is not None:
            worst = f"{100 * worst_of_both(found):.4f}"
            angle = f"{found.updates['all'].angle:.2g}"
        yield (sizes, name, worst, angle, *seconds)


def solvers(only: Sequence[str]) -> Iterator[Sequence[str]]:
    """Rows: network, level, worst signal in %, seconds of Sparse and KLU, their ratio."""
    rows = ("3-4-2", FIDELITIES), ("16-10-10", FIDELITIES[1:]), ("30-20-10", FIDELITIES[1:2])
    for sizes, level, cells, here in chosen(only, *rows):
        each = BatchProcess("sparse"), BatchProcess("klu")
        found, seconds = beside(cells, each, here)
        worst, ratio = "", ""
        if found is not None:
            worst = f"{100 * found.worst_signal:.2g}"
            ratio = f"{float(seconds[0]) / float(seconds[1]):.1f}"
        yield (sizes, level, worst, *seconds, ratio)


def large(_: Sequence[str]) -> Iterator[Sequence[str]]:
    """Rows: network, unknown lines of the deck, seconds, CPU seconds, MiB of the simulator."""
    here = network(LARGE)
    chip = Chip.of(here.design, 0)
    netlist = Netlist.of(chip, "macro")
    bench = Testbench(chip, here.x[0], here.step[0], duration=10.0, max_step=0.1, tolerance=100.0)
    start, before = time.perf_counter(), children()
    with Peak() as peak:
        BatchProcess("klu").run(netlist.deck(bench.text()), save=["up1"], time_limit=3600.0)
    taken, cpu = time.perf_counter() - start, children() - before
    yield LARGE, f"{taken:.0f}", f"{cpu:.0f}", f"{peak.mebibytes:.0f}"


def netlists(_: Sequence[str]) -> Iterator[Sequence[str]]:
    """Rows: dialect, CPU seconds, MiB; each in a process of its own."""
    for name in ("ngspice", *DIALECTS):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "analogdfc", "netlist", "--sizes", NETLIST,
                       "--dialect", name, "-o", str(Path(folder) / "out")]  # fmt: skip
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            ended, used = os.wait4(process.pid, 0)[1:]
            if ended:
                raise SystemExit(f"netlist --dialect {name} failed")
        yield name, f"{used.ru_utime + used.ru_stime:.1f}", f"{used.ru_maxrss / MEGA:.0f}"


PARTS: dict[
    str, tuple[str, tuple[str, ...], Callable[[Sequence[str]], Iterator[Sequence[str]]]]
] = {
    "engines": (
        f"ngspice and VACASK (bar {100 * ENGINES_BAR:g} %)",
        ("network", "cells", "v and u, %", "update, degree", "ngspice, CPU s", "VACASK, CPU s"),
        engines,
    ),
    "solvers": (
        f"Sparse and KLU (bars {100 * SOLVERS_BAR:g} %, {SPEED_BAR:g} times on 30-20-10)",
        ("network", "cells", "worst signal, %", "Sparse, CPU s", "KLU, CPU s", "ratio"),
        solvers,
    ),
    "large": (
        f"One settle with macro cells and every wire (bars {LARGE_BAR[0]:g} s, "
        f"{LARGE_BAR[1]:g} MB), steps' tolerance 1e-4",
        ("network", "s", "CPU s", "MiB"),
        large,
    ),
    "netlists": (
        f"Netlists of {NETLIST} (bars {NETLIST_BAR[0]:g} s, {NETLIST_BAR[1]:g} MB)",
        ("dialect", "CPU s", "MiB"),
        netlists,
    ),
}


def _engines_hold(row: Sequence[str]) -> bool:
    return row[2] != "" and float(row[2]) <= 100 * ENGINES_BAR


def _solvers_hold(row: Sequence[str]) -> bool:
    """A row that has no figure, since KLU found no rest, doesn't meet its bar."""
    if row[2] == "" or float(row[2]) > 100 * SOLVERS_BAR:
        return False
    return row[0] != "30-20-10" or float(row[5]) >= SPEED_BAR


def _large_holds(row: Sequence[str]) -> bool:
    return float(row[1]) <= LARGE_BAR[0] and float(row[3]) <= LARGE_BAR[1]


def _netlists_hold(row: Sequence[str]) -> bool:
    return float(row[1]) <= NETLIST_BAR[0] and float(row[2]) <= NETLIST_BAR[1]


HOLDS: dict[str, Callable[[Sequence[str]], bool]] = {
    "engines": _engines_hold,
    "solvers": _solvers_hold,
    "large": _large_holds,
    "netlists": _netlists_hold,
}
"""Whether a row of a part meets the part's bars."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.engines", description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    missed = False
    for part in given.parts:
        title, columns, rows = PARTS[part]
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column, justify="right")
        for row in tqdm(rows(given.only), desc=part, file=sys.stderr, leave=False):
            table.add_row(*row)
            missed |= not HOLDS[part](row)
        if not table.rows:
            parser.error(f"--only {' '.join(given.only)}: {part} has no such row here")
        Console().print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
