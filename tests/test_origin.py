"""What a result was made with: its source, its cells, its libraries, its simulator."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import analogdfc
from analogdfc.jobs.origin import made_with
from analogdfc.spice.installed import digest_of


def asked(folder: Path) -> str:
    """What a package in that folder says that it is."""
    code = "from analogdfc.jobs.origin import made_with; print(made_with())"
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_line_of_source_or_a_cell_that_differs_is_another_origin(tmp_path: Path) -> None:
    shutil.copytree(Path(analogdfc.__file__).parent, tmp_path / "analogdfc")
    shutil.rmtree(tmp_path / "analogdfc" / "_circuits", ignore_errors=True)
    first = asked(tmp_path)
    assert first == made_with()
    assert f"numpy {np.__version__}" in first
    with (tmp_path / "analogdfc" / "units.py").open("a") as file:
        file.write("# edited\n")
    assert asked(tmp_path) != first


def test_a_simulator_is_known_by_its_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"ngspice 39")
    other.write_bytes(b"ngspice 46")
    assert digest_of(str(one)) != digest_of(str(other))


def test_a_library_is_known_by_its_name_or_its_path() -> None:
    loaded = pytest.importorskip("ctypes.util").find_library("z")
    assert len(digest_of(loaded)) == 16
