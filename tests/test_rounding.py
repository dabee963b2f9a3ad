"""Changes of weights as whole steps: device by device, and by pulse trains that coincide."""

from __future__ import annotations

import pytest
import torch
from strategies import generator, normal

from analogdfc.arrays.rounding import (
    Coincidence,
    Deterministic,
    DeterministicCoincidence,
    MixedPrecision,
    Stochastic,
)


@pytest.mark.parametrize("wanted", [-2.75, -0.5, -0.1, 0.0, 0.3, 4.2])
def test_stochastic_steps_have_the_mean_of_the_wanted_change(wanted: float) -> None:
    n = 100_000
    change = torch.full((n,), wanted, dtype=torch.float64)
    steps, _ = Stochastic().steps(change, torch.zeros_like(change), generator(0))
    assert torch.equal(steps, steps.round())
    assert float((steps - wanted).abs().max()) < 1
    assert float(steps.mean()) == pytest.approx(wanted, abs=4 * 0.5 / n**0.5)


def test_deterministic_steps_lose_what_is_less_than_half() -> None:
    change = torch.tensor([0.4, -0.4, 0.6, -2.6], dtype=torch.float64)
    zero = torch.zeros_like(change)
    steps, left = Deterministic().steps(change, zero, generator(0))
    assert steps.tolist() == [0, 0, 1, -3]
    assert torch.equal(left, zero)


def test_mixed_precision_loses_nothing() -> None:
    left, done, total = torch.zeros(50).double(), torch.zeros(50).double(), torch.zeros(50).double()
    for k in range(100):
        change = 0.3 * normal(k, 50)
        steps, left = MixedPrecision().steps(change, left, generator(0))
        assert float(left.abs().max()) < 1
        done += steps
        total += change
    torch.testing.assert_close(done + left, total, rtol=0, atol=1e-12)


def test_random_trains_coincide_as_often_in_the_mean_as_wanted() -> None:
    source = torch.Generator().manual_seed(0)
    post = torch.randn(3, 6, dtype=torch.float64, generator=source)
    pre = torch.randn(3, 8, dtype=torch.float64, generator=source)
    change = (post.T @ pre).expand(4000, 6, 8)
    counts, _ = Coincidence().steps(change, torch.zeros(()), source)
    assert torch.equal(counts, counts.round())
    error = counts.std(dim=0) / 4000**0.5
    assert float(((counts.mean(dim=0) - change[0]) / error).abs().max()) < 4.5


def test_fixed_trains_miss_the_wanted_coincidences_by_little() -> None:
    source = torch.Generator().manual_seed(1)
    post = torch.rand(6, dtype=torch.float64, generator=source) - 0.5
    change = 100 * torch.outer(post, torch.rand(8, dtype=torch.float64, generator=source))
    first, _ = DeterministicCoincidence().steps(change, torch.zeros(()), source)
    again, _ = DeterministicCoincidence().steps(change, torch.zeros(()), source)
    assert torch.equal(first, again)
    assert float((first - change).abs().max()) < 4
    assert float((first - change).norm() / change.norm()) < 0.1


def test_a_change_of_zero_sends_no_pulse() -> None:
    zero = torch.zeros(2, 3, dtype=torch.float64)
    for rounding in (Coincidence(), DeterministicCoincidence()):
        counts, _ = rounding.steps(zero, zero, torch.Generator().manual_seed(0))
        assert not bool(counts.any())
