"""Simulators that fail, or whose results are partial, say how; none of it is taken for a result."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from simulating import RC_STEP, Fake

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.spice import engines, installed, shared
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.diagnosis import raise_for_messages
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.rawfile import RawPlot
from analogdfc.spice.shared import SharedLibrary
from analogdfc.spice.simulator import Simulator, Waveforms


def work_by(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the shared library be in the hands of a program of these lines."""
    worker = folder / "worker.py"
    worker.write_text(script)
    monkeypatch.setattr(shared, "_WORKER", worker)


def test_a_full_temporary_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Simulator):
        def _execute(
            self, folder: Path, time_limit: float, progress: Callable[[], object]
        ) -> tuple[int, list[str]]:
            raise OSError(28, "No space left on device")

        def _read(self, folder: Path) -> list[RawPlot]:
            return []

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UserError, match=rf"{tmp_path}: .*No space left on device.* TMPDIR"):
        Full().run(RC_STEP, save=["out"])
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    fake_program(tmp_path, monkeypatch, HALF)
    with pytest.raises(UserError, match=rf"{tmp_path}: the temporary folder is full.* TMPDIR"):
        BatchProcess().run(RC_STEP, save=["out"])


# A program that isn't ngspice as it should be.

WHOLE = """
import struct, sys
def write(points, announced, values=((0, 0), (5e-6, 1))):
    head = "Title: t\\nPlotname: Transient Analysis\\nFlags: real\\nNo. Variables: 2\\n"
    head += f"No. Points: {announced}\\nVariables:\\n\\t0\\ttime\\ttime\\n"
    head += "\\t1\\tv(out)\\tvoltage\\nBinary:\\n"
    with open("out.raw", "wb") as file:
        file.write(head.encode() + b"".join(struct.pack("dd", *v) for v in values[:points]))
"""
HALF = f"{WHOLE}\nwrite(1, 2)"


def fake_program(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A program in ngspice's place that runs this code in the folder of the deck."""
    program = folder / "ngspice"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("ANALOGDFC_NGSPICE", str(program))


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (HALF, r"out\.raw: truncated: 2 points of 2 variables"),
        (f"{WHOLE}\nwrite(1, 1)", r"stopped at t = 0 s, before 5e-06 s"),
        ("", r"out\.raw: can't be read: No such file"),
        ("open('out.raw', 'w')", r"out\.raw: the file is empty"),
        ("open('out.raw', 'w').write('Title: x')", r"out\.raw: .*truncated, or not a rawfile"),
        ("import os; os.kill(os.getpid(), 11)", r"was ended by signal 11 \(a crash"),
        ("import sys; print('oh no'); sys.exit(3)", r"exit code 3; .* It wrote: oh no"),
        ("import time; time.sleep(60)", r"time limit of 1 s.*simulated 0 s of 5e-06 s"),
        (f"{WHOLE}\nwrite(2, 2)\nimport os; os.abort()", r"was ended by signal 6"),
        (f"{WHOLE}\nwrite(2, 2)\nprint('Error: no')", r"refuses the netlist: Error: no"),
        (f"{WHOLE}\nwrite(2, 2, ((0, 0), (5e-6, float('nan'))))", r"returned nan for out"),
    ],
)
def test_a_program_that_fails_in_any_way_is_an_error_that_says_how(
    code: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path, monkeypatch, code)
    with pytest.raises(UserError, match=problem):
        BatchProcess().run(RC_STEP, save=["out"], time_limit=1)


def test_a_warning_of_the_program_is_kept_with_the_waveforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path, monkeypatch, f"{WHOLE}\nwrite(2, 2)\nprint('Warning: beware')")
    found = BatchProcess().run(RC_STEP, save=["out"])
    assert found.messages == ("Warning: beware",)
    assert found.signals["out"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("import time; time.sleep(60)", r"time limit of 1 s"),
        (
            "import json; json.dump({'version': 39, 'plots': [{'title': '', 'name': 'tran1',"
            "'file': 'gone.npy', 'variables': ['time']}]}, open('report.json', 'w'))",
            "library are incomplete: .*gone.npy",
        ),
        (
            "import json; open('a.npy', 'wb').write(b'half'); json.dump({'plots': [{'title': '',"
            "'name': 'tran1', 'file': 'a.npy', 'variables': []}]}, open('report.json', 'w'))",
            "library are incomplete",
        ),
        ("open('report.json', 'w').write('{\"plots\": [')", "ended before its run was complete"),
        ("open('report.json', 'w').write('{}')", "library are incomplete: 'plots'"),
    ],
)
def test_a_library_that_leaves_half_of_its_results_is_an_error(
    script: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_by(script, tmp_path, monkeypatch)
    with pytest.raises(UserError, match=problem):
        SharedLibrary().run(RC_STEP, save=["out"], time_limit=1)


def test_missing_ngspice_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.delenv("NGSPICE_LIBRARY_PATH", raising=False)
    monkeypatch.delenv("ANALOGDFC_NGSPICE", raising=False)
    assert installed.find_binary() is None
    assert installed.find_shared_library() is None
    assert engines.ngspice_version() is None
    for name in ("shared", "batch", "auto"):
        with pytest.raises(UserError, match=r"apt-get install ngspice libngspice0.*doctor"):
            get_simulator(name)


def test_a_variable_that_names_no_file_is_an_error_not_another_ngspice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANALOGDFC_NGSPICE", str(tmp_path / "ngspice"))
    with pytest.raises(UserError, match="ANALOGDFC_NGSPICE="):
        get_simulator("batch")
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(tmp_path / "libngspice{}.so"))
    with pytest.raises(UserError, match="NGSPICE_LIBRARY_PATH="):
        get_simulator("shared")


def test_missing_pyspice_leaves_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_pyspice", lambda: False)
    monkeypatch.setattr(shared, "has_pyspice", lambda: False)
    assert get_simulator("auto").name == "batch"
    with pytest.raises(UserError, match="PySpice is missing"):
        get_simulator("shared")


def test_auto_is_the_shared_library_and_unknown_names_are_refused() -> None:
    assert get_simulator("auto").name == "shared"
    with pytest.raises(UserError, match="simulator 'spectre' is unknown"):
        get_simulator("spectre")


def test_program_and_library_tell_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    version = engines.ngspice_version()
    assert version is not None
    assert version[0].isdigit()
    monkeypatch.setattr(engines, "find_binary", lambda: None)
    library = engines.ngspice_version()
    assert library is not None
    assert library.isdigit()


def test_pyspice_is_not_imported_into_the_callers_process() -> None:
    code = f"""
import subprocess
import sys
from analogdfc.spice.shared import SharedLibrary
SharedLibrary().run({RC_STEP!r}, save=["out"])
sys.exit(any(name.partition(".")[0] == "PySpice" for name in sys.modules))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11"),
        ("import os; os._exit(1)", "exit code 1"),
        ("", "ended before its run was complete"),
    ],
)
def test_a_crash_of_the_library_is_an_error(
    script: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_by(script, tmp_path, monkeypatch)
    with pytest.raises(UserError, match=problem):
        SharedLibrary().run(RC_STEP, save=["out"])


def test_a_library_that_cannot_be_loaded_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libngspice{0}.so"
    library.write_text("no library")
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(library))
    with pytest.raises(UserError, match=r"exit code 1.*libngspice\{0\}\.so"):
        SharedLibrary().run(RC_STEP, save=["out"])


def test_partial_or_non_finite_waveforms_are_never_returned() -> None:
    assert Fake([0, 5e-6], [0, 1]).run(RC_STEP, save=["out"]).time[-1] == 5e-6
    with pytest.raises(ConvergenceError, match=r"stopped at t = 4\.9e-06 s, before 5e-06 s"):
        Fake([0, 4.9e-6], [0, 1]).run(RC_STEP, save=["out"])
    with pytest.raises(ConvergenceError, match="stopped at t = 0 s"):
        Fake([], []).run(RC_STEP, save=["out"])
    for bad in (np.nan, np.inf):
        with pytest.raises(ConvergenceError, match=rf"returned {bad} for out at t = 1e-06 s"):
            Fake([0, 1e-6, 5e-6], [0, bad, 1]).run(RC_STEP, save=["out"])
    with pytest.raises(ConvergenceError, match="stopped at t = nan"):
        Fake([0, np.nan], [0, 1]).run(RC_STEP, save=["out"])


class Poor(Fake):
    """Whose first solver gives up."""

    program = "a simulator"
    solvers = ("KLU", "Sparse")

    def _write(self, folder: Path, netlist: str, save: Sequence[str], solver: str) -> None:
        if solver == "KLU":
            raise ConvergenceError("time step too small")


def test_a_solver_that_fails_is_replaced_by_the_next_and_named() -> None:
    found = Poor([0, 5e-6], [0, 1]).run(RC_STEP, save=["out"])
    assert found.made_by == "a simulator, Sparse since KLU did not converge"


def test_a_solver_that_there_is_not_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="solver 'lu' is unknown; there are auto, klu, sparse"):
        get_simulator("batch", "lu")
    fake_program(tmp_path, monkeypatch, "")
    with pytest.raises(UserError, match="has no KLU; ngspice has it from version 42 on"):
        get_simulator("batch", "klu")


@pytest.mark.parametrize(
    "line",
    [
        "doAnalyses: iteration limit reached",
        "doAnalyses: TRAN:  Timestep too small; time = 3.2e-06, timestep = 1e-18",
        "Error: Transient op failed, time step too small",
        "tran simulation(s) aborted",
    ],
)
def test_every_wording_of_no_convergence_is_recognised(line: str) -> None:
    with pytest.raises(ConvergenceError, match=r"ngspice did not converge"):
        raise_for_messages(["Circuit: t", line], 0, ["out"])


def test_a_title_is_not_taken_for_a_message() -> None:
    deck = RC_STEP.replace("step into", "no convergence: error: time step too small in", 1)
    assert BatchProcess().run(deck, save=["out"]).time[-1] == pytest.approx(5e-6)


def test_the_end_of_a_pseudo_transient_is_no_operating_point() -> None:
    lines = ["Warning: source stepping failed", "Note: Transient op finished successfully"]
    with pytest.raises(ConvergenceError, match="no operating point: it only got near one"):
        raise_for_messages(lines, 0, ["out"])


def test_a_warning_of_thousands_of_transistors_is_one_line_that_counts_them() -> None:
    said = [
        f"Warning: xc{k}:xreset:xp:m1: {end} conductance reset to 1.0e3 mho."
        for k in range(1, 2001)
        for end in ("Drain", "Source")
    ]
    waves = Waveforms(np.zeros(1), {}, (*said, "Warning: another matter"))
    assert waves.warnings == (
        f"{said[0]} (and 1999 more like it)",
        f"{said[1]} (and 1999 more like it)",
        "Warning: another matter",
    )


def test_stepping_that_succeeds_is_no_error() -> None:
    raise_for_messages(
        ["Warning: singular matrix:  check node a", "Note: Dynamic gmin stepping completed"],
        0,
        ["out"],
    )
