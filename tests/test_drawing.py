"""Figures are drawn in one way, whatever the user's matplotlib is set to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib import rc_context

from analogdfc.plots import save_figure, training_figure
from analogdfc.training.metrics import Metrics, Score

ROOT = Path(__file__).parents[1]
HISTORY = [Metrics(k, Score(1 / k, 0.5 / k), Score.none(), Score(1.1 / k, 0.6 / k)) for k in (1, 2)]

DRAW = """
from analogdfc.drawing import new_figure, own_settings
with own_settings():
    figure = new_figure(4, 3)
    figure.subplots().plot([1, 2], [3, 4], label="a line")
    figure.savefig("a.png")
"""
"""Draws a figure where it runs."""


def drawn(folder: Path) -> bytes:
    return save_figure(training_figure(HISTORY, 3), folder / "a.png").read_bytes()


@pytest.mark.parametrize(
    "settings",
    [
        {"text.usetex": True},
        {"font.size": 30.0, "axes.facecolor": "black"},
        {"savefig.transparent": True, "savefig.bbox": "tight", "savefig.pad_inches": 2.0},
        {"font.family": ["no such font"], "axes.formatter.use_locale": True},
        {"figure.constrained_layout.use": True, "axes.prop_cycle": "cycler('color', 'r')"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_of_the_user_change_no_figure(settings: dict[Any, Any], tmp_path: Path) -> None:
    ours = drawn(tmp_path)
    with rc_context(settings):
        before = dict(matplotlib.rcParams)
        assert drawn(tmp_path) == ours
        assert dict(matplotlib.rcParams) == before


def test_neither_backend_nor_settings_in_files_end_or_change_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\nbackend: nonsense\naxes.facecolor: red\n", "utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-c", DRAW],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "nonsense", "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    theirs = (tmp_path / "a.png").read_bytes()
    monkeypatch.chdir(tmp_path)
    exec(DRAW, {})
    assert (tmp_path / "a.png").read_bytes() == theirs


def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_bytes(b"# \xe9\nfont.size: 3\n")
    code = "from analogdfc.errors import UserError\ntry:\n    import analogdfc.drawing\n"
    code += "except UserError as error:\n    print('told:', error)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "told: matplotlib can't read its settings" in done.stdout


def test_a_backend_that_there_is_stays_that_of_the_program() -> None:
    code = "import analogdfc.drawing, matplotlib; print(matplotlib.rcParams['backend'])"
    environment = {**os.environ, "MPLBACKEND": "svg"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "svg"


def test_matplotlib_is_imported_in_one_place_and_never_pyplot() -> None:
    found = {
        (path.name, line.strip())
        for path in (ROOT / "analogdfc").rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.match(r"\s*(from|import) matplotlib", line)
    }
    assert {name for name, _ in found} == {"drawing.py"}
    assert not any("pyplot" in line for _, line in found)
