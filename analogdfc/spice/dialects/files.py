"""A netlist's files in another dialect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from analogdfc.spice.dialects.base import MODULES, Dialect
from analogdfc.spice.dialects.statements import statements


def dialect_files(dialect: Dialect, parts: Mapping[str, str], testbench: str) -> dict[str, str]:
    """The files of a netlist, by name.

    Args:
        dialect: a new writer of it.
        parts: texts in ngspice's language that the testbench includes, by name without extension,
            in their order; they may have `.include` lines of other parts.
        testbench: sources and analysis in the same language, without a title.

    Returns:
        A file a part, the testbench, and the Verilog-A that these need.

    Raises:
        UserError: something that the dialect can't express.
    """
    out = {}
    for name, text in parts.items():
        lines = [*dialect.head(), *_comments(dialect, text), *_translated(dialect, text)]
        out[_file(dialect, name)] = "\n".join([*lines, ""])
    body = [
        f"{dialect.comment} Written for {dialect.simulator}. Checked: {dialect.check}.",
        *(dialect.include(_file(dialect, name)) for name in parts),
        *_translated(dialect, testbench),
    ]
    lines = [*dialect.begin("Testbench"), *body, *dialect.end(), ""]
    out[_file(dialect, "testbench")] = "\n".join(lines)
    if dialect.modules:
        out[MODULES] = dialect.modules
    return out


def _file(dialect: Dialect, name: str) -> str:
    return f"{name}.{dialect.extension}"


def _translated(dialect: Dialect, text: str) -> Iterator[str]:
    return dialect.lines(statements(text.split("\n")))


def _comments(dialect: Dialect, text: str) -> Iterable[str]:
    """The comments at a text's beginning."""
    for line in text.split("\n"):
        if not line.startswith("*"):
            return
        yield f"{dialect.comment}{line[1:]}"
