"""Tasks that end badly; in a module that imports little, since a process starts for each."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from analogdfc.errors import ConvergenceError
from analogdfc.jobs import Progress, Run, Task, checkpoint_place
from analogdfc.records import Record, Tree


@dataclass(frozen=True)
class Nap(Task[str]):
    """Hardly any work."""

    def run(self, progress: Progress) -> str:
        return "done"


@dataclass(frozen=True)
class Killed(Task[None]):
    """The process that it runs in is killed."""

    @property
    def name(self) -> str:
        return "killed"

    def run(self, progress: Progress) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Once(Task[str]):
    """The first process that does it is killed."""

    mark: str

    def run(self, progress: Progress) -> str:
        if Path(self.mark).exists():
            return "done"
        Path(self.mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True)
class Crash(Task[None]):
    """A crash in the code of a library."""

    def run(self, progress: Progress) -> None:
        print("about to read address 0", file=sys.stderr)
        ctypes.string_at(0)


@dataclass(frozen=True)
class Endless(Task[None]):
    """Work without an end, which hears no signal where it is deaf."""

    deaf: bool

    @property
    def longest(self) -> float:
        return 0.3

    def run(self, progress: Progress) -> None:
        if self.deaf:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
        time.sleep(60)


@dataclass(frozen=True)
class Count(Run[int]):
    """Counts up, a checkpoint a step; halts for long after some where a file is there.

    Attributes:
        to: the count that it ends with, and gives.
        halt: the file; empty for none.
    """

    to: int
    halt: str = ""

    @property
    def name(self) -> str:
        return f"count to {self.to}"

    def run(self, progress: Progress) -> int:
        place = checkpoint_place()
        count = int(place.read_text()) if place and place.exists() else 0
        resumed = count
        while count < self.to:
            count += 1
            if place:
                place.write_text(str(count))
            if count == 2 and self.halt and Path(self.halt).exists():
                time.sleep(60)
        if self.halt:
            Path(self.halt + ".resumed").write_text(str(resumed))
        progress(1)
        return count

    def pack(self, result: int) -> Tree:
        return {"count": result}

    def unpack(self, record: Record) -> int:
        return int(record.number("count"))


@dataclass(frozen=True)
class Bad(Count):
    """Comes to no result, in a way of its own."""

    way: str = "error"

    @property
    def name(self) -> str:
        return f"bad: {self.way}"

    def run(self, progress: Progress) -> int:
        if self.way == "error":
            error = ConvergenceError("no rest")
            error.log = "what the simulator wrote"
            raise error
        if self.way == "defect":
            return 1 // 0
        print("the last words", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError
