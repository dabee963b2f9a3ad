"""A machine whose settings are against the program: the same numbers, and no traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analogdfc import records
from analogdfc.cli import COMMANDS as LISTED
from analogdfc.cli import cli
from benchmarks.hostile import COMMANDS, ENVIRONMENTS, Environment, Run, faults, run

ROOT = Path(__file__).parents[1]
HOSTILE = {
    "LC_ALL": "C",
    "COLUMNS": "40",
    "FORCE_COLOR": "1",
    "MPLBACKEND": "nonsense",
    "MATPLOTLIBRC": "matplotlibrc",
}
CROSSBAR = ["crossbar", "--size", "4x3", "--samples", "2", "-o"]


def numbers(printed: str) -> Any:
    found = json.loads(printed)
    found.pop("files", None)
    return found


def test_a_command_with_a_figure_gives_the_same_numbers(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: nonsense\n", "utf-8")
    usual = CliRunner().invoke(cli, [*CROSSBAR, str(tmp_path / "a.h5"), "--json"])
    assert usual.exit_code == 0, usual.output
    environment = {k: v for k, v in os.environ.items() if k != "HOME"} | HOSTILE
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *CROSSBAR, "b.h5", "--json"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert numbers(done.stdout) == numbers(usual.stdout)
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize("command", [["rules"], ["rules", "dfc"], ["cards"], ["cards", "ideal"]])
def test_a_list_is_the_same_with_colours_forced_on_a_narrow_machine(command: list[str]) -> None:
    usual = CliRunner().invoke(cli, command)
    forced = CliRunner(env={**HOSTILE, "HOME": None}).invoke(cli, command)
    assert (usual.exit_code, forced.exit_code) == (0, 0)
    assert re.sub(r"\x1b\[[0-9;]*m", "", forced.stdout) == usual.stdout


@pytest.mark.parametrize("command", ["align", "import"])
def test_a_command_is_the_same_where_all_is_against_it(command: str, tmp_path: Path) -> None:
    usual = run(COMMANDS[command], Environment({}), tmp_path / "usual")
    assert usual.code == 0, usual.errors
    found = run(COMMANDS[command], ENVIRONMENTS["all"], tmp_path / "all")
    assert list(faults(found, usual, ENVIRONMENTS["all"])) == []


def test_the_benchmark_has_every_command_that_needs_no_other() -> None:
    assert {words[0] for words in COMMANDS.values()} == set(LISTED) - {"work"}


def test_what_a_machine_changes_is_told(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 1.5)):
        records.write(tmp_path / f"{name}.h5", {"results": {"x": value}})
        (tmp_path / f"{name}.png").write_text(name)
    one, other = (
        {"out.h5": tmp_path / f"{name}.h5", "out.png": tmp_path / f"{name}.png"} for name in "ab"
    )
    usual = Run(0, "x 1.188e-03 y 2 took 3 s", "", one)
    here = Environment({})
    assert list(faults(usual, usual, here)) == []
    assert list(faults(usual._replace(said="2 \x1b[1m1.188e-03\x1b[0m 5 s"), usual, here)) == []
    told = {
        "exit code 1": usual._replace(code=1),
        "a traceback": usual._replace(errors="Traceback (most recent call last):\nKeyError"),
        "an error": usual._replace(errors="UnicodeEncodeError: no"),
        "aren't shown: 1.188e-03": usual._replace(said="x 1.188e-... y 2"),
        "other values, such as 'results/x'": usual._replace(
            files={**one, "out.h5": other["out.h5"]}
        ),
        "another out.png": usual._replace(files={**one, "out.png": other["out.png"]}),
        "out.png is missing": usual._replace(files={"out.h5": one["out.h5"]}),
    }
    for expected, found in told.items():
        lines = list(faults(found, usual, here))
        assert len(lines) == 1, lines
        assert expected in lines[0]
    # Nothing is shown where there is no output.
    assert list(faults(usual._replace(said=""), usual, Environment({}, (1,)))) == []
