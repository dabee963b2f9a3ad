"""A search: the papers' spaces, settings as published, trials the same whatever is killed."""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from labels import unlabelled

from analogdfc import records
from analogdfc.cli import cli
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.jobs import Spool
from analogdfc.presets import ControlPreset, load_preset
from analogdfc.searching import Journal, Search, Trial, best_of, importance, search, space_of
from analogdfc.searching.spaces import chosen
from analogdfc.searching.trials import Rung, changes
from analogdfc.tuning import settings_of

PLAN = Search(
    preset="fashion-mnist",
    rule="bp",
    dataset="digits",
    samples=500,
    held_out=32,
    trials=4,
    together=4,
    epochs=4,
    rungs=(2,),
)


def searched(folder: Path, plan: Search = PLAN) -> list[Trial]:
    with Spool(folder / "runs") as spool:
        return search(plan, Journal(folder / "journal", plan.described()), spool)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial]]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, searched(folder)


PUBLISHED: dict[tuple[str, str, str | None], dict[str, str]] = {
    ("fashion-mnist", "dfc-ssa", "learned"): {
        "lr_lambda": "[1e-07 : 0.0001], log",
        "alpha": "[1e-05 : 0.1], log",
        "beta": "{0.0; 1e-05; 0.001; 0.1}",
        "tau_v_fb_phase": "[0.005 : 0.015]",
        "X": "{1; 2; 3}",
        "steps_fb": "[30 : 60]",
        "freeze_Q_L": "{True; False}",
    },
    ("mnist", "dfa", None): {"lr": "[1e-08 : 0.01], log", "eps": "[1e-08 : 1e-05], log"},
    ("tp-mnist", "dtp", None): {"eta": "[0.01 : 0.3], log", "beta1": "{0.9; 0.99; 0.999}"},
    ("tp-mnist", "ddtp-linear", None): {
        "eta": "[0.01 : 0.1]",
        "wd_fb": "[1e-07 : 0.0001], log",
        "sigma": "[0.001 : 0.1], log",
    },
    ("tp-mnist", "bp", None): {"lr": "[1e-05 : 0.01], log", "eps": "[1e-08 : 0.001], log"},
}
"""Tables S3 and S4 of Meulemans et al. 2021, S2, S3 and S5 of Meulemans et al. 2020."""


@pytest.mark.parametrize("which", PUBLISHED, ids=str)
def test_intervals_are_those_of_the_papers(which: tuple[str, str, str | None]) -> None:
    preset, rule, feedback = which
    space = {one.name: one.text for one in space_of(load_preset(preset), rule, feedback)}
    assert {name: space[name] for name in PUBLISHED[which]} == PUBLISHED[which]


def test_rules_without_a_part_have_no_interval_for_it() -> None:
    assert "wd_fb" not in {one.name for one in space_of(load_preset("tp-mnist"), "dtp")}
    assert "sigma" not in {one.name for one in space_of(load_preset("mnist"), "dfc", "fixed")}
    assert "eps" not in {one.name for one in space_of(load_preset("toy"), "dfc")}


def test_the_published_values_are_the_published_settings() -> None:
    plan = Search(preset="fashion-mnist", rule="dfc-ssa")
    published = plan.published
    assert isinstance(published, ControlPreset)
    table = published.tables.learned
    assert table is not None
    sleep, learning = table.sleep, table.feedback
    values: Mapping[str, Any] = {
        "lr_lambda": table.lr_lambda, "eps": table.eps, "alpha": table.alpha,
        "lambda": table.target_stepsize, "lr_fb": learning.lr, "eps_fb": learning.eps,
        "lr_fb_pretrain": learning.lr_pretraining, "alpha_fb": sleep.alpha, "beta": learning.beta,
        "k_p_fb": sleep.k_p, "tau_v_fb_phase": sleep.tau_v, "tau_v_fb": sleep.tau_fb,
        "sigma": sleep.sigma, "X": learning.before + learning.after, "dt_fb": sleep.dt,
        "steps_fb": sleep.steps, "freeze_Q_L": not sleep.train_output,
    }  # fmt: skip
    assert {one.name for one in plan.space} == {*values}
    assert changes(plan.experiment(values), plan.base) == ()
    other = plan.experiment({**values, "X": 1, "sigma": 0.05, "freeze_Q_L": False})
    assert dict(changes(other, plan.base)) == {
        "feedback.after": 0, "sleep.sigma": 0.05, "sleep.train_output": True,
    }  # fmt: skip


