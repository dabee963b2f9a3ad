"""A device: its models put together, and the arrays that are made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from analogdfc.devices.ageing import Ageing, Retention, Temperature
from analogdfc.devices.draws import Streams, check_precision, check_time, normal, require
from analogdfc.devices.faults import Faults, Spread, Stuck
from analogdfc.devices.noise import ReadNoise
from analogdfc.devices.programming import Programming
from analogdfc.devices.pulses import PulsedDevices, Pulses
from analogdfc.devices.telegraph import RandomTelegraph, TelegraphState
from analogdfc.devices.window import Window
from analogdfc.errors import UserError, check_names


@dataclass(frozen=True)
class DeviceModel:
    """A device; what is left out is ideal.

    Attributes:
        window: range of conductances, with or without levels.
        programming: error of a write.
        read: noise of a read.
        telegraph: random telegraph noise.
        drift: change after programming.
        retention: loss of the stored state.
        temperature: dependence on the temperature of the moment.
        spread: relative spread from device to device and from write to write.
        faults: stuck devices.
        pulses: update by pulses; without it a device has no pulsed update.
    """

    window: Window
    programming: Programming | None = None
    read: ReadNoise | None = None
    telegraph: RandomTelegraph | None = None
    drift: Ageing | None = None
    retention: Retention | None = None
    temperature: Temperature | None = None
    spread: Spread | None = None
    faults: Faults | None = None
    pulses: Pulses | None = None

    @property
    def sha256(self) -> str:
        """What tells it from other models: of all its numbers, in hexadecimal."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    @property
    def imperfections(self) -> tuple[str, ...]:
        """Names of the imperfections that this device has, of those in `IMPERFECTIONS`."""
        return tuple(name for name, off in IMPERFECTIONS.items() if off(self) != self)

    def without(self, *names: str) -> DeviceModel:
        """The same device with the named imperfections switched off.

        Args:
            names: keys of `IMPERFECTIONS`.

        Raises:
            UserError: a name that isn't in `IMPERFECTIONS`.
        """
        check_names(names, IMPERFECTIONS, "imperfection", "a device")
        model = self
        for name in names:
            model = IMPERFECTIONS[name](model)
        return model

    def ideal(self) -> DeviceModel:
        """The same window, and constant steps if there are pulses, without any imperfection."""
        return self.without(*IMPERFECTIONS)

    def fabricate(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
        stuck: Stuck | None = None,
    ) -> Population:
        """Draw the devices of an array, or of many.

        Args:
            shape: any shape; leading dimensions are arrays or Monte-Carlo samples.
            generator: source of what differs from device to device.
            dtype: type of the tensors.
            device: device of the tensors; by default the generator's.
            stuck: known stuck cells, beside those that are drawn.

        Raises:
            UserError: a type that can't hold conductances.
        """
        check_precision("devices", dtype)
        streams = Streams(generator)
        place = torch.device(device) if device is not None else generator.device
        gain = None
        if self.spread is not None and self.spread.device > 0:
            drawn = normal(shape, streams["device spread"], dtype=dtype, device=place)
            gain = 1 + self.spread.device * drawn
        if self.faults is not None and self.faults.total > 0:
            faulty = self.faults.draw(
                shape, self.window, streams["faults"], dtype=dtype, device=place
            )
            stuck = faulty if stuck is None else faulty.also(stuck)
        trap = None
        if self.telegraph is not None:
            trap = self.telegraph.start(shape, streams["traps"], device=place).present
        pulsed = None
        if self.pulses is not None:
            pulsed = self.pulses.draw(shape, streams, dtype=dtype, device=place)
        return Population(self, shape, gain, stuck, trap, pulsed)

    def program(
        self,
        target: Tensor,
        generator: torch.Generator | None = None,
        *,
        population: Population | None = None,
    ) -> Programmed:
        """Program devices to target conductances.

        Args:
            target: any shape, in siemens; all within the window.
            generator: source of the errors; an ideal device needs none.
            population: the devices, from `fabricate`; by default new ones.

        Raises:
            UserError: a target outside of the window or not in float32 or float64, a population of
                another shape, or no generator where something is random.
        """
        if generator is None:
            if self.random:
                require(None, "programming this device")
            generator = torch.Generator(device=target.device)
        target = self.window.quantise(self.window.check(target, "target conductance"))
        shape = tuple(target.shape)
        if population is None:
            population = self.fabricate(shape, generator, dtype=target.dtype, device=target.device)
        elif population.shape != shape:
            raise UserError(f"targets of {shape} for a population of {population.shape}")
        streams = Streams(generator)
        g, attempts, accepted = target, None, None
        if self.programming is not None:
            g, attempts, accepted = self.programming.write(target, streams["programming"])
        if population.gain is not None:
            g = g * population.gain
        if self.spread is not None and self.spread.cycle > 0:
            noise = normal(shape, streams["cycle spread"], dtype=g.dtype, device=g.device)
            g = g * (1 + self.spread.cycle * noise)
        g = g.clamp(min=0)
        hidden = None
        if self.drift is not None:
            hidden = normal(shape, streams["drift"], dtype=g.dtype, device=g.device)
        if population.stuck is not None:
            g = population.stuck.apply(g)
        return Programmed(
            self,
            population,
            target=target,
            g=g,
            hidden=hidden,
            attempts=attempts,
            accepted=accepted,
        )

    @property
    def random(self) -> bool:
        """Whether programming it draws random numbers."""
        parts = (self.programming, self.telegraph, self.drift, self.spread, self.faults)
        drawn = self.pulses is not None and self.pulses != self.pulses.uniform()
        return drawn or any(part is not None for part in parts)


