"""`analogdfc characterise`: the data sheet of a cell, and the technology card of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from analogdfc import records, trees
from analogdfc.cards.technology import Card
from analogdfc.characterise import CELLS as BENCHES
from analogdfc.characterise import Conditions, Sheet, characterise, characterised
from analogdfc.characterise.figure import sheet_figure
from analogdfc.cli import _characterise
from analogdfc.cli._design import (
    CELLS,
    ENGINE,
    JSON,
    SOLVER,
    TIME_LIMIT,
    Bars,
    cell_files,
    own_cells,
)
from analogdfc.cli._options import SEED, Count, Finite, bundled, check_outputs, refuse, settings
from analogdfc.errors import UserError
from analogdfc.files import beside, stamped, write_all
from analogdfc.kits import CORNERS, KITS, Corner, get_kit
from analogdfc.plots import save_figure
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.own import OwnDevice, own_texts

# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc characterise opamp --pdk generic -o opamp.h5
  analogdfc characterise tanh --pdk generic --card opamp.toml -o cells.h5
  analogdfc compare --sizes 3-4-2 --card cells.toml
"""


@dataclass(frozen=True)
class _Options:
    """Conditions, as given."""

    pdks: tuple[str, ...]
    corners: tuple[Corner, ...]
    temperatures: tuple[float, ...]
    load: float
    load_capacitance: float
    heavy_load: float
    draws: int
    seed: int
    engine: str
    solver: str
    time_limit: float


@click.command(
    "characterise",
    short_help="Data sheet and technology card of a cell.",
    epilog=_EXAMPLES,
)
@click.argument("cell", type=click.Choice(list(BENCHES)))
@click.option(
    "--card",
    default="discrete_100mhz",
    show_default=True,
    help="Technology card whose other entries the new card keeps; with --pdk by default the kit's. "
    "Without --pdk the macro cell of this card is characterised.",
)
@click.option(
    "--pdk",
    "pdks",
    multiple=True,
    type=click.Choice(list(KITS)),
    help="Process kit whose transistors the cell has. May be given several times.",
)
@click.option(
    "--corner",
    "corners",
    multiple=True,
    type=click.Choice(CORNERS),
    default=("typical",),
    show_default=True,
    help="Corner of the process, NMOS first; needs --pdk. May be given several times.",
)
@click.option(
    "--temperature",
    "temperatures",
    multiple=True,
    type=Finite(min=-273.15, max=1000, min_open=True, max_open=True),
    default=(27.0,),
    show_default=True,
    help="In degrees Celsius. May be given several times.",
)
@CELLS
@click.option(
    "--load",
    type=Finite(min=0, min_open=True),
    default=100e3,
    show_default=True,
    help="Resistance at the amplifier's output, in ohms.",
)
@click.option(
    "--load-capacitance",
    type=Finite(min=0),
    default=1e-12,
    show_default=True,
    help="Capacitance beside it, in farads.",
)
@click.option(
    "--heavy-load",
    type=Finite(min=0, min_open=True),
    default=16e3,
    show_default=True,
    help="Resistance into which its swing is measured, in ohms.",
)
@click.option(
    "--draws",
    type=Count(0, most=10**5),
    default=100,
    show_default=True,
    help="Copies of the cell whose transistors are drawn, for its mismatch; 0 for none.",
)
@click.option("--seed", type=SEED, default=1, show_default=True, help="Of the draws.")
@ENGINE
@SOLVER
@TIME_LIMIT
@JSON
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Record to write (HDF5); the figure goes beside it as .png, the card as .toml, one for "
    "each kit, corner and temperature.  [default: CELL.h5]",
)
@bundled("options", _Options)
def command(
    cell: str,
    card: str,
    cells: tuple[str, ...],
    as_json: bool,
    output: Path | None,
    options: _Options,
) -> None:
    """Data sheet and technology card of a cell.

    Runs the cell in small test circuits in ngspice and prints what a data sheet has; writes a
    technology card with it, which every other command takes.
    """
    if not options.pdks:
        refuse("without --pdk there is no process that has it", "corners", "draws", "seed")
    if cell != "opamp":
        refuse("it is an op-amp's", "load", "load_capacitance", "heavy_load")
    if cell in ("switch", "hold"):
        refuse(f"nothing of a {cell} is drawn", "draws", "seed")
    output = output or Path(f"{cell}.h5")
    own = own_cells(cells)
    cases = _cases(card, own, options)
    paths = [beside(output, f"{end}.toml") for end in _endings(cases)]
    figure_path = beside(output, ".png")
    check_outputs(output, figure_path, *paths, read=(card, *cell_files(own)))
    simulator = get_simulator(options.engine, options.solver)
    sheets: list[Sheet] = []
    with Bars() as bars:
        for case in cases:
            bars.show("conditions", len(sheets), len(cases))
            sheets.append(characterise(cell, case, simulator, options.time_limit))
        bars.show("conditions", len(sheets), len(cases))
    texts = [characterised(case.card, [sheet]) for case, sheet in zip(cases, sheets, strict=True)]
    found: dict[str, records.Leaf | records.Tree] = {
        "provenance": records.provenance(),
        "settings": settings(),
        "cell": cell,
        "cells": own_texts(own),
    }
    for k, (sheet, text) in enumerate(zip(sheets, texts, strict=True)):
        found[f"case{k}"] = {**sheet.tree(), "card": text}
    records.write(output, found)
    figure = save_figure(sheet_figure(sheets), figure_path)
    _write(dict(zip(paths, texts, strict=True)))
    if as_json:
        click.echo(json.dumps(trees.as_json(_characterise.numbers(sheets)), indent=2))
        return
    _characterise.show(cases, sheets)
    click.echo(f"wrote {output}, {figure} and {', '.join(map(str, paths))}")


def _cases(card: str, own: dict[str, Path | OwnDevice], options: _Options) -> list[Conditions]:
    """Every kit, corner and temperature."""
    context = click.get_current_context()
    default = context.get_parameter_source("card") is ParameterSource.DEFAULT
    pdks: tuple[str | None, ...] = tuple(dict.fromkeys(options.pdks)) or (None,)
    return [
        Conditions(
            Card.load(pdk if pdk is not None and default else card),
            None if pdk is None else get_kit(pdk, corner),
            celsius=celsius,
            own=own,
            load=options.load,
            load_capacitance=options.load_capacitance,
            heavy_load=options.heavy_load,
            draws=options.draws,
            seed=options.seed,
        )
        for pdk in pdks
        for corner in dict.fromkeys(options.corners)
        for celsius in dict.fromkeys(options.temperatures)
    ]


def _endings(cases: list[Conditions]) -> list[str]:
    """What tells the cards' names apart: nothing of a single one."""
    if len(cases) == 1:
        return [""]
    return [f"_{'_'.join(case.short.split())}" for case in cases]


def _write(texts: dict[Path, str]) -> None:
    try:
        write_all({path: stamped(text, "#").encode() for path, text in texts.items()})
    except OSError as error:
        raise UserError(f"{error.filename}: can't be written: {error.strerror}") from error
