"""The figure of a sizing: what the search found, and the specification."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from analogdfc.estimation.sizing.finding import Sizing
from analogdfc.estimation.sizing.search import front
from analogdfc.estimation.sizing.specification import REQUIREMENTS

_FINAL = "#D55E00"


def sizing_figure(sizing: Sizing) -> Figure:
    """Trials as energy against angle with the Pareto front, and the specification in its ranges.

    Args:
        sizing: the result.
    """
    figure = Figure(figsize=(12, 5), layout="constrained")
    trials, bars = figure.subplots(1, 2, width_ratios=(1.2, 1))
    _trials(figure, trials, sizing)
    _specification(bars, sizing)
    return figure


def _trials(figure: Figure, axes: Axes, sizing: Sizing) -> None:
    problem = sizing.problem
    working = [o for o in sizing.trials if o.works]
    kept = [o for o in working if o.keeps(problem, problem.aim)]
    broken = [o for o in working if not o.keeps(problem, problem.aim)]
    axes.scatter(
        [1e6 * o.energy for o in broken],
        [o.angle for o in broken],
        s=14,
        marker="x",
        color="0.75",
        label="a bound is broken",
    )
    best = front([*kept, sizing.final])
    axes.step(
        [1e6 * o.energy for o in best],
        [o.angle for o in best],
        where="post",
        color="0.4",
        linewidth=0.8,
        label="Pareto front",
    )
    everything = [*kept, sizing.final]
    efforts = [o.effort for o in everything]
    scale = Normalize(min(efforts), max(max(efforts), min(efforts) + 1e-9))
    dots = axes.scatter(
        [1e6 * o.energy for o in kept],
        [o.angle for o in kept],
        c=[o.effort for o in kept],
        norm=scale,
        s=22,
        cmap="viridis",
        label="all bounds kept",
    )
    axes.scatter(
        [1e6 * sizing.final.energy],
        [sizing.final.angle],
        s=150,
        marker="*",
        color=_FINAL,
        zorder=3,
        label="specification, static model",
    )
    if sizing.verification is not None:
        axes.scatter(
            [1e6 * sizing.final.energy],
            [sizing.verification.worst],
            s=250,
            marker="_",
            color="#000000",
            zorder=4,
            label="the same, simulated, with noise",
        )
    axes.axhline(problem.max_angle, color="#000000", linewidth=0.8, linestyle="--")
    axes.text(
        0.99,
        problem.max_angle,
        "bound",
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="bottom",
        fontsize=8,
    )
    figure.colorbar(dots, ax=axes, label="effort (decades)")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter())
    axes.set_xlabel("energy of a sample (uJ)")
    axes.set_ylabel("angle of the worst chip (degrees)")
    axes.set_title(f"{len(sizing.trials)} designs tried", fontsize=10)
    axes.grid(color="0.92")
    axes.legend(fontsize=8, loc="upper left", framealpha=0.9)


def _specification(axes: Axes, sizing: Sizing) -> None:
    """Bars from the easy end of a range to the value; a tick where the bound alone would break."""
    problem = sizing.problem
    names = [n for n in REQUIREMENTS if n in problem.ranges]
    for row, name in enumerate(reversed(names)):
        low, high = problem.ranges[name]
        requirement = REQUIREMENTS[name]

        def place(value: float, name: str = name) -> float:
            low, high = problem.ranges[name]
            share = math.log(value / low) / math.log(high / low)
            return 1 - share if REQUIREMENTS[name].loose_high else share

        value = sizing.final.values[name]
        axes.barh(row, place(value), color="#0072B2", height=0.55)
        loose = place(sizing.margins[name])
        axes.plot([loose, loose], [row - 0.4, row + 0.4], color=_FINAL, linewidth=2)
        easy, hard = (high, low) if requirement.loose_high else (low, high)
        axes.text(0, row + 0.3, requirement.text(easy), fontsize=7, color="0.4", va="bottom")
        axes.text(
            1, row + 0.3, requirement.text(hard), fontsize=7, color="0.4", va="bottom", ha="right"
        )
        inside = place(value) > 0.7
        axes.text(
            place(value) + (-0.02 if inside else 0.02),
            row,
            f"{requirement.side} {requirement.text(value)}",
            fontsize=8,
            va="center",
            ha="right" if inside else "left",
            color="white" if inside else "black",
        )
    axes.set_yticks(range(len(names)), [REQUIREMENTS[n].symbol for n in reversed(names)])
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, len(names) - 0.2)
    axes.set_xticks([0, 1], ["easy end", "hard end"])
    axes.set_title("specification; red: where the bound would break", fontsize=10)
