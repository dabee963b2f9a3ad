"""How the devices of an array follow a change of its weights: pulses, writes, or exact writes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.arrays.array import AnalogArray
from analogdfc.arrays.rounding import (
    Coincidence,
    Deterministic,
    DeterministicCoincidence,
    MixedPrecision,
    Rounding,
    Stochastic,
)
from analogdfc.devices.draws import Streams, check_number
from analogdfc.errors import UserError


@dataclass(kw_only=True)
class Counts:
    """What the training of one layer has cost so far.

    Attributes:
        up: pulses that raise a conductance.
        down: pulses that lower one.
        writes: devices that were programmed.
        attempts: writes that this took, those repeated by write and verify counted.
        changes: what was to be changed: weights that are written, devices that are pulsed.
        clipped: those of them that would have left the window, and were cut off at its end.
    """

    up: int = 0
    down: int = 0
    writes: int = 0
    attempts: int = 0
    changes: int = 0
    clipped: int = 0


class Writer(ABC):
    """How a layer's devices follow a change of its weights.

    Args:
        array: the devices.
    """

    step = 1.0
    """Change of a weight that counts as one, in units of the scale."""

    def __init__(self, array: AnalogArray) -> None:
        self.array = array
        self.counts = Counts()

    @abstractmethod
    def apply(self, change: Tensor, now: float, generator: torch.Generator) -> None:
        """Change the weights.

        Args:
            change: in units of the scale times `step`, (outputs, inputs + bias rows).
            now: seconds since the network was made.
            generator: source of random numbers.
        """

    def state(self) -> Tensor | None:
        """What is kept from step to step beside the devices."""
        return None

    def restore(self, state: Tensor | None) -> None:
        """Take up a kept state.

        Args:
            state: what `state` gave, of the shape it had.
        """
        return

    def _aim(self, last: Tensor, change: Tensor) -> Tensor:
        """Targets within the window, from the last ones."""
        wanted = last + change
        moved = change != 0
        self.counts.changes += int(moved.sum())
        self.counts.clipped += int((moved & (wanted.abs() > 1 + 1e-9)).sum())
        return wanted.clamp(-1, 1)


class IdealWriter(Writer):
    """Every weight is set exactly: the reference."""

    def apply(self, change: Tensor, now: float, generator: torch.Generator) -> None:
        """Set the devices."""
        done = self.array.write_exactly(self._aim(self.array.stored(), change), now)
        self.counts.writes += done
        self.counts.attempts += done


class _Stepping(Writer):
    def __init__(self, array: AnalogArray, rounding: Rounding) -> None:
        super().__init__(array)
        self.rounding = rounding
        self.last: tuple[Tensor, Tensor] | None = None
        self.left = torch.zeros(self._shape(), dtype=array.devices.g.dtype, device=self._place())

    def _shape(self) -> tuple[int, ...]:
        return len(self.array.layout.scale), self.array.layout.shape[-1]

    def _place(self) -> torch.device:
        return self.array.devices.g.device

    def state(self) -> Tensor:
        """What the accumulator holds, in steps."""
        return self.left.clone()

    def restore(self, state: Tensor | None) -> None:
        """Fill the accumulator."""
        if state is not None:
            self.left = state.to(self.left).clone()

    def _some(self, change: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Places of the weights that step, (k,), and their steps, (slices, k)."""
        shape = self._shape()
        cube = (-1, *shape[-2:])
        wanted, left = change.expand(shape).view(cube), self.left.view(cube)
        which, whole, left = self.rounding.some(wanted, left, generator)
        self.left = left.view(shape)
        return which, whole


_LEAST_STEP = 0.1
"""Part of the mean step that a step counts for at least, however near to a bound a device is."""


