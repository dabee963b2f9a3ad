"""What this machine's memory holds, asked before much of it is taken."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from analogdfc.errors import UserError

__all__ = ["check_memory", "memory"]

_GROUP = Path("/sys/fs/cgroup/memory.max")


def memory() -> int:
    """Bytes of memory that there are for this process at most."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # no control group, or none with a limit
        found = min(found, int(_GROUP.read_text()))
    return found


def check_memory(numbers: int, what: str, less: str = "") -> None:
    """Make sure that there is memory for numbers of double precision; called before taking it.

    Args:
        numbers: how many.
        what: what they are, for the message.
        less: what would need less, for the message; may be empty.

    Raises:
        UserError: they need more than there is.
    """
    needed, there = 8 * numbers, memory()
    if needed > there:
        raise UserError(
            f"{what} would need {needed / 1e9:.3g} GB of memory; this machine has "
            f"{there / 1e9:.3g} GB" + (f". {less}" if less else "")
        )
