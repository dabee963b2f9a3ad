"""The figure of a search: how it went, and which hyperparameters mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analogdfc.drawing import Axes, Figure, headed, new_figure, own_settings
from analogdfc.plots import label
from analogdfc.searching.journal import Trial
from analogdfc.searching.trials import Search

__all__ = ["search_figure"]

_MARKS: dict[str, dict[str, Any]] = {
    "complete": {"color": "#0072B2", "marker": "o", "s": 22},
    "pruned": {"color": "0.6", "marker": "x", "s": 18, "linewidths": 1.0},
}


@own_settings()
def search_figure(plan: Search, trials: Sequence[Trial], importance: Mapping[str, float]) -> Figure:
    """What each trial reached with the least so far, and the importance of hyperparameters.

    Args:
        plan: what was searched.
        trials: its trials.
        importance: share of the spread that each explains, by name; empty where it isn't known.
    """
    figure = new_figure(10, 4.2)
    headed(figure, f"{plan.preset}, {plan.rule}, {len(trials)} trials, seed {plan.seed}")
    history, shares = figure.subplots(1, 2)
    _draw_history(history, plan, trials)
    names = list(importance)[::-1]
    shares.barh(names, [100 * importance[name] for name in names], color="#0072B2")
    if not names:
        shares.text(0.5, 0.5, "not known", transform=shares.transAxes, ha="center", color="0.5")
    rung = (*plan.rungs, plan.epochs)[0]
    label(shares, f"importance, at epoch {rung}", "share of the spread (%)", "hyperparameter")
    return figure


def _draw_history(axes: Axes, plan: Search, trials: Sequence[Trial]) -> None:
    percent = plan.measure == "validation error"
    factor = 100.0 if percent else 1.0
    for state, mark in _MARKS.items():
        of = [t for t in trials if t.state == state and math.isfinite(t.value)]
        if of:
            values = [factor * t.value for t in of]
            axes.scatter([t.number for t in of], values, label=state, zorder=2, **mark)
    whole = np.array([t.value if t.state == "complete" else math.inf for t in trials])
    least = factor * np.minimum.accumulate(whole)
    least[~np.isfinite(least)] = math.nan
    numbers = [t.number for t in trials]
    axes.step(numbers, least, where="post", color="#D55E00", label="least so far")
    unit = "%" if percent else "1"
    label(axes, "what trials reached", "trial", f"{plan.measure} ({unit})")
    if not percent and np.isfinite(least).any():
        axes.set_yscale("log")
    axes.legend(fontsize=8)