def test_a_trial_that_goes_on_from_a_rung_is_one_that_never_halted(tmp_path: Path) -> None:
    first = PLAN.rung((("optimizer.lr", 0.01),), 2).with_state(tmp_path)
    second = PLAN.rung((("optimizer.lr", 0.01),), 3).with_state(tmp_path)
    assert first.checkpoint == second.checkpoint
    whole = replace(second, checkpoint=None).run(lambda units: None)
    told: list[int] = []
    one = first.run(told.append)
    assert second.checkpoint is not None
    assert second.checkpoint.exists()
    two = second.run(told.append)
    assert told == [1, 1, 2, 1]  # the third epoch alone was trained
    assert one.history == whole.history[:2]
    assert two.history == whole.history


def test_training_that_diverges_is_worth_nothing() -> None:
    wild = PLAN.rung((("optimizer.kind", "sgd"), ("optimizer.lr", 1e300)), 4)
    found = wild.run(lambda units: None)
    assert found.stopped
    assert math.isinf(PLAN.value(found))


def test_half_of_the_trials_end_at_the_rung(whole: tuple[Path, list[Trial]]) -> None:
    _, trials = whole
    assert [trial.state for trial in trials].count("pruned") == 2
    gone = [t.reached[2] for t in trials if t.state == "pruned"]
    stayed = [t.reached[2] for t in trials if t.state == "complete"]
    assert max(stayed) <= min(gone)
    assert best_of(trials).value == min(t.reached[4] for t in trials if 4 in t.reached)
    assert sum(importance(PLAN, trials).values()) == pytest.approx(1)


def test_a_search_that_is_cut_off_anywhere_ends_as_if_it_had_not_been(
    whole: tuple[Path, list[Trial]], tmp_path: Path
) -> None:
    folder, trials = whole
    lines = (folder / "journal").read_bytes().splitlines(keepends=True)
    for left in (4, len(lines) - 3):
        there = tmp_path / str(left)
        there.mkdir()
        # The last line was being written when the driver was killed.
        (there / "journal").write_bytes(b"".join(lines[:left]) + lines[left][:-9])
        assert searched(there) == trials
        kept = (there / "journal").read_bytes().splitlines(keepends=True)
        assert kept == lines


def test_a_longer_search_begins_with_the_shorter_one(
    whole: tuple[Path, list[Trial]], tmp_path: Path
) -> None:
    folder, trials = whole
    (tmp_path / "journal").write_bytes((folder / "journal").read_bytes())
    longer = searched(tmp_path, replace(PLAN, trials=5))
    assert len(longer) == 8
    assert longer[:4] == trials
    assert len({tuple(t.values.items()) for t in longer}) == 8


def test_a_trial_that_fails_is_kept_with_its_log_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Rung.run

    def run(self: Rung, progress: Any) -> Any:
        if not hits:
            hits.append(self.name)
            error = ConvergenceError("no rest")
            error.log = "the last words"
            raise error
        return real(self, progress)

    hits: list[str] = []
    monkeypatch.setattr(Rung, "run", run)
    trials = searched(tmp_path)
    assert [t.state for t in trials].count("failed") == 1
    assert trials[0].why == "no rest; the last words"
    assert best_of(trials).state == "complete"


