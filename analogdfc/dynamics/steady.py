"""Steady state of the control loop by Newton's method on the control signal."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.dynamics.linalg import solve
from analogdfc.dynamics.loop import Loop, LoopState


class SteadyState(NamedTuple):
    """Where the loop comes to rest.

    Attributes:
        state: potentials and control signal, (batch, n).
        converged: samples whose residual met the tolerance, (batch,).
        residual: largest |r* - r_L - alpha u| of a sample over its largest |r* - r_L| of the free
            state, (batch,).
        iterations: Newton steps taken.
    """

    state: LoopState
    converged: Tensor
    residual: Tensor
    iterations: int


def controlled_forward(loop: Loop, x: Tensor, u: Tensor) -> tuple[Tensor, ...]:
    """Potentials at rest under a constant control signal, v_i = W_i r_{i-1} + b_i + Q_i u.

    Args:
        loop: the constants of the dynamics.
        x: inputs, (batch, n_0).
        u: control signal, (batch, n_L).
    """
    v: list[Tensor] = []
    r = x
    layers = zip(loop.weights, loop.biases, loop.feedback, loop.activations, strict=True)
    for w, b, q, phi in layers:
        v.append(torch.addmm(torch.addmm(b, r, w.T), u, q.T))
        r = phi.function(v[-1])
    return tuple(v)


def sensitivity(loop: Loop, v: tuple[Tensor, ...]) -> Tensor:
    """Derivative of the output at rest with respect to the control signal, (batch, n_L, n_L).

    J Q = sum_i J_i Q_i, carried forward: T_i = D_i (W_i T_{i-1} + Q_i).

    Args:
        loop: the constants of the dynamics.
        v: potentials of layers 1..L, (batch, n_i).
    """
    carried: Tensor | None = None
    for w, q, phi, vi in zip(loop.weights, loop.feedback, loop.activations, v, strict=True):
        # Columns of T as rows, so that every layer is one matrix product over the batch.
        driven = q.T if carried is None else carried @ w.T + q.T
        carried = driven * phi.derivative(vi).unsqueeze(-2)
    assert carried is not None
    return carried.mT


def steady_state(
    loop: Loop,
    x: Tensor,
    target: Tensor,
    *,
    tolerance: float = 1e-10,
    iterations: int = 30,
) -> SteadyState:
    """Solve F(u) = r* - r_L(u) - alpha u = 0, one small system a sample, with step halving.

    The derivative is computed anew only while the residual falls by less than a factor of ten.

    Args:
        loop: the constants of the dynamics.
        x: inputs, (batch, n_0).
        target: output targets r*, (batch, n_L).
        tolerance: residual at which a sample has converged, relative to its initial error.
        iterations: bound on the Newton steps.
    """
    alpha, last = loop.controller.alpha, loop.activations[-1].function
    u = torch.zeros_like(target)
    v = controlled_forward(loop, x, u)
    error = target - last(v[-1])
    scale = error.abs().amax(dim=-1).clamp(min=torch.finfo(x.dtype).tiny)
    size = torch.ones_like(scale)
    matrix: Tensor | None = None
    count = 0
    while count < iterations and bool((size > tolerance).any()):
        if matrix is None:
            eye = torch.eye(target.shape[-1], dtype=x.dtype, device=x.device)
            matrix = sensitivity(loop, v) + alpha * eye
        step = solve(matrix, error)
        before = size
        u, v, error, size = _damped(loop, x, target, u, step, scale, size)
        count += 1
        if bool(((size > tolerance) & (size > 0.1 * before)).any()):
            matrix = None
    state = LoopState(v, u - loop.controller.k_p * alpha * u, u)
    return SteadyState(state, size <= tolerance, size, count)


def _damped(
    loop: Loop,
    x: Tensor,
    target: Tensor,
    u: Tensor,
    step: Tensor,
    scale: Tensor,
    size: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...], Tensor, Tensor]:
    factor = torch.ones_like(scale)
    while True:
        trial = u + factor.unsqueeze(-1) * step
        v = controlled_forward(loop, x, trial)
        error = target - loop.activations[-1].function(v[-1]) - loop.controller.alpha * trial
        found = error.abs().amax(dim=-1) / scale
        worse = ~(found < size) & (factor > 1e-3)
        if not bool(worse.any()):
            return trial, v, error, found
        factor = torch.where(worse, factor / 2, factor)
