"""`analogdfc montecarlo`: many chips of one design against a bound."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import click
import torch

from analogdfc import records, trees
from analogdfc.cards.technology import Card
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
    cell_options,
    design_options,
    device_options,
    make_design,
    make_kit,
    make_model,
    make_stimuli,
    own_cells,
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
from analogdfc.cli._where import Where, where_options
from analogdfc.effort import (
    chips_of_a_run,
    circuit_seconds,
    large_circuits,
    long_work,
    model_seconds,
)
from analogdfc.errors import UserError
from analogdfc.files import beside
from analogdfc.findings import inputs_tree
from analogdfc.jobs import Spool, check_spool, spool_beside
from analogdfc.kits import CORNERS, KITS, Corner, Kit, get_kit
from analogdfc.montecarlo.chips import try_chips
from analogdfc.montecarlo.circuits import Circuits, circuit_work, try_circuits
from analogdfc.montecarlo.figure import conditions_figure, yield_figure
from analogdfc.montecarlo.found import Yield
from analogdfc.plots import save_figure
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.testbench import USUAL_CELSIUS
from analogdfc.study import Cells, Condition, Study, conditions

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
    together: int | None
    circuits: int
    fidelity: Literal["macro", "transistor"]
    pdk: str | None
    mismatch: Literal["card", "kit"]
    corners: tuple[Corner, ...]
    temperatures: tuple[float, ...]
    supplies: tuple[float, ...]
    cells: tuple[str, ...]
    device_parameter: str | None
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
    help="Chips that are integrated together, in shared time steps; fewer need less memory.  "
    "[default: as many as are a second of work, by an estimate that knows no machine]",
)
@click.option(
    "--circuits",
    type=Count(0),
    default=0,
    show_default=True,
    help="Chips, the first ones, that are also simulated as circuits.",
)
@click.option(
    "--fidelity",
    type=click.Choice(["macro", "transistor"]),
    default="macro",
    show_default=True,
    help="Level of the circuits' cells.",
)
@click.option(
    "--pdk",
    type=click.Choice(list(KITS)),
    help="Process kit of cells at level transistor; its card is then the default.",
)
@click.option(
    "--mismatch",
    type=click.Choice(["card", "kit"]),
    default="card",
    show_default=True,
    help="What the circuits' amplifiers and tanh cells deviate by: offsets as the card says, or "
    "every transistor as the kit's statistical models do, repeatably from the chip's seed.",
)
@click.option(
    "--corner",
    "corners",
    type=click.Choice(CORNERS),
    multiple=True,
    default=("typical",),
    show_default=True,
    help="Corner of the process, NMOS first; several are tried each.",
)
@click.option(
    "--temperature",
    "temperatures",
    type=Finite(min=-55, max=175),
    multiple=True,
    default=(USUAL_CELSIUS,),
    show_default=True,
    help="Temperature in degrees Celsius, which transistors know, and models the drift of the "
    "card's tanh cells; several are tried each.",
)
@click.option(
    "--supply",
    "supplies",
    type=Finite(min=0, min_open=True),
    multiple=True,
    help="Magnitude of either supply in volts; several are tried each.  [default: the card's]",
)
@cell_options
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
@where_options
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
    where: Where,
    options: _Options,
) -> None:
    """Share of many chips whose update keeps an angle.

    Draws chips of one design and runs them in the behavioural model; says how many of them keep
    the bound, with the confidence interval of that share, and what of that which a chip drew goes
    with a large angle. A chip that comes to no result doesn't keep the bound.

    Several corners, temperatures and supplies are tried in every combination. The model knows of
    them what the supply leaves to the amplifiers' outputs, and the tanh cells' drift with
    temperature; transistors know all.

    Chips that have run are kept in a folder beside the output until all have: the same command
    goes on with them where it was interrupted.
    """
    torch.set_num_threads(1)
    if options.circuits > options.chips:
        raise UserError(
            f"--circuits {options.circuits}: there are {options.chips} chips; take as many or fewer"
        )
    if options.circuits == 0:
        own = "cells", "device_parameter"
        of_circuits = "engine", "solver", "time_limit", "fidelity", "pdk", *own
        refuse("no chip is simulated as a circuit; needs --circuits", *of_circuits)
    if options.fidelity != "transistor":
        of_transistors = "corners", "temperatures", "mismatch"
        refuse("it acts on transistors; needs --circuits, --fidelity transistor", *of_transistors)
    _, card = make_kit(options.fidelity, options.pdk, "typical", card)
    cases = conditions(options.corners, options.temperatures, options.supplies or (None,))
    figure_path, folder = beside(output, ".png"), beside(output, ".runs")
    check_outputs(output, figure_path, read=(weights, card, devices))
    check_spool(folder, output)
    chip = given(learned_on(weights), card, (seed, chip_seed), switches, devices, age)
    simulator = get_simulator(options.engine, options.solver) if options.circuits else None
    model, origin = make_model(weights, sizes, chip.seeds[0], control)
    origin += chip.note
    design = make_design(model, chip.card, chip.switches, chip.devices)
    data = make_stimuli(model.network, options.samples, chip.seeds[0], options.target_stepsize)
    lots = _lots(design, data, options, cases)
    with spool_beside(folder) as spool:
        found = _run(lots, chip.seeds[1], simulator, options, where, spool)
        numbers = found[0].numbers()
        tree = inputs_tree(model, design, chip.seeds, data)
        if len(found) == 1:
            tree |= found[0].tree()
        else:
            tree |= {"conditions": {str(one.condition): one.tree() for one in found}}
            numbers = {str(one.condition): one.numbers() for one in found}
        records.write(output, {**tree, "settings": settings(), "results": numbers})
    one = len(found) == 1
    drawn = yield_figure(design, found[0]) if one else conditions_figure(design, found)
    figure = save_figure(drawn, figure_path)
    if as_json:
        about = {"network": "-".join(map(str, design.sizes)), "origin": origin}
        whole = {**about, "seed": chip.seeds[0], "samples": data.source, **numbers}
        click.echo(json.dumps(trees.as_json(whole), indent=2))
    else:
        if one:
            _montecarlo.show(design, origin, data.source, found[0])
        else:
            _montecarlo.show_conditions(design, origin, data.source, found)
        click.echo(f"wrote {output} and {figure}")


_Lots = dict[Condition, tuple[Study, Kit | None]]
"""What is run under each condition, and of which process transistors are."""


def _lots(design: Design, data: Stimuli, options: _Options, cases: Sequence[Condition]) -> _Lots:
    dt = design.tau_v / 10
    whole = Study(design, data.x, data.step, dt, round(options.duration / dt))
    studies = {case: case.on(whole) for case in cases}
    return {case: (one, _kit(case, options, one.design.card)) for case, one in studies.items()}


def _run(
    lots: _Lots,
    first: int,
    simulator: Simulator | None,
    options: _Options,
    where: Where,
    spool: Spool,
) -> list[Yield]:
    jobs = options.jobs or os.cpu_count() or 1
    first_study = next(iter(lots.values()))[0]
    together = _together(first_study, options)
    simulations, design = options.circuits * options.samples, first_study.design
    at_once = min(jobs, simulations)
    large = large_circuits(design, [options.fidelity], at_once) if at_once else []
    kits = {kit.corner: kit for _, kit in lots.values() if kit is not None}.values()
    corners = [remark for kit in kits for remark in kit.remarks(design.card)]
    for remark in [*corners, *long_work(_seconds(first_study, options, len(lots), jobs)), *large]:
        click.echo(f"Warning: {remark}", err=True)
    seeds = range(first, first + options.chips)
    found = []
    with Bars() as bars, where.open(options.jobs, kept=spool.folder) as executor:

        def counter(what: str, total: int) -> Callable[[int], None]:
            done = 0

            def tell(units: int) -> None:
                nonlocal done
                done += units
                bars.show(what, done, total)

            return tell

        for case, (whole, kit) in lots.items():
            study = replace(whole, spool=spool)
            about = f", {case}" if len(lots) > 1 else ""
            tell = counter(f"chips{about}", options.chips)
            chips = try_chips(study, seeds, together=together, executor=executor, progress=tell)
            circuits = Circuits({}, {})
            if simulator is not None:
                cells = Cells(
                    options.fidelity,
                    simulator,
                    time_limit=options.time_limit,
                    cells=own_cells(options.cells, options.device_parameter),
                    kit=kit,
                    celsius=case.celsius,
                )
                tell = counter(f"circuits{about}", circuit_work(study, options.circuits))
                some = seeds[: options.circuits]
                circuits = try_circuits(study, some, cells, executor=executor, progress=tell)
            found.append(Yield(chips, options.max_angle, together, circuits, case))
    return found


def _kit(case: Condition, options: _Options, card: Card) -> Kit | None:
    """The process kit of the circuits, once it has been seen to do what the card says."""
    if options.pdk is None:
        return None
    kit = get_kit(options.pdk, case.corner, mismatch=options.mismatch == "kit")
    kit.check_card(card)
    kit.files()
    return kit


def _together(study: Study, options: _Options) -> int:
    """Chips of a run; of a condition as of any other."""
    found = chips_of_a_run(study.design, options.samples, study.steps)
    return found if options.together is None else options.together


def _seconds(study: Study, options: _Options, times: int, jobs: int) -> dict[str, float]:
    """Time that the work takes under so many conditions, in seconds, by what is done."""
    together = min(_together(study, options), options.chips)
    rounds = -(-options.chips // (together * jobs))
    model = model_seconds(study.design, together * options.samples, study.steps)
    circuits = times * -(-options.circuits * options.samples // jobs)
    level = options.fidelity
    circuit = circuit_seconds(study.design, level, study.duration, rough=True)
    return {
        "behavioural model": times * rounds * model,
        f"ngspice, {level} cells": circuits * circuit,
    }
