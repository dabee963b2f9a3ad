"""Tables on a narrow terminal: no number is ever cut.

Texts are broken between words first. Where that isn't enough, a table goes on below, with further
columns beside the same first ones. Where even that isn't enough, it is wider than the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text, TextType

__all__ = ["laid_out"]

_WORD, _NUMBER = 12, 24
"""Letters up to which a word isn't broken: one of letters alone, one with digits."""


class _Column(NamedTuple):
    """What a column needs; its padding is not counted.

    Attributes:
        place: which of the table's.
        wide: width at which no line of it is broken.
        least: width at which no number of it is broken.
        numbers: whether it stands at the right, as numbers do.
    """

    place: int
    wide: int
    least: int
    numbers: bool


def laid_out(table: Table, width: int) -> Iterator[tuple[Table, int]]:
    """The table, or the tables that it becomes, for a terminal.

    Args:
        table: the table; where it fits, it stays what it is.
        width: columns of the terminal, >= 1.

    Returns:
        Tables to be printed one below the other, each with the width that it takes.
    """
    columns = [_measured(table, k) for k in range(len(table.columns))]
    if _total(table, [c.wide for c in columns]) <= width:
        yield table, width
        return
    for k, chosen in enumerate(_split(table, columns, width)):
        widths = _narrowed(table, chosen, width)
        title = table.title if k == 0 else None
        yield _part(table, title, chosen, widths), max(width, _total(table, widths))


def _measured(table: Table, place: int) -> _Column:
    column = table.columns[place]
    numbers = column.justify == "right"
    header = str(_text(column.header)) if table.show_header else ""
    cells = [str(_text(cell)) for cell in column.cells]
    wide = max(cell_len(line) for text in (header, *cells) for line in text.split("\n"))
    # A line of numbers stays whole; a header and a text may be broken between words.
    whole = [line for cell in cells for line in cell.split("\n")] if numbers else []
    words = [word for text in (header, *([] if numbers else cells)) for word in text.split()]
    least = max([1, *map(cell_len, whole), *map(_unbroken, words)])
    return _Column(place, max(wide, 1), least, numbers)


def _need(column: _Column) -> int:
    return column.least


def _unbroken(word: str) -> int:
    return min(cell_len(word), _NUMBER if any(map(str.isdigit, word)) else _WORD)


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))


def _total(table: Table, widths: Sequence[int]) -> int:
    """Width of a table with such columns: padding on both sides of each, and lines."""
    lines = 0 if table.box is None else len(widths) + 1
    return sum(widths) + 2 * len(widths) + lines


def _least(table: Table, columns: Sequence[_Column]) -> int:
    return _total(table, [c.least for c in columns])


def _split(table: Table, columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """The columns of each table: the first ones, which say what a row is, are in all of them."""
    first = list(takewhile(lambda column: not column.numbers, columns))
    if len(first) in (0, len(columns)):
        first = list(columns[:1])
    # No more of them than leave room for the widest of the others.
    while len(first) > 1 and _least(table, [*first, max(columns[len(first) :], key=_need)]) > width:
        first.pop()
    out = [first]
    for column in columns[len(first) :]:
        tried = [*out[-1], column]
        if out[-1] == first or _least(table, tried) <= width:
            out[-1] = tried
        else:
            out.append([*first, column])
    return out


def _narrowed(table: Table, columns: Sequence[_Column], width: int) -> list[int]:
    """Widths of columns, the widest made narrower until they fit, none below what it needs."""
    widths = [c.wide for c in columns]
    while _total(table, widths) > width:
        loose = [k for k, c in enumerate(columns) if widths[k] > c.least]
        if not loose:
            break
        widths[max(loose, key=lambda k: widths[k])] -= 1
    return widths


def _part(
    table: Table, title: TextType | None, columns: Sequence[_Column], widths: Sequence[int]
) -> Table:
    """A table of some of the columns."""
    out = Table(title=title, title_justify="left", box=table.box, show_header=table.show_header)
    for column, width in zip(columns, widths, strict=True):
        old = table.columns[column.place]
        out.add_column(
            old.header, justify=old.justify, style=old.style, width=width, overflow="fold"
        )
    cells = [list(table.columns[column.place].cells) for column in columns]
    for row, whole in zip(table.rows, zip(*cells, strict=True), strict=True):
        out.add_row(*whole, style=row.style, end_section=row.end_section)
    return out
