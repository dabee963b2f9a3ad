"""What a comparison says of the circuit that was run, from its waveforms."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from analogdfc import records
from analogdfc.cli import cli
from analogdfc.dynamics import Trajectory
from analogdfc.errors import SimulatorWarning
from analogdfc.spice import library
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.engines import get_simulator
from analogdfc.study import Cells, Ideal, Model
from analogdfc.verdicts import AT_RAILS, AT_REST, remarks, state_at_end, states_at_end
from benchmarks._measure import case

HERE = replace(case((3, 4, 2), 0, 1), dt=0.1, steps=200)
OPAMP = (Path(__file__).parents[1] / "circuits" / "opamp_macro.lib").read_text()
REVERSED = OPAMP.replace("V(inp) - V(inn)", "V(inn) - V(inp)")


def with_control(growth: float) -> Trajectory:
    """A run whose control signal oscillates and grows at this rate per unit of time."""
    run = HERE.ideal()
    swing = torch.exp(growth * run.t) * torch.sin(3 * run.t)
    return replace(run, u=run.u[:, -1:] + 0.1 * swing[None, :, None])


@pytest.mark.parametrize(
    ("growth", "words"),
    [(-1.0, AT_REST), (-0.15, "still settling"), (0.0, "NOT COMING TO REST"),
     (0.3, "NOT COMING TO REST"), (5.0, "NOT COMING TO REST")],
)  # fmt: skip
def test_the_end_of_a_run_is_told_from_its_waveform(growth: float, words: str) -> None:
    assert state_at_end(HERE.design, with_control(growth)).startswith(words)


def test_a_run_that_overflows_grows_without_bound() -> None:
    run = HERE.ideal()
    assert "without bound" in state_at_end(HERE.design, replace(run, u=run.u * torch.inf))


def test_a_run_that_agrees_has_no_remarks() -> None:
    found = HERE.run(Ideal(), Model(0), Cells("macro", get_simulator("batch"), seed=0))
    assert remarks(HERE.design, found.runs, found.comparisons) == []
    assert {state_at_end(HERE.design, run) for run in found.runs.values()} == {AT_REST}


def test_an_op_amp_of_the_wrong_polarity_is_told_by_its_level_and_its_end(tmp_path: Path) -> None:
    file = tmp_path / "reversed.lib"
    file.write_text(REVERSED)
    cells = Cells("macro", get_simulator("batch"), seed=0, cells={"opamp": file})
    found = HERE.run(Ideal(), Model(0), cells)
    assert state_at_end(HERE.design, found.runs["macro cells"]) == AT_RAILS
    far, end = remarks(HERE.design, found.runs, found.comparisons)
    assert "the macro cells don't do what the behavioural" in far
    assert "polarity" in far
    assert end.startswith(f"macro cells: {AT_RAILS}")


def test_compare_says_whose_stability_it_is_and_warns_at_the_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = library._text

    def reversed_text(name: str, used_in: str = "") -> str:
        return REVERSED if name == "opamp_macro" else text(name, used_in)

    monkeypatch.setattr(library, "_text", reversed_text)
    arguments = ["compare", "--sizes", "3-4-2", "--samples", "1", "--fidelity", "macro"]
    arguments += ["--no-causes", "-o"]
    shown = CliRunner().invoke(cli, [*arguments, str(tmp_path / "a.h5")])
    assert shown.exit_code == 0, shown.output
    assert "slowest mode of the behavioural model" in shown.stdout
    assert f"macro cells: {AT_RAILS}" in shown.stdout
    before_table = shown.stdout.partition("Realisations side by side")[0]
    assert "Warning: the macro cells don't do" in before_table
    assert AT_RAILS in records.read(tmp_path / "a.h5").text("results/at_the_end/macro cells")
    told = CliRunner().invoke(cli, [*arguments, str(tmp_path / "b.h5"), "--json"])
    assert len(json.loads(told.stdout)["remarks"]) == 2


class Talking(BatchProcess):
    """ngspice that has something to say."""

    def _execute(
        self, folder: Path, time_limit: float, progress: Callable[[], object]
    ) -> tuple[int, list[str]]:
        exit_code, messages = super()._execute(folder, time_limit, progress)
        found = "Trying gmin = 1e-5 Warning: Further gmin increment"
        return exit_code, [*messages, found, "Warning:  beware of   this"]


def test_a_warning_of_the_simulator_is_told_once_and_stands_at_the_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = replace(case((3, 4, 2), 0, 2), dt=0.1, steps=10)
    with pytest.warns(SimulatorWarning, match="says: Warning: beware of this") as told:
        two.circuit(0, "macro", simulator=Talking())
    assert len(told) == 1
    monkeypatch.setattr("analogdfc.cli._compare.get_simulator", lambda *names: Talking())
    arguments = ["compare", "--sizes", "3-4-2", "--samples", "1", "--fidelity", "ideal"]
    shown = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "a.h5")])
    assert shown.exit_code == 0, shown.output
    assert "Warning: beware of this" in shown.stdout.partition("Realisations")[0]
    assert "beware" in records.read(tmp_path / "a.h5").text("results/remarks/1")


def test_ideal_cells_have_no_rails() -> None:
    run = HERE.ideal()
    beyond = replace(run, u=run.u + 100)
    found = states_at_end(HERE.design, {"ideal cells": beyond, "macro cells": beyond})
    assert found == {"ideal cells": AT_REST, "macro cells": AT_RAILS}


def test_weights_far_too_large_for_the_supplies_are_said() -> None:
    large = replace(HERE.design, weights=tuple(1e6 * w for w in HERE.design.weights))
    here = replace(HERE, design=large, steps=20)
    run = here.ideal()
    (first, *_) = remarks(large, {"ideal": run}, [])
    assert "potentials of layer 1 reach" in first
    assert "supplies are +-1.65 V" in first
