"""Figure of training through the hardware beside the ideal rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from analogdfc.drawing import Axes, EngFormatter, Figure, headed, new_figure, own_settings
from analogdfc.onchip.convergence import Convergence

NAMES = {"hardware": "through the hardware", "dfc-ss": "ideal rule", "bp": "backpropagation"}
COLOURS = {"hardware": "#D55E00", "dfc-ss": "#0072B2", "bp": "0.45"}


@own_settings()
def convergence_figure(
    convergence: Convergence,
    time_per_sample: float | None = None,
    heading: Sequence[str] = (),
) -> Figure:
    """Accuracy or loss on held-out samples against samples seen.

    Lines are the mean over seeds, bands reach from the lowest to the highest. A run that met the
    target and ended keeps its last value, which a point marks.

    Args:
        convergence: from `converge`.
        time_per_sample: seconds on the chip, for the axis at the top; None for no such axis.
        heading: lines above all.
    """
    figure = new_figure(6.4, 4.8)
    headed(figure, *heading)
    axes = figure.subplots()
    share = convergence.measure == "accuracy"
    factor = 100.0 if share else 1.0
    for rule in convergence.rules:
        _draw(axes, convergence, rule, factor)
    axes.axhline(factor * convergence.target, color="black", linestyle="--", linewidth=1)
    axes.annotate(
        "target",
        (1, factor * convergence.target),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    what = "held-out samples"
    axes.set_xlabel("samples seen")
    axes.set_ylabel(f"accuracy on {what} (%)" if share else f"loss on {what} (1)")
    axes.grid(color="0.92")
    axes.legend(fontsize=8, loc="lower right" if share else "upper right")
    if time_per_sample is not None:
        _time_axis(axes, time_per_sample)
    return figure


def _draw(axes: Axes, convergence: Convergence, rule: str, factor: float) -> None:
    samples, curves = convergence.curves(rule)
    curves = factor * curves
    colour = COLOURS[rule]
    axes.plot(samples, curves.nanmean(dim=0), color=colour, label=NAMES[rule], linewidth=1.6)
    if len(curves) > 1:
        nowhere = curves.isnan()
        low = torch.where(nowhere, torch.inf, curves).amin(dim=0)
        high = torch.where(nowhere, -torch.inf, curves).amax(dim=0)
        seen = ~nowhere.all(dim=0)
        axes.fill_between(samples[seen], low[seen], high[seen], color=colour, alpha=0.2, lw=0)
    for run, curve in zip(convergence.of(rule), curves, strict=True):
        if run.reached is not None:
            axes.plot(run.reached, curve[-1], ".", color=colour, markersize=7)


def _time_axis(axes: Axes, seconds: float) -> None:
    top = axes.secondary_xaxis(
        "top",
        functions=(lambda n: np.multiply(n, seconds), lambda t: np.divide(t, seconds)),
    )
    top.xaxis.set_major_formatter(EngFormatter("s"))
    top.set_xlabel("time on the chip")
