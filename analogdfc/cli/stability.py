"""`analogdfc stability`: loop gain and margins, and what `.ac` of the netlist says of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from analogdfc import records, trees
from analogdfc.cases import Stimuli
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.cli import _stability
from analogdfc.cli._design import (
    ENGINE,
    JSON,
    SOLVER,
    TARGET_STEPSIZE,
    TIME_LIMIT,
    Switches,
    cell_files,
    cell_options,
    design_options,
    device_options,
    make_design,
    make_kit,
    make_model,
    make_stimuli,
    own_cells,
    pdk_options,
    progress_bar,
)
from analogdfc.cli._given import given, learned_on
from analogdfc.cli._options import (
    Control,
    Count,
    bundled,
    check_outputs,
    control_options,
    refuse,
    settings,
)
from analogdfc.files import beside
from analogdfc.findings import inputs_tree
from analogdfc.kits import Corner, Kit
from analogdfc.plots import save_figure
from analogdfc.recorded import chip_tree
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.netlist import Fidelity, Netlist
from analogdfc.spice.own import OwnDevice, own_texts
from analogdfc.stability import Stability, bode_figure, stability_of

# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc stability --sizes 3-4-2 --ac -o stability.h5
"""


@dataclass(frozen=True)
class _Options:
    """Whether the netlist is analysed, and how."""

    ac: bool
    fidelity: Fidelity
    pdk: str | None
    corner: Corner
    cells: tuple[str, ...]
    device_parameter: str | None
    engine: str
    solver: str
    jobs: int | None
    time_limit: float

    @property
    def own(self) -> dict[str, Path | OwnDevice]:
        """Cells of one's own."""
        return own_cells(self.cells, self.device_parameter)


@click.command(
    "stability", short_help="Loop gain, margins and poles, and their Bode figure.", epilog=_EXAMPLES
)
@design_options
@control_options
@device_options
@click.option(
    "--samples",
    type=Count(1),
    default=1,
    show_default=True,
    help="Inputs at whose rests the loop is looked at.",
)
@TARGET_STEPSIZE
@click.option(
    "--ac",
    is_flag=True,
    help="Analyse the netlist too: .ac at its rest, the loop probed in every channel by a voltage "
    "and a current, two analyses a channel.",
)
@click.option(
    "--fidelity",
    type=click.Choice(["ideal", "macro", "transistor"]),
    default="macro",
    show_default=True,
    help="Level of the netlist's cells; of ideal cells the equations are those of ideal cells too.",
)
@pdk_options
@cell_options
@ENGINE
@SOLVER
@click.option("--jobs", type=Count(1), help="Simulations at a time.  [default: cores]")
@TIME_LIMIT
@JSON
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("stability.h5"),
    show_default=True,
    help="Record to write (HDF5), with the curves; the Bode figure goes beside it as .png.",
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
    samples: int,
    target_stepsize: float | None,
    as_json: bool,
    output: Path,
    switches: Switches,
    control: Control,
    options: _Options,
) -> None:
    """Loop gain, margins and poles, and their Bode figure.

    The controller's loop is cut at its control signal, at the rest to which a sample goes. Margins
    are those of the characteristic loci, against a change of all channels alike, and of every
    channel with the loops of the others closed, which a probe in it alone would see.
    """
    torch.set_num_threads(1)
    if not options.ac:
        analysed = (
            "fidelity",
            "pdk",
            "corner",
            "cells",
            "device_parameter",
            "engine",
            "solver",
            "jobs",
            "time_limit",
        )
        refuse("without --ac no netlist is analysed", *analysed)
    figure_path, own = beside(output, ".png"), options.own
    check_outputs(output, figure_path, read=(weights, card, devices, *cell_files(own)))
    kit, card = make_kit(options.fidelity, options.pdk, options.corner, card)
    chip = given(learned_on(weights), card, (seed, chip_seed), switches, devices, age)
    model, origin = make_model(weights, sizes, chip.seeds[0], control)
    origin += chip.note
    design = make_design(model, chip.card, chip.switches, chip.devices)
    data = make_stimuli(model.network, samples, chip.seeds[0], target_stepsize)
    for remark in () if kit is None else kit.remarks(design.card):
        click.echo(f"Warning: {remark}", err=True)
    found = _run(design, chip.seeds[1], data, options, kit)
    numbers = found.numbers()
    tree = inputs_tree(model, design, chip.seeds, data) | {"curves": found.tree()}
    tree |= {"chip": chip_tree(found.chip), "settings": settings()}
    if kit is not None:
        tree |= {"kit": kit.about}
    if own:
        tree |= {"cells": own_texts(own)}
    records.write(output, {**tree, "results": trees.as_leaves(numbers)})
    figure = save_figure(bode_figure(design, found, chip.seeds), figure_path)
    if as_json:
        about = {"network": "-".join(map(str, design.sizes)), "origin": origin}
        drawn = {"seed": chip.seeds[0], "chip_seed": chip.seeds[1]}
        whole = {**about, **drawn, "samples": data.source, **numbers}
        click.echo(json.dumps(trees.as_json(whole), indent=2))
    else:
        _stability.show(design, origin, data.source, found)
        click.echo(f"wrote {output} and {figure}")


def _run(design: Design, seed: int, data: Stimuli, options: _Options, kit: Kit | None) -> Stability:
    chip = Chip.of(design, seed)
    if not options.ac:
        return stability_of(chip, data.x, data.step)
    simulator = get_simulator(options.engine, options.solver)
    netlist = Netlist.of(chip, options.fidelity, cells=options.own, kit=kit)
    with progress_bar("analyses", len(data.x) * (1 + 2 * design.sizes[-1])) as bar:
        return stability_of(
            netlist.chip,
            data.x,
            data.step,
            netlist=netlist,
            simulator=simulator,
            time_limit=options.time_limit,
            jobs=options.jobs or os.cpu_count() or 1,
            progress=bar.update,
        )
