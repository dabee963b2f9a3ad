"""A chip that learns its feedback weights asleep: its noise, its circuit and what it learns."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy
import torch
from click.testing import CliRunner
from strategies import generator, network_of, normal
from torch import Tensor

from analogdfc import records
from analogdfc.cards import Card
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Array
from analogdfc.circuit.design import Design
from analogdfc.circuit.devices import Devices
from analogdfc.circuit.injected import FeedbackNoise
from analogdfc.circuit.static import StaticChip
from analogdfc.cli import cli
from analogdfc.controller import PI
from analogdfc.dynamics import Trajectory, free_state
from analogdfc.dynamics.loop import Loop, output
from analogdfc.dynamics.noise import euler_maruyama, noisy_free_state
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.jobs import Spool
from analogdfc.learning import SleepPhase
from analogdfc.measures import condition2
from analogdfc.network import Network
from analogdfc.onchip.substrate import Writing
from analogdfc.sleeping import (
    Apart,
    Equations,
    Lessons,
    Model,
    OnDevices,
    Simulated,
    Sleep,
    compliance,
    feedback_updates,
    rewritten,
    sleep_through,
)
from analogdfc.sleeping.equations import noisy_run
from analogdfc.spice.batch import BatchProcess
from analogdfc.storage import read_model

CARD = Card.load("discrete_100mhz")
SHORT = Sleep(SleepPhase(sigma=0.05, tau_v=0.1, dt=0.1, steps=20))


def design_of(
    sizes: list[int], seed: int = 2, card: Card = CARD, activation: str = "tanh"
) -> Design:
    network = network_of(sizes, seed, activation=activation)
    return Design.of(network, DirectFeedback.random(network, generator(0)), card)


def inputs(design: Design, count: int = 2) -> Tensor:
    return normal(5, count, design.sizes[0]).tanh()


def flat(updates: tuple[Tensor, ...]) -> Tensor:
    """The mean update of a batch as one vector."""
    return torch.cat([u.mean(dim=0).flatten() for u in updates])


# The noise


def test_values_of_the_noise_have_the_variance_of_a_white_source_over_their_spacing() -> None:
    noise = FeedbackNoise(1, sigma=0.2, spacing=0.05)
    layers = noise.values([3, 4, 2], 500.0, 0)
    assert [tuple(layer.shape) for layer in layers] == [(10_001, 4), (10_001, 2)]
    for layer in layers:
        # The relative error of a variance is sqrt(2 / values).
        close = 5 * math.sqrt(2 / layer.numel())
        assert float(layer.var()) == pytest.approx(0.2**2 / 0.05, rel=close)
    power = np.abs(np.fft.rfft(layers[0].numpy(), axis=0)) ** 2
    low = 0.05 * power[1:1000].mean() / len(layers[0])  # two-sided, up to a tenth of the band
    assert low == pytest.approx(0.2**2, rel=0.08)


def test_a_seed_and_a_sample_give_the_same_noise_and_others_another() -> None:
    sizes = [3, 4, 2]
    noise = FeedbackNoise(1, 0.2, 0.05)
    for other, sample in ((noise, 3), (replace(noise, first=3), 0), (replace(noise, first=1), 2)):
        torch.testing.assert_close(noise.values(sizes, 2.0, 3), other.values(sizes, 2.0, sample))
    first = noise.values(sizes, 20.0, 3)[0]
    for another in (replace(noise, seed=2).values(sizes, 20.0, 3), noise.values(sizes, 20.0, 4)):
        both = torch.stack([first.flatten(), another[0].flatten()])
        assert abs(float(torch.corrcoef(both)[0, 1])) < 0.15


def test_without_feedback_the_compartments_follow_an_ornstein_uhlenbeck_process() -> None:
    design, sigma, tau_fb, spacing = design_of([2, 2, 1]), 0.1, 0.3, 0.03
    loop = design.loop()._replace(feedback=tuple(map(torch.zeros_like, design.feedback)))
    noise = FeedbackNoise(4, sigma, spacing)
    batch, duration = 40, 30.0
    drawn = [noise.values(design.sizes, duration, b) for b in range(batch)]
    run = noisy_run(
        loop, inputs(design, batch), [torch.stack(x) for x in zip(*drawn, strict=True)],
        tau_fb=tau_fb, spacing=spacing, points=1,
    )  # fmt: skip
    v = torch.cat(run.neurons.v_fb, dim=2)[:, 100:]  # beyond 10 tau_fb
    # eq. 163: sigma^2 / (2 tau_fb) exp(-|t| / tau_fb), for noise of a bounded band with the mean
    # over its own covariance, a cubic spline of mean |t| = 7/15 spacing.
    variance = sigma**2 / (2 * tau_fb)
    for lag, part in ((0, 1 - 7 / 15 * spacing / tau_fb), (10, 1.0), (20, 1.0)):
        seen = float((v[:, : v.shape[1] - lag] * v[:, lag:]).mean())
        wanted = part * variance * math.exp(-lag * spacing / tau_fb)
        assert seen == pytest.approx(wanted, abs=0.04 * variance)


# The equations


def test_the_equations_are_the_limit_of_the_digital_rule_with_the_same_noise() -> None:
    design, x = design_of([3, 4, 2]), inputs(design_of([3, 4, 2]))
    sleeping = SHORT.design(design)
    phase = SHORT.phase
    drawn = [SHORT.noise(0).values(design.sizes, SHORT.duration, b) for b in range(len(x))]
    noise = [torch.stack(layer) for layer in zip(*drawn, strict=True)]
    run = Equations().run(Chip.of(sleeping), x, SHORT)
    exact, errors = flat(feedback_updates(run)), []
    for parts in (40, 80):
        digital = flat(_digital(sleeping.loop(), x, noise, phase, parts))
        errors.append(float((digital - exact).norm() / exact.norm()))
    assert errors[1] < 0.02
    # Euler's method is of first order.
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)


def _digital(
    loop: Loop, x: Tensor, noise: list[Tensor], phase: SleepPhase, parts: int
) -> tuple[Tensor, ...]:
    """Algorithm 4 in steps of a part of the noise's spacing."""
    state, dt = noisy_free_state(loop, x), phase.dt / parts
    target = output(loop, free_state(loop, x))
    first = torch.addmm(loop.biases[0], x, loop.weights[0].T)
    sums = [torch.zeros(len(x), *q.shape, dtype=x.dtype) for q in loop.feedback]
    for k in range(phase.steps):
        for m in range(parts):
            # A step's kick is sqrt(dt) times its noise: here xi dt.
            kick = [dt**0.5 * torch.lerp(n[:, k], n[:, k + 1], (m + 0.5) / parts) for n in noise]
            after = euler_maruyama(
                loop, state, first, target, tuple(kick), dt=dt, tau_fb=phase.tau_fb
            )
            for s, v in zip(sums, state.v_fb, strict=True):
                s -= torch.einsum("bi,bj->bij", v, after.u)
            state = after
    return tuple(s / (phase.steps * parts) for s in sums)


