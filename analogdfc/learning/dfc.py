"""Deep Feedback Control, its update averaged over the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from analogdfc.activations import activate
from analogdfc.controller import PI, Controller
from analogdfc.dynamics import Euler, Loop, Radau, mean_update
from analogdfc.dynamics.loop import LoopState
from analogdfc.dynamics.neuron import ConductanceNeuron
from analogdfc.dynamics.radau import mean_update_in_spans
from analogdfc.dynamics.stability import few_modes, stable
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback, Feedback
from analogdfc.learning._rounding import RoundingWatch, larger
from analogdfc.learning.base import ControlLoop, LearnsFeedback, register
from analogdfc.learning.sleep import SleepPhase
from analogdfc.losses import Loss
from analogdfc.network import Network


class FeedbackControl(LearnsFeedback):
    """What all variants of Deep Feedback Control share.

    Args:
        network: the network that learns.
        feedback: its feedback pathway; by default the product of the transposed weights, fixed.
        controller: the controller; by default `PI()`.
        target_stepsize: step lambda of the output target along the negative loss gradient, > 0.
        loss: the loss at the output; by default the squared error.
        nonlinear: the rule compares phi(v) with phi(v_ff) (eq. 5); else v with v_ff (eq. 9).
        tau_v: time constant of the neurons, in units of the controller's time.
        dt: time step of the simulation, in the same unit.
        steps: number of steps, >= 1.
        integrator: which of the paper's modifications of Euler's method apply; by default both. Or
            `Radau()`, which goes through `steps * dt` in few long spans, for `dfc` and a simulated
            `dfc-ss`.
        neuron: conductance-based neurons (App. G); by default those of eq. 1.
        sleep: how the feedback weights are learned; by default `SleepPhase()`.
        generator: source of the noise in a sleep phase, on the network's device; by default a new
            one with seed 0.

    Attributes:
        learns_both: the forward epochs learn the feedback too, without a phase of their own.
        unstable: samples since the rule was made whose loop was unstable where `Radau` has taken
            it. Its long steps damp modes that grow, which its estimate of the error doesn't see.

    Raises:
        UserError: a value outside its range.
    """

    learns_both: ClassVar[bool] = False
    feedback: Feedback
    unstable: int = 0

    def __init__(
        self,
        network: Network,
        feedback: Feedback | None = None,
        controller: Controller | None = None,
        *,
        target_stepsize: float = 0.1,
        loss: Loss | None = None,
        nonlinear: bool = True,
        tau_v: float = 0.2,
        dt: float = 0.02,
        steps: int = 1000,
        integrator: Euler | Radau | None = None,
        neuron: ConductanceNeuron | None = None,
        sleep: SleepPhase | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(network, loss)
        if not (target_stepsize > 0 and dt > 0 and tau_v > 0 and steps >= 1):
            raise UserError(
                f"target_stepsize = {target_stepsize}, dt = {dt}, tau_v = {tau_v}, "
                f"steps = {steps}: all must be positive"
            )
        self.feedback = feedback or DirectFeedback.transposed(network)
        self.controller = controller or PI()
        self.target_stepsize = target_stepsize
        self.nonlinear = nonlinear
        self.tau_v = tau_v
        self.dt = dt
        self.steps = steps
        self.integrator: Euler | Radau = integrator or Euler()
        self.neuron = neuron
        self.sleep = sleep or SleepPhase()
        device = network.weights[0].device
        self.generator = generator or torch.Generator(device).manual_seed(0)
        self._steps_seen = RoundingWatch(
            "target steps", larger(f"target_stepsize = {target_stepsize:g}")
        )
        self._noise_seen = RoundingWatch("noises of the sleep phase", larger("its sigma"))

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "target_stepsize": self.target_stepsize,
            "nonlinear": self.nonlinear,
            "controller": self.controller,
            "tau_v": self.tau_v,
            "dt": self.dt,
            "steps": self.steps,
            "integrator": self.integrator,
            "neuron": self.neuron,
            "sleep": self.sleep,
        }

    def generators(self) -> dict[str, torch.Generator]:
        """See `LearningRule.generators`."""
        return {"noise": self.generator}

    def counters(self) -> dict[str, int]:
        """Batches whose steps, or whose noise in a sleep phase, were lost in the rounding.

        Under `small_steps` and `small_noise`.
        """
        return {
            **super().counters(),
            "small_steps": self._steps_seen.lost,
            "small_noise": self._noise_seen.lost,
        }

    def _count_on(self, counts: Mapping[str, int]) -> None:
        super()._count_on(counts)
        self._steps_seen.lost = counts["small_steps"]
        self._noise_seen.lost = counts["small_noise"]

    def figures(self) -> dict[str, float]:
        """With `unstable`, where steps are long."""
        found = super().figures()
        if isinstance(self.integrator, Radau):
            found["unstable"] = float(self.unstable)
        return found

    def notes(self) -> list[str]:
        """Steps and noise that are lost in the rounding, and loops that are unstable."""
        told = [*super().notes(), *self._steps_seen.notes(), *self._noise_seen.notes()]
        if self.unstable:
            told.append(
                f"the loop of {self.unstable} samples was unstable where long steps have taken it. "
                "They damp what grows, so that updates may err by far more than is estimated: "
                "lower the gain or the tolerance, or take Euler's steps"
            )
        return told

    def _see_end(self, loop: Loop, state: LoopState) -> None:
        """Count the samples whose loop is unstable where long steps end, if its modes are few."""
        if isinstance(self.integrator, Radau) and few_modes(loop):
            layers = zip(loop.activations, state.v, strict=True)
            found = stable(loop, [activate(phi, v) for phi, v in layers], state.u)
            self.unstable += int((~found).sum())

    def control_loop(self) -> ControlLoop:
        """See `LearningRule.control_loop`."""
        neuron = "" if self.neuron is None else "conductance-based"
        return ControlLoop(self.feedback, self.controller, self.tau_v, neuron)

    def feedback_backward(self, x: Tensor) -> None:
        """Fill `.grad` of the feedback weights from a sleep phase (Meulemans et al. 2021, eq. 13).

        A frozen matrix gets no gradient.

        Args:
            x: inputs, (batch, n_0).

        Raises:
            ConvergenceError: the dynamics diverged.
        """
        self._noise_seen.see(self.sleep.sigma, self.network.biases[-1].detach())
        self._write_feedback(self.sleep.update(self.network, self.feedback, x, self.generator))

    def _write_feedback(self, updates: Sequence[Tensor | None]) -> None:
        for q, update in zip(self.feedback.matrices, updates, strict=True):
            q.grad = None if update is None else update.neg()

    def _loop(self) -> Loop:
        return Loop.of(self.network, self.feedback, self.controller, self.tau_v, self.neuron)


@register(
    "dfc",
    family="deep feedback control",
    feedback="direct or a network, learned or fixed",
    local="yes",
    local_time="yes",
    equation="Delta W_i = mean over t of (phi(v_i) - phi(v_ff,i)) r_{i-1}^T",
    source="Meulemans et al. 2021, Algorithm 1",
)
class DFC(FeedbackControl):
    """Update averaged over the run (Meulemans et al. 2021, Algorithm 1).

    With `Radau` for the integrator the average is that of the unmodified equations, to an error
    that is estimated in every step and told in `figures`.

    Attributes:
        error: largest estimated error of an update since the rule was made, relative to its norm;
            0 with Euler's method, which estimates none.
    """

    error: float = 0.0

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad`; see `LearningRule.backward`."""
        r = self.network(x)
        target = self.loss.target(r, y, self.target_stepsize)
        self._steps_seen.see(target - r, r)
        self._write(*self._mean_update(x, target))
        return self.loss.value(r, y).mean()

    def _mean_update(
        self, x: Tensor, target: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        if isinstance(self.integrator, Euler):
            return mean_update(
                self._loop(),
                x,
                target,
                dt=self.dt,
                steps=self.steps,
                integrator=self.integrator,
                nonlinear=self.nonlinear,
            )
        loop = self._loop()
        found = mean_update_in_spans(
            loop,
            x,
            target,
            duration=self.dt * self.steps,
            tolerance=self.integrator.tolerance,
            nonlinear=self.nonlinear,
        )
        self.error = max(self.error, found.error)
        self._see_end(loop, found.state)
        return found.weights, found.biases

    def figures(self) -> dict[str, float]:
        """With `integration_error`, the largest estimated error of an update, if there is one."""
        found = super().figures()
        return (
            found
            if isinstance(self.integrator, Euler)
            else {**found, "integration_error": self.error}
        )

    def notes(self) -> list[str]:
        """An error above the tolerance of the integrator."""
        told = super().notes()
        if isinstance(self.integrator, Radau) and self.error > self.integrator.tolerance:
            told.append(
                f"the error of an update is estimated at {self.error:.2g} of its norm, above the "
                f"tolerance of {self.integrator.tolerance:g}: does the loop oscillate?"
            )
        return told
