"""`analogdfc compare`: the three realisations of a network side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import torch

from analogdfc import records
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.sequences import TransientNoise
from analogdfc.cli import _compare, _report
from analogdfc.cli._design import (
    ENGINE,
    JSON,
    SOLVER,
    TARGET_STEPSIZE,
    TIME_LIMIT,
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
    pdk_options,
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
from analogdfc.cli._where import Where, where_options
from analogdfc.comparison import Comparison
from analogdfc.files import beside
from analogdfc.findings import inputs_tree
from analogdfc.jobs import check_spool, spool_beside
from analogdfc.plots import comparison_figure, save_figure
from analogdfc.recorded import chip_tree
from analogdfc.spice.own import own_texts
from analogdfc.study import Study

# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc compare --samples 4 -o compare.h5
"""


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
@bundled("options", _compare.Options)
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
    options: _compare.Options,
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
    check_spool(spool_folder, output)
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
    simulators = _compare.simulators(options)
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
        dt = design.tau_v / 10
        study = Study(design, data.x, data.step, dt, round(options.duration / dt), spool, executor)
        results = _compare.compare(study, chip.seeds[1], options, simulators, kit, noise)
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
