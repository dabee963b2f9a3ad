"""Where the commands print their tables."""

from __future__ import annotations

from rich.console import Console

_WIDE = 200


def make_console() -> Console:
    """The terminal; for a file or a pipe, one so wide that no line of a table is broken."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDE)
