"""`analogdfc compare`: the three realisations of a network side by side."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click
import torch

from analogdfc import records
from analogdfc.cases import Stimuli
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.averages import Ending, Until
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.sequences import TransientNoise
from analogdfc.cli import _report
from analogdfc.cli._design import (
    ENGINE,
    JSON,
    SOLVER,
    TARGET_STEPSIZE,
    TIME_LIMIT,
    Bars,
    Duration,
    Switches,
    cell_files,
    cell_options,
    condition_options,
    design_options,
    device_options,
    make_condition,
    make_design,
    make_kit,
    make_model,
    make_stimuli,
    own_cells,
    pdk_options,
    progress_bar,
)
from analogdfc.cli._given import given, learned_on
from analogdfc.cli._inversion_options import Inverting, inversion_options
from analogdfc.cli._inverting import compare_inversion, make_inversion
from analogdfc.cli._options import (
    Control,
    Count,
    Finite,
    bundled,
    check_outputs,
    control_options,
    refuse,
    refuse_others,
    settings,
)
from analogdfc.cli._steps import compare_steps
from analogdfc.cli._warnings import simulator_warnings
from analogdfc.cli._where import Where, where_options
from analogdfc.comparison import Cause, Comparison
from analogdfc.effort import comparison_seconds, large_circuits, long_work
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.files import beside
from analogdfc.findings import Findings, inputs_tree
from analogdfc.jobs import Spool, check_spool, spool_beside
from analogdfc.kits import Corner, Kit
from analogdfc.plots import comparison_figure, save_figure
from analogdfc.recorded import chip_tree
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.netlist import Fidelity
from analogdfc.spice.own import OwnDevice, own_texts
from analogdfc.spice.simulator import Simulator
from analogdfc.study import Cells, Ideal, Model, Realisation, Study
from analogdfc.verdicts import remarks, states_at_end

# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc compare --samples 4 -o compare.h5
"""


@dataclass(frozen=True)
class _Options:
    """What is run, and how."""

    fidelity: Fidelity | Literal["both"]
    pdk: str | None
    corner: Corner
    temperature: float
    supply: float | None
    cells: tuple[str, ...]
    device_parameter: str | None
    rung: str
    duration: float
    with_causes: bool
    check_steps: bool
    tolerance_angle: float | None
    until_settled: float | None
    noise: float | None
    steps: tuple[Path, Path] | None
    engine: str
    engines: str | None
    solver: str
    jobs: int | None
    time_limit: float

    @property
    def own(self) -> dict[str, Path | OwnDevice]:
        """Cells of one's own."""
        return own_cells(self.cells, self.device_parameter)


