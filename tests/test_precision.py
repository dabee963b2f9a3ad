"""The behavioural model in single precision, which says what that does to the update."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from analogdfc.circuit.averages import Until
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.dynamics import Update
from analogdfc.errors import UserError
from benchmarks._measure import Case, case

DT, STEPS = 0.05, 100


@cache
def pair() -> tuple[Case, Behavioural, Behavioural]:
    """Two chips in single and in double precision, with steps of the same tolerance."""
    here = case((3, 4, 2), 0, 3)
    chips = [Chip.of(here.design, seed) for seed in range(2)]
    return here, Behavioural(chips, dtype=torch.float32), Behavioural(chips, tolerance=1e-4)


def _flat(update: Update, sample: int = 0) -> Tensor:
    return torch.cat([t[sample].flatten() for t in (*update.weights, *update.biases)])


def test_single_precision_states_how_far_its_update_is_from_that_in_double() -> None:
    here, single, double = pair()
    found = single.average(here.x, here.step, dt=DT, steps=STEPS)
    exact = double.average(here.x, here.step, dt=DT, steps=STEPS)
    assert single.rounding is not None
    assert double.rounding is None
    a, b = _flat(found[0]), _flat(exact[0])
    error = float((a - b).norm() / b.norm())
    assert 1e-9 < error < 1e-4
    # The sample by itself takes other steps than in the batch.
    assert single.rounding.error == pytest.approx(error, rel=1, abs=2e-6)
    assert 0 < single.rounding.angle < 0.01
    # What is stated of one holds of all.
    for one, other in zip(found, exact, strict=True):
        for k in range(3):
            a, b = _flat(one, k), _flat(other, k)
            assert float((a - b).norm() / b.norm()) < 10 * single.rounding.error


def test_what_single_precision_returns_is_in_double() -> None:
    here, single, double = pair()
    runs = single.run(here.x, here.step, dt=DT, steps=STEPS, until=Until(0.2))
    assert single.ending is not None
    assert single.rounding is not None
    assert single.rounding.error < 1e-4
    expected = double.run(here.x, here.step, dt=DT, steps=STEPS, until=Until(0.2))
    for run, exact in zip(runs, expected, strict=True):
        assert {t.dtype for t in (run.t, run.x, run.u, *run.neurons.v)} == {torch.float64}
        torch.testing.assert_close(run.u, exact.u, rtol=0, atol=1e-3 * float(exact.u.abs().max()))


@pytest.mark.parametrize("tolerance", [0.0, -1.0, math.nan, math.inf])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    _, single, _ = pair()
    with pytest.raises(UserError, match="it must be finite and > 0"):
        Behavioural(single.chips, tolerance=tolerance)


def test_a_precision_that_the_model_does_not_have_is_refused() -> None:
    _, single, _ = pair()
    with pytest.raises(UserError, match=r"dtype = torch.float16: it must be torch.float64 or"):
        Behavioural(single.chips, dtype=torch.float16)
    with pytest.raises(UserError, match=r"tolerance = 1e-06 V: in torch.float32 steps err by"):
        Behavioural(single.chips, dtype=torch.float32, tolerance=1e-6)
