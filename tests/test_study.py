"""A study runs one design in its realisations and lays them side by side, in one call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from analogdfc.dynamics import Update
from analogdfc.errors import UserError
from analogdfc.spice.engines import get_simulator
from analogdfc.study import Cells, Ideal, Model, Rest, Study
from benchmarks._measure import case


def short(samples: int = 1) -> Study:
    here = case((3, 4, 2), 0, samples)
    return Study(here.design, here.x, here.step, 0.02, 100)


def test_all_realisations_return_the_same_type_on_the_same_grid() -> None:
    result = short().run(Ideal(), Model(0), Rest(0), Cells("ideal", get_simulator("batch"), seed=0))
    assert set(result.runs) == {"ideal", "behavioural", "static", "ideal cells"}
    shapes = {(tuple(r.t.shape), tuple(r.u.shape), tuple(r.e.shape)) for r in result.runs.values()}
    assert shapes == {((101,), (1, 101, 2), (1, 101, 2))}
    assert [(c.reference, c.other, c.kind) for c in result.comparisons] == [
        ("ideal cells", "ideal", "parity")
    ]


def test_a_record_is_as_long_as_slow_neurons_take() -> None:
    here = case((3, 4, 2), 0, 1)
    for tau_v, length in ((0.2, 20.0), (2.0, 20.0), (50.0, 500.0), (4.7e6, 4.7e7)):
        study = Study(replace(here.design, tau_v=tau_v), here.x, here.step)
        assert study.duration == pytest.approx(length)


def test_waveforms_end_where_the_static_model_rests() -> None:
    here = case((3, 4, 2), 1, 2)
    study = Study(here.design, here.x, here.step, 0.05, 800)
    runs = study.run(Model(3), Rest(3)).runs
    a, b = runs["behavioural"], runs["static"]
    for ours, theirs in zip(a.neurons.v, b.neurons.v, strict=True):
        torch.testing.assert_close(ours[:, -1], theirs[:, -1], rtol=0, atol=1e-4)
    torch.testing.assert_close(a.u[:, -1], b.u[:, -1], rtol=0, atol=1e-4)
    torch.testing.assert_close(a.e[:, -1], b.e[:, -1], rtol=0, atol=1e-4)


def test_the_update_of_the_static_realisation_is_that_of_the_rest_state() -> None:
    study = short(2)
    run = study.run(Rest(0)).runs["static"]
    state = study.static(0)
    torch.testing.assert_close(Update.of(run).flat(), state.chip.update(state).flat())


def test_progress_is_told_by_realisation() -> None:
    seen: list[tuple[str, int, int]] = []
    short().run(Model(0), progress=lambda *what: seen.append(what))
    assert seen[-1] == ("behavioural", 100, 100)


def test_realisations_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="different names"):
        short().run(Model(0), Model(1))
    with pytest.raises(UserError, match="one or more"):
        short().run()


def test_a_circuit_that_cannot_be_is_refused_before_anything_has_run(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    cells = Cells("macro", get_simulator("batch"), cells={"opamp": tmp_path / "none.lib"})
    with pytest.raises(UserError, match=r"none\.lib: can't read the cell"):
        short().run(Model(0), cells, progress=lambda *what: seen.append(what))
    assert seen == []


def test_two_chips_can_stand_beside_each_other_under_names_of_their_own() -> None:
    runs = short().run(Model(0, name="chip 0"), Model(1, name="chip 1")).runs
    assert not torch.equal(runs["chip 0"].u, runs["chip 1"].u)


@pytest.mark.parametrize(("dt", "steps"), [(-0.1, 10), (0.1, -1)])
def test_a_grid_that_runs_backwards_is_refused(dt: float, steps: int) -> None:
    here = case((3, 4, 2), 0, 1)
    with pytest.raises(UserError, match="must be positive"):
        Study(here.design, here.x, here.step, dt, steps)
