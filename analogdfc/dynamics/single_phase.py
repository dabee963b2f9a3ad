"""Forward and feedback updates from one noisy run (Meulemans et al. 2021, App. C.3 and C.4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.activations import activate
from analogdfc.dynamics.loop import Loop, LoopState, presynaptic
from analogdfc.dynamics.noise import NoisyState, euler_maruyama, noisy_free_state
from analogdfc.dynamics.simulation import check_finite, check_run
from analogdfc.errors import UserError
from analogdfc.products import affine


class Filters(NamedTuple):
    """Filters of the plasticity's signals; times in units of the controller's time.

    Attributes:
        high_pass: time constant of the baseline that is subtracted from the presynaptic signal of
            the feedback weights, > 0.
        low_pass: time constant by which both factors of the forward update are smoothed before they
            are multiplied; 0 for none.
        settling: time after the release in which the feedback weights do not learn, >= 0; several
            times high_pass, since the baseline too starts at 0.
    """

    high_pass: float = 0.5
    low_pass: float = 0.0
    settling: float = 5.0


class SinglePhaseUpdate(NamedTuple):
    """Mean updates over the run and the batch, before any learning rate.

    Attributes:
        weights: Delta W_1..Delta W_L, (n_i, n_{i-1}).
        biases: Delta b_1..Delta b_L, (n_i,).
        feedback: Delta Q_1..Delta Q_L without decay, (n_i, m_i).
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    feedback: tuple[Tensor, ...]


class _Factors(NamedTuple):
    """Post- and presynaptic factors of the forward update, one a layer, (batch, n)."""

    post: tuple[Tensor, ...]
    pre: tuple[Tensor, ...]


def _factors(loop: Loop, state: NoisyState, x: Tensor, first: Tensor, nonlinear: bool) -> _Factors:
    r = [activate(phi, v) for phi, v in zip(loop.activations, state.v, strict=True)]
    pre = (x, *r[:-1])
    post: list[Tensor] = []
    for i, (w, b, phi) in enumerate(zip(loop.weights, loop.biases, loop.activations, strict=True)):
        v_ff = affine(pre[i], w, b) if i else first
        post.append(r[i] - activate(phi, v_ff) if nonlinear else state.v[i] - v_ff)
    return _Factors(tuple(post), pre)


def _smoothed(slow: _Factors, fast: _Factors, gain: float) -> _Factors:
    """One step of the low-pass filters; a gain of 1 lets everything through."""
    return _Factors(
        *(
            tuple(torch.lerp(a, b, gain) for a, b in zip(old, new, strict=True))
            for old, new in zip(slow, fast, strict=True)
        )
    )


@torch.inference_mode()
def single_phase_update(
    loop: Loop,
    x: Tensor,
    target: Tensor,
    *,
    dt: float,
    steps: int,
    sigma: float,
    tau_fb: float,
    generator: torch.Generator,
    filters: Filters | None = None,
    proactive: bool = True,
    nonlinear: bool = True,
    noisy_output: bool = True,
) -> SinglePhaseUpdate:
    """Both updates from one run towards the target, with noise in the feedback compartments.

    The feedback weights learn by - v_fb (u - u_slow)^T (eq. 198), with u_slow the low-passed
    presynaptic signal; what is left of it are the fluctuations of the noise. The forward weights
    learn as in Algorithm 1; the correlated noise of their two factors biases that update (eq. 205),
    which smoothing the factors before their product removes (App. C.4).

    Args:
        loop: the constants of the dynamics; its controller has no derivative part.
        x: inputs, (batch, n_0).
        target: output targets, (batch, n_L).
        dt: time step, in units of the controller's time.
        steps: number of steps; more than `filters.settling / dt`.
        sigma: strength of the noise, >= 0.
        tau_fb: time constant of the feedback compartments, > 0.
        generator: source of the noise, on the device of x.
        filters: filters of the plasticity's signals; by default `Filters()`.
        proactive: see `euler_maruyama`.
        nonlinear: as in `mean_update`.
        noisy_output: the output layer too receives noise.

    Raises:
        ConvergenceError: a signal has left the finite numbers.
        UserError: a value outside its range.
    """
    filters = filters or Filters()
    check_run(loop, x, target, dt, steps)
    _check(filters, dt, steps, sigma, tau_fb)
    state = noisy_free_state(loop, x)
    first = state.v[0].clone()
    factors = _factors(loop, state, x, first, nonlinear)
    slow = presynaptic(loop, state.u)
    weights = [torch.zeros_like(w) for w in loop.weights]
    biases = [torch.zeros_like(b) for b in loop.biases]
    feedback = [torch.zeros_like(q) for q in loop.feedback]
    low = dt / (filters.low_pass + dt)
    settled = round(filters.settling / dt)
    for k in range(steps):
        before = state.v_fb
        noise = tuple(sigma * torch.empty_like(v).normal_(generator=generator) for v in state.v)
        if not noisy_output:
            noise[-1].zero_()
        state = euler_maruyama(
            loop, state, first, target, noise, dt=dt, tau_fb=tau_fb, proactive=proactive
        )
        factors = _smoothed(factors, _factors(loop, state, x, first, nonlinear), low)
        for w, b, post, pre in zip(weights, biases, *factors, strict=True):
            w.addmm_(post.T, pre)
            b.add_(post.sum(dim=0))
        signals = presynaptic(loop, state.u)
        slow = tuple(map(torch.lerp, slow, signals, [dt / filters.high_pass] * len(slow)))
        if k >= settled:
            for q, v_fb, fast, base in zip(feedback, before, signals, slow, strict=True):
                q.addmm_(v_fb.T, fast - base, alpha=-1)
    check_finite(LoopState(state.v, state.u_int, state.u))
    forward, learned = 1 / (steps * len(x)), 1 / ((steps - settled) * len(x))
    return SinglePhaseUpdate(
        tuple((w * forward).clone() for w in weights),
        tuple((b * forward).clone() for b in biases),
        tuple((q * learned).clone() for q in feedback),
    )


def _check(filters: Filters, dt: float, steps: int, sigma: float, tau_fb: float) -> None:
    if not (filters.high_pass >= dt and filters.low_pass >= 0 and filters.settling >= 0):
        raise UserError(f"{filters}: high_pass >= dt = {dt}, low_pass and settling >= 0 are needed")
    if round(filters.settling / dt) >= steps:
        raise UserError(f"{steps} steps of {dt} end within the settling time {filters.settling}")
    if not (sigma >= 0 and tau_fb > 0):
        raise UserError(f"sigma = {sigma}, tau_fb = {tau_fb}: sigma >= 0 and tau_fb > 0 are needed")
