"""Trials in worker processes; the same results with any number of them."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar, cast

from analogdfc.jobs import Progress, Run, Shared, Spool, run_kept
from analogdfc.records import Record, Tree
from analogdfc.sizing.trial import Outcome, Problem, evaluate, unseen_angle

Key = tuple[tuple[str, float], ...]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Evaluates designs of one problem and remembers what it has seen.

    Args:
        problem: what is sized.
        executor: what does the work; None this process.
        spool: where results are kept; None keeps none.
    """

    def __init__(
        self, problem: Problem, executor: Executor | None = None, spool: Spool | None = None
    ) -> None:
        self.problem = problem
        self.spool = spool
        self._seen: dict[Key, Outcome] = {}
        self._pool = executor
        self._shared = Shared(self)

    def __reduce__(self) -> tuple[type[Workers], tuple[Problem]]:
        return Workers, (self.problem,)  # what another process gets works there alone

    def each(
        self, kind: Callable[[Shared[Workers], Item], Call[Item, Result]], items: Sequence[Item]
    ) -> list[Result]:
        """Results of calls of one kind for several items, in their order.

        Args:
            kind: class of the calls.
            items: what each is for.
        """
        calls = [kind(self._shared, item) for item in items]
        return run_kept(calls, self.spool, self._pool)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all that a result depends on, but for what is tried."""
        return self.problem.fingerprint()

    def try_all(self, points: Sequence[Mapping[str, float]]) -> list[Outcome]:
        """Outcomes of several designs, in their order."""
        whole = {k for k, o in self._seen.items() if not (o.works and math.isnan(o.energy))}
        new: dict[Key, Mapping[str, float]] = {
            _key(p): dict(p) for p in points if _key(p) not in whole
        }
        found = self.each(Evaluated, list(new.values()))
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
        items: list[tuple[Mapping[str, float], int]] = [(dict(values), seed) for seed in seeds]
        return self.each(Unseen, items)


def _key(point: Mapping[str, float]) -> Key:
    return tuple(sorted(point.items()))


@dataclass(frozen=True)
class Call(Run[Result], Generic[Item, Result]):
    """What the workers of its process do for one item; gives an outcome or a number.

    Attributes:
        workers: of the problem.
        item: what it is for.
    """

    workers: Shared[Workers]
    item: Item

    @property
    def name(self) -> str:
        """What is done, and for what."""
        return f"{type(self).__name__.lower()} {self.item}"

    def settings(self) -> str:
        """See `Task.settings`."""
        return json.dumps([self.workers.value.fingerprint, self.item], sort_keys=True)

    def run(self, progress: Progress) -> Result:
        """See `Task.run`."""
        result = self.done_by(self.workers.value)
        progress(1)
        return result

    @abstractmethod
    def done_by(self, workers: Workers) -> Result:
        """The result.

        Args:
            workers: of the process that does it.
        """

    def pack(self, result: Result) -> Tree:
        """See `Run.pack`."""
        kind = "outcome" if isinstance(result, Outcome) else "number"
        return {kind: json.dumps(result._asdict() if isinstance(result, Outcome) else result)}

    def unpack(self, record: Record) -> Result:
        """See `Run.unpack`."""
        if "number" in record:
            return cast(Result, json.loads(record.text("number")))
        return cast(Result, Outcome(**json.loads(record.text("outcome"))))


@dataclass(frozen=True)
class Evaluated(Call[Mapping[str, float], Outcome]):
    """The trial of a design."""

    def done_by(self, workers: Workers) -> Outcome:
        """See `Call.done_by`."""
        return evaluate(workers.problem, self.item)


@dataclass(frozen=True)
class Unseen(Call[tuple[Mapping[str, float], int], float]):
    """Angle of a further chip of a design, in degrees; nan where it has no rest state."""

    def done_by(self, workers: Workers) -> float:
        """See `Call.done_by`."""
        return unseen_angle(workers.problem, *self.item)
