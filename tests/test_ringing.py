"""Time steps follow the damping of a loop, and their errors are stated."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from torch import Tensor

from analogdfc import records
from analogdfc.analysis.ringing import linearised, step_tolerance, turns
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.cli import cli
from analogdfc.comparison import StepError
from analogdfc.dynamics import Trajectory
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.sample import SampleRun
from analogdfc.study import Cells, Ideal, Model, Rest, Study
from benchmarks._measure import Case, case

LIMIT = 0.51146
"""Critical product of bandwidth and tau_v of the network below, by `benchmarks.critical`."""


def of(bandwidth: float) -> Case:
    return case((3, 4, 2), 0, 1).at_bandwidth(bandwidth)


def test_ringing_is_counted_in_periods_and_ends_with_the_run() -> None:
    period = 2j * math.pi
    assert turns(np.array([-0.25 + period, -0.25 - period, -0.01]), 20.0) == pytest.approx(4)
    for growth in (-0.001, 0.0, 3.0):
        assert turns(np.array([growth + period]), 20.0) == pytest.approx(20)
    assert turns(np.array([-0.01, 2.0]), 20.0) == 0


def test_the_tolerance_falls_so_that_the_errors_of_all_periods_together_stay() -> None:
    found = [step_tolerance(np.array([-1 / k + 2j * math.pi]), 1e3) for k in (0.5, 4, 8, 1e6)]
    assert found[0] == 1
    # A step of second order errs with its tolerance to the power of 2/3.
    assert (found[2] / found[1]) ** (2 / 3) == pytest.approx(4 / 8)
    assert 0 < found[3] < found[2]


def test_both_sides_of_a_loop_near_its_limit_take_smaller_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    def stopped(run: SampleRun, _: object) -> object:
        seen.append(next(line for line in run.bench.text().splitlines() if "reltol" in line))
        raise ConvergenceError("seen enough")

    monkeypatch.setattr(SampleRun, "run", stopped)
    for here in (of(100), of(1.05 * LIMIT)):
        with pytest.raises(ConvergenceError, match="seen enough"):
            here.circuit(0, "macro")
    assert "reltol=1e-6 abstol=1e-13 vntol=1e-9 " in seen[0]
    part = of(1.05 * LIMIT).step_tolerances(0)[0]
    assert part < 0.1
    assert f"reltol={1e-6 * part:.3g} ".replace("e-0", "e-") in seen[1]
    assert of(100).model_tolerance(0) == 1
    assert of(1.05 * LIMIT).model_tolerance(0) < 0.3


def test_a_loop_that_rings_is_run_as_accurately_as_one_that_does_not() -> None:
    for here in (of(2 * LIMIT), of(1.05 * LIMIT)):
        (found,) = here.behavioural([0])
        (exact,) = here.behavioural([0], tolerance=2e-8)
        assert here.parity(exact, found).worst_signal < 3e-4


def test_a_loop_without_a_rest_is_taken_at_its_free_state_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = of(1.05 * LIMIT)
    model = Behavioural([Chip.of(here.design, 0)])
    (rest,) = linearised(model, here.x, here.step)
    assert rest.missing is None
    modes = Behavioural.modes

    def restless(
        self: Behavioural, x: Tensor, step: Tensor, *, at_rest: bool = True
    ) -> list[list[NDArray[np.complex128]]]:
        if at_rest:
            raise ConvergenceError("no rest")
        return modes(self, x, step, at_rest=False)

    monkeypatch.setattr(Behavioural, "modes", restless)
    (free,) = linearised(model, here.x, here.step)
    assert str(free.missing) == "no rest"
    assert free.values[0] != rest.values[0]
    assert free.values[0].real == pytest.approx(rest.values[0].real, abs=0.1)
    assert list(here.without_rest(0)) == [0]


def test_steps_are_only_as_fine_as_the_update_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    here = case((3, 4, 2), 0, 2)
    study = Study(here.design, here.x, here.step, 0.05, 10)
    (exact,) = study.behavioural([0], tolerance=1e-7)
    (found,) = study.behavioural_to([0], 0.05)
    update = study.parity(exact, found).updates
    assert max(one.angle for one in update.values()) < 0.05
    assert study.parity(exact, found).worst_signal > 1e-5  # coarser than the usual steps
    torch.testing.assert_close(Model(0, angle=0.05).run(study).u, found.u)
    with pytest.raises(UserError, match=r"angle = 0 degrees: it must be > 0"):
        study.behavioural_to([0], 0)
    monkeypatch.setattr("analogdfc.study.study._TOLERANCES", (1e-4, 1e-5))
    with pytest.raises(ConvergenceError, match=r"still turns by more than 1e-13 degrees"):
        study.behavioural_to([0], 1e-13)


def test_a_study_states_what_the_time_steps_of_each_side_do() -> None:
    here = case((3, 4, 2), 0, 1)
    study = Study(here.design, here.x, here.step, 0.02, 50)
    circuit = Cells("ideal", get_simulator("batch"))
    found = study.run(Ideal(), Model(0), Rest(0), circuit, check_steps=True)
    assert set(found.step_errors) == {"ideal", "behavioural", "ideal cells"}
    for name, error in found.step_errors.items():
        assert 0 < error.error < 1e-3, name
        assert error.tolerance == 1
    assert not study.run(Ideal()).step_errors


def test_the_stated_error_of_the_steps_is_nearly_all_of_it() -> None:
    here = case((3, 4, 2), 0, 1)
    study = Study(here.design, here.x, here.step, 0.02, 100)

    def run(precision: float) -> Trajectory:
        return study.behavioural([0], precision=precision)[0]

    def error(precision: float, finer: float) -> float:
        finest = run(finer)
        return StepError.of(study.design, "model", run(precision), finest, 1.0).error

    # Coarse enough that the errors are those of the steps and not those of the onset.
    stated, whole = error(100.0, 10.0), error(100.0, 0.1)
    assert 0.6 * whole < stated < 1.1 * whole


def test_compare_writes_the_errors_of_the_steps(tmp_path: Path) -> None:
    output = tmp_path / "c.h5"
    arguments: Sequence[str] = (
        "compare", "--sizes", "2-2", "--samples", "1", "--duration", "1", "--fidelity", "ideal",
        "--no-causes", "--check-steps", "--json", "-o", str(output),
    )  # fmt: skip
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["time_steps"]
    assert set(told) == {"ideal", "ideal cells"}
    key = "results/time_steps/ideal cells"
    stored = records.read(output).group(key)
    assert stored["nrmse_percent"] == told["ideal cells"]["nrmse_percent"] > 0
    assert stored["worst_signal"] in {"v1", "v1 dev", "v2", "u", "u settled", "e"}