def test_the_mean_update_of_a_linear_network_is_that_of_its_covariance() -> None:
    design = design_of([3, 3, 2], seed=4, activation="linear")
    design = replace(design, feedback=tuple(0.5 * q for q in design.feedback))
    phase = SleepPhase(sigma=0.05, alpha=1.0, k_p=0.2, tau_v=0.2, tau_fb=0.5, dt=0.02, steps=1000)
    sleep, batch = Sleep(phase), 400
    drawn = [sleep.noise(0).values(design.sizes, sleep.duration, b) for b in range(batch)]
    run = noisy_run(
        sleep.design(design).loop(), inputs(design, batch),
        [torch.stack(x) for x in zip(*drawn, strict=True)],
        tau_fb=phase.tau_fb, spacing=phase.dt, points=1,
    )  # fmt: skip
    kept = run.t > 5  # of its stationary part
    seen = [
        -(v[:, kept].mT @ run.u[:, kept] / int(kept.sum())).mean(dim=0) for v in run.neurons.v_fb
    ]
    wanted = _expected(design, phase)
    together = torch.cat(seen).numpy()
    assert np.linalg.norm(together - wanted) < 0.05 * np.linalg.norm(wanted)


def test_that_covariance_is_the_transposed_jacobian_where_the_theorem_holds() -> None:
    # Theorem S11 with little feedback: sigma^2 / (2 tau_u) J^T.
    design = design_of([3, 3, 2], seed=4, activation="linear")
    design = replace(design, feedback=tuple(1e-3 * q for q in design.feedback))
    phase = SleepPhase(sigma=0.05, alpha=0.5, k_p=0.0, tau_v=1e-6, tau_fb=1e-4)
    j = np.hstack([design.weights[1].numpy(), np.eye(2)])
    wanted = 0.05**2 / 2 * j.T
    assert np.linalg.norm(_expected(design, phase) - wanted) < 0.03 * np.linalg.norm(wanted)


