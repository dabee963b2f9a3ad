"""What does a chip need so that 784-256-256-256-10 learns Fashion-MNIST on it?

`OMP_NUM_THREADS=1 python -m benchmarks.large_chip` (an hour on one core)
`python -m benchmarks.large_chip --parts causes --images 12800 --epochs 1` (minutes)
`python -m benchmarks.large_chip --parts cost` (a minute)
`python -m benchmarks.large_chip --parts paths --images 6400 --epochs 1` (six minutes)

The ideal rule is DFC-SSA with the published settings and fixed feedback; the chip learns from its
updates at rest, `dfc-chip`, with the same rate, order of samples and clipping. Part `chip` trains
both, some seeds each, and prints the difference, what a step costs of the ideal one, and the chip's
specification. Part `causes` changes one thing of the chip at a time; part `paths` gives it each of
the update paths, which form the product of every sample, two to four seconds a mini-batch, so that
only a short training is affordable; its one seed alone moves a figure by a point. All print time
and energy of a sample and the area beside it, as `analogdfc estimate` finds them in closed form, of
the chip with the weights that it starts from. The chip's card describes no path for the update;
`chip` and `cost` print the cost with each of the three ways to hold what it needs and form it, too,
as the package's cards have them. Finished trainings are kept in `--folder` and taken from there.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from analogdfc.analysis.noise import ReadingNoise
from analogdfc.cards.technology import Card
from analogdfc.circuit.devices import Devices
from analogdfc.controller import PI
from analogdfc.datasets import Dataset
from analogdfc.errors import ConvergenceError
from analogdfc.jobs import Progress, Run, Spool, run_kept
from analogdfc.onchip.bill import sample_cost
from analogdfc.onchip.registry import HardwareDFC
from analogdfc.onchip.substrate import CARD, ChipSubstrate
from analogdfc.presets import load_preset
from analogdfc.records import Record, Tree
from analogdfc.training.experiment import Experiment

PRESET, IDEAL = "fashion-mnist", "dfc-ssa"

POINTS_BAR, STEP_BAR = 2.0, 2.0
"""Points of test error that the chip may lose, and CPU time of a step over that of the ideal."""

PARTS = ("chip", "cost", "causes", "paths")

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

_ZEROED = Card.load("auto_zero_100mhz").auto_zero.model_dump()

AUTO_ZERO: tuple[Change, ...] = tuple(("auto_zero", key, value) for key, value in _ZEROED.items())
"""The auto-zero of the neurons, as the card of the package that has one has it."""


def _update_path(kind: str) -> tuple[Change, ...]:
    """What the card of the package with such an update path has beyond one without."""
    card = Card.load(f"update_{kind}")
    return tuple(
        (section, key, value)
        for section in ("hold", kind)
        for key, value in getattr(card, section).model_dump().items()
        if value is not None
    )


UPDATE_PATHS = {
    "not in": (),
    "coincidence pulses": _update_path("pulses"),
    "multiplier and converter a column, row by row": _update_path("multiplier"),
    "converters and a digital product, then write-verify": _update_path("digital"),
}
"""What forms and writes the product of the update, with its track-and-holds."""


def _offsets(volts: float) -> tuple[Change, ...]:
    return ("amplifier", "offset", volts), ("tanh", "offset", volts)


CAUSES: dict[str, tuple[tuple[str, tuple[Change, ...]], ...]] = {
    "offset of amplifiers and cells": tuple(
        (f"{1e3 * v:g} mV", _offsets(v)) for v in (1e-4, 3e-3, 1e-2)
    ),
    "auto-zero of the neurons, offset": tuple(
        (f"{1e3 * v:g} mV", (*_offsets(v), *AUTO_ZERO)) for v in (1e-3, 1e-2, 3e-2)
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

DEVICES = ("ecram_mo_kim2019", "rram_optimised_gong2022", "pcm_nandakumar2019")
"""What holds the weights in place of conductances that are set: pulsed, or written in granules."""

READING = ReadingNoise(settle=10e-6, free=5e-6)
"""How long an update is read."""

NOISES: tuple[tuple[str, ReadingNoise, tuple[Change, ...]], ...] = (
    ("means over 10 and 5 us", READING, ()),
    ("the free phase sampled", replace(READING, free=0.0), ()),
    ("the same, amplifiers of 100 nV", replace(READING, free=0.0), (("amplifier", "noise", 1e-7),)),
)
"""Noise of the reading: of amplifiers and resistors, under control and in the free phase."""


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
        device: card of what holds the weights; empty for conductances that are set.
        noise: of the reading; None for none.
    """

    chip: bool
    changes: tuple[Change, ...]
    target_step: float
    images: int | None
    epochs: int
    seed: int
    _: KW_ONLY
    device: str = ""
    noise: ReadingNoise | None = None

    @property
    def name(self) -> str:
        """See `Task.name`."""
        return f"{'chip' if self.chip else IDEAL}, seed {self.seed}"

    def run(self, progress: Progress) -> tuple[float, float]:
        """See `Task.run`."""
        experiment = self.experiment()
        trainer = experiment.trainer(data_of(self.images, self.seed))
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
        devices = Devices.of(self.device) if self.device else None
        controller = PI(k_p=1.0, alpha=alpha)
        substrate = ChipSubstrate(card=self.card(), devices=devices, controller=controller)
        options = {"target_stepsize": self.target_step, "noise": self.noise}
        return replace(made, rule="dfc-chip", substrate=substrate, options=options)

    def card(self) -> Card:
        """The chip's technology."""
        card = Card.load(CARD)
        for section, entry, value in self.changes:
            card = card.replace(section, **{entry: value})
        card.check()
        return card


