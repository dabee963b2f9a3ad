"""What `crossbar` prints, draws and records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from analogdfc import records
from analogdfc.arrays.product_error import CAUSES, CrossbarError, Product
from analogdfc.cli._console import make_console
from analogdfc.records import Quantity

_LEGEND = """\
NRMSE: rms error of the product over rms of the ideal product, over outputs, inputs and draws.
alone: all other causes switched off. without: only this cause switched off."""
_ALONE, _WITHOUT, _TOTAL = "#0072B2", "#D55E00", "0.35"


def title(about: Mapping[str, Any], product: Product) -> str:
    """One line that says what was measured."""
    arrays = "" if about["arrays"] == 1 else f" in {about['arrays']} arrays"
    return (
        f"{about['matrix']}, {about['outputs']} x {about['inputs']}, on {about['rows']} x "
        f"{about['columns']} cells{arrays} of {about['card']}, {product.time:g} s after programming"
    )


def numbers(product: Product, found: CrossbarError) -> dict[str, Any]:
    """The results, with units in the names, for JSON."""
    lines, window = product.lines, product.model.window
    return {
        "time_seconds": product.time,
        "read_voltage_volts": product.read_voltage,
        "word_line_ohm": lines.r_word,
        "bit_line_ohm": lines.r_bit,
        "driver_ohm": lines.r_driver,
        "sense_ohm": lines.r_sense,
        "driven": lines.driven,
        "sensed": lines.sensed,
        "g_min_siemens": window.g_min,
        "g_max_siemens": window.g_max,
        "nrmse_percent": 100 * found.total,
        "nrmse_spread_percent": 100 * found.spread,
        "causes": {
            name: {
                "nrmse_alone_percent": 100 * cause.alone,
                "nrmse_without_percent": 100 * cause.without,
            }
            for name, cause in found.causes.items()
        },
        "drive_rms_volts": found.drive,
        "voltage_loss_rms_volts": float(found.voltage_loss.square().mean().sqrt()),
        "voltage_loss_largest_volts": float(found.voltage_loss.max()),
        "cell_error_rms_percent": 100 * float(found.cell_error.square().mean().sqrt()),
        "cell_error_largest_percent": 100 * float(found.cell_error.max()),
    }


def tree(
    about: Mapping[str, Any], product: Product, found: CrossbarError, card: str
) -> dict[str, Any]:
    """The record: inputs, conductances and errors of each cell, errors by cause."""
    measured = numbers(product, found)
    causes = measured.pop("causes")
    names = list(causes)
    split = {
        key: Quantity([causes[n][f"nrmse_{key}_percent"] for n in names], "percent", text)
        for key, text in (
            ("alone", "all other causes switched off"),
            ("without", "only this cause switched off"),
        )
    }
    return {
        "kind": "crossbar",
        "settings": dict(about),
        "provenance": records.provenance(),
        "card": card,
        "weights": Quantity(product.weights.numpy(), "1", "outputs x inputs"),
        "x": Quantity(product.x.numpy(), "1", "input vectors"),
        "stuck": {
            "row": Quantity(np.array([c.row for c in product.stuck], dtype=np.int64), "1"),
            "column": Quantity(np.array([c.column for c in product.stuck], dtype=np.int64), "1"),
            "g": Quantity(np.array([c.g for c in product.stuck], dtype=np.float64), "S"),
        },
        "cells": {
            "target": _cells(found.target, "S", "conductances to program, rows x columns"),
            "read": _cells(found.read, "S", "conductances of the first draw, read"),
            "error": _cells(found.cell_error, "1", "rms of effective less target, over the span"),
            "voltage_loss": _cells(found.voltage_loss, "V", "rms over the inputs, first draw"),
        },
        "results": {
            **measured,
            "causes": {"name": names, **split} if names else {},
        },
    }


def _cells(x: Tensor, units: str, text: str) -> Quantity:
    return Quantity(x[0].numpy(), units, text)


def show(heading: str, product: Product, found: CrossbarError) -> None:
    """Print the table and the worst of the cells."""
    console = make_console()
    console.print(heading, highlight=False, markup=False, soft_wrap=True)
    table = Table()
    table.add_column("cause", no_wrap=True)
    table.add_column("alone\nNRMSE (%)", justify="right")
    table.add_column("without it\nNRMSE (%)", justify="right")
    for name, cause in found.causes.items():
        table.add_row(escape(name), _percent(cause.alone), _percent(cause.without))
    table.add_section()
    table.add_row("all", f"{_percent(found.total)} +- {_percent(found.spread)}", "")
    console.print(table)
    absent = [name for name in CAUSES if name not in found.causes]
    for line in (*_LEGEND.splitlines(), f"Not there: {', '.join(absent) or 'none'}."):
        console.print(line, style="dim", highlight=False, soft_wrap=True)
    for name, values, unit in (
        ("relative error of a cell, over the window", 100 * found.cell_error[0], "%"),
        ("voltage lost by a cell, over the drive", 100 * found.voltage_loss[0] / found.drive, "%"),
    ):
        rms, worst = float(values.square().mean().sqrt()), float(values.max())
        row, column = divmod(int(values.argmax()), values.shape[1])
        place = f", at row {row}, column {column}" if worst > 0 else ""
        text = f"{name}: {rms:.3g} {unit} rms, {worst:.3g} {unit} at most{place}"
        console.print(text, highlight=False, soft_wrap=True)


def _percent(share: float) -> str:
    """In percent; a rounding error is 0."""
    return f"{100 * share:.3g}" if share > 1e-12 else "0"


def figure(product: Product, found: CrossbarError, heading: str) -> Figure:
    """Errors by cause, and the maps of the cells: voltage lost on the lines, relative error."""
    rows, columns = product.shape
    # Maps in the shape of the array where that leaves them wide or high enough to be read.
    width = min(max(4.2 * columns / rows, 2.6), 5.5)
    out = Figure(figsize=(5.0 + 2 * (width + 1.2), 5.4), layout="constrained")
    bars, loss, error = out.subplots(1, 3, width_ratios=[4.2, width, width])
    _bars(bars, found)
    _map(
        out,
        loss,
        100 * found.voltage_loss[0].numpy() / found.drive,
        "voltage lost on the lines",
        "rms, relative to the drive (%)",
        "viridis",
    )
    _map(
        out,
        error,
        100 * found.cell_error[0].numpy(),
        "error of a cell",
        "rms, relative to g_max - g_min (%)",
        "magma",
    )
    out.suptitle(heading, fontsize=10)
    return out


def _bars(axes: Axes, found: CrossbarError) -> None:
    """Two bars a cause, the error with all of them as a line."""
    names = list(found.causes)
    place = np.arange(len(names))
    values = {
        "alone": (-0.2, _ALONE, [100 * c.alone for c in found.causes.values()]),
        "all but this": (0.2, _WITHOUT, [100 * c.without for c in found.causes.values()]),
    }
    for label, (shift, colour, percents) in values.items():
        drawn = axes.barh(place + shift, percents, 0.36, color=colour, label=label)
        for text in axes.bar_label(
            drawn, [_percent(v / 100) for v in percents], padding=3, fontsize=8
        ):
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    total = 100 * found.total
    axes.axvline(
        total,
        color=_TOTAL,
        linestyle="--",
        zorder=0.5,
        label=f"all causes: {_percent(found.total)} %",
    )
    axes.set_yticks(place, names)
    axes.set_ylim(max(len(names), 4) - 0.5, -0.5)
    largest = max([total, *(v for _, _, percents in values.values() for v in percents)])
    axes.set_xlim(0, 1.17 * largest if largest > 1e-10 else 1)
    if not names:
        axes.text(0.5, 0.5, "no cause", transform=axes.transAxes, ha="center", color="0.5")
    axes.set_xlabel("NRMSE of the product (%)")
    axes.set_title("error by cause", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    if names:
        axes.legend(
            fontsize=8, loc="upper center", bbox_to_anchor=(0.45, -0.11), ncols=3, frameon=False
        )


def _map(
    out: Figure, axes: Axes, values: NDArray[np.float64], name: str, label: str, colours: str
) -> None:
    # A few stuck cells must not leave all others black.
    largest, usual = float(values.max()), float(np.quantile(values, 0.995))
    clipped = 0 < 1.5 * usual < largest
    top = (usual if clipped else largest) or 1.0
    image = axes.imshow(
        values, cmap=colours, aspect="auto", interpolation="nearest", vmin=0, vmax=top
    )
    axes.set_title(name, fontsize=10)
    axes.set_xlabel("column (bit line)")
    axes.set_ylabel("row (word line)")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    if largest == 0:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="white")
    bar = out.colorbar(
        image, ax=axes, location="right", pad=0.02, extend="max" if clipped else "neither"
    )
    most = f"; at most {largest:.3g}" if clipped else ""
    bar.set_label(f"{label}{most}", fontsize=9)
