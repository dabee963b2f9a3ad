"""Figures, drawn without a display and written whole."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from analogdfc import records
from analogdfc.circuit.design import Design
from analogdfc.drawing import Axes, Figure, headed, new_figure, own_settings
from analogdfc.dynamics import Trajectory, Update
from analogdfc.errors import UserError
from analogdfc.files import MARK, check_apart, check_own, write_whole
from analogdfc.training.angles import Angles
from analogdfc.training.metrics import Metrics

__all__ = [
    "about",
    "alignment_figure",
    "check_outputs",
    "comparison_figure",
    "label",
    "save_figure",
    "training_figure",
]

# Colours of Okabe and Ito, told apart by the colour blind. The reference is broad and pale, so that
# what lies on it stays visible.
STYLES: tuple[tuple[str, str, float], ...] = (
    ("0.75", "-", 4.0),
    ("#0072B2", "-", 1.6),
    ("#D55E00", ":", 1.6),
    ("#000000", "--", 1.0),
)
_ANGLE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@own_settings()
def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure; the ending of the name decides the format (png, pdf, svg).

    Args:
        figure: the figure.
        path: the file.

    Raises:
        UserError: a format that can't be written, or a path that can't.
    """
    path = Path(path)
    image = io.BytesIO()
    try:
        kind = path.suffix.removeprefix(".") or "png"
        maker = {"Software" if kind == "png" else "Creator": MARK}
        figure.savefig(image, format=kind, dpi=150, metadata=maker)
    except ValueError as error:
        raise UserError(f"{path}: figures are written as .png, .pdf or .svg") from error
    try:
        write_whole(path, image.getvalue())
    except OSError as error:
        raise UserError(f"{path}: can't be written: {error.strerror}") from error
    return path


def check_outputs(record: Path, *beside: Path, read: Iterable[str | Path | None] = ()) -> None:
    """Make sure that a record and the files beside it can be written; called before long work.

    Args:
        record: the record.
        beside: figures, and whatever else is written with it.
        read: names of files that are read, in any place where one may be; None for none.

    Raises:
        UserError: two of them are the same file, one is read too, is a folder, lies where nothing
            can be written, or there is a file that the program didn't write.
    """
    check_apart([record, *beside], [Path(path) for path in read if path is not None])
    records.check_writable(record)
    for path in beside:
        check_own(path)


def about(design: Design, seeds: tuple[int, int | None] | None = None) -> list[str]:
    """What a figure says of a design above its panels: network, seeds, card and devices.

    Args:
        design: the design.
        seeds: of the network and its samples, and of the chip, None for nominal components; None
            where they aren't known.
    """
    network = f"network {'-'.join(map(str, design.sizes))}"
    if seeds is not None:
        chip = "nominal chip" if seeds[1] is None else f"chip seed {seeds[1]}"
        network += f", seed {seeds[0]}, {chip}"
    devices = [] if design.devices is None else [str(design.devices)]
    return [network, design.card.card.name, *devices]


@own_settings()
def comparison_figure(
    design: Design,
    runs: Mapping[str, Trajectory],
    seeds: tuple[int, int | None] | None = None,
) -> Figure:
    """Waveforms of several realisations on top of each other, and their updates as a scatter.

    Args:
        design: the design, for the scale of time.
        runs: trajectories by the name of the realisation; the first is the reference.
        seeds: of the samples and of the chip, for the heading; see `about`.
    """
    figure = new_figure(11, 7)
    axes = figure.subplots(2, 3)
    reference = next(iter(runs.values()))
    sample = int(reference.u[:, -1].norm(dim=-1).argmax())
    first, *rest = about(design, seeds)
    shown = f"sample {sample + 1} of {len(reference.u)}, the two largest traces"
    headed(figure, f"{first}; {shown}", *rest)
    micro = reference.t * design.seconds * 1e6
    hidden = reference.neurons.v[0][sample] - reference.free.v[0][sample]
    output = reference.neurons.v[-1][sample] - reference.free.v[-1][sample]
    control = reference.u[sample]
    for k, (name, run) in enumerate(runs.items()):
        colour, line, width = STYLES[k % len(STYLES)]
        style: dict[str, Any] = {
            "color": colour,
            "linestyle": line,
            "linewidth": width,
            "label": name,
        }
        for which in _strongest(hidden):
            trace = run.neurons.v[0][sample, :, which] - run.free.v[0][sample, which]
            axes[0, 0].plot(micro, trace, **style)
        for which in _strongest(output):
            trace = run.neurons.v[-1][sample, :, which] - run.free.v[-1][sample, which]
            axes[0, 1].plot(micro, trace, **style)
        for which in _strongest(control):
            axes[0, 2].plot(micro, run.u[sample, :, which], **style)
            axes[1, 0].plot(micro, run.u[sample, :, which], **style)
    layers = "output" if design.depth == 1 else "layer 1"
    label(axes[0, 0], f"potentials of {layers}, less free state", "time (us)", "v - v_free (1)")
    label(axes[0, 1], "output potentials, less free state", "time (us)", "v - v_free (1)")
    label(axes[0, 2], "control signals", "time (us)", "u (1)")
    label(axes[1, 0], "their onset", "time (us)", "u (1)")
    axes[1, 0].set_xlim(-0.01 * float(micro[-1]), 0.05 * float(micro[-1]))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes[0, 0].legend(unique.values(), unique.keys(), fontsize=8)
    _scatter(axes[1, 1], axes[1, 2], design, runs)
    return figure


