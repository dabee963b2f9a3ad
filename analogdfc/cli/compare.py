"""`analogdfc compare`: the three realisations of a network side by side."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch

from analogdfc import records
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.cli import _report
from analogdfc.cli._design import (
    BACKEND,
    JSON,
    TARGET_STEPSIZE,
    TIME_LIMIT,
    Samples,
    design_options,
    device_options,
    make_design,
    make_model,
    make_samples,
    progress_bar,
    read_card,
    read_devices,
)
from analogdfc.comparison import Cause, Comparison, Kind, causes, compare, ideal_run
from analogdfc.plots import check_figure, comparison_figure, save_figure
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.engines import get_simulator

IDEAL, IDEAL_CELLS = "ideal", "ideal cells"
BEHAVIOURAL, MACRO_CELLS = "behavioural", "macro cells"


class Grid(NamedTuple):
    """The record's grid, in units of the controller's time."""

    dt: float
    steps: int


# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc compare --samples 4 -o compare.h5
"""


@click.command(
    "compare", short_help="Lay the three realisations of a network side by side.", epilog=_EXAMPLES
)
@design_options
@device_options
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Held-out images to compare on; each is one circuit simulation a level.",
)
@click.option(
    "--fidelity",
    type=click.Choice(["ideal", "macro", "both"]),
    default="both",
    show_default=True,
    help="Level of the circuit's cells.",
)
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
    type=click.FloatRange(min=1),
    default=20.0,
    show_default=True,
    help="Length of the controlled phase, in units of tau_u.",
)
@click.option(
    "--causes/--no-causes",
    "with_causes",
    default=True,
    show_default=True,
    help="Switch each imperfection off alone and report what the update gains.",
)
@BACKEND
@click.option("--jobs", type=click.IntRange(min=1), help="Simulations at a time.  [default: cores]")
@TIME_LIMIT
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, min_open=True),
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
def command(
    weights: Path | None,
    sizes: tuple[int, ...],
    card: str,
    seed: int,
    devices: str | None,
    age: float,
    samples: int,
    target_stepsize: float,
    tolerance: float | None,
    as_json: bool,
    output: Path,
    scaling: bool,
    double_sampling: bool,
    auto_zero: bool,
    relative_target: bool,
    **options: Any,
) -> None:
    """Lay the three realisations of a network side by side.

    The ideal equations, the behavioural model and the SPICE circuit run on the same inputs. A
    parity says how well a model predicts the circuit, a deviation how far the circuit is from the
    algorithm.
    """
    torch.set_num_threads(1)
    records.check_writable(output)
    figure_path = output.with_suffix(".png")
    check_figure(figure_path)
    technology, made_of = read_card(card), read_devices(devices, age)
    simulator = get_simulator(options["backend"])
    model, origin = make_model(weights, sizes, seed)
    design = make_design(
        model,
        technology,
        scaling=scaling,
        double_sampling=double_sampling,
        auto_zero=auto_zero,
        relative_target=relative_target,
        devices=made_of,
    )
    data = make_samples(model.network, samples, seed, target_stepsize)
    results = _run(design, seed, data, simulator, options)
    tree = _report.tree(model, design, seed, data, results.runs)
    numbers = _report.numbers(results)
    records.write(output, {**tree, "results": numbers})
    figure = save_figure(comparison_figure(design, results.runs), figure_path)
    if as_json:
        about = {"network": "-".join(map(str, design.sizes)), "origin": origin, "seed": seed}
        click.echo(json.dumps({**about, "samples": data.source, **numbers}, indent=2))
    else:
        _report.show(design, origin, data.source, results)
        click.echo(f"wrote {output} and {figure}")
    _check_tolerance(results.comparisons, tolerance)


def _run(
    design: Design, seed: int, data: Samples, simulator: Any, options: dict[str, Any]
) -> _report.Results:
    grid = Grid(design.tau_v / 10, round(options["duration"] / (design.tau_v / 10)))
    levels = ["ideal", "macro"] if options["fidelity"] == "both" else [options["fidelity"]]
    chip = Chip.of(design, seed)
    runs = {IDEAL: ideal_run(design, data.x, data.step, dt=grid.dt, steps=grid.steps)}
    pairs: list[tuple[tuple[str, str], Kind]] = []
    rung = Rung[options["rung"].upper().replace("-", "_")]
    slowest: float | None = None
    angle: float | None = None
    found: list[Cause] = []
    if "macro" in levels:
        with progress_bar("behavioural", grid.steps) as bar:
            model = Behavioural([chip], rung)
            slowest = _slowest_mode(chip, data)
            runs[BEHAVIOURAL] = model.run(
                data.x,
                data.step,
                dt=grid.dt,
                steps=grid.steps,
                progress=lambda k: bar.update(k > 0),
            )[0]
    for level in levels:
        name = IDEAL_CELLS if level == "ideal" else MACRO_CELLS
        jobs = options["jobs"] or os.cpu_count() or 1
        circuit = Circuit(
            chip,
            "ideal" if level == "ideal" else "macro",
            simulator,
            time_limit=options["time_limit"],
            jobs=jobs,
        )
        with progress_bar(name, len(data.x)) as bar:
            runs[name] = circuit.run(
                data.x, data.step, dt=grid.dt, steps=grid.steps, progress=lambda _: bar.update()
            )
    if "ideal" in levels:
        pairs.append(((IDEAL_CELLS, IDEAL), "parity"))
    if "macro" in levels:
        pairs.append(((MACRO_CELLS, BEHAVIOURAL), "parity"))
        pairs.append(((IDEAL, MACRO_CELLS), "deviation"))
        if options["with_causes"]:
            with progress_bar("causes", round(options["duration"] / 0.1)) as bar:
                angle, found = causes(
                    design,
                    seed,
                    data.x,
                    data.step,
                    duration=options["duration"],
                    progress=lambda k: bar.update(k > 0),
                )
    comparisons = [
        compare(design, names, kind, runs[names[0]], runs[names[1]]) for names, kind in pairs
    ]
    return _report.Results(runs, comparisons, slowest, angle, found)


def _slowest_mode(chip: Chip, data: Samples) -> float:
    """Largest real part of the full model's eigenvalues on the first sample; warns above 0."""
    values = Behavioural([chip]).modes(data.x[:1], data.step[:1])[0][0]
    slowest = float(values[0].real)
    if slowest > 0:
        click.echo(
            f"Warning: the loop is unstable: slowest mode {slowest:+.3g} per tau_u. Raise the "
            "card's [amplifier] gain_bandwidth, or lower k_p or the feedback weights",
            err=True,
        )
    return slowest


def _check_tolerance(comparisons: list[Comparison], tolerance: float | None) -> None:
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
