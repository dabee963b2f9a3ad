"""Devices that differ from their neighbours: stuck cells and spread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.devices.draws import check_number, uniform
from analogdfc.devices.window import Window
from analogdfc.errors import UserError


class StuckCell(NamedTuple):
    """One cell that can't be programmed.

    Attributes:
        row: row in the array, counted from 0.
        column: column in the array, counted from 0.
        g: its conductance, in siemens; may lie outside of the window, as a short or an open does.
    """

    row: int
    column: int
    g: float


class Stuck(NamedTuple):
    """The stuck devices of an array; both tensors have its shape.

    Attributes:
        mask: whether a device is stuck.
        g: the conductance of those that are, in siemens; 0 elsewhere.
    """

    mask: Tensor
    g: Tensor

    def apply(self, g: Tensor) -> Tensor:
        """The conductances, with those of stuck devices in their place.

        Args:
            g: conductances, of the shape of the array, in siemens.
        """
        return torch.where(self.mask, self.g.to(g.dtype), g)

    def also(self, other: Stuck) -> Stuck:
        """Both sets of stuck devices; where they overlap, the other's conductances.

        Args:
            other: the other set, of the same shape.
        """
        return Stuck(self.mask | other.mask, torch.where(other.mask, other.g, self.g))


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Fractions of the devices that are stuck; each device has at most one fault.

    Attributes:
        on: stuck at g_max.
        off: stuck at g_min.
        dead: stuck anywhere in the window: they don't respond to pulses.
        at: stuck at `conductance`.
        conductance: in siemens; needed with `at`.

    Raises:
        UserError: a fraction out of 0..1 or fractions that sum to more than 1; `at` without a
            conductance.
    """

    on: float = 0.0
    off: float = 0.0
    dead: float = 0.0
    at: float = 0.0
    conductance: float | None = None

    def __post_init__(self) -> None:
        for name in ("on", "off", "dead", "at"):
            check_number(f"fraction {name}", getattr(self, name), low=0.0, high=1.0)
        check_number("sum of the fractions", self.total, low=0.0, high=1.0)
        if self.conductance is not None:
            check_number("conductance of stuck devices", self.conductance, "S", low=0.0)
        elif self.at > 0:
            raise UserError("devices stuck at a value need that value: give `conductance`")

    @property
    def total(self) -> float:
        """Fraction of all faults together."""
        return self.on + self.off + self.dead + self.at

    def draw(
        self,
        shape: tuple[int, ...],
        window: Window,
        generator: torch.Generator,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Stuck:
        """The stuck devices of an array of that shape.

        Args:
            shape: shape of the array.
            window: range of conductances of the devices.
            generator: source of the randomness.
            dtype: type of the conductances.
            device: device of the tensors; by default the generator's.
        """
        u = uniform(shape, generator, device=device)
        place = window.g_min + window.span * uniform(shape, generator, device=device)
        g = torch.zeros_like(u)
        edge = 0.0
        kinds: tuple[tuple[float, float | Tensor], ...] = (
            (self.on, window.g_max),
            (self.off, window.g_min),
            (self.at, self.conductance or 0.0),
            (self.dead, place),
        )
        for fraction, value in kinds:
            here = (u >= edge) & (u < edge + fraction)
            g = torch.where(here, value, g)
            edge += fraction
        return Stuck(u < edge, g.to(dtype))


def stuck_cells(
    shape: tuple[int, ...],
    cells: Iterable[StuckCell],
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Stuck:
    """Known stuck cells, the same in every array of a batch.

    Args:
        shape: (..., rows, columns) of the arrays.
        cells: the cells.
        dtype: type of the conductances.
        device: device of the tensors.

    Raises:
        UserError: a cell outside of the array, or a negative or non-finite conductance.
    """
    if len(shape) < 2:
        raise UserError(f"shape {tuple(shape)} of an array; (..., rows, columns) is needed")
    rows, columns = shape[-2:]
    mask = torch.zeros(rows, columns, dtype=torch.bool, device=device)
    g = torch.zeros(rows, columns, dtype=dtype, device=device)
    for row, column, value in cells:
        if not (0 <= row < rows and 0 <= column < columns):
            raise UserError(
                f"stuck cell ({row}, {column}) is outside of the array of {rows} x {columns}; rows "
                f"0..{rows - 1} and columns 0..{columns - 1} are allowed"
            )
        check_number(f"conductance of stuck cell ({row}, {column})", value, "S", low=0.0)
        mask[row, column] = True
        g[row, column] = value
    return Stuck(mask.expand(shape), g.expand(shape))


@dataclass(frozen=True)
class Spread:
    """Relative spread of what a write leaves behind.

    Attributes:
        device: standard deviation from device to device, the same at every write of a device.
        cycle: standard deviation from write to write.

    Raises:
        UserError: a standard deviation that is negative or larger than 1.
    """

    device: float = 0.0
    cycle: float = 0.0

    def __post_init__(self) -> None:
        check_number("spread from device to device", self.device, low=0.0, high=1.0)
        check_number("spread from cycle to cycle", self.cycle, low=0.0, high=1.0)
