"""Angles of updates to ideal ones, taken while a training goes on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from labels import unlabelled

from analogdfc import records
from analogdfc.cli import cli
from analogdfc.errors import UserError
from analogdfc.training import Adam, AngleSettings, Experiment, Plan, Reference, Trainer
from analogdfc.training.checkpoints import checkpoint_tree, restore


def experiment(rule: str, angles: str, **options: float) -> Experiment:
    plan = Plan(epochs=2, batch_size=16, optimizer=Adam(lr=0.01))
    return Experiment(
        rule=rule,
        sizes=(64, 12, 11, 10),
        options=options,
        plan=plan,
        samples=64,
        angles=AngleSettings.parse(angles, every=3),
    )


def trained(made: Experiment) -> Trainer:
    trainer = made.trainer(made.load())
    trainer.run()
    return trainer


@pytest.mark.parametrize(
    ("rule", "reference", "options"),
    [
        ("bp", "bp", {}),
        ("mn", "mn:0.3", {"damping": 0.3}),
        ("gnt", "gnt:0.3", {"damping": 0.3}),
        ("gnt", "gnt:0.3:0.3", {"damping": 0.3}),
    ],
)
def test_an_ideal_rule_has_no_angle_to_itself_and_one_to_others(
    rule: str, reference: str, options: dict[str, float]
) -> None:
    other = "gn:5" if rule == "bp" else "bp"
    trainer = trained(experiment(rule, f"{reference},{other}", **options))
    assert trainer.angles is not None
    found = trainer.angles.found
    assert found.steps == (0, 3, 6)
    own, apart = (np.array(rows) for rows in found.of.values())
    layers = 2 if rule == "gnt" else 3
    assert np.all(own[:, :layers] < 1e-4)
    assert np.all(np.isnan(own[:, layers:]))
    assert np.all(apart[:, 0] > 3)
    assert trainer.angles.found.means(after=3)["BP"][0] == pytest.approx(
        np.mean(np.array(found.of["BP"])[1:, 0])
    )


def test_a_training_that_is_taken_up_again_has_the_same_curves(tmp_path: Path) -> None:
    made = experiment("dfc-ssa", "bp,mn-d:1")
    whole = trained(made)
    first = replace(made, plan=replace(made.plan, epochs=1))
    half = trained(first)
    records.write(tmp_path / "half.h5", checkpoint_tree(half, first.about()))
    again = made.trainer(made.load())
    restore(again, records.read(tmp_path / "half.h5"), made.about())
    again.run()
    assert again.angles is not None
    assert whole.angles is not None
    assert again.angles.found == whole.angles.found
    assert not any(math.isnan(a) for row in whole.angles.found.of["BP"] for a in row)
    other = experiment("dfc-ssa", "bp")
    fresh = other.trainer(other.load())
    with pytest.raises(UserError, match="was trained with alignment"):
        restore(fresh, records.read(tmp_path / "half.h5"), other.about())


def test_a_part_of_a_batch_weighs_as_much_as_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(experiment("dfc-ssa", "mn:1,gnt:1")).angles
    monkeypatch.setattr("analogdfc.training.angles._ELEMENTS", 5 * 10 * 97)  # 5 samples of 16
    parts = trained(experiment("dfc-ssa", "mn:1,gnt:1")).angles
    assert whole is not None
    assert parts is not None
    for name, rows in whole.found.of.items():
        np.testing.assert_allclose(rows, parts.found.of[name], atol=1e-5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("xy", "no ideal update 'XY'"),
        ("mn:x", "write bp, mn:0.1"),
        ("mn:-1", "finite and >= 0"),
        ("bp:1", "BP has no damping"),
        ("mn:1:2", "only GNT has a damping for each layer"),
        ("bp,bp", "name each update once"),
    ],
)
def test_angles_that_there_are_not_are_refused(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        AngleSettings.parse(text)


def test_dampings_fit_the_layers_and_texts_go_round() -> None:
    with pytest.raises(UserError, match="3 dampings for 2 hidden layers"):
        trained(experiment("bp", "gnt:1:1:1"))
    assert str(Reference.parse("gnt:1:0.001")) == "GNT:1:0.001"
    with pytest.raises(UserError, match="1 or more"):
        AngleSettings.parse("bp", every=0)


def test_the_command_keeps_and_draws_the_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["train", "--rule", "fa", "--samples", "40", "--epochs", "1"]
    made = CliRunner().invoke(cli, [*short, "--alignment", "bp,mn:1", "--every", "1"])
    assert made.exit_code == 0, made.output
    assert "MN:1, mean of 2" in made.stdout
    record = records.read("train.h5")
    assert record.array("alignment/MN:1/layer2_deg", units="deg").shape == (2,)
    assert not unlabelled(Path("train.h5"))
    assert Path("train.alignment.png").is_file()
    lone = CliRunner().invoke(cli, [*short, "--every", "1"])
    assert (lone.exit_code, "--every 1: needs --alignment" in lone.stderr) == (2, True)
