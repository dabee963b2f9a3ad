"""`analogdfc size`: the least circuit whose weight update keeps an angle."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from analogdfc import records, trees
from analogdfc.cases import Stimuli
from analogdfc.circuit.design import Design
from analogdfc.cli import _size
from analogdfc.cli._design import (
    ENGINE,
    JSON,
    SOLVER,
    TARGET_STEPSIZE,
    TIME_LIMIT,
    Switches,
    design_options,
    make_design,
    make_model,
    make_stimuli,
    progress_bar,
    read_card,
)
from analogdfc.cli._given import given, learned_on
from analogdfc.cli._lesson import OPTIONS, TAKEN, Course, size_by_training
from analogdfc.cli._options import (
    Control,
    Count,
    Finite,
    as_options,
    bundled,
    check_outputs,
    control_options,
    refuse,
    refuse_others,
    settings,
)
from analogdfc.cli._where import Where, where_options
from analogdfc.effort import long_work
from analogdfc.errors import UserError
from analogdfc.files import beside, check_apart, stamped, write_whole
from analogdfc.jobs import check_spool
from analogdfc.plots import save_figure
from analogdfc.sizing.figure import sizing_figure
from analogdfc.sizing.finding import Options, Sizing, simulation_seconds, size
from analogdfc.sizing.report import numbers, tree
from analogdfc.sizing.specification import REQUIREMENTS, parse_fixed, parse_ranges
from analogdfc.sizing.trial import Problem
from analogdfc.spice.engines import get_simulator

# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Examples:
  analogdfc size --max-angle 5 --sizes 16-10-10 -o size.h5
  analogdfc size --max-angle 4 --fix gain=1e4 --range offset=10uV:1mV -o tight.h5
  analogdfc size --accuracy 2 --dataset digits --epochs 3 -o learns.h5
"""


@dataclass(frozen=True)
class _Bounds:
    """What a design has to keep, and on what."""

    max_angle: float
    samples: int
    chips: int
    target_stepsize: float | None
    duration: float
    phase_margin: float
    safety: float


@dataclass(frozen=True)
class _Effort:
    """How the search and its verification are run."""

    unseen: int
    trials: int
    storage: Path | None
    jobs: int | None
    verify: bool
    circuits: int
    engine: str
    solver: str
    time_limit: float


