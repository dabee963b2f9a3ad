"""Loosening a design until nothing in it can be loosened further."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from analogdfc.sizing.specification import REQUIREMENTS, grid, loosest, tightest
from analogdfc.sizing.trial import Outcome, Problem
from analogdfc.sizing.workers import Call, Workers

_SHARED_PASSES = 2


class Start(NamedTuple):
    """Where a polish begins, and the angle that it has to keep, in degrees."""

    outcome: Outcome
    aim: float


def polished(workers: Workers, start: Start) -> Outcome:
    """The design with every requirement as loose as it can be alone.

    One requirement after another, in the order of `REQUIREMENTS`, over values of two significant
    digits. At first each may take its share of what is left between the squared angle and the
    squared aim, so that none eats the margin of the others; errors that are independent add up in
    squares, and then equal parts loosen most in sum. At last each takes what is left.

    Args:
        workers: evaluate designs.
        start: a design that keeps the bounds.

    Returns:
        A design that keeps the bounds; a step of two significant digits further in any of its
        requirements breaks one, unless that requirement is at its easy end.
    """
    problem, aim = workers.problem, start.aim
    values = dict(start.outcome.values)
    rounded = _rounded(problem, values)
    if workers.try_one(rounded).keeps(problem, aim):
        values = rounded
    names = list(problem.ranges)
    for _ in range(_SHARED_PASSES):
        for k, name in enumerate(names):
            angle = workers.try_one(values).angle
            share = math.sqrt(angle**2 + (aim**2 - angle**2) / (len(names) - k))
            values[name] = _loosened(workers, values, name, share)
    while True:  # each pass loosens something, on a finite grid
        near = {n: w[1] for n in names if len(w := _looser(problem, values, n)) > 1}
        tried = workers.try_all([{**values, n: v} for n, v in near.items()])
        loose = [n for n, o in zip(near, tried, strict=True) if o.keeps(problem, aim)]
        if not loose:
            return workers.try_one(values)
        for name in loose:
            values[name] = _loosened(workers, values, name, aim)


@dataclass(frozen=True)
class Polished(Call[Start, Outcome]):
    """The polish of a design; see `polished`."""

    def done_by(self, workers: Workers) -> Outcome:
        """See `Call.done_by`."""
        return polished(workers, self.item)


def margins(workers: Workers, final: Outcome, progress: Callable[[], object]) -> dict[str, float]:
    """How far each requirement could go alone until a bound breaks, the angle's own among them.

    Args:
        workers: evaluate designs.
        final: the finished design.
        progress: called after each round.

    Returns:
        The last value, by steps of two significant digits, that keeps all bounds.
    """
    problem = workers.problem
    ways = {name: _looser(problem, final.values, name) for name in problem.ranges}
    good, bad = dict.fromkeys(ways, 0), {name: len(way) for name, way in ways.items()}
    stride = dict.fromkeys(ways, 1)
    while open_ := [name for name in ways if bad[name] - good[name] > 1]:
        # Ever longer strides up to the first that breaks, then bisection.
        there = {n: min(good[n] + stride[n], (good[n] + bad[n]) // 2) for n in open_}
        there |= {n: max(there[n], good[n] + 1) for n in open_}
        tried = workers.try_all([{**final.values, n: ways[n][k]} for n, k in there.items()])
        for (name, k), outcome in zip(there.items(), tried, strict=True):
            if outcome.keeps(problem, problem.max_angle):
                good[name], stride[name] = k, 2 * stride[name]
            else:
                bad[name] = k
        progress()
    return {name: way[good[name]] for name, way in ways.items()}


def unsafe(workers: Workers, final: Outcome) -> dict[str, float]:
    """Requirements of which more is not always better: a tighter value that breaks a bound.

    Each is tried alone: a step of two significant digits tighter, twice as tight, and at the hard
    end of its range.

    Args:
        workers: evaluate designs.
        final: the finished design.

    Returns:
        The mildest such value by name, in SI units; empty where tighter is always safe.
    """
    problem = workers.problem
    hard = tightest(problem.ranges)
    tried: list[tuple[str, float]] = []
    for name, value in final.values.items():
        way = grid(REQUIREMENTS[name], value, hard[name])
        twice = [v for v in way if max(v / value, value / v) >= 2]
        tried += [(name, v) for v in dict.fromkeys((*way[1:2], *twice[:1], *way[-1:]))]
    outcomes = workers.try_all([{**final.values, name: v} for name, v in tried])
    bad = zip(tried, outcomes, strict=True)
    broken = [(n, v) for (n, v), o in bad if not o.keeps(problem, problem.max_angle)]
    return dict(reversed(broken))  # of several values the first, which is the mildest


def _looser(problem: Problem, values: Mapping[str, float], name: str) -> list[float]:
    """Values of a requirement from the present one to the easy end of its range."""
    return grid(REQUIREMENTS[name], values[name], loosest(problem.ranges)[name])


def _rounded(problem: Problem, values: Mapping[str, float]) -> dict[str, float]:
    """Every value as one of two significant digits, on its safe side or the end of the range."""
    hard = tightest(problem.ranges)
    out = {}
    for name, value in values.items():
        way = grid(REQUIREMENTS[name], value, hard[name])
        on_grid = float(f"{value:.1e}") == value
        out[name] = way[0] if on_grid or len(way) == 1 else way[1]
    return out


def _loosened(workers: Workers, values: Mapping[str, float], name: str, aim: float) -> float:
    """A value that keeps the bounds while the next looser one doesn't, or the easy end.

    Ever longer strides up to the first value that breaks a bound, then bisection.
    """
    way = _looser(workers.problem, values, name)

    def keeps(k: int) -> bool:
        outcome = workers.try_one({**values, name: way[k]}, aim)
        return outcome.keeps(workers.problem, aim)

    good, bad, stride = 0, len(way), 1
    while bad - good > 1:
        unbroken = bad == len(way)
        k = min(good + stride, bad - 1 if unbroken else (good + bad) // 2)
        if keeps(k):
            good, stride = k, 4 * stride
        else:
            bad = k
    return way[good]
