"""A program that runs in a process of its own, until its time limit.

So a run can be stopped, and a crash of the simulator is an error, not the end of the caller.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from analogdfc.errors import TimeLimitError, UserError
from analogdfc.spice import settings
from analogdfc.spice.guard import NOT_STARTED

_GUARD = Path(__file__).with_name("guard.py")
_GRACE = 2.0
"""Seconds after the time limit at which the guard stops a run that its caller has not stopped."""

_LOOK = 0.2
"""Seconds between two looks at how far a run has got."""

_STREAMS = ("stderr.txt", "stdout.txt")

_running: set[subprocess.Popen[bytes]] = set()


def run_limited(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    time_limit: float,
    *,
    program: str = "",
    progress: Callable[[], object] = lambda: None,
) -> tuple[int, list[str]]:
    """Run a program in a folder, kill it and all its children at the time limit.

    It dies with this process too, however that ends (see `analogdfc.spice.guard`); the folder,
    which is then nobody's, is removed.

    Args:
        command: program and arguments.
        folder: its working directory, used for nothing else; its standard output and error are
            kept there.
        environment: added to the caller's environment, from which ngspice's own variables are
            taken out (see `analogdfc.spice.settings`).
        time_limit: in seconds.
        program: what it is called in messages; by default what its file is called.
        progress: called some times a second while it runs.

    Returns:
        Exit code (negative: the number of the signal) and the lines that it wrote.

    Raises:
        UserError: it can't be started, or was stopped at the time limit.
    """
    process = started(command, folder, environment, time_limit + _GRACE)
    try:
        exit_code = _wait(process, time_limit, progress)
    except subprocess.TimeoutExpired:
        raise TimeLimitError(
            f"{program or Path(command[0]).name} did not finish within its time limit of "
            f"{time_limit:g} s and was stopped; nothing is returned. Raise the limit or "
            "simulate less"
        ) from None
    finally:
        end(process)
    if (folder / NOT_STARTED).exists():
        reason = (folder / NOT_STARTED).read_text("utf-8")
        raise UserError(f"{command[0]}: can't be started: {reason}")
    streams = (folder / name for name in _STREAMS)
    text = "\n".join(stream.read_text("utf-8", errors="replace") for stream in streams)
    return exit_code, [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def started(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], time_limit: float
) -> subprocess.Popen[bytes]:
    """A program that has been started under the guard; `end` it.

    Args:
        command: program and arguments.
        folder: see `run_limited`.
        environment: see `run_limited`.
        time_limit: seconds after which the guard stops it.

    Raises:
        UserError: it can't be started.
    """
    env = {**settings.environment(), **environment}
    guarded = [sys.executable, "-I", "-S", str(_GUARD), repr(time_limit), *command]
    with (folder / _STREAMS[0]).open("wb") as err, (folder / _STREAMS[1]).open("wb") as out:
        try:
            process = subprocess.Popen(
                guarded, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise UserError(f"{command[0]}: can't be started: {error.strerror}") from error
    _running.add(process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program that `started` gave, with all its children, where it still runs.

    Args:
        process: the program.
    """
    _running.discard(process)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _wait(
    process: subprocess.Popen[bytes], time_limit: float, progress: Callable[[], object]
) -> int:
    """Exit code of a process; raises `TimeoutExpired` at the time limit."""
    end = time.monotonic() + time_limit
    while True:
        left = max(end - time.monotonic(), 0)
        try:
            return process.wait(min(left, _LOOK))
        except subprocess.TimeoutExpired:
            if left <= _LOOK:
                raise
        progress()


def stop_all() -> None:
    """Kill every simulation that runs in a thread of this program, when it is interrupted."""
    for process in list(_running):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
