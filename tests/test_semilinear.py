"""Stiff systems and their equilibria against closed forms, SciPy and autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import root
from strategies import autograd_jacobian, normal, seeds
from torch import Tensor

from analogdfc.dynamics.esdirk import ESDIRK
from analogdfc.dynamics.semilinear import Channels, Semilinear, deadzone
from analogdfc.errors import ConvergenceError

Array = NDArray[np.float64]


def channels_of(
    tanh: int,
    index: Sequence[int] = (),
    row: Sequence[int] = (),
    gain: Sequence[float] = (),
    sign: Sequence[float] = (),
    offset: Sequence[float] = (),
    scale: Sequence[float] = (),
) -> Channels:
    numbers = gain, sign, offset, scale
    values = (torch.tensor([list(v)], dtype=torch.float64)[..., None] for v in numbers)
    places = (torch.tensor(list(p), dtype=torch.int64) for p in (index, row))
    return Channels(tanh, *places, *values)


LINEAR = channels_of(0)


def system_of(
    linear: Array, constant: Array, channels: Channels = LINEAR, mass: Array | None = None
) -> Semilinear:
    """One chip; `constant` is (n,) or (batch, n)."""
    return Semilinear.whole(
        torch.from_numpy(np.eye(len(linear)) if mass is None else mass)[None],
        torch.from_numpy(np.asarray(linear, dtype=float))[None],
        torch.from_numpy(np.atleast_2d(np.asarray(constant, dtype=float)))[None],
        channels,
    )


def start_at(*z: float) -> Tensor:
    return torch.tensor([[list(z)]], dtype=torch.float64)


def waveforms(
    system: Semilinear, start: Tensor, spacing: float, steps: int, tolerance: float
) -> Array:
    """States at 0, spacing, ..., (T, batch, n), of the first chip."""
    states = ESDIRK(tolerance).run(system, start, spacing, steps)
    return torch.cat([z[:, 0] for z in states]).numpy()


# The nonlinear channels


def test_the_deadzone_is_what_lies_beyond_the_unit_interval() -> None:
    z = torch.tensor([-3.0, -1.0, -0.5, 0.0, 1.0, 1.25])
    assert deadzone(z).tolist() == [-2.0, 0.0, 0.0, 0.0, 0.0, 0.25]


def test_a_channel_worked_by_hand() -> None:
    # 2 tanh((-z_1 + 0.5) / 4) into row 0; 3 deadzone((z_0 + 1) / 2) into row 1.
    channels = channels_of(1, [1, 0], [0, 1], [2, 3], [-1, 1], [0.5, 1], [4, 2])
    system = system_of(np.array([[0.0, 5.0], [0.0, 0.0]]), np.array([10.0, 20.0]), channels)
    slope = system.slope(start_at(3.0, 1.5))[0, 0].tolist()
    assert slope == pytest.approx([10 + 7.5 + 2 * math.tanh(-0.25), 20 + 3 * (2 - 1)], rel=1e-14)


@st.composite
def semilinear_systems(draw: st.DrawFn, stable: bool = False) -> Semilinear:
    """Systems of up to four unknowns with tanh and deadzone channels anywhere among them."""
    n, tanh, other = draw(st.integers(1, 4)), draw(st.integers(0, 3)), draw(st.integers(0, 2))
    seed = draw(seeds())
    rng, m = np.random.default_rng(seed), tanh + other
    linear = rng.normal(size=(n, n))
    gain = rng.normal(size=m)
    if stable:
        # The linear part outweighs the channels, so that there is exactly one equilibrium.
        linear, gain = -linear @ linear.T - np.eye(n) * (1 + m), np.tanh(gain)
    channels = channels_of(
        tanh,
        rng.integers(n, size=m).tolist(),
        rng.integers(n, size=m).tolist(),
        gain.tolist(),
        rng.choice([-1.0, 1.0], size=m).tolist(),
        rng.normal(size=m).tolist(),
        (1 + rng.random(size=m)).tolist(),
    )
    return system_of(linear, 3 * rng.normal(size=(2, n)), channels)


def slope_at(system: Semilinear, z: Tensor) -> Tensor:
    return system.slope(z[None, None])[0, 0]


@given(semilinear_systems(), seeds())
def test_the_jacobian_is_that_of_autograd(system: Semilinear, seed: int) -> None:
    n = len(system.linear.layout.order)
    z = 2 * normal(seed, 1, 2, n)
    for sample, jacobian in enumerate(system.jacobian(z)[0]):
        one = replace(system, constant=system.constant[..., sample : sample + 1])
        exact = autograd_jacobian(partial(slope_at, one), z[0, sample])
        torch.testing.assert_close(jacobian, exact, rtol=1e-12, atol=1e-13)


# Equilibria


@given(semilinear_systems(stable=True), seeds())
def test_an_equilibrium_is_the_root_that_scipy_finds(system: Semilinear, seed: int) -> None:
    n = len(system.linear.layout.order)
    z = system.equilibrium(3 * normal(seed, 1, 2, n))

    def residual(v: Array) -> Array:
        return np.asarray(system.slope(torch.from_numpy(v).view(1, 2, n)).flatten().numpy())

    found = root(residual, np.zeros(2 * n), method="lm", options={"xtol": 1e-14, "ftol": 1e-14})
    np.testing.assert_allclose(z.flatten().numpy(), found.x, rtol=1e-8, atol=1e-9)


def test_an_equilibrium_against_a_rail_worked_by_hand() -> None:
    # 0 = -z + 12 - 10 deadzone(z): z = 1 + 11 / 11.
    system = system_of(-np.eye(1), np.array([12.0]), channels_of(0, [0], [0], [-10], [1], [0], [1]))
    assert system.equilibrium(start_at(0.0)).item() == pytest.approx(2.0, rel=1e-13)


def test_newtons_method_survives_saturated_starts() -> None:
    # 0 = 2 - 4 tanh(z) - z / 1000, from where the slope of tanh is nothing.
    system = system_of(
        -np.eye(1) / 1000, np.array([2.0]), channels_of(1, [0], [0], [-4], [1], [0], [1])
    )
    for start in (-30.0, 0.0, 30.0):
        z = system.equilibrium(start_at(start)).item()
        assert 4 * math.tanh(z) + z / 1000 == pytest.approx(2.0, rel=1e-12)


def test_too_few_iterations_are_an_error_and_no_number() -> None:
    system = system_of(-np.eye(1), np.array([3.0]), channels_of(1, [0], [0], [2], [1], [0], [1]))
    assert math.isfinite(system.equilibrium(start_at(0.0)).item())
    with pytest.raises(ConvergenceError, match=r"no operating point in 2 iterations.*residual"):
        system.equilibrium(start_at(-5.0), iterations=2)


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_system_without_equilibrium_is_an_error_of_convergence(start: float) -> None:
    # 0 = tanh(z) - 2: the iteration runs away until the slope is exactly 0.
    system = system_of(
        np.zeros((1, 1)), np.array([-2.0]), channels_of(1, [0], [0], [1], [1], [0], [1])
    )
    with pytest.raises(ConvergenceError, match="operating point"):
        system.equilibrium(start_at(start))


@pytest.mark.parametrize("start", [0.0, 1.5])
def test_a_kink_with_a_residual_is_no_equilibrium(start: float) -> None:
    # 0 = 100.05 - 100 z + 200 deadzone(z) has one root, -3.0005; at z = 1 the residual is least
    # on this side, 0.05.
    channels = channels_of(0, [0], [0], [200], [1], [0], [1])
    system = system_of(-100 * np.eye(1), np.array([100.05]), channels)
    assert system.equilibrium(start_at(-5.0)).item() == pytest.approx(-3.0005, rel=1e-12)
    try:
        found = system.equilibrium(start_at(start)).item()
    except ConvergenceError:
        return
    assert found == pytest.approx(-3.0005, rel=1e-12)


# Trajectories


@given(st.integers(1, 4), seeds())
@settings(max_examples=15)
def test_a_linear_system_follows_the_matrix_exponential(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    linear = rng.normal(size=(n, n))
    linear -= (np.linalg.eigvals(linear).real.max() + 0.5) * np.eye(n)
    constant, start = rng.normal(size=n), rng.normal(size=n)
    found = waveforms(system_of(linear, constant), start_at(*start), 0.25, 8, 1e-8)[:, 0]
    rest = -np.linalg.solve(linear, constant)
    exact = [rest + expm(linear * k * 0.25) @ (start - rest) for k in range(9)]
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5)


def test_an_oscillation_keeps_its_amplitude_and_phase() -> None:
    # One period of an undamped oscillator, on which backward Euler would decay.
    system = system_of(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.zeros(2))
    found = waveforms(system, start_at(1.0, 0.0), math.pi / 4, 8, 1e-9)[:, 0]
    t = np.arange(9) * math.pi / 4
    np.testing.assert_allclose(found, np.stack([np.cos(t), -np.sin(t)], 1), rtol=0, atol=1e-5)


def test_a_ramp_into_a_rail_is_its_closed_form() -> None:
    # dz/dt = 1 - 10 deadzone(z): z = t up to 1, then 1 + (1 - exp(-10 (t - 1))) / 10.
    system = system_of(
        np.zeros((1, 1)), np.array([1.0]), channels_of(0, [0], [0], [-10], [1], [0], [1])
    )
    found = waveforms(system, start_at(0.0), 0.1, 20, 1e-8)[:, 0, 0]
    t = np.arange(21) * 0.1
    exact = np.where(t < 1, t, 1 + (1 - np.exp(-10 * (t - 1))) / 10)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("there", [1, 4])
def test_samples_against_a_rail_take_none_to_factors_of_its_own(
    there: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two unknowns with rails of a slope of 3000, which pull the others; some samples of six get
    # there, at different times.
    rng = np.random.default_rng(5)
    linear = rng.normal(size=(4, 4))
    linear = -linear @ linear.T - np.eye(4)
    steep = [-3e3, -3e3]
    channels = channels_of(0, [0, 1], [0, 1], steep, [1, 1], [0, 0], [1, 1])
    pushed = np.array([[30.0, -20.0, 1.0, 0.0], [24, 3, 0, 0], [-40, -25, 0, 1], [0, 30, 0, 0]])
    constant = np.concatenate([0.2 * rng.normal(size=(6 - there, 4)), pushed[:there]])
    system, start = system_of(linear, constant, channels), torch.zeros(1, 6, 4).double()

    def refused(*arguments: object) -> Tensor:
        raise AssertionError("a factor a sample")

    monkeypatch.setattr("analogdfc.dynamics.implicit.Implicit._by_newton", refused)
    found = waveforms(system, start, 0.1, 10, 1e-8)

    def slope(t: float, z: Array, b: Array) -> Array:
        pull = np.array(steep) * (z[:2] - np.clip(z[:2], -1, 1))
        return np.asarray(linear @ z + b + np.concatenate([pull, np.zeros(2)]))

    for sample, b in enumerate(constant):
        known = solve_ivp(
            slope, (0, 1), np.zeros(4), "Radau", np.linspace(0, 1, 11), args=(b,), rtol=1e-10,
            atol=1e-12,
        )  # fmt: skip
        np.testing.assert_allclose(found[:, sample], known.y.T, atol=3e-7)
    largest = np.abs(found[-1, :, :2]).max(axis=1)
    assert largest[: 6 - there].max() < 1 < largest[6 - there :].min()


FAST = 1e4
STIFF = np.array([[-FAST, 0.3 * FAST, 0.0], [0.5, -1.0, 0.4], [0.0, 200.0, -300.0]])
STIFF_CHANNELS = channels_of(2, [1, 0], [0, 1], [0.2 * FAST, -1.5], [1, -1], [0.3, 0.0], [0.5, 0.2])


def stiff_slope(_: float, z: Array) -> Array:
    """The same system, written out."""
    more = [0.2 * FAST * np.tanh((z[1] + 0.3) / 0.5), -1.5 * np.tanh(-z[0] / 0.2), 0.0]
    return np.asarray(STIFF @ z + np.array([0.0, 0.3, 20.0]) + more)


@cache
def stiff_solution() -> Array:
    """At 0, 0.2, ..., 1.2, (T, 3)."""
    start, times = [1.0, -1.0, 0.5], np.linspace(0.0, 1.2, 7)
    out = solve_ivp(stiff_slope, (0, 1.2), start, "Radau", t_eval=times, rtol=1e-9, atol=1e-10)
    assert out.success
    return np.asarray(out.y.T)


def stiff_error(tolerance: float) -> float:
    system = system_of(STIFF, np.array([0.0, 0.3, 20.0]), STIFF_CHANNELS)
    found = waveforms(system, start_at(1.0, -1.0, 0.5), 0.2, 6, tolerance)[:, 0]
    return float(np.abs(found - stiff_solution())[1:].max())


def test_a_stiff_system_with_saturating_channels_is_what_radau_finds() -> None:
    assert stiff_error(1e-7) < 5e-6
    assert np.abs(np.diff(stiff_solution(), axis=0)).max() > 0.3


def test_the_error_of_an_oscillation_follows_the_tolerance() -> None:
    # The estimate goes with h^4, and so does the error of a method of fourth order in sum.
    system = system_of(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.zeros(2))
    exact = [math.cos(20), -math.sin(20)]
    tolerances = 1e-5 / 16.0 ** np.arange(4)
    errors = [
        np.abs(waveforms(system, start_at(1.0, 0.0), 10.0, 2, t)[-1, 0] - exact).max()
        for t in tolerances
    ]
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert slope == pytest.approx(1, abs=0.25)  # steps are halved, so that errors come in leaps


def test_the_error_of_a_stiff_system_follows_the_tolerance() -> None:
    # Stages of second order leave no more than the third order to what is stiff.
    tolerances = 1e-5 / 8.0 ** np.arange(4)
    slope = np.polyfit(np.log(tolerances), np.log([stiff_error(t) for t in tolerances]), 1)[0]
    assert 0.6 < slope < 1.1


def test_an_algebraic_unknown_is_consistent_at_once_and_ever_after() -> None:
    # dz_0/dt = -z_0 + z_1, 0 = 1 - z_1 - 0.5 tanh(z_0).
    system = system_of(
        np.array([[-1.0, 1.0], [0.0, -1.0]]),
        np.array([0.0, 1.0]),
        channels_of(1, [0], [1], [-0.5], [1], [0], [1]),
        np.diag([1.0, 0.0]),
    )
    found = waveforms(system, start_at(2.0, 77.0), 0.25, 12, 1e-9)[:, 0]
    exact = solve_ivp(
        lambda _, z: -z + 1 - 0.5 * np.tanh(z),
        (0, 3),
        [2.0],
        "DOP853",
        t_eval=np.linspace(0, 3, 13),
        rtol=1e-11,
        atol=1e-12,
    )
    np.testing.assert_allclose(found[:, 0], exact.y[0], rtol=0, atol=2e-6)
    # Between steps a state comes from a polynomial, in which the constraint holds nearly.
    np.testing.assert_allclose(found[:, 1], 1 - 0.5 * np.tanh(found[:, 0]), rtol=0, atol=1e-7)
    np.testing.assert_allclose(found[0, 1], 1 - 0.5 * np.tanh(found[0, 0]), rtol=0, atol=1e-12)


def test_a_mass_that_couples_the_unknowns() -> None:
    # (1, 1; 0, 0) z' and a constraint, as a capacitor between two nodes: z_0 + z_1 relaxes.
    system = system_of(
        np.array([[-1.0, 0.0], [1.0, -1.0]]),
        np.array([0.0, 0.0]),
        mass=np.array([[1.0, 1.0], [0.0, 0.0]]),
    )
    found = waveforms(system, start_at(1.0, 1.0), 0.5, 6, 1e-9)[:, 0]
    exact = np.exp(-0.5 * np.arange(7) * 0.5)
    np.testing.assert_allclose(found, np.stack([exact, exact], 1), rtol=0, atol=2e-6)


def test_chips_and_samples_run_together_as_each_runs_alone() -> None:
    rng = np.random.default_rng(4)
    chips, batch, n = 2, 3, 2
    parts = {"mass": [], "linear": [], "constant": []}  # type: dict[str, list[Array]]
    for _ in range(chips):
        parts["mass"].append(np.diag(rng.uniform(0.01, 2, n)))
        parts["linear"].append(-np.eye(n) * rng.uniform(1, 30) + rng.normal(size=(n, n)) / 3)
        parts["constant"].append(rng.normal(size=(batch, n)))
    gain, scale = normal(5, chips, 2, 1), 0.5 + normal(6, chips, 2, 1).abs()
    channels = Channels(
        1, torch.tensor([0, 1]), torch.tensor([1, 0]), gain, torch.ones_like(gain), 0 * gain, scale
    )
    stacked = {name: torch.from_numpy(np.stack(values)) for name, values in parts.items()}
    start = normal(7, chips, batch, n)
    system = Semilinear.whole(**stacked, channels=channels)
    together = torch.cat(list(ESDIRK(1e-7).run(system, start, 0.1, 5)))
    for c in range(chips):
        own = channels._replace(
            **{name: getattr(channels, name)[c : c + 1] for name in channels._fields[3:]}
        )
        for b in range(batch):
            system = system_of(parts["linear"][c], parts["constant"][c][b], own, parts["mass"][c])
            alone = waveforms(system, start[c : c + 1, b : b + 1], 0.1, 5, 1e-7)
            np.testing.assert_allclose(together[:, c, b], alone[:, 0], rtol=0, atol=2e-5)


def test_the_memory_layout_of_the_matrix_does_not_matter() -> None:
    linear = np.array([[-1.0, 2.0], [0.5, -3.0]])
    channels = channels_of(1, [0], [1], [2], [1], [0.1], [1])
    rows = system_of(linear, np.ones(2), channels)
    columns = system_of(np.asfortranarray(linear), np.ones(2), channels)
    one, other = (waveforms(s, start_at(0.0, 0.0), 1.0, 2, 1e-8) for s in (rows, columns))
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_a_step_that_would_have_to_vanish_is_an_error_with_its_time() -> None:
    system = system_of(STIFF, np.array([0.0, 0.3, 20.0]), STIFF_CHANNELS)
    with pytest.raises(ConvergenceError, match="time step too small at t = 0"):
        waveforms(system, start_at(1.0, -1.0, 0.5), 0.2, 1, 1e-30)


def test_a_start_that_is_no_number_is_an_error() -> None:
    system = system_of(STIFF, np.array([0.0, 0.3, 20.0]), STIFF_CHANNELS)
    with pytest.raises(ConvergenceError, match="no consistent state"):
        waveforms(system, start_at(math.nan, 0.0, 0.0), 0.2, 1, 1e-6)
