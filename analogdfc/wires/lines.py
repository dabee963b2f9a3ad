"""The lines of an array: resistances of their segments, drivers and sense amplifiers."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from analogdfc.errors import UserError

Ends = Literal["one", "both"]
"""Which ends of the lines are connected: the near one only, or both."""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Resistances of the word lines (rows) and of the bit lines (columns) of an array.

    A driver sits before column 0 of each row, a sense amplifier after the last row of each column.
    One segment lies between neighbouring cells, and one between a terminal and its first cell, in
    series with the resistance of the driver or of the sense amplifier. With both ends, a second
    driver with the same voltage sits after the last column, a second sense amplifier (whose current
    adds to that of the first) before row 0, with the same resistances.

    Attributes:
        r_word: resistance of one segment of a word line, in ohms; 0 for an ideal wire.
        r_bit: resistance of one segment of a bit line, in ohms.
        r_driver: output resistance of a driver, in ohms.
        r_sense: input resistance of a sense amplifier, in ohms.
        driven: ends of the word lines that have a driver.
        sensed: ends of the bit lines that are sensed.

    Raises:
        UserError: a resistance that is negative, infinite or no number, or another kind of end.
    """

    r_word: float
    r_bit: float
    r_driver: float = 0.0
    r_sense: float = 0.0
    driven: Ends = "one"
    sensed: Ends = "one"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("driven", "sensed"):
                if value not in get_args(Ends):
                    raise UserError(f"{field.name}: {value!r}; it must be 'one' or 'both'")
            elif (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not math.isfinite(value)
                or value < 0
            ):
                raise UserError(f"{field.name}: {value!r} ohm; a resistance must be finite, >= 0")

    @property
    def ideal(self) -> bool:
        """Whether nothing resists between the drivers, the cells and the sense amplifiers."""
        return self.word_lead == self.bit_lead == 0

    @property
    def word_lead(self) -> float:
        """Resistance between a driver's voltage and the first cell of its row, in ohms."""
        return self.r_word + self.r_driver

    @property
    def bit_lead(self) -> float:
        """Resistance between the last cell of a column and ground, in ohms."""
        return self.r_bit + self.r_sense

    def times(self, factor: float) -> Lines:
        """The lines with all resistances multiplied.

        Args:
            factor: what they are multiplied by.
        """
        return replace(
            self,
            r_word=factor * self.r_word,
            r_bit=factor * self.r_bit,
            r_driver=factor * self.r_driver,
            r_sense=factor * self.r_sense,
        )

    def turned(self) -> Lines:
        """The lines with rows and columns exchanged: columns are driven, and rows are sensed.

        The array turns about its other diagonal, from cell (0, n - 1) to cell (m - 1, 0), so that
        drivers come before the first cell of their line, sense amplifiers after the last.
        """
        return Lines(
            r_word=self.r_bit,
            r_bit=self.r_word,
            r_driver=self.r_sense,
            r_sense=self.r_driver,
            driven=self.sensed,
            sensed=self.driven,
        )


def checked_conductances(g: Tensor) -> Tensor:
    """The conductances of an array, (..., rows, columns), in siemens, if they can be such.

    Raises:
        UserError: fewer than two dimensions, no row or column, not float32 or float64, or a
            conductance that is negative, infinite or no number; the message has its index.
    """
    if g.dtype not in (torch.float32, torch.float64) or g.ndim < 2 or 0 in g.shape[-2:]:
        raise UserError(
            f"conductances of shape {tuple(g.shape)}, {g.dtype}; an array is a tensor "
            "(..., rows, columns) of float32 or float64 with at least one cell"
        )
    if g.numel() and _are_wrong(g.detach()):
        wrong = ~(torch.isfinite(g) & (g >= 0))
        index = tuple(int(i) for i in wrong.nonzero()[0])
        *array, row, column = index
        where = f" of array {tuple(array)}" if array else ""
        raise UserError(
            f"conductance of row {row}, column {column}{where} is {float(g[index]):g} S; "
            "it must be finite, >= 0"
        )
    return g


def _are_wrong(g: Tensor) -> bool:
    """Whether a conductance is negative, infinite or no number: seen at once of the extremes."""
    least, most = g.aminmax()
    return not (float(least) >= 0 and float(most) < math.inf)


def check_iteration(tolerance: float, max_steps: int) -> None:
    """Make sure that an iteration can end.

    Raises:
        UserError: a tolerance or a number of steps that makes no sense.
    """
    if not 0 < tolerance < 1:
        raise UserError(f"tolerance: {tolerance}; it must lie between 0 and 1")
    if max_steps < 1:
        raise UserError(f"max_steps: {max_steps}; it must be at least 1")


def checked_inputs(v: Tensor, g: Tensor) -> Tensor:
    """Voltages on the rows as (..., k, rows).

    Args:
        v: voltages, (rows,) or (..., k, rows), in volts.
        g: the conductances, (..., rows, columns).

    Raises:
        UserError: a shape, a type or a device that does not fit the arrays, or a voltage that is
            not finite.
    """
    rows, arrays = g.shape[-2], g.shape[:-2]
    if not (v.ndim > 0 and v.shape[-1] == rows and _broadcasts(arrays, v.shape[:-2])):
        raise UserError(
            f"inputs of shape {tuple(v.shape)} for conductances of shape {tuple(g.shape)}; "
            f"they must be ({rows},) or (..., k, {rows}), k vectors an array"
        )
    if v.dtype != g.dtype or v.device != g.device:
        raise UserError(
            f"inputs are {v.dtype} on {v.device}, conductances {g.dtype} on {g.device}; "
            "they must be the same"
        )
    if not bool(torch.isfinite(v).all()):
        raise UserError("inputs: a voltage is infinite or no number")
    return v.unsqueeze(0) if v.ndim == 1 else v


def outputs(out: Tensor, v: Tensor, g: Tensor) -> Tensor:
    """Currents out of the columns for voltages as they were given, before `checked_inputs`.

    Args:
        out: currents, (..., k, columns), in amperes.
        v: the voltages, (rows,) or (..., k, rows), in volts.
        g: the conductances, (..., rows, columns), in siemens.

    Returns:
        (columns,) for one vector and one array, else as they are.
    """
    return out.squeeze(0) if v.ndim == 1 and g.ndim == 2 else out


def _broadcasts(a: torch.Size, b: torch.Size) -> bool:
    pairs = zip(reversed(a), reversed(b), strict=False)
    return all(x == y or 1 in (x, y) for x, y in pairs)