def _lesson_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a sizing by training."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command(
    "size",
    short_help="Find the least circuit whose update keeps an angle.",
    epilog=_EXAMPLES,
)
@click.option(
    "--max-angle",
    type=Finite(min=0, max=90, min_open=True, max_open=True),
    default=5.0,
    show_default=True,
    help="Bound on the angle between a chip's weight update and the ideal one, in degrees.",
)
@design_options
@control_options
@click.option(
    "--samples",
    type=Count(1),
    default=4,
    show_default=True,
    help="Held-out images whose mean update is compared.",
)
@click.option(
    "--chips",
    type=Count(1),
    default=4,
    show_default=True,
    help="Chips with components drawn anew, from --chip-seed on; the worst has to keep the bound.",
)
@click.option(
    "--unseen",
    type=Count(0),
    default=40,
    show_default=True,
    help="Further chips on which the result is tried.",
)
@TARGET_STEPSIZE
@click.option(
    "--duration",
    type=Finite(min=1),
    default=20.0,
    show_default=True,
    help="Length of a sample's controlled phase, in units of tau_u; the loop has to settle in it.",
)
@click.option(
    "--phase-margin",
    type=Finite(min=0, max=90, min_open=True),
    default=30.0,
    show_default=True,
    help="Least phase margin of the loop, in degrees.",
)
@click.option(
    "--safety",
    type=Finite(min=0, max=1, min_open=True),
    default=0.9,
    show_default=True,
    help="Part of the bound that the static model aims at.",
)
@click.option(
    "--fix",
    "fixed",
    multiple=True,
    metavar="NAME=VALUE",
    help=f"Give a requirement instead of seeking it; one of {', '.join(REQUIREMENTS)}.",
)
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="NAME=LOW:HIGH",
    help="Seek a requirement in another range.",
)
@click.option(
    "--trials",
    type=Count(1),
    default=144,
    show_default=True,
    help="Designs that the search tries, in generations of 24.",
)
@click.option(
    "--storage",
    type=click.Path(path_type=Path),
    help="Folder of what was found on the way: a search that was interrupted goes on from it, and "
    "one with more --trials.  [default: the output with the ending .runs]",
)
@click.option("--jobs", type=Count(1), help="Processes at work.  [default: cores]")
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Simulate the result in the full behavioural model and in ngspice, and tighten it where "
    "it breaks the bound.",
)
@click.option(
    "--circuits",
    type=Count(1),
    default=1,
    show_default=True,
    help="Chips simulated in ngspice, the worst first; the behavioural model has all of them.",
)
@ENGINE
@SOLVER
@TIME_LIMIT
@JSON
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("size.h5"),
    show_default=True,
    help="Record to write (HDF5); the figure goes beside it as .png, the sized technology card as "
    ".toml.",
)
@where_options
@_lesson_options
@bundled("course", Course)
@bundled("bounds", _Bounds)
@bundled("effort", _Effort)
def command(
    weights: Path | None,
    sizes: tuple[int, ...] | None,
    card: str,
    seed: int,
    chip_seed: int | None,
    output: Path,
    as_json: bool,
    fixed: tuple[str, ...],
    ranges: tuple[str, ...],
    switches: Switches,
    control: Control,
    where: Where,
    course: Course,
    bounds: _Bounds,
    effort: _Effort,
) -> None:
    """Find the least circuit whose weight update keeps an angle.

    Seeks the least gain, bandwidth, slew rate, levels and window, the most offset, noise and wire
    resistance, and where the card has an update path its least hold capacitor and resolution, with
    which the update stays within the angle of the ideal one, at little
    energy; prints them as a specification, and simulates it. A network that learned through a chip
    brings that chip's card and seeds, where no option says otherwise; not its devices, since their
    window and levels are what is sought.

    With --accuracy short trainings through the chip at rest decide instead of an angle, and nothing
    is simulated: from the card's own values each requirement is loosened as far as the network
    learns the data set within so many points of the ideal rule, which is tried on fresh seeds. What
    a training takes is told before they start; the record and the card are written, no figure.
    """
    torch.set_num_threads(1)
    if course.accuracy is not None:
        refuse_others("--accuracy seeks a chip by trainings, on which it has no effect", *TAKEN)
        size_by_training(
            course,
            read_card(card),
            sizes,
            seed,
            (parse_fixed(fixed), parse_ranges(ranges)),
            (output, _check_outputs(output, effort.storage, (card,))),
            (where, effort.jobs),
            as_json=as_json,
        )
        return
    why = "there are trainings with --accuracy alone"
    refuse(why, "dataset", "epochs", "images", "trainings")
    if not effort.verify:
        why = "--no-verify leaves the simulations out"
        refuse(why, "circuits", "engine", "solver", "time_limit")
    requirements = parse_fixed(fixed), parse_ranges(ranges)
    storage = _check_outputs(output, effort.storage, (weights, card))
    chip = given(learned_on(weights), card, (seed, chip_seed), switches, on_devices=False)
    simulator = get_simulator(effort.engine, effort.solver) if effort.verify else None
    seed, first = chip.seeds
    model, origin = make_model(weights, sizes, seed, control)
    origin += chip.note
    design = make_design(model, chip.card, chip.switches)
    data = make_stimuli(model.network, bounds.samples, seed, bounds.target_stepsize)
    problem = _problem(design, data, bounds, requirements, (seed, first))
    how = _options(effort, storage)
    for remark in long_work(simulation_seconds(problem, how)) if effort.verify else []:
        click.echo(f"Warning: {remark}", err=True)
    with (
        as_options("max_angle", "phase_margin"),
        _Bars(effort.trials) as bars,
        where.open(effort.jobs, kept=storage) as executor,
    ):
        found = size(problem, simulator, how, bars.advance, executor)
    records.write(output, {**tree(model, found, data), "settings": settings()})
    figure = save_figure(sizing_figure(found), beside(output, ".png"))
    sized = beside(output, ".toml")
    _write_card(sized, found)
    if not as_json:
        _size.show(found, origin, data)
        click.echo(f"wrote {output}, {figure} and {sized}; what was tried in {storage}")
        return
    about = {"network": "-".join(map(str, design.sizes)), "origin": origin, "seed": seed}
    whole = {**about, "samples": data.source, **numbers(found)}
    click.echo(json.dumps(trees.as_json(whole), indent=2))


def _problem(
    design: Design,
    data: Stimuli,
    bounds: _Bounds,
    requirements: tuple[Mapping[str, float], Mapping[str, tuple[float, float]]],
    seeds: tuple[int, int],
) -> Problem:
    """What is sought: on the command line's samples, on its chips.

    Args:
        design: the design that is varied.
        data: the samples.
        bounds: what it has to keep.
        requirements: those that are fixed, and ranges of others.
        seeds: of the search, and of the first chip.
    """
    fixed, ranges = requirements
    seed, first = seeds
    return Problem.of(
        design,
        data.x,
        data.step,
        seeds=range(first, first + bounds.chips),
        max_angle=bounds.max_angle,
        fixed=fixed,
        ranges=ranges,
        safety=bounds.safety,
        duration=bounds.duration,
        phase_margin=bounds.phase_margin,
        seed=seed,
    )


def _options(effort: _Effort, storage: Path) -> Options:
    """How it is sought."""
    return Options(
        effort.trials,
        effort.jobs or os.cpu_count() or 1,
        storage,
        effort.unseen,
        effort.circuits,
        effort.time_limit,
    )


def _check_outputs(output: Path, storage: Path | None, read: tuple[str | Path | None, ...]) -> Path:
    """Where the trials are kept; refuses what can't be written before work begins."""
    storage = storage or beside(output, ".runs")
    others = [beside(output, ending) for ending in (".png", ".toml")]
    check_apart([output, *others, storage], [Path(path) for path in read if path is not None])
    check_outputs(output, *others)
    check_spool(storage)
    return storage


def _write_card(path: Path, found: Sizing) -> None:
    try:
        write_whole(path, stamped(found.card_text, "#").encode())
    except OSError as error:
        raise UserError(f"{path}: can't be written: {error.strerror}") from error


class _Bars:
    """A progress bar for each stage, one after another."""

    def __init__(self, trials: int) -> None:
        self._totals: dict[str, int] = {"search": trials}
        self._stage = ""
        self._bar: tqdm[Any] | None = None

    def advance(self, stage: str, done: int) -> None:
        if stage != self._stage or self._bar is None:
            self.__exit__()
            self._stage = stage
            self._bar = progress_bar(stage, self._totals.get(stage, 0))
        self._bar.update(done)

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
