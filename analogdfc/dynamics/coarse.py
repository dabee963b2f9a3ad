"""Steps of Newton's method in single precision, for deviations from a state of the layers.

A pass through the layers takes in single precision half of what it takes in double. The deviations
under a change of the control signal need no more digits than a step has that double precision
corrects; differences of activations are formed so that they keep theirs however small they are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.activations import change_of
from analogdfc.dynamics.linalg import applied
from analogdfc.dynamics.loop import Loop, is_identity
from analogdfc.network import Forward

_FLOOR = 5e-7
"""What passes in single precision leave of a residual, relative."""

_FAST = 0.1
"""Largest factor by which each has to leave less than the one before."""

_PASSES = 5
"""Bound on the passes of one step."""

_SMALLEST, _LARGEST = 1e-15, 1e15
"""Errors whose squares, and what is left of them, single precision holds."""


class CoarseStep(NamedTuple):
    """A step of the control signal.

    Attributes:
        u: the step, (batch, n_L).
        first: what the first Newton step of it has left of the error, (batch, n_L).
        passes: passes through the layers in single precision; with none, the step is Newton's own.
        fast: each pass has left far less than the one before.
    """

    u: Tensor
    first: Tensor
    passes: int
    fast: bool


def coarse_steps_pay(loop: Loop, scale: Tensor) -> bool:
    """Whether steps can be found in single precision, and are cheaper there.

    Args:
        loop: the constants of the dynamics.
        scale: errors of the free state, (batch,).
    """
    if loop.pathway is not None or scale.dtype != torch.float64 or len(loop.weights) == 1:
        return False
    return bool(((scale > _SMALLEST) & (scale < _LARGEST)).all())


def coarse_step(
    single: Loop, layers: Forward, slopes: list[Tensor], near: Tensor, error: Tensor, wanted: float
) -> CoarseStep:
    """Solve error = r_L(u + step) - r_L(u) + alpha~ step for the step, in single precision.

    Args:
        single: the constants of the dynamics, in single precision (`loop.in_single`).
        layers: signals of the layers under u.
        slopes: phi' there, in single precision.
        near: inverses that are nearly those of d(r_L + alpha~ u)/du, (batch, n_L, n_L).
        error: error of the output under u, (batch, n_L).
        wanted: what may be left of a sample's error, relative.
    """
    exact, near, right = near, near.float(), error.float()
    plain = CoarseStep(applied(exact, error), error, 0, False)
    if not bool((near.abs() < _LARGEST).all()):
        return plain
    size = torch.linalg.vector_norm(right, dim=-1).clamp(min=torch.finfo(right.dtype).tiny)
    r = [ri.float() for ri in layers.r[1:]]
    step, first, before = applied(near, right), right, 1.0
    for count in range(1, _PASSES + 1):
        left = right - _deviation(single, layers, r, slopes, step)
        left.sub_(step, alpha=single.controller.damping)
        if count == 1:
            first = left
        off = float((torch.linalg.vector_norm(left, dim=-1) / size).max())
        if not off < 1:
            return plain
        if not off < _FAST * before:
            break
        step += applied(near, left)
        if off * (off / before) <= max(wanted, _FLOOR):
            return CoarseStep(step.to(error.dtype), first.to(error.dtype), count, True)
        before = off
    return CoarseStep(step.to(error.dtype), first.to(error.dtype), count, False)


def _deviation(
    single: Loop, layers: Forward, r: list[Tensor], slopes: list[Tensor], step: Tensor
) -> Tensor:
    """What a step of the control signal changes of the output, (batch, n_L)."""
    moved: Tensor | None = None
    for i, (w, q) in enumerate(zip(single.weights, single.feedback, strict=True)):
        pushed = step.clone() if is_identity(q) else step @ q.T
        if moved is not None:
            pushed.addmm_(moved, w.T)
        moved = change_of(single.activations[i], layers.v[i], r[i], slopes[i], pushed)
    assert moved is not None
    return moved
