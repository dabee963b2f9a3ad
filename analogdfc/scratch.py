"""Folders for temporary files, which go with the program that made them, however it ends.

Its end by a signal that it can't hear leaves a folder, but not the lock on it: the next one who
makes such a folder removes those that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

__all__ = ["Scratch"]

_PREFIX = "analogdfc-run-"
_NAME = re.compile(rf"{_PREFIX}[a-z0-9_]{{8}}")
_YOUNG = 10.0
"""Seconds in which a folder may have been made, but not be locked yet."""


class Scratch:
    """A new folder for temporary files. A context manager that gives its path.

    Attributes:
        path: the folder.
    """

    def __init__(self) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            if _NAME.fullmatch(left.name):
                with suppress(OSError):
                    _remove_unheld(left)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock: int | None = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _remove_unheld(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - folder.stat().st_mtime > _YOUNG:
            shutil.rmtree(folder)
    finally:
        os.close(lock)
