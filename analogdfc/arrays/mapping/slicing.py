"""One weight over several devices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.errors import UserError


class Slicing(ABC):
    """w = sum over the slices of significance times digit, each digit -1..1."""

    @property
    @abstractmethod
    def significances(self) -> tuple[float, ...]:
        """What each slice's digit is multiplied by."""

    @abstractmethod
    def encode(self, w: Tensor) -> Tensor:
        """Digits, (slices, ...), of weights -1..1, (...).

        Args:
            w: weights, -1..1, any shape.
        """

    @property
    def even(self) -> bool:
        """Whether all slices count alike, so that pulses can be shared between them."""
        return len(set(self.significances)) == 1

    def decode(self, digits: Tensor) -> Tensor:
        """Weights of digits.

        Args:
            digits: (slices, ...).
        """
        return self._weighted(digits, self.significances)

    def variance(self, v: Tensor) -> Tensor:
        """Variances of the weights from those of the digits.

        Args:
            v: variances of the digits, (slices, ...).
        """
        return self._weighted(v, tuple(s * s for s in self.significances))

    @staticmethod
    def _weighted(x: Tensor, factors: tuple[float, ...]) -> Tensor:
        if factors == (1.0,):
            return x[0]
        out: Tensor = torch.tensordot(x.new_tensor(factors), x, dims=1)
        return out


@dataclass(frozen=True)
class Equal(Slicing):
    """Devices that share a weight in equal parts, which averages their errors.

    Attributes:
        slices: number of devices, or pairs, a weight.

    Raises:
        UserError: fewer than 1 slice.
    """

    slices: int = 1

    def __post_init__(self) -> None:
        _check_slices(self.slices)

    @property
    def significances(self) -> tuple[float, ...]:
        """All the same, of sum 1."""
        return (1 / self.slices,) * self.slices

    def encode(self, w: Tensor) -> Tensor:
        """The weight itself in every slice."""
        return w.expand(self.slices, *w.shape).clone()


@dataclass(frozen=True)
class Positional(Slicing):
    """Digits of a positional number, most significant first.

    Slice k counts base^-k. All digits but the last are multiples of 1 / base, which devices of
    base + 1 levels hold exactly; the last is what remains, so that nothing is lost.

    Attributes:
        slices: number of devices, or pairs, a weight.
        base: number of values of a digit.

    Raises:
        UserError: fewer than 1 slice or a base below 2.
    """

    slices: int = 2
    base: int = 4

    def __post_init__(self) -> None:
        _check_slices(self.slices)
        if self.base < 2:
            raise UserError(f"base {self.base} of sliced weights; 2 or more is allowed")

    @property
    def significances(self) -> tuple[float, ...]:
        """1, 1 / base, 1 / base^2 and so on."""
        return tuple(float(self.base) ** -k for k in range(self.slices))

    def encode(self, w: Tensor) -> Tensor:
        """Digits of the magnitude, with the sign of the weight."""
        left, digits = w.abs(), []
        for _ in range(self.slices - 1):
            digit = (left * self.base).floor().clamp(max=self.base - 1) / self.base
            digits.append(digit)
            left = (left - digit) * self.base
        return torch.stack([*digits, left]) * w.sign()


def _check_slices(slices: int) -> None:
    if slices < 1:
        raise UserError(f"{slices} slices a weight; 1 or more are allowed")