def _expected(design: Design, p: SleepPhase) -> np.ndarray:
    """- E[v_fb u^T] by Lyapunov's equation of the state (v, v_fb, u_int)."""
    w, q = design.weights[1].numpy(), torch.cat(design.feedback).numpy()
    n, n1, m = len(q), len(design.feedback[0]), q.shape[1]
    forward = np.zeros((n, n))
    forward[n1:, :n1] = w
    out = np.zeros((m, n))
    out[:, n1:] = np.eye(m)
    u = np.hstack([-p.k_p * out, np.zeros((m, n)), np.eye(m)])
    a = np.zeros((2 * n + m, 2 * n + m))
    a[:n, :n], a[:n, n : 2 * n] = (forward - np.eye(n)) / p.tau_v, np.eye(n) / p.tau_v
    a[n : 2 * n] = q @ u / p.tau_fb
    a[n : 2 * n, n : 2 * n] -= np.eye(n) / p.tau_fb
    a[2 * n :] = -p.alpha * u / p.tau_u
    a[2 * n :, :n] -= out / p.tau_u
    b = np.zeros((2 * n + m, n))
    b[n : 2 * n] = p.sigma / p.tau_fb * np.eye(n)
    covariance = scipy.linalg.solve_continuous_lyapunov(a, -b @ b.T)
    return np.asarray(-covariance[n : 2 * n] @ u.T)


# The circuit


class Runs(NamedTuple):
    """One sleeping chip in all its realisations."""

    chip: Chip
    x: Tensor
    equations: Trajectory
    model: Trajectory
    perfect: Trajectory
    ideal: Trajectory
    macro: Trajectory


@pytest.fixture(scope="module")
def runs() -> Runs:
    design = design_of([2, 2, 1])
    chip, x = Chip.of(SHORT.design(design), 1), inputs(design, 1)
    perfect = Chip.of(SHORT.design(design.ideal()))
    ways = (
        (Equations(), chip),
        (Model(), chip),
        (Model(), perfect),
        (Simulated(BatchProcess(), "ideal"), chip),
        (Simulated(BatchProcess(), "macro"), chip),
    )
    return Runs(chip, x, *(way.run(one, x, SHORT, first=7) for way, one in ways))


def apart(a: Trajectory, b: Trajectory) -> float:
    """Difference of the updates over that of the first."""
    one, two = flat(feedback_updates(a)), flat(feedback_updates(b))
    return float((two - one).norm() / one.norm())


def test_ideal_cells_and_an_ideal_chip_learn_what_the_equations_do(runs: Runs) -> None:
    assert apart(runs.equations, runs.ideal) < 1e-3
    assert apart(runs.equations, runs.perfect) < 1e-3
    for a, b in zip(runs.equations.neurons.v_fb, runs.ideal.neurons.v_fb, strict=True):
        assert float((a - b).abs().max()) < 1e-3 * float(a.abs().max())


def test_the_model_of_a_chip_learns_what_macro_cells_do_and_not_what_the_equations_do(
    runs: Runs,
) -> None:
    assert apart(runs.macro, runs.model) < 1e-3
    assert apart(runs.macro, runs.equations) > 10 * apart(runs.macro, runs.model)


