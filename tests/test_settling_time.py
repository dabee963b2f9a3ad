"""Settling is predicted from the linearised loop: its modes, their waveforms, what limits them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from analogdfc.analysis.settling import (
    BANDWIDTH,
    FEEDBACK,
    K_P,
    PARAMETERS,
    TAU_U,
    TAU_V,
    WIRES,
    observed,
    predict,
    terminals,
)
from analogdfc.analysis.settling.modes import Spectrum
from analogdfc.analysis.settling.rational import Modal, poles
from analogdfc.analysis.settling.transfer import LoopTransfer, OperatingPoint
from analogdfc.analysis.stability import critical_bandwidth, slowest_mode
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.scaling import with_bandwidth
from analogdfc.circuit.static import StaticChip
from analogdfc.controller import PI
from analogdfc.dynamics import Readings, Trajectory
from analogdfc.errors import ConvergenceError, UserError
from benchmarks._measure import Case, case
from benchmarks.circuits import CIRCUITS, Kind
from benchmarks.settling import BAR, CHIP, measure

Complex = NDArray[np.complex128]

# Layer sizes, seed of the network, k_p, gain-bandwidth times tau_v.
LOOPS = [
    ((3, 4, 2), 0, 2.0, 100.0),
    ((3, 4, 2), 1, 5.0, 30.0),
    ((3, 4, 4, 2), 4, 5.0, 5.0),
    ((2, 3), 3, 0.0, 10.0),
    ((4, 1), 5, 2.0, 30.0),
    ((16, 10, 10), 0, 2.0, 30.0),
]
UNSTABLE = [((3, 4, 2), 1, 5.0, 4.0), ((3, 4, 4, 2), 4, 5.0, 2.0)]


def made(sizes: tuple[int, ...], seed: int, k_p: float, product: float, samples: int = 1) -> Case:
    return case(sizes, seed, samples, controller=PI(k_p=k_p)).at_bandwidth(product)


def transfer(here: Case, seed: int | None = CHIP) -> LoopTransfer:
    chip = Chip.of(here.design, seed)
    state = StaticChip.of(chip).solve(here.x, here.step)
    return LoopTransfer(chip, OperatingPoint.of(state))


def dense(here: Case) -> Complex:
    modes = Behavioural([Chip.of(here.design, CHIP)]).modes(here.x, here.step)[0][0]
    return np.asarray(modes / here.design.seconds, dtype=np.complex128)


# The linearised loop


@pytest.mark.parametrize(("sizes", "seed", "k_p", "product"), LOOPS)
def test_the_slowest_mode_is_that_of_all_nodal_equations(
    sizes: tuple[int, ...], seed: int, k_p: float, product: float
) -> None:
    here = made(sizes, seed, k_p, product)
    spectrum = Spectrum(transfer(here))
    assert spectrum.unstable == 0
    expected = dense(here)
    found = spectrum.modes().values
    assert found[0].real == pytest.approx(expected[0].real, rel=1e-5)
    for value in found:
        assert np.abs(expected - value).min() < 1e-5 * abs(value)


@pytest.mark.parametrize("kind", CIRCUITS, ids=lambda kind: kind.name)
def test_every_controller_and_neuron_has_the_modes_of_its_nodal_equations(kind: Kind) -> None:
    here = kind.case((3, 4, 2), 1, 1)
    spectrum = Spectrum(transfer(here))
    assert spectrum.unstable == 0
    expected = dense(here)
    found = spectrum.modes().values
    for value in found:
        assert np.abs(expected - value).min() < 1e-5 * abs(value)
    # Four hidden neurons, two channels: what no channel moves has tau_v, and rests.
    slower = expected[expected.real > found[0].real * (1 - 1e-5)]
    assert np.abs(slower * here.design.tau_v_seconds + 1).max(initial=0) < 0.02


@pytest.mark.parametrize("kind", CIRCUITS, ids=lambda kind: kind.name)
def test_every_signal_of_every_controller_and_neuron_follows_the_release(kind: Kind) -> None:
    follows_the_release(kind.case((3, 4, 2), 1, 1))


@pytest.mark.parametrize(("sizes", "seed", "k_p", "product"), UNSTABLE)
def test_unstable_modes_are_counted_and_found(
    sizes: tuple[int, ...], seed: int, k_p: float, product: float
) -> None:
    here = made(sizes, seed, k_p, product)
    spectrum, expected = Spectrum(transfer(here)), dense(here)
    assert spectrum.unstable == (expected.real > 0).sum() > 0
    assert spectrum.modes().values[0].real == pytest.approx(expected[0].real, rel=1e-5)


def test_every_signal_follows_the_release_as_all_nodal_equations_say() -> None:
    follows_the_release(made((3, 4, 4, 2), 1, 2.0, 30.0))


def follows_the_release(here: Case) -> None:
    """Transforms of all outputs against those of the dense equations."""
    loop = transfer(here)
    model = Behavioural([loop.chip])
    release = model.release(here.x, here.step)
    system = release.system
    rest = system.equilibrium(model.model.relaxed(system).equilibrium(release.free))
    jacobian, mass = system.jacobian(rest)[0, 0].numpy(), system.mass.dense()[0].numpy()
    left = mass @ (release.free - rest)[0, 0].numpy()
    s = 1e3 + 1j * np.array([1e4, 3e5, 1e7, 4e8])
    found = loop.response(s)
    for k in range(len(s)):
        whole = np.linalg.solve(s[k] * mass - jacobian, left)[model.model.outputs]
        for name in loop.chip.circuit.bank:
            expected = whole[model.model.nodal[0].bank(name)]
            limit = max(np.abs(expected).max(), 1e-3 * np.abs(whole).max())
            assert np.abs(found[name][0, k] - expected).max() < 1e-3 * limit, name


def test_a_gain_that_loads_lower_is_lower_in_every_mode() -> None:
    here = made((3, 4, 2), 1, 2.0, 30.0)
    weak = here.on(here.design.card.replace("amplifier", gain=3e3, stage_resistance=2e5))
    found, expected = Spectrum(transfer(weak)).modes().values, dense(weak)
    for value in found:
        assert np.abs(expected - value).min() < 1e-5 * abs(value)
    without = dense(here.on(here.design.card.replace("amplifier", gain=3e3)))
    assert np.abs(without - found[0]).min() > 1e-3 * abs(found[0])
    follows_the_release(weak)


def test_weak_outputs_couple_the_stages_backwards() -> None:
    here = made((3, 4, 2), 1, 5.0, 30.0)
    weak = here.on(here.design.card.replace("amplifier", output_resistance=2e4))
    loop, expected = transfer(weak), dense(weak)
    found = Spectrum(loop).modes().values
    assert found[0].real == pytest.approx(expected[0].real, rel=1e-5)
    # An oscillating mode, far from rest.
    strong = dense(here)
    fast = expected[expected.imag > 0][:2]
    assert np.abs(strong[:, None] - fast).min() > 0.02 * np.abs(fast).max()
    det = np.linalg.det(np.eye(2) + loop.loop_gain(np.concatenate([fast, 1.01 * fast]))[0])
    assert np.abs(det[:2] / det[2:]).max() < 1e-3


def test_a_large_crossbar_is_simplified_without_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    here = made((6, 20, 20, 4), 0, 2.0, 30.0)
    wired = here.on(here.design.card.replace("wire", word=20.0, bit=20.0))
    exact = Spectrum(transfer(wired)).modes().values
    monkeypatch.setattr(terminals, "_EXACT_CELLS", 0)
    simple = Spectrum(transfer(wired)).modes().values
    assert simple[0] == pytest.approx(exact[0], rel=1e-3)


def test_outputs_that_cannot_drive_their_load_are_an_error() -> None:
    here = made((3, 4, 2), 0, 2.0, 100.0)
    weak = here.on(here.design.card.replace("amplifier", output_resistance=1e6))
    with pytest.raises(ConvergenceError, match=r"\[amplifier\] output_resistance is too large"):
        transfer(weak).loop_gain(np.array([1e3 + 1e8j]))


# One neuron, where everything is known


K, ALPHA, Q, W = 2.0, 0.01, 0.8, 0.7


def neuron() -> tuple[Case, NDArray[np.float64]]:
    """One linear neuron of ideal parts, and the roots of tau_v (alpha + s)(1 + s) + Q (1 + k s)."""
    here = case((1, 1), 0, 1, controller=PI(k_p=K, alpha=ALPHA))
    one = torch.ones(1, 1, dtype=torch.float64)
    design = replace(
        here.design,
        weights=(W * one,),
        biases=(0 * one[0],),
        feedback=(Q * one,),
        card=here.design.card.ideal(),
    )
    tau = design.tau_v
    roots = np.roots([tau, 1 + tau * ALPHA + Q * K, ALPHA + Q])
    return replace(here, design=design, x=one, step=0.1 * one), np.sort(roots.real)[::-1]


def test_one_neuron_settles_as_its_quadratic_equation_says() -> None:
    here, roots = neuron()
    found = predict(here.design, None, here.x, here.step)
    seconds = here.design.seconds
    assert found.slowest.item() * seconds == pytest.approx(roots[0], rel=1e-6)
    # u - u_rest from u(0+) = k_p e and du/dt(0+) = e (1 - alpha k_p) + k_p de/dt.
    e = 0.1
    rest = e / (ALPHA + Q)
    slope = e * (1 - ALPHA * K) - K * Q * K * e / here.design.tau_v
    start = K * e - rest
    a, b = np.linalg.solve(np.stack([np.ones(2), roots]), np.array([start, slope]))
    assert found.dominated.item()
    expected = math.log(abs(a) / (0.02 * rest)) / -roots[0]
    assert found.time.item() / seconds == pytest.approx(expected, rel=1e-4)
    both = brentq(lambda t: abs(a * math.exp(roots[0] * t) + b * math.exp(roots[1] * t))
                  - 0.02 * rest, expected - 1, expected + 1)  # fmt: skip
    assert found.time_of_modes.item() / seconds == pytest.approx(both, rel=1e-4)


def test_a_rest_that_the_dynamics_do_not_reach_is_no_prediction() -> None:
    here = case((3, 4, 2), 0, 2)
    state = StaticChip.of(Chip.of(here.design)).solve(here.x, here.step, reached=False)
    assert state.reached.all()
    predict(here.design, None, here.x, here.step, limits=False, state=state)
    elsewhere = replace(state, reached=torch.tensor([True, False]))
    with pytest.raises(ConvergenceError, match=r"sample 1 .* the dynamics don't go there"):
        predict(here.design, None, here.x, here.step, limits=False, state=elsewhere)


def test_one_neuron_has_the_margins_of_its_loop_gain() -> None:
    here, _ = neuron()
    found = predict(here.design, None, here.x, here.step)

    def gain(omega: float) -> complex:
        s = 1j * omega
        return Q * (1 + K * s) / ((ALPHA + s) * (1 + here.design.tau_v * s))

    crossing = brentq(lambda w: abs(gain(w)) - 1, 0.1, 100)
    margin = 180 - abs(np.degrees(np.angle(gain(crossing))))
    assert found.phase_margin.item() == pytest.approx(margin, abs=0.3)
    assert found.gain_margin.item() == math.inf
    assert found.bandwidth_ratio is None
    assert set(found.elasticities) == {K_P, FEEDBACK, TAU_V, TAU_U}


def test_one_neuron_needs_a_free_phase_of_its_time_constant() -> None:
    here, _ = neuron()
    found = predict(here.design, None, here.x, here.step, limits=False)
    moved = 0.1 * Q / (ALPHA + Q)
    for angle in (0.3, 1.0, 5.0):
        limit = math.sin(math.radians(angle)) * moved
        expected = here.design.tau_v_seconds * math.log(W / limit)
        assert found.free_phase(angle).item() == pytest.approx(expected, rel=2e-3)
    together = found.free_phase(1.0) + found.update_time(1.0)
    assert torch.equal(found.time_per_sample(1.0), together)


def test_the_layers_settle_one_after_another_in_the_free_phase() -> None:
    here = case((3, 4, 4, 2), 2, 1)
    design = here.design.on(here.design.card.ideal())
    found = predict(design, None, here.x, here.step, limits=False)
    state = StaticChip.of(Chip.of(design)).solve(here.x, here.step)
    w, b = ([t.numpy() for t in ts] for ts in (design.weights, design.biases))
    splits = [4, 8]

    def inner(v: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        r = [here.x[0].numpy(), np.tanh(v[0]), np.tanh(v[1])]
        return [a @ c + d for a, c, d in zip(w, r, b, strict=True)]

    def slope(_: float, z: NDArray[np.float64]) -> NDArray[np.float64]:
        v = np.split(z, splits)
        return np.concatenate(inner(v)) - z

    run = solve_ivp(slope, (0, 25), np.zeros(10), rtol=1e-9, atol=1e-12, dense_output=True)
    assert run.sol is not None
    part = math.sin(math.radians(1.0))
    sizes = [float(d.norm()) for d in state.differences]
    step = float((state.rest.v[-1] - state.free.v[-1]).norm())
    last = 0.0
    for t in np.linspace(0, 25, 5001):
        v = np.split(run.sol(t), splits)
        v_ff = inner(v)
        d = [np.tanh(v[0]) - np.tanh(v_ff[0]), np.tanh(v[1]) - np.tanh(v_ff[1]), v[2] - v_ff[2]]
        left = [np.linalg.norm(x) / size for x, size in zip(d, sizes, strict=True)]
        left.append(np.linalg.norm(v[2] - state.free.v[-1][0].numpy()) / step)
        last = t if max(left) > part else last
    # The linearisation at the end of a tanh network is no more than an estimate of its way there.
    assert found.free_phase(1.0).item() / design.tau_v_seconds == pytest.approx(last, rel=0.15)


# Against simulations


@pytest.mark.parametrize(("sizes", "seed", "k_p", "product"), LOOPS[:2])
def test_the_behavioural_model_settles_when_predicted(
    sizes: tuple[int, ...], seed: int, k_p: float, product: float
) -> None:
    here = replace(made(sizes, seed, k_p, product, samples=2), dt=0.02, steps=700)
    found = predict(here.design, CHIP, here.x, here.step, limits=False)
    state = StaticChip.of(Chip.of(here.design, CHIP)).solve(here.x, here.step)
    seen = observed(here.behavioural([CHIP])[0], state, angle=2.0)
    tau = here.design.seconds
    torch.testing.assert_close(found.time_of_modes / tau, seen.control, rtol=0.01, atol=0.02)
    torch.testing.assert_close(found.update_time(2.0) / tau, seen.update, rtol=0.02, atol=0.02)
    near = (found.time / tau - seen.control).abs() <= BAR * seen.control
    assert bool(near.all())


def test_ngspice_settles_when_predicted() -> None:
    rows = measure(case((3, 4, 2), 1, 2).at_bandwidth(30), CHIP)
    for row in rows:
        assert row.dominated
        assert abs(row.error) <= BAR
        assert row.modes == pytest.approx(row.circuit, rel=0.01)
        assert row.predicted_update == pytest.approx(row.circuit_update, rel=0.01)


def test_it_says_so_where_no_mode_dominates() -> None:
    found = predict(*_arguments(case((3, 4, 2), 0, 2)), limits=False)
    assert found.dominated.tolist() == [True, False]
    assert torch.equal(found.time, found.time_of_modes)
    assert abs(found.time_of_mode[1] / found.time_of_modes[1] - 1) > 0.1
    assert found.limit is None
    torch.testing.assert_close(found.time_constant, -1 / found.slowest.real)


def _arguments(here: Case) -> tuple[Design, int, torch.Tensor, torch.Tensor]:
    return here.design, CHIP, here.x, here.step


# What limits it


def test_elasticities_are_those_of_another_prediction() -> None:
    here = case((3, 4, 2), 1, 1).at_bandwidth(30)
    # Levels would round a change of 2 % of the feedback weights.
    design = here.design.on(here.design.card.without("finite levels"))
    card = design.card
    found = predict(design, CHIP, here.x, here.step)
    # In the order of PARAMETERS, without those of a derivative part.
    assert tuple(found.elasticities) == PARAMETERS[:-2]
    assert card.amplifier.gain_bandwidth is not None
    more = 1.02
    changed = {
        BANDWIDTH: design.on(with_bandwidth(card, more * card.amplifier.gain_bandwidth)),
        K_P: replace(design, controller=replace(design.controller, k_p=more * 1.0 * 2.0)),
        FEEDBACK: replace(design, feedback=tuple(more * q for q in design.feedback)),
        TAU_V: replace(design, tau_v=more * design.tau_v),
        TAU_U: replace(design, controller=replace(design.controller, tau_u=more)),
    }
    assert (design.controller.k_p, design.controller.tau_u) == (2.0, 1.0)
    for name, other in changed.items():
        time = predict(other, CHIP, here.x, here.step, limits=False).time_of_modes
        expected = float((time / found.time_of_modes).log()) / math.log(more)
        assert found.elasticities[name] == pytest.approx(expected, abs=0.06), name
    # With all times longer by one factor, so is the settling.
    e = found.elasticities
    assert e[TAU_V] + e[TAU_U] - e[BANDWIDTH] == pytest.approx(1, abs=0.03)
    assert found.limit == TAU_U


def test_feedback_weights_that_just_fit_the_window_have_an_elasticity() -> None:
    here = neuron()[0]
    device = here.design.card.device
    fits = (device.g_max - device.g_min) / here.design.feedback_unit(1)
    full = replace(here.design, feedback=(0.99 * fits * torch.ones(1, 1).double(),), scaling=False)
    found = predict(full, None, here.x, here.step).elasticities[FEEDBACK]
    assert (
        found
        == predict(replace(full, scaling=True), None, here.x, here.step).elasticities[FEEDBACK]
    )
    assert found < 0


def test_wires_that_take_part_of_the_loop_gain_take_part_of_the_time() -> None:
    here = case((3, 4, 2), 1, 1).at_bandwidth(30)
    resistive = here.on(here.design.card.replace("wire", word=300.0, bit=300.0))
    share = predict(resistive.design, CHIP, here.x, here.step).elasticities[WIRES]
    assert share > 0.01
    bare = here.on(here.design.card.without("wire resistance", "line capacitance"))
    times = [
        predict(h.design, CHIP, here.x, here.step, limits=False).time_of_modes.item()
        for h in (bare, resistive)
    ]
    assert share == pytest.approx(1 - times[0] / times[1], abs=0.005)
    assert WIRES not in predict(bare.design, CHIP, here.x, here.step).elasticities


def test_the_bandwidth_that_is_spare_is_that_of_the_critical_one() -> None:
    here = made((3, 4, 2), 1, 5.0, 100.0)
    critical = critical_bandwidth(here.design, CHIP, here.x, here.step, tolerance=1e-4)
    found = predict(here.design, CHIP, here.x, here.step)
    assert here.design.card.amplifier.gain_bandwidth is not None
    expected = here.design.card.amplifier.gain_bandwidth / critical
    assert found.bandwidth_ratio == pytest.approx(expected, rel=0.01)


def test_at_its_gain_margin_the_loop_oscillates() -> None:
    here = made((3, 4, 2), 1, 5.0, 30.0)
    found = predict(here.design, CHIP, here.x, here.step, limits=False)
    gain, loop = found.gain_margin.item(), transfer(here)
    line = np.asarray(1j * np.geomspace(1e5, 1e9, 4000), dtype=np.complex128)
    loci = np.linalg.eigvals(loop.loop_gain(line)[0])
    assert np.abs(1 + gain * loci).min() < 0.01
    assert np.abs(1 + 0.9 * gain * loci).min() > 0.02


def test_an_unstable_loop_has_no_settling_time_but_an_eigenvalue_and_a_remedy() -> None:
    here = made(*UNSTABLE[0])
    growth = slowest_mode(here.design, CHIP, here.x, here.step)
    critical = critical_bandwidth(here.design, CHIP, here.x, here.step, tolerance=1e-4)
    product = critical * here.design.tau_v_seconds
    with pytest.raises(ConvergenceError) as refused:
        predict(here.design, CHIP, here.x, here.step)
    message = str(refused.value)
    assert f"The loop is unstable: slowest mode {growth:+.3g} per tau_u" in message
    assert "or lower k_p or the feedback weights" in message
    advice = float(message.split("gain-bandwidth above ")[1].split(" / tau_v")[0])
    assert advice == pytest.approx(product, rel=0.02)
    better = here.at_bandwidth(1.02 * advice)
    assert predict(better.design, CHIP, here.x, here.step, limits=False).time.item() > 0


@pytest.mark.parametrize("product", [30.0, 2e4])
def test_no_amplifier_is_advised_where_none_would_help(product: float) -> None:
    # Integral control alone of two lags: too much feedback oscillates through any amplifier.
    here = made((3, 4, 2), 1, 0.0, product)
    strong = replace(here.design, feedback=tuple(16 * q for q in here.design.feedback))
    with pytest.raises(ConvergenceError) as refused:
        predict(strong, CHIP, here.x, here.step)
    assert str(refused.value).endswith("per tau_u. Lower the feedback weights")


# Waveforms


def record(u: NDArray[np.float64], dt: float) -> Trajectory:
    """One sample whose only neuron's update turns as u settles."""
    signal = torch.from_numpy(u)[None, :, None]
    t = torch.arange(len(u), dtype=torch.float64) * dt
    both = torch.cat([torch.ones_like(signal), signal - 1], dim=-1)
    free = torch.zeros(1, 2, dtype=torch.float64)
    run = Readings(v=(both,), v_ff=(0 * both,), r=(both,), r_ff=(0 * both,))
    none = Readings(v=(free,), v_ff=(free,), r=(free,), r_ff=(free,))
    return Trajectory(
        t=t, x=torch.ones(1, 1, dtype=torch.float64), neurons=run, u=signal, e=signal, free=none
    )


