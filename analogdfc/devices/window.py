"""The window of conductances that a device can be programmed to, and its levels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from analogdfc.devices.draws import check_number, check_precision, check_tensor
from analogdfc.errors import UserError


@dataclass(frozen=True)
class Window:
    """Range of conductances.

    Attributes:
        g_min: lowest conductance, in siemens.
        g_max: highest conductance, in siemens.
        levels: number of programmable conductances, evenly spaced from g_min to g_max; None for a
            continuum.

    Raises:
        UserError: a negative or non-finite conductance, g_min not below g_max, fewer than 2 levels.
    """

    g_min: float
    g_max: float
    levels: int | None = None

    def __post_init__(self) -> None:
        check_number("g_min", self.g_min, "S", low=0.0)
        check_number("g_max", self.g_max, "S", low=0.0, open_low=True)
        if self.g_min >= self.g_max:
            raise UserError(f"g_min = {self.g_min:g} S must stay below g_max = {self.g_max:g} S")
        if self.levels is not None and self.levels < 2:
            raise UserError(f"{self.levels} levels: a window must have 2 or more")

    @property
    def span(self) -> float:
        """g_max - g_min, in siemens."""
        return self.g_max - self.g_min

    def check(self, g: Tensor, name: str = "conductance") -> Tensor:
        """The conductances; a rounding error beyond the window is put back into it.

        Args:
            g: conductances, any shape, in siemens.
            name: what error messages call them.

        Raises:
            UserError: one outside of the window; the message has its index. Or not float32 or
                float64.
        """
        check_precision(name, g.dtype)
        slack = 1e-6 * self.span
        try:
            check_tensor(name, g, "S", low=self.g_min - slack, high=self.g_max + slack)
        except UserError as error:
            raise UserError(
                f"{str(error).partition(': must')[0]}: outside the device's window, which is "
                f"{self.g_min:g} to {self.g_max:g} S"
            ) from error
        return self.clip(g)

    def clip(self, g: Tensor) -> Tensor:
        """Conductances, those outside of the window moved to its nearer end.

        Args:
            g: conductances, any shape, in siemens.
        """
        return g.clamp(self.g_min, self.g_max)

    def fraction(self, g: Tensor) -> Tensor:
        """0 at g_min, 1 at g_max.

        Args:
            g: conductances, any shape, in siemens.
        """
        return (g - self.g_min) / self.span

    def quantise(self, g: Tensor) -> Tensor:
        """The nearest of the levels; g itself without levels.

        Args:
            g: conductances, any shape, in siemens.
        """
        if self.levels is None:
            return g
        steps = self.levels - 1
        return self.g_min + (self.fraction(g) * steps).round().clamp(0, steps) * (self.span / steps)
