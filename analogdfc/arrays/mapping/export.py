"""What somebody needs to program a chip: every conductance with its position."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc import records
from analogdfc.arrays.mapping.layout import Layout
from analogdfc.devices import DeviceModel, Programmed, Window, WriteVerify
from analogdfc.devices.draws import Streams
from analogdfc.errors import UserError
from analogdfc.files import write_whole
from analogdfc.records import Quantity

Column = NDArray[Any]
_MOST_PULSES = 1_000_000


def positions(layout: Layout) -> dict[str, Column]:
    """Where each device is and what it belongs to, in the order of the flattened conductances.

    Returns:
        Columns of the same length: `slice`, `tile_row` and `tile_column` name the array, `row` and
        `column` the place in it, all counted from 0. `input` and `output` are those of the weight;
        the bias rows are the inputs behind the last. `rail` is the row's, `+` or `-`; a reference
        column has the output -1.
    """
    scheme = layout.mapping.scheme
    slices, rails, columns, inputs = layout.shape
    tile_column, column, output = _places(layout)
    tile_row = np.empty(inputs, dtype=np.int64)
    inner = np.empty(inputs, dtype=np.int64)
    for k, (start, stop) in enumerate(layout.inputs):
        tile_row[start:stop], inner[start:stop] = k, np.arange(stop - start)
    s, p, c, i = (x.ravel() for x in np.indices((slices, rails, columns, inputs)))
    return {
        "slice": s,
        "tile_row": tile_row[i],
        "tile_column": tile_column[c],
        "row": inner[i] * rails + p,
        "column": column[c],
        "output": output[c],
        "input": i,
        "rail": np.array(scheme.rails)[p],
    }


def _places(layout: Layout) -> tuple[Column, Column, Column]:
    """Array, column in it, and output of all columns; the references come last."""
    extra = layout.mapping.scheme.references
    array = [k for k, (a, b) in enumerate(layout.outputs) for _ in range(b - a)]
    column = [j for a, b in layout.outputs for j in range(b - a)]
    output = list(range(len(array)))
    for k, (a, b) in enumerate(layout.outputs):
        for j in range(extra):
            array.append(k)
            column.append(b - a + j)
            output.append(-1)
    return np.array(array), np.array(column), np.array(output)


def pulses_to(target: Tensor, model: DeviceModel, start: float | None = None) -> Tensor:
    """Pulses that take the mean device from a start to targets, as near as pulses can.

    Args:
        target: conductances, any shape, in siemens.
        model: a device with pulses.
        start: where the devices stand, in siemens; by default at g_min.

    Returns:
        Integers of the same shape, > 0 up and < 0 down.

    Raises:
        UserError: a device without pulses, or one that needs more than a million of them.
    """
    if model.pulses is None:
        raise UserError("this device has no pulsed update; its card needs a section [pulse]")
    mean = model.pulses.uniform().quiet()
    window, begin = model.window, model.window.g_min if start is None else start
    least = mean.mean_step(window)
    target = target.detach().cpu().double()
    out = torch.zeros(target.shape, dtype=torch.int64)
    for sign, beyond in ((1, target >= begin), (-1, target < begin)):
        if not bool(beyond.any()):
            continue
        goal = float((target[beyond].max() if sign > 0 else target[beyond].min()).item())
        path = _path(mean, window, begin, goal, sign, least)
        order, wanted = sign * path, sign * target[beyond]
        after = torch.searchsorted(order, wanted).clamp(1, len(order) - 1)
        # Where two numbers of pulses lead as near, the fewer of them.
        slack = 1e-9 * window.span
        nearer = wanted - order[after - 1] <= order[after] - wanted + slack
        out[beyond] = sign * torch.where(nearer, after - 1, after)
    return out


def _path(mean: Any, window: Window, begin: float, goal: float, sign: int, least: float) -> Tensor:
    """Conductances of the mean device after 0, 1, 2, ... pulses, until the goal is passed."""
    count = int(abs(goal - begin) / least) + 2
    while True:
        if count > _MOST_PULSES:
            raise UserError(
                f"more than {_MOST_PULSES} pulses from {begin:g} to {goal:g} S; the device can't "
                "be taken there by pulses"
            )
        numbers = sign * torch.arange(count + 1)
        streams = Streams(torch.Generator())
        devices = mean.draw(tuple(numbers.shape), streams)
        g = torch.full((count + 1,), begin, dtype=torch.float64)
        path: Tensor = mean.apply(g, numbers, devices, window)
        last, before = float(path[-1]), float(path[-2])
        # The bound is where pulses end, whether the goal lies beyond it or not.
        if sign * (last - goal) >= 0 or abs(last - before) <= 1e-9 * window.span:
            return path
        count *= 2


def table(
    layout: Layout,
    target: Tensor,
    model: DeviceModel,
    devices: Programmed | None = None,
) -> dict[str, Column]:
    """Every device with its position, its target and how to get there.

    Args:
        layout: the arrays.
        target: target conductances, of the layout's shape, in siemens.
        model: the device.
        devices: the programmed devices; None where nothing is programmed yet.

    Returns:
        The columns of `positions`, then `target`, in siemens and rounded to the device's levels;
        for write and verify `lowest` and `highest`, the acceptance window, and `attempts`, the
        largest number of them; for a device with pulses `pulses` from g_min; with `devices` their
        conductance `programmed`.

    Raises:
        UserError: targets of another shape.
    """
    if tuple(target.shape) != layout.shape:
        raise UserError(f"targets of {tuple(target.shape)} for arrays of {layout.shape}")
    target = model.window.quantise(target.detach().cpu().double())
    out = positions(layout)
    out["target"] = target.flatten().numpy()
    if isinstance(model.programming, WriteVerify):
        half = model.programming.half_width(target).flatten()
        out["lowest"] = (target.flatten() - half).clamp(min=0).numpy()
        out["highest"] = (target.flatten() + half).numpy()
        out["attempts"] = np.full(target.numel(), model.programming.limit)
    if model.pulses is not None:
        out["pulses"] = pulses_to(target, model).flatten().numpy()
    if devices is not None:
        out["programmed"] = devices.g.detach().cpu().double().flatten().numpy()
    return out


SIEMENS = ("target", "lowest", "highest", "programmed")
"""Columns in siemens; the others have no unit."""


def write_csv(path: str | Path, columns: dict[str, Column]) -> Path:
    """Write a table, one device a line; a header names the columns with their units.

    Raises:
        UserError: the file can't be written.
    """
    path = Path(path)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"{name} (S)" if name in SIEMENS else name for name in columns])
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    try:
        write_whole(path, text.getvalue().encode())
    except OSError as error:
        raise UserError(f"{path}: can't be written: {error.strerror}") from error
    return path


def write_hdf5(path: str | Path, layers: dict[str, dict[str, Column]]) -> Path:
    """Write the tables of layers as one record, a group each.

    Raises:
        UserError: the file can't be written.
    """
    return records.write(
        path,
        {
            layer: {
                name: column.tolist()
                if column.dtype.kind == "U"
                else Quantity(column, "S" if name in SIEMENS else "1")
                for name, column in columns.items()
            }
            for layer, columns in layers.items()
        },
    )
