"""The update of a conductance by pulses: nonlinear, asymmetric, different in every device."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.devices.draws import Streams, check_number, normal, require, uniform
from analogdfc.devices.window import Window
from analogdfc.errors import UserError


class PulsedDevices(NamedTuple):
    """What pulses do to each device, in units of the weight w that the window stands for.

    An up pulse adds step_up (1 - slope_up w), a down pulse takes away step_down (1 - slope_down w);
    the result stays between low and high. All tensors have the shape of the array.

    Attributes:
        step_up: size of an up step at w = 0.
        step_down: size of a down step at w = 0.
        slope_up: relative loss of an up step per unit of w.
        slope_down: the same of a down step.
        low: lowest w of the device.
        high: highest w of the device.
    """

    step_up: Tensor
    step_down: Tensor
    slope_up: Tensor
    slope_down: Tensor
    low: Tensor
    high: Tensor


class Law(ABC):
    """How the step depends on where the device stands: linearly, in each direction by its own."""

    @abstractmethod
    def steps(self) -> tuple[float, float]:
        """Sizes of an up and a down step at w = 0, both > 0."""

    @abstractmethod
    def slopes(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes of up and down steps, given the devices' own bounds.

        Args:
            low: lowest w of each device, of the shape of the array.
            high: highest w of each device, of the same shape.
        """

    def linear(self) -> Law:
        """The law without its dependence on w, and with the mean of both steps."""
        return LinearStep(step=sum(self.steps()) / 2)


