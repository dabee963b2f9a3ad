"""Names of files that are not UTF-8, and closed streams: said before the work, or no matter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from analogdfc import records
from analogdfc.cards import Card
from analogdfc.cli import COMMANDS, cli
from analogdfc.errors import UserError
from analogdfc.learning.base import register

LATIN = os.fsdecode(b"caf\xe9")
NO_RECORD = {"cards", "doctor", "netlist", "rules", "work"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - NO_RECORD))
def test_a_record_whose_name_is_not_utf_8_is_refused_before_the_work(command: str) -> None:
    first = {"import": ["model.pt"], "characterise": ["opamp"], "search": ["fashion-mnist"]}
    file = first.get(command, [])
    result = CliRunner().invoke(cli, [command, *file, "-o", f"{LATIN}.h5"])
    assert result.exit_code == 2, result.output
    assert "caf\\xe9.h5: isn't UTF-8, as every text in a record is" in result.output
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "--sizes", "3-4-2", "--card", f"{LATIN}.toml"],
        ["compare", "--sizes", "3-4-2", "--devices", f"{LATIN}.toml"],
        ["estimate", "--sizes", "3-4-2", "--card", f"{LATIN}.toml"],
        ["train", "--rule", "dfc-chip", "--card", f"{LATIN}.toml"],
        ["train", "--data", LATIN],
        ["crossbar", f"{LATIN}.npy"],
        ["crossbar", f"w.h5:{LATIN}"],
        ["size", "--card", f"{LATIN}.toml"],
    ],
)
def test_so_is_a_file_that_is_read(arguments: list[str]) -> None:
    Path(f"{LATIN}.toml").write_text(Card.load("discrete_100mhz").text, "utf-8")
    Path(LATIN).mkdir()
    result = CliRunner().invoke(cli, [*arguments, "-o", "r.h5"])
    assert result.exit_code == 2, result.output
    assert "isn't UTF-8, as every text in a record is" in result.output


def test_a_text_that_no_record_holds_is_named_by_its_key() -> None:
    with pytest.raises(ValueError, match="'a/name' holds bytes that aren't UTF-8"):
        records.write("r.h5", {"a": {"name": LATIN}})
    with pytest.raises(ValueError, match="a name is a text without '/'"):
        records.write("r.h5", {LATIN: 1})
    with pytest.raises(UserError, match="has no null character"):
        records.check_texts(["one", "two\0"])


@pytest.mark.parametrize("name", ["mine/best", "", ".", LATIN])
def test_a_rule_whose_name_no_record_holds_is_not_registered(name: str) -> None:
    with pytest.raises(UserError, match="name of a learning rule"):
        register(name, family="mine", local="space", source="here")(object)  # type: ignore[type-var]


def run(code: str, redirected: str = "") -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, started by a shell that may close its streams."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {redirected}', sys.executable, "-c", code],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        timeout=120,
        check=False,
    )


def test_any_name_is_printed_as_it_is() -> None:
    told = "import click, os; from analogdfc import cli; cli._open_streams(); click.echo("
    result = run(f"{told}os.fsdecode(b'caf\\xe9'))")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{LATIN}\n"


def test_closed_streams_cost_no_record() -> None:
    arguments = ["analogdfc", "crossbar", "--size", "2x2", "--samples", "1", "-o", "r.h5"]
    code = f"import sys; sys.argv = {arguments}; from analogdfc.cli import main; main()"
    assert run(code, "<&- >&- 2>&-").returncode == 0
    assert "results" in records.read("r.h5")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_what_the_program_starts_has_the_streams_that_it_lacks(closed: str, tmp_path: Path) -> None:
    inner = "import os; [os.fstat(stream) for stream in range(3)]"
    result = tmp_path / "code"
    code = (
        "from analogdfc import cli; cli._open_streams(); import pathlib, subprocess, sys; "
        f"ended = subprocess.run([sys.executable, '-c', '{inner}'], close_fds=False); "
        f"pathlib.Path('{result}').write_text(str(ended.returncode))"
    )
    run(code, closed)
    assert result.read_text() == "0"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # as Python has it in LC_ALL=C
def test_a_text_that_the_terminal_has_not_is_printed_as_it_can(encoding: str, errors: str) -> None:
    code = "from analogdfc import cli; cli._open_streams(); print('a \\u00b5 \\udce9\\u03a9.')"
    with_encoding = {**os.environ, "PYTHONIOENCODING": f"{encoding}:{errors}"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=with_encoding, check=False
    )
    assert result.returncode == 0, result.stderr
    whole = {
        "ascii": b"a \\xb5 \xe9\\u03a9.\n",
        "latin-1": b"a \xb5 \xe9\\u03a9.\n",
        "utf-8": "a \u00b5 ".encode() + b"\xe9" + "\u03a9.\n".encode(),
    }
    assert result.stdout == whole[encoding]
