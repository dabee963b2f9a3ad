"""What the behavioural model costs: against ngspice, as networks grow, and what makes it cheaper.

`OMP_NUM_THREADS=1 python -m benchmarks.behavioural` (a quarter of an hour); `--parts chips` a
part of it.

Runs of 20 tau_u at the usual tolerance, in processes of one thread of their own; seconds are those
of the CPU, of the run with its release but without imports, and memory is the most that the process
had; of the static fold it is what came on top of the libraries.

ngspice's seconds are of one sample with macro cells and wires, those of the model beside them of a
sample of 128 at the largest tolerance at which none has a larger error than ngspice has in its one.
`--ngspice PROGRAM ...` names one or more programs that run beside each other, the newest first;
by default it is the one that is found. VACASK runs beside them where it is installed.

What grows as the number of conductances does grows with the first power of it. The table of growth
has that power for each width from the one before, and over all of them. In narrow networks, where
fixed costs count, it is less than 1; a part that grew with the third power of the width, 1.5 of the
conductances, would show in the widest. None may be above the bar.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

import torch
from rich.console import Console
from rich.table import Table

from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticChip
from analogdfc.dynamics import Update
from analogdfc.spice.batch import program_version
from analogdfc.spice.installed import find_binary, find_vacask
from analogdfc.spice.vacask import VacaskProgram
from benchmarks._measure import Case, case
from benchmarks._ngspice import Race, Sides, simulator
from benchmarks._products import kernels, one_thread

TOLERANCE = 2e-6
SMALL, LARGE, WIDE = "16-10-10", "784-256-256-256-10", "784-1024-1024-1024-10"
TILE = 64
SAMPLES = 128
"""Of one chip, beside one in a simulator."""
WIDTHS = (64, 128, 256, 512, 1024)
PARTS = ("ngspice", "chips", "large", "fold", "cheaper", "growth")
_LATE = ("scipy.linalg", "scipy.sparse.csgraph")
"""What SciPy imports only when it is first used; imports aren't measured."""

FASTER, A_CHIP, SECONDS, GIGABYTES = 1000, 0.1, 300, 4
"""Bars: against ngspice 39, seconds of a chip, seconds and memory of the large network."""

FOLD_SECONDS, FOLD_MEGABYTES = 3, 600
GROWTH = 1.1
"""Bar of the powers of the number of conductances with which time and memory grow; by the tenth
measured times may err."""

FASTER_THAN_NEWER = 100
"""Bar against an ngspice newer than 39, which solves sparse systems faster."""


@dataclass(frozen=True)
class Cost:
    """What a run took.

    Attributes:
        seconds: of the CPU.
        gigabytes: the most memory, the libraries' among it.
        conductances: pairs of the crossbars.
        steps: time steps.
    """

    seconds: float
    gigabytes: float
    conductances: int
    steps: int


def made(sizes: str, samples: int, tile: int) -> Case:
    """The random network; wires in tiles of so many rows, or whole where that is 0."""
    here = case([int(n) for n in sizes.split("-")], 0, samples)
    return here.in_tiles(tile) if tile else here


def run(sizes: str, samples: int, chips: int, tile: int, tolerance: float) -> Cost:
    """Integrate in this process."""
    here = made(sizes, samples, tile)
    for name in _LATE:
        import_module(name)
    start = time.process_time()
    model = Behavioural([Chip.of(here.design, k) for k in range(chips)], tolerance=tolerance)
    model.run(here.x, here.step, dt=here.dt, steps=here.steps)
    seconds = time.process_time() - start
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    parts = (*here.design.weights, *here.design.feedback)
    return Cost(seconds, most, sum(t.numel() for t in parts), model.integrator.steps)


