"""Files that may be damaged, read in a process of their own.

HDF5's library believes what a file says of itself: a damaged one can crash it or keep it busy for
ever, and its process with it. A record that is as `write` left it is known by its seal, the SHA-256
of all bytes before it, at the end of the file, where HDF5 doesn't look. Only such a file is read in
this process; one whose seal is broken isn't read at all.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from analogdfc.errors import UserError

__all__ = ["apart", "has_signature", "is_sealed", "seal"]

_SEAL = b"analogdfc SHA-256 "
_LENGTH = len(_SEAL) + hashlib.sha256().digest_size
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_WORKER = Path(__file__).with_name("worker.py")
_SECONDS = 20
_BYTES_A_SECOND = 2**22
_STOPPED = (-signal.SIGXCPU, -signal.SIGKILL)


def seal(image: bytes) -> bytes:
    """What is appended to a file so that it is known to be whole and unchanged.

    Args:
        image: all that is in it.
    """
    return _SEAL + hashlib.sha256(image).digest()


def is_sealed(path: Path) -> bool:
    """Whether a file is as `write` left it; other programs that write into it take the seal away.

    Args:
        path: the file.

    Raises:
        OSError: it can't be read.
        UserError: it has a seal that doesn't fit, so it is cut or damaged.
    """
    with path.open("rb") as file:
        rest = max(0, file.seek(0, 2) - _LENGTH)
        file.seek(rest)
        end = file.read()
        if _SEAL not in end:
            return False
        file.seek(0)
        digest = hashlib.sha256()
        while rest > 0 and (block := file.read(min(rest, 2**20))):
            digest.update(block)
            rest -= len(block)
    if end != _SEAL + digest.digest():
        raise UserError(_damaged(path, "it isn't what was written, by its checksum"))
    return True


def has_signature(path: Path) -> bool:
    """Whether a file says that it is HDF5: at its start, or behind a block of the user's.

    Args:
        path: the file.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        size, place = file.seek(0, 2), 0
        while place + len(_SIGNATURE) <= size:
            file.seek(place)
            if file.read(len(_SIGNATURE)) == _SIGNATURE:
                return True
            place = 2 * place or 512
    return False


def apart(function: str, path: Path, *arguments: Any) -> Any:
    """What a function of `reading` finds in a file, called in a process of its own.

    Args:
        function: its name; its first argument is the path.
        path: the file.
        arguments: the others, of kinds that JSON has.

    Returns:
        What the function returns.

    Raises:
        UserError: what the function raises; or the file crashed HDF5's library, or kept it busy
            for longer than any file of its size does.
    """
    seconds = _SECONDS + path.stat().st_size // _BYTES_A_SECOND
    code, said = _reader.ask([seconds, os.getcwd(), function, [str(path), *arguments]])
    if code in _STOPPED:
        raise UserError(_damaged(path, "reading it does not end, or takes all memory"))
    if code < 0:
        how = signal.strsignal(-code) or f"signal {-code}"
        raise UserError(_damaged(path, f"HDF5's library crashes on it ({how.lower()})"))
    if code:
        raise RuntimeError(f"{path}: the process that reads it failed with exit code {code}")
    good, found = pickle.loads(said)
    if not good:
        raise UserError(found)
    return found


class _Reader:
    """The process that starts those that read; it is started once, when it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, question: list[Any]) -> tuple[int, bytes]:
        """Exit code of the process that was asked, and what it said."""
        with self._lock:
            for _ in range(2):
                try:
                    return self._asked(question)
                except (OSError, EOFError):  # it ended, as after the thread that started it
                    self.stop()
        raise RuntimeError("the process that reads files can't be started")

    def _asked(self, question: list[Any]) -> tuple[int, bytes]:
        if self._owner != os.getpid():  # this process is a copy; its pipe is that of another
            self._process, self._owner = None, os.getpid()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        into, out = self._process.stdin, self._process.stdout
        assert into is not None
        assert out is not None
        into.write(json.dumps(question).encode() + b"\n")
        into.flush()
        head = out.readline().split()
        if len(head) != 2:
            raise EOFError
        said = out.read(int(head[1]))
        if len(said) != int(head[1]):
            raise EOFError
        return int(head[0]), said

    def stop(self) -> None:
        """End it; one of which this process is only a copy's owner is left alone."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.kill()
        process.wait()


_reader = _Reader()
atexit.register(_reader.stop)


def _damaged(path: Path, why: str) -> str:
    return f"{path}: the HDF5 file is damaged: {why}"
