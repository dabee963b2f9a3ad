"""Steady state of the control loop by Newton's method on the control signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.activations import activate
from analogdfc.dynamics.linalg import applied, corrected, inverse, positive
from analogdfc.dynamics.loop import Loop, feedback_jacobians, is_identity, presynaptic
from analogdfc.network import Forward
from analogdfc.products import affine, multiplied
from analogdfc.samples import check_samples

# Rounding of an output neuron, in units in the last place, that no residual is asked to undercut.
_ROUNDINGS = 16

_BLOCK = 64
"""Samples whose sensitivities are computed together on a CPU."""

_CLEAR = 1e-4
"""Least eigenvalue, relative to the norm, whose sign single precision tells."""


class Root(NamedTuple):
    """A state in which nothing changes; whether the dynamics come to it is another question.

    Attributes:
        layers: signals of the layers.
        u: control signal, (batch, n_L).
        converged: samples whose residual met the tolerance, (batch,).
        residual: largest |r* - r_L - alpha~ u| of a sample over its largest |r* - r_L| of the
            start, (batch,).
        iterations: Newton steps taken.
        monotone: samples along whose way d(r_L + alpha~ u)/du had a positive definite symmetric
            part, wherever it was taken, (batch,): there is no other root where that holds, and
            slow control goes to it.
        gain: largest norm of d(r_L + alpha~ u)/du (Frobenius) on the way, (batch,).
        bend: residual that the first full step has left, relative to that before, (batch,); 0 for
            a linear loop.
    """

    layers: Forward
    u: Tensor
    converged: Tensor
    residual: Tensor
    iterations: int
    monotone: Tensor
    gain: Tensor
    bend: Tensor


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
            v_ff.append(affine(r[-1], w, b))
        v.append(v_ff[i] + seen[i] if is_identity(q) else affine(seen[i], q, v_ff[i]))
        r.append(activate(loop.activations[i], v[i]))
    return Forward(tuple(v), tuple(v_ff), tuple(r))


def sensitivity(
    loop: Loop,
    v: tuple[Tensor, ...],
    u: Tensor | None = None,
    *,
    r: tuple[Tensor, ...] | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Derivative of the output at rest with respect to the control signal, (batch, n_L, n_L).

    J Q = sum_i J_i Q_i, carried forward: T_i = D_i (W_i T_{i-1} + Q_i), with dg_i/du for Q_i where
    the feedback is a network.

    Args:
        loop: the constants of the dynamics.
        v: potentials of layers 1..L, (batch, n_i).
        u: control signal, (batch, n_L); only a feedback network needs it.
        r: activations phi(v) of layers 1..L, where they are at hand; the slopes then cost less.
        dtype: precision to compute it in; by default that of the potentials.

    Raises:
        UserError: a feedback network, but no control signal.
    """
    return carried(loop, slopes_of(loop, v, r), u, dtype or v[0].dtype)


def slopes_of(
    loop: Loop, v: tuple[Tensor, ...], r: tuple[Tensor, ...] | None = None
) -> list[Tensor]:
    """Slopes phi'(v) of layers 1..L, (batch, n_i); arguments as `sensitivity`."""
    if r is None:
        return [phi.derivative(vi) for phi, vi in zip(loop.activations, v, strict=True)]
    return [phi.slope(ri) for phi, ri in zip(loop.activations, r, strict=True)]


