"""Noisy dynamics of the control loop, from which the feedback weights are learned."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.activations import Activation, activate, get_activation
from analogdfc.dynamics.gaussian import Gaussian
from analogdfc.dynamics.loop import (
    Loop,
    LoopState,
    free_state,
    in_single,
    is_identity,
    output,
    presynaptic,
    push,
)
from analogdfc.dynamics.simulation import check_finite, check_run
from analogdfc.errors import UserError
from analogdfc.products import affine, multiplied

_LINEAR = get_activation("linear")

_CLEAR = 1e4
"""Noise over the rounding of the activations from which on single precision is enough for both."""

_CHUNK = 2  # steps whose outer products are summed by one matrix product; few, for the cache


class NoisyState(NamedTuple):
    """State of the loop with noise in its feedback compartments; tensors are (batch, n).

    Attributes:
        v: potentials of layers 1..L.
        v_fb: feedback compartments of layers 1..L.
        u_int: integral part of the control signal.
        u: control signal.
    """

    v: tuple[Tensor, ...]
    v_fb: tuple[Tensor, ...]
    u_int: Tensor
    u: Tensor


def noisy_free_state(loop: Loop, x: Tensor) -> NoisyState:
    """The feedforward potentials, with silent feedback compartments and controller.

    Raises:
        UserError: a controller with a derivative part.
    """
    if loop.controller.differentiates:
        raise UserError(
            f"{loop.controller}: noise and a derivative part don't go together; take k_d = 0"
        )
    start = free_state(loop, x)
    return NoisyState(start.v, tuple(map(torch.zeros_like, start.v)), start.u_int, start.u)


def euler_maruyama(
    loop: Loop,
    state: NoisyState,
    first: Tensor,
    target: Tensor,
    noise: tuple[Tensor, ...],
    *,
    dt: float,
    tau_fb: float,
    proactive: bool = False,
) -> NoisyState:
    """One step of the stochastic equations (Meulemans et al. 2021, Algorithm 4, eqs. 206 to 209).

    tau_fb dv_fb = (-v_fb + Q u) dt + sigma dw and tau_v dv = (-v + W r + b + v_fb) dt, where each
    layer sees the activations that the layer below has just reached.

    Args:
        loop: the constants of the dynamics; its controller has no derivative part, which would
            amplify the noise without a bound.
        state: state at time t.
        first: feedforward compartment of layer 1, W_1 r_0 + b_1, (batch, n_1).
        target: output target, (batch, n_L).
        noise: sigma xi of each layer, (batch, n_i), with xi standard normal.
        dt: time step, in units of the controller's time.
        tau_fb: time constant of the feedback compartments, in the same unit.
        proactive: the compartments see the control signal of the same step, as in Algorithm 4;
            else that of the step before, as in the published code.

    Returns:
        The state at t + dt.
    """
    pi = loop.controller
    e = target - activate(loop.activations[-1], state.v[-1])
    u_int = state.u_int + dt * pi.derivative(pi.leaking(state.u_int, state.u), e)
    u = pi.output(u_int, e)
    pushed = push(loop, u if proactive else state.u)
    v: list[Tensor] = []
    v_fb: list[Tensor] = []
    r = first
    for i, (w, b, phi) in enumerate(zip(loop.weights, loop.biases, loop.activations, strict=True)):
        v_ff = affine(r, w, b) if i else first
        kick = (dt**0.5 / tau_fb) * noise[i]
        v_fb.append(torch.lerp(state.v_fb[i], pushed[i], dt / tau_fb) + kick)
        v.append(torch.lerp(state.v[i], v_ff + v_fb[i], dt / loop.tau_v))
        r = activate(phi, v[i])
    return NoisyState(tuple(v), tuple(v_fb), u_int, u)


class _Layer:
    """A layer about its free state.

    Args:
        phi: its activation.
        free: potentials of the free state, (batch, n).
        v: deviations from them, (batch, n), which others change.
    """

    def __init__(self, phi: Activation, free: Tensor, v: Tensor) -> None:
        self.phi, self.free, self.v = phi, free, v
        self._r_free = activate(phi, free)
        self._r = v if phi is _LINEAR else torch.empty_like(free)

    def answer(self) -> Tensor:
        """Deviations of its activations, (batch, n), until they change the next time."""
        if self._r is not self.v:
            torch.add(self.free, self.v, out=self._r)
            activate(self.phi, self._r, self._r).sub_(self._r_free)
        return self._r


class _Run:
    """Buffers of a sleep phase; a step works in place, on all layers at once where it can.

    They hold deviations from the free state, in which nothing changes: those of the output are the
    controller's error, and the first layer's feedforward compartment has none.
    """

    def __init__(
        self,
        loop: Loop,
        state: LoopState,
        dt: float,
        sigma: float,
        tau_fb: float,
        proactive: bool,
        noisy_output: bool,
        generator: torch.Generator,
    ) -> None:
        self.loop, self.dt, self.proactive = loop, dt, proactive
        self.gain, self.gain_fb = dt / loop.tau_v, dt / tau_fb
        self.source = Gaussian(generator, sigma * dt**0.5 / tau_fb)
        ends = np.cumsum([0, *(v.shape[1] for v in state.v)])
        self.spans = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self.noisy = int(ends[-1] if noisy_output else ends[-2])
        self.v = state.u.new_zeros(len(state.u), int(ends[-1]))
        self.u_int, self.u = state.u_int.clone(), state.u.clone()
        # Row k + 1 receives noise, then becomes the compartments after step k.
        self.v_fb = self.v.new_empty(_CHUNK + 1, *self.v.shape)
        self.v_fb[0] = 0
        self.e, self.seen = torch.empty_like(self.u), _distinct(loop, self.u)
        us = self.u.new_empty(_CHUNK, *self.u.shape)
        self.us = list(us)
        # Presynaptic signals of the chunk's steps: the control signals themselves, if direct.
        self.h = [us]
        if loop.pathway is not None:
            self.h = [h.new_empty(_CHUNK, *h.shape) for h in self.seen]
        self.layers = [
            _Layer(phi, v, self.v[:, span])
            for phi, v, span in zip(loop.activations, state.v, self.spans, strict=True)
        ]
        self.r_last = torch.zeros_like(self.u)
        self._route()

    def _route(self) -> None:
        """Buffers of the feedback; of layers that all see the control signal, one for all."""
        loop, self.alone = self.loop, False
        self.direct: Tensor | None = None
        # A product this narrow takes half the time with its few rows first.
        if loop.pathway is not None:
            self.sums = [torch.zeros_like(q.T) for q in loop.feedback]
            return
        self.alone = is_identity(loop.feedback[-1])
        feedback = loop.feedback[:-1] if self.alone else loop.feedback
        if feedback:
            self.direct = torch.cat(feedback).T.contiguous()
        whole = self.v.new_zeros(self.u.shape[1], self.v.shape[1])
        self.sums = [whole[:, span] for span in self.spans]
        self.whole = whole[:, : self.noisy]

    def chunk(self, count: int) -> None:
        """Some steps, and their share of the update."""
        new = self.v_fb[1 : count + 1]
        if self.noisy == new.shape[2]:
            self.source.fill(new)
        else:
            new[:, :, : self.noisy] = self.source.fill(new.new_empty(*new.shape[:2], self.noisy))
            new[:, :, self.noisy :] = 0
        for slot in range(count):
            self._step(slot)
        self._collect(count)
        self.v_fb[0] = self.v_fb[count]

    def _step(self, slot: int) -> None:
        loop, before = self.loop, self.seen
        self._control(self.us[slot])
        self.seen = _distinct(loop, self.u)
        if loop.pathway is not None:
            for buffer, h in zip(self.h, self.seen, strict=True):
                buffer[slot] = h
        seen = self.seen if self.proactive else before
        v_fb = self.v_fb[slot + 1].add_(self.v_fb[slot], alpha=1 - self.gain_fb)
        if loop.pathway is None:
            if self.direct is not None:
                v_fb[:, : self.direct.shape[1]].addmm_(seen[0], self.direct, alpha=self.gain_fb)
            if self.alone:
                v_fb[:, self.spans[-1]].add_(seen[0], alpha=self.gain_fb)
        else:
            for span, q, h in zip(self.spans, loop.feedback, self._each(seen), strict=True):
                v_fb[:, span].addmm_(h, q.T, alpha=self.gain_fb)
        self.v.lerp_(v_fb, self.gain)
        for i, layer in enumerate(self.layers):
            if i > 0:
                layer.v.addmm_(self.r_last, loop.weights[i].T, alpha=self.gain)
            self.r_last = layer.answer()

    def _control(self, u: Tensor) -> None:
        """Move the controller on by one step; its signal is written into a tensor."""
        pi = self.loop.controller
        torch.neg(self.r_last, out=self.e)
        if pi.alpha > 0:
            leaking = pi.leaking(self.u_int, self.u)
            self.u_int.add_(leaking, alpha=-self.dt * pi.alpha / pi.tau_u)
        self.u_int.add_(self.e, alpha=self.dt / pi.tau_u)
        self.u = torch.add(self.u_int, self.e, alpha=pi.k_p, out=u)

    def _each(self, distinct: list[Tensor]) -> list[Tensor]:
        """One tensor a layer, where all layers may share one."""
        return distinct * (len(self.spans) // len(distinct))

    def _collect(self, count: int) -> None:
        """Add - h(u[k + 1]) v_fb[k]^T of a chunk, of the layers that receive noise."""
        post = self.v_fb[:count, :, : self.noisy].flatten(0, 1)
        if self.loop.pathway is None:
            self.whole.sub_(multiplied(self.h[0][:count].flatten(0, 1).T, post))
            return
        for s, span, h in zip(self.sums, self.spans, self._each(self.h), strict=True):
            if span.stop <= self.noisy:
                s.addmm_(h[:count].flatten(0, 1).T, post[:, span], alpha=-1)


def _distinct(loop: Loop, u: Tensor) -> list[Tensor]:
    """Presynaptic signals of the feedback; one where all layers share it."""
    return [u] if loop.pathway is None else list(presynaptic(loop, u))


@torch.inference_mode()
def sleep_update(
    loop: Loop,
    x: Tensor,
    *,
    dt: float,
    steps: int,
    sigma: float,
    tau_fb: float,
    generator: torch.Generator,
    proactive: bool = False,
    noisy_output: bool = True,
    precise: bool = False,
) -> tuple[Tensor, ...]:
    """Feedback update of a sleep phase, without its decay (Meulemans et al. 2021, eq. 13).

    Noise perturbs every layer while the target is the free output; the anti-Hebbian product of
    feedback compartment and control signal, - v_fb[k] u[k + 1]^T, is averaged over the run and the
    batch (Algorithm 4). With a feedback network, its features phi(A u) stand for u (App. H). Memory
    does not grow with the number of steps.

    Args:
        loop: the constants of the dynamics; its controller has no derivative part.
        x: inputs, (batch, n_0).
        dt: time step, in units of the controller's time.
        steps: number of steps, >= 1.
        sigma: strength of the noise in the feedback compartments, > 0.
        tau_fb: time constant of the feedback compartments, in the same unit as dt, > 0.
        generator: source of the noise, on the device of x.
        proactive: see `euler_maruyama`.
        noisy_output: the output layer too receives noise.
        precise: simulate in the precision of x. Else, with direct feedback and noise of more than
            1e4 times the rounding of the activations in single precision, all deviations from the
            free state are in single precision, for half the time: the same noise gives an update
            within 1e-4 of its norm, where the noise is 1e5 times the rounding (as published)
            within 1e-5.

    Returns:
        Delta Q_1..Delta Q_L, (n_i, m_i); 0 of an output layer without noise, which learns nothing.

    Raises:
        ConvergenceError: a signal has left the finite numbers.
        UserError: a value outside its range, or a generator on another device.
    """
    if not (sigma > 0 and tau_fb > 0):
        raise UserError(f"sigma = {sigma}, tau_fb = {tau_fb}: both must be > 0")
    if generator.device.type != x.device.type:
        raise UserError(f"noise from a generator on {generator.device}, samples on {x.device}")
    start = free_state(loop, x)
    check_run(loop, x, output(loop, start), dt, steps)
    spread = sigma * min(dt * steps, tau_fb / 2) ** 0.5 / tau_fb
    if not precise and _single_does(loop, start, spread):
        v, u_int, u, _ = start
        loop = in_single(loop)
        start = LoopState(tuple(vi.float() for vi in v), u_int.float(), u.float())
    run = _Run(loop, start, dt, sigma, tau_fb, proactive, noisy_output, generator)
    for first in range(0, steps, _CHUNK):
        run.chunk(min(_CHUNK, steps - first))
    v = tuple(run.v[:, span] for span in run.spans)
    check_finite(LoopState(v, run.u_int, run.u))
    return tuple((s.T.to(x.dtype) / (steps * len(x))).clone() for s in run.sums)


def _single_does(loop: Loop, start: LoopState, spread: float) -> bool:
    """Whether single precision tells the noise from its rounding well enough.

    Args:
        loop: the constants of the dynamics.
        start: the free state.
        spread: standard deviation of the compartments at the end of the run, without feedback.
    """
    if start.u.dtype != torch.float64 or loop.pathway is not None:
        return False
    largest = 1.0
    for phi, v in zip(loop.activations, start.v, strict=True):
        if phi is not _LINEAR:  # whose deviations are found without a difference
            r = activate(phi, v)
            largest = max(largest, float(torch.linalg.vector_norm(r, ord=torch.inf)))
    return spread >= _CLEAR * torch.finfo(torch.float32).eps * largest
