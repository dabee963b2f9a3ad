"""Where the steps of the implicit method lie, and when the iteration of a stage ends."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from analogdfc.dynamics.channels import Channels
from analogdfc.dynamics.esdirk import ESDIRK, WHOLE, Piece
from analogdfc.dynamics.semilinear import Semilinear
from analogdfc.dynamics.substitution import Pace

NONE = Channels(0, *[torch.zeros(0, dtype=torch.int64)] * 2, *[torch.zeros(1, 0, 1).double()] * 4)


def decay(tau: float) -> Semilinear:
    """z' = (1 - z) / tau, z from 0."""
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    return Semilinear.whole(one, -one / tau, one / tau, NONE)


def pieces_of(method: ESDIRK, tau: float) -> list[Piece]:
    """The steps of a time of 1; there is nothing that must be made consistent at its start."""
    method.settle = 1e-9 * tau
    start = torch.zeros(1, 1, 1, dtype=torch.float64)
    return list(method.pieces(decay(tau), start, 0.01, 100))


@given(st.floats(-9, 3), st.floats(-9, -3))
@settings(max_examples=30)
def test_steps_cover_a_time_and_no_more_whatever_its_constants(slow: float, fine: float) -> None:
    tau, tolerance = 10.0**slow, 10.0**fine
    method = ESDIRK(tolerance)
    pieces = pieces_of(method, tau)
    assert pieces[0].begin == 0
    assert pieces[-1].end == WHOLE
    assert all(a.end == b.begin for a, b in itertools.pairwise(pieces))
    assert all(4 * (p.end - p.begin) <= WHOLE for p in pieces)
    ends = np.array([p.end / WHOLE for p in pieces])
    found = np.array([float(p.stages[-1, 0, 0, 0]) for p in pieces])
    np.testing.assert_allclose(found, -np.expm1(-ends / tau), rtol=0, atol=5 * tolerance)
    assert len(pieces) == method.steps


def test_steps_grow_fast_after_what_is_over_at_once() -> None:
    # A dozen where it happens, then eight times as long each, up to a quarter of the time.
    steps = pieces_of(ESDIRK(1e-4), 2.0**-23)
    assert len(steps) <= 12 + math.ceil((23 - 5) / 3) + 3
    lengths = [p.end - p.begin for p in steps]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-6])
def test_what_the_first_step_goes_over_is_not_felt_by_an_average(tolerance: float) -> None:
    # Whatever happens within it; the rest is exact, and of the first only its ends.
    first = pieces_of(ESDIRK(tolerance), 1e-12)[0]
    assert first.end <= max(tolerance, 2.0**-16) * WHOLE


def test_times_of_a_record_lie_in_one_step_each() -> None:
    pieces = pieces_of(ESDIRK(1e-5), 2.0**-20)
    assert any(length & (length - 1) for length in (p.end - p.begin for p in pieces))
    numbers = [k for piece in pieces for k in piece.among(1000)]
    assert numbers == list(range(1001))
    states = torch.cat([p.at(n, 1000) for p in pieces if (n := p.among(1000))])[:, 0, 0, 0]
    exact = -torch.expm1(-torch.arange(1001).double() / 1000 * 2.0**20)
    # In a step in which it is over, the polynomial has what its end allows.
    torch.testing.assert_close(states, exact, rtol=0, atol=1e-4)


def changes(*sizes: float) -> list[Tensor]:
    return [torch.full((1, 1, 1), size, dtype=torch.float64) for size in sizes]


def rounds(rate: float | None, sizes: list[Tensor], tolerance: float) -> int:
    """Iterations with changes of these sizes."""
    pace = Pace(1, tolerance, None, rate)
    return next(k for k, size in enumerate(sizes, start=1) if not pace.goes_on(k - 1, [size]))


@given(st.floats(0.02, 0.45), st.floats(-12, -1))
def test_an_iteration_ends_where_the_changes_to_come_add_up_to_the_tolerance(
    rate: float, fine: float
) -> None:
    tolerance = 10.0**fine
    sizes = changes(*(rate**k for k in range(40)))
    count = rounds(1.0, sizes[:16], tolerance) if rate**15 < tolerance else 0
    if count:
        left = math.fsum(rate**k for k in range(count, 400))
        before = math.fsum(rate**k for k in range(count - 1, 400))
        assert left < tolerance * (1 + 1e-9)
        # The first change says nothing by itself.
        assert count <= 2 or before > tolerance * (1 - 1e-9)


@pytest.mark.parametrize(
    ("rate", "count"),
    [(1.0, 2), (0.05, 1), (None, 3)],
    ids=["nothing is known", "from the stage before", "a limit may be met on the way"],
)
def test_what_is_known_of_a_contraction_saves_iterations(rate: float | None, count: int) -> None:
    assert rounds(rate, changes(1e-3, 1e-5, 1e-7), 2e-4 if rate == 0.05 else 1e-6) == count


def test_a_contraction_of_more_than_a_hundred_is_not_believed() -> None:
    # From far away a saturated channel doesn't move; near the end it may.
    assert rounds(1.0, changes(1e6, 1.0, 1e-2, 1e-4), 1e-3) == 3
