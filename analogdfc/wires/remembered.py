"""What has been solved, kept for the next who asks: one room for all realisations of a circuit."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from hashlib import blake2b
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Solved = tuple[NDArray[Any], ...]

_LARGEST = 2**28
"""Bytes that are kept: the solutions of a chip of 784-256-32-256-784, and half as many."""


class Remembered:
    """Solutions by the content of what was solved, those that were asked for last.

    Args:
        largest: bytes that are kept at most; a solution that is larger is not kept.
    """

    def __init__(self, largest: int = _LARGEST) -> None:
        self._largest = largest
        self._known: OrderedDict[Hashable, Solved] = OrderedDict()
        self._lock = Lock()
        self.kept = 0

    def get(self, g: Array, key: Hashable, solve: Callable[[], Solved]) -> Solved:
        """The solution of an array, solved where it isn't known. It can't be written to.

        Args:
            g: the conductances, of which the content counts.
            key: what else tells one solution from another.
            solve: solves the array.
        """
        (found,) = self.get_all([g], key, lambda _: [solve()])
        return found

    def get_all(
        self,
        arrays: Sequence[Array],
        key: Hashable,
        solve: Callable[[Sequence[Array]], Sequence[Solved]],
    ) -> list[Solved]:
        """The solutions of arrays, of which those that aren't known are solved together.

        Args:
            arrays: the conductances of each.
            key: what else tells one solution from another, see `get`.
            solve: solves arrays; each is asked for once.
        """
        keys: list[Hashable] = [
            (key, g.shape, blake2b(np.ascontiguousarray(g).data, digest_size=16).digest())
            for g in arrays
        ]
        found: dict[Hashable, Solved] = {}
        with self._lock:
            for full in keys:
                if full in self._known:
                    self._known.move_to_end(full)
                    found[full] = self._known[full]
        unknown = {full: g for full, g in zip(keys, arrays, strict=True) if full not in found}
        if unknown:
            solved = solve(list(unknown.values()))
            new: dict[Hashable, Solved] = dict(zip(unknown, solved, strict=True))
            for part in itertools.chain.from_iterable(new.values()):
                part.flags.writeable = False
            with self._lock:
                for full, solution in new.items():
                    self._keep(full, solution)
            found |= new
        return [found[full] for full in keys]

    def forget(self) -> None:
        """Keep nothing of what has been solved so far."""
        with self._lock:
            self._known.clear()
            self.kept = 0

    def _keep(self, key: Hashable, found: Solved) -> None:
        size = _bytes(found)
        if size > self._largest or key in self._known:
            return
        self._known[key] = found
        self.kept += size
        while self.kept > self._largest:
            _, oldest = self._known.popitem(last=False)
            self.kept -= _bytes(oldest)


def _bytes(found: Solved) -> int:
    return sum(part.nbytes for part in found)


SOLUTIONS = Remembered()
"""The solutions of all arrays that were seen from their terminals."""
