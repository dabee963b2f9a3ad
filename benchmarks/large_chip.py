"""What does a chip need so that 784-256-256-256-10 learns Fashion-MNIST on it?

`OMP_NUM_THREADS=1 python -m benchmarks.large_chip` (an hour on one core)
`python -m benchmarks.large_chip --parts causes --images 12800 --epochs 1` (minutes)

The ideal rule is DFC-SSA with the published settings and fixed feedback; the chip learns from its
updates at rest, `dfc-chip`, with the same rate, order of samples and clipping. Part `chip` trains
both, some seeds each, and prints the difference, what a step costs of the ideal one, and the chip's
specification. Part `causes` changes one figure of the chip at a time. Finished trainings are kept
in `--folder` and taken from there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from analogdfc.cards.technology import Card
from analogdfc.controller import PI
from analogdfc.jobs import Progress, Run, Spool, run_kept
from analogdfc.onchip.registry import HardwareDFC
from analogdfc.onchip.substrate import CARD, ChipSubstrate
from analogdfc.presets import load_preset
from analogdfc.records import Record, Tree
from analogdfc.training.experiment import Experiment

PRESET, IDEAL = "fashion-mnist", "dfc-ssa"

POINTS_BAR, STEP_BAR = 2.0, 2.0
"""Points of test error that the chip may lose, and CPU time of a step over that of the ideal."""

SHOWN, ROUNDS = 8, 5
"""Mini-batches over which a step is timed, and how often, ideal rule and chip in turn."""

TARGET_STEP = 1.0
"""Of the chip's output target along one sample's loss gradient: of volts, not of microvolts."""

TILE = 128
"""Rows and columns of the largest array."""

Change = tuple[str, str, float | None]
"""Section, entry and SI value of a card; None leaves the entry out, which is ideal."""

DESIGN: tuple[Change, ...] = (("wire", "rows", TILE), ("wire", "columns", TILE))
"""What the chip has in place of the card's own figures."""

CAUSES: dict[str, tuple[tuple[str, tuple[Change, ...]], ...]] = {
    "offset of amplifiers and cells": tuple(
        (f"{1e3 * v:g} mV", (("amplifier", "offset", v), ("tanh", "offset", v)))
        for v in (1e-4, 3e-3, 1e-2)
    ),
    "levels of a device": tuple(
        (f"{v}", (("device", "levels", float(v)),)) for v in (16, 64, 1024)
    ),
    "deviation of a device": tuple(
        (f"{100 * v:g} %", (("device", "mismatch", v),)) for v in (0.05, 0.1)
    ),
    "rows of a tile": tuple(
        (name, (("wire", "rows", v), ("wire", "columns", v)))
        for name, v in (("32", 32.0), ("512", 512.0), ("no tiles", None))
    ),
    "gain of an amplifier": tuple((f"{v:g}", (("amplifier", "gain", v),)) for v in (100.0, 1000.0)),
}

STEPS = (0.01, 0.1)
"""Target steps beside that of the chip."""


@dataclass(frozen=True)
class Learned(Run[tuple[float, float]]):
    """A training; gives the share of wrong answers in the test, and the CPU seconds that it took.

    Attributes:
        chip: through the chip, else by the ideal rule.
        changes: of the card, in order.
        target_step: of the chip.
        images: to learn from; None for all.
        epochs: over them.
        seed: of weights, order and chip.
    """

    chip: bool
    changes: tuple[Change, ...]
    target_step: float
    images: int | None
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """See `Task.name`."""
        return f"{'chip' if self.chip else IDEAL}, seed {self.seed}"

    def run(self, progress: Progress) -> tuple[float, float]:
        """See `Task.run`."""
        experiment = self.experiment()
        trainer = experiment.trainer(experiment.load())
        start = time.process_time()
        trainer.run()
        progress(1)
        return trainer.history[-1].test.error, time.process_time() - start

    def pack(self, result: tuple[float, float]) -> Tree:
        """See `Run.pack`."""
        return {"error": result[0], "cpu_seconds": result[1]}

    def unpack(self, record: Record) -> tuple[float, float]:
        """See `Run.unpack`."""
        return record.number("error"), record.number("cpu_seconds")

    def experiment(self) -> Experiment:
        """What is trained."""
        base = load_preset(PRESET).experiment(IDEAL, "fixed")
        made = replace(
            base,
            samples=self.images,
            seed=self.seed,
            plan=replace(base.plan, epochs=self.epochs),
        )
        if not self.chip:
            return made
        # The published loop of DFC-SSA has no proportional part, which a chip needs for its speed.
        alpha = base.options["controller"].alpha
        substrate = ChipSubstrate(card=self.card(), controller=PI(k_p=1.0, alpha=alpha))
        options = {"target_stepsize": self.target_step}
        return replace(made, rule="dfc-chip", substrate=substrate, options=options)

    def card(self) -> Card:
        """The chip's technology."""
        card = Card.load(CARD)
        for section, entry, value in self.changes:
            card = card.replace(section, **{entry: value})
        card.check()
        return card