class PulseWriter(_Stepping):
    """Pulses of the mean device's mean step, sent blindly: nobody looks at what they did.

    Args:
        array: the devices.
        rounding: how changes become whole pulses.

    Attributes:
        last: weights that were pulsed last, as places in the flattened (outputs, inputs), and the
            steps of each, (slices, n); None before the first pulses.
        aligned: draw the noise of every device whether it is pulsed or not, at the cost of all.
        compensated: count pulses by the steps that the mean device makes from where the devices
            stand, as a read shows them, so that pulses up and down don't pull weights to 0.

    Raises:
        UserError: devices without pulses, or slices of different significance, which would need a
            carry from one to the next.
    """

    def __init__(self, array: AnalogArray, rounding: Rounding) -> None:
        layout, model = array.layout, array.model
        if model.pulses is None:
            raise UserError(
                "this device has no pulsed update (its card has no section [pulse]); give "
                "`granularity`, the smallest change that is written"
            )
        if not layout.mapping.slicing.even:
            raise UserError(
                "pulses on slices of different significance; use slices in equal parts, or give "
                "`granularity`, the smallest change that is written"
            )
        super().__init__(array, rounding)
        scheme = layout.mapping.scheme
        self.step = model.pulses.mean_step(model.window) * scheme.step(model.window)
        self.aligned = self.compensated = False

    def _shape(self) -> tuple[int, ...]:
        return self.array.layout.shape[0], *super()._shape()

    def apply(self, change: Tensor, now: float, generator: torch.Generator) -> None:
        """Send the pulses; each slice has its own, for a part in equal shares."""
        if self.compensated:
            change = change / self._efficiency(change, now)
        weights, whole = self._some(change, generator)
        self.last = weights, whole
        if not len(weights):
            return
        most = math.ceil(2 / self.step)  # takes a weight through the whole window
        changes, clipped = self.array.leaving(weights, whole)
        self.counts.changes += changes
        self.counts.clipped += clipped
        whole = whole.clamp(-most, most).to(torch.int64)
        self.last = weights, whole
        if self.aligned:
            pulses = self._in_rounds(weights, whole, now, generator)
        else:
            pulses = self.array.pulse_weights(weights, whole, now, generator)
        self.counts.up += int(pulses.clamp(min=0).sum())
        self.counts.down -= int(pulses.clamp(max=0).sum())

    def _efficiency(self, change: Tensor, now: float) -> Tensor:
        """What a step does where the devices stand, in units of the mean step.

        Returns:
            (slices, outputs, inputs + bias rows); at least `_LEAST_STEP`.
        """
        laws, array, layout = self.array.model.pulses, self.array, self.array.layout
        assert laws is not None  # as the constructor has checked
        up, down = laws.relative_steps(array.moments(now)[0], array.model.window)
        signs = layout.mapping.scheme.pulses(change.sign().expand(self._shape()), layout.outputs)
        moved = torch.where(signs > 0, up, down) * signs.abs()
        found = moved.sum(dim=1) / signs.abs().sum(dim=1).clamp(min=1)
        return found[:, : change.shape[-2]].clamp(min=_LEAST_STEP)

    def _in_rounds(
        self, weights: Tensor, whole: Tensor, now: float, generator: torch.Generator
    ) -> Tensor:
        """The same pulses, the first on all devices, then the second, and so on.

        Each round draws the noise of all devices, pulsed or not, from a source of its own: what
        one device gets doesn't depend on which others are pulsed.
        """
        layout, streams = self.array.layout, Streams(generator)
        steps = whole.new_zeros(len(whole), *self._shape()[-2:])
        steps.flatten(1)[:, weights] = whole
        pulses = layout.mapping.scheme.pulses(steps, layout.outputs)
        for k in range(int(pulses.abs().max())):
            now_sent = pulses.sign() * (pulses.abs() > k)
            self.array.pulse(now_sent, now, streams[f"pulse {k + 1}"])
        return pulses


class ReprogramWriter(_Stepping):
    """Devices are programmed anew where their weight changes, with the error of a write.

    The new target is the last one plus the change; it is remembered digitally, so that what the
    levels of a device can't show isn't lost.

    Args:
        array: the devices.
        rounding: how changes become multiples of the granularity.
        granularity: smallest change that is written, in units of the scale, > 0.
    """

    def __init__(self, array: AnalogArray, rounding: Rounding, granularity: float) -> None:
        super().__init__(array, rounding)
        self.step = check_number("granularity", granularity, low=0.0, high=2.0, open_low=True)
        self.wanted = array.stored()
        self.restored = False

    def state(self) -> Tensor:
        """What the accumulator holds, in steps, and the targets, in units of the scale."""
        return torch.stack([self.left, self.wanted])

    def restore(self, state: Tensor | None) -> None:
        """Fill the accumulator, and remember the targets."""
        if state is not None:
            self.left, self.wanted = state.to(self.left).clone().unbind()
            self.restored = True

    def apply(self, change: Tensor, now: float, generator: torch.Generator) -> None:
        """Write where the target changes."""
        weights, steps = self._some(change, generator)
        if self.restored and self.array.holds(self.wanted):
            self.restored = False
        wanted = self.wanted.view(-1)
        aim = self._aim(wanted[weights], steps[0] * self.step)
        wanted[weights] = aim
        if self.restored:  # the devices hold something else than what is remembered
            self.restored = False
            writes, attempts = self.array.write(self.wanted, now, generator)
        elif len(weights):
            writes, attempts = self.array.write_weights(weights, aim, now, generator)
        else:
            return
        self.counts.writes += writes
        self.counts.attempts += attempts


MODES: dict[str, Callable[[], Rounding] | None] = {
    "stochastic": Stochastic,
    "deterministic": Deterministic,
    "mixed-precision": MixedPrecision,
    "coincidence": Coincidence,
    "deterministic-coincidence": DeterministicCoincidence,
    "ideal": None,
}
"""Names of the ways to make a step; the ideal one needs no rounding."""


def writer_of(
    array: AnalogArray, rounding: Callable[[], Rounding] | None, granularity: float | None
) -> Writer:
    """What moves the devices of an array.

    Args:
        array: the devices.
        rounding: makes what turns changes into whole steps; None for exact writes.
        granularity: smallest change that is written, in units of the scale; None for pulses.

    Raises:
        UserError: devices that can't be pulsed, or exact writes with a granularity.
    """
    if rounding is None:
        if granularity is not None:
            raise UserError("the ideal write is exact; leave the granularity out")
        return IdealWriter(array)
    if granularity is None:
        return PulseWriter(array, rounding())
    return ReprogramWriter(array, rounding(), granularity)
