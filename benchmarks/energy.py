"""Energy of a settle: behavioural model against ngspice, item by item.

python -m benchmarks.energy
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from analogdfc.hardware.chip import Chip
from analogdfc.hardware.energy import Energy
from analogdfc.hardware.energy.meter import measure
from analogdfc.spice.energy import measure_circuit
from analogdfc.spice.simulator import get_simulator
from benchmarks._measure import case, cores

SMALL, LARGE = (3, 4, 2), (16, 10, 10)
SEEDS = range(5)
DURATION = 20.0
"""Length of a settle in tau_u."""

TOTAL_BAR, ITEM_BAR, HALVED_BAR = 1.0, 5.0, 1.0
"""Largest errors promised, in percent: in total, of an item, on halving the time step."""


def worst_item(found: Energy, reference: Energy) -> tuple[str, float]:
    """Component whose energy is furthest from the reference's, and by how many percent."""
    theirs = reference.by_component()
    errors = {
        name: 100 * float((ours / theirs[name] - 1).abs().max())
        for name, ours in found.by_component().items()
    }
    name = max(errors, key=errors.__getitem__)
    return name, errors[name]


def main() -> None:
    """Print the figures."""
    torch.set_num_threads(1)
    simulator = get_simulator("batch")
    print(f"settle of {DURATION:g} tau_u, cells at level macro; errors in % of ngspice")
    print(f"bars: total {TOTAL_BAR:g}, item {ITEM_BAR:g}, half the time step {HALVED_BAR:g}")
    print("network    seed   drawn/uJ   total     worst item                   halved     seconds")
    for sizes in (SMALL, LARGE):
        for seed in SEEDS:
            here = case(sizes, seed, 1)
            chip = Chip.of(here.design, seed)
            (model,) = measure([chip], here.x, here.step, duration=DURATION)
            (half,) = measure(
                [chip], here.x, here.step, duration=DURATION, tolerance=2.5e-7, longest=0.01
            )
            start = time.perf_counter()
            circuit = measure_circuit(
                chip, here.x, here.step, simulator, duration=DURATION, jobs=cores()
            )
            seconds = time.perf_counter() - start
            total = 100 * float((model.drawn / circuit.drawn - 1).abs().max())
            name, item = worst_item(model.energy, circuit.energy)
            halved = worst_item(model.energy, half.energy)[1]
            print(
                f"{'-'.join(map(str, sizes)):10} {seed:4} {1e6 * float(circuit.drawn):10.4f} "
                f"{total:9.1e} {item:9.1e} {name:18} {halved:9.1e} {seconds:8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
