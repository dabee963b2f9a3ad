"""The rest that the dynamics reach: Newton's root where that is sure, else theirs.

Newton's method on the control signal finds any root: one that is unstable, or another than that to
which the dynamics go from the free state. Where the map from control signal to output is monotone
along the way there is but one: if that is unstable, the loop comes to no rest, and oscillates.
Elsewhere the linearised loop has to be stable at both ends and nearly straight between them, or the
dynamics are followed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.dynamics.integrators import RungeKutta4
from analogdfc.dynamics.loop import Loop, LoopState, free_state
from analogdfc.dynamics.stability import few_modes, stable
from analogdfc.dynamics.steady import Root, newton, path_gains, rest
from analogdfc.network import Forward

_STRAIGHT = 0.1
"""Residual left by Newton's first step up to which a stable loop goes where that step leads."""

_PROBES = 4
"""Samples whose stability is asked for in place of a whole batch, where that is cheap."""

_CHUNK = 10.0
"""Time, in units of the loop's slower time constant, between two looks at where it has come."""

_CHUNKS = 20
"""Bound on the number of looks."""

_ALIKE = 3
"""Chunks that are laid beside as many before to see whether a loop moves on as much."""

_CHANGE = 0.05
"""Change of its movement, relative, up to which it does."""

_RISE, _RISES = 1.1, 500
"""Factor between two bounds on the fastest mode that are tried, and how many are."""

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
        simulated: samples whose rest isn't surely Newton's root from the free state, which is none,
            is unstable, or may be another, (batch,). Their dynamics were followed, save where that
            root is the only one and unstable.
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
    sure, left = _judged(loop, free, root)
    found = SteadyState(
        root.layers, root.u, sure, root.residual, root.iterations, ~sure, root.converged
    )
    if not len(left):
        return found
    return _followed(loop, free, target, found, left, limit, tolerance, iterations)


def _judged(loop: Loop, free: Forward, root: Root) -> tuple[Tensor, Tensor]:
    """Which roots are stable and surely those that the dynamics come to, and what to follow.

    Returns:
        Whether a root surely is the rest, (batch,), and the numbers of the samples of which that
        has to be seen from their dynamics. The others have no rest.
    """
    only = root.monotone & root.converged
    probes = _fastest(root, _PROBES if few_modes(loop) else 1)
    if not len(probes) or bool(_stable(loop, root.layers, root.u, probes).all()):
        if bool(only.all()):
            return only, probes[:0]
        sure, asked = only, root.converged & ~only & (root.bend <= _STRAIGHT)
    else:
        sure, asked = torch.zeros_like(only), only | root.converged & (root.bend <= _STRAIGHT)
    restless = torch.zeros_like(only)
    where = torch.nonzero(asked).squeeze(-1)
    if len(where):
        restless[where] = ~_stable(loop, root.layers, root.u, where)
        where = where[~restless[where] & (root.bend[where] <= _STRAIGHT)]
    if len(where):
        without = torch.zeros_like(root.u)
        sure = sure.index_put((where,), _stable(loop, free, without, where))
    # Elsewhere another root may be the one that the dynamics come to.
    restless &= only
    return sure, torch.nonzero(~sure & ~restless).squeeze(-1)


def _stable(loop: Loop, layers: Forward, u: Tensor, where: Tensor) -> Tensor:
    """Whether the loop is stable around some samples' states, (len(where),)."""
    return stable(loop, [ri[where] for ri in layers.r[1:]], u[where])


def _fastest(root: Root, count: int) -> Tensor:
    """Numbers of the monotone samples of the largest gains, which lags make oscillate first."""
    if root.iterations == 0:
        return torch.empty(0, dtype=torch.long, device=root.u.device)
    where = torch.nonzero(root.monotone).squeeze(-1)
    return where[root.gain[where].topk(min(count, len(where))).indices]


def _part(layers: Forward, where: Tensor) -> Forward:
    """Some of the samples."""
    return Forward(*(tuple(signal[where] for signal in kind) for kind in layers))


def _followed(
    loop: Loop,
    free: Forward,
    target: Tensor,
    found: SteadyState,
    where: Tensor,
    limit: Tensor | None,
    tolerance: float,
    iterations: int,
) -> SteadyState:
    """Replace some samples, by their numbers, by what their dynamics come to."""
    u, converged, residual = found.u.clone(), found.converged.clone(), found.residual.clone()
    count = found.iterations
    state = free_state(loop, free.r[0][where])
    chunk = _CHUNK * (loop.controller.tau_u if loop.controller.integrates else loop.tau_v)
    chunk = max(chunk, _CHUNK * loop.tau_v)
    dt = _step(loop, _part(free, where), target[where])
    spans = u.new_zeros(len(where), 0)
    for _ in range(_CHUNKS):
        goal = target[where]
        driven, nothing = _driven(loop, free, where)
        state, span = _later(driven, state, nothing, goal, dt, max(1, round(chunk / dt)))
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
        near[where] = _stable(loop, root.layers, root.u, where)
    return near


def _driven(loop: Loop, free: Forward, where: Tensor) -> tuple[Loop, Tensor]:
    """The loop of some samples with what drives layer 1 for its biases, and inputs of no width.

    The inputs don't change, and of images their product with W_1 is most of a step's work.
    """
    weights = (loop.weights[0][:, :0], *loop.weights[1:])
    biases = (free.v_ff[0][where], *loop.biases[1:])
    return loop._replace(weights=weights, biases=biases), free.r[0][where, :0]


def _step(loop: Loop, free: Forward, target: Tensor) -> float:
    """A step that is short enough for the fastest mode of the loop at the free state."""
    gains = path_gains(loop, free.r[1:], torch.zeros_like(target))
    return min(loop.tau_v / 4, 1 / _fastest_mode(loop, gains))


def _fastest_mode(loop: Loop, gains: list[Tensor]) -> float:
    """Bound on the magnitude of the loop's eigenvalues, per unit of time.

    In the terms of `dynamics.stability`: where |N / D| sum_k |P_k| |h|^k < 1, F isn't singular. As
    a path of k lags makes modes of the k-th root of its gain, deep ones need no short steps.

    Args:
        loop: the constants of the dynamics.
        gains: J_i Q_i of layers L..1, (batch, n_L, n_L) each.
    """
    c, tau = loop.controller, loop.tau_v
    norms = [float(torch.linalg.vector_norm(p, dim=(-2, -1)).max()) for p in gains]
    w = 2 * max(1 / tau, c.differentiates / c.tau_d, c.integrates * c.alpha / c.tau_u)
    for _ in range(_RISES):
        gain = c.k_p + (c.k_d * w / (c.tau_d * w - 1) if c.differentiates else 0.0)
        if c.integrates:
            gain = (1 + gain * (c.tau_u * w + c.alpha)) / (c.tau_u * w - c.alpha)
        if not gain * sum(p / (tau * w - 1) ** k for k, p in enumerate(norms, start=1)) >= 1:
            break
        w *= _RISE
    return w


def _kept(state: LoopState, where: Tensor) -> LoopState:
    slow = None if state.r_slow is None else state.r_slow[where]
    v = tuple(vi[where] for vi in state.v)
    return LoopState(v, state.u_int[where], state.u[where], slow)
