"""Texts that take a while to make, kept on the disk: whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from analogdfc import __version__
from analogdfc.errors import UserError
from analogdfc.files import write_whole

VARIABLE = "ANALOGDFC_CACHE"
"""Variable of the environment that names another folder."""


def cache_folder() -> Path:
    """The folder for what can be made again: $ANALOGDFC_CACHE, else one of the user's."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home and os.path.isabs(home) else Path.home() / ".cache") / "analogdfc"


def cached(name: str, make: Callable[[], str]) -> str:
    """A text of the cache; it is made and kept where it isn't there or was changed.

    Args:
        name: of its file, in which everything counts that the text depends on but our version.
        make: makes it.

    Raises:
        UserError: the folder can't be written, and what `make` raises.
    """
    folder = cache_folder() / "kits" / __version__
    path = folder / name
    try:
        text = _checked(path.read_text("ascii")) if path.is_file() else None
    except (OSError, UnicodeDecodeError):
        text = None
    if text is not None:
        return text
    text = make()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"* {_digest(text)}\n{text}".encode("ascii"))
    except OSError as error:
        raise UserError(
            f"{folder}: the cache can't be written: {error.strerror}. Name another folder in "
            f"{VARIABLE}"
        ) from error
    return text


def _checked(content: str) -> str | None:
    first, _, text = content.partition("\n")
    return text if first == f"* {_digest(text)}" else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
