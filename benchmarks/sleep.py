"""Feedback that learns on the chip: a sleep phase in the behavioural model and in SPICE.

`python -m benchmarks.sleep`

The mean feedback update of a 3-4-2 chip over some samples, from one Q and with the same noise, of
the behavioural model against macro cells, and of the equations against ideal cells; then Condition
2 before and after a night in each: with J of the weights that the chip holds, mean over all
samples, and with J as each realisation shows it itself, over two. CPU seconds of all that.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.feedback import DirectFeedback
from analogdfc.measures import angle
from analogdfc.network import Network
from analogdfc.sleeping import (
    Equations,
    Lessons,
    Model,
    Night,
    Simulated,
    Sleep,
    Way,
    feedback_updates,
    sleep_through,
)
from analogdfc.spice.batch import BatchProcess
from benchmarks._measure import CARD

SIZES, NETWORK = (3, 4, 2), 0
CHIPS = (None, 0, 1, 2, 3, 4)

BAR = 2.0
"""Percent of the mean update."""


class Row(NamedTuple):
    """Mean updates of one chip, one against the other.

    Attributes:
        what: which two.
        error: norm of the difference over that of the circuit's, in percent.
        angle: between them, in degrees.
    """

    what: str
    error: float
    angle: float


def made(samples: int) -> tuple[Design, Tensor]:
    """A random network with random feedback, and inputs.

    Args:
        samples: how many.
    """
    generator = torch.Generator().manual_seed(NETWORK)
    network = Network(SIZES, generator=generator)
    feedback = DirectFeedback.random(network, generator)
    x = 2 * torch.rand(samples, SIZES[0], dtype=torch.float64, generator=generator) - 1
    return Design.of(network, feedback, Card.load(CARD)), x


def rows(samples: int) -> list[Row]:
    """Mean updates of all chips.

    Args:
        samples: over which the mean is taken.
    """
    design, x = made(samples)
    sleep, cells = Sleep(), {f: Simulated(BatchProcess(), f) for f in ("ideal", "macro")}
    found = []
    for seed in CHIPS:
        chip = Chip.of(sleep.design(design), seed)
        name = "nominal chip" if seed is None else f"chip {seed}"
        pair = _mean(cells["macro"], chip, x, sleep), _mean(Model(), chip, x, sleep)
        found.append(_row(f"{name}: behavioural against macro cells", *pair))
        if seed is None:
            pair = _mean(cells["ideal"], chip, x, sleep), _mean(Equations(), chip, x, sleep)
            found.append(_row("equations against ideal cells", *pair))
    return found


def _mean(way: Way, chip: Chip, x: Tensor, sleep: Sleep) -> Tensor:
    updates = feedback_updates(way.run(chip, x, sleep))
    return torch.cat([update.mean(dim=0).flatten() for update in updates])


def _row(what: str, circuit: Tensor, model: Tensor) -> Row:
    error = float((model - circuit).norm() / circuit.norm())
    return Row(what, 100 * error, angle(circuit, model))


def nights(lessons: Lessons) -> list[Night]:
    """A night of one chip in each realisation.

    Args:
        lessons: how much it learns.
    """
    design, x = made(16)
    ways: Sequence[Way] = (Equations(), Model(), Simulated(BatchProcess()))
    return [sleep_through(way, design, x, Sleep(), lessons, chip_seed=0) for way in ways]


def main() -> int:
    """Print the bars; 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=8, help="of the mean update")
    parser.add_argument("--steps", type=int, default=20, help="of a night")
    given = parser.parse_args()
    torch.set_num_threads(1)
    console, sizes = Console(), "-".join(map(str, SIZES))
    console.print("mean updates ...", style="dim")
    measured = rows(given.samples)
    table = Table(title=f"{sizes}: mean feedback update of {given.samples} samples, same noise")
    for head in ("", "error\n%", "angle\ndegree", f"bar\n% ({BAR:g})"):
        table.add_column(head, justify="left" if not head else "right")
    for row in measured:
        met = "met" if row.error <= BAR else "MISSED"
        table.add_row(row.what, f"{row.error:.3g}", f"{row.angle:.3g}", met)
    console.print(table)
    found = nights(Lessons(steps=given.steps))
    table = Table(title=f"{sizes}: Condition 2, {given.steps} steps of {Lessons().batch} samples")
    for head in ("through", "before", "after", "J measured,\nbefore", "after", "rises"):
        table.add_column(head, justify="left" if head == "through" else "right")
    rising = []
    for night in found:
        pairs = night.condition2[[0, -1]].tolist(), night.measured.tolist()
        rising.append(all(after > before for before, after in pairs))
        met = "met" if rising[-1] else "MISSED"
        table.add_row(night.name, *(f"{value:.4f}" for pair in pairs for value in pair), met)
    console.print(table)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own, others = (u.ru_utime + u.ru_stime for u in used)
    console.print(f"CPU {own:.0f} s, and {others:.0f} s of ngspice")
    return int(not all(rising) or any(row.error > BAR for row in measured))


if __name__ == "__main__":
    sys.exit(main())
