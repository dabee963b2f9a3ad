"""How a signed weight becomes conductances, none of which can be negative."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.devices import Window
from analogdfc.devices.draws import check_number

Groups = Sequence[tuple[int, int]]
"""Outputs that share an array, first and one past the last."""


class Scheme(ABC):
    """A code between weights, -1..1, and conductances.

    Weights have the shape (..., outputs, inputs), conductances (..., rails, columns, inputs): the
    rails of an input are its rows in the array.
    """

    rails: tuple[str, ...]
    """Names of the rows that an input drives."""
    references = 0
    """Columns of an array that belong to no output."""

    @abstractmethod
    def encode(self, w: Tensor, window: Window, groups: Groups) -> Tensor:
        """Conductances of weights, in siemens.

        Args:
            w: weights, -1..1, (..., outputs, inputs).
            window: the devices' range of conductances.
            groups: outputs of each column of arrays, first and one past the last.
        """

    @abstractmethod
    def decode(self, g: Tensor, window: Window, groups: Groups) -> Tensor:
        """Weights that conductances represent; linear but for a constant.

        Args:
            g: conductances, (..., rails, columns, inputs), in siemens.
            window: the devices' range of conductances.
            groups: outputs of each column of arrays, first and one past the last.
        """

    @abstractmethod
    def variance(self, v: Tensor, window: Window) -> Tensor | None:
        """Variances of the weights from those of the devices; None where weights share a device.

        Args:
            v: variances of the conductances, (..., rails, columns, inputs), in S^2.
            window: the devices' range of conductances.
        """

    @abstractmethod
    def pulses(self, steps: Tensor, groups: Groups) -> Tensor:
        """Pulses on the devices for steps of the weights, both integers.

        Args:
            steps: steps of the weights, (..., outputs, inputs), integers.
            groups: outputs of each column of arrays, first and one past the last.
        """

    @abstractmethod
    def step(self, window: Window) -> float:
        """Change of a weight per siemens of pulse on each device that a step moves.

        Args:
            window: the devices' range of conductances.
        """

    def columns(self, groups: Groups) -> int:
        """Columns of all arrays together.

        Args:
            groups: outputs of each column of arrays, first and one past the last.
        """
        return groups[-1][1] + self.references * len(groups)


class _Pair(Scheme):
    """Two devices a weight: w = (g+ - g-) / span."""

    rails = ("+", "-")

    def decode(self, g: Tensor, window: Window, groups: Groups) -> Tensor:
        plus, minus = g.unbind(-3)
        return (plus - minus) / window.span

    def variance(self, v: Tensor, window: Window) -> Tensor:
        return v.sum(dim=-3) / window.span**2

    def pulses(self, steps: Tensor, groups: Groups) -> Tensor:
        return torch.stack([steps, -steps], dim=-3)

    def step(self, window: Window) -> float:
        return 2 / window.span


@dataclass(frozen=True)
class Split(_Pair):
    """A differential pair, g+ = g_min + max(w, 0) span and g- = g_min + max(-w, 0) span.

    Attributes:
        one_way: pulses only raise a conductance, g+ to raise and g- to lower the weight, as for
            devices that can be set gradually and not reset; else each step moves both devices.
    """

    one_way: bool = False

    def encode(self, w: Tensor, window: Window, groups: Groups) -> Tensor:
        """One of the pair is at g_min."""
        sides = torch.stack([w.clamp(min=0), (-w).clamp(min=0)], dim=-3)
        return window.g_min + sides * window.span

    def pulses(self, steps: Tensor, groups: Groups) -> Tensor:
        """Up on one device and down on the other, or up only."""
        both = super().pulses(steps, groups)
        return both.clamp(min=0) if self.one_way else both

    def step(self, window: Window) -> float:
        """One or two devices move by the step of a pulse."""
        return (1 if self.one_way else 2) / window.span


@dataclass(frozen=True)
class Balanced(_Pair):
    """A differential pair around the middle of the window, g+- = middle +- w span / 2."""

    def encode(self, w: Tensor, window: Window, groups: Groups) -> Tensor:
        """Both devices are at the middle for w = 0."""
        half = w * (window.span / 2)
        middle = (window.g_min + window.g_max) / 2
        return torch.stack([middle + half, middle - half], dim=-3)


@dataclass(frozen=True)
class _Single(Scheme):
    at: float = 0.5

    def __post_init__(self) -> None:
        check_number("place of the reference in the window", self.at, low=0.01, high=0.99)

    def _unit(self, window: Window) -> float:
        return window.span * min(self.at, 1 - self.at)

    def reference(self, window: Window) -> float:
        """Conductance of the reference, in siemens."""
        return window.g_min + self.at * window.span

    def step(self, window: Window) -> float:
        return 1 / self._unit(window)


@dataclass(frozen=True)
class MidRail(_Single):
    """One device a weight against an exact reference inside the window, w = (g - g_ref) / unit.

    The reference is a fixed current from the middle rail, not a device; unit is the distance from
    the reference to the nearer end of the window.

    Attributes:
        at: place of the reference, 0 at g_min and 1 at g_max.

    Raises:
        UserError: a place outside of 0.01..0.99.
    """

    rails = ("+",)

    def encode(self, w: Tensor, window: Window, groups: Groups) -> Tensor:
        """The one device of each weight."""
        return (self.reference(window) + w * self._unit(window)).unsqueeze(-3)

    def decode(self, g: Tensor, window: Window, groups: Groups) -> Tensor:
        """The distance from the reference."""
        return (g.squeeze(-3) - self.reference(window)) / self._unit(window)

    def variance(self, v: Tensor, window: Window) -> Tensor:
        """That of the one device."""
        return v.squeeze(-3) / self._unit(window) ** 2

    def pulses(self, steps: Tensor, groups: Groups) -> Tensor:
        """On the one device."""
        return steps.unsqueeze(-3)


@dataclass(frozen=True)
class OffsetColumn(_Single):
    """One device a weight, and in each array one more column of devices that is subtracted.

    The reference column lies right of the others; its devices are programmed, drift and fluctuate
    like all others, and their error is common to all outputs of the array.

    Attributes:
        at: place of the reference, 0 at g_min and 1 at g_max.

    Raises:
        UserError: a place outside of 0.01..0.99.
    """

    rails = ("+",)
    references = 1

    def encode(self, w: Tensor, window: Window, groups: Groups) -> Tensor:
        """The columns of the outputs, then one reference column for each group."""
        reference = self.reference(window)
        extra = torch.full_like(w[..., : len(groups), :], reference)
        return torch.cat([reference + w * self._unit(window), extra], dim=-2).unsqueeze(-3)

    def decode(self, g: Tensor, window: Window, groups: Groups) -> Tensor:
        """The distance from the array's own reference column."""
        g, outputs = g.squeeze(-3), groups[-1][1]
        lengths = torch.tensor([stop - start for start, stop in groups], device=g.device)
        reference = g[..., outputs:, :].repeat_interleave(lengths, dim=-2)
        return (g[..., :outputs, :] - reference) / self._unit(window)

    def variance(self, v: Tensor, window: Window) -> None:
        """None: the outputs of an array share the reference."""
        return None

    def pulses(self, steps: Tensor, groups: Groups) -> Tensor:
        """On the devices of the outputs; none on the references."""
        rest = torch.zeros_like(steps[..., : len(groups), :])
        return torch.cat([steps, rest], dim=-2).unsqueeze(-3)
