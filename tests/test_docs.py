"""Pages of text name commands, options and benchmarks that there are, and leave none out."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from analogdfc.cli import cli

ROOT = Path(__file__).parents[1]
COMMANDS = cli.list_commands(click.Context(cli))


def commands_page() -> dict[str, str]:
    """The sections of docs/commands.md by their headings."""
    parts = re.split(r"^## (.+)$", (ROOT / "docs/commands.md").read_text("utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_has_a_section_and_a_row_in_the_readme() -> None:
    assert sorted(commands_page()) == sorted(COMMANDS)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `analogdfc ([a-z-]+)` \|", readme, re.M)) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_names_options_that_the_command_has(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--weights"}
    assert set(re.findall(r"`?(--[a-z][a-z-]*)", commands_page()[name])) <= known


def test_every_benchmark_has_a_row() -> None:
    there = {p.stem for p in (ROOT / "benchmarks").glob("[a-z]*.py")}
    rows = re.findall(r"^\| (`.+`) \|", (ROOT / "docs/benchmarks.md").read_text("utf-8"), re.M)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == there
