"""What every dialect's writer has: names of files, comments, and a text from statements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from analogdfc.errors import UserError
from analogdfc.spice.dialects.statements import Ends, Statement, Subckt

MODULES = "cells.va"
"""The file of a dialect's Verilog-A modules."""

LINE = 100
"""Length of a line that is folded."""


class Dialect(ABC):
    """A language of netlists.

    Attributes:
        name: by which it is chosen.
        simulator: what reads it, as it is called in texts.
        comment: what a comment starts with.
        extension: of the files' names.
        check: how what is written was checked.
    """

    name: ClassVar[str]
    simulator: ClassVar[str]
    comment: ClassVar[str]
    extension: ClassVar[str]
    check: ClassVar[str]

    def take(self, files: Sequence[str]) -> None:
        """Take files of Verilog-A that modules of one's own are in.

        Args:
            files: their names.

        Raises:
            UserError: this dialect can't name such modules.
        """
        if files:
            raise UserError(
                f"{files[0]}: Verilog-A of one's own can't be written for {self.simulator}; "
                "ngspice, VACASK and Spectre take it, or write the cell as a SPICE subcircuit"
            )

    @property
    def modules(self) -> str:
        """Verilog-A that the lines written so far need; it belongs into a file `MODULES`."""
        return ""

    @abstractmethod
    def lines(self, parts: Iterable[Statement]) -> Iterator[str]:
        """Lines of a netlist.

        Args:
            parts: what it says.

        Raises:
            UserError: something that this dialect can't express.
        """

    def begin(self, title: str) -> Iterator[str]:
        """First lines of the file that is run, written when all others are.

        Args:
            title: what it is.
        """
        yield f"{self.comment} {title}"

    def head(self) -> Iterator[str]:
        """First lines of every other file."""
        yield from ()

    def include(self, file: str) -> str:
        """The line that includes a file.

        Args:
            file: its name.
        """
        return f'.include "{file}"'

    def end(self) -> Iterator[str]:
        """Last lines of the file that is run."""
        yield ".end"


def without_transistors(simulator: str, name: str) -> UserError:
    """The error for a transistor in a dialect that has none here.

    Args:
        simulator: what reads the dialect.
        name: of the transistor or its model.
    """
    return UserError(
        f"{name}: transistors can't be written for {simulator}; ngspice and VACASK take them"
    )


def folded(words: Iterable[str], more: str = "+") -> str:
    """Words as lines that a person can read.

    Args:
        words: of one statement.
        more: what a line that goes on with it starts with.
    """
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) + 1 > LINE:
            lines.append(line)
            line = more
        line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


def assigned(values: Mapping[str, str], pattern: str = "{}={}") -> list[str]:
    """Words 'name=value'.

    Args:
        values: by name; an expression among them as it is written in a netlist.
        pattern: how both are put together.
    """
    return [pattern.format(name, value) for name, value in values.items()]


def cells_of(parts: Iterable[Statement]) -> Iterator[Statement | tuple[Subckt, list[Statement]]]:
    """Statements, with every cell's together: its first line and its body.

    Args:
        parts: of a netlist; cells don't lie within each other.
    """
    cell: Subckt | None = None
    body: list[Statement] = []
    for part in parts:
        if isinstance(part, Subckt):
            cell, body = part, []
        elif isinstance(part, Ends) and cell is not None:
            yield cell, body
            cell = None
        elif cell is not None:
            body.append(part)
        else:
            yield part
