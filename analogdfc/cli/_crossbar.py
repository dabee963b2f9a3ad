"""What `crossbar` prints and records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from analogdfc import records
from analogdfc.arrays.figure import percent
from analogdfc.arrays.product_error import CAUSES, CrossbarError, Product
from analogdfc.cli._console import make_console
from analogdfc.records import Quantity

_LEGEND = """\
NRMSE: rms error of the product over rms of the ideal product, over outputs, inputs and draws.
alone: all other causes switched off. without: only this cause switched off."""


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
        key: Quantity(
            [causes[n][f"nrmse_{key}_percent"] for n in names], "percent", text, ("cause",)
        )
        for key, text in (
            ("alone", "all other causes switched off"),
            ("without", "only this cause switched off"),
        )
    }
    cell = ("stuck cell",)
    return {
        "kind": "crossbar",
        "settings": dict(about),
        "provenance": records.provenance(),
        "card": card,
        "weights": Quantity(
            product.weights.numpy(), "1", "of the product y = W x", ("output", "input")
        ),
        "x": Quantity(product.x.numpy(), "1", "input vectors", ("vector", "input")),
        "stuck": {
            name: Quantity(
                np.array([getattr(c, name) for c in product.stuck], dtype=kind), unit, what, cell
            )
            for name, kind, unit, what in (
                ("row", np.int64, "1", "of a cell that is stuck, from 0"),
                ("column", np.int64, "1", "of a cell that is stuck, from 0"),
                ("g", np.float64, "S", "conductance at which it is stuck"),
            )
        },
        "cells": {
            "target": _cells(found.target, "S", "conductances to program"),
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
    return Quantity(x[0].numpy(), units, text, ("row (input rail)", "column (output)"))


def show(heading: str, product: Product, found: CrossbarError) -> None:
    """Print the table and the worst of the cells."""
    console = make_console()
    console.print(heading, highlight=False, markup=False, soft_wrap=True)
    table = Table()
    table.add_column("cause", no_wrap=True)
    table.add_column("alone\nNRMSE (%)", justify="right")
    table.add_column("without it\nNRMSE (%)", justify="right")
    for name, cause in found.causes.items():
        table.add_row(escape(name), percent(cause.alone), percent(cause.without))
    table.add_section()
    table.add_row("all", f"{percent(found.total)} +- {percent(found.spread)}", "")
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
