"""What a table of trainings consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from analogdfc.reproduction.training import TrainingRun

__all__ = ["Cell", "Column", "Method"]

_SHORT_SAMPLES = 64


class Method(NamedTuple):
    """A row of the table.

    Attributes:
        rule: name of the rule.
        feedback: 'learned' or 'fixed', for deep feedback control.
    """

    rule: str
    feedback: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """A column of the table: an experiment and what is printed of it.

    Attributes:
        preset: its settings.
        figure: key of `training.FIGURES`.
        dataset: name of the set.
        values: mean and standard deviation that the paper prints, by the name of the row.
        short: samples of the short form.
        simulate: `dfc-ss` simulates its loop: with many outputs Newton's method takes longer.
    """

    preset: str
    figure: str
    dataset: str
    values: Mapping[str, tuple[float, float]]
    short: int = _SHORT_SAMPLES
    simulate: bool = False


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell with its trainings.

    Attributes:
        name: column and row.
        column: the column.
        row: name of the row.
        runs: one a seed.
    """

    name: str
    column: Column
    row: str
    runs: tuple[TrainingRun, ...]
