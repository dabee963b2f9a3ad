"""Figures of an estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analogdfc.analysis.energy.items import COMPONENTS, QUIESCENT
from analogdfc.analysis.noisy import NoiseFigures
from analogdfc.cost.bandwidth import AtBandwidth
from analogdfc.cost.estimate import Estimate
from analogdfc.cost.sweep import Parameter, Point
from analogdfc.digital.training import engineering
from analogdfc.drawing import (
    Axes,
    Figure,
    FormatStrFormatter,
    MaxNLocator,
    NullFormatter,
    headed,
    new_figure,
    own_settings,
)
from analogdfc.plots import about, label

_COLOURS = (
    "0.75", "#0072B2", "#D55E00", "#E69F00", "#F0E442", "#009E73", "#56B4E9", "#000000", "#CC79A7",
    "#8C564B", "#7F3C8D", "0.4", "#17BECF", "#BCBD22", "#E377C2", "#AEC7E8", "#FFBB78",
    "#98DF8A",
)  # fmt: skip


@own_settings()
def estimate_figure(
    found: Estimate,
    bandwidths: Sequence[AtBandwidth],
    sweeps: Sequence[tuple[Parameter, Sequence[Point]]] = (),
    seeds: tuple[int, int | None] | None = None,
) -> Figure:
    """Energy of a sample by part and component, settling against bandwidth, and sweeps.

    Args:
        found: the estimate.
        bandwidths: settling with other amplifiers; may be empty.
        sweeps: parameters with their points, a panel each.
        seeds: of the samples and of the chip, for the heading; see `plots.about`.
    """
    panels = 3 + len(sweeps)
    rows = math.ceil(panels / 3)
    figure = new_figure(14, 4.2 * rows)
    headed(figure, *about(found.design, seeds))
    axes = list(figure.subplots(rows, 3, squeeze=False).flat)
    _stacked(axes[0], found, COMPONENTS)
    axes[0].set_title("energy of one sample", fontsize=10)
    _stacked(axes[1], found, [c for c in COMPONENTS if c != QUIESCENT])
    axes[1].set_title("the same without quiescent currents", fontsize=10)
    _settling(axes[2], found, bandwidths)
    for axis, (parameter, points) in zip(axes[3:], sweeps, strict=False):
        _trade_off(axis, parameter, points)
    for axis in axes[panels:]:
        axis.set_axis_off()
    return figure


@own_settings()
def noise_figure(
    found: Estimate, noise: NoiseFigures, seeds: tuple[int, int | None] | None = None
) -> Figure:
    """Spectra of v, r and u at the controlled steady state.

    Args:
        found: the estimate.
        noise: its noise.
        seeds: of the samples and of the chip, for the heading; see `plots.about`.
    """
    figure = new_figure(7, 4.4)
    headed(figure, *about(found.design, seeds))
    axes = figure.subplots()
    for (name, density), colour in zip(noise.densities.items(), _COLOURS[1:], strict=False):
        axes.loglog(noise.frequencies, 1e9 * density**0.5, color=colour, label=name)
    label(axes, "noise at the controlled steady state", "frequency (Hz)", "density (nV / Hz^0.5)")
    axes.legend(fontsize=8)
    return figure


def _stacked(axes: Axes, found: Estimate, components: Sequence[str]) -> None:
    energy = found.energy
    parts = energy.parts
    bottom = [0.0] * len(parts)
    for component in components:
        height = [1e9 * float(energy.items.get((component, part), 0.0)) for part in parts]
        # A capacitor that was charged before gives back more than it takes; there is no such bar.
        height = [max(h, 0.0) for h in height]
        if any(height):
            colour = _COLOURS[COMPONENTS.index(component)]
            axes.bar(parts, height, bottom=bottom, color=colour, label=component, width=0.7)
            bottom = [b + h for b, h in zip(bottom, height, strict=True)]
    label(axes, "", "", "energy of a sample (nJ)")
    axes.tick_params(axis="x", labelsize=8)
    axes.set_axisbelow(True)
    if axes.patches:
        axes.legend(fontsize=7)


def _settling(axes: Axes, found: Estimate, bandwidths: Sequence[AtBandwidth]) -> None:
    label(axes, "settling against amplifier bandwidth", "gain-bandwidth (MHz)", "time (us)")
    stable = [p for p in bandwidths if math.isfinite(p.control)]
    if not stable:
        axes.text(0.5, 0.5, "amplifiers without delay", transform=axes.transAxes, ha="center")
        return
    x = [1e-6 * p.hertz for p in stable]
    lines = (
        ("control signal within 2 %", [p.control for p in stable], "#0072B2"),
        (f"update within {found.accuracy:g} degree", [p.update for p in stable], "#D55E00"),
    )
    for name, times, colour in lines:
        axes.plot(x, [1e6 * t for t in times], marker="o", color=colour, label=name)
    for k, point in enumerate(p for p in bandwidths if not math.isfinite(p.control)):
        once = "does not settle" if k == 0 else None
        axes.axvline(1e-6 * point.hertz, color="0.5", linestyle=":", label=once)
    own = found.design.card.amplifier.gain_bandwidth
    if own is not None:
        axes.axvline(1e-6 * own, color="0.75", linewidth=4, zorder=0, label="the card's")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


def _trade_off(axes: Axes, parameter: Parameter, points: Sequence[Point]) -> None:
    title = f"sweep of {parameter.name}"
    label(axes, title, "energy of a sample (nJ)", "angle of the update (degree)")
    works = [(p.value, p.cost) for p in points if p.cost is not None]
    if not works:
        axes.text(0.5, 0.5, "no value works", transform=axes.transAxes, ha="center")
        return
    joules = [1e9 * e.joules for _, e in works]
    angles = [e.update_angle for _, e in works]
    axes.plot(joules, angles, color="#0072B2", marker="o")
    axes.margins(0.15, 0.2)
    if max(joules) > 5 * min(joules):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    unit = "" if parameter.unit == "1" else parameter.unit
    texts = [engineering(value, unit) for value, _ in works]
    for place, text, spot in zip(
        zip(joules, angles, strict=True), texts, _spots(axes, joules, angles, texts), strict=True
    ):
        axes.annotate(
            text, place, fontsize=8, xytext=(7 * spot[0], 7 * spot[1]), textcoords="offset points",
            ha=_SIDES[spot[0]], va="bottom" if spot[1] > 0 else "top",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )  # fmt: skip


_SIDES = {1: "left", 0: "center", -1: "right"}
_PANEL = (330.0, 240.0)
"""Width and height of a panel, in points, about."""

_LETTER, _LINE = 5.0, 10.0
"""Width of a letter and height of a line of an annotation, in points."""


def _spots(
    axes: Axes, x: Sequence[float], y: Sequence[float], texts: Sequence[str]
) -> list[tuple[int, int]]:
    """Beside each point the corner where its text covers no other and stays within the axes."""
    axes.autoscale_view()  # without it the limits come when the figure is drawn
    points = axes.transAxes.inverted().transform(
        axes.transData.transform([*zip(x, y, strict=True)])
    )
    places = [(float(a) * _PANEL[0], float(b) * _PANEL[1]) for a, b in points]
    taken: list[tuple[float, float, float, float]] = [(a, b, a, b) for a, b in places]
    found = []
    for (a, b), text in zip(places, texts, strict=True):
        width = _LETTER * len(text)
        best: tuple[float, tuple[int, int]] | None = None
        for side, above in ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1)):
            left = a + 7 * side - (0.0, width / 2, width)[(1, 0, -1).index(side)]
            low = b + 7 * above - (0 if above > 0 else _LINE)
            box = left, low, left + width, low + _LINE
            bad = sum(_overlap(box, other) for other in taken) + 10 * _outside(box)
            if best is None or bad < best[0] - 1e-9:
                best, chosen = (bad, (side, above)), box
        assert best is not None
        taken.append(chosen)
        found.append(best[1])
    return found


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Common area of two boxes (left, low, right, high), a point counting as a small one."""
    wide = min(a[2], b[2] + 3) - max(a[0], b[0] - 3)
    high = min(a[3], b[3] + 3) - max(a[1], b[1] - 3)
    return max(wide, 0.0) * max(high, 0.0)


def _outside(box: tuple[float, ...]) -> float:
    return sum(max(v, 0.0) for v in (-box[0], -box[1], box[2] - _PANEL[0], box[3] - _PANEL[1]))
