"""Feedback weights learned from noise: sleep phase, single phase, Theorem 6."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generator, layer_sizes, network_of, normal, seeds
from torch import Tensor

from analogdfc.controller import PI, PID, Controller
from analogdfc.dynamics import Euler, Loop, free_state
from analogdfc.dynamics.gaussian import Gaussian
from analogdfc.dynamics.noise import euler_maruyama, noisy_free_state, sleep_update
from analogdfc.dynamics.single_phase import Filters, single_phase_update
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import DFC, SinglePhaseDFC, SleepPhase
from analogdfc.measures import angle, condition2
from analogdfc.network import Network


def _loop(
    sizes: Sequence[int], seed: int, controller: Controller | None = None, *, linear: bool = False
) -> Loop:
    network = network_of(sizes, seed, activation="linear" if linear else "tanh")
    feedback = DirectFeedback.random(network, generator(seed + 1))
    return Loop.of(network, feedback, controller or PI(0.3, 0.5), 0.02)


def _jacobian(loop: Loop) -> Tensor:
    """Of a linear network, (n_L, n_1 + ... + n_L)."""
    parts = [torch.eye(len(loop.biases[-1]), dtype=torch.float64)]
    for w in reversed(loop.weights[1:]):
        parts.insert(0, parts[0] @ w)
    return torch.cat(parts, dim=1)


@given(sizes=layer_sizes(), seed=seeds(), proactive=st.booleans(), noisy_output=st.booleans())
@settings(max_examples=20)
def test_sleep_update_is_the_mean_product_along_the_pure_steps(
    sizes: list[int], seed: int, proactive: bool, noisy_output: bool
) -> None:
    loop, x = _loop(sizes, seed), normal(seed, 3, sizes[0])
    dt, steps, sigma, tau_fb = 0.004, 7, 0.05, 0.3
    found = sleep_update(
        loop,
        x,
        dt=dt,
        steps=steps,
        sigma=sigma,
        tau_fb=tau_fb,
        generator=generator(seed),
        proactive=proactive,
        noisy_output=noisy_output,
        precise=True,
    )
    state = noisy_free_state(loop, x)
    target = loop.activations[-1].function(state.v[-1])
    first, scale = state.v[0], sigma * dt**0.5 / tau_fb
    source = Gaussian(generator(seed), scale)
    width = sum(sizes[1:] if noisy_output else sizes[1:-1])
    expected = [torch.zeros_like(q) for q in loop.feedback]
    for k in range(steps):
        if k % 2 == 0:  # drawn two steps at a time
            chunk = source.fill(x.new_empty(min(2, steps - k), 3, width))
        drawn = chunk[k % 2] * (sigma / scale)
        if not noisy_output:
            drawn = torch.cat([drawn, torch.zeros(3, sizes[-1], dtype=torch.float64)], dim=1)
        before = state.v_fb
        state = euler_maruyama(
            loop,
            state,
            first,
            target,
            torch.split(drawn, sizes[1:], dim=1),
            dt=dt,
            tau_fb=tau_fb,
            proactive=proactive,
        )
        for q, v_fb in zip(expected, before, strict=True):
            q -= v_fb.T @ state.u / (steps * 3)
    if not noisy_output:  # what learns nothing is not worked out
        expected[-1].zero_()
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "linear"])
@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_deviations_in_single_precision_leave_a_sleep_update_within_a_bound(
    activation: str, sigma: float
) -> None:
    network = network_of([6, 20, 20, 4], 3, activation=activation)
    x, found = normal(1, 8, 6), []
    for precise in (True, False):
        rule = SleepPhase(sigma=sigma, steps=60, beta=0, precise=precise)
        parts = rule.update(network, DirectFeedback.transposed(network), x, generator(2))
        found.append(torch.cat([p for p in parts if p is not None]))
    exact, single = found
    assert 0 < float((single - exact).norm() / exact.norm()) < 1e-7 / sigma


def test_noise_near_the_rounding_of_single_precision_is_simulated_in_double() -> None:
    network, x = network_of([3, 4, 2], 0), normal(1, 4, 3)
    found = []
    for precise in (True, False):
        rule = SleepPhase(sigma=1e-4, precise=precise)
        parts = rule.update(network, DirectFeedback.transposed(network), x, generator(2))
        found.append(torch.cat([p for p in parts if p is not None]))
    assert torch.equal(*found)


def test_feedback_learns_condition_2_the_same_in_single_precision() -> None:
    network, x = network_of([4, 8, 3], 2), normal(8, 50, 4)
    shares = []
    for precise in (True, False):
        feedback = DirectFeedback.random(network, generator(5))
        sleep = SleepPhase(sigma=0.1, tau_v=0.05, dt=0.05, steps=100, precise=precise)
        rule = DFC(network, feedback, sleep=sleep, generator=generator(1))
        optimizer = torch.optim.SGD(feedback.parameters(), lr=0.5)
        shares.append([_condition2(network, feedback, x)])
        for _ in range(20):
            rule.feedback_backward(x)
            optimizer.step()
        shares[-1].append(_condition2(network, feedback, x))
    (before, learned), (_, single) = shares
    assert learned > before + 0.3
    assert single == pytest.approx(learned, abs=1e-4)


def _condition2(network: Network, feedback: DirectFeedback, x: Tensor) -> float:
    with torch.no_grad():
        jacobians = network.jacobians(network.potentials(x))
    return float(condition2(jacobians, [q.detach() for q in feedback.matrices]).mean())


def test_without_noise_and_with_instant_compartments_the_step_is_that_of_algorithm_1() -> None:
    loop, x, dt = _loop([3, 4, 2], 1), normal(2, 5, 3), 0.004
    target = normal(3, 5, 2)
    plain, noisy = free_state(loop, x), noisy_free_state(loop, x)
    first = plain.v[0]
    silence = tuple(torch.zeros_like(v) for v in plain.v)
    for _ in range(20):
        plain = Euler().step(loop, plain, x, target, dt)
        noisy = euler_maruyama(
            loop, noisy, first, target, silence, dt=dt, tau_fb=dt, proactive=True
        )
    for a, b in zip((*plain.v, plain.u), (*noisy.v, noisy.u), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_compartment_without_feedback_is_an_ornstein_uhlenbeck_process() -> None:
    loop = _loop([2, 1], 0)
    loop = loop._replace(feedback=(torch.zeros(1, 1, dtype=torch.float64),))
    x = torch.zeros(4000, 2, dtype=torch.float64)
    state, source = noisy_free_state(loop, x), generator(4)
    sigma, tau_fb, dt, lag = 0.7, 0.2, 0.004, 25
    history = []
    for _ in range(300):
        noise = sigma * torch.randn(4000, 1, dtype=torch.float64, generator=source)
        state = euler_maruyama(
            loop, state, state.v[0] * 0, state.u * 0, (noise,), dt=dt, tau_fb=tau_fb
        )
        history.append(state.v_fb[0][:, 0])
    covariance = [float((history[-1] * history[-1 - k]).mean()) for k in (0, lag)]
    # Meulemans et al. 2021, eq. 163, times sigma^2.
    expected = [sigma**2 / (2 * tau_fb) * math.exp(-k * dt / tau_fb) for k in (0, lag)]
    assert covariance == pytest.approx(expected, rel=0.07)


def _expected_update(loop: Loop, dt: float, steps: int, sigma: float, tau_fb: float) -> Tensor:
    """Mean of - v_fb[k] u[k + 1]^T in a linear network, from the recursion of the covariance.

    State (v, v_fb, u_int, e of the step before) relative to the free state, one layer after the
    other as the step does it; the mean is linear in the covariance of the state.
    """
    n = [len(b) for b in loop.biases]
    total, out = sum(n), n[-1]
    ends = np.cumsum([0, *n])
    spans = [slice(a, b) for a, b in pairwise(ends)]
    pi, q = loop.controller, torch.cat(loop.feedback).numpy()
    size = 2 * total + 2 * out
    rows = np.eye(size)
    v, v_fb = rows[:total], rows[total : 2 * total]
    u_int, u = rows[2 * total : 2 * total + out], rows[2 * total + out :]
    e = -v[spans[-1]]
    new_int = u_int + dt / pi.tau_u * (e - pi.alpha * u)
    new_u = new_int + pi.k_p * e
    new_fb = v_fb + dt / tau_fb * (q @ u - v_fb)
    kick = np.vstack([np.zeros((total, total)), sigma * dt**0.5 / tau_fb * np.eye(total)])
    kick = np.vstack([kick, np.zeros((2 * out, total))])
    new_v, kicked = np.zeros((total, size)), np.zeros((total, total))
    for i, span in enumerate(spans):
        new_v[span] = v[span] + dt / loop.tau_v * (new_fb[span] - v[span])
        kicked[span] = dt / loop.tau_v * kick[total : 2 * total][span]
        if i > 0:
            w = loop.weights[i].numpy() * dt / loop.tau_v
            new_v[span] += w @ new_v[spans[i - 1]]
            kicked[span] += w @ kicked[spans[i - 1]]
    step = np.vstack([new_v, new_fb, new_int, new_u])
    kick[:total] = kicked
    covariance, mean = np.zeros((size, size)), np.zeros((total, out))
    for _ in range(steps):
        mean -= v_fb @ covariance @ new_u.T / steps
        covariance = step @ covariance @ step.T + kick @ kick.T
    return torch.from_numpy(mean)


def test_sleep_update_of_a_linear_network_has_the_mean_that_the_covariance_gives() -> None:
    loop = _loop([4, 5, 3, 2], 3, linear=True)
    dt, steps, sigma, tau_fb = 0.005, 60, 0.1, 0.3
    samples = 40000
    x = normal(1, 1, 4).expand(samples // 10, 4)
    source = generator(7)
    draws = []
    for _ in range(10):
        settings_ = {"dt": dt, "steps": steps, "sigma": sigma, "tau_fb": tau_fb}
        draws.append(torch.cat(sleep_update(loop, x, generator=source, **settings_)))  # type: ignore[arg-type]
    found = torch.stack(draws)
    error = found.std(dim=0) / 10**0.5
    expected = _expected_update(loop, dt, steps, sigma, tau_fb)
    assert float(((found.mean(dim=0) - expected) / error).abs().max()) < 6
    assert float(error.norm() / expected.norm()) < 0.02


def test_theorem_6_feedback_of_a_linear_network_becomes_the_damped_pseudoinverse() -> None:
    # tau_fb, tau_v << tau_u, k_p = 0 and alpha large, as the theorem assumes. In its proof, the
    # integral of exp(-2 alpha t / tau_u) lacks the 2 (eq. 182); with it, gamma is twice as large.
    network = network_of([4, 5, 3], 2, activation="linear")
    feedback = DirectFeedback.random(network, generator(5))
    alpha, beta = 20.0, 0.2
    sleep = SleepPhase(
        sigma=0.1, alpha=alpha, k_p=0, tau_v=4e-4, tau_fb=2e-3, beta=beta, dt=4e-4, steps=2000
    )
    rule = DFC(network, feedback, sleep=sleep, generator=generator(1))
    j = _jacobian(Loop.of(network, feedback, PI()))
    eye = torch.eye(3, dtype=torch.float64)
    expected = alpha * j.T @ torch.linalg.inv(j @ j.T + 2 * alpha * beta * eye)
    x = normal(8, 1, 4).expand(200, 4)
    before = angle(torch.cat([q.detach() for q in feedback.matrices]), expected)
    optimizer = torch.optim.SGD(feedback.parameters(), lr=4.0)
    for k in range(40):
        for group in optimizer.param_groups:
            group["lr"] = 4.0 / (1 + k / 10)
        rule.feedback_backward(x)
        optimizer.step()
    learned = torch.cat([q.detach() for q in feedback.matrices])
    assert before > 30
    assert angle(learned, expected) < 5
    assert float(learned.norm() / expected.norm()) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("noisy_output", [False, True])
def test_an_output_layer_that_sees_the_control_signal_itself_sleeps_as_by_a_product(
    noisy_output: bool,
) -> None:
    def slept(output: float) -> Tensor:
        loop = _loop([3, 5, 33], 1)
        eye = output * torch.eye(33, dtype=torch.float64)
        loop = loop._replace(feedback=(*loop.feedback[:-1], eye))
        found = sleep_update(
            loop,
            normal(2, 4, 3),
            dt=0.004,
            steps=6,
            sigma=0.1,
            tau_fb=0.3,
            generator=generator(0),
            noisy_output=noisy_output,
        )
        return torch.cat([*found])

    torch.testing.assert_close(slept(1.0), slept(1 + 1e-12), rtol=1e-9, atol=1e-12)


def test_a_frozen_output_matrix_gets_no_gradient_and_no_noise() -> None:
    network = network_of([3, 2], 0)
    rule = DFC(network, sleep=SleepPhase(train_output=False))
    found = sleep_update(
        Loop.of(network, rule.feedback, PI()),
        normal(1, 4, 3),
        dt=0.002,
        steps=9,
        sigma=0.1,
        tau_fb=0.3,
        generator=generator(0),
        noisy_output=False,
    )
    # The only layer is the output: nothing moves.
    assert float(found[0].abs().max()) == 0
    rule.feedback_backward(normal(1, 4, 3))
    assert rule.feedback.matrices[0].grad is None


def test_without_a_signal_the_feedback_weights_decay() -> None:
    network = network_of([3, 4, 2], 0)
    sleep = SleepPhase(sigma=1e-12, beta=0.25)
    rule = DFC(network, sleep=sleep)
    rule.feedback_backward(normal(1, 4, 3))
    for q in rule.feedback.matrices:
        assert q.grad is not None
        torch.testing.assert_close(q.grad, 0.25 * q.detach(), rtol=0, atol=1e-12)


def test_the_same_generator_state_gives_the_same_feedback_update() -> None:
    network, x = network_of([3, 4, 2], 0), normal(1, 4, 3)
    grads = []
    for seed in (1, 1, 2):
        rule = DFC(network, generator=generator(seed))
        rule.feedback_backward(x)
        grads.append(torch.cat([q.grad for q in rule.feedback.matrices if q.grad is not None]))
    assert torch.equal(grads[0], grads[1])
    assert not torch.equal(grads[0], grads[2])


def test_forward_and_feedback_weights_learn_in_one_phase() -> None:
    network = network_of([4, 6, 3], 4, activation="linear")
    feedback = DirectFeedback.random(network, generator(5))
    rule = SinglePhaseDFC(
        network,
        feedback,
        PI(k_p=0, alpha=5.0),
        target_stepsize=0.1,
        tau_v=0.004,
        dt=0.004,
        steps=1000,
        sleep=SleepPhase(sigma=0.015, tau_fb=0.02, beta=0.5),
        filters=Filters(high_pass=0.4, settling=2.4),
        generator=generator(2),
    )
    x, y = normal(1, 400, 4), normal(2, 400, 3)
    j = _jacobian(Loop.of(network, feedback, PI()))
    optimizer = torch.optim.SGD(feedback.parameters(), lr=1.0)
    before = angle(torch.cat([q.detach() for q in feedback.matrices]), j.T)
    for _ in range(20):
        rule.backward(x, y)
        optimizer.step()
    learned = torch.cat([q.detach() for q in feedback.matrices])
    eye = torch.eye(3, dtype=torch.float64)
    # gamma = 2 alpha beta tau_u, see the test of theorem 6.
    expected = j.T @ torch.linalg.inv(j @ j.T + 5.0 * eye)
    assert before > 30
    assert angle(learned, expected) < 7
    # The forward update is still that of a run without noise.
    rule.backward(x, y)
    noisy = [w.grad.clone() for w in network.weights if w.grad is not None]
    quiet = DFC(
        network, feedback, rule.controller, target_stepsize=0.1, tau_v=0.004, dt=0.004, steps=1000
    )
    quiet.backward(x, y)
    for w, a in zip(network.weights, noisy, strict=True):
        assert w.grad is not None
        assert angle(w.grad, a) < 3


def test_without_the_high_pass_the_target_spoils_the_feedback_update() -> None:
    loop = _loop([4, 6, 3], 4, PI(0, 5.0), linear=True)
    x, target = normal(1, 3000, 4), normal(2, 3000, 3)
    updates = []
    for goal, high_pass in ((target, 0.4), (target, 1e9), (None, 0.4)):
        free = loop.activations[-1].function(free_state(loop, x).v[-1])
        found = single_phase_update(
            loop,
            x,
            free if goal is None else goal,
            dt=0.01,
            steps=600,
            sigma=0.3,
            tau_fb=0.04,
            generator=generator(0),
            filters=Filters(high_pass=high_pass, settling=4),
        )
        updates.append(torch.cat(found.feedback))
    filtered, unfiltered, sleep = updates
    assert angle(filtered, sleep) < 10
    assert angle(unfiltered, sleep) > 60


def test_smoothing_the_factors_removes_the_noise_bias_of_the_forward_update() -> None:
    loop = _loop([3, 5, 4, 2], 6, PI(1.0, 0.1), linear=True)
    x = normal(1, 1, 3).expand(4000, 3)
    free = loop.activations[-1].function(free_state(loop, x).v[-1])
    # The target is the free output: without noise there is nothing to learn.
    bias = []
    for low_pass in (0.0, 1.0):
        found = single_phase_update(
            loop,
            x,
            free,
            dt=0.01,
            steps=400,
            sigma=0.3,
            tau_fb=0.1,
            generator=generator(3),
            filters=Filters(low_pass=low_pass, settling=1),
        )
        bias.append(float(found.weights[2].norm()))
    assert bias[1] < 0.4 * bias[0]


def test_settings_outside_their_range_are_refused() -> None:
    for change in ({"sigma": 0.0}, {"beta": -1.0}, {"dt": math.nan}, {"steps": 0}):
        name = next(iter(change))
        with pytest.raises(UserError, match=f"sleep phase: {name}"):
            SleepPhase(**change)
    loop, x = _loop([3, 4, 2], 0), normal(0, 2, 3)
    for filters, message in (
        (Filters(high_pass=0), "high_pass"),
        (Filters(settling=1), "settling time"),
    ):
        with pytest.raises(UserError, match=message):
            single_phase_update(
                loop,
                x,
                normal(0, 2, 2),
                dt=0.01,
                steps=5,
                sigma=0.1,
                tau_fb=0.1,
                generator=generator(0),
                filters=filters,
            )
    with pytest.raises(UserError, match="k_d = 0"):
        noisy_free_state(loop._replace(controller=PID()), x)


def test_dynamics_that_diverge_are_an_error() -> None:
    network = Network([3, 4, 2], "linear", generator=generator(0))
    rule = DFC(network, sleep=SleepPhase(dt=0.5, tau_v=0.01, steps=400))
    with pytest.raises(ConvergenceError, match="diverged"):
        rule.feedback_backward(normal(0, 2, 3))
