"""Who does which run of a shared folder: leases, which a worker that is gone doesn't renew.

A lease is a file that one worker alone can make. Its holder counts in it, every few seconds.
Whoever watches it, by the own clock, and sees no other count for long takes the next lease of the
run; so no two machines need the same time, and a lost lease is never taken by two.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from analogdfc.files import write_whole

__all__ = ["Lease", "Leases"]

_BEATS = 6
"""A lease is lost when its holder has not counted for as many times as it takes to count."""

_EVERY = 10.0
"""Seconds from count to count of a holder that hasn't said it."""


_LONGEST = 3600.0
"""No holder waits longer with a count; a lease that says so is damaged."""


class Free(NamedTuple):
    """A run that may be taken.

    Attributes:
        name: of the run.
        number: of the lease to take, from 1.
        lost: workers that were lost with the run since it last left a new checkpoint.
        checkpoint: what was there of it when the last one began.
    """

    name: str
    number: int = 1
    lost: int = 0
    checkpoint: str = ""


@dataclass
class Lease:
    """A lease that this process holds.

    Attributes:
        path: its file.
        told: what is in it.
    """

    path: Path
    told: dict[str, Any]

    def beat(self) -> None:
        """Count, so that others see that the run is being done.

        Raises:
            OSError: the file can't be written.
        """
        self.told["beat"] += 1
        if self.path.exists():  # else somebody else has ended the run
            write_whole(self.path, json.dumps(self.told).encode())

    def release(self) -> None:
        """Let others take the run at once."""
        with suppress(OSError):  # then they take it when it is lost
            self.told["released"] = True
            write_whole(self.path, json.dumps(self.told).encode())


@dataclass
class Leases:
    """The leases of a folder, as one process sees them.

    Attributes:
        folder: where they are; it needn't exist, its parent does.
        every: seconds from count to count of the own ones.
    """

    folder: Path
    every: float = _EVERY
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    def latest(self) -> dict[str, int]:
        """Number of the last lease of each run that has one."""
        found: dict[str, int] = {}
        with suppress(FileNotFoundError):
            for file in os.listdir(self.folder):
                name, _, number = file.partition(".")
                if name and number.isdigit():
                    found[name] = max(found.get(name, 0), int(number))
        return found

    def free(self, names: list[str]) -> Iterator[Free]:
        """Runs that nobody does, or whose worker is lost.

        Args:
            names: of runs.
        """
        latest = self.latest()
        for name in names:
            if name not in latest:
                yield Free(name)
            elif (lost := self._lost(name, latest[name])) is not None:
                yield lost

    def heard(self) -> str:
        """What all holders say now: where it stays the same, no worker is at work."""
        latest = sorted(self.latest().items())
        return "".join(f"{name}{self._read(name, number)}" for name, number in latest)

    def take(self, free: Free, checkpoint: str) -> Lease | None:
        """Take a run; None where somebody else was faster.

        Args:
            free: the run.
            checkpoint: what is there of it, by which the next one sees whether there is more.

        Raises:
            OSError: the folder can't be written.
        """
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{free.name}.{free.number}"
        new = bool(checkpoint) and checkpoint != free.checkpoint
        told = {
            "by": f"process {os.getpid()} on {socket.gethostname()}",
            "every": self.every,
            "beat": 0,
            "lost": 0 if new else free.lost,
            "checkpoint": checkpoint,
        }
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(json.dumps(told))
        except FileExistsError:
            return None
        return Lease(path, told)

    def drop(self, name: str) -> None:
        """Remove all leases of a run, which has ended.

        Args:
            name: of the run.
        """
        for path in self.folder.glob(f"{name}.*"):
            path.unlink(missing_ok=True)

    def _read(self, name: str, number: int) -> str:
        try:
            return (self.folder / f"{name}.{number}").read_text("utf-8", errors="replace")
        except OSError:
            return ""

    def _lost(self, name: str, number: int) -> Free | None:
        """The next lease of a run, where the last one is released or lost."""
        text, now = self._read(name, number), time.monotonic()
        told = _told(text)
        seen, since = self._seen.get(name, ("", now))
        if (file := f"{number}{text}") != seen:
            self._seen[name] = file, now
            since = now
        lost, checkpoint = told.get("lost", 0), str(told.get("checkpoint", ""))
        if told.get("released"):
            return Free(name, number + 1, lost, checkpoint)
        if now - since > _BEATS * told.get("every", _EVERY):
            return Free(name, number + 1, lost + 1, checkpoint)
        return None


def _told(text: str) -> dict[str, Any]:
    """What a lease says; nothing where its holder hasn't written it yet, or it is damaged."""
    with suppress(ValueError, TypeError, OverflowError):
        found = json.loads(text)
        if isinstance(found, dict):
            every = float(found.get("every", _EVERY))
            if 0 <= every <= _LONGEST:
                return {**found, "lost": int(found.get("lost", 0)), "every": every}
    return {}
