"""Parity of every controller and neuron: ideal against ideal cells, behavioural against macro.

Run with `python -m benchmarks.circuits`; `--quick` takes the small network and one seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import click
import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.circuit.design import Design
from analogdfc.controller import PD, PI, PID, Controller, I, P
from benchmarks._measure import Case, case, worst_angle
from benchmarks.parity import ANGLE_BAR, IDEAL_BAR, LARGE, NETWORK_SEEDS, SIGNAL_BAR, SMALL


@dataclass(frozen=True)
class Kind:
    """A circuit.

    Attributes:
        name: its name.
        controller: its controller.
        hidden: activation of the hidden neurons.
        output: activation of the output.
    """

    name: str
    controller: Controller
    hidden: str = "tanh"
    output: str = "linear"

    def case(self, sizes: Sequence[int], seed: int, samples: int) -> Case:
        """The random network of `benchmarks._measure.case` with these parts."""
        given = case(sizes, seed, samples)
        design: Design = given.design
        activations = (*[self.hidden] * (design.depth - 1), self.output)
        return replace(
            given,
            design=replace(design, controller=self.controller, activations=activations),
            # A target beyond the end of a tanh can't be reached.
            step=given.step if self.output == "linear" else given.step / 3,
        )


CIRCUITS = (
    Kind("P", P(2.0)),
    Kind("I", I()),
    Kind("PI", PI()),
    Kind("PI, leak on u_int", PI(2.0, 0.05, leak="integral")),
    Kind("PD", PD(2.0)),
    Kind("PID", PID()),
    Kind("PID, leak on u_int", PID(k_p=2.0, alpha=0.05, leak="integral")),
    Kind("linear hidden", PI(), hidden="linear"),
    Kind("tanh output", PI(), output="tanh"),
)
"""Every controller, and every neuron under PI control."""


@dataclass
class Worst:
    """Largest errors of a circuit: of a signal of either parity as fractions, of an update."""

    ideal: float = 0.0
    macro: float = 0.0
    angle: float = 0.0

    def see(self, here: Case, chip: int) -> None:
        """Measure one network."""
        found = here.parity(here.circuit(None, "ideal"), here.ideal())
        self.ideal = max(self.ideal, *found.signals.values())
        found = here.parity(here.circuit(chip, "macro"), here.behavioural([chip])[0])
        self.macro = max(self.macro, *found.signals.values())
        self.angle = max(self.angle, worst_angle(found))

    @property
    def met(self) -> bool:
        """Whether all of it is within the bars; what isn't a number is not."""
        values = ((self.ideal, IDEAL_BAR), (self.macro, SIGNAL_BAR), (self.angle, ANGLE_BAR))
        return all(math.isfinite(v) and v <= bar for v, bar in values)


@click.command()
@click.option("--quick", is_flag=True, help="Only 3-4-2 and one seed.")
def main(quick: bool) -> None:
    """Parity of every controller and neuron."""
    torch.set_num_threads(1)
    sizes = (SMALL,) if quick else (SMALL, LARGE)
    seeds = NETWORK_SEEDS[:1] if quick else NETWORK_SEEDS
    table = Table(title="worst over networks, signals and layers", title_justify="left")
    for k, name in enumerate(("circuit", "network", "ideal, %", "macro, %", "angle, degree", "")):
        table.add_column(name, justify="right" if 1 < k < 5 else "left")
    runs = [(kind, size) for size in sizes for kind in CIRCUITS]
    all_met = True
    for kind, size in tqdm(runs, desc="circuits"):
        worst = Worst()
        for seed in seeds:
            worst.see(kind.case(size, seed, 1), chip=seed)
        all_met &= worst.met
        table.add_row(
            kind.name,
            "-".join(map(str, size)),
            f"{100 * worst.ideal:.3g}",
            f"{100 * worst.macro:.3g}",
            f"{worst.angle:.2g}",
            "met" if worst.met else "MISSED",
        )
    bars = f"bars: {100 * IDEAL_BAR:g} %, {100 * SIGNAL_BAR:g} %, {ANGLE_BAR:g} degree"
    console = Console(width=100)
    console.print(table)
    console.print(bars)
    if not all_met:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
