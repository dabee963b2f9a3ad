"""Curves of all runs, and how they are found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analogdfc.jobs import Run
from analogdfc.records import Quantity, Record, Tree

Curves = Mapping[str, Quantity | str]
"""What a run finds, by name, each curve with its unit; texts say what went wrong."""


@dataclass(frozen=True)
class CurvesRun(Run[Curves]):
    """A run that finds curves."""

    def pack(self, result: Curves) -> Tree:
        """See `Run.pack`."""
        return dict(result)

    def unpack(self, record: Record) -> Curves:
        """See `Run.unpack`."""
        return {
            name: leaf for name, leaf in record.tree.items() if isinstance(leaf, Quantity | str)
        }


Results = Mapping[str, Curves]
Values = NDArray[np.float64]


def values(curves: Curves, name: str) -> Values:
    """The numbers of a curve; none where the run stopped before its first."""
    quantity = curves.get(name)
    return np.asarray(quantity.values if isinstance(quantity, Quantity) else [], dtype=float)


def by_value(results: Results, group: str, method: str) -> dict[float, Values]:
    """Angles to the MN update of a sweep, by the value that it varies, in ascending order."""
    found = {
        float(name.split("/")[1]): values(curves, "mn_angle")
        for name, curves in results.items()
        if name.startswith(f"{group}/") and name.endswith(f"/{method} trained")
    }
    return dict(sorted(found.items()))


def learned(results: Results, group: str, activation: str) -> dict[str, Curves]:
    """Runs of feedback learning of a figure, by their settings."""
    start = f"feedback learning, {group}/{activation}, "
    return {n.removeprefix(start): c for n, c in results.items() if n.startswith(start)}


def ends(curve: Values) -> tuple[float, float]:
    """Means over the first and the last tenth."""
    count = max(1, len(curve) // 10)
    if not len(curve):
        return math.nan, math.nan
    return float(curve[:count].mean()), float(curve[-count:].mean())
