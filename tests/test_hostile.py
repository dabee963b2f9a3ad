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

from analogdfc.cli import cli

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
