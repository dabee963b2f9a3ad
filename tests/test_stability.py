"""The loop goes unstable where the model's eigenvalues say so, and ngspice agrees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parts import controller

from analogdfc.analysis.stability import (
    critical_bandwidth,
    growth_rate,
    slowest_mode,
)
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.scaling import with_bandwidth
from analogdfc.dynamics import Readings, Trajectory
from analogdfc.errors import ConvergenceError, UserError
from benchmarks._measure import case
from benchmarks.stability import CHIP, CONTROLLER, NETWORKS, TARGET, measure


def named(network: tuple[tuple[int, ...], int]) -> str:
    return "-".join(map(str, network[0]))


def recorded(u: np.ndarray, dt: float) -> Trajectory:
    """A trajectory of one sample whose control signals are the columns of u."""
    none = Readings(v=(), v_ff=(), r=(), r_ff=())
    signal = torch.from_numpy(u)[None]
    t = torch.arange(len(u), dtype=torch.float64) * dt
    return Trajectory(
        t=t, x=torch.zeros(1, 1), neurons=none, u=signal, e=torch.zeros_like(signal), free=none
    )


# One of one hidden layer, one of two; `python -m benchmarks.stability` has them all.
@pytest.mark.parametrize(("sizes", "seed"), NETWORKS[::2], ids=map(named, NETWORKS[::2]))
def test_eigenvalues_and_ngspice_agree_on_growth_around_the_critical_bandwidth(
    sizes: tuple[int, ...], seed: int
) -> None:
    slow, fast = measure(sizes, seed)
    assert slow.factor == 0.95
    assert slow.growth > 0
    assert slow.eigenvalue > 0
    assert fast.factor == 1.05
    assert fast.growth < 0
    assert fast.eigenvalue < 0
    for point in (slow, fast):
        assert point.growth == pytest.approx(point.eigenvalue, rel=0.05)


@pytest.mark.parametrize(("sizes", "seed"), NETWORKS, ids=map(named, NETWORKS))
def test_slowest_mode_changes_its_sign_at_the_critical_bandwidth(
    sizes: tuple[int, ...], seed: int
) -> None:
    loop = case(sizes, seed, 2, controller=CONTROLLER, target=TARGET)
    critical = critical_bandwidth(loop.design, CHIP, loop.x, loop.step)
    for factor, sign in ((0.999, 1), (1.001, -1), (2, -1), (30, -1)):
        design = loop.design.on(with_bandwidth(loop.design.card, factor * critical))
        assert slowest_mode(design, CHIP, loop.x, loop.step) * sign > 0


def test_the_critical_bandwidth_of_several_samples_is_that_of_the_worst_of_them() -> None:
    sizes, seed = NETWORKS[0]
    loop = case(sizes, seed, 2, controller=CONTROLLER)
    alone = [
        critical_bandwidth(loop.design, CHIP, loop.x[k : k + 1], loop.step[k : k + 1])
        for k in range(2)
    ]
    together = critical_bandwidth(loop.design, CHIP, loop.x, loop.step)
    assert together == pytest.approx(max(alone), rel=1e-5)


def test_a_loop_without_a_limit_in_the_range_is_an_error_that_says_so() -> None:
    sizes, seed = NETWORKS[0]
    loop = case(sizes, seed, 1, controller=CONTROLLER)
    with pytest.raises(
        ConvergenceError, match=r"stable all over the range, down to .* 100 / tau_v"
    ):
        critical_bandwidth(loop.design, CHIP, loop.x, loop.step, between=(100, 1000))
    with pytest.raises(ConvergenceError, match="unstable even at a gain-bandwidth of 10 / tau_v"):
        critical_bandwidth(loop.design, CHIP, loop.x, loop.step, between=(1, 10))


@pytest.mark.parametrize("between", [(0, 1), (2, 1), (1, float("inf")), (float("nan"), 1)])
def test_a_range_that_is_none_is_refused(between: tuple[float, float]) -> None:
    loop = case([3, 4, 2], 0, 1)
    with pytest.raises(UserError, match="range"):
        critical_bandwidth(loop.design, CHIP, loop.x, loop.step, between=between)


def test_an_infinitely_fast_amplifier_has_no_limit() -> None:
    loop = case([3, 4, 2], 0, 1)
    ideal = loop.design.on(loop.design.card.ideal())
    with pytest.raises(UserError, match="gain_bandwidth: the card has none"):
        critical_bandwidth(ideal, CHIP, loop.x, loop.step)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bandwidth_must_be_positive_and_finite(value: float) -> None:
    with pytest.raises(UserError, match="must be a finite number above 0"):
        with_bandwidth(case([3, 4, 2], 0, 1).design.card, value)


def test_a_slower_amplifier_is_slower_as_a_whole() -> None:
    design = case([3, 4, 2], 0, 1).design
    slow = with_bandwidth(design.card, 25e6)
    before, after = design.card.amplifier, slow.amplifier
    assert (before.gain_bandwidth, after.gain_bandwidth) == pytest.approx((100e6, 25e6))
    assert before.second_pole is not None
    assert before.slew_rate is not None
    assert after.second_pole == pytest.approx(before.second_pole / 4)
    assert after.slew_rate == pytest.approx(before.slew_rate / 4)
    assert after.gain == before.gain
    # C_c = sqrt(C_in / (R_f omega_t))
    c = [controller(Chip.of(d)).stages["inv"].c_f[0] for d in (design, design.on(slow))]
    assert float(c[1] / c[0]) == pytest.approx(2)


def test_effects_that_the_card_lacks_stay_away_when_it_is_slowed() -> None:
    card = case([3, 4, 2], 0, 1).design.card.without("second pole", "slew rate")
    slow = with_bandwidth(card, 1e6).amplifier
    assert slow.second_pole is None
    assert slow.slew_rate is None


@given(
    rate=st.floats(-0.4, 0.4),
    omega=st.floats(6, 25),
    phase=st.floats(0, 6),
    drift=st.floats(-0.05, 0.05),
)
def test_growth_rate_of_an_oscillation_beside_a_settling_signal(
    rate: float, omega: float, phase: float, drift: float
) -> None:
    t = np.arange(2001) * 0.01
    settling = 0.3 * (1 - np.exp(-0.4 * t)) + drift * np.exp(-3 * t)
    oscillation = 0.05 * np.exp(rate * t - max(0, 20 * rate))
    u = np.stack(
        [settling + oscillation * np.cos(omega * t + phase), 2 * settling + 0.1 * oscillation],
        axis=1,
    )
    assert growth_rate(recorded(u, 0.01)) == pytest.approx(rate, abs=0.01)


def test_growth_rate_does_not_count_an_oscillation_that_is_held_by_saturation() -> None:
    t = np.arange(4001) * 0.01
    u = np.tanh(1e-4 * np.exp(0.5 * t)) * np.cos(12 * t)
    assert growth_rate(recorded(u[:, None], 0.01)) == pytest.approx(0.5, rel=0.02)


def test_growth_rate_does_not_count_numeric_noise() -> None:
    t = np.arange(4001) * 0.01
    noise = 1e-8 * np.random.default_rng(0).standard_normal(len(t))
    u = 0.1 * np.exp(-0.7 * t) * np.cos(12 * t) + noise
    assert growth_rate(recorded(u[:, None], 0.01)) == pytest.approx(-0.7, rel=0.02)


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_signal_without_an_oscillation_has_no_growth_rate(value: float) -> None:
    with pytest.raises(ConvergenceError, match="at least 5"):
        growth_rate(recorded(np.full((2001, 2), value), 0.01))


def test_an_oscillation_above_the_ceiling_has_no_growth_rate() -> None:
    t = np.arange(2001) * 0.01
    with pytest.raises(ConvergenceError, match=r"between 1e-07 and 0\.1 in"):
        growth_rate(recorded(np.cos(12 * t)[:, None], 0.01), ceiling=0.1)
