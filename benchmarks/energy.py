"""Energy of a settle: behavioural model against ngspice, and closed form against both.

python -m benchmarks.energy
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from analogdfc.analysis.energy import Energy
from analogdfc.analysis.energy.closed import closed_form
from analogdfc.analysis.energy.meter import measure
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticChip
from analogdfc.spice.energy import measure_circuit
from analogdfc.spice.engines import get_simulator
from benchmarks._measure import case, cores
from benchmarks.circuits import CIRCUITS

SMALL, LARGE = (3, 4, 2), (16, 10, 10)
SEEDS = range(5)
DURATION = 20.0
"""Length of a settle in tau_u."""

TOTAL_BAR, ITEM_BAR, HALVED_BAR, CLOSED_BAR = 1.0, 5.0, 1.0, 10.0
"""Largest errors promised, in percent: in total, of an item, on halving the time step, of any item
of the closed form."""


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
    print(
        f"bars: total {TOTAL_BAR:g}, item {ITEM_BAR:g}, half the time step {HALVED_BAR:g}, "
        f"closed form against the waveforms {CLOSED_BAR:g}"
    )
    print(
        "network            seed   drawn/uJ   total     worst item                     halved   "
        "closed form, worst item"
    )
    random = [("-".join(map(str, s)), k, case(s, k, 1)) for s in (SMALL, LARGE) for k in SEEDS]
    others = [(kind.name, 0, kind.case(SMALL, 0, 1)) for kind in CIRCUITS]
    for name, seed, here in [*random, *others]:
        chip = Chip.of(here.design, seed)
        (model,) = measure([chip], here.x, here.step, duration=DURATION)
        (half,) = measure(
            [chip], here.x, here.step, duration=DURATION, tolerance=2.5e-7, longest=0.01
        )
        circuit = measure_circuit(
            chip, here.x, here.step, simulator, duration=DURATION, jobs=cores()
        )
        static = StaticChip.of(chip)
        closed = closed_form(
            static,
            static.solve(here.x, here.step),
            duration=DURATION * here.design.seconds,
        )
        total = 100 * float((model.drawn / circuit.drawn - 1).abs().max())
        worst, item = worst_item(model.energy, circuit.energy)
        halved = worst_item(model.energy, half.energy)[1]
        closed_name, closed_item = worst_item(closed, model.energy)
        print(
            f"{name:18} {seed:4} {1e6 * float(circuit.drawn):10.4f} "
            f"{total:9.1e} {item:9.1e} {worst:22} {halved:9.1e} "
            f"{closed_item:9.1e} {closed_name}",
            flush=True,
        )


if __name__ == "__main__":
    main()
