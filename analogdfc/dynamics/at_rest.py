"""Control signals at rest of the linearised loop, (J Q + alpha~ I) u = delta.

Forming J Q of each sample costs n_L passes through the layers. It is linear in the slopes of each
layer, and the slopes of the samples of a batch lie about their mean: to first order in what they
differ by, J Q of all samples is one product with a constant matrix, from which a few passes in
single precision and one or two in double lead to the solution.

Where the output layer is linear, far wider than the last hidden layer, and has one control signal
a neuron, as an autoencoder's, J Q is the identity and a matrix of the rank of that hidden layer,
whose equations take the place of the output's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from analogdfc.dynamics.linalg import applied, inverse, solve
from analogdfc.dynamics.loop import Loop, in_single, is_identity
from analogdfc.dynamics.steady import carried, damped_by, slopes_of
from analogdfc.errors import ConvergenceError
from analogdfc.network import Forward
from analogdfc.products import affine, multiplied

_Inverse = Callable[[Tensor], Tensor]
"""What a matrix is applied by without being formed."""

_REFINEMENTS = 4
"""Corrections of a solution that single precision has started."""

_REFINED = 1e-10
"""What may be left of a sample's right side by it, relative."""

_FEWEST = 64
"""Samples of a batch up to which the constant part takes as long as it spares."""

_PASSES = 6
"""What a solution about the mean costs, in passes of one vector a sample."""

_NEAR = 5e-7
"""What passes in single precision leave of a right side, relative."""

_FAST = 0.05
"""Largest factor by which each leaves less than the one before."""

_NARROW = 2
"""How many times wider than the last hidden layer an output is whose equations are solved there."""

_CORRECTIONS = 5
"""Passes in single precision for one right side."""


def solve_at_rest(loop: Loop, free: Forward, right: Tensor) -> Tensor:
    """Solve (J Q + alpha~ I) u = right at the free state, to 1e-10 of each sample's right side.

    In double precision with direct feedback the equations are solved in a narrow last hidden layer,
    or J Q is taken to first order about the batch's mean slopes where that takes less time
    (`about_the_mean`), else formed in single precision, and the solution corrected by what it
    leaves in double precision. Where that doesn't fall fast, J Q is formed in single precision or,
    at last, in double.

    Args:
        loop: the constants of the dynamics.
        free: the layers without feedback.
        right: right sides, (batch, n_L).

    Returns:
        u, (batch, n_L).

    Raises:
        ConvergenceError: a matrix is singular.
    """
    damping = loop.controller.damping
    slopes = slopes_of(loop, free.v, free.r[1:])
    if right.dtype == torch.float64 and loop.pathway is None:
        found = None
        if _is_narrow(loop):
            found = _refined(loop, slopes, _narrowly, right)
        elif about_the_mean(loop.sizes, len(right)):
            found = _from_the_mean(loop, slopes, right)
        if found is None:
            found = _refined(loop, slopes, _formed, right)
        if found is not None:
            return found
    whole = carried(loop, slopes, torch.zeros_like(right), right.dtype)
    return solve(damped_by(damping, whole), right)


def about_the_mean(sizes: Sequence[int], batch: int) -> bool:
    """Whether a batch is solved faster about its mean than by J Q formed for each sample.

    Args:
        sizes: neurons of layers 0 (the input) to L.
        batch: samples.
    """
    n_out, hidden = sizes[-1], sizes[1:-1]
    between = sum(a * n for a, n in pairwise(hidden))
    return batch > _FEWEST and n_out * between > _PASSES * between + n_out**2 * sum(hidden)


def _from_the_mean(loop: Loop, slopes: list[Tensor], right: Tensor) -> Tensor | None:
    """Solution by passes about the mean slopes; None where the samples differ by too much."""
    damping, single = loop.controller.damping, in_single(loop)
    own = [slope.float() for slope in slopes]
    try:
        near = inverse(damped_by(damping, _first_order(single, own)))
    except ConvergenceError:
        return None
    scale = torch.linalg.vector_norm(right, dim=-1).clamp(min=torch.finfo(right.dtype).tiny)
    u, left, off, floor = torch.zeros_like(right), right, 1.0, 1.0
    for _ in range(_REFINEMENTS):
        found = _in_passes(single, own, near, left, max(_NEAR, _REFINED / off))
        if found is None:
            return None
        step, share = found
        u = u + step
        # Single precision leaves no less than it did before.
        if off * max(share, floor) <= _REFINED:
            return u
        left = right - _response(loop, slopes, u) - damping * u
        before, off = off, float((torch.linalg.vector_norm(left, dim=-1) / scale).max())
        if off <= _REFINED:
            return u
        floor = off / before
    return None