def test_a_chip_asleep_keeps_what_it_is_made_of(runs: Runs) -> None:
    awake = Chip.of(design_of([2, 2, 1]), 1)
    kept, found = awake.circuit, runs.chip.circuit
    for name, bank in kept.bank.items():
        torch.testing.assert_close(bank.offset, found.bank[name].offset, rtol=0, atol=0)
    for a, b in zip(
        kept.crossbars_of(Array.FORWARD), found.crossbars_of(Array.FORWARD), strict=True
    ):
        torch.testing.assert_close(a.plus, b.plus, rtol=0, atol=0)
    somas = [layer.v.bank for layer in kept.layers]
    capacitors = {c.b.bank: c.farads for c in found.capacitors if c.b is not None}
    for c in kept.capacitors:
        if c.b is not None and c.b.bank in somas:
            torch.testing.assert_close(capacitors[c.b.bank], c.farads)


def test_offsets_teach_nothing_where_the_mean_of_the_control_signal_is_taken_off(
    runs: Runs,
) -> None:
    run = replace(runs.model, u=runs.model.u + 0.3)
    moved = [
        flat(feedback_updates(run, high_pass=h)) - flat(feedback_updates(runs.model, high_pass=h))
        for h in (True, False)
    ]
    assert float(moved[0].norm()) < 1e-9
    assert float(moved[1].norm()) > 1e-3


def test_every_realisation_shows_the_jacobian_that_it_has(runs: Runs) -> None:
    design, x = runs.chip.design, runs.x
    network = Network(design.sizes)
    with torch.no_grad():
        for k, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
            w.copy_(design.weights[k])
            b.copy_(design.biases[k])
        exact = torch.cat(network.jacobians(network.potentials(x)), dim=2)
    found = {
        way.name: way.jacobian(runs.chip, x)
        for way in (Equations(), Model(), Simulated(BatchProcess(), "macro"))
    }
    # Central differences err by a sixth of the third derivative.
    torch.testing.assert_close(found["ideal"], exact, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found["behavioural"], found["circuit"], rtol=1e-5, atol=1e-5)
    off = (found["circuit"] - exact).norm() / exact.norm()
    assert 1e-3 < float(off) < 0.1  # mismatch and levels of this chip's devices


def test_what_is_put_in_must_fit_the_compartments(runs: Runs) -> None:
    with pytest.raises(UserError, match=r"shape \(1, 2\), and \(1, 3\) are needed"):
        Model().outputs(runs.chip, runs.x, torch.zeros(1, 2))


def test_a_run_without_compartments_has_no_feedback_update(runs: Runs) -> None:
    readings = replace(runs.model.neurons, v_fb=())
    with pytest.raises(UserError, match="no signals of feedback compartments"):
        feedback_updates(replace(runs.model, neurons=readings))
    awake = Behavioural([Chip.of(design_of([2, 2, 1]))])
    with pytest.raises(UserError, match="this chip has none"):
        awake.run(runs.x, runs.x.new_zeros(1, 1), dt=0.1, steps=2, noise=SHORT.noise(0))


def test_a_chip_with_compartments_has_no_static_model(runs: Runs) -> None:
    with pytest.raises(UserError, match="no static model"):
        StaticChip.of(runs.chip)


# Weights


def test_writing_feedback_changes_the_feedback_crossbars_alone(runs: Runs) -> None:
    wanted = [q * 0.5 for q in runs.chip.design.feedback]
    found = rewritten(runs.chip, wanted)
    for a, b in zip(runs.chip.circuit.resistors, found.circuit.resistors, strict=True):
        torch.testing.assert_close(a.siemens, b.siemens, rtol=0, atol=0)
    for kind, same in ((Array.FORWARD, True), (Array.FEEDBACK, False)):
        for before, after in zip(
            runs.chip.circuit.crossbars_of(kind), found.circuit.crossbars_of(kind), strict=True
        ):
            assert torch.equal(before.plus, after.plus) == same
            assert before.unit == after.unit
    with pytest.raises(UserError, match=r"layer 1: a feedback weight of magnitude .* holds up to"):
        rewritten(runs.chip, [q * 50 for q in runs.chip.design.feedback])