def fold(sizes: str) -> Cost:
    """Fold a chip, with whole wired arrays, in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    here = made(sizes, 1, 0)
    chip = Chip.of(here.design, 0)
    start = time.process_time()
    StaticChip.of(chip)
    seconds = time.process_time() - start
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6 - before
    return Cost(seconds, more, sum(w.numel() for w in here.design.weights), 0)


def cost(
    sizes: str, samples: int, chips: int = 1, tile: int = 0, tolerance: float = TOLERANCE
) -> Cost:
    """The same in a process of its own."""
    numbers = map(str, (samples, chips, tile, tolerance))
    return elsewhere("--one", sizes, *numbers)


def elsewhere(*arguments: str) -> Cost:
    """What this module measures in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.behavioural", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def against_simulators(table: Table, programs: Sequence[str]) -> bool:
    """Add the speed against VACASK and programs ngspice, whose first gives the reference."""
    race = Race(
        made(SMALL, SAMPLES, 0),
        made(SMALL, 1, 0),
        lambda tolerance: cost(SMALL, SAMPLES, tolerance=tolerance).seconds,
        programs[0],
    )
    met = True
    for program, rough in itertools.product(programs, (False, True)):
        version = program_version(program)
        # At equal accuracy ngspice, too, may take longer steps; the bar against 39 is of the usual.
        bar: int | None = FASTER_THAN_NEWER
        if version == "39":
            bar = None if rough else FASTER
        name = f"ngspice {version}, {'its long steps' if rough else 'its usual steps'}"
        met &= _beside(table, name, race.against(simulator(program), rough=rough), bar)
    if find_vacask():
        vacask = VacaskProgram()
        met &= _beside(
            table, f"VACASK {vacask.version() or ''}".strip(), race.against(vacask), None
        )
    apart = f"{race.models_apart():.2g}"
    table.add_row("  model and circuit apart, both in small steps", apart, "")
    return met


def _beside(table: Table, name: str, sides: Sides, bar: int | None) -> bool:
    """Add what a simulator and the model took, and whether the bar is met."""
    what = f"{SMALL}, {SAMPLES} samples, against {name}: times faster"
    table.add_row(what, f"{sides.faster:.0f}", "" if bar is None else f"{bar}")
    table.add_row(
        f"  a sample: the model at {sides.tolerance:.0e} V, ms", f"{1e3 * sides.ours:.3g}", ""
    )
    table.add_row("  a sample: the simulator, s", f"{sides.theirs:.3g}", "")
    allowed = f"{sides.their_error:.2g}"
    table.add_row("  error of the update: the model, the simulator", f"{sides.error:.2g}", allowed)
    return sides.error <= sides.their_error and (bar is None or sides.faster >= bar)


def of_chips(table: Table) -> bool:
    """Add the cost of chips that run together."""
    chips = 20
    ours = cost(SMALL, 4, chips).seconds / chips
    what = f"{SMALL}, 4 samples of {chips} chips: s a chip"
    table.add_row(what, f"{ours:.3g}", f"{A_CHIP:g}")
    return ours <= A_CHIP


def of_large(table: Table) -> bool:
    """Add the cost of a large network."""
    found = cost(LARGE, 8, tile=TILE)
    what = f"{LARGE}, 8 samples, wires in tiles of {TILE} rows"
    table.add_row(f"{what}: s", f"{found.seconds:.3g}", f"{SECONDS}")
    table.add_row("  memory, GB", f"{found.gigabytes:.3g}", f"{GIGABYTES}")
    return found.seconds <= SECONDS and found.gigabytes <= GIGABYTES


def of_fold(table: Table) -> bool:
    """Add the cost of a wide network's static chip."""
    found = elsewhere("--fold", WIDE)
    table.add_row(f"{WIDE}, folded: s", f"{found.seconds:.3g}", f"{FOLD_SECONDS}")
    table.add_row("  memory, MB", f"{1e3 * found.gigabytes:.3g}", f"{FOLD_MEGABYTES}")
    return found.seconds <= FOLD_SECONDS and 1e3 * found.gigabytes <= FOLD_MEGABYTES


