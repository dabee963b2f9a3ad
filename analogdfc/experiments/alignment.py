"""Feedback alignment in linear networks: its flow, what it conserves and how weights align.

A network y = W A x learns T from inputs with [x x^T] = I, with the error carried back by a fixed
matrix B (Lillicrap et al. 2016, notes 11 to 14). A and W are the paper's letters for the weights of
the hidden and of the output layer. All tensors may have further leading dimensions, one network
each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.errors import UserError


class Weights(NamedTuple):
    """Weights, or their rates of change.

    Attributes:
        a: A, from inputs to hidden neurons, (..., n_h, n_i).
        w: W, from hidden to output neurons, (..., n_o, n_h).
    """

    a: Tensor
    w: Tensor


class Measures(NamedTuple):
    """How far learning and alignment have come, one number a network, (...).

    Attributes:
        trace_bw: tr(BW), above 0 where W is aligned with B^T (note 12).
        trace_abe: tr(A^T B E), the rate at which tr(BW) grows (eqs. 27 and 28).
        angle: between W and B^T as flat vectors, in degrees.
        to_backprop: between the hidden updates BE and W^T E, in degrees; over the inputs that is
            the angle between delta_FA = B e and delta_BP = W^T e (fig. S13b).
        to_pseudobackprop: between BE and W^+ E, in degrees (fig. S13c).
        error: normalised squared error ||E||^2 / ||T||^2, the mean ||e||^2 over that of the labels.

    An angle is nan where one of the two vectors is 0.
    """

    trace_bw: Tensor
    trace_abe: Tensor
    angle: Tensor
    to_backprop: Tensor
    to_pseudobackprop: Tensor
    error: Tensor


@dataclass(frozen=True)
class LinearAlignment:
    """A linear task and the feedback by which it is learned.

    Attributes:
        feedback: B, (..., n_h, n_o).
        target: T, (..., n_o, n_i).

    Raises:
        UserError: matrices that have no outputs in common.
    """

    feedback: Tensor
    target: Tensor

    def __post_init__(self) -> None:
        b, t = self.feedback.shape, self.target.shape
        if len(b) < 2 or len(t) < 2 or b[-1] != t[-2]:
            raise UserError(
                f"feedback of shape {tuple(b)} for a target of shape {tuple(t)}; "
                "(..., n_h, n_o) and (..., n_o, n_i) are needed"
            )

    def error(self, weights: Weights) -> Tensor:
        """E = T - W A, (..., n_o, n_i).

        Args:
            weights: A and W.
        """
        return self.target - weights.w @ weights.a

    def flow(self, weights: Weights, *, a: bool = True, w: bool = True) -> Weights:
        """Rates of change in continuous time, dA/dt = B E and dW/dt = E A^T (eqs. 8 and 9).

        Args:
            weights: where.
            a: whether A learns; where it does not, its rate is 0 (fig. S11 lets one learn a time).
            w: the same for W.
        """
        e = self.error(weights)
        return Weights(
            self.feedback @ e if a else torch.zeros_like(weights.a),
            e @ weights.a.mT if w else torch.zeros_like(weights.w),
        )

    def step(self, weights: Weights, rate: float, *, a: bool = True, w: bool = True) -> Weights:
        """Weights after one update by the expected change of a sample (eqs. 6 and 7).

        Args:
            weights: weights before.
            rate: learning rate eta, > 0: the time that passes.
            a: whether A learns.
            w: whether W learns.

        Raises:
            UserError: a rate that is not above 0.
        """
        if not rate > 0:
            raise UserError(f"rate = {rate}: a learning rate > 0 is needed")
        change = self.flow(weights, a=a, w=w)
        return Weights(weights.a + rate * change.a, weights.w + rate * change.w)

    def conserved(self, weights: Weights) -> Tensor:
        """C = B W + W^T B^T - A A^T, (..., n_h, n_h), which the flow does not change.

        Eq. 10 prints it as B W + W^T B^T = A A^T - C; its definition below it has the sign used
        here. A gradient step of rate eta changes it by -eta^2 B E E^T B^T.

        Args:
            weights: A and W.
        """
        bw = self.feedback @ weights.w
        return bw + bw.mT - weights.a @ weights.a.mT

    def measure(self, weights: Weights) -> Measures:
        """Alignment and error at these weights (figs. S11 to S13).

        Args:
            weights: A and W.
        """
        b, e = self.feedback, self.error(weights)
        be = b @ e
        inverse = torch.from_numpy(np.linalg.pinv(weights.w.detach().cpu().numpy())).to(weights.w)
        return Measures(
            trace_bw=(b.mT * weights.w).sum(dim=(-2, -1)),
            trace_abe=(weights.a * be).sum(dim=(-2, -1)),
            angle=_angle(weights.w, b.mT),
            to_backprop=_angle(be, weights.w.mT @ e),
            to_pseudobackprop=_angle(be, inverse @ e),
            error=(e**2).sum(dim=(-2, -1)) / (self.target**2).sum(dim=(-2, -1)),
        )


def draw(
    sizes: Sequence[int] = (30, 20, 10),
    seeds: Sequence[int] = (0,),
    *,
    weights: float = 0.01,
    feedback: float = 0.5,
    target: float = 1.0,
) -> tuple[LinearAlignment, Weights]:
    """Draw tasks with their initial weights, all elements uniform and centred on 0.

    The defaults are those of the 30-20-10 task (Podlaski and Machens 2020, 7.5.2, who took them
    from Lillicrap et al. 2016).

    Args:
        sizes: n_i, n_h and n_o.
        seeds: one a task.
        weights: largest size of an element of A and W, >= 0; 0 makes C = 0, as Theorem 1 wants.
        feedback: the same for B, > 0.
        target: the same for T, > 0.

    Returns:
        The tasks and the weights, with one leading dimension for the seeds, in float64.

    Raises:
        UserError: not three sizes, all above 0; no seed; or a spread out of range.
    """
    if len(sizes) != 3 or min(sizes) < 1:
        raise UserError(f"sizes = {list(sizes)}: give inputs, hidden neurons, outputs, all above 0")
    if not seeds:
        raise UserError("give at least one seed")
    if not (weights >= 0 and feedback > 0 and target > 0):
        raise UserError(
            f"weights = {weights}, feedback = {feedback}, target = {target}: the first must be "
            ">= 0, the others > 0"
        )
    n_i, n_h, n_o = sizes
    shapes = ((n_h, n_o), (n_o, n_i), (n_h, n_i), (n_o, n_h))
    spreads = (feedback, target, weights, weights)
    found: list[list[Tensor]] = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        draws = [torch.rand(s, dtype=torch.float64, generator=generator) for s in shapes]
        found.append([(2 * x - 1) * spread for x, spread in zip(draws, spreads, strict=True)])
    b, t, a, w = (torch.stack(each) for each in zip(*found, strict=True))
    return LinearAlignment(b, t), Weights(a, w)


class FlowField(NamedTuple):
    """The flow of a network of three neurons on a grid of its two weights.

    Attributes:
        a: A at the points of the grid, (n_w, n_a).
        w: W at the points, (n_w, n_a).
        da: dA/dt, (n_w, n_a).
        dw: dW/dt, (n_w, n_a).
        decay: A^2 + B W, (n_w, n_a), the rate at which a small error decays: solutions AW = T are
            stable where it is above 0 (dashed in fig. S10 where it is not), and the feedback is
            useful, e W B e > 0, where B W is.
    """

    a: Tensor
    w: Tensor
    da: Tensor
    dw: Tensor
    decay: Tensor


def flow_field(a: Tensor, w: Tensor, *, feedback: float = 1.0, target: float = 1.0) -> FlowField:
    """The flow field of fig. S10b: dA/dt = B (T - W A), dW/dt = (T - W A) A.

    Args:
        a: values of A, (n_a,).
        w: values of W, (n_w,).
        feedback: B, 1 in the figure.
        target: T, 1 in the figure.

    Returns:
        One row a value of w, one column a value of a, as `matplotlib.pyplot.streamplot` wants it.

    Raises:
        UserError: values that are not a list of numbers.
    """
    if a.dim() != 1 or w.dim() != 1:
        raise UserError(f"grid of shapes {tuple(a.shape)} and {tuple(w.shape)}; give two vectors")
    w_grid, a_grid = torch.meshgrid(w, a, indexing="ij")
    scalar = LinearAlignment(a.new_full((1, 1), feedback), a.new_full((1, 1), target))
    at = Weights(a_grid[..., None, None], w_grid[..., None, None])
    da, dw = (rate[..., 0, 0] for rate in scalar.flow(at))
    return FlowField(a_grid, w_grid, da, dw, a_grid**2 + feedback * w_grid)


class PairScalars(NamedTuple):
    """Lemma 5: h = s_h B y* and W = s_w y* (B y*)^T at each step.

    Attributes:
        h: s_h, (steps + 1,).
        w: s_w, (steps + 1,).
    """

    h: Tensor
    w: Tensor


def single_pair(feedback: Tensor, label: Tensor, rate: float, steps: int) -> PairScalars:
    """Learning one input and label from zero weights (note 14, eqs. 45 and 46).

    There the update of the hidden layer is a positive multiple of pseudobackprop's,
    W^+ e = s B e with s = 1 / (s_w ||B y*||^2) (Theorem 2; eq. 49 prints another s).

    Args:
        feedback: B, (n_h, n_o).
        label: y*, (n_o,).
        rate: learning rate eta of W and of h, so that of A is eta / (x^T x), > 0.
        steps: updates, >= 1.

    Returns:
        The scalars before the first update, 0, and after each.

    Raises:
        UserError: a rate or a number of steps out of range.
    """
    if not (rate > 0 and steps >= 1):
        raise UserError(f"rate = {rate}, steps = {steps}: rate > 0 and steps >= 1 are needed")
    scale = float(((feedback @ label) ** 2).sum())
    h, w = [0.0], [0.0]
    for _ in range(steps):
        left = 1 - w[-1] * h[-1] * scale
        w.append(w[-1] + rate * left * h[-1])
        h.append(h[-1] + rate * left)
    return PairScalars(label.new_tensor(h), label.new_tensor(w))


def _angle(x: Tensor, y: Tensor) -> Tensor:
    """Angle of two stacks of matrices, each as a flat vector, in degrees; see `measures.angle`."""
    x, y = (t / t.square().sum(dim=(-2, -1), keepdim=True).sqrt() for t in (x, y))
    apart, along = (t.square().sum(dim=(-2, -1)).sqrt() for t in (x - y, x + y))
    return torch.rad2deg(2 * torch.atan2(apart, along))