def _strongest(traces: torch.Tensor, count: int = 2) -> list[int]:
    order = traces.square().mean(dim=0).argsort(descending=True)
    return [int(k) for k in order[:count]]


def _scatter(update: Axes, error: Axes, design: Design, runs: Mapping[str, Trajectory]) -> None:
    cds = design.readout.double_sampling
    updates = {n: Update.of(t, double_sampling=cds).flat().numpy() for n, t in runs.items()}
    first, *others = updates
    ideal = updates[first]
    largest = float(abs(ideal).max())
    update.plot([-largest, largest], [-largest, largest], color="0.7", linewidth=0.8)
    for k, name in enumerate(others, start=1):
        # Later ones are smaller, so that points on top of each other all stay visible.
        marks: dict[str, Any] = {
            "s": 40 / k**2,
            "color": STYLES[k % len(STYLES)][0],
            "linewidths": 0,
            "label": name,
        }
        update.scatter(ideal, updates[name], **marks)
        error.scatter(ideal, updates[name] - ideal, **marks)
    label(update, "weight and bias updates", f"{first} (1)", "other realisations (1)")
    label(error, "their difference", f"{first} (1)", f"other - {first} (1)")
    error.legend(fontsize=8)


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Title, axes and grid as all figures have them.

    Args:
        axes: the axes.
        title: their title.
        x: name and unit of the horizontal axis.
        y: name and unit of the vertical axis.
    """
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)


@own_settings()
def training_figure(history: Sequence[Metrics], outputs: int, heading: str = "") -> Figure:
    """Loss, and error where labels are classes, by epoch, of training, validation and test samples.

    Args:
        history: figures of the epochs, in their order; may be empty.
        outputs: how many the loss is summed over.
        heading: a line above all.
    """
    figure = new_figure(9, 3.8)
    headed(figure, heading)
    loss, error = figure.subplots(1, 2)
    epochs = [m.epoch for m in history]
    styles = zip(Metrics._fields[1:], ("#0072B2", "#D55E00", "#000000"), strict=True)
    for part, colour in styles:
        scores = [getattr(m, part) for m in history]
        style: dict[str, Any] = {"color": colour, "marker": ".", "label": part}
        if not all(math.isnan(s.loss) for s in scores):
            loss.plot(epochs, [s.loss for s in scores], **style)
        if not all(math.isnan(s.error) for s in scores):
            error.plot(epochs, [100 * s.error for s in scores], **style)
    many = f"{outputs} outputs" if outputs > 1 else "1 output"
    unit = f"loss of a sample (1, sum over {many})"
    label(loss, "loss (training: mean during the epoch)", "epoch", unit)
    label(error, "error at the end of the epoch", "epoch", "wrong answers (%)")
    losses = [s.loss for m in history for s in (m.train, m.validation, m.test)]
    if any(value > 0 for value in losses):
        loss.set_yscale("log")
    for axes in (loss, error):
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.lines:
            axes.legend(fontsize=8)
        else:
            axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="0.5")
    return figure


@own_settings()
def alignment_figure(found: Angles, heading: str = "") -> Figure:
    """Angles of each layer's update to ideal ones by step of learning, a panel a layer.

    Args:
        found: the angles.
        heading: a line above all.
    """
    depth = max((len(rows[0]) for rows in found.of.values() if rows), default=1)
    figure = new_figure(3.2 * depth + 1.2, 3.4)
    headed(figure, heading)
    panels = figure.subplots(1, depth, sharey=True, squeeze=False)[0]
    for i, axes in enumerate(panels):
        for (name, rows), colour in zip(found.of.items(), _ANGLE_COLOURS * 4, strict=False):
            curve = [row[i] for row in rows]
            if not all(map(math.isnan, curve)):
                marker = "." if len(curve) < 40 else None
                axes.plot(found.steps, curve, color=colour, marker=marker, label=name)
        label(axes, f"layer {i + 1}", "step", "angle to the update (degree)" if i == 0 else "")
        axes.set_ylim(bottom=0)
        if axes.lines:
            axes.legend(fontsize=8)
    return figure
