"""The devices of one layer, which are read, pulsed and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.arrays.ages import Written
from analogdfc.arrays.drawn import checked_drawn, drawn_of, with_drawn
from analogdfc.arrays.mapping import Cell, Layout, stuck_at
from analogdfc.arrays.picked import copied, devices_of, overwrite, picked, pulse_table, put, taken
from analogdfc.arrays.rewriting import changed, rewritten
from analogdfc.devices import DeviceModel, Programmed
from analogdfc.devices.draws import normal
from analogdfc.errors import UserError
from analogdfc.states import State, checked


class _Moments(NamedTuple):
    """Mean and standard deviation of a read at a time; None for no noise."""

    now: float
    mean: Tensor
    sigma: Tensor | None


class AnalogArray:
    """The devices of one layer, which are read, pulsed and written.

    Args:
        layout: how the weights lie on them.
        model: what they are.
        target: target conductances, of the layout's shape, in siemens.
        generator: source of what differs from device to device, and of the first write.
        stuck: known stuck cells, beside those that are drawn.

    Raises:
        UserError: a stuck cell outside of its array.

    Attributes:
        layout: as given.
        model: as given.
    """

    def __init__(
        self,
        layout: Layout,
        model: DeviceModel,
        target: Tensor,
        generator: torch.Generator,
        stuck: Sequence[Cell] = (),
    ) -> None:
        self.layout = layout
        self.model = model
        population = model.fabricate(
            layout.shape,
            generator,
            dtype=target.dtype,
            device=target.device,
            stuck=stuck_at(layout, stuck) if stuck else None,
        )
        self._devices: Programmed = model.program(target, generator, population=population)
        self._lent = True
        self._pulse_table: Tensor | None = None
        self._written = Written(layout.shape)
        self._device_moments: _Moments | None = None
        self._weight_moments: _Moments | None = None
        flicker = model.read is not None and model.read.flicker is not None
        self._ages = model.drift is not None or model.retention is not None or flicker

    @property
    def devices(self) -> Programmed:
        """The programmed devices; what happens to the array later leaves them as they are."""
        self._lent = True
        return self._devices

    def state(self) -> State:
        """What the devices keep from step to step, as it is now."""
        found: State = {
            "g": self._devices.g.clone(),
            "target": self._devices.target.clone(),
            "written": self._written.times(self._devices.g.device),
        }
        if self._devices.hidden is not None:
            found["hidden"] = self._devices.hidden.clone()
        return found

    def load_state(self, state: Mapping[str, Tensor | int | float]) -> None:
        """Go on where another array of the same devices was.

        Args:
            state: of its `state`.

        Raises:
            StateError: a part is missing, belongs to nothing here, or has another shape or type.
        """
        new = {k: v for k, v in checked(state, self.state()).items() if isinstance(v, Tensor)}
        self._devices = replace(
            self._devices,
            g=new["g"].clone(),
            target=new["target"].clone(),
            hidden=new["hidden"].clone() if "hidden" in new else None,
        )
        self._lent = False
        self._written.load(new["written"])
        self._pulse_table = self._device_moments = self._weight_moments = None

    def drawn(self) -> State:
        """What stays with the devices whatever they hold, and the scale of their weights.

        With `state` it is all that tells these devices from others of their model and layout.
        """
        return {"scale": self.layout.scale.clone(), **drawn_of(self._devices)}

    def check_drawn(self, state: Mapping[str, Tensor | int | float]) -> dict[str, Tensor]:
        """Make sure that a state is that of an array of this model and layout.

        Args:
            state: of its `drawn`.

        Returns:
            Its tensors, on the device of this array.

        Raises:
            StateError: a part is missing, belongs to nothing here, or has another shape or type.
        """
        return checked_drawn(state, self.drawn(), self._devices)

    def load_drawn(self, state: Mapping[str, Tensor | int | float]) -> None:
        """Become the devices of another array of this model and layout; `load_state` follows.

        Args:
            state: of its `drawn`.

        Raises:
            StateError: a part is missing, belongs to nothing here, or has another shape or type.
        """
        new = self.check_drawn(state)
        self.layout = replace(self.layout, scale=new["scale"].clone())
        self._devices = with_drawn(self._devices, new)

    def moments(self, now: float) -> tuple[Tensor, Tensor | None]:
        """Mean and standard deviation of a read of each device at a time; None for no noise.

        Args:
            now: seconds since the network was made, not before the last write.
        """
        _, mean, sigma = self._of_devices(now)
        return mean.clone(), None if sigma is None else sigma.clone()

    def pair_sums(self, now: float) -> Tensor:
        """Sums of both devices of each pair at a time, without the noise of a read.

        Args:
            now: seconds since the network was made.

        Returns:
            (outputs, inputs + bias rows), in siemens.

        Raises:
            UserError: weights that aren't one differential pair each.
        """
        slices, rails, _, _ = self.layout.shape
        if (slices, rails) != (1, 2):
            raise UserError(
                f"arrays of {slices} slices and {rails} rails; a differential pair has 1 slice and "
                "2 rails"
            )
        mean = self._of_devices(now).mean
        return mean[0, 0] + mean[0, 1]

    def read(self, now: float, generator: torch.Generator) -> Tensor:
        """One read of all devices, with its noise, in siemens, of the layout's shape.

        Args:
            now: seconds since the network was made.
            generator: source of the noise of the read.
        """
        _, mean, sigma = self._of_devices(now)
        telegraph = self.model.telegraph
        if telegraph is not None:
            traps = telegraph.start(
                self.layout.shape,
                generator,
                present=self._devices.population.trap,
                device=mean.device,
            )
            mean = mean * telegraph.factor(traps, mean.dtype)
        if sigma is None:
            return mean.clone()
        noise = normal(mean.shape, generator, dtype=mean.dtype, device=mean.device)
        return torch.addcmul(mean, sigma, noise).clamp_(min=0)

    def matrix(self, now: float, generator: torch.Generator) -> Tensor:
        """One read of the weights with their bias rows, (outputs, inputs + bias rows).

        It holds until the array changes: without noise it isn't a copy.

        Where no two weights share a device, one normal number a weight stands for the noise of all
        its devices: their variances add. The noise isn't clipped where it would make the
        conductance of a single device negative.

        Args:
            now: seconds since the network was made.
            generator: source of the noise of the read.
        """
        layout = self.layout
        if not self._holds(self._weight_moments, now):
            found = self._of_devices(now)
            mean, sigma = self._seen(found.mean, found.sigma)
            sigma = None if sigma is None else sigma * layout.scale
            self._weight_moments = _Moments(now, mean * layout.scale, sigma)
        assert self._weight_moments is not None
        _, mean, sigma = self._weight_moments
        if self.model.telegraph is None:
            if self.model.read is None:
                return mean
            if sigma is not None:
                noise = normal(mean.shape, generator, dtype=mean.dtype, device=mean.device)
                return noise.mul_(sigma).add_(mean)
        return layout.decode(self.read(now, generator)) * layout.scale

    def stored(self) -> Tensor:
        """What was last asked for, in units of the scale, (outputs, inputs + bias rows)."""
        return self.layout.decode(self._devices.target)

    def holds(self, relative: Tensor) -> bool:
        """Whether these weights are what was last asked for, so that a write would change nothing.

        Args:
            relative: weights in units of the scale, -1..1, (outputs, inputs + bias rows).
        """
        target = self.model.window.quantise(self.layout.encode(relative))
        return not bool(changed(self._devices, target).any())

    def pulse(self, counts: Tensor, now: float, generator: torch.Generator) -> None:
        """Send pulses; they start from the state that a device has drifted to.

        Args:
            counts: for each device, of the layout's shape: > 0 up, < 0 down; integers.
            now: seconds since the network was made.
            generator: source of the noise from pulse to pulse.

        Raises:
            UserError: devices without pulses, or counts that don't fit.
        """
        moved = self._pulsed(self._devices, counts, self._written.age(now), generator)
        self._replace(moved, counts != 0, now)

    def pulse_weights(
        self, weights: Tensor, steps: Tensor, now: float, generator: torch.Generator
    ) -> Tensor:
        """The same for some weights only, at the cost of their number.

        Args:
            weights: places in the flattened (outputs, inputs + bias rows), (n,).
            steps: steps of each, (slices, n), integers.
            now: seconds since the network was made.
            generator: source of the noise from pulse to pulse.

        Returns:
            The pulses on the devices, (slices, rails, 1, n).

        Raises:
            UserError: devices without pulses.
        """
        layout = self.layout
        index = devices_of(layout, weights)
        pulses = layout.mapping.scheme.pulses(steps.unsqueeze(1), layout.outputs)[..., :1, :]
        some = self._picked(index)
        moved = self._pulsed(some, pulses, self._written.age_of(index, now), generator)
        self._exchange(moved, index, pulses != 0, weights, now)
        return pulses

    def leaving(self, weights: Tensor, steps: Tensor) -> tuple[int, int]:
        """Devices that steps of some weights pulse, and those of them that would leave the window.

        A device leaves it where so many mean steps from its present state, without drift, lead to
        more than half a step beyond an end.

        Args:
            weights: places in the flattened (outputs, inputs + bias rows), (n,).
            steps: steps of each, (slices, n), integers.

        Raises:
            UserError: devices without pulses.
        """
        layout, window, laws = self.layout, self.model.window, self.model.pulses
        if laws is None:
            raise UserError("devices without pulses")
        step = laws.mean_step(window)
        pulses = layout.mapping.scheme.pulses(steps.unsqueeze(1), layout.outputs)[..., :1, :]
        aim = taken(self._devices.g, devices_of(layout, weights)).add(pulses, alpha=step)
        middle, reach = (window.g_max + window.g_min) / 2, (window.span + step) / 2
        beyond = ((aim - middle).abs() > reach) & (pulses != 0)
        return int(torch.count_nonzero(pulses)), int(torch.count_nonzero(beyond))

    def write(self, relative: Tensor, now: float, generator: torch.Generator) -> tuple[int, int]:
        """Program the devices whose target changes, with the errors of a write.

        Args:
            relative: weights in units of the scale, -1..1, (outputs, inputs + bias rows).
            now: seconds since the network was made.
            generator: source of the errors.

        Returns:
            The number of devices written, and that of all attempts.
        """
        target = self.layout.encode(relative)
        new, hit, attempts = rewritten(self._devices, target, generator)
        self._replace(new, hit, now)
        return int(hit.sum()), attempts

    def write_weights(
        self, weights: Tensor, relative: Tensor, now: float, generator: torch.Generator
    ) -> tuple[int, int]:
        """The same for some weights only, at the cost of their number.

        Args:
            weights: places in the flattened (outputs, inputs + bias rows), (n,).
            relative: what they shall be in units of the scale, -1..1, (n,).
            now: seconds since the network was made.
            generator: source of the errors.
        """
        index = devices_of(self.layout, weights)
        target = self.layout.encode(relative.unsqueeze(0))[..., :1, :]
        some = self._picked(index)
        new, hit, attempts = rewritten(some, target, generator)
        self._exchange(new, index, hit, weights, now)
        return int(hit.sum()), attempts

    def write_exactly(self, relative: Tensor, now: float) -> int:
        """Set all devices to targets without any error; only stuck ones stay.

        Args:
            relative: weights in units of the scale, -1..1, (outputs, inputs + bias rows).
            now: seconds since the network was made.

        Returns:
            The number of devices whose conductance this changed.
        """
        old, target = self._devices, self.layout.encode(relative)
        stuck = old.population.stuck
        g = target if stuck is None else stuck.apply(target)
        moved = int((g != old.at(self._written.age(now))).sum())
        everywhere = torch.ones_like(g, dtype=torch.bool)
        self._replace(replace(old, target=target, g=g), everywhere, now)
        return moved

    def _holds(self, moments: _Moments | None, now: float) -> bool:
        return moments is not None and (moments.now == now or not self._ages)

    def _of_devices(self, now: float) -> _Moments:
        if self._device_moments is None or not self._holds(self._device_moments, now):
            found = self._moments(self._devices, self._written.age(now))
            self._device_moments = _Moments(now, *found)
        return self._device_moments

    def _moments(self, devices: Programmed, age: float | Tensor) -> tuple[Tensor, Tensor | None]:
        """Of these devices, all or some; the mean is the state itself where nothing ages."""
        mean, read = devices.at(age) if self._ages else devices.g, self.model.read
        return mean, None if read is None else read.sigma(mean, age, programmed=devices.g)

    def _pulsed(
        self, old: Programmed, counts: Tensor, age: float | Tensor, generator: torch.Generator
    ) -> Programmed:
        """Devices after pulses, which start from the state they have drifted to."""
        hit = counts != 0
        if self._ages:
            start = torch.where(hit, old.at(age), old.g)
            moved = replace(old, g=start).pulse(counts, generator)
        else:
            moved = old.pulse(counts, generator)
        return replace(moved, target=torch.where(hit, moved.g, old.target))

    def _seen(self, g: Tensor, sigma: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Moments of weights in units of the scale from those of their devices."""
        layout = self.layout
        mean = layout.decode(g)
        if sigma is None:
            return mean, None
        variance = layout.mapping.scheme.variance(sigma**2, layout.window)
        if variance is None:
            return mean, None
        return mean, layout.mapping.slicing.variance(variance).sqrt()

    def _picked(self, index: Tensor) -> Programmed:
        if self._pulse_table is None:
            self._pulse_table = pulse_table(self._devices)
        return picked(self._devices, index, self._pulse_table)

    def _replace(self, devices: Programmed, hit: Tensor, now: float) -> None:
        self._devices, self._lent = devices, True
        self._written.note(hit, now)
        self._device_moments = self._weight_moments = None

    def _exchange(
        self, some: Programmed, index: Tensor, hit: Tensor, weights: Tensor, now: float
    ) -> None:
        """Put devices back, and bring what is known of reads up to date."""
        if self._lent:
            self._devices, self._lent = copied(self._devices), False
            if not self._ages and self._device_moments is not None:
                self._device_moments = self._device_moments._replace(mean=self._devices.g)
        put(self._devices, index, some)
        if self._ages:
            self._written.note_some(index[hit], now)
        known = self._device_moments
        if known is None or not self._holds(known, now):
            self._device_moments = self._weight_moments = None
            return
        mean, sigma = self._moments(some, self._written.age_of(index, now))
        if self._ages:
            overwrite(known.mean, index, mean)
        if known.sigma is not None and sigma is not None:
            overwrite(known.sigma, index, sigma)
        if self.layout.mapping.scheme.references or not self._holds(self._weight_moments, now):
            self._weight_moments = None
            return
        assert self._weight_moments is not None
        scale = self.layout.scale.view(-1)[weights // self.layout.shape[-1]]
        _, *wholes = self._weight_moments
        for whole, part in zip(wholes, self._seen(mean, sigma), strict=True):
            if whole is not None and part is not None:
                overwrite(whole, weights, part.view(-1) * scale)
