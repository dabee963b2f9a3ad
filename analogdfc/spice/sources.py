"""Text of files that somebody hands in with a cell of their own, and what these may include."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from pathlib import Path
from typing import NoReturn

from analogdfc.errors import UserError, shown
from analogdfc.files import read_whole

_LARGEST = 2**20
"""Bytes of the largest file."""


def source_text(path: Path) -> str:
    """The text of a file, with its lines ended in one way.

    Args:
        path: the file.

    Raises:
        UserError: it can't be read, or has other characters than ASCII.
    """
    try:
        content = read_whole(path, _LARGEST).removeprefix(BOM_UTF8)
        return content.decode("ascii").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise UserError(f"{path}: can't read the cell: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: a character that isn't ASCII") from error


def included(path: Path, line: int, words: str, name: str) -> Path:
    """A file that another one includes: it lies beside that.

    Args:
        path: the file that includes it.
        line: number of the line there.
        words: what stands there.
        name: of the file.

    Raises:
        UserError: it is elsewhere, or isn't there.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        refuse(
            path, line, words,
            "an include stays in its folder; put the file beside this one and name it without a "
            "path",
        )  # fmt: skip
    other = path.parent / name
    if not other.is_file():
        refuse(path, line, words, f"there is no such file in {path.parent}")
    if other.resolve().parent != path.parent.resolve():
        refuse(path, line, words, "the file is a link out of its folder; put the file itself there")
    return other


def refuse(path: Path, line: int, words: str, why: str) -> NoReturn:
    """Refuse what a file says.

    Args:
        path: the file.
        line: number of the line.
        words: what stands there.
        why: and what to do.

    Raises:
        UserError: always.
    """
    raise UserError(f"{path}, line {line}: {shown(words[:60])} is refused: {why}")