def test_an_exponential_is_seen_to_settle_at_its_logarithm() -> None:
    t = np.arange(4001) * 0.01
    seen = observed(record(1 - 0.5 * np.exp(-t), 0.01), band=0.02, angle=2.0)
    assert seen.control.item() == pytest.approx(math.log(0.5 / 0.02), abs=1e-3)
    turned = math.tan(math.radians(2.0))
    assert seen.update.item() == pytest.approx(math.log(0.5 / turned), abs=1e-3)


def test_a_signal_that_is_not_seen_to_settle_has_no_settling_time() -> None:
    here = case((3, 4, 2), 1, 1)
    state = StaticChip.of(Chip.of(here.design, CHIP)).solve(here.x, here.step)
    seen = observed(replace(here, steps=50).behavioural([CHIP])[0], state)
    assert seen.control.item() == math.inf
    assert seen.update.item() == math.inf


def test_poles_and_residues_of_a_rational_function_are_found_again() -> None:
    true = np.array([-1e-2, -1, -3 + 40j, -3 - 40j, -500])
    residues = np.array([[1, 2], [0.5, -1], [3 + 1j, 2j], [3 - 1j, -2j], [40, 10]])
    s = 1e-3 + 1j * np.concatenate([[0], np.geomspace(1e-3, 1e4, 80)])
    values = (1 / (s[:, None] - true)) @ residues
    found = poles(s, values * (s[:, None] + 7) / 50, tolerance=1e-12)
    for p in true:
        assert np.abs(found - p).min() < 1e-6 * abs(p)
    t = np.array([0.0, 0.05, 1.0, 50.0])
    expected = (np.exp(t[:, None] * true) @ residues).real
    np.testing.assert_allclose(Modal.fit(s, values, found[found.real < 0]).at(t), expected, 1e-5)


