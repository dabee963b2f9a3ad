"""Trials in worker processes; the same results with any number of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Generic, TypeVar, cast

from analogdfc.jobs import Processes, Progress, Run, Shared, Spool, run_kept
from analogdfc.records import Record, Tree
from analogdfc.sizing.trial import Outcome, Problem, evaluate, unseen_angle

Key = tuple[tuple[str, float], ...]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Evaluates designs of one problem and remembers what it has seen. A context manager.

    Args:
        problem: what is sized.
        jobs: processes; with 1 the work is done in this one.
        spool: where results are kept; None keeps none.
    """

    def __init__(self, problem: Problem, jobs: int = 1, spool: Spool | None = None) -> None:
        self.problem = problem
        self.spool = spool
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
        return run_kept(calls, self.spool, self._pool)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all that a result depends on, but for what is tried."""
        return self.problem.fingerprint()

    def try_all(self, points: Sequence[Mapping[str, float]]) -> list[Outcome]:
        """Outcomes of several designs, in their order."""
        whole = {k for k, o in self._seen.items() if not (o.works and math.isnan(o.energy))}
        new = {_key(p): dict(p) for p in points if _key(p) not in whole}
        found = self.each(_evaluated, list(new.values()))
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
class _Call(Run[Result], Generic[Item, Result]):
    """A function of the workers and of one item, which gives an outcome or a number."""

    workers: Shared[Workers]
    function: Callable[[Workers, Item], Result]
    item: Item

    @property
    def name(self) -> str:
        return f"{self.function.__name__.strip('_')} {self.item}"

    def settings(self) -> str:
        problem = self.workers.value.fingerprint
        return json.dumps([problem, self.function.__name__, self.item], sort_keys=True)

    def run(self, progress: Progress) -> Result:
        result = self.function(self.workers.value, self.item)
        progress(1)
        return result

    def pack(self, result: Result) -> Tree:
        kind = "outcome" if isinstance(result, Outcome) else "number"
        return {kind: json.dumps(result._asdict() if isinstance(result, Outcome) else result)}

    def unpack(self, record: Record) -> Result:
        if "number" in record:
            return cast(Result, json.loads(record.text("number")))
        return cast(Result, Outcome(**json.loads(record.text("outcome"))))


def _evaluated(workers: Workers, values: Mapping[str, float]) -> Outcome:
    return evaluate(workers.problem, values)


def _unseen(workers: Workers, job: tuple[Mapping[str, float], int]) -> float:
    return unseen_angle(workers.problem, *job)
