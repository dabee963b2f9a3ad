"""The options about the angles of updates, and their table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import click
from rich.table import Table

from analogdfc.cli._options import Count
from analogdfc.errors import UserError
from analogdfc.training import Angles, AngleSettings

_Command = TypeVar("_Command", bound=Callable[..., object])


def angle_options(command: _Command) -> _Command:
    """Options of a command that takes angles while it trains."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--alignment",
        metavar="UPDATE,UPDATE",
        help="Take the angle of each layer's update to ideal ones: bp, mn, mn-d, gn, gnt; a "
        "damping follows a colon, such as mn:0.1, and for gnt one a hidden layer, such as "
        "gnt:1:0.01. The record and a figure beside it, .alignment.png, have the curves.",
    ),
    click.option(
        "--every",
        type=Count(1),
        help="Steps of learning from one measurement to the next; needs --alignment.  "
        "[default: 100]",
    ),
)


def angles_of(alignment: str | None, every: int | None) -> AngleSettings | None:
    """Which angles are taken, and when; None for none.

    Raises:
        UserError: what `AngleSettings` refuses, or steps without angles.
    """
    if alignment is not None:
        return AngleSettings.parse(alignment, every or 100)
    if every is not None:
        raise UserError(f"--every {every}: needs --alignment, which says what is measured")
    return None


def angles_table(found: Angles) -> Table:
    """Mean angle of each layer's update to each ideal one."""
    means = found.means()
    table = Table()
    table.add_column("angle of the update to", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for i in range(1, max(map(len, means.values())) + 1):
        table.add_column(f"layer {i}", justify="right", no_wrap=True)
    for name, layers in means.items():
        cells = ("" if math.isnan(angle) else f"{angle:.2f}" for angle in layers)
        table.add_row(f"{name}, mean of {len(found.steps)}", "degree", *cells)
    return table
