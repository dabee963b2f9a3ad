"""Tasks that end badly; in a module that imports little, since a process starts for each."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from analogdfc.jobs import Progress, Task


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
