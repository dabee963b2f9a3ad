"""Curves of trainings beside what a paper prints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analogdfc.drawing import Figure, headed, new_figure, own_settings
from analogdfc.experiments.results import Curves, Values, values
from analogdfc.reproduction.cells import Cell
from analogdfc.reproduction.training import FIGURES, Course
from analogdfc.training import Angles

if TYPE_CHECKING:
    from analogdfc.reproduction.claims import Drawn

__all__ = ["angle_curves", "claim_curves", "image_rows", "training_curves"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "0.55")
_TEST_LOSSES = ("test loss", "test loss, sum over outputs")
_OVER_OUTPUTS = ("test loss", "least training loss, mean over outputs")


@own_settings()
def training_curves(curves: Mapping[Cell, Sequence[Course]], heading: str) -> Figure:
    """The figure that a table prints, by epoch, mean and range over seeds; a panel a column.

    A dashed line of the same colour is the paper's value, at the end of its training.

    Args:
        curves: trainings by cell, at least one each.
        heading: a line above all.
    """
    columns = {cell.name.partition("/")[0]: cell.column for cell in curves}
    figure = new_figure(4.6 * len(columns) + 1.6, 3.8)
    headed(figure, heading)
    panels = np.ravel(figure.subplots(1, len(columns)))
    for axes, (name, column) in zip(panels, columns.items(), strict=True):
        own = {cell: found for cell, found in curves.items() if cell.column is column}
        for k, (cell, courses) in enumerate(own.items()):
            colour = _COLOURS[k % len(_COLOURS)]
            length = min(len(c.history) for c in courses)
            taken = np.array([by_epoch(c, column.figure)[:length] for c in courses])
            epochs = np.arange(1, length + 1)
            style = {"color": colour, "marker": "." if length < 30 else None, "label": cell.row}
            axes.plot(epochs, taken.mean(axis=0), **style)
            axes.fill_between(epochs, taken.min(axis=0), taken.max(axis=0), alpha=0.2, fc=colour)
            if not math.isnan(printed := column.values[cell.row][0]):
                axes.axhline(printed, color=colour, linestyle="--", linewidth=0.8)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("epoch")
        percent = column.figure == "test error"
        unit = FIGURES[column.figure][0]
        axes.set_ylabel("test error (%)" if percent else f"{column.figure} ({unit})")
        if not percent:
            axes.set_yscale("log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="0.92")
        axes.legend(fontsize=7)
    return figure


def by_epoch(course: Course, figure: str) -> list[float]:
    """What a table prints of a training, epoch after epoch.

    Args:
        course: the training.
        figure: key of `training.FIGURES`.
    """
    share = course.outputs if figure in _OVER_OUTPUTS else 1
    if figure == "test error":
        return [100 * m.test.error for m in course.history]
    if figure == "time of an epoch":
        return [course.seconds / len(course.history)] * len(course.history)
    if figure in _TEST_LOSSES:
        return [m.test.loss / share for m in course.history]
    return [m.train.loss / share for m in course.history]


@own_settings()
def claim_curves(
    curves: Sequence[tuple[str, Curves]], drawn: Sequence[Drawn], heading: str
) -> Figure:
    """Curves of a seed's runs, a panel each; of many networks all are drawn.

    Args:
        curves: of the runs, each with what tells the run from the others.
        drawn: the panels.
        heading: a line above all.
    """
    figure = new_figure(4.6 * len(drawn) + 1.2, 3.8)
    headed(figure, heading)
    for axes, panel in zip(np.ravel(figure.subplots(1, len(drawn))), drawn, strict=True):
        for k, (name, curve) in enumerate(_lines(curves, panel)):
            style = {"color": _COLOURS[k % len(_COLOURS)], "linestyle": _dashes(k)}
            axes.plot(curve, **style, linewidth=0.6 if curve.ndim > 1 else 1.4)
            axes.plot([], [], **style, label=name)
        axes.set_xlabel(panel.x)
        axes.set_ylabel(panel.y)
        if panel.log:
            axes.set_yscale("log")
        axes.grid(color="0.92")
        axes.legend(fontsize=7)
    return figure


def _lines(runs: Sequence[tuple[str, Curves]], panel: Drawn) -> list[tuple[str, Values]]:
    """What is drawn in a panel, by what its legend says: the run, the curve, or both."""
    out = []
    for name in panel.curves:
        own = [(run, values(c, name)) for run, c in runs if name in c and values(c, name).size]
        for run, curve in own:
            parts = ([run] if len(own) > 1 else []) + ([name] if len(panel.curves) > 1 else [])
            out.append((", ".join(parts) or name, curve))
    return out


def _dashes(k: int) -> str:
    """Style of a line, another one once all colours are taken."""
    return ("-", "--", ":")[k // len(_COLOURS) % 3]


_WINDOW = 20
"""Parts of a curve over which angles are averaged, as in the papers' figures."""


@own_settings()
def angle_curves(found: Mapping[str, Angles], shown: str, heading: str) -> Figure:
    """Angles of each layer by step, a window's average and standard deviation; a panel a layer.

    Args:
        found: the angles, by method.
        shown: the reference; that of a damping where a method has one of its own.
        heading: a line above all.
    """
    curves = {name: _columns(angles, shown) for name, angles in found.items()}
    depth = max((c.shape[1] for _, c in curves.values()), default=1)
    figure = new_figure(3.0 * depth + 2.6, 3.6)
    headed(figure, heading)
    panels = np.ravel(figure.subplots(1, depth, sharey=True, squeeze=False))
    for k, (name, (steps, angles)) in enumerate(curves.items()):
        colour, style = _COLOURS[k % len(_COLOURS)], _dashes(k)
        count = max(1, len(steps) // _WINDOW)
        for i, axes in enumerate(panels):
            windows = np.array_split(angles[:, i], max(1, len(steps) // count))
            at = [float(w.mean()) for w in np.array_split(steps, len(windows))]
            mean = np.array([w.mean() for w in windows])
            spread = np.array([w.std() for w in windows])
            axes.plot(at, mean, style, color=colour, marker=".", markersize=3, label=name)
            axes.fill_between(at, mean - spread, mean + spread, alpha=0.15, fc=colour)
    for i, axes in enumerate(panels, start=1):
        axes.set_title(f"layer {i}", fontsize=10)
        axes.set_xlabel("step")
        axes.grid(color="0.92")
    panels[0].set_ylabel(f"angle to the {shown} updates (degree)")
    panels[-1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _columns(angles: Angles, shown: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Steps, and the angles to the last reference of that name, (measurements, layers)."""
    name = [n for n in angles.of if n.partition(":")[0] == shown.partition(":")[0]][-1]
    name = shown if shown in angles.of else name
    return np.array(angles.steps), np.array(angles.of[name])


@own_settings()
def image_rows(pictures: Mapping[str, NDArray[Any]], heading: str) -> Figure:
    """Images in grey, a row a name, all rows in the scale of the first.

    Args:
        pictures: by name, (images, height, width), as many everywhere.
        heading: a line above all.
    """
    first = next(iter(pictures.values()))
    figure = new_figure(0.8 * len(first) + 1.4, 0.8 * len(pictures) + 0.6)
    headed(figure, heading)
    grid = figure.subplots(len(pictures), len(first), squeeze=False)
    for row, (name, images) in zip(grid, pictures.items(), strict=True):
        for axes, image in zip(row, images, strict=True):
            axes.imshow(image, cmap="gray", vmin=first.min(), vmax=first.max())
            axes.set_xticks([])
            axes.set_yticks([])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    return figure
