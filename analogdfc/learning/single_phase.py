"""Deep Feedback Control that learns forward and feedback weights in the same run."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from analogdfc.dynamics import Euler
from analogdfc.dynamics.single_phase import Filters, single_phase_update
from analogdfc.errors import UserError
from analogdfc.learning.base import register
from analogdfc.learning.dfc import FeedbackControl


@register(
    "dfc-single-phase",
    family="deep feedback control",
    feedback="direct, learned at the same time",
    local="yes",
    local_time="yes",
    equation="Delta W_i = mean over t of (phi(v_i) - phi(v_ff,i)) r_{i-1}^T, filtered",
    source="Meulemans et al. 2021, App. C.3 and C.4",
)
class SinglePhaseDFC(FeedbackControl):
    """One noisy run updates the forward and the feedback weights (Meulemans et al. 2021, App. C.3).

    Strength of the noise, time constant of the feedback compartments, decay and freezing of Q_L are
    those of `sleep`; controller, tau_v, dt and steps are the rule's own.

    Args:
        args: as `FeedbackControl`.
        filters: filters of the plasticity's signals; by default `Filters()`.
        kwargs: as `FeedbackControl`.

    Raises:
        UserError: a value outside its range, or an integrator that knows no noise.
    """

    learns_both: ClassVar[bool] = True

    def __init__(self, *args: Any, filters: Filters | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.filters = filters or Filters()
        if not isinstance(self.integrator, Euler):
            raise UserError(
                f"integrator = {self.integrator}: a run with noise takes Euler steps; leave it out"
            )
        self._proactive = self.integrator.proactive

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "filters": self.filters,
        }

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad` of network and feedback; see `LearningRule.backward`."""
        r = self.network(x)
        target = self.loss.target(r, y, self.target_stepsize)
        self._steps_seen.see(target - r, r)
        self._noise_seen.see(self.sleep.sigma, r)
        loop = self._loop()
        found = single_phase_update(
            loop,
            x,
            target,
            dt=self.dt,
            steps=self.steps,
            sigma=self.sleep.sigma,
            tau_fb=self.sleep.tau_fb,
            generator=self.generator,
            filters=self.filters,
            proactive=self._proactive,
            nonlinear=self.nonlinear,
            noisy_output=self.sleep.train_output,
        )
        self._write(found.weights, found.biases)
        self._write_feedback(self.sleep.scaled(found.feedback, loop.feedback))
        return self.loss.value(r, y).mean()
