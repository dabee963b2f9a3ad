"""The figure of the angles between the updates of rules and the ideal updates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analogdfc.drawing import (
    Axes,
    Colormap,
    Figure,
    Normalize,
    colormaps,
    headed,
    new_figure,
    own_settings,
)
from analogdfc.experiments.rule_alignment import WHOLE, RuleAlignment
from analogdfc.training import REFERENCES

# Beyond a right angle an update undoes what the reference does.
_BEYOND = "#D55E00"
_NONE = "0.9"


@own_settings()
def alignment_figure(found: Mapping[str, RuleAlignment], title: str) -> Figure:
    """A heat map for each reference, rules by layers, and the share in the null space.

    Args:
        found: measurements by the name of the rule, at least one, all of one network.
        title: a line above all.
    """
    layers = list(next(iter(found.values())).null_space)
    width = 0.46 * len(layers)
    sizes = [*(width for _ in REFERENCES), max(1.5, width)]
    figure = new_figure(sum(sizes) + 3.2, max(3.2, 1.7 + 0.33 * len(found)))
    axes = figure.subplots(1, len(sizes), width_ratios=sizes, sharey=True)
    colours = colormaps["viridis_r"].with_extremes(over=_BEYOND, bad=_NONE)
    norm = Normalize(0, 90)
    image = None
    for place, name in zip(axes, REFERENCES, strict=False):
        angles = np.array(
            [[m.alignments[name][layer].angle for layer in layers] for m in found.values()]
        )
        image = place.imshow(np.ma.masked_invalid(angles), cmap=colours, norm=norm, aspect="auto")
        _annotate(place, angles, colours, norm)
        place.set_title(f"to {name}", fontsize=10)
        place.set_xticks(range(len(layers)), layers, fontsize=8)
        place.set_xlabel("layer", fontsize=9)
        place.axvline(len(layers) - 1.5, color="white", linewidth=2.5)
        _bare(place)
    axes[0].set_yticks(range(len(found)), list(found), fontsize=9)
    _shares(axes[-1], found)
    assert image is not None
    bar = figure.colorbar(
        image, ax=list(axes[:-1]), extend="max", location="bottom", aspect=60, shrink=0.6
    )
    bar.set_label(
        "angle of the weight updates (degree); beyond 90 the colour is orange", fontsize=9
    )
    bar.set_ticks([0, 15, 30, 45, 60, 75, 90])
    headed(figure, title)
    return figure


def _annotate(axes: Axes, angles: np.ndarray, colours: Colormap, norm: Normalize) -> None:
    """The number in each cell, in a colour that is read on it."""
    for (row, column), value in np.ndenumerate(angles):
        if np.isnan(value):
            axes.text(column, row, "–", ha="center", va="center", fontsize=7, color="0.5")
            continue
        red, green, blue, _ = colours(norm(value))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black",
        )


def _shares(axes: Axes, found: Mapping[str, RuleAlignment]) -> None:
    shares = [100 * np.nan_to_num(m.null_space[WHOLE]) for m in found.values()]
    rows = range(len(shares))
    axes.barh(rows, shares, color="#0072B2", height=0.65)
    for row, share in zip(rows, shares, strict=True):
        text = "0" if share < 0.05 else f"{share:.1f}" if share < 9.95 else f"{share:.0f}"
        axes.text(share + 2, row, text, va="center", fontsize=7, color="0.3")
    axes.set_xlim(0, 118)
    axes.set_xticks([0, 50, 100])
    axes.tick_params(labelsize=8)
    axes.set_title("moves no output", fontsize=10)
    axes.set_xlabel("null-space share (%)", fontsize=9)
    _bare(axes)
    axes.spines["bottom"].set_visible(True)


def _bare(axes: Axes) -> None:
    axes.tick_params(axis="y", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
