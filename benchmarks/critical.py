"""Parity of model and circuit just above and below the limit of stability.

`python -m benchmarks.critical` (minutes), `python -m benchmarks.critical --networks 3-4-2`

Of each side it states what its time steps do: how far its run is from one at a tenth of the
tolerance, in the signal that changes most.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.analysis.stability import critical_bandwidth
from analogdfc.spice.engines import get_simulator
from analogdfc.study import BEHAVIOURAL, CELLS, Cells, Model
from benchmarks._measure import Case, case

NETWORKS = {"3-4-2": 0, "6-6-6-2-6-6": 1}
"""Sizes, and a seed whose loop is stable with fast amplifiers."""
FACTORS = (1.05, 0.97)
CHIP = 0
DT = 0.02
BAR = 1e-3


def near_limit(sizes: str, factor: float, limit: float, duration: float) -> Case:
    """A random network whose amplifiers have this part of the critical bandwidth.

    Args:
        sizes: of the layers, '3-4-2'.
        factor: bandwidth over the critical one.
        limit: the critical one, in hertz.
        duration: of the run, in units of the controller's time.
    """
    here = network(sizes)
    here = here.at_bandwidth(factor * limit * here.design.tau_v_seconds)
    return replace(here, dt=DT, steps=round(duration / DT))


def network(sizes: str) -> Case:
    """The random network of these sizes, with one sample."""
    return case([int(n) for n in sizes.split("-")], NETWORKS[sizes], 1)


def measure(here: Case) -> Iterator[float]:
    """Worst signal of the parity, then what the steps do to model and circuit, as fractions."""
    cells = Cells("macro", get_simulator("batch"), seed=CHIP, time_limit=3600.0)
    found = here.run(Model(CHIP), cells, check_steps=True)
    circuit, model = found.runs[CELLS["macro"]], found.runs[BEHAVIOURAL]
    yield here.parity(circuit, model).worst_signal
    yield found.step_errors[BEHAVIOURAL].error
    yield found.step_errors[CELLS["macro"]].error


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a parity is beyond the bar."""
    parser = argparse.ArgumentParser(prog="benchmarks.critical", description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--duration", type=float, default=20.0, help="of the run, in tau_u")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = Table(title="Near the critical bandwidth: worst signal, %", title_justify="left")
    for name in ("network", "bandwidth\n/ critical", "slowest mode\nper tau_u", "tolerance",
                 "parity", "steps of\nthe model", "steps of\nthe circuit", "s"):  # fmt: skip
        table.add_column(name, justify="right")
    worst = 0.0
    for sizes in tqdm(given.networks, file=sys.stderr, leave=False):
        here = network(sizes)
        limit = critical_bandwidth(here.design, CHIP, here.x, here.step)
        for factor in FACTORS:
            start = time.perf_counter()
            near = near_limit(sizes, factor, limit, given.duration)
            errors = [*measure(near)]
            worst = max(worst, errors[0])
            mode, part = near.slowest_mode(CHIP), min(near.step_tolerances(CHIP))
            shown = (f"{100 * e:.4f}" for e in errors)
            table.add_row(
                sizes, f"{factor:g}", f"{mode:+.4f}", f"{part:.3g}", *shown,
                f"{time.perf_counter() - start:.0f}",
            )  # fmt: skip
    Console().print(table)
    return int(not worst <= BAR)


if __name__ == "__main__":
    sys.exit(main())