# Bad input


@pytest.mark.parametrize("angle", [0.0, -1.0, 90.0, float("nan")])
def test_an_angle_must_lie_between_none_and_a_right_one(angle: float) -> None:
    found = predict(*_arguments(case((2, 2), 0, 1)), limits=False)
    with pytest.raises(UserError, match="between 0 and 90 degrees"):
        found.time_per_sample(angle)


@pytest.mark.parametrize("band", [0.0, 1.0, float("nan")])
def test_a_band_must_be_a_part(band: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        predict(*_arguments(case((2, 2), 0, 1)), band=band)


def test_a_target_step_of_zero_is_refused() -> None:
    here = case((2, 2), 0, 2)
    step = here.step * torch.tensor([[1.0], [0.0]])
    with pytest.raises(UserError, match="target step is 0"):
        predict(here.design, CHIP, here.x, step)


def test_a_rest_beyond_the_rails_has_no_settling_time() -> None:
    here = case((3, 4, 2), 1, 1)
    design = here.design.on(here.design.card.without("finite levels"))
    weak = replace(design, feedback=tuple(0.01 * q for q in design.feedback))
    high = weak.on(weak.card.replace("amplifier", saturation=None))
    state = StaticChip.of(Chip.of(high, CHIP)).solve(here.x, here.step)
    assert float(state.volts_rest[state.chip.chip.circuit.control.u_minus.bank].abs().max()) > 1.5
    assert float(predict(high, CHIP, here.x, here.step, limits=False).time) > 0
    with pytest.raises(ConvergenceError, match=r"sample 0 .* 'controller\.pi' would need .* V"):
        predict(weak, CHIP, here.x, here.step)
