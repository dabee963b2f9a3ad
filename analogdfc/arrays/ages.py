"""When the devices of an array were last written."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["Written"]


class Written:
    """When the devices of an array were last written, in seconds.

    One time for all where there is one: some models of ageing know no other.

    Args:
        shape: of the array.

    Attributes:
        shape: as given.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._at: float | Tensor = 0.0

    def age(self, now: float) -> float | Tensor:
        """Seconds since then, one number or of the array's shape.

        Args:
            now: seconds since the network was made.
        """
        return now - self._at

    def age_of(self, index: Tensor, now: float) -> float | Tensor:
        """The same of some devices.

        Args:
            index: their places in the flattened array, any shape.
            now: seconds since the network was made.
        """
        return now - (self._at.view(-1)[index] if isinstance(self._at, Tensor) else self._at)

    def times(self, device: torch.device) -> Tensor:
        """The times of all devices, a copy, of the array's shape.

        Args:
            device: where the tensor is to be.
        """
        times = torch.as_tensor(self._at, dtype=torch.float64)
        return times.to(device).expand(self.shape).clone()

    def load(self, times: Tensor) -> None:
        """Take over the times of all devices.

        Args:
            times: of the array's shape; they are copied.
        """
        first, last = float(times.min()), float(times.max())
        self._at = last if first == last else times.clone()

    def note(self, hit: Tensor, now: float) -> None:
        """Devices are written now.

        Args:
            hit: which, of the array's shape.
            now: seconds since the network was made.
        """
        self.load(torch.where(hit, now, torch.as_tensor(self._at, dtype=torch.float64)))

    def note_some(self, index: Tensor, now: float) -> None:
        """The same, at the cost of their number.

        Args:
            index: their places in the flattened array, (n,).
            now: seconds since the network was made.
        """
        if isinstance(self._at, float) and self._at == now:
            return
        if len(index) == math.prod(self.shape):
            self._at = now
            return
        if not isinstance(self._at, Tensor):
            self._at = torch.full(self.shape, self._at, dtype=torch.float64, device=index.device)
        self._at.view(-1)[index] = now