@click.command(
    "compare", short_help="Lay the three realisations of a network side by side.", epilog=_EXAMPLES
)
@design_options
@control_options
@device_options
@inversion_options
@click.option(
    "--samples",
    type=Count(1),
    default=4,
    show_default=True,
    help="Held-out images to compare on; each is one circuit simulation a level.",
)
@click.option(
    "--fidelity",
    type=click.Choice(["ideal", "macro", "both", "transistor"]),
    default="both",
    show_default=True,
    help="Level of the circuit's cells; both: ideal and macro.",
)
@pdk_options
@condition_options
@cell_options
@click.option(
    "--rung",
    type=click.Choice([r.name.lower().replace("_", "-") for r in Rung]),
    default="full",
    show_default=True,
    help="Detail of the behavioural model's amplifiers.",
)
@TARGET_STEPSIZE
@click.option(
    "--duration",
    type=Finite(min=1),
    default=20.0,
    show_default=True,
    help="Length of the controlled phase, in units of tau_u; with --rule di of each circuit's, in "
    "the card's unit of time.",
)
@click.option(
    "--causes/--no-causes",
    "with_causes",
    default=True,
    show_default=True,
    help="Switch each imperfection off alone and report what the update gains.",
)
@click.option(
    "--check-steps",
    is_flag=True,
    help="State the numerical error of each realisation, by a second run of it at a tenth of the "
    "tolerance; several times as slow.",
)
@click.option(
    "--tolerance-angle",
    type=Finite(min=0, min_open=True),
    help="Take the time steps of the behavioural model only as fine as its update needs: they may "
    "turn that of a layer by this many degrees, such as 0.01.",
)
@click.option(
    "--until-settled",
    type=Finite(min=0, min_open=True),
    metavar="PERCENT",
    help="End all runs where the behavioural model's update has settled, if that is before the end "
    "of --duration: where no layer's has changed, nor would, by more than this many percent over "
    "the longest of tau_u and tau_v; 1 is a good one.",
)
@click.option(
    "--noise",
    type=Duration(),
    metavar="TIME",
    help="Waveforms with the noise of the card's densities, the same in the behavioural model and "
    "with macro cells: sequences from --seed with values that far apart, such as 20ns; densities "
    "are whole up to some 0.1 / TIME. A hundred times as slow.",
)
@click.option(
    "--steps",
    type=click.Path(path_type=Path),
    nargs=2,
    metavar="FILE FILE",
    help="Lay two trainings of `analogdfc train --through` beside each other instead, step by "
    "step: learning curves, distance of the weights, angle of every update; the first is the "
    "reference. Only -o and --json go with it.",
)
@ENGINE
@click.option(
    "--engines",
    metavar="NAME,NAME",
    help="Simulators to lay beside each other, the first as the reference: ngspice,vacask.",
)
@SOLVER
@click.option("--jobs", type=Count(1), help="Simulations at a time.  [default: cores]")
@TIME_LIMIT
@click.option(
    "--tolerance",
    type=Finite(min=0, min_open=True),
    help="Exit with code 1 when the NRMSE of a signal in a parity exceeds this many percent.",
)
@JSON
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("compare.h5"),
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
    samples: int,
    target_stepsize: float | None,
    tolerance: float | None,
    as_json: bool,
    output: Path,
    switches: Switches,
    control: Control,
    inverting: Inverting,
    where: Where,
    options: _Options,
) -> None:
    """Lay the three realisations of a network side by side.

    The ideal equations, the behavioural model and the SPICE circuit run on the same inputs. A
    parity says how well a model predicts the circuit, a deviation how far the circuit is from the
    algorithm. A network that learned through a chip brings that chip, where no option says
    otherwise.

    Simulations that have ended are kept in a folder beside the output until all have: the same
    command goes on with them where it was interrupted, or where some took too long.
    """
    torch.set_num_threads(1)
    if options.steps:
        refuse_others("--steps lays two records beside each other", "steps", "output", "as_json")
        compare_steps(options.steps, output, as_json=as_json)
        return
    if inverting.asked:
        inverting.check(
            options.fidelity,
            *["pdk", "corner", "temperature", "supply", "cells", "device_parameter", "rung"],
            *["check_steps", "tolerance_angle", "until_settled", "noise", "engines"],
            *["with_causes"] if options.with_causes else [],
        )
    elif options.fidelity == "ideal":
        why = "ideal cells have no imperfections; nothing is run with it"
        modelled = ["rung", "tolerance_angle", "until_settled", "noise"]
        refuse(why, *modelled, *(["with_causes"] if options.with_causes else []))
    figure_path, own = beside(output, ".png"), options.own
    check_outputs(output, figure_path, read=(weights, card, devices, *cell_files(own)))
    spool_folder = beside(output, ".runs")
    check_spool(spool_folder)
    kit, card = make_kit(options.fidelity, options.pdk, options.corner, card)
    case = make_condition(options.corner, options.temperature, options.supply)
    chip = given(learned_on(weights), card, (seed, chip_seed), switches, devices, age)
    if inverting.asked:
        made = make_inversion(inverting, weights, sizes, control, chip)
        found = compare_inversion(
            made,
            {**asdict(options), "samples": samples, "target_stepsize": target_stepsize,
             "as_json": as_json},
            output,
            figure_path,
            spool_folder,
            where,
        )  # fmt: skip
        _check_tolerance(found, tolerance)
        return
    simulators = _simulators(options)
    model, origin = make_model(weights, sizes, chip.seeds[0], control)
    origin += chip.note
    design = make_design(model, case.placed(chip.card), chip.switches, chip.devices)
    data = make_stimuli(model.network, samples, chip.seeds[0], target_stepsize)
    case.check(Study(design, data.x, data.step))
    with (
        spool_beside(spool_folder) as spool,
        where.elsewhere(options.jobs, kept=spool.folder) as executor,
    ):
        noise = None if options.noise is None else TransientNoise(seed, options.noise)
        how = spool, executor
        results = _run(design, chip.seeds[1], data, simulators, options, how, kit, noise)
        numbers = results.numbers()
        tree = inputs_tree(model, design, chip.seeds, data) | results.runs_tree(design)
        tree |= {"chip": chip_tree(Chip.of(design, chip.seeds[1])), "settings": settings()}
        if kit is not None:
            tree |= {"kit": kit.about}
        if own:
            tree |= {"cells": own_texts(own)}
        records.write(output, {**tree, "results": numbers})
    figure = save_figure(comparison_figure(design, results.runs, chip.seeds), figure_path)
    if as_json:
        about = {"network": "-".join(map(str, design.sizes)), "origin": origin}
        drawn = {"seed": chip.seeds[0], "chip_seed": chip.seeds[1]}
        click.echo(json.dumps({**about, **drawn, "samples": data.source, **numbers}, indent=2))
    else:
        _report.show(design, origin, data.source, results)
        click.echo(f"wrote {output} and {figure}")
    _check_tolerance(results.comparisons, tolerance)


