"""Dynamic inversion in the commands that know circuits: its options, and what they make of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from analogdfc import records
from analogdfc.circuit.design import Readout
from analogdfc.cli import _estimate, _report
from analogdfc.cli._design import Bars, Switches, make_model, make_stimuli
from analogdfc.cli._given import Given
from analogdfc.cli._inversion_options import NONE_HERE, Inverting
from analogdfc.cli._options import Control, refuse, settings
from analogdfc.cli._warnings import simulator_warnings
from analogdfc.cli._where import Where
from analogdfc.comparison import Comparison
from analogdfc.findings import inputs_tree
from analogdfc.inverting import (
    Behaviour,
    Equations,
    Grid,
    InversionBench,
    InversionCells,
    InversionDesign,
    InversionStudy,
    Realisation,
    chips,
    estimate_inversion,
    run,
)
from analogdfc.inverting.report import cost_numbers, inversion_figure, numbers, runs_tree
from analogdfc.inverting.rules import USUAL, inversion_rule
from analogdfc.jobs import spool_beside
from analogdfc.learning.inversion import FastControl
from analogdfc.plots import save_figure
from analogdfc.recorded import chip_tree
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.netlist import Fidelity, Netlist
from analogdfc.spice.own import Own
from analogdfc.storage import Model

_SPACING, _DURATION = 0.1, 20.0
"""Of a record and of a testbench, in units of time of the loops: the card's."""


@dataclass(frozen=True)
class Inverted:
    """A network whose layers are inverted, on a chip.

    Attributes:
        design: the design.
        model: the network with the rule and its feedback, as a record has them.
        origin: what it is, for people.
        notes: what the rule did to be stable.
        seeds: of the inputs and of the chip.
    """

    design: InversionDesign
    model: Model
    origin: str
    notes: tuple[str, ...]
    seeds: tuple[int, int]


def make_inversion(
    inverting: Inverting,
    weights: Path | None,
    sizes: tuple[int, ...] | None,
    control: Control,
    chip: Given,
) -> Inverted:
    """The design that the options ask for.

    Args:
        inverting: which rule.
        weights: file of the network, or None.
        sizes: its layers, or None.
        control: the controller's options.
        chip: card, seeds and devices.
    """
    refuse(NONE_HERE, "tau_v", "relative_target")
    model, origin = make_model(weights, sizes, chip.seeds[0])
    controller, _ = control.applied(USUAL, 1.0)
    fast = FastControl(control.alpha or 0.0) if inverting.fast_control else None
    rule = inversion_rule(
        inverting.rule, model.network, controller, fast=fast, feedback=model.pathway
    )
    switches: Switches = chip.switches
    design = InversionDesign.placed(
        rule,
        chip.card,
        readout=Readout(switches.double_sampling, switches.auto_zero),
        scaling=switches.scaling,
        devices=chip.devices,
    )
    model = model._replace(rule=inverting.rule, pathway=rule.feedback)
    return Inverted(design, model, origin + chip.note, tuple(rule.notes()), chip.seeds)


