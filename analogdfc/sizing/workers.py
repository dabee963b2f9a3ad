"""Trials in worker processes; the same results with any number of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from analogdfc.jobs import Processes, Progress, Shared, Task, results
from analogdfc.sizing.trial import Outcome, Problem, evaluate, unseen_angle

Key = tuple[tuple[str, float], ...]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Evaluates designs of one problem and remembers what it has seen. A context manager.

    Args:
        problem: what is sized.
        jobs: processes; with 1 the work is done in this one.
    """

    def __init__(self, problem: Problem, jobs: int = 1) -> None:
        self.problem = problem
        self._seen: dict[Key, Outcome] = {}
        self._pool = Processes(jobs) if jobs > 1 else None
        self._shared = Shared(self)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.__exit__(kind, error, trace)

    def __reduce__(self) -> tuple[type[Workers], tuple[Problem]]:
        return Workers, (self.problem,)  # what another process gets works there alone

    def each(
        self, function: Callable[[Workers, Item], Result], items: Sequence[Item]
    ) -> list[Result]:
        """Results of a function for several items, in their order.

        Args:
            function: of the top level of a module; called with workers of its own process.
            items: what else it is called with, one a call.
        """
        calls = [_Call(self._shared, function, item) for item in items]
        return list(results(calls, self._pool))

    def try_all(self, points: Sequence[Mapping[str, float]]) -> list[Outcome]:
        """Outcomes of several designs, in their order."""
        whole = {k for k, o in self._seen.items() if not (o.works and math.isnan(o.energy))}
        new = {_key(p): dict(p) for p in points if _key(p) not in whole}
        found = self.each(_evaluate, list(new.values()))
        self._seen |= dict(zip(new, found, strict=True))
        return [self._seen[_key(p)] for p in points]

    def try_one(self, point: Mapping[str, float], aim: float = math.inf) -> Outcome:
        """Outcome of one design, in this process; only the angle where that is beyond the aim."""
        key = _key(point)
        known = self._seen.get(key)
        partial = known is not None and known.works and math.isnan(known.energy)
        if known is None or (partial and known.angle <= aim):
            known = self._seen[key] = evaluate(self.problem, point, aim)
        return known

    def unseen(self, values: Mapping[str, float], seeds: Sequence[int]) -> list[float]:
        """Angles of further chips of one design, in degrees; nan for one without a rest state."""
        return self.each(_unseen, [(dict(values), seed) for seed in seeds])


def _key(point: Mapping[str, float]) -> Key:
    return tuple(sorted(point.items()))


@dataclass(frozen=True)
class _Call(Task[Result], Generic[Item, Result]):
    """A function of the workers and of one item."""

    workers: Shared[Workers]
    function: Callable[[Workers, Item], Result]
    item: Item

    def run(self, progress: Progress) -> Result:
        result = self.function(self.workers.value, self.item)
        progress(1)
        return result


def _evaluate(workers: Workers, values: Mapping[str, float]) -> Outcome:
    return evaluate(workers.problem, values)


def _unseen(workers: Workers, job: tuple[Mapping[str, float], int]) -> float:
    return unseen_angle(workers.problem, *job)
