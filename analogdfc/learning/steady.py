"""Deep Feedback Control at the steady state of its dynamics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from analogdfc.activations import activate
from analogdfc.dynamics import Loop
from analogdfc.dynamics.at_rest import solve_at_rest
from analogdfc.dynamics.loop import free_pass, signals
from analogdfc.dynamics.reached import steady_state
from analogdfc.dynamics.simulation import final_state
from analogdfc.dynamics.steady import rest
from analogdfc.learning.base import register
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.network import Forward
from analogdfc.products import multiplied


class _AtRest(FeedbackControl):
    """Writes the update of one state of the network."""

    def _update_at(self, loop: Loop, layers: Forward, free: Forward) -> None:
        weights, biases = self.network.weights, self.network.biases
        parts = zip(weights, biases, loop.activations, layers.inputs, strict=True)
        for i, (w, b, phi, presynaptic) in enumerate(parts):
            # The negative of the update's factor, which makes gradients at once.
            if not self.nonlinear:
                d = layers.v_ff[i] - layers.v[i]
            elif i:
                d = activate(phi, layers.v_ff[i], torch.empty_like(layers.v[i])).sub_(
                    layers.r[i + 1]
                )
            else:  # what layer 1 would do without feedback, it did
                d = free.r[1] - layers.r[1]
            d.mul_(1 / len(d))
            w.grad = None  # whose memory, still in the cache, the next takes
            w.grad, b.grad = multiplied(d.T, presynaptic), d.sum(dim=0)


@register(
    "dfc-ss",
    family="deep feedback control",
    feedback="direct or a network, learned or fixed",
    local="yes",
    local_time="at steady state",
    equation="Delta W_i = (phi(v_i) - phi(v_ff,i)) r_{i-1}^T at rest",
    source="Meulemans et al. 2021, Algorithm 2",
)
class SteadyStateDFC(_AtRest):
    """Update at the steady state (Meulemans et al. 2021, Algorithm 2).

    Newton's method finds it, with residuals in the network's precision and derivatives in single
    precision, which cost steps at most. A sample on which it fails, or whose root is unstable or
    not surely the one that the dynamics come to, is simulated instead (see `steady_state`); one
    that doesn't come to rest is where `steps` steps of `dt` take it, as in the paper. How many
    there were since the rule was made is in `simulated`.

    Args:
        args: as `FeedbackControl`.
        newton: find the steady state by Newton's method; else take the last state of a simulation
            of `steps` steps, as the paper does.
        tolerance: residual of Newton's method, relative to the error of the free state.
        kwargs: as `FeedbackControl`.
    """

    def __init__(
        self, *args: Any, newton: bool = True, tolerance: float = 1e-10, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.newton = newton
        self.tolerance = tolerance
        self.simulated = 0

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "newton": self.newton,
            "tolerance": self.tolerance,
        }

    def counters(self) -> dict[str, int]:
        """With `simulated`, the samples whose rest is not surely Newton's."""
        return {**super().counters(), "simulated": self.simulated}

    def notes(self) -> list[str]:
        """How many samples were simulated, their rest not surely being Newton's."""
        said = f"{self.simulated} samples were simulated, whose rest is not surely Newton's"
        return [*super().notes(), *([said] if self.simulated else [])]

    def _count_on(self, counts: Mapping[str, int]) -> None:
        super()._count_on(counts)
        self.simulated = counts["simulated"]

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad`; see `LearningRule.backward`."""
        loop = self._loop()
        free = free_pass(loop, x)
        target = self.loss.target(free.output, y, self.target_stepsize)
        self._steps_seen.see(target - free.output, free.output)
        loss = self.loss.value(free.output, y).mean()
        if not self.newton:
            self._update_at(loop, self._simulated(loop, x, target), free)
            return loss
        found = steady_state(loop, free, target, tolerance=self.tolerance)
        layers, left = found.layers, ~found.converged
        self.simulated += int(found.simulated.sum())
        if bool(left.any()):
            layers = _merged(layers, self._simulated(loop, x[left], target[left]), left)
        self._update_at(loop, layers, free)
        return loss

    def _simulated(self, loop: Loop, x: Tensor, target: Tensor) -> Forward:
        state = final_state(
            loop, x, target, dt=self.dt, steps=self.steps, integrator=self.integrator
        )
        self._see_end(loop, state)
        return signals(loop, state.v, x)


def _merged(whole: Forward, part: Forward, where: Tensor) -> Forward:
    """The whole with the samples of a part in their places."""
    out = []
    for kind, others in zip(whole, part, strict=True):
        layers = [signal.clone() for signal in kind]
        for layer, other in zip(layers, others, strict=True):
            layer[where] = other
        out.append(tuple(layers))
    return Forward(*out)


@register(
    "dfc-ssa",
    family="deep feedback control",
    feedback="direct or a network, learned or fixed",
    local="no: uses the network's Jacobian",
    local_time="no: the steady state in closed form",
    equation="u = (J Q + alpha~ I)^-1 delta_L, and the update at rest under u",
    source="Meulemans et al. 2021, Algorithm 3, Lemma 1",
)
class AnalyticDFC(_AtRest):
    """Update at the linearised steady state (Meulemans et al. 2021, Algorithm 3).

    u = (J Q + alpha~ I)^-1 delta_L, with J at the free state and dg/du at u = 0 for Q where the
    feedback is a network; the activations are then propagated under that control signal. For direct
    feedback J Q is found in single precision, of large batches to first order about their mean, and
    u corrected in double, to 1e-10 of delta_L; where that fails, J Q is formed in double precision
    (see `dynamics.at_rest.solve_at_rest`).
    """

    ignored: ClassVar[tuple[str, ...]] = ("dt", "steps", "integrator")

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad`; see `LearningRule.backward`."""
        loop = self._loop()
        free = free_pass(loop, x)
        delta = self.target_stepsize * self.loss.error(free.output, y)
        self._steps_seen.see(delta, free.output)
        self._update_at(loop, rest(loop, free, solve_at_rest(loop, free, delta)), free)
        return self.loss.value(free.output, y).mean()