def carried(loop: Loop, slopes: list[Tensor], u: Tensor | None, dtype: torch.dtype) -> Tensor:
    """J Q from the slopes, samples by samples, so that what is carried stays in the cache."""
    batch, n_out = slopes[-1].shape
    # T of all samples side by side, (n_i, n_L, batch), so that every layer is one matrix product in
    # which nothing is transposed.
    feedback = feedback_jacobians(loop, u)
    pushes = [q.to(dtype).unsqueeze(-1) if q.dim() == 2 else q.to(dtype).permute(1, 2, 0)
              for q in feedback[:-1]]  # fmt: skip
    weights = [w.to(dtype) for w in loop.weights[1:]]
    last, factor = feedback[-1].to(dtype), slopes[-1].to(dtype).unsqueeze(-1)
    if not weights:
        return last * factor
    out = slopes[0].new_empty(batch, n_out, n_out, dtype=dtype)
    block = _BLOCK if out.device.type == "cpu" else batch
    for first in range(0, batch, block):
        part = slice(first, first + block)
        factors = [_turned(slope[part], dtype) for slope in slopes[:-1]]
        pushed = [q if q.shape[-1] == 1 else q[..., part] for q in pushes]
        moved = (pushed[0] * factors[0]).flatten(1)
        for w, q, slope in zip(weights[:-1], pushed[1:], factors[1:], strict=True):
            flat = multiplied(w, moved).view(len(w), n_out, -1)
            moved = flat.add_(q).mul_(slope).flatten(1)
        flat = multiplied(weights[-1], moved)
        out[part] = flat.view(n_out, n_out, -1).permute(2, 0, 1)
    return out.add_(last).mul_(factor)


def _turned(slopes: Tensor, dtype: torch.dtype) -> Tensor:
    """Slopes of a layer, (batch, n), as they act on the columns of `carried`, (n, 1, batch)."""
    out = slopes.new_empty(slopes.shape[1], 1, len(slopes), dtype=dtype)
    return out.copy_(slopes.T.unsqueeze(1))


def damped_by(damping: float, jq: Tensor) -> Tensor:
    """J Q + alpha~ I of each sample, in the memory of J Q, (batch, n_L, n_L)."""
    jq.diagonal(dim1=-2, dim2=-1).add_(damping)
    return jq


def path_gains(loop: Loop, r: Sequence[Tensor], u: Tensor) -> list[Tensor]:
    """What each layer's feedback alone does to the output at rest, J_i Q_i.

    Args:
        loop: the constants of the dynamics.
        r: activations phi(v) of layers 1..L, (batch, n_i).
        u: control signal, (batch, n_L); only a feedback network needs it.

    Returns:
        Of layers L..1, (batch, n_L, n_L) each.
    """
    slopes = [phi.slope(ri) for phi, ri in zip(loop.activations, r, strict=True)]
    feedback = feedback_jacobians(loop, u)
    last = slopes[-1].unsqueeze(-1)
    out = [last * feedback[-1]]
    down: Tensor | None = None
    for i in range(len(slopes) - 1, 0, -1):
        w = loop.weights[i]
        moved = last * w if down is None else _rowwise(down, w)
        down = moved.mul_(slopes[i - 1].unsqueeze(1))
        out.append(_rowwise(down, feedback[i - 1]))
    return out


def _rowwise(rows: Tensor, matrix: Tensor) -> Tensor:
    """Rows of all samples, (batch, n, k), times one matrix, (k, m), or that of each sample."""
    if matrix.dim() > 2:
        return rows @ matrix
    return multiplied(rows.flatten(0, 1), matrix).view(*rows.shape[:2], -1)


