"""Settling time of the control loop: predicted, in the behavioural model, and in ngspice.

`python -m benchmarks.settling` (minutes), `python -m benchmarks.settling --quick` (half a minute)

Times in tau_u, to 2 % of the final control signal and to 1 degree of the final update. Where one
mode dominates, the prediction, which is that of the sum of all modes, must come within 15 %.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.analysis.settling import observed, predict
from benchmarks._measure import Case, case, cores

NETWORKS = ((3, 4, 2), (16, 10, 10))
SEEDS = (0, 1, 2)
BANDWIDTHS = (10, 30, 100)
CHIP = 0
BAR = 0.15
DT = 0.02
TIME_CONSTANTS = 10.5
"""Length of a record in time constants of the slowest mode, so that its end is the rest state."""

LARGE = (784, 256, 256, 256, 10)


@dataclass(frozen=True)
class Row:
    """One sample; times in tau_u.

    Attributes:
        slowest: the slowest mode, per tau_u.
        dominated: whether one mode dominates.
        predicted: settling time by the prediction.
        mode: by the dominant mode alone.
        modes: by the sum of all modes.
        behavioural: in the behavioural model.
        circuit: in ngspice.
        predicted_update: time to 1 degree of the final update, predicted.
        behavioural_update: in the behavioural model.
        circuit_update: in ngspice.
    """

    slowest: complex
    dominated: bool
    predicted: float
    mode: float
    modes: float
    behavioural: float
    circuit: float
    predicted_update: float
    behavioural_update: float
    circuit_update: float

    @property
    def error(self) -> float:
        """Relative error of the prediction against ngspice."""
        return self.predicted / self.circuit - 1


def measure(here: Case, chip: int) -> list[Row]:
    """One row a sample.

    Args:
        here: the design and its samples.
        chip: seed of the chip.
    """
    found = predict(here.design, chip, here.x, here.step, limits=False)
    tau = here.design.tau_u_seconds
    duration = TIME_CONSTANTS * float(found.time_constant.max()) / here.design.seconds
    here = replace(here, dt=DT, steps=math.ceil(duration / DT))
    model = observed(here.behavioural([chip])[0])
    circuit = observed(here.circuit(chip, "macro", jobs=cores()))
    update = found.update_time() / tau
    columns = (
        found.slowest * tau, found.dominated, found.time / tau, found.time_of_mode / tau,
        found.time_of_modes / tau, model.control, circuit.control, update, model.update,
        circuit.update,
    )  # fmt: skip
    values = zip(*(column.tolist() for column in columns), strict=True)
    return [Row(*row) for row in values]


def cases(quick: bool) -> Iterator[tuple[str, int, int, Case]]:
    """Name, seed and product of bandwidth and tau_v of every design."""
    for sizes in NETWORKS[:1] if quick else NETWORKS:
        for seed in SEEDS:
            for product in BANDWIDTHS[1:] if quick else BANDWIDTHS:
                here = case(sizes, seed, 2 if sizes == NETWORKS[0] else 1)
                yield "-".join(map(str, sizes)), seed, product, here.at_bandwidth(product)


def _table() -> Table:
    title = "Settling of u to 2 %, and of the update to 1 degree; times in tau_u"
    table = Table(title=title, title_justify="left")
    names = ("network", "seed", "GBW tau_v", "slowest mode", "one mode dominates", "by mode",
             "by all modes", "behavioural", "ngspice", "error", "update predicted",
             "update behavioural", "update ngspice")  # fmt: skip
    for name in names:
        table.add_column(name.replace(" ", "\n"), justify="right")
    return table


def _shown(value: complex) -> str:
    return f"{value.real:+.3f}" + (f"{value.imag:+.2f}j" if value.imag else "")


def main() -> int:
    """Print the table; 1 where a prediction from one mode misses the bar."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the small network only")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    table, rows = _table(), []
    todo = list(cases(quick))
    for name, seed, product, here in tqdm(todo, file=sys.stderr, leave=False):
        for row in measure(here, CHIP):
            rows.append(row)
            missed = row.dominated and abs(row.error) > BAR
            table.add_row(
                name, str(seed), str(product), _shown(row.slowest),
                "yes" if row.dominated else "no", f"{row.mode:.3f}", f"{row.modes:.3f}",
                f"{row.behavioural:.3f}", f"{row.circuit:.3f}",
                f"[bold red]{row.error:+.1%}[/]" if missed else f"{row.error:+.1%}",
                f"{row.predicted_update:.3f}", f"{row.behavioural_update:.3f}",
                f"{row.circuit_update:.3f}",
            )  # fmt: skip
    console = Console(width=130)
    console.print(table)
    alone = [abs(r.error) for r in rows if r.dominated]
    rest = [abs(r.error) for r in rows if not r.dominated]
    for what, errors in (("one mode dominates", alone), ("no mode dominates", rest)):
        if errors:
            console.print(f"{what}: {len(errors)} samples, worst error {max(errors):.1%}")
    worst = max(abs(r.predicted_update / r.circuit_update - 1) for r in rows)
    console.print(f"update to 1 degree: worst error {worst:.1%}")
    if not quick:
        _large(console)
    return 0 if all(e <= BAR for e in alone) else 1


def _large(console: Console) -> None:
    here = case(LARGE, 0, 3)
    start = time.perf_counter()
    found = predict(here.design, CHIP, here.x, here.step)
    per_sample = found.time_per_sample() / here.design.tau_u_seconds
    console.print(
        f"{'-'.join(map(str, LARGE))}: {time.perf_counter() - start:.1f} s for 3 samples; "
        f"{float(per_sample.max()):.2f} tau_u a sample to 1 degree, limit: {found.limit}"
    )


if __name__ == "__main__":
    sys.exit(main())
