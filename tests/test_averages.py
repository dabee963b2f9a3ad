"""Updates averaged within the integration, and runs that end when the update has settled."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from analogdfc.circuit.averages import Ending, Until
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Readout
from analogdfc.dynamics import Trajectory, Update
from analogdfc.errors import UserError
from analogdfc.findings import Findings
from analogdfc.study import Study
from benchmarks._measure import Case, case

DT = 0.02


@cache
def pair() -> tuple[Case, Behavioural]:
    """Two chips of a network with a hidden layer; the second doesn't sample twice."""
    here = case((2, 3, 2), 0, 2)
    single = replace(here.design, readout=Readout(double_sampling=False))
    return here, Behavioural([Chip.of(here.design, 0), Chip.of(single, 1)])


@cache
def recorded(per: int = 1) -> list[Trajectory]:
    here, model = pair()
    return model.run(here.x, here.step, dt=DT / per, steps=500 * per)


def averages(runs: list[Trajectory]) -> list[Tensor]:
    doubled = (True, False)
    found = [Update.of(t, double_sampling=on) for t, on in zip(runs, doubled, strict=True)]
    return [_flat(update) for update in found]


def _flat(update: Update) -> Tensor:
    """Of each sample by itself."""
    return torch.cat([t.flatten(1) for t in (*update.weights, *update.biases)], dim=1)


def off(found: list[Update], expected: list[Tensor]) -> float:
    """Largest relative difference of the update of a chip."""
    pairs = zip(found, expected, strict=True)
    return max(float((_flat(a) - b).norm() / b.norm()) for a, b in pairs)


def test_a_trapezoidal_average_without_a_record_is_that_of_the_record() -> None:
    here, model = pair()
    found = model.average(here.x, here.step, dt=DT, steps=500, trapezoidal=True)
    assert off(found, averages(recorded())) < 1e-14


def test_an_average_is_that_to_which_finer_records_converge() -> None:
    here, model = pair()
    found = model.average(here.x, here.step, dt=DT, steps=500)
    coarse, fine = off(found, averages(recorded())), off(found, averages(recorded(20)))
    assert coarse > 1e-6
    assert fine < coarse / 200  # second order: a 400th


def test_a_run_ends_where_the_update_has_come_as_near_to_its_rest_as_was_asked() -> None:
    here, model = pair()
    full = recorded()
    runs = model.run(here.x, here.step, dt=DT, steps=500, until=Until(0.02))
    ending = model.ending
    assert ending is not None
    assert ending.settled
    assert ending.change <= 0.02
    assert 2 < ending.time < 9.5
    # What was recorded is the beginning of the whole.
    (steps,) = {len(run.t) for run in runs}
    assert (steps - 1) * DT <= ending.time < steps * DT
    for run, whole in zip(runs, full, strict=True):
        torch.testing.assert_close(run.u, whole.u[:, :steps], rtol=1e-12, atol=1e-15)
    found = model.average(here.x, here.step, dt=DT, steps=500, until=Until(0.02), trapezoidal=True)
    assert off(found, averages(runs)) < 1e-14
    assert model.ending == ending
    # The update at that moment is that of 50 units of time later, on each chip and in each layer.
    late = model.run(here.x, here.step, dt=1.0, steps=60)
    for run, rest in zip(runs, late, strict=True):
        for at_end, at_rest in zip(_moment(run), _moment(rest), strict=True):
            assert float((at_end - at_rest).norm()) < 0.021 * float(at_rest.norm())


def _moment(run: Trajectory) -> list[Tensor]:
    """The update of each layer at the end of a run, of each sample, less the free phase's."""
    below, found = (run.x, *(r[:, -1] for r in run.neurons.r)), []
    for i in range(run.depth):
        post = run.neurons.r[i][:, -1] - run.neurons.r_ff[i][:, -1]
        post = post - (run.free.r[i] - run.free.r_ff[i])
        found.append(post.unsqueeze(2) * below[i].unsqueeze(1))
    return found


