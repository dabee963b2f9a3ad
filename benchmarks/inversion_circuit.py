"""Dynamic inversion as a circuit, each form beside ngspice.

Of every form, ideal cells beside the equations and the behavioural model beside macro cells, on
chips with all imperfections of the card: the largest NRMSE of a signal and the error of the update.
The bars are 0.1 % and 0.5 %.

Run with `OMP_NUM_THREADS=1 python -m benchmarks.inversion_circuit --chips 5`; a chip takes seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.cards.technology import Card
from analogdfc.comparison import Comparison
from analogdfc.controller import I
from analogdfc.inverting import (
    Behaviour,
    Equations,
    Grid,
    InversionCells,
    InversionDesign,
    InversionStudy,
)
from analogdfc.inverting.rules import inversion_rule
from analogdfc.learning.inversion import FastControl
from analogdfc.network import Network
from analogdfc.spice.engines import get_simulator

IDEAL_BAR, MODEL_BAR = 0.1, 0.5
"""Percent."""

ALPHA = 0.01
FORMS: dict[str, tuple[str, tuple[int, ...], FastControl | None]] = {
    "layer pairs in sequence": ("di", (3, 4, 3, 2), None),
    "repeated layers": ("di-repeat", (3, 4, 3, 2), None),
    "single loop": ("di-single-loop", (3, 4, 3, 2), None),
    "expanding layer, S1 and S2": ("di", (3, 2, 4, 2), FastControl()),
}
"""Rule, network and control of expanding layers."""


def study(form: str, seed: int, samples: int, duration: float) -> InversionStudy:
    """A form on a random network and random samples.

    Args:
        form: a key of `FORMS`.
        seed: of weights and samples.
        samples: how many.
        duration: of a circuit's record, in units of time of the loops.
    """
    name, sizes, fast = FORMS[form]
    source = torch.Generator().manual_seed(seed)
    network = Network(sizes, generator=source).double()
    rule = inversion_rule(name, network, I(alpha=ALPHA), fast=fast)
    design = InversionDesign.placed(rule, Card.load("discrete_100mhz"))
    x = 2 * torch.rand(samples, sizes[0], dtype=torch.float64, generator=source) - 1
    target = 0.15 * torch.randn(samples, sizes[-1], dtype=torch.float64, generator=source)
    return InversionStudy(design, x, target, Grid(0.1, round(duration / 0.1)))


def _cpu() -> float:
    """Seconds that this process and the simulators that have ended have computed."""
    return sum(os.times()[:4])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--chips", type=int, default=5, help="chips of each form [5]")
    parser.add_argument("--samples", type=int, default=2, help="samples of each [2]")
    parser.add_argument("--duration", type=float, default=20.0, help="units of time [20]")
    given = parser.parse_args(arguments)
    simulator = get_simulator("ngspice", "auto")
    torch.set_num_threads(1)
    table = Table(title="Worst of the chips, %", title_justify="left")
    names = ("form", "network", "ideal cells:\nsignal", "ideal cells:\nupdate", "model:\nsignal",
             "model:\nupdate", "CPU s")  # fmt: skip
    for name in names:
        table.add_column(name, justify="left" if name in names[:2] else "right", no_wrap=True)
    missed = False
    with tqdm(total=given.chips * len(FORMS), file=sys.stderr, disable=None, leave=False) as bar:
        for form, (_, sizes, _) in FORMS.items():
            found: list[tuple[Comparison, Comparison]] = []
            start = _cpu()
            for seed in range(given.chips):
                ideal, model, _ = (
                    study(form, seed, given.samples, given.duration)
                    .run(
                        Equations(),
                        Behaviour(seed),
                        InversionCells("ideal", simulator),
                        InversionCells("macro", simulator, seed=seed),
                    )
                    .comparisons
                )
                found.append((ideal, model))
                bar.update()
            worst = [
                100 * max(value)
                for value in (
                    [i.worst_signal for i, _ in found],
                    [i.updates["all"].error for i, _ in found],
                    [m.worst_signal for _, m in found],
                    [m.updates["all"].error for _, m in found],
                )
            ]
            bars = (IDEAL_BAR, IDEAL_BAR, MODEL_BAR, MODEL_BAR)
            missed |= any(w > b for w, b in zip(worst, bars, strict=True))
            seconds = _cpu() - start
            table.add_row(
                form, "-".join(map(str, sizes)), *(f"{w:.3g}" for w in worst), f"{seconds:.0f}"
            )
    console = Console(width=100)
    console.print(table)
    console.print(
        f"bars: ideal cells {IDEAL_BAR:g} %, model {MODEL_BAR:g} %: "
        f"{'MISSED' if missed else 'kept'}; {given.chips} chips, {given.samples} samples, alpha = "
        f"{ALPHA:g}, {given.duration:g} units of time"
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
