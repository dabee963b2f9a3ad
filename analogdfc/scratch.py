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
_UNHELD = "analogdfc-new-"
"""Prefix of a folder that is made, but not locked yet."""
_NAME = re.compile(rf"(?:{_PREFIX}|{_UNHELD})[a-z0-9_]{{8}}")
_YOUNG = 10.0
"""Seconds in which such a folder's maker may still lock it."""


class Scratch:
    """A new folder for temporary files. A context manager that gives its path.

    Attributes:
        path: the folder.
    """

    def __init__(self) -> None:
        for left in Path(tempfile.gettempdir()).glob("analogdfc-*"):
            if _NAME.fullmatch(left.name):
                with suppress(OSError):
                    _remove_unheld(left)
        made = Path(tempfile.mkdtemp(prefix=_UNHELD))
        self._lock: int | None = os.open(made, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Only now has it the name of one that may go as soon as nobody holds it.
        self.path = made.rename(made.with_name(made.name.replace(_UNHELD, _PREFIX, 1)))

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
        young = time.time() - folder.stat().st_mtime <= _YOUNG
        if not (young and folder.name.startswith(_UNHELD)):
            shutil.rmtree(folder)
    finally:
        os.close(lock)