class Row(NamedTuple):
    """A line of the table of causes.

    Attributes:
        cause: what is changed.
        value: what it is.
        run: the training.
    """

    cause: str
    value: str
    run: Learned


def causes(images: int | None, epochs: int) -> Iterator[Row]:
    """The ideal, the chip, and the chip with one thing changed.

    Args:
        images: to learn from.
        epochs: over them.
    """
    chip = Learned(True, DESIGN, TARGET_STEP, images, epochs, 0)
    yield Row("ideal rule", "", replace(chip, chip=False, changes=()))
    yield Row("the chip", "", chip)
    for step in STEPS:
        yield Row("target step", f"{step:g}", replace(chip, target_step=step))
    for cause, values in CAUSES.items():
        for value, changes in values:
            yield Row(cause, value, replace(chip, changes=(*DESIGN, *changes)))


def step_ratio() -> float:
    """CPU time of a step through the chip over that of the ideal rule: median of some rounds.

    In each round both go through the same mini-batches, one after the other, on one thread.
    """
    ideal = Learned(False, (), TARGET_STEP, None, 1, 0)
    experiments = [run.experiment() for run in (ideal, replace(ideal, chip=True, changes=DESIGN))]
    data = experiments[0].load()
    size = experiments[0].plan.batch_size
    rules = [experiment.trainer(data).rule for experiment in experiments]
    assert isinstance(rules[1], HardwareDFC)
    ratios: list[float] = []
    for _ in range(ROUNDS):
        spent: list[float] = []
        for rule in rules:
            for k in range(-2, SHOWN):
                if k == 0:  # the first ones warm up
                    start = time.process_time()
                part = slice((k + 2) * size, (k + 3) * size)
                rule.backward(data.x[part], data.y[part])
            spent.append(time.process_time() - start)
        ratios.append(spent[1] / spent[0])
    return median(ratios)


def learned(runs: Sequence[Learned], folder: Path) -> list[tuple[float, float]]:
    """Test errors and CPU seconds of trainings, those of earlier calls from the folder."""
    with Spool(folder) as spool:
        return list(run_kept(list(runs), spool))


def show_chip(images: int | None, epochs: int, seeds: int, folder: Path) -> bool:
    """Print the ideal and the chip side by side; whether a bar is missed."""
    chips = [Learned(True, DESIGN, TARGET_STEP, images, epochs, seed) for seed in range(seeds)]
    ideals = [replace(run, chip=False, changes=()) for run in chips]
    found = learned([*ideals, *chips], folder)
    table = Table(title=f"Fashion-MNIST, 784-256-256-256-10, {epochs} epochs: test error in %")
    for column in ("seed", IDEAL, "chip", "points lost"):
        table.add_column(column, justify="right")
    errors = [[100 * error for error, _ in part] for part in (found[:seeds], found[seeds:])]
    for seed, (ideal, chip) in enumerate(zip(*errors, strict=True)):
        table.add_row(str(seed), f"{ideal:.2f}", f"{chip:.2f}", f"{chip - ideal:+.2f}")
    Console().print(table)
    lost, ratio = mean(errors[1]) - mean(errors[0]), step_ratio()
    print(f"lost on the mean: {lost:+.2f} points (bar {POINTS_BAR:g})")
    print(f"CPU time of a step, chip over ideal rule: {ratio:.2f} (bar {STEP_BAR:g})")
    print(f"CPU seconds of a training: ideal {found[0][1]:.0f}, chip {found[seeds][1]:.0f}")
    print(f"chip: {CARD} in tiles of {TILE}, target step {TARGET_STEP:g}")
    return lost > POINTS_BAR or ratio > STEP_BAR


def show_causes(images: int | None, epochs: int, folder: Path) -> None:
    """Print what each change of the chip does to what it learns."""
    rows = list(causes(images, epochs))
    found = learned([row.run for row in rows], folder)
    count = "all" if images is None else str(images)
    table = Table(title=f"Fashion-MNIST, {count} images, {epochs} epochs, seed 0: test error in %")
    table.add_column("what is changed")
    for column in ("to", "error %", "over the ideal rule"):
        table.add_column(column, justify="right")
    for row, (error, _) in zip(rows, found, strict=True):
        more = f"{100 * (error - found[0][0]):+.2f}"
        table.add_row(row.cause, row.value, f"{100 * error:.2f}", more)
    Console().print(table)


def main() -> int:
    """Print the parts asked for; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=["chip", "causes"], default=["chip"])
    parser.add_argument("--epochs", type=int, default=5, help="of each training")
    parser.add_argument("--seeds", type=int, default=3, help="of part chip")
    parser.add_argument("--images", type=int, help="to learn from  [default: all]")
    parser.add_argument("--folder", type=Path, default=Path("large_chip"), help="of trainings")
    given = parser.parse_args()
    torch.set_num_threads(1)
    missed = False
    if "causes" in given.parts:
        show_causes(given.images, given.epochs, given.folder)
    if "chip" in given.parts:
        missed = show_chip(given.images, given.epochs, given.seeds, given.folder)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