def compare_inversion(
    made: Inverted,
    wanted: Mapping[str, Any],
    output: Path,
    figure_path: Path,
    spool_folder: Path,
    where: Where,
) -> Sequence[Comparison]:
    """Run an inversion in its realisations; write and print what they give.

    Args:
        made: the design.
        wanted: options of `compare` by name: samples, target_stepsize, duration, fidelity, engine,
            solver, jobs, time_limit, as_json.
        output: the record.
        figure_path: the figure.
        spool_folder: where finished simulations are kept until all are done.
        where: circuits are simulated.

    Returns:
        The comparisons.
    """
    design = made.design
    data = make_stimuli(
        made.model.network, wanted["samples"], made.seeds[0], wanted["target_stepsize"]
    )
    grid = Grid(_SPACING, max(1, round(wanted["duration"] / _SPACING)))
    study = InversionStudy(design, data.x, data.step, grid)
    levels: tuple[Fidelity, ...] = ("ideal", "macro")
    if wanted["fidelity"] != "both":
        levels = (wanted["fidelity"],)
    simulator = get_simulator(wanted["engine"], wanted["solver"])
    realisations: list[Realisation] = [Equations()]
    if "macro" in levels:
        realisations.append(Behaviour(made.seeds[1]))
    with (
        spool_beside(spool_folder) as spool,
        where.elsewhere(wanted["jobs"], kept=spool.folder) as executor,
    ):
        realisations += [
            InversionCells(
                level,
                simulator,
                seed=made.seeds[1],
                time_limit=wanted["time_limit"],
                jobs=wanted["jobs"] or os.cpu_count() or 1,
                spool=spool,
                executor=executor,
            )
            for level in levels
        ]
        with Bars() as bars, simulator_warnings() as warned:
            result = study.run(*realisations, progress=bars.show)
        result = replace(
            result, remarks=(*design.card.remarks, *made.notes, *warned, *result.remarks)
        )
        found = numbers(result)
        tree = inputs_tree(made.model, design, made.seeds, data)
        tree |= {"runs": runs_tree(design, data.x, result.runs), "settings": settings()}
        parts = chips(design, made.seeds[1])
        tree |= {f"chip{k}": chip_tree(chip) for k, chip in enumerate(parts, start=1)}
        records.write(output, {**tree, "results": found})
    figure = save_figure(inversion_figure(design, result.runs, made.seeds), figure_path)
    if wanted["as_json"]:
        about = {"network": "-".join(map(str, design.sizes)), "origin": made.origin}
        drawn = {"seed": made.seeds[0], "chip_seed": made.seeds[1], "rule": made.model.rule}
        whole = {**about, **drawn, "samples": data.source, **found}
        click.echo(json.dumps(whole, indent=2))
    else:
        _report.show_inversion(design, made.model.rule, made.origin, data.source, result)
        click.echo(f"wrote {output} and {figure}")
    return result.comparisons


def netlists_of(
    made: Inverted, fidelity: Fidelity, output: Path, own: Own
) -> Iterator[tuple[Netlist, InversionBench, Path]]:
    """The netlists of an inversion, each with its testbench and the folder that it goes into.

    Of layer pairs in sequence there is one a pair, whose target is what the pair above ends with;
    each has a folder of its own where there are several.

    Args:
        made: the design.
        fidelity: level of the cells.
        output: the folder.
        own: cells of one's own.
    """
    design = made.design
    data = make_stimuli(made.model.network, 1, made.seeds[0], None)
    grid = Grid(_SPACING, round(_DURATION / _SPACING))
    model: Realisation = Equations() if fidelity == "ideal" else Behaviour(made.seeds[1])
    ended = run(design, model, data.step, grid)
    parts = chips(design, made.seeds[1])
    for number, (links, chip) in enumerate(zip(design.circuits, parts, strict=True)):
        netlist = Netlist.of(chip, fidelity, cells=own)
        top = links[0].top
        target = ended.error(top, double_sampling=design.readout.double_sampling)[0]
        bench = InversionBench.of(design, number, netlist.chip, target, grid.duration)
        yield netlist, bench, output if len(parts) == 1 else output / f"layer{top}"


def bill_inversion(made: Inverted, wanted: Mapping[str, Any], output: Path) -> None:
    """Estimate what a backward pass costs; write and print it.

    Args:
        made: the design.
        wanted: options of `estimate` by name: samples, target_stepsize, accuracy, until,
            learning_rate, as_json.
        output: the record.
    """
    design = made.design
    data = make_stimuli(
        made.model.network, wanted["samples"], made.seeds[0], wanted["target_stepsize"]
    )
    with Bars() as bars:
        found = estimate_inversion(
            design,
            made.seeds[1],
            data.x,
            data.step,
            accuracy=wanted["accuracy"],
            until=wanted["until"],
            learning_rate=wanted["learning_rate"],
            progress=bars.show,
        )
    remarks = (*design.card.remarks, *made.notes, *found.remarks)
    told = cost_numbers(found) | records.remarks_tree(remarks)
    tree = inputs_tree(made.model, design, made.seeds, data) | {"settings": settings()}
    records.write(output, {**tree, "results": told})
    if wanted["as_json"]:
        about = {"network": "-".join(map(str, design.sizes)), "origin": made.origin}
        drawn = {"seed": made.seeds[0], "chip_seed": made.seeds[1], "rule": made.model.rule}
        click.echo(json.dumps({**about, **drawn, "samples": data.source, **told}, indent=2))
    else:
        _estimate.show_inversion(made.model.rule, made.origin, data.source, found, remarks)
        click.echo(f"wrote {output}")
