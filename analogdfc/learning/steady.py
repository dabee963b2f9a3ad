"""Deep Feedback Control at the steady state of its dynamics."""

from __future__ import annotations

import torch
from torch import Tensor

from analogdfc.dynamics import Euler, Loop
from analogdfc.dynamics.linalg import solve
from analogdfc.dynamics.loop import LoopState, feedforward, free_state, layer_inputs
from analogdfc.dynamics.simulation import final_state
from analogdfc.dynamics.steady import controlled_forward, sensitivity, steady_state
from analogdfc.learning.base import register
from analogdfc.learning.dfc import FeedbackControl


class _AtRest(FeedbackControl):
    """Writes the update of one state of the network."""

    def _update_at(self, loop: Loop, x: Tensor, v: tuple[Tensor, ...]) -> None:
        inputs = layer_inputs(loop, v, x)
        v_ff = feedforward(loop, inputs)
        weights, biases = [], []
        for phi, vi, ffi, r in zip(loop.activations, v, v_ff, inputs, strict=True):
            d = phi.function(vi) - phi.function(ffi) if self.nonlinear else vi - ffi
            weights.append(d.T @ r / len(x))
            biases.append(d.mean(dim=0))
        self._write(weights, biases)


@register(
    "dfc-ss",
    family="deep feedback control",
    local="space; time at steady state",
    source="Meulemans et al. 2021, Algorithm 2",
)
class SteadyStateDFC(_AtRest):
    """Update at the steady state, which Newton's method finds (Meulemans et al. 2021, Algorithm 2).

    A sample on which Newton's method fails is simulated instead, `steps` steps of `dt`; how many
    there were since the rule was made is in `simulated`.

    Args:
        args: as `FeedbackControl`.
        tolerance: residual of Newton's method, relative to the error of the free state.
        kwargs: as `FeedbackControl`.
    """

    def __init__(self, *args: object, tolerance: float = 1e-10, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.tolerance = tolerance
        self.simulated = 0

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad`; see `LearningRule.backward`."""
        loop, target, loss = self._prepare(x, y)
        found = steady_state(loop, x, target, tolerance=self.tolerance)
        v = found.state.v
        if not bool(found.converged.all()):
            v = self._simulated(loop, x, target, found.state, found.converged)
        self._update_at(loop, x, v)
        return loss

    def _simulated(
        self, loop: Loop, x: Tensor, target: Tensor, state: LoopState, converged: Tensor
    ) -> tuple[Tensor, ...]:
        left = ~converged
        self.simulated += int(left.sum())
        run = final_state(
            loop, x[left], target[left], dt=self.dt, steps=self.steps, integrator=Euler()
        )
        out = []
        for whole, part in zip(state.v, run.v, strict=True):
            merged = whole.clone()
            merged[left] = part
            out.append(merged)
        return tuple(out)


@register(
    "dfc-ssa",
    family="deep feedback control",
    local="no: uses the network's Jacobian",
    source="Meulemans et al. 2021, Algorithm 3, Lemma 1",
)
class AnalyticDFC(_AtRest):
    """Update at the linearised steady state (Meulemans et al. 2021, Algorithm 3).

    u = (J Q + alpha I)^-1 delta_L, with J at the free state; the activations are then propagated
    under that control signal.
    """

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad`; see `LearningRule.backward`."""
        loop, target, loss = self._prepare(x, y)
        v = free_state(loop, x).v
        delta = target - loop.activations[-1].function(v[-1])
        eye = torch.eye(delta.shape[-1], dtype=x.dtype, device=x.device)
        u = solve(sensitivity(loop, v) + loop.controller.alpha * eye, delta)
        self._update_at(loop, x, controlled_forward(loop, x, u))
        return loss
