"""What a characterisation finds: numbers with their units, and curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analogdfc.records import Quantity, Tree

__all__ = ["Curve", "Number", "Sheet"]

_PREFIXES = {"f": 1e15, "p": 1e12, "n": 1e9, "u": 1e6, "m": 1e3, "k": 1e-3, "M": 1e-6}


@dataclass(frozen=True)
class Number:
    """One line of a data sheet.

    Attributes:
        name: what it is, for people.
        value: in the SI unit; None where the bench found no such limit.
        unit: the SI unit.
        shown: unit in which people read it: with a prefix, or '1' for the SI unit itself.
        error: standard error, in the SI unit; None of what has none, such as an analysis.
    """

    name: str
    value: float | None
    unit: str
    shown: str = ""
    error: float | None = None

    @property
    def label(self) -> str:
        """Name with the unit that `text` is in."""
        return f"{self.name} ({self.shown or self.unit})"

    @property
    def text(self) -> str:
        """The value, and its error, in the unit for people."""
        if self.value is None:
            return "none found"
        factor = 1.0
        if self.shown and self.shown != self.unit:
            factor = 1e-6 if self.shown == "V/us" else _PREFIXES[self.shown[0]]
        value = f"{self.value * factor + 0.0:.4g}"  # no -0
        return value if self.error is None else f"{value} +- {self.error * factor:.2g}"


@dataclass(frozen=True)
class Curve:
    """A figure's curve.

    Attributes:
        x: abscissa, (points,).
        y: ordinate, (points,), real or complex.
        x_unit: SI unit of x.
        y_unit: SI unit of y.
    """

    x: NDArray[np.float64]
    y: NDArray[Any]
    x_unit: str
    y_unit: str


@dataclass(frozen=True)
class Sheet:
    """All that is found of a cell under one set of conditions.

    Attributes:
        cell: the cell.
        conditions: what they were, for people.
        numbers: by key.
        curves: by key.
        entries: numbers of a technology card, by 'section.key', in SI units; None for what the cell
            hasn't, and which a card leaves out.
        made_by: simulator, version and solver.
        remarks: what is unusual, a sentence each.
    """

    cell: str
    conditions: str
    numbers: Mapping[str, Number]
    curves: Mapping[str, Curve]
    entries: Mapping[str, float | None]
    made_by: str = ""
    remarks: tuple[str, ...] = field(default=())

    def tree(self) -> Tree:
        """The sheet as a branch of a record."""
        found: dict[str, Any] = {"conditions": self.conditions, "made_by": self.made_by}
        found["numbers"] = {
            key: {
                "value": Quantity(np.nan if n.value is None else n.value, n.unit, n.name),
                **({} if n.error is None else {"error": Quantity(n.error, n.unit)}),
            }
            for key, n in self.numbers.items()
        }
        found["curves"] = {
            key: {"x": Quantity(c.x, c.x_unit), "y": Quantity(c.y, c.y_unit)}
            for key, c in self.curves.items()
        }
        return found
