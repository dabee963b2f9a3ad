"""What an inverting control loop settles at: by simulation, or directly where it is linear."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.dynamics.inversion import InversionLoop
from analogdfc.dynamics.inversion_steps import simulated
from analogdfc.dynamics.linalg import inverse
from analogdfc.errors import ConvergenceError, UserError

ROUNDING = 1e-9
"""Growth, per unit of time or step, that rounding may lend to a mode that has none."""

_EVERY = 20
"""Steps between two looks at whether the loop has settled."""


class Settled(NamedTuple):
    """Errors that a loop has come to.

    Attributes:
        errors: delta of each layer that the loop controls, the lowest first, (batch, n_i).
        residual: largest rate of change left in a sample, relative to the largest element of its
            target, per unit of time; 0 for a direct solution.
    """

    errors: tuple[Tensor, ...]
    residual: float


class Settling(ABC):
    """A way to the steady state."""

    @abstractmethod
    def settle(self, loop: InversionLoop, target: Tensor) -> Settled:
        """Errors with which the loop answers a target.

        Args:
            loop: the loop.
            target: the error to be reached, (batch, n_l).

        Raises:
            ConvergenceError: there is no answer; the message says what to change.
        """

    @abstractmethod
    def check(self, loop: InversionLoop, name: str) -> None:
        """Refuse a loop that this way can't deal with.

        Args:
            loop: the loop.
            name: what the message is to call it, such as 'layer 2'.

        Raises:
            UserError: it can't; the message says why.
        """


@dataclass(frozen=True)
class Simulation(Settling):
    """Euler steps from 0, as the paper's Algorithms 1 to 3 take them.

    Attributes:
        dt: step, > 0, in units of time of the loop.
        steps: bound on the number of steps, >= 1.
        tolerance: residual (see `Settled`) at which a run ends early, >= 0; 0 for never.
        required: residual above which a run that has used up its steps is an error, > 0. By
            default none, as in the paper, where the last state counts as it is.

    Raises:
        UserError: a value outside its range.
    """

    dt: float = 0.1
    steps: int = 10000
    tolerance: float = 1e-9
    required: float = math.inf

    def __post_init__(self) -> None:
        if not (0 < self.dt < math.inf and self.steps >= 1):
            raise UserError(f"{self}: dt > 0 and steps >= 1 are required")
        if not (0 <= self.tolerance < math.inf and self.required > 0):
            raise UserError(f"{self}: tolerance >= 0 and required > 0 are required")

    def settle(self, loop: InversionLoop, target: Tensor) -> Settled:
        """See `Settling`."""
        run = simulated(loop, target, self.dt)
        for taken in range(0, self.steps, _EVERY):
            run.advance(min(_EVERY, self.steps - taken))
            residual = run.residual()
            if residual <= self.tolerance or residual == math.inf:
                break
        if not (math.isfinite(residual) and residual <= self.required):
            raise ConvergenceError(self._failure(loop, residual))
        state = run.state()
        return Settled(tuple(state[i] for i in loop.places), residual)

    def check(self, loop: InversionLoop, name: str) -> None:
        """Refuse a step that is too long for a loop that is stable in continuous time."""
        if (growth := loop.growth(self.dt)) > 1 + ROUNDING:
            raise UserError(f"{name}: {_too_long(loop, self.dt, growth)}")

    def _failure(self, loop: InversionLoop, residual: float) -> str:
        if (slowest := loop.abscissa()) > 0:
            return f"dynamic inversion diverged: {unstable(slowest)}"
        if (growth := loop.growth(self.dt)) > 1 + ROUNDING:
            return f"dynamic inversion diverged: {_too_long(loop, self.dt, growth)}"
        return (
            f"dynamic inversion has not settled after {self.steps} steps of {self.dt:g}: rates of "
            f"change are {residual:.2g} of the target, its slowest linear mode decays at "
            f"{-slowest:.2g}. Allow more steps, or raise the leak alpha"
        )


def _too_long(loop: InversionLoop, dt: float, growth: float) -> str:
    short = dt
    while loop.growth(short) > 1 and short > 1e-6 * dt:
        short /= 2
    return (
        f"steps of dt = {dt:g} are too long, a mode grows by {growth:.3g} in each; "
        f"dt = {short:.2g} is short enough"
    )


def unstable(eigenvalue: float) -> str:
    """What to say of a loop whose slowest mode grows.

    Args:
        eigenvalue: its real part, per unit of time.
    """
    return (
        f"the loop is unstable, the largest real part of its eigenvalues is {eigenvalue:+.3g} per "
        "unit of time. Start the feedback from the transposed weights, let it be stabilised, or "
        "raise the leak alpha"
    )


@dataclass(frozen=True)
class DirectSolution(Settling):
    """The steady state of a linear loop by one dense solution."""

    def settle(self, loop: InversionLoop, target: Tensor) -> Settled:
        """See `Settling`."""
        self.check(loop, "the loop")
        with torch.no_grad():
            constant = torch.cat(loop.rates(loop.start(target), target), dim=1)
            try:
                resolvent = inverse(loop.matrix())
            except ConvergenceError as error:
                raise ConvergenceError(
                    "dynamic inversion has no unique steady state: the loop's matrix is singular. "
                    "Raise the leak alpha"
                ) from error
        parts = torch.split((constant @ resolvent.T).neg(), list(loop.sizes), dim=1)
        return Settled(tuple(parts[i] for i in loop.places), 0.0)

    def check(self, loop: InversionLoop, name: str) -> None:
        """Refuse a loop with an activation other than the identity."""
        if not loop.linear:
            raise UserError(
                f"{name}: its activation is not linear, so its steady state can't be solved for "
                "directly; simulate it"
            )