def test_a_journal_of_another_search_and_a_search_that_runs_are_refused(
    whole: tuple[Path, list[Trial]], tmp_path: Path
) -> None:
    folder, _ = whole
    with pytest.raises(UserError, match="journal of another search: seed was 0 there, 1 now"):
        Journal(folder / "journal", replace(PLAN, seed=1).described())
    (tmp_path / "text").write_text("some notes")
    (tmp_path / "json").write_text('{"a": 1}\n')
    for name in ("text", "json"):
        with pytest.raises(UserError, match="no journal of a search"):
            Journal(tmp_path / name, PLAN.described())
    with Spool(tmp_path / "runs"), pytest.raises(UserError, match="runs: "):
        searched(tmp_path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"trial": 0, "state": "happy", "why": ""}', "no journal of a search: .*'happy'"),
        (b'{"trial": 0, "epochs": 2, "reached": "x"}', "no journal of a search"),
        (b'{"trial": 77, "epochs": 2, "reached": 1}', "no journal of a search"),
        (b'{"trial": 0, "values": {}, "settings": []}', "is damaged: trial 0 is none of this"),
        (b"{{", "no journal of a search"),
    ],
)
def test_a_damaged_journal_is_one_line(
    line: bytes, why: str, whole: tuple[Path, list[Trial]], tmp_path: Path
) -> None:
    lines = (whole[0] / "journal").read_bytes().splitlines()
    (tmp_path / "journal").write_bytes(b"\n".join([*lines, line, b""]))
    with pytest.raises(UserError, match=why):
        searched(tmp_path, replace(PLAN, trials=5))


def test_a_journal_whose_first_line_was_cut_off_begins_anew(
    whole: tuple[Path, list[Trial]], tmp_path: Path
) -> None:
    content = (whole[0] / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(content[:40])  # the disk was full
    Journal(tmp_path / "journal", PLAN.described())
    assert (tmp_path / "journal").read_bytes().splitlines() == content.splitlines()[:2]


@pytest.mark.parametrize(("room", "file"), [(300, "journal"), (3000, "checkpoint")])
def test_a_full_disk_is_one_line_and_the_search_goes_on_when_there_is_room(
    room: int, file: str, whole: tuple[Path, list[Trial]], tmp_path: Path
) -> None:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))
    try:
        with pytest.raises(UserError, match=rf"{file}: can('|no)t be written: File too large"):
            searched(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert searched(tmp_path) == whole[1]


RUN = ["search", "fashion-mnist", "--rule", "bp", "--dataset", "digits", "--samples", "500",
       "--held-out", "32", "--trials", "4", "--together", "4", "--epochs", "4", "--rungs", "2",
       "--jobs", "1"]  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_the_command_finds_a_preset_that_trains_to_the_value_that_it_says(
    whole: tuple[Path, list[Trial]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, trials = whole
    Path("s.journal").write_bytes((folder / "journal").read_bytes())
    made = run(*RUN, "-o", "s.h5", "--json")
    assert made.exit_code == 0, made.output
    printed = json.loads(made.stdout)
    best = best_of(trials)
    assert (printed["best_trial"], printed["best_value"]) == (best.number, best.value)
    record = records.read(Path("s.h5"))
    assert record.number("best/value") == best.value
    assert not unlabelled(Path("s.h5"))
    assert Path("s.png").is_file()
    assert not Path("s.runs").exists()
    preset = load_preset("s.toml")
    assert "trial" in preset.source
    assert "500 samples of digits" in preset.source
    experiment = preset.experiment("bp")
    settings = settings_of(experiment)
    assert {name: settings[name].value for name, _ in best.settings} == dict(best.settings)
    assert experiment.plan.epochs == 4
    data = experiment.load()
    assert experiment.sizes[0] == data.x.shape[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["search", "nothing"], "unknown preset 'nothing'"),
        (["search", "mnist", "--rule", "fa"], "fa"),
        (["search", "mnist", "--rungs", "a"], "--rungs a: epochs with commas between"),
        (["search", "mnist", "--epochs", "3", "--rungs", "3"], "ascending epochs from 1 to 2"),
        (["search", "mnist", "--on", "spool"], "the engine spool needs an address"),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_entries_that_a_preset_does_not_take_are_refused() -> None:
    with pytest.raises(UserError, match="sigma"):
        load_preset("mnist").with_entries({"learned.sleep.sigma": "wide"})
    space = space_of(load_preset("mnist"), "bp")
    assert chosen(space, {"lr": 1e-3, "eps": 1e-7}) == {
        "bp.lr_lambda": pytest.approx(1e-6),
        "bp.eps": 1e-7,
    }
