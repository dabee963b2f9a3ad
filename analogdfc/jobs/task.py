"""One piece of work, described so that any process can do it."""

from __future__ import annotations

import json
import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

Result_co = TypeVar("Result_co", covariant=True)
Value = TypeVar("Value")
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Task(ABC, Generic[Result_co]):
    """One piece of work: what it needs is in its fields.

    Two equal tasks give equal results, in any process and in any order; random numbers come from
    seeds among the fields. Subclasses are frozen dataclasses.
    """

    @property
    def name(self) -> str:
        """What it is called, in messages and records."""
        return type(self).__name__

    @property
    def work(self) -> int:
        """How many units of progress it reports, in sum."""
        return 1

    @property
    def longest(self) -> float:
        """Seconds after which another process that does it gives it up."""
        return math.inf

    @abstractmethod
    def run(self, progress: Progress) -> Result_co:
        """Do the work.

        Args:
            progress: called with the units done since the last call.

        Returns:
            What it finds; something that can be pickled where it runs in another process.
        """

    def settings(self) -> str:
        """All fields as a JSON text, by which a record tells whether it has the result already.

        Raises:
            TypeError: a field that JSON can't hold; such tasks are not kept in records.
        """
        return json.dumps(asdict(self), sort_keys=True)


class Shared(Generic[Value]):
    """What many tasks need: it goes with each, but another process unpacks it once and keeps it.

    Args:
        value: anything that can be pickled.
    """

    def __init__(self, value: Value) -> None:
        self.value = value
        self._packed: bytes | None = None

    def __reduce__(self) -> tuple[Callable[[bytes], Shared[Any]], tuple[bytes]]:
        if self._packed is None:
            self._packed = pickle.dumps(self.value)
        return _unpack, (self._packed,)


@lru_cache(maxsize=4)
def _unpack(packed: bytes) -> Shared[Any]:
    return Shared(pickle.loads(packed))


_checkpoint: ContextVar[Path | None] = ContextVar("checkpoint", default=None)


def checkpoint_place() -> Path | None:
    """Where the run that is being done may leave a checkpoint, and may find one of its own.

    A long run that was lost with its process or machine is given the same place when it is done
    again. What is there goes when the run has ended. None where nothing is kept.
    """
    return _checkpoint.get()


@contextmanager
def checkpointed(place: Path | None) -> Iterator[None]:
    """Do a run that may leave a checkpoint.

    Args:
        place: the file.
    """
    token = _checkpoint.set(place)
    try:
        yield
    finally:
        _checkpoint.reset(token)
