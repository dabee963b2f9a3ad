"""`compare --steps`: two trainings through realisations of a chip, step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from analogdfc import records
from analogdfc.cli._console import make_console
from analogdfc.cli._options import check_outputs
from analogdfc.files import beside
from analogdfc.onchip.beside import Beside, beside_figure
from analogdfc.plots import save_figure

_ROWS = {
    "weight_change_error_percent": ("weights apart at the end, of their change", "%"),
    "update_angle_largest_degree": ("largest angle between the updates of a step", "degree"),
    "update_angle_median_degree": ("median angle", "degree"),
    "update_error_largest_percent": ("largest error of an update", "%"),
    "loss_difference_largest": ("largest difference of the losses of a step", "1"),
}


def compare_steps(files: tuple[Path, Path], output: Path, *, as_json: bool) -> None:
    """Lay two records beside each other and show what is found.

    Args:
        files: the records, the reference first.
        output: record to write; the figure goes beside it.
        as_json: print the numbers for machines.
    """
    figure_path = beside(output, ".png")
    check_outputs(output, figure_path, read=files)
    found = Beside.of(*map(records.read, files))
    numbers = found.numbers()
    sources = {"reference": str(files[0]), "other": str(files[1])}
    tree = {"provenance": records.provenance(), "trainings": sources, "steps": found.tree()}
    records.write(output, {**tree, "results": numbers})
    title = f"{found.names[1]} against {found.names[0]}, {len(found.angle)} steps"
    figure = save_figure(beside_figure(found, title), figure_path)
    if as_json:
        click.echo(json.dumps({**sources, **numbers}, indent=2))
        return
    _show(title, numbers)
    click.echo(f"wrote {output} and {figure}")


def _show(title: str, numbers: dict[str, Any]) -> None:
    console = make_console()
    console.print(title, highlight=False, soft_wrap=True)
    table = Table()
    table.add_column("figure")
    table.add_column("unit", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    for name, (what, unit) in _ROWS.items():
        table.add_row(what, unit, f"{numbers[name]:.3g}")
    for part, unit in (("mean_loss", "1"), ("wrong_percent", "%")):
        for way, value in numbers[part].items():
            table.add_row(
                f"{part.removesuffix('_percent').replace('_', ' ')}, {way}", unit, f"{value:.4g}"
            )
    for what, count in numbers.get("pulses", {}).items():
        table.add_row(f"pulses {what.replace('_', ' ')}", "1", str(count))
    console.print(table)
