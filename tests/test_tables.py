"""No table cuts a number, however narrow the terminal is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table
from whole import WIDTHS, lost, printed

from analogdfc.cli import _console, _report, cli
from analogdfc.comparison import Cause, Comparison, Kind, StepError, UpdateDifference
from analogdfc.tables import laid_out


def wide_table(columns: int = 6) -> Table:
    """As many commands have them: what a row is, then numbers."""
    table = Table(title="Energy of one sample, in nJ", title_justify="left")
    table.add_column("component", no_wrap=True)
    for k in range(columns):
        table.add_column(f"layer {k}\nnJ", justify="right", no_wrap=True)
    for name in ("quiescent currents of amplifiers", "wires"):
        numbers = [f"1.{k}88e+0{k} .. 1.{k}99e+1{k}" for k in range(columns)]
        table.add_row(name, *numbers, end_section=name == "wires")
    table.add_row("total", *[str(k) for k in range(columns)], style="bold")
    return table


@pytest.mark.parametrize("width", [20, *WIDTHS])
@pytest.mark.parametrize("columns", [1, 2, 6, 11])
def test_every_number_of_a_wide_table_stays_whole(columns: int, width: int) -> None:
    assert lost(wide_table(columns), width) == []


def test_a_table_that_fits_stays_as_it_is() -> None:
    table = wide_table()
    assert list(laid_out(table, 200)) == [(table, 200)]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_goes_on_below_beside_the_names_of_its_rows(width: int) -> None:
    for part in printed(wide_table(), width):
        assert all(len(line) <= width for line in part.splitlines())
        assert "component" in part
        assert "wires" in part
        assert "total" in part


words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)
texts = st.lists(words, max_size=5).map(" ".join)
numbers = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: f"{x:.6g}")


@settings(max_examples=20)
@given(
    kinds=st.lists(st.booleans(), min_size=1, max_size=6),
    rows=st.integers(0, 3),
    width=st.integers(10, 120),
    data=st.data(),
)
def test_no_table_loses_anything(
    kinds: list[bool], rows: int, width: int, data: st.DataObject
) -> None:
    table = Table()
    for number in kinds:
        table.add_column(data.draw(texts), justify="right" if number else "left", no_wrap=True)
    for _ in range(rows):
        table.add_row(*(data.draw(numbers if number else texts) for number in kinds))
    assert lost(table, width) == []


KINDS: tuple[tuple[str, Kind], ...] = (
    ("ideal cells", "parity"),
    ("behavioural", "parity"),
    ("ideal", "deviation"),
)
COMPARISONS = [
    Comparison(
        reference=reference,
        other="macro cells",
        kind=kind,
        signals={"v1": 1.188e-9, "v1 dev": 0.0123, "u": 0.5, "e": 1234.5},
        updates={"1": UpdateDifference(179.999, 12345.6789, 1e-12)},
        settling=(1.2345e-6, 9.8765e-3),
        unresolved={"r1": 1e-12},
    )
    for reference, kind in KINDS
]


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_of_compare_are_whole(width: int) -> None:
    causes = [Cause("output resistance and offset", 12.345, -1.2345e-5), Cause("offset", 1.0, 2.0)]
    steps = {"ideal cells": StepError("v2 dev", 1.2345e-7, 0.123)}
    tables = _report._signals(COMPARISONS), _report._causes(1.5, causes), _report._steps(steps)
    for table in tables:
        assert lost(table, width) == []


CHEAP = {
    "rules": ["rules"],
    "one rule": ["rules", "dfc"],
    "cards": ["cards"],
    "one card": ["cards", "pcm_nandakumar2019"],
    "technology": ["cards", "discrete_100mhz"],
    "doctor": ["doctor"],
    "crossbar": ["crossbar", "--size", "4x3", "--samples", "2"],
}


@pytest.mark.parametrize("command", CHEAP)
def test_tables_of_a_command_are_whole_on_a_narrow_terminal(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Table] = []

    def watched(table: Table, width: int) -> Iterator[tuple[Table, int]]:
        seen.append(table)
        return laid_out(table, width)

    monkeypatch.setattr(_console, "laid_out", watched)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, CHEAP[command])
    assert seen, result.output
    for table in seen:
        for width in WIDTHS:
            assert lost(table, width) == []


def test_a_pipe_is_wide_whatever_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    assert _console.make_console().width == 200
    monkeypatch.setattr(_console, "_is_terminal", lambda: True)
    assert _console.make_console().width == 40


@pytest.mark.parametrize("width", [40, 80])
def test_a_terminal_shows_whole_numbers(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(_console, "_is_terminal", lambda: True)
    file = io.StringIO()
    monkeypatch.setattr("sys.stdout", file)
    console = _console.make_console()
    table = wide_table()
    console.print(table)
    shown = file.getvalue()
    assert "…" not in shown
    for column in table.columns[1:]:
        assert all(str(cell) in shown for cell in column.cells)
