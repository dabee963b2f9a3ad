"""Device models: their statistics against the formulas, their seeds, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from devicesamples import DRAWS, PULSES, US, WINDOW, agrees, full
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal, stats
from strategies import generator as seeded
from torch import Tensor

from analogdfc.devices import (
    IMPERFECTIONS,
    Curve,
    DeviceModel,
    Exponential,
    Faults,
    LinearStep,
    Measured,
    OneShot,
    Piece,
    PowerLawDrift,
    Programming,
    Pulses,
    RandomTelegraph,
    ReadNoise,
    Relaxation,
    Retention,
    Snapshot,
    SoftBounds,
    Spread,
    StuckCell,
    Temperature,
    Window,
    WriteVerify,
    arrhenius,
    stuck_cells,
)
from analogdfc.errors import UserError

PROGRAMMING = OneShot(Curve.polynomial(0.2 * US, 1.5 * US, -0.5 * US, reference=25 * US))
FLICKER = ReadNoise(Curve((Piece((0.0088, -0.65), "power", high=0.2),), 25 * US), 250e-9)
DRIFT = PowerLawDrift(Curve.polynomial(0.05, 0.02, reference=25 * US), 20.0, Curve.polynomial(0.01))
FULL = DeviceModel(
    Window(1 * US, 41 * US, levels=64),
    programming=PROGRAMMING,
    read=FLICKER,
    telegraph=RandomTelegraph(amplitude=0.05, time_high=1e-3, time_low=2e-3, fraction=0.3),
    drift=DRIFT,
    retention=Retention(time_constant=1e7, level=1 * US, activation=1.0),
    temperature=Temperature(coefficient=1e-3),
    spread=Spread(device=0.05, cycle=0.02),
    faults=Faults(on=0.01, off=0.02, dead=0.03),
    pulses=PULSES,
)


def targets(*shape: int, seed: int = 9) -> Tensor:
    drawn = torch.rand(shape, dtype=torch.float64, generator=seeded(seed))
    return WINDOW.g_min + WINDOW.span * drawn


# Windows and curves


@given(st.integers(2, 300), st.floats(0, 1))
def test_a_level_is_at_most_half_a_spacing_away_and_levels_are_evenly_spaced(
    levels: int, fraction: float
) -> None:
    window = Window(2 * US, 12 * US, levels)
    g = full(window.g_min + fraction * window.span, 1)
    level = window.quantise(g)
    spacing = window.span / (levels - 1)
    assert float((level - g).abs()) <= spacing / 2 * (1 + 1e-9)
    steps = float((level - window.g_min) / spacing)
    assert steps == pytest.approx(round(steps), abs=1e-6)


def test_pieces_of_a_curve_hold_in_their_ranges_and_are_clipped() -> None:
    curve = Curve((Piece((0.1, -0.2), "log", 0.15, 0.5, below=0.3), Piece((1.0, 2.0, 3.0))), 10.0)
    z = np.array([0.0, 1e-3, 0.2, 0.29, 0.3, 0.9, 2.0])
    with np.errstate(divide="ignore"):
        low = np.clip(0.1 - 0.2 * np.log(z), 0.15, 0.5)
    expected = np.where(z < 0.3, low, 1 + 2 * z + 3 * z**2)
    np.testing.assert_allclose(curve(torch.from_numpy(10 * z)).numpy(), expected, rtol=1e-12)
    saturating = Curve((Piece((4.0,), "saturating"),), 10.0)(torch.from_numpy(10 * z)).numpy()
    np.testing.assert_allclose(saturating, 4 * (1 - np.exp(-z)), atol=1e-12)


def test_a_scaled_curve_has_scaled_values_and_limits() -> None:
    g = torch.linspace(0.01, 60, 500, dtype=torch.float64) * US
    assert FLICKER.flicker is not None
    for curve in (FLICKER.flicker, DRIFT.exponent, Curve.log(2.0, -0.3, reference=US)):
        torch.testing.assert_close(curve.scaled(3.0)(g), 3 * curve(g))


# Programming


@pytest.mark.parametrize("x", [0.2, 0.6, 1.0])
def test_error_of_a_write_is_the_polynomial(x: float) -> None:
    target = full(25 * US * x)
    written = PROGRAMMING.write(target, seeded(1))
    agrees(written.g - target, 0.0, (0.2 + 1.5 * x - 0.5 * x**2) * US)
    assert bool(written.accepted.all())
    assert bool((written.attempts == 1).all())


def test_attempts_of_write_and_verify_are_geometric_and_results_are_truncated_normal() -> None:
    sigma, width = 2 * US, 1 * US
    target = full(20 * US)
    loop = WriteVerify(Curve.polynomial(sigma), acceptance=0.05, limit=1000)
    g, attempts, accepted = loop.write(target, seeded(2))
    chance = math.erf(width / sigma / math.sqrt(2))
    agrees(attempts.double(), 1 / chance, math.sqrt(1 - chance) / chance)
    truncated = stats.truncnorm(-width / sigma, width / sigma, scale=sigma)
    agrees(g - target, 0.0, float(truncated.std()))
    assert bool(accepted.all())
    assert float((g - target).abs().max()) <= width


def test_write_and_verify_gives_up_after_its_limit_and_says_which() -> None:
    target = full(20 * US, 100_000)
    loop = WriteVerify(Curve.polynomial(2 * US), acceptance_floor=1 * US, limit=3)
    g, attempts, accepted = loop.write(target, seeded(3))
    chance = math.erf(0.5 / math.sqrt(2))
    assert float((~accepted).double().mean()) == pytest.approx((1 - chance) ** 3, rel=0.02)
    assert bool((attempts[~accepted] == 3).all())
    assert bool(((g - target).abs()[~accepted] > 1 * US).all())


# Read noise


@pytest.mark.parametrize("time", [0.0, 1e-6, 20.0, 3.15e7])
def test_a_read_after_time_t_has_the_spread_of_the_formula(time: float) -> None:
    g = 10 * US
    model = DeviceModel(WINDOW, read=FLICKER)
    read = model.program(full(g)).read(time, seeded(4))
    q = 0.0088 * (10 / 25) ** -0.65
    expected = g * q * math.sqrt(max(math.log((time + 250e-9) / 500e-9), 0))
    if expected == 0:
        torch.testing.assert_close(read, full(g))
    else:
        agrees(read, g, expected)


def test_half_the_bandwidth_is_half_the_white_noise_power_and_one_octave_of_flicker() -> None:
    g = full(10 * US, 1)
    white = ReadNoise(white=Curve.polynomial(0.1 * US), bandwidth=1e6)
    ratio = white.sigma(g, 0.0, bandwidth=5e5) / white.sigma(g, 0.0)
    assert float(ratio) == pytest.approx(math.sqrt(0.5), rel=1e-12)
    wide, narrow = (FLICKER.sigma(g, 20.0, bandwidth=b) for b in (2e6, 1e6))
    q = 0.0088 * 0.4**-0.65
    octave = (g * q) ** 2 * math.log(2)
    torch.testing.assert_close(wide**2 - narrow**2, octave, rtol=1e-9, atol=0)
    torch.testing.assert_close(wide, FLICKER.sigma(g, 20.0), rtol=1e-12, atol=0)


def test_series_of_reads_has_the_level_and_the_slope_of_flicker_noise() -> None:
    g, dt, steps = full(10 * US, 61), 1e-4, 16384
    series = FLICKER.series(g, dt, steps, seeded(5))
    f, power = signal.periodogram(series.numpy(), 1 / dt, axis=0, detrend=False)
    inner, mean = slice(1, -1), power.mean(axis=1)
    slope, _ = np.polyfit(np.log(f[inner]), np.log(mean[inner]), 1)
    assert slope == pytest.approx(-1, abs=0.02)
    q = 0.0088 * 0.4**-0.65
    level = float(np.mean(mean[inner] * f[inner]))
    assert level == pytest.approx((10 * US * q) ** 2, rel=0.02)


@pytest.mark.parametrize("steps", [999, 1000])
def test_series_of_white_noise_is_flat_and_fills_its_band(steps: int) -> None:
    noise = ReadNoise(white=Curve.polynomial(0.1 * US), bandwidth=500.0)
    series = noise.series(full(10 * US, 1000), 1e-3, steps, seeded(6))
    agrees(series, 0.0, 0.1 * US * math.sqrt(1 - 1 / steps))
    f, power = signal.periodogram(series.numpy(), 1e3, axis=0, detrend=False)
    mean = power.mean(axis=1)[1:-1] * 500 / (0.1 * US) ** 2
    assert np.polyfit(f[1:-1] / 500, mean, 1) == pytest.approx([0, 1], abs=0.02)


# Telegraph noise


def test_telegraph_noise_has_the_occupancy_and_the_correlation_of_a_two_state_process() -> None:
    noise = RandomTelegraph(amplitude=0.2, time_high=3e-3, time_low=1e-3)
    dt, steps = 5e-4, 100
    series = noise.series((10_000,), dt, steps, seeded(7))
    agrees(series, 1 - 0.2 * 0.25, 0.2 * math.sqrt(0.25 * 0.75))
    centred = series - (1 - 0.2 * 0.25)
    for lag in (1, 3):
        found = float((centred[lag:] * centred[:-lag]).mean() / (centred**2).mean())
        assert found == pytest.approx(math.exp(-lag * dt * (1 / 3e-3 + 1 / 1e-3)), abs=0.02)


def test_telegraph_noise_spares_devices_without_a_trap_and_a_device_keeps_its_trap() -> None:
    model = DeviceModel(
        WINDOW,
        telegraph=RandomTelegraph(amplitude=0.2, time_high=1e-3, time_low=1e-3, fraction=0.25),
    )
    programmed = model.program(full(20 * US, 100_000), seeded(8))
    reads = torch.stack([programmed.read(0.0, seeded(100 + k)) for k in range(20)])
    ever = (reads < 19 * US).any(dim=0)
    assert float(ever.double().mean()) == pytest.approx(0.25, rel=0.02)
    assert torch.unique(reads).tolist() == pytest.approx([16 * US, 20 * US])


# Drift, relaxation, retention, temperature


@pytest.mark.parametrize(("time", "ages"), [(200.0, math.log(10)), (2e7, math.log(1e6))])
def test_exponents_of_the_drift_have_the_mean_and_spread_of_the_curves(
    time: float, ages: float
) -> None:
    programmed = DeviceModel(WINDOW, drift=DRIFT).program(full(20 * US), seeded(10))
    nu = -(programmed.at(time) / (20 * US)).log() / ages
    agrees(nu, 0.05 + 0.02 * 0.8, 0.01)
    for early in (0.0, 20.0):
        torch.testing.assert_close(programmed.at(early), programmed.g)


@pytest.mark.parametrize("time", [10.0, 3.15e8])
def test_relaxation_follows_its_law_in_the_logarithm_of_time(time: float) -> None:
    law = Relaxation(1.0, Curve.log(0.0, -0.089 * US), Curve.log(0.412 * US, 0.042 * US))
    programmed = DeviceModel(WINDOW, drift=law).program(full(30 * US), seeded(11))
    moved = programmed.at(time) - 30 * US
    agrees(moved, -0.089 * US * math.log(time), (0.412 + 0.042 * math.log(time)) * US)
    torch.testing.assert_close(programmed.at(0.5), full(30 * US))


def test_measured_distributions_are_met_at_their_times_and_interpolated_between() -> None:
    snapshots = (
        Snapshot(1.0, Curve.polynomial(0.5 * US)),
        Snapshot(11.0, Curve.polynomial(1.0 * US), Curve.polynomial(-0.4 * US)),
        Snapshot(21.0, Curve.polynomial(1.2 * US), Curve.polynomial(-0.6 * US)),
    )
    model = DeviceModel(
        WINDOW,
        programming=OneShot(Curve.polynomial(0.5 * US)),
        drift=Measured(snapshots),
    )
    programmed = model.program(full(20 * US), seeded(12))
    for time, sigma, shift in ((0, 0.5, 0), (11, 1.0, -0.4), (16, 1.1, -0.5), (21, 1.2, -0.6)):
        agrees(programmed.at(float(time)) - 20 * US, shift * US, sigma * US)
    with pytest.raises(UserError, match=r"time 22 s: .* until 21 s"):
        programmed.at(22.0)


@given(st.floats(0, 1e9), st.floats(0.3, 1.5))
def test_retention_is_a_stretched_exponential_towards_its_level(time: float, beta: float) -> None:
    loss = Retention(time_constant=1e6, level=2 * US, stretch=beta)
    g = loss.at(time, full(30 * US, 3))
    expected = 2 * US + 28 * US * math.exp(-((time / 1e6) ** beta))
    torch.testing.assert_close(g, full(expected, 3), rtol=1e-9, atol=1e-20)


def test_retention_is_lost_faster_in_the_heat_by_arrhenius_law() -> None:
    loss = Retention(time_constant=1e6, activation=1.1, temperature=300.0)
    boltzmann = 1.380649e-23 / 1.602176634e-19
    faster = math.exp(1.1 / boltzmann * (1 / 300 - 1 / 398))
    assert arrhenius(1.1, 398.0, 300.0) == pytest.approx(faster, rel=1e-6)
    hot = float(loss.kept(1e6 / faster, 398.0))
    assert hot == pytest.approx(math.exp(-1), rel=1e-6)


def test_a_read_at_another_temperature_follows_coefficient_and_activation() -> None:
    model = DeviceModel(WINDOW, temperature=Temperature(2e-3, 0.05, reference=300.0))
    programmed = model.program(targets(5, 4))
    boltzmann = 1.380649e-23 / 1.602176634e-19
    factor = (1 + 2e-3 * 50) * math.exp(-0.05 / boltzmann * (1 / 350 - 1 / 300))
    torch.testing.assert_close(programmed.at(temperature=350.0), factor * programmed.g)
    torch.testing.assert_close(programmed.at(), programmed.g)


# Faults and spread


def test_faults_come_in_their_fractions_at_their_conductances() -> None:
    faults = Faults(on=0.05, off=0.1, dead=0.2, at=0.15, conductance=7 * US)
    model = DeviceModel(WINDOW, faults=faults)
    g = model.program(full(20 * US), seeded(13)).g
    for value, fraction in ((41, 0.05), (1, 0.1), (7, 0.15), (20, 0.5)):
        found = (g - value * US).abs() < 1e-12
        assert float(found.double().mean()) == pytest.approx(fraction, rel=0.02)
    dead = g[(torch.stack([(g - v * US).abs() for v in (41, 1, 7, 20)]) > 1e-12).all(dim=0)]
    agrees(dead, 21 * US, 40 * US / math.sqrt(12))


def test_spread_from_device_to_device_stays_and_from_cycle_to_cycle_does_not() -> None:
    model = DeviceModel(WINDOW, spread=Spread(device=0.06, cycle=0.03))
    target = full(20 * US)
    devices = model.fabricate((DRAWS,), seeded(14))
    first, second = (model.program(target, seeded(k), population=devices).g for k in (15, 16))
    agrees(first / target, 1.0, math.sqrt(0.06**2 + 0.03**2))
    agrees((first - second) / target, 0.0, 0.03 * math.sqrt(2))
    agrees((first + second) / target / 2, 1.0, math.sqrt(0.06**2 + 0.03**2 / 2))


def test_known_stuck_cells_hold_their_conductance_whatever_is_written_and_however_long() -> None:
    cells = [StuckCell(0, 2, 0.0), StuckCell(3, 1, 100 * US)]
    model = replace(FULL, telegraph=None, read=None)
    stuck = stuck_cells((5, 4, 3), cells)
    devices = model.fabricate((5, 4, 3), seeded(17), stuck=stuck)
    programmed = model.program(targets(5, 4, 3), seeded(18), population=devices)
    up = programmed.pulse(torch.full((5, 4, 3), 20), seeded(19))
    for g in (programmed.at(0.0), programmed.at(1e6), up.at(10.0)):
        torch.testing.assert_close(g[:, 0, 2], full(0.0, 5))
        torch.testing.assert_close(g[:, 3, 1], full(100 * US, 5))


# A device as a whole


def test_what_is_left_out_is_ideal() -> None:
    target = targets(3, 4, 5)
    programmed = DeviceModel(WINDOW).program(target)
    for g in (programmed.g, programmed.at(1e9), programmed.read(1e9)):
        torch.testing.assert_close(g, target)
    assert DeviceModel(WINDOW).imperfections == ()
    assert FULL.ideal().imperfections == ()
    assert set(FULL.imperfections) == set(IMPERFECTIONS)


def read_and_pulse(model: DeviceModel) -> list[Tensor]:
    programmed = model.program(targets(20, 30), seeded(30))
    counts = torch.randint(-3, 4, (20, 30), generator=seeded(31))
    pulsed = programmed.pulse(counts, seeded(33)).g
    return [programmed.g, programmed.at(1e5), programmed.read(1e5, seeded(32)), pulsed]


def test_the_same_seed_gives_the_same_devices_and_another_seed_others() -> None:
    for a, b in zip(read_and_pulse(FULL), read_and_pulse(FULL), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    other = FULL.program(targets(20, 30), seeded(34)).g
    assert not torch.equal(other, read_and_pulse(FULL)[0])


DRAWN_APART = ("programming noise", "drift", "device spread", "faults", "telegraph noise")


@pytest.mark.parametrize("name", DRAWN_APART)
def test_switching_one_imperfection_off_leaves_the_draws_of_the_others(name: str) -> None:
    with_it = FULL.program(targets(20, 30), seeded(40))
    without = FULL.without(name).program(targets(20, 30), seeded(40))
    assert name not in without.model.imperfections
    pairs: dict[str, tuple[Any, Any]] = {
        "drift": (with_it.hidden, without.hidden),
        "device spread": (with_it.population.gain, without.population.gain),
        "telegraph noise": (with_it.population.trap, without.population.trap),
    }
    assert with_it.population.pulsed is not None
    assert without.population.pulsed is not None
    pairs["pulses"] = (with_it.population.pulsed.step_up, without.population.pulsed.step_up)
    for other, (a, b) in pairs.items():
        if other != name:
            assert torch.equal(a, b), other


def test_imperfections_have_independent_draws() -> None:
    target = full(20 * US, 100_000)
    model = FULL.without("faults", "finite levels")
    array = model.program(target, seeded(51))
    written = PROGRAMMING.write(target, seeded(52)).g
    population, pulsed = array.population, array.population.pulsed
    assert population.gain is not None
    assert population.trap is not None
    assert pulsed is not None
    drawn = [array.hidden, population.gain, population.trap.double(), array.g - target, written]
    drawn += [pulsed.step_up, pulsed.low, pulsed.high, pulsed.slope_up, pulsed.slope_down]
    correlation = np.corrcoef(torch.stack([d for d in drawn if d is not None]).numpy())
    correlation[1, 3] = correlation[3, 1] = 0  # the gain is part of what is written
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 0.02


def test_leading_dimensions_are_arrays_that_differ() -> None:
    target = targets(6, 5).expand(1000, 6, 5)
    g = FULL.without("finite levels").program(target, seeded(41)).at(1e4)
    assert g.shape == (1000, 6, 5)
    assert float(g.std(dim=0).min()) > 0
    halves = g[:500].mean(dim=0), g[500:].mean(dim=0)
    torch.testing.assert_close(*halves, rtol=0.15, atol=0)


def test_times_broadcast_with_the_array() -> None:
    programmed = DeviceModel(WINDOW, drift=DRIFT).program(targets(6, 5), seeded(42))
    times = torch.tensor([0.0, 20.0, 1e3, 1e6]).reshape(4, 1, 1)
    together = programmed.at(times)
    for k, time in enumerate(times.flatten().tolist()):
        torch.testing.assert_close(together[k], programmed.at(time))


def test_reads_repeat_around_moments_that_follow_the_time_asked_for() -> None:
    programmed = DeviceModel(WINDOW, read=FLICKER, drift=DRIFT).program(targets(4, 5), seeded(43))
    generator = seeded(44)
    for time in (1e3, 1e6, 1e3):
        mean, sigma = programmed.moments(time)
        assert sigma is not None
        torch.testing.assert_close(mean, programmed.at(time))
        reads = torch.stack([programmed.read(time, generator) for _ in range(2000)])
        z = (reads - mean) / sigma
        assert float(z.mean()) == pytest.approx(0, abs=0.02)
        assert float(z.std()) == pytest.approx(1, abs=0.02)
    assert programmed.read(1e3, generator, dtype=torch.float32).dtype == torch.float32


def test_no_conductance_below_zero_is_programmed_or_read() -> None:
    noisy = DeviceModel(
        Window(0.0, 40 * US),
        programming=OneShot(Curve.polynomial(20 * US)),
        read=ReadNoise(white=Curve.polynomial(20 * US)),
        drift=Relaxation(1.0, Curve.polynomial(-30 * US)),
    )
    programmed = noisy.program(full(5 * US, 10_000), seeded(45))
    for g in (programmed.g, programmed.at(2.0), programmed.read(2.0, seeded(46))):
        assert float(g.min()) == 0


def test_a_pulse_starts_the_time_anew_from_where_the_device_is() -> None:
    model = DeviceModel(WINDOW, drift=DRIFT, pulses=Pulses(LinearStep(step=0.01)))
    before = model.program(full(20 * US, 50), seeded(47))
    after = before.pulse(torch.full((50,), 10))
    torch.testing.assert_close(after.g, full(20 * US + 0.1 / 2 * WINDOW.span, 50))
    torch.testing.assert_close(after.at(0.0), after.g)
    assert after.hidden is before.hidden


def test_another_device_gives_the_numbers_of_the_processor(device: str) -> None:
    def run(device: str) -> Tensor:
        programmed = FULL.program(targets(20, 30).to(device), seeded(48))
        counts = torch.randint(-3, 4, (20, 30), generator=seeded(31)).to(device)
        after = programmed.pulse(counts, seeded(49))
        return (after.read(1e5, seeded(50)) + programmed.at(1e4)).cpu()

    torch.testing.assert_close(run(device), run("cpu"), rtol=1e-9, atol=1e-15)


# What is refused

RAISES: list[tuple[Callable[[], Any], str]] = [
    (lambda: Window(5e-6, 4e-6), r"g_min = 5e-06 S must stay below g_max = 4e-06 S"),
    (lambda: Window(-1e-6, 4e-6), r"g_min -1e-06 S: must be finite and >= 0 S"),
    (lambda: Window(0.0, math.inf), r"g_max inf S: must be finite and > 0 S"),
    (lambda: Window(0.0, 1e-6, levels=1), r"1 levels: .* 2 or more"),
    (
        lambda: WINDOW.check(torch.tensor([[2e-6, 9e-4]])),
        r"conductance\[0, 1\] 0.0009 S: .*4.1e-05",
    ),
    (lambda: DeviceModel(WINDOW).program(torch.tensor([math.nan])), r"\[0\] nan S: outside"),
    (lambda: WriteVerify(Curve.polynomial(1e-6)), r"without an acceptance window"),
    (lambda: WriteVerify(Curve.polynomial(1e-6), 0.1, limit=0), r"0 attempts.*1 or more"),
    (lambda: WriteVerify(Curve.polynomial(1e-6), -0.1), r"acceptance -0.1: .*>= 0 and <= 1"),
    (lambda: ReadNoise(Curve.polynomial(0.1)), r"read_time"),
    (lambda: ReadNoise(Curve.polynomial(0.1), -1.0), r"read_time -1 s: must be finite and > 0 s"),
    (lambda: FLICKER.sigma(full(1e-5, 2), -1.0), r"time -1 s: must be finite and >= 0 s"),
    (lambda: FLICKER.sigma(full(1e-5, 2), 1.0, bandwidth=0.0), r"bandwidth 0 Hz: .* > 0 Hz"),
    (
        lambda: ReadNoise(white=Curve.polynomial(1e-7)).sigma(full(1e-5, 2), 1.0, bandwidth=1e3),
        r"bandwidth 1000 Hz: .*no bandwidth",
    ),
    (lambda: FLICKER.series(full(1e-5, 2), 0.0, 10, seeded(0)), r"dt 0 s: .*> 0 s"),
    (lambda: FLICKER.series(full(1e-5, 2), 1.0, 1, seeded(0)), r"1 steps.*2 or more"),
    (
        lambda: RandomTelegraph(amplitude=1.5, time_high=1.0, time_low=1.0),
        r"amplitude 1.5: .*>= 0 and <= 1",
    ),
    (
        lambda: RandomTelegraph(amplitude=0.5, time_high=0.0, time_low=1.0),
        r"time_high 0 s: .*> 0 s",
    ),
    (lambda: PowerLawDrift(Curve.polynomial(0.1), 0.0), r"start of the drift 0 s: .*> 0 s"),
    (lambda: Measured((Snapshot(1.0), Snapshot(1.0))), r"times of snapshots \[1.0, 1.0\] s"),
    (lambda: Retention(time_constant=-1.0), r"time_constant -1 s: .*> 0 s"),
    (lambda: Retention(time_constant=1.0).kept(math.nan), r"time nan s: must be finite and >= 0 s"),
    (lambda: arrhenius(1.0, 0.0, 300.0), r"temperature 0 K: .*> 0 K"),
    (lambda: Temperature(coefficient=-0.01).factor(400.0), r"temperature 400 K: .*around 300 K"),
    (lambda: Faults(on=0.7, off=0.6), r"sum of the fractions 1.3"),
    (lambda: Faults(at=0.1), r"give `conductance`"),
    (lambda: Spread(device=-0.1), r"device to device -0.1"),
    (
        lambda: stuck_cells((4, 3), [StuckCell(4, 0, 1e-6)]),
        r"stuck cell \(4, 0\) is outside of the array of 4 x 3; rows 0..3 and columns 0..2",
    ),
    (lambda: stuck_cells((4, 3), [StuckCell(0, -1, 1e-6)]), r"stuck cell \(0, -1\) is outside"),
    (lambda: stuck_cells((4, 3), [StuckCell(0, 0, -1e-6)]), r"\(0, 0\) -1e-06 S: .*>= 0 S"),
    (lambda: Pulses(LinearStep(step=0.0)), r"step 0: .*> 0"),
    (lambda: Pulses(SoftBounds(0.1), w_min=0.0, w_max=1.0), r"soft bounds need w_min < 0 < w_max"),
    (
        lambda: Pulses(
            Exponential(pulses_up=9, pulses_down=9, curvature_up=1, curvature_down=1),
            w_min=-1,
            w_max=1,
        ),
        r"from w_min = 0 to w_max = 1",
    ),
    (lambda: LinearStep(step=0.1, gamma_up=0.5, w_min=0.0), r"w_min < 0 < w_max, not 0 and 1"),
    (lambda: Pulses(LinearStep(step=0.1), dead_pulses=1.5), r"dead_pulses 1.5: .*>= 0 and <= 1"),
    (
        lambda: Pulses(LinearStep(step=0.1), w_min=1.0, w_max=1.0),
        r"w_min = 1 must stay below w_max = 1",
    ),
    (lambda: Curve((Piece((1.0,), below=0.1),)), r"pieces of a curve"),
    (lambda: Piece((1.0,), "cubic"), r"unknown form 'cubic'.*polynomial"),
    (lambda: Piece((1.0,), "power"), r"1 coefficients.*2 must be given"),
    (lambda: Curve.polynomial(1.0, reference=0.0), r"reference of a curve 0: .*> 0"),
    (lambda: FULL.without("gravity"), r"unknown imperfection 'gravity'.*drift"),
    (lambda: FULL.program(targets(3)), r"give a torch.Generator"),
    (
        lambda: FULL.program(targets(3), seeded(0), population=FULL.fabricate((4,), seeded(0))),
        r"targets of \(3,\) for a population of \(4,\)",
    ),
]


@pytest.mark.parametrize("call", RAISES, ids=[pattern for _, pattern in RAISES])
def test_a_value_that_makes_no_device_is_refused_and_named(
    call: tuple[Callable[[], Any], str],
) -> None:
    with pytest.raises(UserError, match=call[1]):
        call[0]()


@pytest.mark.parametrize("model", [DeviceModel(WINDOW), FULL], ids=["ideal", "full"])
@pytest.mark.parametrize("time", [-1.0, math.nan, math.inf])
def test_no_device_is_read_at_a_time_that_cannot_be(model: DeviceModel, time: float) -> None:
    programmed = model.program(targets(3), seeded(0))
    with pytest.raises(UserError, match=r"time (-1|nan|inf) s: must be finite and >= 0 s"):
        programmed.at(time)
    with pytest.raises(UserError, match=r"time (-1|nan|inf) s: must be finite and >= 0 s"):
        programmed.read(time, seeded(0))


def test_pulses_are_refused_where_there_are_none_or_where_they_do_not_fit() -> None:
    with pytest.raises(UserError, match=r"no pulsed update"):
        DeviceModel(WINDOW).program(targets(3)).pulse(torch.ones(3))
    programmed = FULL.program(targets(3), seeded(0))
    with pytest.raises(UserError, match=r"pulses for \(4,\) devices on an array of \(3,\)"):
        programmed.pulse(torch.ones(4, dtype=torch.int64), seeded(0))
    with pytest.raises(UserError, match=r"must be integers"):
        programmed.pulse(torch.tensor([0.5, 1.0, 1.0]), seeded(0))
    with pytest.raises(UserError, match=r"a pulse draws random numbers"):
        programmed.pulse(torch.ones(3, dtype=torch.int64))
    with pytest.raises(UserError, match=r"a read draws random numbers"):
        programmed.read(1.0)


def test_programming_is_an_interface_that_users_can_fill() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Programming()  # type: ignore[abstract]


@pytest.mark.parametrize(
    "kind", [torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64]
)
def test_a_type_that_holds_no_conductance_is_refused(kind: torch.dtype) -> None:
    model = DeviceModel(Window(0.0, 1.0))
    target = torch.ones(2).to(kind)
    said = f"of the type {str(kind).removeprefix('torch.')}, which can't hold conductances"
    with pytest.raises(UserError, match=f"target conductance: {said}"):
        model.program(target)
    with pytest.raises(UserError, match=f"conductance: {said}"):
        model.window.check(target)
    with pytest.raises(UserError, match=f"devices: {said}"):
        model.fabricate((2,), torch.Generator(), dtype=kind)
