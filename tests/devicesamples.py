"""What tests of devices share: a window, pulses, many devices of one state, and their moments."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from analogdfc.devices import LinearStep, Pulses, Window

US = 1e-6
DRAWS = 1_000_000
MANY = 200_000
WINDOW = Window(1 * US, 41 * US)
PULSES = Pulses(
    LinearStep(step=0.01, gamma_up=0.3, gamma_down=0.5),
    device_spread=0.2,
    asymmetry_spread=0.02,
    slope_spread=0.05,
    low_spread=0.1,
    high_spread=0.1,
    cycle_spread=0.3,
)


def full(value: float, *shape: int) -> Tensor:
    return torch.full(shape or (DRAWS,), value, dtype=torch.float64)


def agrees(sample: Tensor, mean: float, sigma: float) -> None:
    """Mean and spread within 2 %; a mean of 0 within 2 % of the spread."""
    assert float(sample.mean()) == pytest.approx(mean, rel=0.02, abs=0.02 * sigma)
    assert float(sample.std()) == pytest.approx(sigma, rel=0.02)