@dataclass(frozen=True, kw_only=True)
class LinearStep(Law):
    """Step that shrinks linearly by a fraction towards the bound; constant by default.

    Up: step (1 - gamma_up w / w_max); down: step (1 - gamma_down w / w_min), with the bounds of the
    mean device (LinearStepDevice of the IBM Analog Hardware Acceleration Kit).

    Attributes:
        step: size of a step at w = 0.
        gamma_up: fraction that an up step has lost at w_max.
        gamma_down: fraction that a down step has lost at w_min.
        w_min: bound that gamma_down refers to.
        w_max: bound that gamma_up refers to.
    """

    step: float
    gamma_up: float = 0.0
    gamma_down: float = 0.0
    w_min: float = -1.0
    w_max: float = 1.0

    def __post_init__(self) -> None:
        check_number("step", self.step, low=0.0, open_low=True)
        check_number("gamma_up", self.gamma_up, low=-1.0, high=1.0)
        check_number("gamma_down", self.gamma_down, low=-1.0, high=1.0)
        if (self.gamma_up or self.gamma_down) and not self.w_min < 0 < self.w_max:
            raise UserError(
                f"steps that shrink need w_min < 0 < w_max, not {self.w_min:g} and {self.w_max:g}"
            )

    def steps(self) -> tuple[float, float]:
        """The same in both directions."""
        return self.step, self.step

    def slopes(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The same for all devices; 0 for a gamma of 0."""
        up = self.gamma_up / self.w_max if self.gamma_up else 0.0
        down = self.gamma_down / self.w_min if self.gamma_down else 0.0
        return torch.full_like(high, up), torch.full_like(low, down)


@dataclass(frozen=True)
class SoftBounds(Law):
    """Step that shrinks to nothing at the device's own bound: step (1 - w / bound).

    Without noise n pulses lead from 0 to bound (1 - (1 - step / bound)^n). With noise from pulse to
    pulse that is the mean over devices only far from the bound: what would pass the bound is
    clipped, which pulls the mean inwards. With steps of 0.1 of the bound and a `cycle_spread` of 1,
    the mean after many pulses is 0.85 of the bound.

    Attributes:
        step: size of a step at w = 0.
    """

    step: float

    def __post_init__(self) -> None:
        check_number("step", self.step, low=0.0, open_low=True)

    def steps(self) -> tuple[float, float]:
        """The same in both directions."""
        return self.step, self.step

    def slopes(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of each device's bounds."""
        return 1 / high, 1 / low


@dataclass(frozen=True, kw_only=True)
class Exponential(Law):
    """Conductance that is exponential in the number of pulses (MLP+NeuroSim).

    From g_min, n of the P pulses lead to the fraction (1 - exp(-n / (A P))) / (1 - exp(-1 / A)) of
    the window; down, the same counted from g_max. Here w runs from 0 to 1.

    Attributes:
        pulses_up: P upwards.
        pulses_down: P downwards.
        curvature_up: A upwards; large is linear.
        curvature_down: A downwards.
    """

    pulses_up: float
    pulses_down: float
    curvature_up: float
    curvature_down: float

    def __post_init__(self) -> None:
        for name in ("pulses_up", "pulses_down"):
            check_number(name, getattr(self, name), low=1.0)
        for name in ("curvature_up", "curvature_down"):
            check_number(name, getattr(self, name), low=1e-3)

    @staticmethod
    def _reach(pulses: float, curvature: float) -> tuple[float, float]:
        """Fraction that infinitely many pulses lead to, and share of the rest that one takes."""
        return -1 / math.expm1(-1 / curvature), -math.expm1(-1 / (pulses * curvature))

    def steps(self) -> tuple[float, float]:
        """Sizes at w = 0: the first step up, and the last step down."""
        up, share_up = self._reach(self.pulses_up, self.curvature_up)
        down, share_down = self._reach(self.pulses_down, self.curvature_down)
        return up * share_up, (down - 1) * share_down

    def slopes(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The same for all devices."""
        up, _ = self._reach(self.pulses_up, self.curvature_up)
        down, _ = self._reach(self.pulses_down, self.curvature_down)
        return torch.full_like(high, 1 / up), torch.full_like(low, -1 / (down - 1))

    def linear(self) -> Law:
        """Constant steps, as many as the mean of both directions."""
        return LinearStep(step=(1 / self.pulses_up + 1 / self.pulses_down) / 2)


@dataclass(frozen=True)
class Pulses:
    """Pulsed update.

    Attributes:
        law: how the step depends on w.
        w_min: weight that g_min stands for.
        w_max: weight that g_max stands for.
        device_spread: spread of the step from device to device, relative to the step.
        log_normal: whether it is the standard deviation of the logarithm of the step.
        asymmetry: relative difference of up and down steps: one is (1 + a) of the other's (1 - a).
        asymmetry_spread: standard deviation of the asymmetry over the devices.
        slope_spread: standard deviation of the relative loss of the step at the bound.
        low_spread: relative standard deviation of the lower bound over the devices.
        high_spread: the same of the upper bound.
        cycle_spread: standard deviation of a step from pulse to pulse, relative to the step.
        of_actual_step: whether that is relative to the step that the law gives at w, rather than to
            the device's step at w = 0.
        cycle_noise: further standard deviation of a pulse, as a fraction of w_max - w_min.
        dead_pulses: probability that a pulse does nothing.

    Raises:
        UserError: a value out of range.
    """

    law: Law
    _: KW_ONLY
    w_min: float = -1.0
    w_max: float = 1.0
    device_spread: float = 0.0
    log_normal: bool = False
    asymmetry: float = 0.0
    asymmetry_spread: float = 0.0
    slope_spread: float = 0.0
    low_spread: float = 0.0
    high_spread: float = 0.0
    cycle_spread: float = 0.0
    of_actual_step: bool = False
    cycle_noise: float = 0.0
    dead_pulses: float = 0.0

    def __post_init__(self) -> None:
        if not self.w_min < self.w_max:
            raise UserError(f"w_min = {self.w_min:g} must stay below w_max = {self.w_max:g}")
        if isinstance(self.law, SoftBounds) and not self.w_min < 0 < self.w_max:
            raise UserError(
                f"soft bounds need w_min < 0 < w_max, not {self.w_min:g}, {self.w_max:g}"
            )
        if isinstance(self.law, Exponential) and (self.w_min, self.w_max) != (0.0, 1.0):
            raise UserError("the exponential law counts from w_min = 0 to w_max = 1")
        if self.slope_spread and not self.w_min < 0 < self.w_max:
            raise UserError("a spread of the slopes needs w_min < 0 < w_max")
        check_number("asymmetry", self.asymmetry, low=-1.0, high=1.0)
        for name in ("device_spread", "asymmetry_spread", "slope_spread", "cycle_spread"):
            check_number(name, getattr(self, name), low=0.0, high=100.0)
        for name in ("low_spread", "high_spread", "cycle_noise", "dead_pulses"):
            check_number(name, getattr(self, name), low=0.0, high=1.0)

    @property
    def noisy(self) -> bool:
        """Whether two pulses of one device differ by chance."""
        return self.cycle_spread > 0 or self.cycle_noise > 0 or self.dead_pulses > 0

    def symmetric(self) -> Pulses:
        """The same with constant steps, as large up as down on average."""
        return replace(self, law=self.law.linear(), asymmetry=0.0, slope_spread=0.0)

    def uniform(self) -> Pulses:
        """The same with all devices alike."""
        alike = replace(self, device_spread=0.0, asymmetry_spread=0.0, slope_spread=0.0)
        return replace(alike, low_spread=0.0, high_spread=0.0)

    def quiet(self) -> Pulses:
        """The same with all pulses of a device alike."""
        return replace(self, cycle_spread=0.0, cycle_noise=0.0, dead_pulses=0.0)

    def mean_step(self, window: Window) -> float:
        """Mean of the up and down steps of the mean device, in siemens.

        Args:
            window: the window that w_min and w_max stand for.
        """
        return self.law.linear().steps()[0] * window.span / (self.w_max - self.w_min)

    def relative_steps(self, g: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """Up and down steps of the mean device where it stands, in units of `mean_step`.

        Args:
            g: conductances, any shape, in siemens.
            window: the window that w_min and w_max stand for.
        """
        bounds = g.new_tensor(self.w_min), g.new_tensor(self.w_max)
        w, mean = self.weight(g, window), self.law.linear().steps()[0]
        steps, slopes = self.law.steps(), self.law.slopes(*bounds)
        up, down = (s / mean * (1 - slope * w) for s, slope in zip(steps, slopes, strict=True))
        return up, down

    def weight(self, g: Tensor, window: Window) -> Tensor:
        """The weight that a conductance stands for.

        Args:
            g: conductances, any shape, in siemens.
            window: the window that w_min and w_max stand for.
        """
        return self.w_min + (self.w_max - self.w_min) * window.fraction(g)

    def conductance(self, w: Tensor, window: Window) -> Tensor:
        """The conductance that stands for a weight, in siemens.

        Args:
            w: weights, any shape.
            window: the window that w_min and w_max stand for.
        """
        return window.g_min + window.span * ((w - self.w_min) / (self.w_max - self.w_min))

    def draw(
        self,
        shape: tuple[int, ...],
        streams: Streams,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> PulsedDevices:
        """The devices of an array; each spread has a stream of its own.

        Args:
            shape: shape of the array.
            streams: sources of what differs from device to device.
            dtype: type of the tensors.
            device: device of the tensors; by default the CPU.
        """

        def xi(name: str, sigma: float) -> Tensor:
            if sigma == 0:
                return torch.zeros(shape, dtype=dtype, device=device)
            return sigma * normal(shape, streams[f"pulse {name}"], dtype=dtype, device=device)

        gain = xi("step", self.device_spread)
        gain = gain.exp() if self.log_normal else 1 + gain
        skew = self.asymmetry + xi("asymmetry", self.asymmetry_spread)
        # A bound on the wrong side of 0 would be no device; it is mirrored, as aihwkit does.
        high, low = (
            b * (1 + xi(name, s)).abs()
            for name, b, s in (
                ("high", self.w_max, self.high_spread),
                ("low", self.w_min, self.low_spread),
            )
        )
        up, down = self.law.steps()
        slope_up, slope_down = self.law.slopes(low, high)
        bend_up = xi("slope up", self.slope_spread)
        bend_down = xi("slope down", self.slope_spread)
        if self.slope_spread:
            slope_up = (slope_up * self.w_max + bend_up).abs() / self.w_max
            slope_down = (slope_down * self.w_min + bend_down).abs() / self.w_min
        step_up, step_down = (up * (gain + skew)).abs(), (down * (gain - skew)).abs()
        return PulsedDevices(step_up, step_down, slope_up, slope_down, low, high)

    def apply(
        self,
        g: Tensor,
        counts: Tensor,
        devices: PulsedDevices,
        window: Window,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Conductances after pulses.

        Args:
            g: conductances before, any shape, in siemens.
            counts: pulses for each device, of the same shape: > 0 up, < 0 down; integers.
            devices: the devices, from `draw`.
            window: the window that w_min and w_max stand for.
            generator: source of the noise from pulse to pulse; not needed without any.

        Returns:
            In siemens, within the devices' own bounds; a device without a pulse is as it was.

        Raises:
            UserError: counts of another shape or that aren't integers; no generator for the noise.
        """
        if counts.shape != g.shape:
            raise UserError(
                f"pulses for {tuple(counts.shape)} devices on an array of {tuple(g.shape)}"
            )
        if counts.is_floating_point() and not bool((counts == counts.round()).all()):
            raise UserError("numbers of pulses must be integers")
        counts = counts.to(torch.int64)
        up = counts > 0
        size = torch.where(up, devices.step_up, -devices.step_down)
        slope = torch.where(up, devices.slope_up, devices.slope_down)
        w = self.weight(g, window)
        if self.noisy:
            generator = require(generator, "a pulse")
        # The closed form holds for steps that don't jump over where the law would stop them.
        if self.noisy or bool((size * slope >= 1).any()):
            w = self._one_by_one(w, counts, size, slope, devices, generator)
        else:
            w = _repeated(w, counts.abs(), size, slope)
        w = torch.minimum(torch.maximum(w, devices.low), devices.high)
        return torch.where(counts == 0, g, self.conductance(w, window))

    def _one_by_one(
        self,
        w: Tensor,
        counts: Tensor,
        size: Tensor,
        slope: Tensor,
        devices: PulsedDevices,
        generator: torch.Generator | None,
    ) -> Tensor:
        left = counts.abs().flatten()
        most = int(left.max()) if left.numel() else 0
        if most == 0:
            return w
        once = self._once(generator, w, size, slope, devices.low, devices.high)
        w = torch.where(counts == 0, w, once)
        if most == 1:
            return w
        # Few devices have many pulses. Those with the most come first, so that each round is about
        # the first so many.
        order = (left > 1).nonzero().view(-1)
        order = order[left[order].argsort(descending=True, stable=True)]
        done = left[order].bincount().cumsum(0).tolist()
        now, *parts = (t.flatten()[order] for t in (w, size, slope, devices.low, devices.high))
        for finished in done[1:-1]:
            n = len(order) - finished
            now[:n] = self._once(generator, now[:n], *(t[:n] for t in parts))
        return w.flatten().index_copy(0, order, now).view(w.shape)

    def _once(
        self,
        generator: torch.Generator | None,
        w: Tensor,
        size: Tensor,
        slope: Tensor,
        low: Tensor,
        high: Tensor,
    ) -> Tensor:
        """W after one pulse on each device."""
        mean = size * (1 - slope * w)
        moved = w + mean
        if self.noisy and generator is not None:
            scale = (mean if self.of_actual_step else size).abs()
            sigma = self.cycle_spread * scale
            if self.cycle_noise:
                sigma = (sigma**2 + (self.cycle_noise * (self.w_max - self.w_min)) ** 2).sqrt()
            noise = normal(w.shape, generator, dtype=w.dtype, device=w.device)
            moved = torch.addcmul(moved, sigma, noise)
        moved = torch.clamp(moved, low, high)
        if self.dead_pulses and generator is not None:
            alive = uniform(w.shape, generator, device=w.device) >= self.dead_pulses
            moved = torch.where(alive, moved, w)
        return moved


def _repeated(w: Tensor, counts: Tensor, size: Tensor, slope: Tensor) -> Tensor:
    """W after `counts` steps w <- w + size (1 - slope w) with size * slope < 1, in closed form."""
    n = counts.to(w.dtype)
    rate = size * slope
    # expm1 and log1p keep the limit of a constant step, slope -> 0, exact.
    grown = -torch.expm1(n * torch.log1p(-rate)) / torch.where(slope == 0, 1.0, slope)
    return w + torch.where(slope == 0, n * size, grown * (1 - slope * w))
