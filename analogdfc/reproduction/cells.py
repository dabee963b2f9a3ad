"""What a table of trainings consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from analogdfc.reproduction.training import TrainingRun

__all__ = ["SHORT_SAMPLES", "Cell", "Column", "Method"]

SHORT_SAMPLES = 64


class Method(NamedTuple):
    """A row of the table.

    Attributes:
        rule: name of the rule.
        feedback: 'learned' or 'fixed', for deep feedback control.
        variant: what the preset's name ends in, where the method has settings of its own.
    """

    rule: str
    feedback: str | None = None
    variant: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """A column of the table: an experiment and what is printed of it.

    Attributes:
        preset: its settings.
        figure: key of `training.FIGURES`.
        dataset: name of the set.
        values: mean and standard deviation that the paper prints, by the name of the row; nan
            where it prints none.
        short: samples of the short form.
        simulate: `dfc-ss` simulates its loop: with many outputs Newton's method takes longer.
        epochs: where they aren't the preset's.
        target_stepsize: as of `TrainingRun`.
        alpha: the same.
        pretraining: the same.
        apart: why its values can't be compared with ours one by one; empty where they can.
    """

    preset: str
    figure: str
    dataset: str
    values: Mapping[str, tuple[float, float]]
    short: int = SHORT_SAMPLES
    simulate: bool = False
    epochs: int | None = None
    target_stepsize: float | None = None
    alpha: float | None = None
    pretraining: int | None = None
    apart: str = ""


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
