"""Files that are written whole or not at all, and never over what isn't the program's own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from analogdfc.errors import UserError

__all__ = [
    "MARK",
    "beside",
    "check_apart",
    "check_own",
    "check_place",
    "exists",
    "owner",
    "read_whole",
    "real",
    "stamped",
    "take_lock",
    "working_on",
    "write_all",
    "write_whole",
]

TEXTS = frozenset({".toml", ".lib", ".cir", ".net", ".sp", ".scs", ".sim", ".va", ".csv"})
"""Endings of files that somebody may edit by hand."""

MARK = "written by analogdfc"
"""What every file but a record holds that the program made, so that it is known again."""

_STAMP = re.compile(
    rf"^(?:[*#;]|//) {MARK}, SHA-256 of the other lines ([0-9a-f]{{64}})\n", re.MULTILINE
)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name beside its place, then rename it.

    Args:
        path: the file; its folder exists.
        content: all that it will hold.

    Raises:
        OSError: it can't be written; what was there before is still there.
    """
    write_all({path: content})


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write several files; none takes its place before all are on the disk.

    Args:
        files: their contents; the folders exist.

    Raises:
        OSError: one can't be written; what was there before is still there.
    """
    # Processes of two machines that share a folder may have the same number.
    own = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary = {path: path.with_name(f".{path.name}.{own}") for path in files}
    try:
        for path, content in files.items():
            temporary[path].write_bytes(content)
        for path, place in temporary.items():
            os.replace(place, path)
    finally:
        for place in temporary.values():
            place.unlink(missing_ok=True)


def read_whole(path: Path, most: int) -> bytes:
    """All of a file that isn't large, and that ends: no device does.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        OSError: it can't be read.
        UserError: it has more.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path}: has more than {most} bytes")
    return content


def stamped(text: str, comment: Literal["*", "#", ";", "//"]) -> str:
    """A text with a second line that says who wrote it, and by which it is seen to be changed.

    Args:
        text: at least one line.
        comment: what a comment begins with.
    """
    first, _, rest = text.partition("\n")
    digest = hashlib.sha256(f"{first}\n{rest}".encode()).hexdigest()
    return f"{first}\n{comment} {MARK}, SHA-256 of the other lines {digest}\n{rest}"


def owner(path: Path) -> Literal["nobody", "program", "user"]:
    """Whose a file is: nobody's where there is none, the user's also where they changed ours.

    Args:
        path: the file.

    Raises:
        OSError: it can't be read.
    """
    if not path.exists() or path.stat().st_size == 0:
        return "nobody"
    content = path.read_bytes()
    if MARK.encode() not in content:
        return "user"
    text = content.decode("utf-8", errors="replace")
    found = _STAMP.search(text)
    if found is None:  # a figure, which nobody edits by hand
        return "user" if path.suffix in TEXTS else "program"
    others = text[: found.start()] + text[found.end() :]
    return "program" if hashlib.sha256(others.encode()).hexdigest() == found[1] else "user"


def beside(record: Path, ending: str) -> Path:
    """Where a file that goes with a record is written.

    Args:
        record: the record.
        ending: what the name ends in instead of the record's ending, such as `.png`.

    Raises:
        UserError: the record's path is that of a folder.
    """
    if record.name in ("", ".."):
        raise UserError(f"{record}: is a directory; the record needs a file name")
    return record.with_name(f"{record.stem}{ending}")


@contextmanager
def _looking_at(path: Path) -> Iterator[None]:
    """What the operating system says of a path that it doesn't take becomes a message."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: can't be looked at: {error.strerror or error}") from error
    except (RuntimeError, ValueError) as error:  # a loop of symbolic links, a null character
        raise UserError(f"{path}: can't be looked at: {error}") from error


def exists(path: Path) -> bool:
    """Whether there is something at a path.

    Args:
        path: the path.

    Raises:
        UserError: that can't be told, as of a name that is too long or in a folder that may not be
            looked into.
    """
    with _looking_at(path):
        return path.exists()


def real(path: Path) -> Path:
    """The path of a file without symbolic links.

    Args:
        path: the path.

    Raises:
        UserError: as `exists`.
    """
    with _looking_at(path):
        return path.resolve()


def check_apart(written: Iterable[Path], read: Iterable[Path] = ()) -> None:
    """Make sure that files that are written have names of their own.

    Args:
        written: all that a piece of work writes.
        read: what it reads.

    Raises:
        UserError: two of them are the same file, or one is read too.
    """
    names: dict[Path, Path] = {}
    for path in written:
        place = real(path)
        if place in names:
            raise UserError(
                f"{path}: two files would be written here; give the record another ending, "
                "such as .h5"
            )
        names[place] = path
    for path in read:
        if real(path) in names:
            raise UserError(
                f"{path}: would be written over, and is read from this file; write to another"
            )


def check_place(path: Path) -> None:
    """Make sure that a file can be written; called before long work.

    Args:
        path: the file. It needn't exist; its folder must.

    Raises:
        UserError: it is a folder, or its folder is missing or can't be written.
    """
    with _looking_at(path):
        folder, good = path.is_dir(), path.parent.is_dir() and os.access(path.parent, os.W_OK)
    if folder:
        raise UserError(f"{path}: is a directory; a file is written here")
    if not good:
        raise UserError(f"{path}: its directory doesn't exist or can't be written")


def check_own(path: Path) -> None:
    """Make sure that a file that is no record can be written, and takes nobody's place.

    Args:
        path: the file. It needn't exist; its folder must.

    Raises:
        UserError: it can't be written, or there is a file that the program didn't write or that
            was changed since.
    """
    check_place(path)
    try:
        whose = owner(path)
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    if whose == "user":
        raise UserError(
            f"{path}: would be written over, and is not as analogdfc wrote it; move it away, or "
            "give the record another name"
        )


@contextmanager
def working_on(output: Path) -> Iterator[None]:
    """Let nobody else work on an output: of two commands one would lose its work.

    Args:
        output: what will be written; its folder exists.

    Raises:
        UserError: another command works on it, or its folder can't be written.
    """
    place = real(output).with_name(f".{output.name}.lock")
    try:
        lock = take_lock(place, output)
    except OSError as error:
        raise UserError(f"{output}: can't be written: {error.strerror}") from error
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        os.close(lock)


def take_lock(place: Path, subject: Path, prepare: Callable[[], object] = lambda: None) -> int:
    """A lock that nobody else holds; it goes when it is closed, or with this process.

    Args:
        place: its file, which is made; whoever holds it may delete it.
        subject: what it is for, for the message.
        prepare: makes the file's folder anew where that was deleted.

    Returns:
        The descriptor to be closed.

    Raises:
        UserError: another process holds it; says which.
        OSError: the file can't be written.
    """
    while True:
        lock = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 1000).decode("utf-8", errors="replace").strip()
            os.close(lock)
            raise UserError(
                f"{subject}: another command works here: {holder or 'it has just begun'}. Wait "
                "until it has ended, or choose another output"
            ) from None
        # Who held it before may have deleted the file in between.
        with suppress(FileNotFoundError):
            if os.stat(place).st_ino == os.fstat(lock).st_ino:
                break
        os.close(lock)
        prepare()
    os.ftruncate(lock, 0)
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    os.write(lock, f"process {os.getpid()} on {socket.gethostname()} since {when}\n".encode())
    return lock
