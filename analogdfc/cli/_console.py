"""Where the commands print their tables."""

from __future__ import annotations

import sys

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.table import Table

from analogdfc.tables import laid_out

_WIDE = 200


class _WholeTables(RenderHook):
    """Lays tables out before they are printed, so that none is cut.

    Args:
        console: where they are printed; it is wider while a table has to be.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._width = console, console.width

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Put what becomes of each table in its place."""
        out: list[ConsoleRenderable] = []
        widths = [self._width]
        for one in renderables:
            if isinstance(one, Table):
                for part, width in laid_out(one, self._width):
                    out.append(part)
                    widths.append(width)
            else:
                out.append(one)
        self._console.width = max(widths)
        return out


def make_console() -> Console:
    """The terminal; for a file or a pipe, one so wide that few tables are laid out in parts."""
    console = Console() if _is_terminal() else Console(width=_WIDE)
    console.push_render_hook(_WholeTables(console))
    return console


def _is_terminal() -> bool:
    # Not what rich says, which takes a pipe with FORCE_COLOR for a terminal.
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()
