"""The control loop in few long steps, by collocation with a bound on the error of the update."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.activations import activate
from analogdfc.dynamics.collocation import DEFECT, NODES, WEIGHTS, Span, mean
from analogdfc.dynamics.integrators import Integrator
from analogdfc.dynamics.loop import (
    Loop,
    LoopState,
    control_signal,
    free_state,
    output,
    presynaptic,
    signals,
)
from analogdfc.dynamics.simulation import check_run
from analogdfc.dynamics.steady import path_gains
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.products import affine, multiplied

_ITERATIONS = 6
"""Corrections of the control signal in a span, after which it is shortened."""

_SHARE = 0.25
"""Of the tolerance: size of a correction, relative to the signal, that is the last."""

_GROWTH, _SHRINKAGE, _SAFETY = 4.0, 0.2, 0.8
"""Bounds on how much longer and shorter the next span gets, and what is taken off."""

_LOST = 1e30
"""Norm of a control signal, by that of the target, from which nothing comes back."""

_REMEDY = ". Lower k_p or the feedback weights"

_COARSEST = 0.1
"""Error of a span, relative to its own share, above which it may miss where the loop goes."""

_ONCE = 0.2
"""Of the error that spans may have beyond what their length makes fair: what one may take."""

_ROUNDINGS = 100
"""Size of differences that are rounding, in units in the last place of the signals."""

_ORDERS = 1.5
"""What the order of the error is above that of the term from which it is estimated."""

_LEAST = 1e-5
"""Shortest span, in time constants of the neurons."""


class Nodes(NamedTuple):
    """Signals of the layers at the nodes of a span, (nodes, batch, n_i).

    Attributes:
        v: potentials.
        v_ff: feedforward compartments; that of layer 1 is constant, (batch, n_1).
        r: activations of layers 1..L.
        u: control signal, (nodes, batch, n_L), that the controller answers them with.
        left: how far it is from the one that the layers have received, relative to its size.
    """

    v: list[Tensor]
    v_ff: list[Tensor]
    r: list[Tensor]
    u: Tensor
    left: float = 0.0


Collect = Callable[[float, Nodes, list[Tensor]], None]
"""Is handed the length of a span, its signals and the differences that the layers learn from."""


@dataclass(frozen=True)
class Radau(Integrator):
    """Radau IIA of fifth order in spans as long as the error of the mean update allows.

    The unmodified equations: what Euler's method tends to with short steps. A span is solved by a
    Newton method on the control signal (see `dynamics.collocation`).

    Attributes:
        tolerance: estimated error of the mean update of a run, relative to its norm, that a run
            aims at, > 0. The estimate is that of a formula of lower order, and mostly far above the
            error itself.

    Raises:
        UserError: a tolerance out of range.
    """

    tolerance: float = 2e-3

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise UserError(f"{self}: a tolerance between 0 and 1 is needed")

    def step(self, loop: Loop, state: LoopState, x: Tensor, target: Tensor, dt: float) -> LoopState:
        """Advance by dt, in spans as short as the tolerance asks for; see `Integrator.step`."""
        run = RadauRun(loop, state, x, target, dt, self.tolerance)
        run.go()
        return run.state

    def advance(
        self, loop: Loop, state: LoopState, x: Tensor, target: Tensor, dt: float, steps: int
    ) -> LoopState:
        """Advance by so many steps at once; see `Integrator.advance`."""
        return self.step(loop, state, x, target, dt * steps)


class RadauRun:
    """A run in spans of its own choice.

    Args:
        loop: the constants of the dynamics.
        state: state at the start, (batch, n) each.
        x: inputs, (batch, n_0).
        target: output targets, (batch, n_L).
        duration: its length, > 0, in units of time of the loop.
        tolerance: error of the mean update, relative to its norm, > 0.
        nonlinear: the layers learn from phi(v) - phi(v_ff) (eq. 5); else from v - v_ff (eq. 9).

    Attributes:
        state: where it has come.
        sums: integrals over time of what the layers learn from, (batch, n_i).
        spans: spans taken.
        passes: forward passes through the layers, at all nodes of a span each.
    """

    def __init__(
        self,
        loop: Loop,
        state: LoopState,
        x: Tensor,
        target: Tensor,
        duration: float,
        tolerance: float,
        *,
        nonlinear: bool = True,
    ) -> None:
        self.loop, self.target, self.duration = loop, target, duration
        self.tolerance, self.nonlinear = tolerance, nonlinear
        self.state = state._replace(u=control_signal(loop, state, target))
        layers = signals(loop, state.v, x)
        self.first = layers.v_ff[0]
        self.gains = path_gains(loop, layers.r[1:], self.state.u)
        self.linearised_here = True
        self.before = self._differences(layers.v, layers.v_ff, layers.r[1:])
        # The update of a layer is d r^T, with r as it is without feedback, and 1 for the bias.
        self.weights = [(1 + r.square().sum(-1, keepdim=True)).sqrt() for r in layers.inputs]
        self.sums = [torch.zeros_like(v) for v in state.v]
        self._known: dict[float, Span] = {}
        self.fused = torch.cat(loop.feedback).T.contiguous() if loop.pathway is None else None
        self.largest = float(self.state.u.norm())
        # What rounding makes of signals; of differences and of control signals nothing finer.
        rounding = _ROUNDINGS * torch.finfo(x.dtype).eps
        self.finest = rounding * self._norm(layers.r[1:]), rounding * float(target.norm())
        self.spans, self.passes = 0, 0
        self._reached = self._norm(self.before)
        self._total = self._beyond = 0.0

    @property
    def error(self) -> float:
        """Estimated error of the mean update so far, relative to its norm."""
        size = self._norm(self.sums)
        return self._total / size if size > 0 else 0.0

    def go(self, collect: Collect | None = None) -> None:
        """Run to the end.

        Args:
            collect: is told of each span.

        Raises:
            ConvergenceError: the dynamics diverged, or not even a short span has a solution.
        """
        left, length = self.duration, self.loop.tau_v
        while left > 0:
            length = _fitting(length, left)
            nodes = self._solved(length)
            if nodes is None:
                length = self._shorter(length)
                continue
            d = self._differences(nodes.v, nodes.v_ff, nodes.r)
            reached = self._norm([di[-1] for di in d])
            size = length * max(reached, self._reached)
            found = size * self._deviation(d, size / length)
            fair, allowed = self._allowed(length, reached)
            allowed = min(allowed, _COARSEST * size)
            grown = _SAFETY * (allowed / found) ** 0.2 if found > 0 else _GROWTH
            if found > allowed and length > _LEAST * self.loop.tau_v:
                length *= max(grown, _SHRINKAGE)
                continue
            self._accept(length, nodes, d)
            self._total += found + size * nodes.left
            self._beyond += max(found - fair, 0.0)
            self._reached = reached
            if collect is not None:
                collect(length, nodes, d)
            left = left - length if length < left else 0.0
            length *= min(max(grown, 1.0), _GROWTH)

    def _solved(self, length: float) -> Nodes | None:
        """Signals at the nodes of a span; None where they aren't found."""
        loop, state = self.loop, self.state
        span = self._known.setdefault(length, Span(length, loop.controller, loop.tau_v, self.gains))
        gap = None if state.r_slow is None else self.target - state.r_slow
        e = (self.target - output(loop, state)).expand(len(NODES), *self.target.shape)
        # As if the layers rested.
        u = state.u.expand_as(e)
        u = u - span.correction(u - span.control(e, state.u_int, gap))
        last = math.inf
        for _ in range(_ITERATIONS):
            nodes = self._layers(span, u)
            self.passes += 1
            answer = span.control(self.target - nodes.r[-1], state.u_int, gap)
            correction = span.correction(u - answer)
            size, change = float(u.norm()), float(correction.norm())
            if not math.isfinite(change) or change > last:
                return None
            enough = _SHARE * self.tolerance * max(size, self.largest)
            if change <= max(enough, self.finest[1]):
                return nodes._replace(u=answer, left=change / size if size else 0.0)
            u, last = u - correction, change
        return None

    def _layers(self, span: Span, u: Tensor) -> Nodes:
        """The layers under a control signal, by one forward pass."""
        loop, shape = self.loop, u.shape[:2]
        flat = u.flatten(0, 1)
        if self.fused is not None:
            pushed = torch.split(multiplied(flat, self.fused), [len(b) for b in loop.biases], dim=1)
        else:
            seen = presynaptic(loop, flat)
            pushed = tuple(multiplied(h, q.T) for h, q in zip(seen, loop.feedback, strict=True))
        v, v_ff, r = [], [self.first], list[Tensor]()
        layers = zip(loop.weights, loop.biases, loop.activations, strict=True)
        for i, (w, b, phi) in enumerate(layers):
            if i:
                v_ff.append(affine(r[-1].flatten(0, 1), w, b).view(*shape, -1))
            drive = pushed[i].reshape(*shape, -1) + v_ff[i]
            v.append(span.lagged(self.state.v[i], drive))
            r.append(activate(phi, v[i]))
        return Nodes(v, v_ff, r, u)

    def _differences(
        self, v: Sequence[Tensor], v_ff: Sequence[Tensor], r: Sequence[Tensor]
    ) -> list[Tensor]:
        """What the layers learn from."""
        if not self.nonlinear:
            return [a - b for a, b in zip(v, v_ff, strict=True)]
        free = (activate(phi, a) for phi, a in zip(self.loop.activations, v_ff, strict=True))
        return [a - b for a, b in zip(r, free, strict=True)]

    def _deviation(self, d: list[Tensor], size: float) -> float:
        """Estimated error of the mean of the differences over a span, relative to their size."""
        pairs = zip(d, self.before, strict=True)
        third = self._norm([mean(DEFECT, now - then) for now, then in pairs])
        return (third / size) ** _ORDERS if third > self.finest[0] else 0.0

    def _allowed(self, length: float, reached: float) -> tuple[float, float]:
        """Error that a span may have: what its length makes fair, and with more for the onset."""
        whole = max(self.duration * reached, self._norm(self.sums))
        half = 0.5 * (1 - _SHARE) * self.tolerance * whole
        fair = half * length / self.duration
        return fair, fair + _ONCE * max(half - self._beyond, 0.0)

    def _norm(self, parts: Sequence[Tensor]) -> float:
        scaled = zip(parts, self.weights, strict=True)
        return math.hypot(*(float((p * w).norm()) for p, w in scaled))

    def _accept(self, length: float, nodes: Nodes, d: list[Tensor]) -> None:
        """Go to the end of a span."""
        c, r, r_slow = self.loop.controller, nodes.r[-1], self.state.r_slow
        u, u_int = nodes.u[-1], self.state.u_int
        slope = None
        if r_slow is not None:
            r_slow = self._known[length].slow_output(r, r_slow)[-1]
            slope = c.slope(r[-1], r_slow)
        if c.integrates:
            u_int = u - c.output(torch.zeros_like(u), self.target - r[-1], slope)
        self.state = LoopState(tuple(v[-1] for v in nodes.v), u_int, u, r_slow)
        self.largest = max(self.largest, float(u.norm()))
        if not self.largest < _LOST * max(1.0, float(self.target.norm())):
            raise ConvergenceError(
                f"the dynamics diverged: u has grown to {self.largest:.1g}{_REMEDY}"
            )
        self.before = [di[-1] for di in d]
        for total, di in zip(self.sums, d, strict=True):
            total.add_(mean(WEIGHTS, di), alpha=length)
        self.linearised_here = False
        self.spans += 1

    def _shorter(self, length: float) -> float:
        """A shorter span, or the same one with the loop linearised where it is now."""
        if not self.linearised_here:
            loop, state = self.loop, self.state
            r = [activate(phi, v) for phi, v in zip(loop.activations, state.v, strict=True)]
            self.gains = path_gains(loop, r, state.u)
            self._known, self.linearised_here = {}, True
            return length
        if length <= _LEAST * self.loop.tau_v:
            raise ConvergenceError(
                f"the dynamics diverged: no span longer than {length:.1g} has finite signals that "
                f"solve its equations{_REMEDY}"
            )
        return length / 4