def _run(
    design: Design,
    seed: int,
    data: Stimuli,
    simulators: Sequence[Simulator],
    options: _Options,
    how: tuple[Spool, Executor | None],
    kit: Kit | None,
    noise: TransientNoise | None,
) -> Findings:
    dt = design.tau_v / 10
    study = Study(design, data.x, data.step, dt, round(options.duration / dt), *how)
    levels: tuple[Fidelity, ...] = ("ideal", "macro")
    if options.fidelity != "both":
        levels = (options.fidelity,)
    rung = Rung[options.rung.upper().replace("-", "_")]
    ending: Ending | None = None
    if options.until_settled is not None:
        with Bars() as bars:
            study, ending = study.until_settled(
                seed,
                Until(options.until_settled / 100),
                rung,
                progress=lambda k: bars.show("until settled", k, round(options.duration / dt)),
            )
    jobs = options.jobs or os.cpu_count() or 1
    work = comparison_seconds(
        design, len(data.x), study.duration, levels,
        jobs=jobs, causes=options.with_causes, check_steps=options.check_steps,
    )  # fmt: skip
    large = large_circuits(design, levels, min(jobs, len(data.x)))
    for remark in [*long_work(work), *large]:
        click.echo(f"Warning: {remark}", err=True)
    realisations: list[Realisation] = [Ideal()]
    modelled = levels != ("ideal",)
    slowest: float | None = None
    missing: list[str] = []
    if modelled:
        slowest, missing = _slowest_mode(study, seed)
        realisations.append(Model(seed, rung, angle=options.tolerance_angle, noise=noise))
    realisations += [
        Cells(
            level,
            simulator,
            seed=seed,
            time_limit=options.time_limit,
            jobs=jobs,
            cells=options.own,
            kit=kit,
            beside=k > 0,
            noise=noise,
            celsius=options.temperature,
        )
        for k, simulator in enumerate(simulators)
        for level in levels
    ]
    with Bars() as bars, simulator_warnings() as warned:
        found = study.run(*realisations, check_steps=options.check_steps, progress=bars.show)
    angle: float | None = None
    drivers: list[Cause] = []
    if modelled and options.with_causes:
        with progress_bar("causes", round(study.duration / 0.1)) as bar:
            try:
                angle, drivers = study.causes(seed, lambda k: bar.update(k > 0))
            except ConvergenceError as error:
                missing.append(f"what turns the update is not known: {error}")
    return Findings(
        found.runs,
        found.comparisons,
        slowest,
        angle,
        drivers,
        states_at_end(design, found.runs),
        [
            *design.card.remarks,
            *missing,
            *([str(ending)] if ending is not None and not ending.settled else []),
            *warned,
            *remarks(design, found.runs, found.comparisons, full=options.rung == "full"),
        ],
        found.step_errors,
        ending,
    )


def _simulators(options: _Options) -> list[Simulator]:
    """The simulators that are asked for, the first as the reference."""
    if options.engines is None:
        return [get_simulator(options.engine, options.solver)]
    refuse("--engines names the simulators", "engine")
    names = [name.strip() for name in options.engines.split(",")]
    found = [get_simulator(name, "auto" if name == "vacask" else options.solver) for name in names]
    if len({one.program for one in found}) < len(found):
        raise UserError(
            f"--engines {options.engines}: two of one program; one of ngspice, shared, batch can "
            "stand beside vacask"
        )
    return found


def _slowest_mode(study: Study, seed: int) -> tuple[float | None, list[str]]:
    """Largest real part of the full model's eigenvalues on the first sample; warns above 0.

    None where there is no rest to linearise about, with a line that says so: what the loop does
    is for the waveforms to show.
    """
    restless = ", ".join(map(str, study.without_rest(seed)))
    lines = []
    if restless:
        lines.append(
            f"no rest was found of samples {restless} (counted from 0): the tolerance of their "
            "time steps follows the damping at the free state"
        )
    try:
        slowest = study.slowest_mode(seed)
    except ConvergenceError as error:
        return None, [f"the slowest mode is not known: {error}", *lines]
    if slowest > 0:
        click.echo(
            f"Warning: the loop is unstable: slowest mode {slowest:+.3g} per tau_u. Raise the "
            "card's [amplifier] gain_bandwidth, or lower k_p or the feedback weights",
            err=True,
        )
    return slowest, lines


def _check_tolerance(comparisons: Sequence[Comparison], tolerance: float | None) -> None:
    if tolerance is None:
        return
    for comparison in comparisons:
        if comparison.kind == "parity" and 100 * comparison.worst_signal > tolerance:
            name = max(comparison.signals, key=comparison.signals.__getitem__)
            click.echo(
                f"parity of {comparison.other} with {comparison.reference}: {name} is off by "
                f"{100 * comparison.signals[name]:.3g} %, more than --tolerance {tolerance:g} %",
                err=True,
            )
            sys.exit(1)
