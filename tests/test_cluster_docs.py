"""The page about clusters: its scripts are shell, and name commands and options that there are."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from analogdfc.cli import cli
from analogdfc.jobs import ENGINES

PAGE = (Path(__file__).parents[1] / "docs/cluster.md").read_text("utf-8")
SCRIPTS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
CALLS = [
    shlex.split(line[line.index("analogdfc ") :])
    for script in SCRIPTS
    for line in script.splitlines()
    if re.search(r"(^|exec\s+)analogdfc ", line.strip()) and not line.startswith("#")
]


def test_scripts_are_shell() -> None:
    assert len(SCRIPTS) == 2
    for script in SCRIPTS:
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[1])
def test_commands_of_scripts_are_understood(call: list[str]) -> None:
    command = cli.get_command(click.Context(cli), call[1])
    assert command is not None
    context = command.make_context(call[1], call[2:])  # fails where an option isn't known
    assert not context.args


def test_the_page_names_every_engine_and_every_command_that_takes_one() -> None:
    for engine in ENGINES:
        assert f"| `{engine}` |" in PAGE
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    takes = {
        name for name, one in commands.items()
        if one is not None and any(p.name == "on" for p in one.params)
    }  # fmt: skip
    first = PAGE.partition("| `--on`")[0]
    assert {name for name in commands if f"`{name}`" in first.replace("analogdfc ", "")} == takes


def test_there_are_calls_of_the_three_kinds() -> None:
    assert {call[1] for call in CALLS} == {"search", "work", "montecarlo"}
