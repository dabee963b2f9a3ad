"""The rest that the dynamics reach: Newton's root where that is sure, else theirs.

Newton's method on the control signal finds any root: one that is unstable, or another than that to
which the dynamics go from the free state. Where the map from control signal to output is monotone
along the way there is but one. Elsewhere the linearised loop has to be stable at both ends and
nearly straight between them, or the dynamics are followed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.dynamics.integrators import RungeKutta4
from analogdfc.dynamics.loop import Loop, LoopState, free_state
from analogdfc.dynamics.stability import stable
from analogdfc.dynamics.steady import Root, newton, path_gains, rest
from analogdfc.network import Forward

_STRAIGHT = 0.1
"""Residual left by Newton's first step up to which a stable loop goes where that step leads."""

_CHUNK = 10.0
"""Time, in units of the loop's slower time constant, between two looks at where it has come."""

_CHUNKS = 20
"""Bound on the number of looks."""

_ALIKE = 3
"""Chunks that are laid beside as many before to see whether a loop moves on as much."""

_CHANGE = 0.05
"""Change of its movement, relative, up to which it does."""

_NEAR = 0.02
"""Distance of a stable root, relative to its control signal, from which the loop falls into it."""


class SteadyState(NamedTuple):
    """Where the loop comes to rest.

    Attributes:
        layers: signals of the layers.
        u: control signal, (batch, n_L).
        converged: samples that come to a rest, which met the tolerance, (batch,).
        residual: largest |r* - r_L - alpha~ u| of a sample over its largest |r* - r_L| of the free
            state, (batch,).
        iterations: Newton steps taken.
        simulated: samples whose dynamics were followed, since Newton's root from the free state
            is none, is unstable, or isn't surely theirs, (batch,).
        root: samples whose signals are those of a root, even of one that they leave, (batch,).
    """

    layers: Forward
    u: Tensor
    converged: Tensor
    residual: Tensor
    iterations: int
    simulated: Tensor
    root: Tensor


def steady_state(
    loop: Loop,
    free: Forward,
    target: Tensor,
    *,
    limit: Tensor | None = None,
    tolerance: float = 1e-10,
    iterations: int = 30,
) -> SteadyState:
    """The rest that the released loop reaches from its free state.

    Args:
        loop: the constants of the dynamics.
        free: the layers without feedback (see `loop.free_pass`).
        target: output targets r*, (batch, n_L).
        limit: magnitude of the control signal, (n_L,), beyond which one that is followed is lost;
            None where it may grow.
        tolerance: see `newton`.
        iterations: bound on the Newton steps.
    """
    root = newton(loop, free, target, tolerance=tolerance, iterations=iterations)
    sure = root.converged & _surely_reached(loop, free, root)
    found = SteadyState(
        root.layers, root.u, root.converged, root.residual, root.iterations, ~sure, root.converged
    )
    if bool(sure.all()):
        return found
    return _followed(loop, free, target, found, limit, tolerance, iterations)


def _surely_reached(loop: Loop, free: Forward, root: Root) -> Tensor:
    """Roots that are stable and that the dynamics surely come to, (batch,)."""
    probe = _fastest(root)
    monotone = root.monotone
    if probe is not None and not bool(stable(loop, _part(root.layers, probe), root.u[probe]).all()):
        monotone = torch.zeros_like(monotone)
    if bool(monotone.all()):
        return monotone
    left = torch.nonzero(~monotone & root.converged & (root.bend <= _STRAIGHT)).squeeze(-1)
    sure = monotone.clone()
    if len(left):
        u = root.u[left]
        at_rest = stable(loop, _part(root.layers, left), u)
        sure[left] = at_rest & stable(loop, _part(free, left), torch.zeros_like(u))
    return sure


def _fastest(root: Root) -> slice | None:
    """The monotone sample of the largest gain, which lags make oscillate first; None if none."""
    if not bool(root.monotone.any()) or root.iterations == 0:
        return None
    k = int(torch.where(root.monotone, root.gain, -1.0).argmax())
    return slice(k, k + 1)


def _part(layers: Forward, where: Tensor | slice) -> Forward:
    """Some of the samples."""
    return Forward(*(tuple(signal[where] for signal in kind) for kind in layers))