def _fitting(length: float, left: float) -> float:
    """The span, or what is left where that isn't much more, or half of it where it isn't two."""
    if left <= 1.25 * length:
        return left
    return left / 2 if left < 2 * length else length


class FewSteps(NamedTuple):
    """Forward update averaged over a run.

    Attributes:
        weights: Delta W_i, (n_i, n_{i-1}), of layers 1..L.
        biases: Delta b_i, (n_i,).
        error: its estimated error, relative to its norm.
        state: where the run has ended.
        spans: spans of the run.
        passes: forward passes through the layers, each at all nodes of a span.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    error: float
    state: LoopState
    spans: int
    passes: int


@torch.inference_mode()
def mean_update_in_spans(
    loop: Loop,
    x: Tensor,
    target: Tensor,
    *,
    duration: float,
    tolerance: float,
    nonlinear: bool = True,
) -> FewSteps:
    """Forward update averaged over time and batch, as `mean_update`, in spans of `Radau`.

    Args:
        loop: the constants of the dynamics.
        x: inputs, (batch, n_0).
        target: output targets, (batch, n_L).
        duration: of the run, in units of the controller's time.
        tolerance: see `Radau`.
        nonlinear: average (phi(v) - phi(v_ff)) r^T (eq. 5); else (v - v_ff) r^T (eq. 9).

    Raises:
        ConvergenceError: the dynamics diverged.
        UserError: duration or shape of the targets make no run.
    """
    check_run(loop, x, target, duration, 1)
    run = RadauRun(loop, free_state(loop, x), x, target, duration, tolerance, nonlinear=nonlinear)
    sums = [torch.zeros_like(w) for w in loop.weights]

    def collect(length: float, nodes: Nodes, d: list[Tensor]) -> None:
        weights = torch.from_numpy(WEIGHTS * length).to(x)[:, None, None]
        for total, di, r in zip(sums[1:], d[1:], nodes.r[:-1], strict=True):
            total.addmm_((weights * di).flatten(0, 1).T, r.flatten(0, 1))

    run.go(collect)
    sums[0].addmm_(run.sums[0].T, x)
    scale = 1 / (duration * len(x))
    return FewSteps(
        tuple((w * scale).clone() for w in sums),
        tuple((s.sum(dim=0) * scale).clone() for s in run.sums),
        run.error,
        run.state,
        run.spans,
        run.passes,
    )
