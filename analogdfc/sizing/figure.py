"""The figure of a sizing: what the search found, and the specification."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analogdfc.drawing import (
    Axes,
    Figure,
    Normalize,
    ScalarFormatter,
    headed,
    new_figure,
    own_settings,
)
from analogdfc.plots import about
from analogdfc.sizing.finding import Sizing
from analogdfc.sizing.search import front
from analogdfc.sizing.specification import REQUIREMENTS
from analogdfc.sizing.trial import Outcome

_FINAL = "#D55E00"

_LONGEST = 0.35
"""Length of the longest text in a bar, as a part of the range."""


@own_settings()
def sizing_figure(sizing: Sizing) -> Figure:
    """Trials as energy against angle with the Pareto front, and the specification in its ranges.

    Args:
        sizing: the result.
    """
    figure = new_figure(12, 5)
    problem = sizing.problem
    network, *card = about(problem.design)
    chips = f"{len(problem.seeds)} chips from seed {problem.seeds[0]}"
    headed(figure, f"{network}, seed {problem.seed}, {chips}", *card)
    trials, bars = figure.subplots(1, 2, width_ratios=(1.2, 1))
    _trials(figure, trials, sizing)
    _specification(bars, sizing)
    return figure


def _trials(figure: Figure, axes: Axes, sizing: Sizing) -> None:
    problem = sizing.problem
    working = [o for o in sizing.trials if o.works]
    kept = [o for o in working if o.keeps(problem, problem.aim)]
    broken = [o for o in working if not o.keeps(problem, problem.aim)]
    axes.scatter(*_places(broken), s=14, marker="x", color="0.75", label="a bound is broken")
    best = front([*kept, sizing.final])
    axes.step(*_places(best), where="post", color="0.4", linewidth=0.8, label="Pareto front")
    efforts = [o.effort for o in (*kept, sizing.final)]
    dots = axes.scatter(
        *_places(kept),
        c=[o.effort for o in kept],
        norm=Normalize(min(efforts), max(max(efforts), min(efforts) + 1e-9)),
        s=22,
        cmap="viridis",
        label="all bounds kept",
    )
    figure.colorbar(dots, ax=axes, label="effort (decades)")
    _final(axes, sizing)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter())
    axes.set_xlabel("energy of a sample (uJ)")
    axes.set_ylabel("angle of the worst chip (degrees)")
    axes.set_title(f"{len(sizing.trials)} designs tried", fontsize=10)
    axes.grid(color="0.92")
    axes.legend(fontsize=8, loc="upper left", framealpha=0.9)


def _places(outcomes: Sequence[Outcome]) -> tuple[list[float], list[float]]:
    """Energies in microjoules and angles in degrees."""
    return [1e6 * o.energy for o in outcomes], [o.angle for o in outcomes]


def _final(axes: Axes, sizing: Sizing) -> None:
    """The finished design, by the static model and simulated, under the bound."""
    bound = sizing.problem.max_angle
    ((energy,), (angle,)) = _places([sizing.final])
    label = "specification, static model"
    axes.scatter(energy, angle, s=150, marker="*", color=_FINAL, zorder=3, label=label)
    if sizing.verification is not None:
        worst, label = sizing.verification.worst, "the same, simulated, with noise"
        axes.scatter(energy, worst, s=250, marker="_", color="#000000", zorder=4, label=label)
    axes.axhline(bound, color="#000000", linewidth=0.8, linestyle="--")
    right = axes.get_yaxis_transform()
    axes.text(0.99, bound, "bound", transform=right, ha="right", va="bottom", fontsize=8)


def _specification(axes: Axes, sizing: Sizing) -> None:
    """Bars from the easy end of a range to the value; a tick where the bound alone would break."""
    ranges = sizing.problem.ranges
    names = [n for n in REQUIREMENTS if n in ranges]
    for row, name in enumerate(reversed(names)):
        requirement, value = REQUIREMENTS[name], sizing.final.values[name]
        low, high = ranges[name]
        easy, hard = (high, low) if requirement.loose_high else (low, high)
        reached, loose = (
            math.log(v / easy) / math.log(hard / easy) for v in (value, sizing.margins[name])
        )
        axes.barh(row, reached, color="#0072B2", height=0.55)
        axes.plot([loose, loose], [row - 0.4, row + 0.4], color=_FINAL, linewidth=2)
        for place, end, side in ((0.005, easy, "left"), (0.995, hard, "right")):
            text = requirement.text(end)
            axes.text(place, row + 0.3, text, fontsize=7, color="0.4", va="bottom", ha=side)
        inside = reached > 0.7
        # Within the bar it stands before the tick where the two would meet.
        end = min(reached, loose) if inside and loose > reached - _LONGEST else reached
        axes.text(
            end + (-0.02 if inside else 0.02),
            row,
            f"{requirement.side} {requirement.text(value)}",
            fontsize=8,
            va="center",
            ha="right" if inside else "left",
            color="white" if inside else "black",
        )
    axes.set_yticks(range(len(names)), [REQUIREMENTS[n].symbol for n in reversed(names)])
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, len(names) - 0.1)
    axes.set_xticks([0, 1], ["easy end", "hard end"])
    axes.set_title("specification; orange: where the bound would break", fontsize=10)
