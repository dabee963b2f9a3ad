"""`--rule di` of the commands that know circuits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from labels import unlabelled

from analogdfc import records
from analogdfc.cli import cli
from analogdfc.storage import read_model


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("compare") / "c.h5"
    small = ["--sizes", "2-2-1", "--samples", "1", "--duration", "3", "--fidelity", "ideal"]
    return path, run("compare", "--rule", "di-repeat", *small, "--json", "-o", path)


def test_an_inversion_compared_leaves_waveforms_that_give_its_update(
    compared: tuple[Path, Result],
) -> None:
    path, result = compared
    assert result.exit_code == 0, result.output
    parity = json.loads(result.stdout)["parity: ideal cells against ideal"]
    assert max(parity["nrmse_percent"].values()) < 0.1
    record = records.read(path)
    ended = record.array("runs/ideal/delta1", units="1")[0, -1]
    outer = np.outer(ended, record.array("samples/x", units="1")[0])
    np.testing.assert_allclose(record.array("runs/ideal/dW1", units="1")[0], outer, rtol=1e-12)
    assert not list(unlabelled(path))


def test_a_comparison_hands_its_feedback_to_the_next_command(
    compared: tuple[Path, Result], tmp_path: Path
) -> None:
    path, _ = compared
    found = run("netlist", "--rule", "di", "--weights", path, "--fidelity", "ideal", "-o", tmp_path)
    assert found.exit_code == 0, found.output
    model = read_model(path)
    assert model.rule == "di-repeat"
    assert model.pathway is not None
    (q,) = (parameter.detach().numpy() for parameter in model.pathway.parameters())
    weight = records.read(tmp_path / "devices.h5").array("device_pairs/Q2/weight", units="1")
    np.testing.assert_allclose(weight, q.T, rtol=1e-9)


def test_pairs_in_sequence_are_a_folder_each(tmp_path: Path) -> None:
    found = run("netlist", "--rule", "di", "--sizes", "2-2-2-1", "--fidelity", "ideal", "-o",
                tmp_path)  # fmt: skip
    assert found.exit_code == 0, found.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layer2", "layer3"]
    lower = (tmp_path / "layer2" / "testbench.cir").read_text("ascii")
    assert "Vgoal2 goal2 0 PWL(" in lower
    assert "Vin1p" not in lower


def test_an_estimate_is_that_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    options = ["--sizes", "2-2-1", "--samples", "1", "--alpha", "1", "--json", "-o", path]
    found = run("estimate", "--rule", "di-single-loop", *options)
    assert found.exit_code == 0, found.output
    printed = json.loads(found.stdout)
    record = records.read(path)
    assert record.number("results/energy_per_sample_joule") == printed["energy_per_sample_joule"]
    parts = printed["energy_by_part_joule"]
    assert set(parts) == {"layer 1", "layer 2", "controller 2"}
    assert sum(parts.values()) == pytest.approx(printed["energy_per_sample_joule"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["compare", "--fast-control"], "--fast-control: without --rule di"),
        (["compare", "--rule", "di", "--tau-v", "1"], "--tau-v: dynamic inversion has nothing"),
        (["compare", "--rule", "di", "--noise", "20ns"], "--noise: dynamic inversion has nothing"),
        (["estimate", "--rule", "di", "--measure"], "--measure: dynamic inversion has nothing"),
        (["netlist", "--rule", "di", "--sizes", "3-2"], "the network has none"),
        (
            ["netlist", "--rule", "di", "--fast-control", "--sizes", "3-4-2"],
            "fast control is for layers that expand, and no layer of 3-4-2",
        ),
        (
            ["netlist", "--rule", "di-single-loop", "--fast-control", "--sizes", "1-2-3"],
            "the single loop has none",
        ),
        (
            ["netlist", "--rule", "di", "--sizes", "1-2-3", "--alpha", "0"],
            "with alpha = 0 the control signal would never settle",
        ),
    ],
)
def test_what_an_inversion_cannot_do_is_said_in_a_line(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(*arguments)
    assert found.exit_code == 2, found.output
    assert told in found.output
    assert found.output.count("\n") <= 2
