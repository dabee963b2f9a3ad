"""What has been solved, kept for the next who asks: one room for all realisations of a circuit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
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
        content = blake2b(g.tobytes(), digest_size=16).digest()
        full = key, g.shape, content
        with self._lock:
            if full in self._known:
                self._known.move_to_end(full)
                return self._known[full]
        found = solve()
        for part in found:
            part.flags.writeable = False
        with self._lock:
            self._keep(full, found)
        return found

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