def test_the_exact_average_ends_at_the_moment_itself() -> None:
    here, model = pair()
    found = model.average(here.x, here.step, dt=DT, steps=500, until=Until(0.02))
    assert model.ending is not None
    time = model.ending.time
    whole = model.average(here.x, here.step, dt=time / 200, steps=200)
    assert off(found, [_flat(update) for update in whole]) < 1e-5


def test_an_update_that_does_not_settle_in_time_is_said_to_be_unsettled() -> None:
    here, model = pair()
    runs = model.run(here.x, here.step, dt=DT, steps=150, until=Until(1e-6))
    assert len(runs[0].t) == 151
    ending = model.ending
    assert ending is not None
    assert not ending.settled
    assert ending.time == pytest.approx(3)
    assert ending.change > 1e-3
    assert str(ending).startswith("the update has not settled within 3 units")


def test_a_slow_approach_is_not_taken_for_rest() -> None:
    # Windows of a tenth of tau_u: what is left is many times the change in one of them.
    here, model = pair()
    model.average(here.x, here.step, dt=DT, steps=500, until=Until(0.02, window=0.1))
    assert model.ending is not None
    assert model.ending.time > 2


def test_a_run_without_a_criterion_has_no_ending() -> None:
    here, model = pair()
    model.run(here.x, here.step, dt=DT, steps=150, until=Until(0.5))
    assert model.ending is not None
    model.run(here.x, here.step, dt=DT, steps=2)
    assert model.ending is None


def test_a_criterion_that_means_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"tolerance = 0: it must be > 0"):
        Until(0)
    with pytest.raises(UserError, match=r"window = -1: it must be > 0"):
        Until(0.1, -1)
    here, model = pair()
    with pytest.raises(UserError, match=r"a run of 1 units .* has no two windows of 1"):
        model.run(here.x, here.step, dt=DT, steps=50, until=Until())
    with pytest.raises(UserError, match=r"window = 1e-07: .* more than 100000 of them"):
        model.run(here.x, here.step, dt=DT, steps=50, until=Until(0.1, 1e-7))


def test_a_study_lasts_until_the_update_has_settled_and_its_findings_say_so() -> None:
    here, _ = pair()
    study = Study(here.design, here.x, here.step, DT, 500)
    shorter, ending = study.until_settled(0, Until(0.02))
    assert ending.settled
    assert shorter.duration == pytest.approx(ending.time, abs=DT)
    assert (shorter.design, shorter.dt) == (study.design, study.dt)
    numbers = Findings({}, [], ending=ending).numbers()["ends_with_a_settled_update"]
    assert numbers["settled"]
    assert numbers["after_units_of_time"] == ending.time
    assert numbers["in_words"] == str(ending)
    whole, late = study.until_settled(0, Until(1e-9))
    assert not late.settled
    assert whole.steps == study.steps
    assert "ends_with_a_settled_update" not in Findings({}, []).numbers()


def test_an_ending_is_told_in_words() -> None:
    assert str(Ending(8.25, True, 0.009, 0.01, 1.0)) == (
        "the update had settled after 8.25 units of the controller's time: that of no layer had "
        "changed, nor would change, by more than 1 % over 1 of them"
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_average_on_another_device_is_that_on_the_processor(
    dtype: torch.dtype, device: str
) -> None:
    here, model = pair()
    there, on_cpu = (
        Behavioural(model.chips, device=place, dtype=dtype) for place in (device, "cpu")
    )
    found = there.average(here.x, here.step, dt=DT, steps=500, until=Until(0.02))
    expected = on_cpu.average(here.x, here.step, dt=DT, steps=500, until=Until(0.02))
    assert there.ending is not None
    assert all(t.device.type == device for update in found for t in update.weights)
    for one, other in zip(found, expected, strict=True):
        a, b = _flat(one).cpu(), _flat(other)
        assert float((a - b).norm() / b.norm()) < (1e-5 if dtype == torch.float64 else 1e-3)
