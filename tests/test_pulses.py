"""Pulses on devices: their steps, bounds, spread and noise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from devicesamples import MANY, PULSES, US, WINDOW, agrees, full
from hypothesis import given
from hypothesis import strategies as st
from strategies import generator as seeded
from torch import Tensor

from analogdfc.devices import (
    DeviceModel,
    Exponential,
    Faults,
    Law,
    LinearStep,
    Pulses,
    SoftBounds,
    Window,
)


def moved(pulses: Pulses, start: float, counts: Tensor, seed: int = 0) -> Tensor:
    """Weights after pulses, of devices that start at one weight."""
    window = Window(20 * US, 60 * US)  # far enough from 0 for devices with a lower bound
    model = DeviceModel(window, pulses=pulses)
    target = pulses.conductance(full(start, *counts.shape), window)
    return pulses.weight(model.program(target, seeded(seed)).pulse(counts, seeded(seed)).g, window)


def test_linear_steps_shrink_by_gamma_towards_each_bound() -> None:
    pulses = Pulses(
        LinearStep(step=0.01, gamma_up=0.3, gamma_down=0.5, w_min=-0.8, w_max=1.2),
        w_min=-0.8,
        w_max=1.2,
    )
    one = torch.tensor([1, -1])
    for w in (-0.7, 0.0, 1.1):
        up, down = (moved(pulses, w, one) - w).tolist()
        assert up == pytest.approx(0.01 * (1 - 0.3 * w / 1.2), rel=1e-6)
        assert down == pytest.approx(-0.01 * (1 - 0.5 * w / -0.8), rel=1e-6)


@given(st.integers(0, 400), st.floats(0.001, 0.9))
def test_soft_bounds_are_approached_geometrically(n: int, step: float) -> None:
    pulses = Pulses(SoftBounds(step), w_min=-0.5, w_max=1.0)
    up, down = moved(pulses, 0.0, torch.tensor([n, -n])).tolist()
    assert up == pytest.approx(1 - (1 - step) ** n, abs=1e-9)
    assert down == pytest.approx(-0.5 * (1 - max(1 - step / 0.5, 0) ** n), abs=1e-9)


def test_clipping_pulls_the_mean_of_noisy_soft_bounds_off_the_curve_without_noise() -> None:
    noisy = Pulses(SoftBounds(0.1), cycle_spread=1.0)
    few, many = (
        float(moved(noisy, 0.0, torch.full((20_000,), n)).mean()) - (1 - 0.9**n) for n in (5, 100)
    )
    # Far from the bound nothing is clipped, and the noise, whose mean is 0, leaves the mean alone.
    assert few == pytest.approx(0, abs=5 * 0.0013)
    assert many == pytest.approx(-0.15, abs=5 * 0.001)
    assert "0.85 of the bound" in " ".join((SoftBounds.__doc__ or "").split())


@given(st.integers(0, 97), st.integers(0, 100))
def test_exponential_update_follows_the_curves_of_neurosim(up: int, down: int) -> None:
    pulses = Pulses(
        Exponential(pulses_up=97, pulses_down=100, curvature_up=0.499181, curvature_down=0.200303),
        w_min=0.0,
        w_max=1.0,
    )
    # Its LTP and LTD curves, the second with a negative A and counted down from all pulses.
    ltp = (1 - math.exp(-up / (0.499181 * 97))) / (1 - math.exp(-1 / 0.499181))
    a = -0.200303 * 100
    ltd = (1 - math.exp(-(100 - down) / a)) / (1 - math.exp(-100 / a))
    assert float(moved(pulses, 0.0, torch.tensor([up]))) == pytest.approx(ltp, abs=1e-9)
    assert float(moved(pulses, 1.0, torch.tensor([-down]))) == pytest.approx(ltd, abs=1e-9)


LAWS: list[tuple[Law, float, float]] = [
    (LinearStep(step=0.02), -1, 1),
    (LinearStep(step=0.02, gamma_up=0.4, gamma_down=0.9, w_min=-0.8, w_max=1.2), -0.8, 1.2),
    (SoftBounds(0.1), -1, 1),
    (SoftBounds(1.7), -1, 1),
    (Exponential(pulses_up=30, pulses_down=40, curvature_up=0.3, curvature_down=2.0), 0, 1),
]


@pytest.mark.parametrize(("law", "low", "high"), LAWS)
@given(counts=st.lists(st.integers(-60, 60), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_many_pulses_at_once_are_as_many_single_ones(
    law: Law, low: float, high: float, counts: list[int], seed: int
) -> None:
    pulses = Pulses(law, w_min=low, w_max=high, device_spread=0.3, low_spread=0.1, high_spread=0.1)
    n = torch.tensor(counts)
    model = DeviceModel(WINDOW, pulses=pulses)
    inside = pulses.conductance(full((low + high) / 2, len(counts)), WINDOW)
    once = one = model.program(inside, seeded(seed))
    once = once.pulse(n)
    for k in range(60):
        one = one.pulse(n.sign() * (n.abs() > k))
    torch.testing.assert_close(once.g, one.g, rtol=1e-9, atol=1e-15)


def test_spread_of_the_step_from_device_to_device_is_normal_or_log_normal() -> None:
    one = torch.ones(MANY, dtype=torch.int64)
    normal = Pulses(LinearStep(step=0.001), device_spread=0.2)
    agrees(moved(normal, 0.0, one), 0.001, 0.0002)
    log_normal = replace(normal, device_spread=0.7, log_normal=True)
    agrees((moved(log_normal, 0.0, one) / 0.001).log(), 0.0, 0.7)


def test_asymmetry_makes_up_steps_larger_than_down_steps() -> None:
    one = torch.ones(MANY, dtype=torch.int64)
    pulses = Pulses(LinearStep(step=0.001), asymmetry=0.1, asymmetry_spread=0.02)
    agrees(moved(pulses, 0.0, one) / 0.001, 1.1, 0.02)
    agrees(moved(pulses, 0.0, -one) / 0.001, -0.9, 0.02)


def test_bounds_and_slopes_vary_from_device_to_device() -> None:
    many = torch.full((MANY,), 5000)
    pulses = Pulses(LinearStep(step=0.001), low_spread=0.05, high_spread=0.1)
    agrees(moved(pulses, 0.0, many), 1.0, 0.1)
    agrees(moved(pulses, 0.0, -many), -1.0, 0.05)
    bent = Pulses(LinearStep(step=0.001, gamma_up=0.5), slope_spread=0.05)
    step = moved(bent, 0.8, torch.ones(MANY, dtype=torch.int64)) - 0.8
    agrees(step, 0.001 * (1 - 0.5 * 0.8), 0.001 * 0.05 * 0.8)


@pytest.mark.parametrize(
    ("changes", "sigma"),
    [
        ({"cycle_spread": 0.3}, 0.3 * 0.01),
        ({"cycle_spread": 0.3, "of_actual_step": True}, 0.3 * 0.01 * (1 - 0.3 * 0.5)),
        ({"cycle_noise": 0.02}, 0.02 * 2),
    ],
)
def test_noise_of_a_pulse_is_relative_to_the_step_or_to_the_window(
    changes: dict[str, Any], sigma: float
) -> None:
    pulses = Pulses(LinearStep(step=0.01, gamma_up=0.3, gamma_down=0.5), **changes)
    moves = moved(pulses, 0.5, torch.ones(MANY, dtype=torch.int64)) - 0.5
    agrees(moves, 0.01 * (1 - 0.3 * 0.5), sigma)


def test_dead_pulses_leave_a_binomial_number_of_steps() -> None:
    pulses = Pulses(LinearStep(step=0.01), dead_pulses=0.3)
    steps = moved(pulses, 0.0, torch.full((MANY,), 20)) / 0.01
    agrees(steps, 20 * 0.7, math.sqrt(20 * 0.7 * 0.3))
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-6)


def test_noise_of_pulses_adds_up_in_power() -> None:
    pulses = Pulses(LinearStep(step=0.01), cycle_spread=0.5)
    moves = moved(pulses, 0.0, torch.full((200_000,), 9))
    agrees(moves, 0.09, 0.5 * 0.01 * 3)


def test_dead_devices_do_not_respond_to_pulses_and_others_without_a_pulse_stay() -> None:
    model = DeviceModel(WINDOW, faults=Faults(dead=0.1), pulses=PULSES)
    before = model.program(full(20 * US, 100_000), seeded(20))
    counts = torch.randint(-3, 4, (100_000,), generator=seeded(21))
    after = before.pulse(counts, seeded(22))
    still = after.g == before.g
    assert before.population.stuck is not None
    torch.testing.assert_close(still, before.population.stuck.mask | (counts == 0))
