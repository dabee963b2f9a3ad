"""What a paper says beside what was measured, and the verdict.

The criterion, for a quantity: the 95 % confidence intervals of the two means over seeds (Student's
t) overlap. With one seed of ours, it lies where 95 % of further seeds of the paper's would. For an
order: no two rows that are apart in the paper, by the same intervals, are apart in the other
direction here. There is no verdict where a run was shorter than the paper's, or on other data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import combinations

import numpy as np
from scipy.stats import t as student

__all__ = ["CRITERION", "Interval", "Published", "Row", "ordered", "quantity", "statement"]

CRITERION = (
    "agrees: the 95 % confidence intervals of both means over seeds (Student's t) overlap; with "
    "one seed of ours, it lies where 95 % of the paper's further seeds would"
)
_SURE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its spread.

    Attributes:
        mean: the mean.
        spread: standard deviation over seeds; nan where it isn't known.
        count: number of seeds.
    """

    mean: float
    spread: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Mean and standard deviation (n - 1) of the values of seeds.

        Args:
            values: one a seed, at least one.
        """
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        return cls(float(np.mean(values)), spread, len(values))

    @property
    def half(self) -> float:
        """Half the width of the confidence interval of the mean; nan for one seed."""
        if self.count < 2:
            return math.nan
        quantile = float(student.ppf((1 + _SURE) / 2, self.count - 1))
        return quantile * self.spread / math.sqrt(self.count)

    def apart(self, other: Interval) -> bool:
        """Whether two means are told apart by their intervals.

        Args:
            other: the other; one of the two has two seeds or more.
        """
        if self.count < 2 and other.count < 2:
            return False
        if self.count < 2 or other.count < 2:
            many = self if self.count > 1 else other
            allowed = many.half * math.sqrt(many.count + 1)  # of one more seed, not of the mean
        else:
            allowed = self.half + other.half
        return abs(self.mean - other.mean) > allowed


@dataclass(frozen=True)
class Published(Interval):
    """What a paper prints.

    Attributes:
        source: where.
    """

    _: KW_ONLY
    source: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of an item's table.

    Attributes:
        name: what it is about; for a statement, what the paper says, made precise.
        unit: of all numbers.
        numbers: what was measured, by name, over the seeds that are done; a quantity has one, ''.
        published: what the paper prints; None for a statement, and where it prints no number.
        agrees: the verdict; None where there is none.
        why: why there is none, or how the verdict came about.
    """

    name: str
    unit: str
    numbers: Mapping[str, Interval]
    published: Published | None = None
    agrees: bool | None = None
    why: str = ""

    @property
    def ours(self) -> Interval | None:
        """The number of a quantity; None where no seed is done, and for a statement."""
        return self.numbers.get("")

    @property
    def verdict(self) -> str:
        """The verdict in a word."""
        return {True: "agrees", False: "DIFFERS", None: "-"}[self.agrees]


def quantity(
    name: str, unit: str, published: Published | None, values: Sequence[float], why: str = ""
) -> Row:
    """A row of a quantity, with its verdict.

    Args:
        name: what it is.
        unit: its unit.
        published: what the paper prints.
        values: one a seed that is done.
        why: why there can be no verdict; empty where there can.
    """
    row = Row(name=name, unit=unit, numbers={}, published=published, why=why)
    if not values:
        return replace(row, why=", ".join(filter(None, ["not run", why])))
    row = replace(row, numbers={"": Interval.of(values)})
    if published is None:
        return replace(row, why=why or "no number of the paper's")
    if why or row.ours is None:
        return row
    if not math.isfinite(row.ours.mean):
        return replace(row, agrees=False, why="not finite")
    if max(row.ours.count, published.count) < 2:
        return replace(row, why="one seed each")
    return replace(row, agrees=not row.ours.apart(published))


def statement(
    name: str, unit: str, numbers: Mapping[str, Sequence[float]], agrees: Sequence[bool | None],
    why: str = "",
) -> Row:  # fmt: skip
    """A row of a statement, which holds where it holds for every seed.

    Args:
        name: what the paper says.
        unit: of the numbers.
        numbers: by name, one a seed.
        agrees: verdict of each seed.
        why: why there is none.
    """
    found = {key: Interval.of(values) for key, values in numbers.items() if values}
    known = [verdict for verdict in agrees if verdict is not None]
    if not known:
        return Row(name=name, unit=unit, numbers=found, why=why or "no claim of the paper")
    told = "" if len(known) == 1 else f"in {sum(known)} of {len(known)} seeds"
    return Row(name=name, unit=unit, numbers=found, agrees=all(known), why=told)


def ordered(name: str, rows: Sequence[Row], why: str = "") -> Row | None:
    """Whether the rows of a column have the paper's order.

    Args:
        name: of the column.
        rows: its quantities.
        why: why there can be no verdict; empty where there can.

    Returns:
        A row of a statement; None where fewer than two rows have been run.
    """
    run = [(r.name, r.published, r.ours) for r in rows if r.published and r.ours]
    if len(run) < 2:
        return None
    same, turned, open_ = [], [], 0
    for (a, said_a, our_a), (b, said_b, our_b) in combinations(run, 2):
        if not said_a.apart(said_b):
            continue
        if (said_a.mean < said_b.mean) == (our_a.mean < our_b.mean):
            same.append((a, b))
        elif our_a.apart(our_b):
            turned.append(f"{b} before {a}" if said_a.mean < said_b.mean else f"{a} before {b}")
        else:
            open_ += 1
    total = len(same) + len(turned) + open_
    if not total:
        return None
    numbers = {
        "pairs that the paper tells apart": [float(total)],
        "in its order": [float(len(same))],
        "turned round": [float(len(turned))],
    }
    if not why and min(our.count for _, _, our in run) < 2:
        why = "one seed"
    told = why or (f"turned round: {'; '.join(turned)}" if turned else "")
    row = statement(
        f"{name}: the order of the methods", "1", numbers, [None if why else not turned]
    )
    return replace(row, why=told)
