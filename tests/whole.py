"""Whether a table is whole on a terminal of some width."""

from __future__ import annotations

import io
import re

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from analogdfc.tables import laid_out

WIDTHS = (40, 80, 200)


def text_of(cell: RenderableType) -> str:
    return str(cell if isinstance(cell, Text) else Text.from_markup(str(cell)))


def printed(table: Table, width: int) -> list[str]:
    """The tables that it becomes, as they look."""
    out = []
    for part, wide in laid_out(table, width):
        file = io.StringIO()
        Console(file=file, width=wide, color_system=None).print(part)
        out.append(file.getvalue())
    return out


def lost(table: Table, width: int) -> list[str]:
    """What a table should say and doesn't at a width, or says in pieces."""
    shown = "\n".join(printed(table, width))
    words: list[str] = []
    for column in table.columns:
        cells = [text_of(cell) for cell in column.cells]
        if column.justify == "right":  # a line of numbers, as a whole
            words += [line for cell in cells for line in cell.split("\n")]
        else:
            words += [w for cell in cells for w in cell.split() if re.search(r"\d", w)]
    words = [w for w in words if len(w) <= 24 and w.strip()]
    missing = [w for w in words if not re.search(rf"(?<!\S){re.escape(w)}(?!\S)", shown)]
    return [*missing, *(["…"] if "…" in shown else [])]