@dataclass(frozen=True, eq=False)
class Population:
    """The devices of an array: what stays with each of them whatever is written.

    Attributes:
        model: what they are examples of.
        shape: shape of the array or arrays.
        gain: factors on the written conductances, of that shape; None without spread.
        stuck: the stuck devices; None without faults.
        trap: devices with a trap, of that shape; None without telegraph noise.
        pulsed: what pulses do to each device; None without pulses.
    """

    model: DeviceModel
    shape: tuple[int, ...]
    gain: Tensor | None
    stuck: Stuck | None
    trap: Tensor | None
    pulsed: PulsedDevices | None


@dataclass(frozen=True, eq=False)
class Programmed:
    """Programmed devices, to be read at any time. All tensors have the shape of the target.

    Attributes:
        model: the device.
        population: the devices.
        target: what was asked for, rounded to the levels, in siemens.
        g: what was programmed, stuck devices included, in siemens.
        hidden: one standard normal number a device that its drift follows; None without drift.
        attempts: writes that each device took; None for an exact write.
        accepted: whether the last was accepted; None for an exact write.
    """

    model: DeviceModel
    population: Population
    _: KW_ONLY
    target: Tensor
    g: Tensor
    hidden: Tensor | None = None
    attempts: Tensor | None = None
    accepted: Tensor | None = None
    _moments: dict[object, tuple[Tensor, Tensor | None]] = field(
        default_factory=dict, init=False, repr=False
    )

    def at(self, time: float | Tensor = 0.0, *, temperature: float | None = None) -> Tensor:
        """Conductances at a time, without the noise of a read.

        Args:
            time: seconds since programming, >= 0; a tensor broadcasts with the array.
            temperature: in kelvins, held since programming; by default the card's.

        Returns:
            In siemens.

        Raises:
            UserError: a time or temperature out of range.
        """
        check_time(time)
        model, g = self.model, self.g
        if model.drift is not None:
            assert self.hidden is not None
            g = model.drift.at(time, g, self.target, self.hidden)
        if model.retention is not None:
            g = model.retention.at(time, g, temperature)
        if self.population.stuck is not None:
            g = self.population.stuck.apply(g)
        if model.temperature is not None and temperature is not None:
            g = g * model.temperature.factor(temperature)
        return g.clamp(min=0)

    def moments(
        self,
        time: float = 0.0,
        *,
        bandwidth: float | None = None,
        temperature: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Mean and standard deviation of a read, telegraph noise apart; the last are kept.

        A differential pair needs one normal number a read for both of its devices: the mean is the
        difference of the means, the variance the sum of the variances.

        Args:
            time: seconds since programming, >= 0.
            bandwidth: upper end of the band of the read, in hertz; by default the card's.
            temperature: in kelvins; by default the card's.
            dtype: type of the result; by default that of the conductances.

        Returns:
            Both of the shape of the array, in siemens; None for the deviation without read noise.

        Raises:
            UserError: a time, bandwidth or temperature out of range.
        """
        dtype = dtype or self.g.dtype
        key = (time, bandwidth, temperature, dtype)
        if key not in self._moments:
            mean = self.at(time, temperature=temperature)
            sigma = None
            if self.model.read is not None:
                sigma = self.model.read.sigma(mean, time, programmed=self.g, bandwidth=bandwidth)
                sigma = sigma.to(dtype)
            self._moments.clear()
            self._moments[key] = (mean.to(dtype), sigma)
        return self._moments[key]

    def read(
        self,
        time: float = 0.0,
        generator: torch.Generator | None = None,
        *,
        bandwidth: float | None = None,
        temperature: float | None = None,
        traps: TelegraphState | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """One read of all devices, with its noise.

        Repeated reads at one time cost a normal number and a multiplication a device; no
        conductance below 0 is read.

        Args:
            time: seconds since programming, >= 0.
            generator: source of the noise; not needed without any.
            bandwidth: upper end of the band of the read, in hertz; by default the card's.
            temperature: in kelvins; by default the card's.
            traps: state of the telegraph noise; drawn anew if it isn't given.
            dtype: type of the result; by default that of the conductances.

        Returns:
            Conductances of the shape of the array, in siemens.

        Raises:
            UserError: a time, bandwidth or temperature out of range; no generator for the noise.
        """
        mean, sigma = self.moments(time, bandwidth=bandwidth, temperature=temperature, dtype=dtype)
        telegraph = self.model.telegraph
        if telegraph is not None:
            if traps is None:
                traps = telegraph.start(
                    self.population.shape,
                    require(generator, "a read"),
                    present=self.population.trap,
                    device=mean.device,
                )
            mean = mean * telegraph.factor(traps, mean.dtype)
        if sigma is None:
            return mean.clone() if telegraph is None else mean
        noise = normal(
            mean.shape, require(generator, "a read"), dtype=mean.dtype, device=mean.device
        )
        return torch.addcmul(mean, sigma, noise).clamp_(min=0)

    def pulse(self, counts: Tensor, generator: torch.Generator | None = None) -> Programmed:
        """The devices after pulses; what they hold afterwards is their new target.

        Time starts anew: a pulse rewrites the state that had drifted.

        Args:
            counts: pulses for each device, of the shape of the array: > 0 up, < 0 down; integers.
            generator: source of the noise from pulse to pulse; not needed without any.

        Raises:
            UserError: a device without pulses; counts that aren't integers or of another shape.
        """
        pulses, pulsed = self.model.pulses, self.population.pulsed
        if pulses is None or pulsed is None:
            raise UserError("this device has no pulsed update; its card needs a section [pulse]")
        g = pulses.apply(self.g, counts, pulsed, self.model.window, generator).clamp(min=0)
        if self.population.stuck is not None:
            g = self.population.stuck.apply(g)
        return replace(self, target=g, g=g, attempts=None, accepted=None)


def _off(name: str) -> Callable[[DeviceModel], DeviceModel]:
    def apply(model: DeviceModel) -> DeviceModel:
        nothing: dict[str, Any] = {name: None}
        return replace(model, **nothing)

    return apply


def _pulses(change: Callable[[Pulses], Pulses]) -> Callable[[DeviceModel], DeviceModel]:
    def apply(model: DeviceModel) -> DeviceModel:
        return model if model.pulses is None else replace(model, pulses=change(model.pulses))

    return apply


def _continuous(model: DeviceModel) -> DeviceModel:
    return replace(model, window=replace(model.window, levels=None))


IMPERFECTIONS: dict[str, Callable[[DeviceModel], DeviceModel]] = {
    "finite levels": _continuous,
    "programming noise": _off("programming"),
    "read noise": _off("read"),
    "telegraph noise": _off("telegraph"),
    "drift": _off("drift"),
    "retention": _off("retention"),
    "temperature": _off("temperature"),
    "device spread": _off("spread"),
    "faults": _off("faults"),
    "pulse nonlinearity": _pulses(Pulses.symmetric),
    "pulse spread": _pulses(Pulses.uniform),
    "pulse noise": _pulses(Pulses.quiet),
}
"""Names of a device's imperfections, and what switches each of them off."""
