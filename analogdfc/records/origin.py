"""What made a record."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from analogdfc import __version__
from analogdfc.errors import UserError

__all__ = ["check_texts", "provenance", "remarks_tree"]


def check_texts(texts: Iterable[str]) -> None:
    """Make sure that a record can hold texts, names of files among them; called before long work.

    Args:
        texts: what will be written.

    Raises:
        UserError: bytes that aren't UTF-8, as a file's name may have them, or a null character.
    """
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            name = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise UserError(
                f"{name}: isn't UTF-8, as every text in a record is; give the file another name"
            ) from error
        if "\0" in text:
            raise UserError(f"{text!r}: a text in a record has no null character")


def provenance(argv: Sequence[str] | None = None) -> dict[str, str]:
    """What made a record: the versions that decide over its numbers, and the command line.

    Args:
        argv: the command line, program first; that of this process without.

    Returns:
        Texts under `analogdfc`, `python`, `numpy`, `torch` and `command`.
    """
    program, *arguments = sys.argv if argv is None else argv
    return {
        "analogdfc": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": metadata.version("torch"),  # not torch.__version__: importing it takes seconds
        # Where the program is installed says nothing about the numbers.
        "command": shlex.join([Path(program).name, *arguments]),
    }


def remarks_tree(remarks: Sequence[str]) -> dict[str, dict[str, str]]:
    """What is unusual about a result, as a branch of its record; nothing where there is nothing.

    Args:
        remarks: a sentence each.
    """
    return {"remarks": {str(k): text for k, text in enumerate(remarks, start=1)}} if remarks else {}
