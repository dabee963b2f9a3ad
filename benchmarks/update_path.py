"""Does the model form the update as the circuit's update path does?

`python -m benchmarks.update_path` (ten minutes on two cores, most of it pulses of 16-10-10),
`python -m benchmarks.update_path --sizes 3-4-2 --chips 2` (a minute)

Every chip's update, read from the nodes of macro cells in ngspice, beside that of the behavioural
model with the same components and noise.
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from analogdfc.cards.technology import Card
from analogdfc.study import Model
from benchmarks._measure import case, cores

ERROR_BAR, ANGLE_BAR = 0.5, 0.2
"""Percent and degrees, of all layers."""


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["3-4-2", "16-10-10"])
    parser.add_argument("--kinds", nargs="+", default=["pulses", "multiplier"])
    parser.add_argument("--chips", type=int, default=5)
    args = parser.parse_args()
    table = Table(title="Behavioural against macro cells with the update path in, worst chip")
    for head in ("network", "path", "chips", "error, %", "angle, degree", "wall s", "bar"):
        table.add_column(head, justify="right")
    missed = False
    for text in args.sizes:
        for kind in args.kinds:
            here = case(tuple(map(int, text.split("-"))), 0, 1).on(Card.load(f"update_{kind}"))
            start, error, angle = time.perf_counter(), 0.0, 0.0
            for seed in range(args.chips):
                (model,) = here.run(Model(seed=seed)).runs.values()
                circuit = here.circuit(seed, "macro", jobs=cores())
                found = here.parity(circuit, model).updates["all"]
                error, angle = max(error, 100 * found.error), max(angle, found.angle)
            met = error <= ERROR_BAR and angle <= ANGLE_BAR
            missed |= not met
            seconds = f"{time.perf_counter() - start:.0f}"
            cells = (f"{error:.3g}", f"{angle:.3g}", seconds, "met" if met else "MISSED")
            table.add_row(text, kind, str(args.chips), *cells)
    Console().print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
