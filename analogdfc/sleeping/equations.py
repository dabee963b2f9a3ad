"""The equations of a sleeping network, in continuous time and with given noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.activations import activate
from analogdfc.dynamics import Readings, Trajectory
from analogdfc.dynamics.loop import Loop, LoopState, free_state, push, signals
from analogdfc.dynamics.simulation import check_finite

_FRACTION = 0.25
"""Longest time step as a part of the least time constant."""


class _State(NamedTuple):
    """Potentials and feedback compartments of layers 1..L, and the controller's integral part."""

    v: tuple[Tensor, ...]
    v_fb: tuple[Tensor, ...]
    u_int: Tensor

    def moved(self, slope: _State, dt: float) -> _State:
        """The state a time later, if it goes on like this."""
        v, v_fb = (
            tuple(torch.add(a, b, alpha=dt) for a, b in zip(*both, strict=True))
            for both in ((self.v, slope.v), (self.v_fb, slope.v_fb))
        )
        return _State(v, v_fb, torch.add(self.u_int, slope.u_int, alpha=dt))


@torch.inference_mode()
def noisy_run(
    loop: Loop,
    x: Tensor,
    noise: Sequence[Tensor],
    *,
    tau_fb: float,
    spacing: float,
    points: int,
) -> Trajectory:
    """Waveforms of the stochastic equations (Meulemans et al. 2021, eqs. 206 to 208).

    tau_fb dv_fb/dt = -v_fb + Q u + sigma xi and tau_v dv/dt = -v + W r + b + v_fb, with the free
    output as the target, from the free state on, by the classical Runge-Kutta method.

    Args:
        loop: the constants of the dynamics; its controller has no derivative part.
        x: inputs, (batch, n_0).
        noise: sigma xi of layers 1..L at evenly spaced times, (batch, times, n_i), from the start
            to the end; straight lines between them.
        tau_fb: time constant of the feedback compartments, in units of the controller's time.
        spacing: of these times, in the same unit.
        points: intervals of the record in each interval of the noise.

    Raises:
        ConvergenceError: a signal has left the finite numbers.
    """
    start = free_state(loop, x)
    target = activate(loop.activations[-1], start.v[-1])
    first = torch.addmm(loop.biases[0], x, loop.weights[0].T)
    least = min(loop.tau_v, tau_fb, loop.controller.tau_u)
    steps = max(1, int(-(-spacing // (points * _FRACTION * least))))
    h = spacing / (points * steps)

    def slope(state: _State, xi: list[Tensor]) -> _State:
        r = [activate(phi, v) for phi, v in zip(loop.activations, state.v, strict=True)]
        e = target - r[-1]
        pi = loop.controller
        u = pi.output(state.u_int, e)
        pushed = push(loop, u)
        v, v_fb = [], []
        for i, (w, b) in enumerate(zip(loop.weights, loop.biases, strict=True)):
            v_ff = first if i == 0 else torch.addmm(b, r[i - 1], w.T)
            v.append((v_ff + state.v_fb[i] - state.v[i]) / loop.tau_v)
            v_fb.append((pushed[i] + xi[i] - state.v_fb[i]) / tau_fb)
        return _State(tuple(v), tuple(v_fb), pi.derivative(pi.leaking(state.u_int, u), e))

    state = _State(start.v, tuple(map(torch.zeros_like, start.v)), start.u_int)
    seen = [state]
    for k in range(noise[0].shape[1] - 1):
        for m in range(points * steps):
            begin, middle, end = (
                [torch.lerp(n[:, k], n[:, k + 1], (m + part) / (points * steps)) for n in noise]
                for part in (0.0, 0.5, 1.0)
            )
            s1 = slope(state, begin)
            s2 = slope(state.moved(s1, h / 2), middle)
            s3 = slope(state.moved(s2, h / 2), middle)
            s4 = slope(state.moved(s3, h), end)
            for one, part in ((s1, h / 6), (s2, h / 3), (s3, h / 3), (s4, h / 6)):
                state = state.moved(one, part)
            if (m + 1) % steps == 0:
                seen.append(state)
    check_finite(LoopState(state.v, state.u_int, state.u_int))
    return _recorded(loop, x, target, seen, spacing / points)


def _recorded(
    loop: Loop, x: Tensor, target: Tensor, seen: Sequence[_State], dt: float
) -> Trajectory:
    """The trajectory of states."""
    batch, count = len(x), len(seen)

    def stacked(tensors: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(tensors), dim=1)

    def shaped(layers: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(layer.reshape(batch, count, -1) for layer in layers)

    layers = range(len(loop.weights))
    v = tuple(stacked([s.v[i] for s in seen]).flatten(0, 1) for i in layers)
    each = x.repeat_interleave(count, dim=0)
    free = _readings(loop, seen[0].v, x)
    found = _readings(loop, v, each)
    e = target.unsqueeze(1) - found.r[-1].reshape(batch, count, -1)
    return Trajectory(
        t=torch.arange(count, dtype=x.dtype) * dt,
        x=x,
        neurons=Readings(
            v=shaped(found.v),
            v_ff=shaped(found.v_ff),
            r=shaped(found.r),
            r_ff=shaped(found.r_ff),
            v_fb=tuple(stacked([s.v_fb[i] for s in seen]) for i in layers),
        ),
        u=loop.controller.output(stacked([s.u_int for s in seen]), e),
        e=e,
        free=Readings(v=free.v, v_ff=free.v_ff, r=free.r, r_ff=free.r_ff, v_fb=seen[0].v_fb),
    )


def _readings(loop: Loop, v: tuple[Tensor, ...], x: Tensor) -> Readings:
    found = signals(loop, v, x)
    v_ff = found.v_ff
    r_ff = tuple(activate(phi, vi) for phi, vi in zip(loop.activations, v_ff, strict=True))
    return Readings(v=v, v_ff=v_ff, r=found.r[1:], r_ff=r_ff)