def of_cheaper(table: Table) -> bool:
    """Add what single precision and averages without a record save and lose."""
    here = made(SMALL, 32, 0)
    chips = [Chip.of(here.design, 0)]
    double, single = (Behavioural(chips, dtype=d) for d in (torch.float64, torch.float32))

    def timed(model: Behavioural) -> tuple[Update, float]:
        start = time.process_time()
        (update,) = model.average(here.x, here.step, dt=here.dt, steps=here.steps)
        return update, time.process_time() - start

    start = time.process_time()
    (run,) = double.run(here.x, here.step, dt=here.dt, steps=here.steps)
    recorded, record = Update.of(run, double_sampling=True), time.process_time() - start
    update, averaged = timed(double)
    same = Behavioural(chips, tolerance=single.integrator.tolerance)
    _, coarse = timed(same)
    _, short = timed(single)
    assert single.rounding is not None
    off = max(
        float((a - b).norm() / b.norm())
        for a, b in zip(recorded.weights, update.weights, strict=True)
    )
    what = f"{SMALL}, 32 samples: update"
    table.add_row(f"{what} averaged without a record, times faster", f"{record / averaged:.3g}", "")
    table.add_row("  from that of the record, relative", f"{off:.2g}", "")
    table.add_row(
        f"{what} in single precision, with its own check, times faster than in double",
        f"{coarse / short:.3g}", "",
    )  # fmt: skip
    table.add_row("  its error by rounding, relative", f"{single.rounding.error:.2g}", "")
    table.add_row("  its angle by rounding, degrees", f"{single.rounding.angle:.2g}", "")
    return True


def growth() -> tuple[Table, bool]:
    """How cost grows with the layers' width, and whether as the number of conductances does."""
    table = Table(title="width-width-width-10, 4 samples, wires in tiles", title_justify="left")
    for name in ("width", "pairs\nk", "steps", "CPU\ns", "\nGB", "us a\npair", "kB a\npair",
                 "power:\ns", "\nGB", "bar"):  # fmt: skip
        table.add_column(name, justify="right")
    bare = cost("2-2-2", 1).gigabytes
    found: list[Cost] = []
    for width in WIDTHS:
        taken = cost(f"{width}-{width}-{width}-10", 4, tile=TILE)
        found.append(replace(taken, gigabytes=taken.gigabytes - bare))
        table.add_row(str(width), *_cells(found[-1]), *_exponents(found[-2:]))
    table.add_row("all", *[""] * 6, *_exponents([found[0], found[-1]]))
    pairs = [*itertools.pairwise(found), (found[0], found[-1])]
    met = all(max(exponents(*pair)) <= GROWTH for pair in pairs)
    table.caption = "met" if met else "MISSED"
    return table, met


def exponents(narrow: Cost, wide: Cost) -> tuple[float, float]:
    """Powers of the number of conductances with which time and memory grow."""
    ratios = wide.seconds / narrow.seconds, wide.gigabytes / narrow.gigabytes
    more = math.log(wide.conductances / narrow.conductances)
    return math.log(ratios[0]) / more, math.log(ratios[1]) / more


def _cells(found: Cost) -> Iterator[str]:
    yield from (f"{found.conductances / 1e3:.0f}", str(found.steps))
    yield from (f"{found.seconds:.3g}", f"{found.gigabytes:.3g}")
    yield f"{1e6 * found.seconds / found.conductances:.3g}"
    yield f"{1e6 * found.gigabytes / found.conductances:.2f}"


def _exponents(pair: Sequence[Cost]) -> Iterator[str]:
    if len(pair) == 2:
        yield from (f"{exponent:.2f}" for exponent in exponents(*pair))
        yield f"{GROWTH:g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 where a bar isn't met."""
    parser = argparse.ArgumentParser(prog="benchmarks.behavioural", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--ngspice", nargs="+", metavar="PROGRAM", default=[find_binary()])
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--fold", dest="folded", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    programs = [found for name in given.ngspice if name and (found := shutil.which(name))]
    if len(programs) < len(given.ngspice) and "ngspice" in given.parts:
        parser.error("ngspice is missing; name programs by --ngspice, or leave out this part")
    one_thread()
    if given.one:
        sizes, *numbers, tolerance = given.one
        samples, chips, tile = map(int, numbers)
        print(json.dumps(vars(run(sizes, samples, chips, tile, float(tolerance)))))
        return 0
    if given.folded:
        print(json.dumps(vars(fold(given.folded))))
        return 0
    table = Table(title="The behavioural model", title_justify="left")
    for name in ("what", "measured", "bar"):
        table.add_column(name, justify="left" if name == "what" else "right")
    rows = {
        "ngspice": lambda table: against_simulators(table, programs),
        "chips": of_chips,
        "large": of_large,
        "fold": of_fold,
        "cheaper": of_cheaper,
    }
    met = [add(table) for name, add in rows.items() if name in given.parts]
    console = Console()
    if met:
        console.print(table)
        console.print(kernels())
    if "growth" in given.parts:
        table, proportional = growth()
        console.print(table)
        met.append(proportional)
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
