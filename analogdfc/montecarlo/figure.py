"""The figure of many chips: their angles with the bound, and what goes with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analogdfc.circuit.design import Design
from analogdfc.drawing import Axes, Figure, headed, new_figure, own_settings
from analogdfc.montecarlo.found import Yield
from analogdfc.plots import about, label

_SHOWN = 8
"""Correlations that the figure has room for."""

_CHANCE = 0.05


@own_settings()
def yield_figure(design: Design, found: Yield) -> Figure:
    """Histogram of the chips' angles with the bound, and what goes with a large angle.

    Args:
        design: the design.
        found: its chips.
    """
    figure = new_figure(11, 4.5)
    network, *card = about(design)
    seeds = found.chips.seeds
    low, high = (100 * end for end in found.interval)
    headed(
        figure,
        f"{network}, {len(seeds)} chips from seed {seeds[0]}",
        ", ".join(card),
        f"yield {100 * found.share:.3g} % (95 % confidence: {low:.3g} to {high:.3g} %)",
    )
    histogram, causes = figure.subplots(1, 2)
    _histogram(histogram, found)
    _correlations(causes, found)
    return figure


@own_settings()
def conditions_figure(design: Design, found: Sequence[Yield]) -> Figure:
    """Angles of chips under several conditions: all of the model, and each of the circuits.

    Args:
        design: the design.
        found: its chips under each condition.
    """
    figure = new_figure(9, 2 + 0.4 * len(found))
    network, *card = about(design)
    headed(figure, f"{network}, chips under {len(found)} conditions", ", ".join(card))
    axes = figure.subplots()
    for row, one in enumerate(found):
        low, _, middle, _, high = one.quantiles().values()
        if np.isfinite(high):
            name = "model: 5 to 95 % of the chips, and their median" if row == 0 else None
            axes.plot([low, high], [row, row], color="#0072B2", linewidth=6, alpha=0.4, label=name)
        if np.isfinite(middle):
            axes.plot([middle], [row], "|", color="#0072B2", markersize=14)
        angles = list(one.circuits.angles.values())
        name = "circuits" if row == 0 else None
        axes.plot(angles, [row] * len(angles), ".", color="#009E73", label=name)
    axes.axvline(found[0].max_angle, color="#D55E00", linestyle="--", label="bound")
    axes.set_yticks(range(len(found)), [str(one.condition) for one in found], fontsize=8)
    axes.invert_yaxis()
    label(axes, "update of a chip against the ideal one", "angle (degrees)", "")
    axes.legend(fontsize=8)
    return figure


def _histogram(axes: Axes, found: Yield) -> None:
    known = found.angles[np.isfinite(found.angles)]
    missing = len(found.angles) - len(known)
    note = f", {missing} without a result" if missing else ""
    if len(known):
        axes.hist(known, bins=max(5, round(len(known) ** 0.5)), color="#0072B2")
    axes.axvline(found.max_angle, color="#D55E00", linestyle="--", label="bound")
    label(axes, f"update of a chip against the ideal one{note}", "angle (degrees)", "chips")
    axes.legend(fontsize=8)


def _correlations(axes: Axes, found: Yield) -> None:
    shown = found.correlations[:_SHOWN][::-1]
    colours = ["#0072B2" if c.chance < _CHANCE else "0.75" for c in shown]
    axes.barh(range(len(shown)), [c.rank for c in shown], color=colours)
    axes.set_yticks(range(len(shown)), [c.name for c in shown], fontsize=8)
    axes.set_xlim(-1, 1)
    label(axes, "what goes with the angle (pale: may be chance)", "rank correlation (1)", "")
    if not shown:
        axes.text(0, 0, "nothing was drawn, or too few chips", ha="center", color="0.5")