def test_compliance_is_condition_2_of_the_weights_that_the_chip_holds() -> None:
    design = design_of([3, 4, 2])
    chip, x = Chip.of(SHORT.design(design)), inputs(design, 5)
    network = Network([3, 4, 2])
    with torch.no_grad():
        for k, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
            w.copy_(design.weights[k])
            b.copy_(design.biases[k])
        wanted = float(condition2(network.jacobians(network.potentials(x)), design.feedback).mean())
    assert compliance(chip, x, held=False) == pytest.approx(wanted, rel=1e-12)
    exact = Chip.of(SHORT.design(design.without("finite levels")))
    assert compliance(exact, x) == pytest.approx(wanted, rel=1e-9)
    off = Chip.of(SHORT.design(design), 3)
    assert abs(compliance(off, x) - wanted) > 1e-4


def test_condition_2_rises_in_the_sleep() -> None:
    design = design_of([3, 4, 2], seed=3)
    night = sleep_through(
        Equations(), design, inputs(design, 12), SHORT, Lessons(steps=12, batch=6, rate=0.5)
    )
    assert len(night.condition2) == 13
    assert float(night.condition2[0]) < 0.6
    assert float(night.condition2[-1]) > 0.9
    before, after = night.measured.tolist()
    assert after > before
    assert after == pytest.approx(float(night.condition2[-1]), abs=0.1)


def test_a_frozen_output_layer_keeps_its_weights_and_has_no_noise() -> None:
    design = design_of([2, 2, 1])
    sleep = replace(SHORT, phase=replace(SHORT.phase, train_output=False))
    assert not sleep.noise(0).values(design.sizes, 1.0, 0)[-1].any()
    night = sleep_through(Equations(), design, inputs(design), sleep, Lessons(2, 1), measured=0)
    assert not len(night.measured)
    assert torch.equal(night.feedback[-1][0], night.feedback[-1][-1])
    assert not torch.equal(night.feedback[0][0], night.feedback[0][-1])


class Counted(Equations):
    """Counts its runs."""

    runs = 0

    def run(self, chip: Chip, x: Tensor, sleep: Sleep, first: int = 0) -> Trajectory:
        type(self).runs += 1
        return super().run(chip, x, sleep, first)


def test_steps_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    design = design_of([2, 2, 1])
    x, way = inputs(design), Counted()
    with Spool(tmp_path / "runs") as spool:
        first = sleep_through(way, design, x, SHORT, Lessons(2, 1), spool=spool)
        again = sleep_through(way, design, x, SHORT, Lessons(3, 1), spool=spool)
    assert way.runs == 3
    torch.testing.assert_close(again.feedback[0][:3], first.feedback[0], rtol=0, atol=0)
    beside = Apart.of(first, first)
    assert beside.error.max() == 0
    assert beside.distance.max() == 0


def test_devices_get_the_same_pulses_from_one_seed_and_others_from_another() -> None:
    design = replace(design_of([2, 2, 1]), devices=Devices.of("ecram_mo_kim2019"))
    chip = Chip.of(SHORT.design(design), 1)
    changes = [0.02 * torch.ones_like(q) for q in design.feedback]

    def written(seed: int) -> tuple[list[Tensor], dict[str, int]]:
        writes = OnDevices(Writing(aligned=True), seed)
        first = writes.start(chip)
        second = writes.write(first, changes)
        for kind, same in ((Array.FORWARD, True), (Array.FEEDBACK, False)):
            bars = (one.circuit.crossbars_of(kind) for one in (first, second))
            assert all(torch.equal(a.plus, b.plus) == same for a, b in zip(*bars, strict=True))
        found = second.circuit.crossbars_of(Array.FEEDBACK)
        for bar, q in zip(found, second.design.feedback, strict=True):
            torch.testing.assert_close((bar.plus - bar.minus) / bar.unit, q)
        return [g for bar in found for g in (bar.plus, bar.minus)], writes.counts()

    (once, counts), (again, same), (other, _) = written(3), written(3), written(4)
    assert counts == same
    assert counts["up"] > 0
    assert counts["clipped"] == 0
    assert all(map(torch.equal, once, again))
    assert not all(map(torch.equal, once, other))
    with pytest.raises(UserError, match="the design has none"):
        OnDevices().start(Chip.of(SHORT.design(design_of([2, 2, 1]))))


