"""A process kit's model files, read as data: parameters, models and library sections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from analogdfc.errors import UserError
from analogdfc.files import read_whole

_LARGEST = 2**24
"""Bytes of the largest file."""

_ASSIGNED = re.compile(r"(\w+)\s*=\s*(\{[^}]*\}|'[^']*'|[^\s'{}]+)")
_COMMENT = re.compile(r";.*|\s\$\s.*")
_LAST_OF_NOTICE = re.compile(r"limitations under the license", re.IGNORECASE)


@dataclass(frozen=True)
class Model:
    """A `.model` card.

    Attributes:
        name: its name, in lower case, with the number of its bin: 'nfet.3'.
        kind: what it is of, 'nmos'.
        values: numbers or expressions by the parameters' names, in lower case.
    """

    name: str
    kind: str
    values: dict[str, str]


def read(path: Path) -> str:
    """The text of a file of a kit.

    Args:
        path: the file.

    Raises:
        UserError: it can't be read.
    """
    try:
        return read_whole(path, _LARGEST).decode("utf-8", errors="replace").lower()
    except OSError as error:
        raise UserError(
            f"{path}: the process kit's file can't be read: {error.strerror}. Install the kit anew"
        ) from error


def statements(text: str) -> Iterator[str]:
    """Lines without comments, continuations joined.

    Args:
        text: of a file, in lower case.
    """
    parts: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped[0] == "*":
            continue
        stripped = _COMMENT.sub("", stripped)
        if stripped.startswith("+"):
            parts.append(stripped[1:])
            continue
        if parts:
            yield " ".join(parts)
        parts = [stripped]
    if parts:
        yield " ".join(parts)


def section(text: str, name: str, path: Path) -> str:
    """What stands between '.lib NAME' and '.endl'.

    Args:
        text: of the file, in lower case.
        name: of the section.
        path: the file, for the message.

    Raises:
        UserError: there is no such section.
    """
    found = re.search(rf"^\s*\.lib\s+{re.escape(name)}\s*$(.*?)^\s*\.endl\b", text, re.M | re.S)
    if found is None:
        raise UserError(f"{path}: the process kit's file has no section {name!r}")
    return found[1]


def parameters(text: str) -> dict[str, str]:
    """Every `.param` of a text, numbers or expressions by names.

    Args:
        text: of a file or a section, in lower case.
    """
    found: dict[str, str] = {}
    for line in statements(text):
        if line.startswith(".param"):
            found.update(_ASSIGNED.findall(line))
    return found


def models(text: str) -> list[Model]:
    """Every `.model` of a text.

    Args:
        text: of a file or a section, in lower case.
    """
    found = []
    for line in statements(text):
        words = line.split(maxsplit=3)
        if words[0] == ".model" and len(words) == 4:
            found.append(Model(words[1], words[2], dict(_ASSIGNED.findall(words[3]))))
    return found


def subcircuit(text: str, name: str, path: Path) -> str:
    """What stands between '.subckt NAME ...' and '.ends'.

    Args:
        text: of a file or a section, in lower case.
        name: of the subcircuit.
        path: the file, for the message.

    Raises:
        UserError: there is no such subcircuit.
    """
    found = re.search(rf"^\s*\.subckt\s+{re.escape(name)}\s.*?^\s*\.ends", text, re.M | re.S)
    if found is None:
        raise UserError(f"{path}: the process kit's file has no subcircuit {name!r}")
    return found[0]


def notice(path: Path) -> list[str]:
    """The notice of copyright and licence with which a file of a kit begins, lines of comments.

    Args:
        path: the file.

    Raises:
        UserError: it can't be read, or has none.
    """
    try:
        lines = read_whole(path, _LARGEST).decode("ascii", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    ends = [k for k, line in enumerate(lines[:60]) if _LAST_OF_NOTICE.search(line)]
    if not ends:
        raise UserError(f"{path}: the process kit's file has no notice of its licence")
    return [f"* {line.lstrip('*').strip()}".rstrip() for line in lines[: ends[0] + 1]]
