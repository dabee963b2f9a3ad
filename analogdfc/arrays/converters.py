"""Converters where a signal crosses between digital and analog; without one the path is analog."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.devices.draws import check_number, normal, require
from analogdfc.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Converter(ABC):
    """What the two kinds of converters share; every error is off by default.

    Codes lie evenly from -range to range, 2^bits - 1 of them so that one is 0, or with
    `signed=False` from 0 to range, 2^bits of them. What lies beyond the range is clipped.

    The gradient goes straight through the rounding and ends where the converter clips.

    Attributes:
        bits: resolution; None converts without rounding.
        range: largest value, in the unit of the signal; None for no limit, which needs bits of
            None too.
        signed: whether negative values are converted.
        gain_error: relative error of the gain.
        offset_error: in the unit of the signal.
        noise: standard deviation of a conversion, in the unit of the signal.

    Raises:
        UserError: a value out of range, or bits without a range.
    """

    bits: int | None = None
    range: float | None = None
    signed: bool = True
    gain_error: float = 0.0
    offset_error: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        least = 2 if self.signed else 1
        if self.bits is not None and not least <= self.bits <= 32:
            sign = "with" if self.signed else "without"
            raise UserError(f"converter of {self.bits} bits; {least} to 32 are allowed {sign} sign")
        if self.bits is not None and self.range is None:
            raise UserError(f"converter of {self.bits} bits and no range; give its largest value")
        if self.range is not None:
            check_number("range of a converter", self.range, low=0.0, open_low=True)
        check_number("gain_error", self.gain_error, low=-1.0, open_low=True)
        check_number("offset_error", self.offset_error)
        check_number("noise of a converter", self.noise, low=0.0)

    @property
    def step(self) -> float | None:
        """Distance of two codes, in the unit of the signal; None without rounding."""
        if self.bits is None or self.range is None:
            return None
        if self.signed:
            return 2 * self.range / (2.0**self.bits - 2)
        return self.range / (2.0**self.bits - 1)

    @abstractmethod
    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Convert a signal.

        Args:
            x: of any shape.
            generator: source of the noise; not needed without any.

        Raises:
            UserError: no generator for the noise.
        """

    def _analog(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Errors of the analog side."""
        if self.gain_error:
            x = x * (1 + self.gain_error)
        if self.offset_error:
            x = x + self.offset_error
        if self.noise:
            drawn = normal(
                x.shape, require(generator, "a converter"), dtype=x.dtype, device=x.device
            )
            x = torch.add(x, drawn, alpha=self.noise)
        return x

    def _rounded(self, x: Tensor) -> Tensor:
        """The value of the nearest code."""
        if self.range is not None:
            x = x.clamp(-self.range if self.signed else 0.0, self.range)
        step = self.step
        if step is None:
            return x
        return x + ((x / step).round() * step - x).detach()


@dataclass(frozen=True)
class DAC(Converter):
    """Digital to analog: the nearest code, then the errors of the analog side."""

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Convert a signal."""
        return self._analog(self._rounded(x), generator)


@dataclass(frozen=True)
class ADC(Converter):
    """Analog to digital: the errors of the analog side, then the nearest code."""

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Convert a signal."""
        return self._rounded(self._analog(x, generator))
