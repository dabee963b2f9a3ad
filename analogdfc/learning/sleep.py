"""Learning of the feedback weights in a sleep phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from analogdfc.controller import PI
from analogdfc.dynamics import Loop
from analogdfc.dynamics.noise import sleep_update
from analogdfc.errors import UserError
from analogdfc.feedback import Feedback
from analogdfc.network import Network

# The published code divides by the square of the noise, but never by less than this.
_LEAST_SIGMA = 0.01


@dataclass(frozen=True, kw_only=True)
class SleepPhase:
    """Settings of feedback learning (Meulemans et al. 2021, eq. 13 and Algorithm 4).

    The network is perturbed by noise in its feedback compartments while the controller, with gains
    and time constants of its own, holds the output at its free value. Times are in units of the
    controller's time.

    Attributes:
        sigma: strength of the noise, > 0.
        alpha: leak of the control signal (eq. 206), >= 0.
        k_p: proportional gain, >= 0.
        tau_u: time constant of the controller, > 0.
        tau_v: time constant of the neurons, > 0.
        tau_fb: time constant of the feedback compartments, > 0.
        beta: decay of the feedback weights, >= 0.
        dt: time step, > 0.
        steps: number of steps, >= 1.
        train_output: Q_L learns and the output layer receives noise; else Q_L stays as it is.
        proactive: the compartments see the control signal of the same step, as in the paper's
            Algorithm 4; else that of the step before, as in the published experiments.
        precise: simulate in the network's precision throughout. Else what the noise makes of the
            network, its deviations from the free state, is in single precision where the noise is
            far above that rounding: it moves an update by some 2e-6 of its norm at the published
            settings and 1e-4 at most, in half the time. The next noise moves it by as much as it
            is large.

    Raises:
        UserError: a value outside its range.
    """

    sigma: float = 0.01
    alpha: float = 0.5
    k_p: float = 0.1
    tau_u: float = 1.0
    tau_v: float = 0.01
    tau_fb: float = 0.3
    beta: float = 0.01
    dt: float = 0.002
    steps: int = 50
    train_output: bool = True
    proactive: bool = False
    precise: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = field.name in ("alpha", "k_p", "beta")
            if not math.isfinite(value) or value < 0 or (value == 0 and not least):
                if isinstance(value, bool):
                    continue
                bound = ">= 0" if least else "> 0"
                raise UserError(f"sleep phase: {field.name} = {value}: it must be {bound}")

    def update(
        self,
        network: Network,
        feedback: Feedback,
        x: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor | None, ...]:
        """Update of the feedback weights from a batch, before any learning rate.

        - mean over time and batch of v_fb u^T / max(sigma, 0.01)^2 - beta Q: the published code
        too divides by the noise, so that the learning rate doesn't depend on it.

        Args:
            network: the network.
            feedback: its feedback pathway.
            x: inputs, (batch, n_0).
            generator: source of the noise, on the device of x.

        Returns:
            Delta Q_1..Delta Q_L, (n_i, m_i); None for the last where it is frozen.

        Raises:
            ConvergenceError: the dynamics diverged.
            UserError: a generator on another device.
        """
        loop = Loop.of(network, feedback, PI(self.k_p, self.alpha, self.tau_u), self.tau_v)
        found = sleep_update(
            loop,
            x,
            dt=self.dt,
            steps=self.steps,
            sigma=self.sigma,
            tau_fb=self.tau_fb,
            generator=generator,
            proactive=self.proactive,
            noisy_output=self.train_output,
            precise=self.precise,
        )
        return self.scaled(found, loop.feedback)

    def scaled(
        self, found: Sequence[Tensor], matrices: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        """Updates relative to the noise, with decay.

        Args:
            found: - mean of v_fb u^T of each layer, (n_i, m_i).
            matrices: Q_1..Q_L, of the same shapes.

        Returns:
            found / max(sigma, 0.01)^2 - beta Q; None for the last where it is frozen.
        """
        scale = 1 / max(self.sigma, _LEAST_SIGMA) ** 2
        out: list[Tensor | None] = [
            scale * change - self.beta * q for change, q in zip(found, matrices, strict=True)
        ]
        if not self.train_output:
            out[-1] = None
        return tuple(out)
