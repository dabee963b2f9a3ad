"""`analogdfc verify-theory` from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from labels import unlabelled
from matplotlib.figure import Figure

from analogdfc import records
from analogdfc.cli import cli, verify_theory
from analogdfc.experiments import FIGURES, Configurations, Plan, ToyRun
from analogdfc.experiments.plan import BUDGETS
from analogdfc.records import Quantity

# Two epochs of the reduced experiments, all in one process.
SMALL = ["--quick", "--epochs", "2", "--pretraining", "1", "--jobs", "1"]
ALL = [*SMALL, "--sweep-epochs", "1"]
PNG = b"\x89PNG"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["verify-theory", *arguments])


@pytest.fixture(scope="module", autouse=True)
def smaller() -> Iterator[None]:
    """The reduced experiments with still fewer samples and runs."""
    quick = Plan.quick()

    def small() -> Plan:
        toy = quick.toy
        return Plan(
            toy=type(toy)(teacher=(15, 8, 5), samples=(40, 4, 4), batch_size=20, dt=0.05, steps=20),
            lambdas=(0.01, 0.5),
            alphas=(0.001, 0.1),
            configurations=40,
            feedback_epochs=1,
            feedback_samples=100,
            leaks=(0.0, 1.0),
            gains=(0.0, 1.0),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "quick", small)
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty figures, for what isn't about them: drawing takes longer than the work."""
    monkeypatch.setattr(verify_theory, "draw", lambda *_: Figure((1, 1)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("theory") / "t.h5"
    return path, run(*ALL, "--json", "-o", str(path))


def test_every_figure_is_drawn_beside_the_record(made: tuple[Path, Result]) -> None:
    path, result = made
    assert result.exit_code == 0, result.output
    for figure in ("2", "3", "4", "s2", "s3", "s4", "s5"):
        assert path.with_name(f"t_fig{figure}.png").read_bytes().startswith(PNG)


def test_json_and_record_hold_the_same_findings(made: tuple[Path, Result]) -> None:
    printed = json.loads(made[1].stdout)["findings"]
    record = records.read(made[0])
    assert {finding["figure"] for finding in printed} == {"2", "3", "4", "s2", "s3", "s4", "s5"}
    assert len(record.group("results")) == len(printed)
    for k, finding in enumerate(printed, start=1):
        assert record.text(f"results/{k:02d}/statement") == finding["statement"]
        kept = record.group(f"results/{k:02d}")
        assert kept.get("agrees") == finding["agrees"]
        assert kept["unjudged"] == finding["unjudged"]
        assert bool(finding["unjudged"]) == (finding["agrees"] is None)
        for name, value in finding["numbers"].items():
            stored = record.number(f"results/{k:02d}/numbers/{name.replace('/', '_')}")
            assert stored == value if value is not None else not np.isfinite(stored)


def test_the_record_holds_every_curve_with_its_unit_and_its_settings(
    made: tuple[Path, Result],
) -> None:
    record = records.read(made[0])
    assert record["complete"] is True
    assert record.integer("seed") == 0
    assert record.text("provenance/analogdfc")
    toy = "runs/toy/dfc trained"
    assert record.array(f"{toy}/mn_angle", units="degree").shape == (2,)
    assert record.array(f"{toy}/a_pi_max", units="1/tau_u").shape == (2,)
    assert json.loads(record.text(f"{toy}/settings"))["toy"]["k_p"] == 1.5
    assert len(record.group("runs/toy")) == 7
    assert set(record.group("runs/sweep of lambda")) == {"0.01", "0.5"}


@pytest.mark.usefixtures("undrawn")
def test_a_short_run_says_which_claims_it_is_too_short_for(
    made: tuple[Path, Result], tmp_path: Path
) -> None:
    found = json.loads(made[1].stdout)["findings"]
    # Two epochs refute nothing, but by a counterexample to what should hold in all of them.
    refuted = [f["statement"] for f in found if f["agrees"] is False and f["figure"] != "2"]
    assert all("throughout" in statement for statement in refuted)
    path = tmp_path / "t.h5"
    path.write_bytes(made[0].read_bytes())
    table = run(*ALL, "--resume", "-o", str(path)).stdout
    assert "too short to tell: 80 of at least" in table
    assert "no claim of the paper" in table
    short = sum(f["agrees"] is None for f in found) - 1
    assert f"{short} of {len(found)} statements need a longer run for a verdict" in table


def test_the_table_states_each_finding_and_whether_it_agrees(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    result = run("--figure", "2", "--jobs", "1", "--quick", "-o", str(path))
    assert result.exit_code == 0, result.output
    assert "random J^T M can meet Conditions 2 and 3" in result.stdout
    assert result.stdout.count(" yes ") == 2
    assert f"wrote {path}" in result.stdout.replace("\n", "")
    assert not path.with_name("t_fig3.png").exists()


@pytest.mark.usefixtures("undrawn")
def test_the_same_seed_gives_the_same_curves_and_another_does_not(tmp_path: Path) -> None:
    found = []
    for k, seed in enumerate(("1", "1", "2")):
        path = tmp_path / f"{k}.h5"
        arguments = ("--figure", "2", "--quick", "--seed", seed, "-o", str(path))
        assert run(*arguments).exit_code == 0
        found.append(records.read(path).array("runs/configurations/random"))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.usefixtures("undrawn")
def test_an_interrupted_command_keeps_what_is_finished_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.h5"
    ran: list[str] = []
    real = ToyRun.run

    def interrupted(job: ToyRun, progress: Any) -> Any:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(job.name)
        return real(job, progress)

    with monkeypatch.context() as patch:
        patch.setattr(ToyRun, "run", interrupted)
        assert run("--figure", "3", *SMALL, "-o", str(path)).exit_code == 1
    assert not path.exists()
    assert len(list(path.with_suffix(".runs").glob("*.h5"))) == 3
    again: list[str] = []

    def counted(job: ToyRun, progress: Any) -> Any:
        again.append(job.name)
        return real(job, progress)

    monkeypatch.setattr(ToyRun, "run", counted)
    result = run("--figure", "3", *SMALL, "-o", str(path))
    assert result.exit_code == 0, result.output
    assert not path.with_suffix(".runs").exists()
    assert "kept 3 of 7 runs" in result.stderr
    assert len(again) == 4
    assert not set(again) & set(ran)
    whole = tmp_path / "whole.h5"
    assert run("--figure", "3", *SMALL, "-o", str(whole)).exit_code == 0
    for name in records.read(whole).group("runs/toy"):
        key = f"runs/toy/{name}/mn_angle"
        assert np.array_equal(records.read(path).array(key), records.read(whole).array(key))


@pytest.mark.usefixtures("undrawn")
def test_runs_with_other_settings_are_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    arguments = ["--figure", "2", "--quick", "-o", str(path)]
    assert run(*arguments).exit_code == 0
    assert "kept 1 of 1" in run(*arguments, "--resume").stderr
    assert "kept" not in run(*arguments, "--resume", "--seed", "5").stderr


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_diverges_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ToyRun.run

    def stopped(job: ToyRun, progress: Any) -> Any:
        curves = dict(real(job, progress))
        return curves | ({"stopped": "epoch 3: v_1"} if job.name == "toy/dfc fixed" else {})

    monkeypatch.setattr(ToyRun, "run", stopped)
    result = run("--figure", "3", *SMALL, "-o", str(tmp_path / "t.h5"))
    assert result.exit_code == 0, result.output
    assert "toy/dfc fixed stopped in epoch 3: v_1" in result.stderr
    assert "every run reaches its end" in result.stdout


@pytest.mark.usefixtures("undrawn")
def test_an_unfinished_record_is_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    arguments = ["--figure", "2", "--quick", "-o", str(path)]
    assert run(*arguments).exit_code == 0
    record = records.read(path)
    records.write(path, {**record.tree, "complete": False})
    before = path.read_bytes()
    result = run(*arguments)
    assert result.exit_code == 2
    assert "isn't finished; go on with it (--resume)" in result.stderr
    assert path.read_bytes() == before
    again = run(*arguments, "--resume")
    assert again.exit_code == 0
    assert "kept 1 of 1" in again.stderr
    assert records.read(path)["complete"] is True
    assert run(*arguments).exit_code == 0


def never(*arguments: Any) -> None:
    raise AssertionError("work has begun")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--figure", "7"], "'7' is not one of"),
        (["--epochs", "0"], "0 is not in the range"),
        (["--damping", "-1"], "-1.0 is not in the range"),
        (["-o", "no/such/folder/t.h5"], "there is no directory"),
        (["-o", "."], "is a directory"),
    ],
)
def test_bad_input_ends_before_the_work_with_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for job in (ToyRun, Configurations):
        monkeypatch.setattr(job, "run", never)
    result = run("--quick", "--jobs", "1", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_record_of_another_command_is_not_resumed(tmp_path: Path) -> None:
    path = records.write(tmp_path / "other.h5", {"x": Quantity([1.0], "1")})
    result = run("--figure", "2", "--quick", "--resume", "-o", str(path))
    assert result.exit_code == 2
    assert "not a record of verify-theory" in result.stderr
    assert "x" in records.read(path)


def test_a_figure_that_can_t_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "t_fig2.png").mkdir()
    result = run("--figure", "2", "--quick", "-o", str(tmp_path / "t.h5"))
    assert result.exit_code == 2
    assert "t_fig2.png" in result.stderr


def test_help_names_every_option_and_an_example() -> None:
    text = run("--help").stdout
    for parameter in verify_theory.command.params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in text
    assert "analogdfc verify-theory --figure 3 --quick -o theory.h5" in text


@pytest.mark.parametrize("figure", FIGURES)
def test_what_a_figure_does_not_have_is_refused_with_those_that_have_it(figure: str) -> None:
    plan = Plan()
    for name, figures in BUDGETS.items():
        own = name in ("sweep_epochs", "feedback_epochs")
        seven: dict[str, Any] = {name: 7}
        other = replace(plan, **(seven if own else {"toy": replace(plan.toy, **seven)}))
        changed = other.runs([figure]) != plan.runs([figure])
        assert changed == (figure in figures), name
        if not changed:
            option = f"--{name.replace('_', '-')}"
            result = run("--figure", figure, option, "7", "-o", "nowhere/t.h5")
            assert f"{option}: only figure" in result.stderr, result.output
            assert ", ".join(figures) in result.stderr


def test_the_record_says_what_its_numbers_are(made: tuple[Path, Result]) -> None:
    assert unlabelled(made[0]) == []
