"""Kills: whatever ends a program, what it started ends too and its temporary folders go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="finds processes by /proc"
)

SIMULATE = """
import sys
from analogdfc.spice import get_simulator
deck = "t\\nV1 in 0 sin(0 1 1meg)\\nR1 in out 1k\\nC1 out 0 1n\\n.tran 1n 5\\n.end\\n"
get_simulator(sys.argv[1]).run(deck, save=["out"], time_limit=float(sys.argv[2]))
"""

POOL = """
import os, threading, time
from analogdfc.jobs import Processes
if __name__ == "__main__":
    os.chdir(os.environ["TMPDIR"])
    pool = Processes(2)
    # The thread that starts the workers ends long before the process does.
    starts = threading.Thread(target=lambda: [pool.submit(time.sleep, 60) for _ in range(2)])
    starts.start()
    starts.join()
    time.sleep(60)
"""

RUN = "from analogdfc.cli import main; main()"
COMPARE = ["-c", RUN, "compare", "--sizes", "6-6-6-4", "-o", "r.h5"]


def started(arguments: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """A program whose temporary files lie in the folder, and which is ended by a closed terminal.

    Under nohup the tests would hand on that it isn't.
    """
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=folder.parent, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )  # fmt: skip


def working_in(folder: Path) -> set[int]:
    """The processes whose working directory is the folder or below it, removed or not."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            where = os.readlink(entry / "cwd")
        except OSError:
            continue  # it has ended, or isn't ours
        if where.startswith(str(folder)):
            found.add(int(entry.name))
    return found


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    """Whether it becomes true within that time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for temporary files; what still works in it after the test is killed."""
    made = tmp_path / "temporary"
    made.mkdir()
    yield made
    for process in working_in(made):
        os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("backend", ["batch", "shared"])
def test_a_simulator_and_its_folder_go_with_a_caller_that_is_killed(
    backend: str, folder: Path
) -> None:
    caller = started(["-c", SIMULATE, backend, "60"], folder)
    assert wait_until(lambda: len(working_in(folder)) == 2, 20)  # the guard and the simulator
    time.sleep(0.3)
    caller.kill()
    caller.wait()
    assert wait_until(lambda: not working_in(folder), 2)
    assert wait_until(lambda: not list(folder.glob("analogdfc-*")), 2)


def test_the_time_limit_of_a_simulator_holds_though_its_caller_is_halted(folder: Path) -> None:
    caller = started(["-c", SIMULATE, "batch", "1"], folder)
    try:
        assert wait_until(lambda: len(working_in(folder)) == 2, 20)
        caller.send_signal(signal.SIGSTOP)
        assert wait_until(lambda: len(working_in(folder)) <= 1, 5)
    finally:
        caller.kill()
        caller.wait()


def test_workers_go_with_a_parent_that_is_killed_and_not_before(folder: Path) -> None:
    script = folder.parent / "pool.py"
    script.write_text(POOL)
    parent = started([str(script)], folder)
    assert wait_until(lambda: len(working_in(folder)) >= 4, 20)  # with multiprocessing's tracker
    time.sleep(3.0)  # the workers are at their tasks
    assert len(working_in(folder)) >= 4
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not working_in(folder), 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_by_a_signal_leaves_nothing(
    number: signal.Signals, folder: Path
) -> None:
    command = started(COMPARE, folder)
    assert wait_until(lambda: bool(working_in(folder)), 60)
    command.send_signal(number)
    assert command.wait(5) == 128 + number
    assert wait_until(lambda: not working_in(folder), 1)
    assert not list(folder.glob("analogdfc-*"))
