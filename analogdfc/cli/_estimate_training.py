"""The training that `analogdfc estimate --target-accuracy` lays beside the digital one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from rich.table import Table

from analogdfc.cards.device import DeviceCard
from analogdfc.cases import digits_for
from analogdfc.cli._design import progress_bar
from analogdfc.cli._options import Count, Finite, bundled
from analogdfc.cli._where import Where
from analogdfc.cost.estimate import Estimate
from analogdfc.digital import Row
from analogdfc.digital.training import band_text, engineering
from analogdfc.errors import UserError
from analogdfc.jobs import Spool
from analogdfc.onchip.bill import DEVICE, Trained, trained

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class TrainingOptions:
    """What the command line says of the training."""

    target_accuracy: float | None
    device: str | None
    epochs: int
    training_seeds: int


TRAINING = ("device", "epochs", "training_seeds")
"""Arguments of a training that only there is with a target."""


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the training; adds them to a command as one argument `training`."""
    options = [
        click.option(
            "--target-accuracy",
            type=Finite(min=0, max=1, min_open=True),
            help="Train through the hardware, by the ideal rule and by backpropagation until this "
            "share of the held-out images is right, and say what that takes.",
        ),
        click.option(
            "--device",
            help="Device card of the weights that are trained.  [default: the chip's devices, else "
            f"{DEVICE}]",
        ),
        click.option(
            "--epochs",
            type=Count(1),
            default=20,
            show_default=True,
            help="Budget of the training.",
        ),
        click.option(
            "--training-seeds",
            type=Count(1),
            default=3,
            show_default=True,
            help="Trainings of each rule: initial weights, chips and devices.",
        ),
    ]
    command = bundled("training", TrainingOptions)(command)
    for option in reversed(options):
        command = option(command)
    return command


def check_trainable(design_sizes: Sequence[int], options: TrainingOptions) -> None:
    """Make sure that a training can be done, before long work.

    Raises:
        UserError: no data for these sizes, or an unknown device.
    """
    if options.target_accuracy is None:
        return
    if digits_for(design_sizes) is None:
        raise UserError(
            f"--target-accuracy: there are images for 16 or 64 inputs and 10 outputs, not for "
            f"{'-'.join(map(str, design_sizes))}"
        )
    if options.device is not None:
        DeviceCard.load(options.device)


def train_as_asked(
    found: Estimate,
    rows: Sequence[Row],
    options: TrainingOptions,
    spool: Spool | None,
    where: Where,
    jobs: int | None,
) -> Trained | None:
    """Train, and add up what it costs; None where it wasn't asked for."""
    if options.target_accuracy is None:
        return None
    data = digits_for(found.design.sizes)
    assert data is not None
    seeds = range(options.training_seeds)
    runs = 3 * len(seeds)
    with (
        progress_bar("training", runs * options.epochs * len(data.x)) as bar,
        where.open(jobs, runs, kept=None if spool is None else spool.folder) as pool,
    ):
        return trained(
            found,
            rows,
            data,
            target=options.target_accuracy,
            device=options.device,
            epochs=options.epochs,
            seeds=seeds,
            spool=spool,
            executor=pool,
            progress=bar.update,
        )


def training_table(training: Trained) -> Table:
    """Samples, time and energy to the target."""
    convergence = training.convergence
    title = f"Training until {convergence.target:.1%} of the held-out images are right"
    table = Table(title=title, title_justify="left")
    table.add_column("rule", no_wrap=True)
    for head in ("best\n%", "samples\nto the target", "time\non the chip", "energy"):
        table.add_column(head, justify="right", no_wrap=True)
    names = {"hardware": "through the hardware", "dfc-ss": "ideal dfc-ss, digital",
             "bp": "backpropagation, digital"}  # fmt: skip
    for rule in convergence.rules:
        runs = convergence.of(rule)
        best = [100 * convergence.best(run) for run in runs]
        reached = [n for n in convergence.samples_to_target(rule) if n is not None]
        cells = [_range(best, lambda percent: f"{percent:.1f}")]
        cells.append(_range(reached, str) or "not reached")
        if len(reached) < len(runs) and reached:
            cells[-1] += f" ({len(runs) - len(reached)} of {len(runs)} not)"
        time = energy = ""
        if rule == "hardware":
            seconds = [c.time for c in training.chip if c.time is not None]
            joules = [c.energy for c in training.chip if c.energy is not None]
            time = _range(seconds, lambda value: engineering(value, "s"))
            energy = _range(joules, lambda value: engineering(value, "J"))
        elif rule in training.digital and reached:
            energy = band_text(training.digital[rule].scaled(sum(reached) / len(reached)))
        table.add_row(names.get(rule, rule), *cells, time, energy)
    return table


def _range(values: Sequence[_Number], text: Callable[[_Number], str]) -> str:
    """The least and the most of some numbers, once where they read the same; '' for none."""
    if not values:
        return ""
    low, high = text(min(values)), text(max(values))
    return low if low == high else f"{low} .. {high}"