def test_the_mean_of_many_pulses_is_the_change_that_was_asked_for() -> None:
    design = replace(design_of([2, 30, 1]), devices=Devices.of("ecram_mo_kim2019"))
    writes = OnDevices(seed=2)
    first = writes.start(Chip.of(SHORT.design(design), 1))
    second = writes.write(first, [0.1 * torch.ones_like(q) for q in design.feedback])
    moved = second.design.feedback[0] - first.design.feedback[0]
    assert float(moved.mean()) == pytest.approx(0.1, rel=0.15)


# What can't be


def test_an_unstable_loop_is_refused_with_the_leak_that_it_needs() -> None:
    design = design_of([3, 4, 2])
    bad = replace(design, feedback=tuple(-q for q in design.feedback))
    with pytest.raises(UserError, match=r"unstable on \d+ of 2 samples.*raise alpha = 0.5 above"):
        sleep_through(Equations(), bad, inputs(design), SHORT, Lessons(1, 1))


def test_a_network_too_large_for_the_simulator_says_how_long_it_would_take() -> None:
    design = design_of([10, 20, 5])
    way = Simulated(BatchProcess(), "macro", time_limit=1.0)
    with pytest.raises(UserError, match=r"10-20-5 asleep .* would take about .* the limit of 1 s"):
        sleep_through(way, design, inputs(design), SHORT, Lessons(1, 1))


def test_settings_out_of_range_are_refused() -> None:
    usual: dict[str, Any] = {"seed": 0, "sigma": 0.1, "spacing": 0.1}
    for wrong in ({"sigma": -1.0}, {"spacing": 0.0}, {"seed": -1}, {"first": -1}):
        with pytest.raises(UserError):
            FeedbackNoise(**usual | wrong)
    with pytest.raises(UserError, match="room"):
        Sleep(room=0.5)
    for lessons in ((0, 1, 0.1), (1, 0, 0.1), (1, 1, 0.0)):
        with pytest.raises(UserError, match="steps and batch"):
            Lessons(*lessons)
    with pytest.raises(UserError, match="alpha"):
        Sleep(SleepPhase(k_p=3.0, alpha=0.5)).design(design_of([2, 2, 1]))
    assert PI(0.1, 0.5, 1.0) == SHORT.design(design_of([2, 2, 1])).controller


# The command


def test_the_command_prints_condition_2_and_writes_what_was_learned(tmp_path: Path) -> None:
    path = tmp_path / "sleep.h5"
    words = "sleep --sizes 2-2-1 --through ideal,behavioural --steps 2 --batch 1 --samples 2"
    words += f" --duration 1 --spacing 0.1 --json -o {path}"
    result = CliRunner().invoke(cli, words.split())
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert set(numbers["nights"]) == {"ideal", "behavioural"}
    assert set(numbers["comparisons"]) == {"ideal against behavioural"}
    record = records.read(path)
    learned = record.array("nights/behavioural/Q1", shape=(3, 2, 1), units="1")
    assert not np.array_equal(learned[0], learned[2])
    found = record.array("nights/ideal/condition2", shape=(3,), units="1")
    assert numbers["nights"]["ideal"]["condition2_after"] == found[-1]
    shown = record.array("nights/ideal/condition2_measured", shape=(2,), units="1")
    assert numbers["nights"]["ideal"]["condition2_measured_after"] == shown[1]
    assert path.with_suffix(".png").exists()
    feedback = read_model(path).feedback
    assert isinstance(feedback, DirectFeedback)
    np.testing.assert_array_equal(feedback.matrices[0].detach().numpy(), learned[2])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--through ideal,spice", "--through 'ideal,spice': one or more of"),
        ("--spacing 20", "--spacing 20: it must not exceed --duration 10"),
        ("--spacing 1e-300", "--spacing 1e-300: a --duration of 10 has more than 1000000 of it"),
        ("--alpha 0.5 --k-p 2.5", "alpha * k_p"),
        ("--writing stochastic", "--writing: without --devices every conductance is set exactly"),
    ],
)
def test_the_command_refuses_in_one_line(words: str, message: str, tmp_path: Path) -> None:
    line = f"sleep --sizes 2-2-1 {words} -o {tmp_path / 'x.h5'}"
    result = CliRunner().invoke(cli, line.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) <= 2
    assert not (tmp_path / "x.h5").exists()
