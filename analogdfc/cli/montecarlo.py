"""`analogdfc montecarlo`: many chips of one design against a bound."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from analogdfc import records, trees
from analogdfc.cases import Stimuli
from analogdfc.circuit.design import Design
from analogdfc.cli import _montecarlo
from analogdfc.cli._design import (
    ENGINE,
    JSON,
    SOLVER,
    TARGET_STEPSIZE,
    TIME_LIMIT,
    Bars,
    Switches,
    design_options,
    device_options,
    make_design,
    make_model,
    make_stimuli,
)
from analogdfc.cli._given import given, learned_on
from analogdfc.cli._options import (
    Control,
    Count,
    Finite,
    bundled,
    check_outputs,
    control_options,
    refuse,
    settings,
)
from analogdfc.effort import circuit_seconds, long_work, model_seconds
from analogdfc.errors import UserError
from analogdfc.files import beside
from analogdfc.findings import inputs_tree
from analogdfc.jobs import Spool, check_spool, processes, spool_beside
from analogdfc.montecarlo.chips import try_chips
from analogdfc.montecarlo.circuits import Circuits, circuit_work, try_circuits
from analogdfc.montecarlo.figure import yield_figure
from analogdfc.montecarlo.found import Yield
from analogdfc.plots import save_figure
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.simulator import Simulator
from analogdfc.study import Cells, Study

# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc montecarlo --sizes 3-4-2 --chips 200 --max-angle 5 -o montecarlo.h5
"""


@dataclass(frozen=True)
class _Options:
    """Which chips are tried, on what, and how."""

    chips: int
    max_angle: float
    samples: int
    target_stepsize: float | None
    duration: float
    together: int
    circuits: int
    jobs: int | None
    engine: str
    solver: str
    time_limit: float


@click.command(
    "montecarlo",
    short_help="Share of many chips whose update keeps an angle.",
    epilog=_EXAMPLES,
)
@design_options
@control_options
@device_options
@click.option(
    "--chips",
    type=Count(1, most=10**6),
    default=200,
    show_default=True,
    help="Chips with components drawn anew, from --chip-seed on.",
)
@click.option(
    "--max-angle",
    type=Finite(min=0, max=180, min_open=True),
    default=5.0,
    show_default=True,
    help="Bound on the angle between a chip's weight update and the ideal one, in degrees.",
)
@click.option(
    "--samples",
    type=Count(1),
    default=4,
    show_default=True,
    help="Held-out images whose mean update is compared.",
)
@TARGET_STEPSIZE
@click.option(
    "--duration",
    type=Finite(min=1),
    default=20.0,
    show_default=True,
    help="Length of a sample's controlled phase, in units of tau_u.",
)
@click.option(
    "--together",
    type=Count(1),
    default=20,
    show_default=True,
    help="Chips that are integrated together, in shared time steps; fewer need less memory.",
)
@click.option(
    "--circuits",
    type=Count(0),
    default=0,
    show_default=True,
    help="Chips, the first ones, that are also simulated as circuits of macro cells.",
)
@click.option("--jobs", type=Count(1), help="Processes at work.  [default: cores]")
@ENGINE
@SOLVER
@TIME_LIMIT
@JSON
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("montecarlo.h5"),
    show_default=True,
    help="Record to write (HDF5); the figure goes beside it as .png.",
)
@bundled("options", _Options)
def command(
    weights: Path | None,
    sizes: tuple[int, ...] | None,
    card: str,
    seed: int,
    chip_seed: int | None,
    devices: str | None,
    age: float,
    as_json: bool,
    output: Path,
    switches: Switches,
    control: Control,
    options: _Options,
) -> None:
    """Share of many chips whose update keeps an angle.

    Draws chips of one design and runs them in the behavioural model; says how many of them keep
    the bound, with the confidence interval of that share, and what of that which a chip drew goes
    with a large angle. A chip that comes to no result doesn't keep the bound.

    Chips that have run are kept in a folder beside the output until all have: the same command
    goes on with them where it was interrupted.
    """
    torch.set_num_threads(1)
    if options.circuits > options.chips:
        raise UserError(
            f"--circuits {options.circuits}: there are {options.chips} chips; take as many or fewer"
        )
    if options.circuits == 0:
        refuse("no chip is simulated as a circuit; needs --circuits", "engine", "solver")
        refuse("no chip is simulated as a circuit; needs --circuits", "time_limit")
    figure_path, folder = beside(output, ".png"), beside(output, ".runs")
    check_outputs(output, figure_path, read=(weights, card, devices))
    check_spool(folder)
    chip = given(learned_on(weights), card, (seed, chip_seed), switches, devices, age)
    simulator = get_simulator(options.engine, options.solver) if options.circuits else None
    model, origin = make_model(weights, sizes, chip.seeds[0], control)
    origin += chip.note
    design = make_design(model, chip.card, chip.switches, chip.devices)
    data = make_stimuli(model.network, options.samples, chip.seeds[0], options.target_stepsize)
    with spool_beside(folder) as spool:
        found = _run(design, chip.seeds[1], data, simulator, options, spool)
        numbers = found.numbers()
        tree = inputs_tree(model, design, chip.seeds, data) | {"chips": found.chips.tree()}
        if simulator is not None:
            tree |= {"circuits": found.circuits.tree()}
        records.write(output, {**tree, "settings": settings(), "results": numbers})
    figure = save_figure(yield_figure(design, found), figure_path)
    if as_json:
        about = {"network": "-".join(map(str, design.sizes)), "origin": origin}
        whole = {**about, "seed": chip.seeds[0], "samples": data.source, **numbers}
        click.echo(json.dumps(trees.as_json(whole), indent=2))
    else:
        _montecarlo.show(design, origin, data.source, found)
        click.echo(f"wrote {output} and {figure}")


def _run(
    design: Design,
    first: int,
    data: Stimuli,
    simulator: Simulator | None,
    options: _Options,
    spool: Spool,
) -> Yield:
    dt = design.tau_v / 10
    study = Study(design, data.x, data.step, dt, round(options.duration / dt), spool)
    jobs = options.jobs or os.cpu_count() or 1
    for remark in long_work(_seconds(study, options, jobs)):
        click.echo(f"Warning: {remark}", err=True)
    seeds = range(first, first + options.chips)
    done = {"chips": 0, "circuits": 0}
    with Bars() as bars:

        def tell(what: str, units: int, total: int) -> None:
            done[what] += units
            bars.show(what, done[what], total)

        circuits = Circuits({}, {})
        with processes(jobs) as executor:
            chips = try_chips(
                study,
                seeds,
                together=options.together,
                executor=executor,
                progress=lambda units: tell("chips", units, options.chips),
            )
            if simulator is not None:
                work = circuit_work(study, options.circuits)
                circuits = try_circuits(
                    study,
                    seeds[: options.circuits],
                    Cells("macro", simulator, time_limit=options.time_limit),
                    executor=executor,
                    progress=lambda units: tell("circuits", units, work),
                )
    return Yield(chips, options.max_angle, options.together, circuits)


def _seconds(study: Study, options: _Options, jobs: int) -> dict[str, float]:
    """Time that the work takes, in seconds, by what is done."""
    together = min(options.together, options.chips)
    rounds = -(-options.chips // (together * jobs))
    model = model_seconds(study.design, together * options.samples, study.steps)
    circuits = -(-options.circuits * options.samples // jobs)
    return {
        "behavioural model": rounds * model,
        "ngspice, macro cells": circuits * circuit_seconds(study.design, "macro", study.duration),
    }
