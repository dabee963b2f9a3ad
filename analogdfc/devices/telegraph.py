"""Random telegraph noise: a trap that switches between two states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.devices.draws import check_number, uniform
from analogdfc.errors import UserError


class TelegraphState(NamedTuple):
    """Traps of an array; both tensors are boolean and have its shape.

    Attributes:
        present: devices that have a trap.
        low: devices whose trap is filled, which lowers the conductance.
    """

    present: Tensor
    low: Tensor


@dataclass(frozen=True, kw_only=True)
class RandomTelegraph:
    """A two-state Markov process for each device.

    Attributes:
        amplitude: fraction of the conductance that a filled trap takes away, 0..1.
        time_high: mean time in the high state, in seconds.
        time_low: mean time in the low state, in seconds.
        fraction: fraction of the devices that have a trap, 0..1.

    Raises:
        UserError: a value out of range.
    """

    amplitude: float
    time_high: float
    time_low: float
    fraction: float = 1.0

    def __post_init__(self) -> None:
        check_number("amplitude", self.amplitude, low=0.0, high=1.0)
        check_number("time_high", self.time_high, "s", low=0.0, open_low=True)
        check_number("time_low", self.time_low, "s", low=0.0, open_low=True)
        check_number("fraction", self.fraction, low=0.0, high=1.0)

    @property
    def occupancy(self) -> float:
        """Probability of the low state of a device with a trap."""
        return self.time_low / (self.time_high + self.time_low)

    @property
    def rate(self) -> float:
        """Decay rate of the correlation, 1 / time_high + 1 / time_low, per second."""
        return 1 / self.time_high + 1 / self.time_low

    def start(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        *,
        present: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> TelegraphState:
        """A state drawn from the stationary distribution.

        Args:
            shape: shape of the array.
            generator: source of the randomness.
            present: which devices have a trap, of that shape; drawn if it isn't given.
            device: device of the tensors; by default the generator's.
        """
        if present is None:
            present = uniform(shape, generator, device=device) < self.fraction
        low = uniform(shape, generator, device=device) < self.occupancy
        return TelegraphState(present, present & low)

    def advance(
        self, state: TelegraphState, dt: float, generator: torch.Generator
    ) -> TelegraphState:
        """The state after dt seconds, by the exact transition probabilities.

        Args:
            state: the traps before.
            dt: seconds that pass, >= 0.
            generator: source of the randomness.

        Raises:
            UserError: a negative or non-finite dt.
        """
        check_number("dt", dt, "s", low=0.0)
        keep = float(torch.exp(torch.tensor(-self.rate * dt, dtype=torch.float64)))
        to_low = self.occupancy * (1 - keep)
        chance = torch.where(state.low, to_low + keep, to_low)
        low = uniform(state.low.shape, generator, device=state.low.device) < chance
        return TelegraphState(state.present, state.present & low)

    def factor(self, state: TelegraphState, dtype: torch.dtype = torch.float64) -> Tensor:
        """What the conductances are multiplied by.

        Args:
            state: the traps.
            dtype: type of the result.
        """
        return 1 - self.amplitude * state.low.to(dtype)

    def series(
        self, shape: tuple[int, ...], dt: float, steps: int, generator: torch.Generator
    ) -> Tensor:
        """Factors over time.

        Args:
            shape: shape of the array.
            dt: seconds from one sample to the next, >= 0.
            steps: number of samples, >= 1.
            generator: source of the randomness.

        Returns:
            (steps, *shape), in double precision.

        Raises:
            UserError: fewer than one step, or a negative dt.
        """
        if steps < 1:
            raise UserError(f"{steps} steps of telegraph noise; 1 or more are allowed")
        state = self.start(shape, generator)
        out = [self.factor(state)]
        for _ in range(steps - 1):
            state = self.advance(state, dt, generator)
            out.append(self.factor(state))
        return torch.stack(out)