@cache
def data_of(images: int | None, seed: int) -> Dataset:
    """What is learned.

    Args:
        images: to learn from; None for all.
        seed: of the order in which they are set aside for validation.
    """
    return Learned(False, (), TARGET_STEP, images, 1, seed).experiment().load()


class Cost(NamedTuple):
    """What a sample costs on a chip; nan where its loop doesn't settle.

    Attributes:
        seconds: its time, with the product of the update where the card describes its path.
        joules: its energy, with the same.
        square_metres: area of the chip.
    """

    seconds: float
    joules: float
    square_metres: float


PRICED = 4
"""Images over which the cost of a sample is a mean."""


@dataclass(frozen=True)
class Priced(Run[Cost]):
    """The cost of a sample on the chip of a training, with the weights at its start.

    Attributes:
        of: the training.
    """

    of: Learned

    @property
    def name(self) -> str:
        """See `Task.name`."""
        return f"cost of {self.of.name}"

    def run(self, progress: Progress) -> Cost:
        """See `Task.run`."""
        experiment, data = self.of.experiment(), data_of(self.of.images, self.of.seed)
        rule = experiment.trainer(data).rule
        assert isinstance(rule, HardwareDFC)
        try:
            found = sample_cost(rule, data.x[:PRICED], data.y[:PRICED], self.of.seed)
        except ConvergenceError:
            return Cost(math.nan, math.nan, math.nan)
        progress(1)
        return Cost(found.seconds, found.joules, found.area.total)

    def pack(self, result: Cost) -> Tree:
        """See `Run.pack`."""
        return result._asdict()

    def unpack(self, record: Record) -> Cost:
        """See `Run.unpack`."""
        return Cost(*(record.number(name) for name in Cost._fields))


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
    for value, noise, changes in NOISES:
        run = replace(chip, changes=(*DESIGN, *changes), noise=noise)
        yield Row("noise of the reading", value, run)
    for device in DEVICES:
        yield Row("devices that are written", device, replace(chip, device=device))


