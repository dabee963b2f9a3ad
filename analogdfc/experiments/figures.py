"""The figures of the toy experiments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import gaussian_kde

from analogdfc.drawing import Axes, Figure, headed, new_figure, own_settings
from analogdfc.experiments.plan import (
    ACTIVATIONS,
    ALPHA,
    CONTROLLED,
    LAMBDA,
    METHODS,
    PER_SAMPLE,
    S3,
    S4,
    S5,
)
from analogdfc.experiments.results import Curves, Results, Values, by_value, learned, values

# Colours of Okabe and Ito, told apart by the colour blind. Curves that coincide stay visible: the
# first are broad and pale, the last thin.
_COLOURS = {"dfc-ssa": "#56B4E9", "dfc-ss": "#D55E00", "dfc": "#000000", "dfa": "#009E73"}
_WIDTHS = {"dfc-ssa": 5.0, "dfc-ss": 2.6, "dfc": 1.0, "dfa": 1.6}
_ORDER = ("dfa", "dfc-ssa", "dfc-ss", "dfc")
_SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@own_settings()
def draw(figure: str, results: Results, heading: str = "") -> Figure:
    """Draw a figure of the paper from the results of its runs.

    Args:
        figure: one of `analogdfc.experiments.FIGURES`.
        results: curves by the name of their run; every run of the figure is needed.
        heading: a line above all.
    """
    drawers: dict[str, Callable[[Results], Figure]] = {
        "2": _configurations,
        "3": _learning,
        "4": _sweeps,
        "s2": _stability,
        "s3": _dampings,
        "s4": lambda r: _pair(r, S4, "alpha", "angle of Q to J$^T$(JJ$^T$ + 5 I)$^{-1}$"),
        "s5": lambda r: _pair(r, S5, "k_p", "angle of Q to J$^T$(JJ$^T$ + 5 I)$^{-1}$"),
    }
    drawn = drawers[figure](results)
    headed(drawn, heading)
    return drawn


def windowed(curve: Values, width: int) -> tuple[Values, Values]:
    """Average and standard deviation over a window around each point.

    Args:
        curve: (points,).
        width: points of a window, >= 1; near the ends there are fewer.

    Returns:
        Two arrays, (points,).
    """
    before, after = (width - 1) // 2, width // 2
    parts = [curve[max(0, i - before) : i + after + 1] for i in range(len(curve))]
    return np.array([p.mean() for p in parts]), np.array([p.std() for p in parts])


def _smooth(axes: Axes, x: Values, curve: Values, **style: Any) -> None:
    mean, std = windowed(curve, max(1, len(curve) // 30))
    axes.plot(x, mean, **style)
    axes.fill_between(x, mean - std, mean + std, color=style["color"], alpha=0.15, linewidth=0)


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="0.92")


def _configurations(results: Results) -> Figure:
    curves = results["configurations"]
    figure = new_figure(6.4, 5.4)
    axes = figure.subplots()
    points, damped = values(curves, "random"), values(curves, "damped")
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=5,
        color="#56B4E9",
        alpha=0.5,
        linewidths=0,
        label="random Q, Conditions 2 and 3",
    )
    low, high = points.min(axis=0), points.max(axis=0)
    grid = np.meshgrid(*(np.linspace(a, b, 80) for a, b in zip(low, high, strict=True)))
    density = gaussian_kde(points.T)(np.stack([g.ravel() for g in grid])).reshape(grid[0].shape)
    axes.contour(*grid, density, levels=8, colors="#0072B2", linewidths=0.8)
    axes.plot(
        *damped.T,
        color="#D55E00",
        linewidth=2,
        label=r"J$^T$(JJ$^T$ + $\gamma$I)$^{-1}$, $\gamma$ in 1e-5 ... 1e2",
    )
    for name, label, marker in (("transposed", "J$^T$", "s"), ("pseudoinverse", "J$^+$", "^")):
        axes.plot(*values(curves, name), marker, color="black", markersize=6, label=label)
    _zoom(axes, curves)
    share = 100 * values(curves, "explained")
    _label(
        axes,
        "feedback of unit norm",
        f"first principal component (1), {share[0]:.0f} % of variance",
        f"second principal component (1), {share[1]:.0f} % of variance",
    )
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, markerscale=1.5)
    return figure


def _zoom(axes: Axes, curves: Curves) -> None:
    """The feedback of the other methods, which is much closer together, enlarged in a corner."""
    inset = axes.inset_axes((0.02, 0.02, 0.3, 0.26))
    inset.plot(*values(curves, "damped").T, color="#D55E00", linewidth=2)
    for name, marker in (("transposed", "s"), ("pseudoinverse", "^")):
        inset.plot(*values(curves, name), marker, color="black", markersize=6)
    inset.margins(0.2)
    inset.set(xticks=[], yticks=[])
    axes.indicate_inset_zoom(inset, edgecolor="black")


def _panel(axes: Axes, results: Results, name: str, methods: tuple[str, ...] = _ORDER) -> None:
    for method in methods:
        for m, kind in METHODS:
            curve = values(results[f"toy/{m} {kind}"], name) if m == method else np.empty(0)
            if len(curve):
                line = {"trained": "-", "fixed": "--", "random": ":"}[kind]
                _smooth(
                    axes,
                    np.arange(1.0, len(curve) + 1),
                    curve,
                    color=_COLOURS[m],
                    linewidth=_WIDTHS[m],
                    linestyle=line,
                    label=f"{m}, {kind} Q",
                )


def _learning(results: Results) -> Figure:
    figure = new_figure(12, 7.4)
    panels = figure.subplots(2, 3)
    for axes, name, title, y in zip(
        panels.flat,
        ("condition2", "mn_angle", "condition1", "gn_angle", "a_pi_mean", "ssa_angle"),
        (
            "A  Condition 2",
            "B  alignment with MN updates",
            "C  Condition 1",
            "D  alignment with GN updates",
            "E  stability",
            "F  alignment with DFC-SSA updates",
        ),
        (
            "ratio ||PQ|| / ||Q|| (1)",
            "angle (degree)",
            "std / mean of layer norms (1)",
            "angle (degree)",
            r"largest Re of A$_{PI}$ (1/$\tau_u$)",
            "angle (degree)",
        ),
        strict=True,
    ):
        _panel(axes, results, name, ("dfc-ss", "dfc") if name == "ssa_angle" else _ORDER)
        _label(axes, title, "epoch", y)
        axes.set_ylim(bottom=0) if name.endswith("angle") else None
    _threshold(panels[1, 1])
    _shared_legend(figure, panels[0, 0])
    return figure


def _threshold(axes: Axes) -> None:
    axes.axhline(0, color="black", linewidth=2, alpha=0.6)


def _shared_legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)


def _stability(results: Results) -> Figure:
    figure = new_figure(12, 4.4)
    panels = figure.subplots(1, 3)
    for axes, name, title in zip(
        panels,
        ("condition3_mean", "a_pi_mean", "a_i_mean"),
        (r"a  Condition 3: $-$(JQ + $\alpha$I)", r"b  A$_{PI}$", r"c  A$_{PI}$ with k$_p$ = 0"),
        strict=True,
    ):
        _panel(axes, results, name)
        _threshold(axes)
        _label(axes, title, "epoch", r"largest Re of the eigenvalues (1/$\tau_u$)")
    _shared_legend(figure, panels[0])
    return figure


def _sweeps(results: Results) -> Figure:
    figure = new_figure(12, 4.4)
    panels = figure.subplots(1, 3, sharey=True)
    for axes, group, title, x in zip(
        panels,
        (LAMBDA, PER_SAMPLE, ALPHA),
        (
            r"A  target stepsize, mean loss (published code)",
            r"A'  target stepsize, each sample's loss (0.5: label)",
            "B  leak",
        ),
        (r"$\lambda$ (1)", r"$\lambda$ (1)", r"$\alpha$ (1)"),
        strict=True,
    ):
        for method in (m for m in _ORDER if m in CONTROLLED):
            found = {v: c for v, c in by_value(results, group, method).items() if len(c)}
            mean = np.array([c.mean() for c in found.values()])
            std = np.array([c.std() for c in found.values()])
            axes.errorbar(
                list(found),
                mean,
                std,
                color=_COLOURS[method],
                linewidth=_WIDTHS[method],
                elinewidth=1,
                capsize=_WIDTHS[method] + 2,
                marker="o",
                label=f"{method}, trained Q",
            )
        axes.set_xscale("log")
        _label(axes, title, x, "angle to MN updates (degree)")
    panels[0].set_ylim(bottom=0)
    panels[0].legend(fontsize=8)
    return figure


def _pair(results: Results, group: str, varied: str, y: str) -> Figure:
    figure = new_figure(10, 4.4)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, activation, letter in zip(panels, ACTIVATIONS, "ab", strict=True):
        runs = learned(results, group, activation)
        order = {float(n.split(f"{varied} ")[1].split(",")[0]): c for n, c in runs.items()}
        for colour, (value, curves) in zip(_SERIES, sorted(order.items()), strict=False):
            symbol = {"alpha": r"$\alpha$", "k_p": "k$_p$"}[varied]
            _smooth(
                axes,
                values(curves, "epoch"),
                values(curves, "angle")[:, 0],
                color=colour,
                label=f"{symbol} = {value:g}",
            )
        _label(axes, f"{letter}  {activation}", "epoch of feedback learning", f"{y} (degree)")
    panels[0].set_ylim(bottom=0)
    panels[1].legend(fontsize=9)
    return figure


def _dampings(results: Results) -> Figure:
    figure = new_figure(10, 4.4)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, activation, letter in zip(panels, ACTIVATIONS, "ab", strict=True):
        (curves,) = learned(results, S3, activation).values()
        epochs, angles = values(curves, "epoch"), values(curves, "angle")
        for k, gamma in enumerate(values(curves, "gamma")):
            _smooth(
                axes,
                epochs,
                angles[:, k],
                color=_SERIES[k % len(_SERIES)],
                label=rf"$\gamma$ = {gamma:g}",
            )
        _label(
            axes,
            f"{letter}  {activation}",
            "epoch of feedback learning",
            r"angle of Q to J$^T$(JJ$^T$ + $\gamma$I)$^{-1}$ (degree)",
        )
    panels[0].set_ylim(bottom=0)
    panels[1].legend(fontsize=9)
    return figure