def _followed(
    loop: Loop,
    free: Forward,
    target: Tensor,
    found: SteadyState,
    limit: Tensor | None,
    tolerance: float,
    iterations: int,
) -> SteadyState:
    """Replace the samples that aren't sure by what their dynamics come to."""
    where = torch.nonzero(found.simulated).squeeze(-1)
    u, converged, residual = found.u.clone(), found.converged.clone(), found.residual.clone()
    converged[where] = False
    count = found.iterations
    state = free_state(loop, free.r[0][where])
    chunk = _CHUNK * (loop.controller.tau_u if loop.controller.integrates else loop.tau_v)
    chunk = max(chunk, _CHUNK * loop.tau_v)
    dt = _step(loop, _part(free, where), target[where])
    spans = u.new_zeros(len(where), 0)
    for _ in range(_CHUNKS):
        x, goal = free.r[0][where], target[where]
        state, span = _later(loop, state, x, goal, dt, max(1, round(chunk / dt)))
        spans = torch.cat([spans, span], dim=-1)
        alive = ~_lost(state, spans, limit)
        where, goal, state, spans = where[alive], goal[alive], _kept(state, alive), spans[alive]
        if not len(where):
            break
        root = newton(
            loop, _part(free, where), goal,
            start=state.u, tolerance=tolerance, iterations=iterations,
        )  # fmt: skip
        there = root.converged & _arrived(loop, state, root)
        done = where[there]
        u[done], residual[done], converged[done] = root.u[there], root.residual[there], True
        count += root.iterations
        where, state, spans = where[~there], _kept(state, ~there), spans[~there]
        if not len(where):
            break
    return SteadyState(
        rest(loop, free, u), u, converged, residual, count, found.simulated, found.root | converged
    )


def _later(
    loop: Loop, state: LoopState, x: Tensor, target: Tensor, dt: float, steps: int
) -> tuple[LoopState, Tensor]:
    """The state after some steps, and how far the control signal has moved between, (batch, 1)."""
    integrator = RungeKutta4(substeps=1)
    low = high = state.u
    for _ in range(steps):
        state = integrator.step(loop, state, x, target, dt)
        low, high = torch.minimum(low, state.u), torch.maximum(high, state.u)
    return state, (high - low).amax(dim=-1, keepdim=True)


def _lost(state: LoopState, spans: Tensor, limit: Tensor | None) -> Tensor:
    """Whether a loop is seen to come to no rest, (batch,).

    It has left the finite numbers or the limit, or moves on as much as before.

    Args:
        state: where it is.
        spans: how far its control signal has moved in each chunk, (batch, chunks).
        limit: see `steady_state`.
    """
    lost = ~torch.isfinite(state.u).all(dim=-1)
    if limit is not None:
        lost |= (state.u.abs() > limit).any(dim=-1)
    if spans.shape[-1] >= 2 * _ALIKE:
        recent, before = spans[:, -_ALIKE:], spans[:, -2 * _ALIKE : -_ALIKE]
        change = recent.amax(dim=-1) / before.amax(dim=-1)
        lost |= (change - 1).abs() < _CHANGE
    return lost


def _arrived(loop: Loop, state: LoopState, root: Root) -> Tensor:
    """Whether all signals of a state are near a stable root, (batch,)."""
    size = root.u.abs().amax(dim=-1)
    away = (state.u - root.u).abs().amax(dim=-1)
    near = away <= _NEAR * size
    for now, then in zip(state.v, root.layers.v, strict=True):
        near &= (now - then).abs().amax(dim=-1) <= _NEAR * (1 + then.abs().amax(dim=-1))
    where = torch.nonzero(near & root.converged).squeeze(-1)
    if len(where):
        near[where] = stable(loop, _part(root.layers, where), root.u[where])
    return near


def _step(loop: Loop, free: Forward, target: Tensor) -> float:
    """A step that is short enough for the fastest mode of the loop at the free state."""
    c = loop.controller
    gains = path_gains(loop, free.r[1:], torch.zeros_like(target))
    gain = max(float(g.square().sum(dim=(-2, -1)).sqrt().max()) for g in gains)
    fastest = (1 + (c.k_p + c.k_d / c.tau_d * c.differentiates) * gain) / loop.tau_v
    if c.differentiates:
        fastest = max(fastest, 1 / c.tau_d)
    return min(loop.tau_v / 4, 1.5 / fastest)


def _kept(state: LoopState, where: Tensor) -> LoopState:
    slow = None if state.r_slow is None else state.r_slow[where]
    v = tuple(vi[where] for vi in state.v)
    return LoopState(v, state.u_int[where], state.u[where], slow)
