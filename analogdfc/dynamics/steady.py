"""Steady state of the control loop by Newton's method on the control signal."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.dynamics.linalg import solve
from analogdfc.dynamics.loop import Loop, feedback_jacobians, presynaptic
from analogdfc.network import Forward

# Rounding of an output neuron, in units in the last place, that no residual is asked to undercut.
_ROUNDINGS = 16


class SteadyState(NamedTuple):
    """Where the loop comes to rest.

    Attributes:
        layers: signals of the layers.
        u: control signal, (batch, n_L).
        converged: samples whose residual met the tolerance, (batch,).
        residual: largest |r* - r_L - alpha~ u| of a sample over its largest |r* - r_L| of the free
            state, (batch,).
        iterations: Newton steps taken.
    """

    layers: Forward
    u: Tensor
    converged: Tensor
    residual: Tensor
    iterations: int


def rest(loop: Loop, free: Forward, u: Tensor) -> Forward:
    """Layers at rest under a constant control signal, v_i = W_i r_{i-1} + b_i + g_i(u).

    Args:
        loop: the constants of the dynamics.
        free: the layers without feedback; the input and the feedforward compartment of layer 1,
            which no control signal changes, are taken from it.
        u: control signal, (batch, n_L).
    """
    v: list[Tensor] = []
    v_ff = [free.v_ff[0]]
    r = [free.r[0]]
    seen = presynaptic(loop, u)
    for i, (w, b, q) in enumerate(zip(loop.weights, loop.biases, loop.feedback, strict=True)):
        if i:
            v_ff.append(torch.addmm(b, r[-1], w.T))
        v.append(torch.addmm(v_ff[i], seen[i], q.T))
        r.append(loop.activations[i].function(v[i]))
    return Forward(tuple(v), tuple(v_ff), tuple(r))


def sensitivity(
    loop: Loop,
    v: tuple[Tensor, ...],
    u: Tensor | None = None,
    *,
    r: tuple[Tensor, ...] | None = None,
) -> Tensor:
    """Derivative of the output at rest with respect to the control signal, (batch, n_L, n_L).

    J Q = sum_i J_i Q_i, carried forward: T_i = D_i (W_i T_{i-1} + Q_i), with dg_i/du for Q_i where
    the feedback is a network.

    Args:
        loop: the constants of the dynamics.
        v: potentials of layers 1..L, (batch, n_i).
        u: control signal, (batch, n_L); only a feedback network needs it.
        r: activations phi(v) of layers 1..L, where they are at hand; the slopes then cost less.

    Raises:
        UserError: a feedback network, but no control signal.
    """
    if r is None:
        slopes = [phi.derivative(vi) for phi, vi in zip(loop.activations, v, strict=True)]
    else:
        slopes = [phi.slope(ri) for phi, ri in zip(loop.activations, r, strict=True)]
    batch, n_out = v[0].shape[0], loop.biases[-1].shape[0]
    carried: Tensor | None = None
    for w, q, flat in zip(loop.weights, feedback_jacobians(loop, u), slopes, strict=True):
        # Columns of T as rows, so that every layer is one matrix product over the batch.
        slope = flat.unsqueeze(1)
        if carried is None:
            # In rows, or every product that follows would copy.
            carried = q.mT.contiguous() * slope
        else:
            carried = (carried.reshape(batch * n_out, -1) @ w.T).view(batch, n_out, -1)
            carried = carried.add_(q.mT).mul_(slope)
    assert carried is not None
    return carried.mT


def steady_state(
    loop: Loop,
    free: Forward,
    target: Tensor,
    *,
    tolerance: float = 1e-10,
    iterations: int = 30,
) -> SteadyState:
    """Solve F(u) = r* - r_L(u) - alpha~ u = 0, one small system a sample, with step halving.

    alpha~ is the controller's damping. The derivative is computed anew only while the residual
    falls by less than a factor of ten.

    Args:
        loop: the constants of the dynamics.
        free: the layers without feedback (see `loop.free_pass`).
        target: output targets r*, (batch, n_L).
        tolerance: residual at which a sample has converged, relative to its initial error. A
            sample whose initial error is so small that the rounding of the output hides this
            residual has converged when the residual is no larger than that rounding.
        iterations: bound on the Newton steps.
    """
    damping = loop.controller.damping
    u = torch.zeros_like(target)
    layers = free
    error = target - layers.output
    kind = torch.finfo(target.dtype)
    scale = error.abs().amax(dim=-1).clamp(min=kind.tiny)
    size = torch.ones_like(scale)
    rounding = _ROUNDINGS * kind.eps * target.abs().amax(dim=-1)
    enough = (rounding / scale).clamp(min=tolerance)
    matrix: Tensor | None = None
    count = 0
    while count < iterations and bool((size > enough).any()):
        if matrix is None:
            eye = torch.eye(target.shape[-1], dtype=target.dtype, device=target.device)
            matrix = sensitivity(loop, layers.v, u, r=layers.r[1:]) + damping * eye
        before = size
        step = solve(matrix, error)
        u, layers, error, size = _damped(loop, free, target, u, step, scale, size, enough)
        count += 1
        if bool(((size > enough) & (size > 0.1 * before)).any()):
            matrix = None
    return SteadyState(layers, u, size <= enough, size, count)


def _damped(
    loop: Loop,
    free: Forward,
    target: Tensor,
    u: Tensor,
    step: Tensor,
    scale: Tensor,
    size: Tensor,
    enough: Tensor,
) -> tuple[Tensor, Forward, Tensor, Tensor]:
    """A Newton step, halved for each sample until its residual falls or is small enough."""
    factor = torch.ones_like(scale)
    while True:
        trial = u + factor.unsqueeze(-1) * step
        layers = rest(loop, free, trial)
        error = target - layers.output - loop.controller.damping * trial
        found = error.abs().amax(dim=-1) / scale
        worse = ~((found < size) | (found <= enough)) & (factor > 1e-3)
        if not bool(worse.any()):
            return trial, layers, error, found
        factor = torch.where(worse, factor / 2, factor)