def _in_passes(
    single: Loop, slopes: list[Tensor], near: Tensor, right: Tensor, wanted: float
) -> tuple[Tensor, float] | None:
    """Solution in single precision, and what is left by it, relative; None if that falls slowly.

    Args:
        single: the constants of the dynamics, in single precision.
        slopes: of the layers, in single precision.
        near: inverses that are nearly those of J Q + alpha~ I, (batch, n_L, n_L).
        right: right sides, (batch, n_L).
        wanted: what may be left.
    """
    size = torch.linalg.vector_norm(right, dim=-1, keepdim=True)
    size = size.clamp(min=torch.finfo(right.dtype).tiny)
    unit = (right / size).float()
    u, before, share = applied(near, unit), 1.0, 1.0
    for _ in range(_CORRECTIONS):
        left = unit - _response(single, slopes, u).add_(u, alpha=single.controller.damping)
        off = float(torch.linalg.vector_norm(left, dim=-1).max())
        share = off * (off / before)
        u += applied(near, left)
        if share <= wanted:
            break
        if not off < _FAST * before:
            return None
        before = off
    return u.to(right.dtype) * size, share


def _first_order(loop: Loop, slopes: list[Tensor]) -> Tensor:
    """J Q of each sample to first order in the differences of the hidden slopes from their means.

    d(J Q)/d(slope k of layer i) is column k of J behind that slope times row k of what arrives in
    front of it, W_i T_{i-1} + Q_i.
    """
    *hidden, last = slopes
    means = [slope.mean(dim=0) for slope in hidden]
    # Transposed, with the few rows first.
    arriving = [loop.feedback[0].T]
    for w, q, mean in zip(loop.weights[1:], loop.feedback[1:], means, strict=True):
        arriving.append(affine(arriving[-1] * mean, w, q.T))
    middle = arriving.pop().T
    n_out, width = len(middle), sum(map(len, means))
    off, changes = last.new_empty(len(last), width), last.new_empty(n_out, n_out, width)
    behind, end = loop.weights[-1], width
    for i in range(len(hidden) - 1, -1, -1):
        start = end - len(means[i])
        torch.sub(hidden[i], means[i], out=off[:, start:end])
        torch.mul(behind.unsqueeze(1), arriving[i].unsqueeze(0), out=changes[:, :, start:end])
        if i:
            behind, end = multiplied(behind * means[i], loop.weights[i]), start
    out = affine(off, changes.flatten(0, 1), middle.flatten())
    return out.view(-1, n_out, n_out).mul_(last.unsqueeze(-1))


def _is_narrow(loop: Loop) -> bool:
    """Whether the equations of a linear output are solved in the last hidden layer."""
    *_, before, n_out = loop.sizes
    wide = len(loop.weights) > 1 and n_out >= _NARROW * before
    return wide and loop.activations[-1].name == "linear" and is_identity(loop.feedback[-1])


def _narrowly(loop: Loop, slopes: list[Tensor]) -> _Inverse:
    """Nearly (W T + c I)^-1, where T leads from u to the last hidden layer and c = 1 + alpha~.

    By the identity of Woodbury it is (I - W (c I + T W)^-1 T) / c, of which T W is formed in single
    precision.

    Raises:
        ConvergenceError: a matrix is singular.
    """
    last, whole = loop.weights[-1], 1 + loop.controller.damping
    hidden = loop._replace(
        weights=loop.weights[:-1],
        biases=loop.biases[:-1],
        feedback=loop.feedback[:-1],
        activations=loop.activations[:-1],
    )
    folded = hidden._replace(feedback=tuple(q @ last for q in hidden.feedback))
    formed = carried(folded, slopes[:-1], None, torch.float32).to(last.dtype)
    near = inverse(damped_by(whole, formed))

    def apply(right: Tensor) -> Tensor:
        reached = _response(hidden, slopes[:-1], right)
        return (right - applied(near, reached) @ last.T) / whole

    return apply


def _formed(loop: Loop, slopes: list[Tensor]) -> _Inverse:
    """Nearly (J Q + alpha~ I)^-1, with J Q formed in single precision.

    Raises:
        ConvergenceError: a matrix is singular; where it is applied.
    """
    rough = carried(loop, slopes, None, torch.float32).to(slopes[-1].dtype)
    # The systems are so small that two solutions take less time than an inverse.
    return partial(solve, damped_by(loop.controller.damping, rough))


def _refined(
    loop: Loop,
    slopes: list[Tensor],
    inverted: Callable[[Loop, list[Tensor]], _Inverse],
    right: Tensor,
) -> Tensor | None:
    """Solution by what is nearly (J Q + alpha~ I)^-1; None where it isn't near enough."""
    try:
        near = inverted(loop, slopes)
        u = near(right)
    except ConvergenceError:
        return None
    scale = torch.linalg.vector_norm(right, dim=-1).clamp(min=torch.finfo(right.dtype).tiny)
    off = 1.0
    for _ in range(_REFINEMENTS):
        left = right - _response(loop, slopes, u)
        left.sub_(u, alpha=loop.controller.damping)
        before, off = off, float((torch.linalg.vector_norm(left, dim=-1) / scale).max())
        u = u + near(left)
        # What is left falls by the same factor each time.
        if off * (off / before) <= _REFINED:
            return u
    return None


def _response(loop: Loop, slopes: list[Tensor], u: Tensor) -> Tensor:
    """J Q u of direct feedback, (batch, n_L)."""
    moved: Tensor | None = None
    for w, q, slope in zip(loop.weights, loop.feedback, slopes, strict=True):
        pushed = u.clone() if is_identity(q) else multiplied(u, q.T)
        moved = (pushed if moved is None else pushed.add_(multiplied(moved, w.T))).mul_(slope)
    assert moved is not None
    return moved
