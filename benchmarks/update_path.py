"""Does the model form the update as the circuit's update path does, and take what that takes?

`python -m benchmarks.update_path` (a quarter of an hour on two cores, most of it pulses of
16-10-10), `python -m benchmarks.update_path --sizes 3-4-2 --chips 2` (a minute)

Every chip's update, read from the nodes of macro cells in ngspice, beside that of the behavioural
model with the same components and noise. The energy of its path, as an estimate has it, beside what
the path's cells take in ngspice: the worst item; converters are no cells.
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from analogdfc.analysis.energy import update_path
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.spice.energy import measure_circuit
from analogdfc.spice.engines import get_simulator
from analogdfc.study import Model
from analogdfc.updating import PHASE
from analogdfc.updating.costs import UPDATE_COMPONENTS
from benchmarks._measure import Case, case, cores

ERROR_BAR, ANGLE_BAR, ENERGY_BAR = 0.5, 0.2, 1.0
"""Percent and degrees, of all layers; percent of each item of the path."""


def energy_error(here: Case, seed: int) -> float:
    """Largest error of an item of the update path, in percent of what ngspice finds.

    Args:
        here: what runs.
        seed: of the chip.
    """
    chip = Chip.of(here.design, seed)
    simulator = get_simulator("batch")
    circuit = measure_circuit(chip, here.x, here.step, simulator, duration=PHASE, jobs=cores())
    model = update_path(chip, PHASE * here.design.seconds).by_component()
    theirs = circuit.energy.by_component()
    cells = [name for name in UPDATE_COMPONENTS if name in theirs]
    return max(100 * float((model[name] / theirs[name] - 1).abs().max()) for name in cells)


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["3-4-2", "16-10-10"])
    parser.add_argument("--kinds", nargs="+", default=["pulses", "multiplier"])
    parser.add_argument("--chips", type=int, default=5)
    args = parser.parse_args()
    table = Table(title="Behavioural against macro cells with the update path in, worst chip")
    for head in ("network", "path", "chips", "error, %", "angle, degree", "energy, %", "s", "bar"):
        table.add_column(head, justify="right")
    missed = False
    for text in args.sizes:
        for kind in args.kinds:
            here = case(tuple(map(int, text.split("-"))), 0, 1).on(Card.load(f"update_{kind}"))
            start, error, angle, energy = time.perf_counter(), 0.0, 0.0, 0.0
            for seed in range(args.chips):
                (model,) = here.run(Model(seed=seed)).runs.values()
                circuit = here.circuit(seed, "macro", jobs=cores())
                found = here.parity(circuit, model).updates["all"]
                error, angle = max(error, 100 * found.error), max(angle, found.angle)
                energy = max(energy, energy_error(here, seed))
            met = error <= ERROR_BAR and angle <= ANGLE_BAR and energy <= ENERGY_BAR
            missed |= not met
            seconds = f"{time.perf_counter() - start:.0f}"
            figures = (f"{value:.3g}" for value in (error, angle, energy))
            verdict = "met" if met else "MISSED"
            table.add_row(text, kind, str(args.chips), *figures, seconds, verdict)
    Console().print(table)
    print(f"bars: error {ERROR_BAR} %, angle {ANGLE_BAR} degree, energy {ENERGY_BAR} %")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
