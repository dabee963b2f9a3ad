"""What time and temperature do to a programmed conductance: drift, relaxation, retention."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from analogdfc.devices.curves import Curve
from analogdfc.devices.draws import check_number, check_time
from analogdfc.errors import UserError

_EV_PER_KELVIN = 8.617333262e-5
"""Boltzmann's constant in eV / K (CODATA 2018)."""


class Ageing(ABC):
    """How a conductance changes after programming."""

    @abstractmethod
    def at(self, time: float | Tensor, g: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
        """Conductances at a time.

        Args:
            time: seconds since programming, >= 0; a tensor broadcasts with g.
            g: programmed conductances, any shape, in siemens.
            target: what they were programmed to, of the same shape.
            hidden: one standard normal number a device, of the same shape, drawn when it was
                programmed: what tells one device's path from another's.

        Returns:
            In siemens; may be slightly below 0 where a shift is added.

        Raises:
            UserError: a negative or non-finite time.
        """


@dataclass(frozen=True)
class PowerLawDrift(Ageing):
    """g(t) = g(t0) (t / t0)^-nu, with nu normal over the devices.

    The conductance until t0 is the programmed one: that is when it is first measured. Nu isn't
    folded to positive values, so that its mean and spread are those of the card.

    Attributes:
        exponent: mean of nu as a function of the target.
        spread: standard deviation of nu as a function of the target; None for none.
        start: t0, in seconds.

    Raises:
        UserError: t0 isn't > 0.
    """

    exponent: Curve
    start: float
    spread: Curve | None = None

    def __post_init__(self) -> None:
        check_number("start of the drift", self.start, "s", low=0.0, open_low=True)

    def nu(self, target: Tensor, hidden: Tensor) -> Tensor:
        """Exponents of the devices, of the shape of the target.

        Args:
            target: target conductances, any shape, in siemens.
            hidden: one standard normal number a device, of the same shape.
        """
        mean = self.exponent(target)
        return mean if self.spread is None else torch.addcmul(mean, self.spread(target), hidden)

    def at(self, time: float | Tensor, g: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
        """Conductances at a time."""
        t = check_time(time)
        if t.numel() == 1 and float(t) <= self.start:
            return g
        ages = (t.to(g.device) / self.start).clamp(min=1).log().to(g.dtype)
        return g * torch.exp(-self.nu(target, hidden) * ages)


@dataclass(frozen=True)
class Relaxation(Ageing):
    """A shift and a spread that follow a law in time and don't depend on the conductance.

    From `start` on, g(t) = g + shift(t) + spread(t) xi with xi normal over the devices.

    Attributes:
        start: time from which the law holds, in seconds; before it the conductance is the
            programmed one.
        shift: mean change as a function of time, in siemens; None for none.
        spread: standard deviation of the change as a function of time, in siemens; None for none.

    Raises:
        UserError: start isn't > 0.
    """

    start: float
    shift: Curve | None = None
    spread: Curve | None = None

    def __post_init__(self) -> None:
        check_number("start of the relaxation", self.start, "s", low=0.0, open_low=True)

    def at(self, time: float | Tensor, g: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
        """Conductances at a time."""
        t = check_time(time).to(g.device)
        later = t.clamp(min=self.start)
        out = g
        if self.shift is not None:
            out = out + self.shift(later).to(g.dtype)
        if self.spread is not None:
            out = out + self.spread(later).clamp(min=0).to(g.dtype) * hidden
        return torch.where(t < self.start, g, out)


@dataclass(frozen=True)
class Snapshot:
    """The distribution around the target, measured at one time.

    Attributes:
        time: in seconds since programming.
        spread: standard deviation as a function of the target, in siemens; None for none.
        shift: mean distance from the target as a function of the target, in siemens; None for none.
    """

    time: float
    spread: Curve | None = None
    shift: Curve | None = None


@dataclass(frozen=True)
class Measured(Ageing):
    """Distributions measured at a few times, with linear interpolation between them.

    The devices diffuse: what the spread has grown by since the first snapshot is an independent
    normal number, so that spread(t)^2 = spread(first)^2 + growth(t)^2.

    Attributes:
        snapshots: in the order of their times; the first is the programmed state.

    Raises:
        UserError: fewer than two snapshots, times that are negative or don't increase.
    """

    snapshots: tuple[Snapshot, ...]

    def __post_init__(self) -> None:
        times = [check_number("time of a snapshot", s.time, "s", low=0.0) for s in self.snapshots]
        if len(times) < 2 or any(a >= b for a, b in pairwise(times)):
            raise UserError(f"times of snapshots {times} s: two or more, each later than the last")

    def at(self, time: float | Tensor, g: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
        """Conductances at one time.

        Raises:
            UserError: more than one time, or one after the last snapshot.
        """
        t = check_time(time)
        if t.numel() != 1:
            raise UserError(f"{t.numel()} times at once; measured distributions are read at one")
        moment, last = float(t), self.snapshots[-1].time
        if moment > last:
            raise UserError(
                f"time {moment:g} s: this device was measured until {last:g} s; nothing is known "
                "later"
            )
        first = self._spread(self.snapshots[0], target)
        if moment <= self.snapshots[0].time:
            return g
        k = next(i for i, s in enumerate(self.snapshots) if moment <= s.time)
        before, after = self.snapshots[k - 1], self.snapshots[k]
        weight = (moment - before.time) / (after.time - before.time)
        spread = torch.lerp(self._spread(before, target), self._spread(after, target), weight)
        shift = torch.lerp(self._shift(before, target), self._shift(after, target), weight)
        growth = (spread**2 - first**2).clamp(min=0).sqrt()
        return g + (shift - self._shift(self.snapshots[0], target)) + growth * hidden

    @staticmethod
    def _spread(snapshot: Snapshot, target: Tensor) -> Tensor:
        if snapshot.spread is None:
            return torch.zeros_like(target)
        return snapshot.spread(target).clamp(min=0)

    @staticmethod
    def _shift(snapshot: Snapshot, target: Tensor) -> Tensor:
        return torch.zeros_like(target) if snapshot.shift is None else snapshot.shift(target)


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Loss of the stored state: g approaches a level as exp(-(t / tau)^beta).

    Attributes:
        time_constant: tau at the reference temperature, in seconds.
        level: conductance that is approached, in siemens.
        stretch: beta, 0 < beta <= 1 for a stretched exponential.
        activation: activation energy of 1 / tau, in eV; 0 for none.
        temperature: reference temperature of tau, in kelvins.

    Raises:
        UserError: a value out of range.
    """

    time_constant: float
    level: float = 0.0
    stretch: float = 1.0
    activation: float = 0.0
    temperature: float = 300.0

    def __post_init__(self) -> None:
        check_number("time_constant", self.time_constant, "s", low=0.0, open_low=True)
        check_number("level", self.level, "S", low=0.0)
        check_number("stretch", self.stretch, low=0.0, high=2.0, open_low=True)
        check_number("activation", self.activation, "eV", low=0.0)
        check_number("temperature", self.temperature, "K", low=0.0, open_low=True)

    def kept(self, time: float | Tensor, temperature: float | None = None) -> Tensor:
        """Fraction of the distance to the level that is left.

        Args:
            time: seconds since programming, >= 0, a number or any shape.
            temperature: in kelvins, held since programming; by default the reference.

        Raises:
            UserError: a negative time, or a temperature that isn't > 0.
        """
        t = check_time(time)
        faster = 1.0
        if temperature is not None:
            faster = arrhenius(self.activation, temperature, self.temperature)
        return torch.exp(-((t * faster / self.time_constant) ** self.stretch))

    def at(self, time: float | Tensor, g: Tensor, temperature: float | None = None) -> Tensor:
        """Conductances at a time, and at a temperature held since programming.

        Args:
            time: seconds since programming, >= 0; a tensor broadcasts with g.
            g: programmed conductances, any shape, in siemens.
            temperature: in kelvins, held since programming; by default the reference.
        """
        return self.level + (g - self.level) * self.kept(time, temperature).to(g)


@dataclass(frozen=True)
class Temperature:
    """How a conductance follows the temperature of the moment.

    g(T) = g (1 + coefficient (T - T0)) exp(-(activation / k) (1 / T - 1 / T0))

    Attributes:
        coefficient: linear temperature coefficient, per kelvin.
        activation: activation energy of the conduction, in eV.
        reference: T0, at which the card's conductances hold, in kelvins.

    Raises:
        UserError: a value out of range.
    """

    coefficient: float = 0.0
    activation: float = 0.0
    reference: float = 300.0

    def __post_init__(self) -> None:
        check_number("coefficient", self.coefficient, "1/K")
        check_number("activation", self.activation, "eV")
        check_number("reference", self.reference, "K", low=0.0, open_low=True)

    def factor(self, temperature: float) -> float:
        """What a conductance is multiplied by at a temperature in kelvins.

        Args:
            temperature: temperature, in kelvins, > 0.

        Raises:
            UserError: a temperature that isn't > 0, or one beyond which the linear law is negative.
        """
        change = arrhenius(self.activation, temperature, self.reference)
        linear = 1 + self.coefficient * (temperature - self.reference)
        if linear <= 0:
            raise UserError(
                f"temperature {temperature:g} K: the coefficient {self.coefficient:g} per K makes "
                f"conductances negative there; it holds around {self.reference:g} K"
            )
        return change * linear


def arrhenius(activation: float, temperature: float, reference: float) -> float:
    """exp(-(activation / k) (1 / T - 1 / T0)): 1 at the reference, larger when it is hotter.

    Args:
        activation: in eV.
        temperature: T, in kelvins, > 0.
        reference: T0, in kelvins, > 0.

    Raises:
        UserError: a temperature that isn't > 0.
    """
    check_number("temperature", temperature, "K", low=0.0, open_low=True)
    exponent = -activation / _EV_PER_KELVIN * (1 / temperature - 1 / reference)
    return float(torch.exp(torch.tensor(exponent, dtype=torch.float64)))