def paths(images: int | None, epochs: int) -> Iterator[Row]:
    """The ideal, the chip, and the chip with each of the update paths.

    Args:
        images: to learn from.
        epochs: over them.
    """
    chip = Learned(True, DESIGN, TARGET_STEP, images, epochs, 0)
    yield Row("ideal rule", "", replace(chip, chip=False, changes=()))
    for name, changes in UPDATE_PATHS.items():
        yield Row("update path", name, replace(chip, changes=(*DESIGN, *changes)))


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


def costs(runs: Sequence[Learned], folder: Path) -> list[Cost]:
    """Cost of a sample on the chips of trainings, those of earlier calls from the folder."""
    with Spool(folder) as spool:
        return list(run_kept([Priced(run) for run in runs], spool))


def cost_cells(cost: Cost) -> tuple[str, str, str]:
    """Microseconds, microjoules and square millimetres."""
    return (
        f"{1e6 * cost.seconds:.3g}",
        f"{1e6 * cost.joules:.3g}",
        f"{1e6 * cost.square_metres:.3g}",
    )


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
    show_cost(chips[0], folder)
    print(f"chip: {CARD} in tiles of {TILE}, target step {TARGET_STEP:g}")
    return lost > POINTS_BAR or ratio > STEP_BAR


def show_cost(chip: Learned, folder: Path) -> None:
    """Print what a sample costs on a chip, without and with the ways to form its update.

    Args:
        chip: a training through it; that is not done.
        folder: where costs that were found are kept.
    """
    table = Table(title="784-256-256-256-10: a sample, and the chip")
    table.add_column("track-and-holds and product of the update", justify="left")
    for column in ("us", "uJ", "mm^2"):
        table.add_column(column, justify="right")
    paths = [replace(chip, changes=(*chip.changes, *path)) for path in UPDATE_PATHS.values()]
    for name, cost in zip(UPDATE_PATHS, costs(paths, folder), strict=True):
        table.add_row(name, *cost_cells(cost))
    Console().print(table)


def show_changes(rows: Sequence[Row], folder: Path) -> None:
    """Print what each change of the chip does to what it learns.

    Args:
        rows: the ideal rule first.
        folder: where what was found is kept.
    """
    images, epochs = rows[0].run.images, rows[0].run.epochs
    found = learned([row.run for row in rows], folder)
    chips = [row.run for row in rows if row.run.chip]
    priced = dict(zip(chips, costs(chips, folder), strict=True))
    count = "all" if images is None else str(images)
    table = Table(title=f"Fashion-MNIST, {count} images, {epochs} epochs, seed 0: test error in %")
    table.add_column("what is changed")
    for column in ("to", "error %", "over the ideal rule", "us", "uJ", "mm^2"):
        table.add_column(column, justify="right")
    for row, (error, _) in zip(rows, found, strict=True):
        more = f"{100 * (error - found[0][0]):+.2f}"
        cells = cost_cells(priced[row.run]) if row.run.chip else ("", "", "")
        table.add_row(row.cause, row.value, f"{100 * error:.2f}", more, *cells)
    Console().print(table)


def main() -> int:
    """Print the parts asked for; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["chip"])
    parser.add_argument("--epochs", type=int, default=5, help="of each training")
    parser.add_argument("--seeds", type=int, default=3, help="of part chip")
    parser.add_argument("--images", type=int, help="to learn from  [default: all]")
    parser.add_argument("--folder", type=Path, default=Path("large_chip"), help="of trainings")
    given = parser.parse_args()
    torch.set_num_threads(1)
    missed = False
    if "causes" in given.parts:
        show_changes(list(causes(given.images, given.epochs)), given.folder)
    if "paths" in given.parts:
        show_changes(list(paths(given.images, given.epochs)), given.folder)
    if "cost" in given.parts:
        one = Learned(True, DESIGN, TARGET_STEP, given.images, given.epochs, 0)
        show_cost(one, given.folder)
    if "chip" in given.parts:
        missed = show_chip(given.images, given.epochs, given.seeds, given.folder)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
