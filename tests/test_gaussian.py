"""Noise in quantity: normal, white, and that of its seed."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from strategies import generator

from analogdfc.dynamics.gaussian import _BLOCK, Gaussian


def test_the_numbers_are_those_of_a_normal_distribution() -> None:
    drawn = Gaussian(generator(3), 0.2).fill(torch.empty(200_001, dtype=torch.float64)) / 0.2
    assert stats.kstest(drawn.numpy(), "norm").pvalue > 0.01
    # Standard errors of the moments: sqrt(1 / n), sqrt(2 / n), sqrt(15 / n), sqrt(96 / n).
    moments = [float((drawn**k).mean()) for k in (1, 2, 3, 4)]
    spread = [(n / 200_001) ** 0.5 for n in (1, 2, 15, 96)]
    for found, expected, error in zip(moments, (0, 1, 0, 3), spread, strict=True):
        assert found == pytest.approx(expected, abs=3 * error)


def test_no_number_tells_of_another() -> None:
    # The two of a pair lie half the numbers of a block apart, and share its radius.
    n = 2 * _BLOCK
    drawn = Gaussian(generator(4), 1.0).fill(torch.empty(n, dtype=torch.float64))
    for power in (1, 2):
        z = drawn**power - (drawn**power).mean()
        for lag in (1, 2, n // 2):
            share = float((z[:-lag] * z[lag:]).mean() / z.square().mean())
            assert abs(share) < 4 / (n - lag) ** 0.5


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, _BLOCK + 1), (0, 4)])
def test_every_place_is_filled_and_one_seed_gives_one_noise(shape: tuple[int, ...]) -> None:
    sources = [Gaussian(generator(seed), 1.0) for seed in (1, 1, 2)]
    first, again, other = (s.fill(torch.full(shape, torch.nan)) for s in sources)
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)
    assert not first.numel() or not torch.equal(first, other)
    assert not first.numel() or not torch.equal(first, sources[0].fill(torch.empty(shape)))


def test_the_generator_moves_on_by_one_number_whatever_is_drawn() -> None:
    one, other = generator(5), generator(5)
    Gaussian(one, 1.0).fill(torch.empty(1000))
    Gaussian(other, 1.0)
    assert torch.equal(one.get_state(), other.get_state())


def test_noise_on_another_device_is_normal_too(device: str) -> None:
    source = Gaussian(torch.Generator(device).manual_seed(0), 0.5)
    drawn = source.fill(torch.empty(100_000, dtype=torch.float64, device=device))
    assert stats.kstest(drawn.cpu().numpy() / 0.5, "norm").pvalue > 0.01
