"""The command line as a whole: lazy, helpful, and calm about what the user can put right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import weakref
from functools import partial
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from analogdfc.cli import COMMANDS, LazyGroup, _end, _heed, cli
from analogdfc.errors import UserError


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has imported after running `code`."""
    code += "\nimport sys; print('\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines())


def called(*arguments: str) -> str:
    return f"from analogdfc.cli import cli; cli({list(arguments)}, standalone_mode=False)"


def test_help_imports_neither_torch_nor_pyspice() -> None:
    for code in ("import analogdfc", "import analogdfc.cli", called("--help"), called("--version")):
        assert not modules_after(code) & {"torch", "PySpice", "h5py", "numpy"}, code


@pytest.mark.parametrize("asked", [None, "2"])
def test_commands_keep_numpy_to_one_thread_unless_asked_for_more(asked: str | None) -> None:
    code = """import sys
from threadpoolctl import threadpool_info
from analogdfc.cli import main
sys.argv = ["analogdfc", "--version"]
try:
    main()
except SystemExit:
    import numpy
    print({one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"})
"""
    outside = {name: value for name, value in os.environ.items() if "_NUM_THREADS" not in name}
    environment = outside if asked is None else {**outside, "OMP_NUM_THREADS": asked}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    if asked is None or (os.cpu_count() or 1) > 1:
        assert run.stdout.splitlines()[-1] == f"{{{asked or 1}}}"


def test_the_package_is_the_command_line_as_a_module_too() -> None:
    command = [sys.executable, "-W", "error", "-m", "analogdfc", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("analogdfc, version ")


def test_doctor_does_not_import_pyspice() -> None:
    assert "PySpice" not in modules_after(called("doctor", "--help"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_is_there_and_helps(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: cli {name}" in result.output
    lines = [line.strip() for line in result.output.splitlines()]
    assert any(line.startswith(f"analogdfc {name}") for line in lines), "no example on its own line"
    assert "\\b" not in result.output
    assert COMMANDS[name] in CliRunner().invoke(cli, ["--help"]).output


def test_an_unknown_command_is_a_usage_error_with_a_suggestion() -> None:
    result = CliRunner().invoke(cli, ["compar"])
    assert result.exit_code == 2
    assert "No such command 'compar'. Did you mean 'compare'?" in result.stderr


def test_an_unknown_option_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli, ["--hlp"])
    assert result.exit_code == 2
    assert "No such option" in result.stderr


def group_whose_command_raises(error: Exception) -> click.Group:
    class Fails(LazyGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            @click.command()
            def command() -> None:
                raise error

            return command

    return Fails()


def test_what_the_user_can_put_right_is_one_line_and_exit_code_2() -> None:
    group = group_whose_command_raises(UserError("card.toml: unknown key 'gbw'"))
    result = CliRunner().invoke(group, ["doctor"])
    assert result.exit_code == 2
    assert result.stderr == "Error: card.toml: unknown key 'gbw'\n"
    assert result.stdout == ""


def test_a_defect_of_the_program_shows_itself() -> None:
    result = CliRunner().invoke(group_whose_command_raises(ZeroDivisionError()), ["doctor"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_what_is_said_of_a_wrong_command_line_is_one_readable_line() -> None:
    for words in (["rules", "a", "b\x1b[2J"], ["rules", f"--{'a' * 5000}"], ["\x1b[2J"]):
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 2
        last = result.stderr.rstrip("\n").rpartition("\n")[2]
        assert last.isprintable()
        assert len(last) < 1400


class Held:
    """What something holds weakly."""


@pytest.mark.parametrize(
    ("number", "raised"), [("SIGINT", KeyboardInterrupt), ("SIGTERM", SystemExit)]
)
def test_an_interrupt_that_meets_python_in_a_callback_is_not_lost(
    number: str, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        signal.raise_signal(signal.Signals[number])

    monkeypatch.setattr("sys.unraisablehook", partial(_heed, print))
    # What runs in the background of a shell begins with interrupts ignored.
    handlers = {signal.SIGTERM: _end, signal.SIGINT: signal.default_int_handler}
    before = {kind: signal.signal(kind, handler) for kind, handler in handlers.items()}
    try:
        held = Held()
        reference = weakref.ref(held, interrupted)

        def lose() -> None:
            nonlocal held
            held = Held()
            assert reference() is None, "the callback can't raise"
            time.sleep(5)

        with pytest.raises(raised) as caught:
            lose()
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    assert getattr(caught.value, "code", 143) == 143


def test_what_else_a_callback_loses_is_shown() -> None:
    shown: list[object] = []
    lost: Any = SimpleNamespace(exc_value=ValueError())
    _heed(shown.append, lost)
    assert shown == [lost]