def newton(
    loop: Loop,
    free: Forward,
    target: Tensor,
    *,
    start: Tensor | None = None,
    tolerance: float = 1e-10,
    iterations: int = 30,
) -> Root:
    """Solve F(u) = r* - r_L(u) - alpha~ u = 0, one small system a sample, with step halving.

    alpha~ is the controller's damping. The derivative is computed anew only while the residual
    falls by less than a factor of ten; else it is corrected by what the last step has shown
    (Broyden's method). Any root will do; `reached.steady_state` finds the one to which the
    dynamics come.

    Args:
        loop: the constants of the dynamics.
        free: the layers without feedback (see `loop.free_pass`).
        target: output targets r*, (batch, n_L).
        start: control signal to start from, (batch, n_L); by default 0.
        tolerance: residual at which a sample has converged, relative to the error of the free
            state. A sample whose error is so small that the rounding of the output hides this
            residual has converged when the residual is no larger than that rounding.
        iterations: bound on the Newton steps.
    """
    check_samples(loop.sizes, free.r[0], target, what="targets")
    damping = loop.controller.damping
    kind = torch.finfo(target.dtype)
    scale = _largest(target - free.output).clamp(min=kind.tiny)
    if start is None:
        u, layers = torch.zeros_like(target), free
    else:
        u, layers = start, rest(loop, free, start)
    error = target - layers.output - damping * u
    size = _largest(error)
    enough = torch.maximum(tolerance * scale, _ROUNDINGS * kind.eps * _largest(target))
    monotone, gain = torch.ones_like(size, dtype=torch.bool), torch.zeros_like(size)
    bend = torch.zeros_like(size)
    near: Tensor | None = None
    count, open_ = 0, size > enough
    while count < iterations and bool(open_.any()):
        if near is None:
            matrix, definite = _linearised(loop, layers, u)
            near = inverse(matrix)
            monotone &= definite
            gain = torch.maximum(gain, torch.linalg.vector_norm(matrix, dim=(-2, -1)))
        before, was, left = size, u, error
        step = applied(near, error)
        u, layers, error, size, first = _damped(loop, free, target, u, step, size, enough)
        if count == 0:
            bend = first / before.clamp(min=kind.tiny)
        count, open_ = count + 1, size > enough
        if bool((open_ & (size > 0.1 * before)).any()):
            near = None
        elif bool(open_.any()):
            near = corrected(near, u - was, left - error)
    return Root(layers, u, size <= enough, size / scale, count, monotone, gain, bend)


def _largest(rows: Tensor) -> Tensor:
    """Largest magnitude in each row, (batch,)."""
    found: Tensor = torch.linalg.vector_norm(rows, ord=torch.inf, dim=-1)
    return found


def _linearised(loop: Loop, layers: Forward, u: Tensor) -> tuple[Tensor, Tensor]:
    """d(r_L + alpha~ u)/du, and whether the symmetric part of each is positive definite.

    In single precision, since Newton's method asks no more of it, unless a sign hangs on the rest.
    """
    exact = u.dtype
    for dtype in (torch.float32, exact):
        jq = sensitivity(loop, layers.v, u, r=layers.r[1:], dtype=dtype)
        matrix = damped_by(loop.controller.damping, jq.to(exact))
        clear = _CLEAR * torch.linalg.vector_norm(matrix, dim=(-2, -1))
        if positive(matrix + matrix.mT, 2 * clear):
            return matrix, torch.ones_like(clear, dtype=torch.bool)
        least = _least(matrix)
        if bool((least.abs() > clear).all()):
            break
    return matrix, least > 0


def _least(matrix: Tensor) -> Tensor:
    """Least eigenvalue of the symmetric part of each matrix, (batch, n, n)."""
    # NumPy, since PyTorch's factorisations fail on some CPUs (see dynamics.linalg).
    parts = (matrix + matrix.mT).detach().cpu().numpy() / 2
    finite = np.asarray(np.isfinite(parts).all(axis=(-2, -1)))
    least = np.linalg.eigvalsh(np.where(finite[:, None, None], parts, -np.eye(parts.shape[-1])))
    return torch.from_numpy(least[:, 0]).to(matrix.device)


def _damped(
    loop: Loop,
    free: Forward,
    target: Tensor,
    u: Tensor,
    step: Tensor,
    size: Tensor,
    enough: Tensor,
) -> tuple[Tensor, Forward, Tensor, Tensor, Tensor]:
    """A Newton step, halved for each sample until its residual falls or is small enough.

    The last of the results is the residual after the whole step.
    """
    trial, factor = u + step, torch.ones_like(size)
    whole: Tensor | None = None
    while True:
        layers = rest(loop, free, trial)
        error = torch.sub(target, layers.output).sub_(trial, alpha=loop.controller.damping)
        found = _largest(error)
        whole = found if whole is None else whole
        falls = found < size
        if bool(falls.all()):
            return trial, layers, error, found, whole
        worse = ~falls & (found > enough) & (factor > 1e-3)
        if not bool(worse.any()):
            return trial, layers, error, found, whole
        factor = torch.where(worse, factor / 2, factor)
        trial = u + factor.unsqueeze(-1) * step
