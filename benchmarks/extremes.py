"""Parity of the behavioural model and macro cells on chips at their extremes.

`OMP_NUM_THREADS=1 python -m benchmarks.extremes` (a quarter of an hour), `--only gain slew` some.

Of each case the worst signal of two samples, and the largest angle between the updates. A chip
that has no operating point, in both realisations, is told with the reason.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.analysis.stability import critical_bandwidth
from analogdfc.errors import ConvergenceError
from benchmarks._measure import Case, case, worst_angle

CHIP = 0
DT, DURATION = 0.02, 5.0
BAR = 5e-4

Made = Callable[[], Case]


def small() -> Case:
    """The network that the cards are tried with."""
    return case((3, 4, 2), 0, 2)


def carded(section: str, **values: float) -> Made:
    """The network on the card with other values."""
    return lambda: small().on(small().design.card.replace(section, **values))


def near_critical(factor: float) -> Case:
    """The network with this part of its critical bandwidth."""
    here = small()
    limit = critical_bandwidth(here.design, CHIP, here.x, here.step)
    return here.at_bandwidth(factor * limit * here.design.tau_v_seconds)


def near_rails() -> Case:
    """Amplifiers that limit a little above what the outputs need, and at the onset below."""
    here = small()
    (run,) = here.behavioural([CHIP])
    volts = here.design.card.scale.control * float(run.u[:, -1].abs().max())
    return here.on(here.design.card.replace("amplifier", saturation=1.1 * max(volts, 0.3)))


def sized(*sizes: int) -> Made:
    """A random network."""
    return lambda: case(sizes, 1, 2)


CASES: Mapping[str, Made] = {
    "gain 30": carded("amplifier", gain=30.0),
    "bandwidth 1.05 of critical": lambda: near_critical(1.05),
    "bandwidth 0.97 of critical": lambda: near_critical(0.97),
    "offsets 20 mV": carded("amplifier", offset=0.02),
    "slew 0.05 V/us": carded("amplifier", slew_rate=5e4),
    "outputs near the rails": near_rails,
    "mismatch 10 %": carded("device", mismatch=0.1),
    "wires 100 ohm": carded("wire", word=100.0, bit=100.0),
    "4 levels": carded("device", levels=4),
    "depth 2, width 2": sized(2, 2, 2),
    "depth 2, width 12": sized(12, 12, 12),
    "depth 3, width 5": sized(5, 5, 5, 5),
    "depth 4, width 3": sized(3, 3, 3, 3, 3),
    "depth 5, width 2 to 6": sized(4, 6, 2, 5, 3, 2),
}


def measured(make: Made) -> Iterator[str | float]:
    """Worst signal as a fraction and angle in degrees; or why there is none."""
    here = replace(make(), dt=DT, steps=round(DURATION / DT))
    try:
        (model,) = here.behavioural([CHIP])
    except ConvergenceError as error:
        yield str(error)
        return
    found = here.parity(here.circuit(CHIP, "macro"), model)
    yield found.worst_signal
    yield worst_angle(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a parity is beyond the bar."""
    parser = argparse.ArgumentParser(prog="benchmarks.extremes", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=[""], help="cases with these words")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = Table(title=f"Parity over {DURATION:g} tau_u", title_justify="left")
    for name in ("case", "worst signal, %", "update, degrees"):
        table.add_column(name, justify="left" if name == "case" else "right")
    worst = 0.0
    chosen = {n: make for n, make in CASES.items() if any(word in n for word in given.only)}
    for name, make in tqdm(chosen.items(), file=sys.stderr, leave=False):
        first, *rest = measured(make)
        if isinstance(first, str):
            table.add_row(name, first, "")
            continue
        worst = max(worst, first)
        table.add_row(name, f"{100 * first:.4f}", *(f"{float(angle):.4f}" for angle in rest))
    Console().print(table)
    return int(not worst <= BAR)


if __name__ == "__main__":
    sys.exit(main())
