"""Normally distributed numbers in quantity, for noise that is drawn in every step of a run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BLOCK = 32768
"""Pairs that are worked on at once, so that what lies between stays in the cache."""


class Gaussian:
    """White Gaussian noise in single precision, finer than any noise that it stands for.

    On a CPU it comes from a fast generator of its own (NumPy's SFC64, by the method of Box and
    Muller), whose seed is one number of the generator that is given, and takes two thirds of the
    time of `Tensor.normal_`. The tails end at 6.7 standard deviations. Elsewhere it is
    `Tensor.normal_`.

    Args:
        generator: source of the randomness; on a CPU it is advanced by one number, whatever is
            drawn.
        std: standard deviation, >= 0.
    """

    def __init__(self, generator: torch.Generator, std: float) -> None:
        self._generator, self._std = generator, std
        self._bits: np.random.SFC64 | None = None
        if generator.device.type == "cpu":
            seed = int(torch.randint(2**63 - 1, (), generator=generator))
            self._bits = np.random.SFC64(seed)
        self._buffers = np.empty((3, 0), dtype=np.float32)

    def fill(self, out: Tensor) -> Tensor:
        """Fill a tensor with new numbers; returns it.

        Args:
            out: floating, contiguous, of any shape, on the generator's device.
        """
        if self._bits is None:
            drawn = torch.empty(out.shape, dtype=torch.float32, device=out.device)
            return out.copy_(drawn.normal_(std=self._std, generator=self._generator))
        flat = out.view(-1).numpy()
        half = (len(flat) + 1) // 2
        if self._buffers.shape[1] < min(half, _BLOCK):
            self._buffers = np.empty((3, min(half, _BLOCK)), dtype=np.float32)
        for first in range(0, half, _BLOCK):
            end = min(first + _BLOCK, half)
            bits = self._bits.random_raw(end - first).view(np.uint32)
            # Of an odd number, the last pair has no second.
            self._pairs(bits, flat[first:end], flat[half + first : half + end])
        return out

    def _pairs(self, bits: NDArray[Any], here: NDArray[Any], there: NDArray[Any]) -> None:
        """Fill two arrays, the second of which may be one shorter, from 64 bits a pair."""
        n = len(here)
        radius, angle, part = self._buffers[:, :n]
        # Uniform in (0, 1], fine near 0, where the tails are.
        radius[:] = bits[:n]
        radius += np.float32(0.5)
        radius *= np.float32(2.0**-32)
        np.log(radius, out=radius)
        radius *= np.float32(-2 * self._std**2)
        np.sqrt(radius, out=radius)
        angle[:] = bits[n:].view(np.int32)
        angle *= np.float32(math.pi * 2.0**-31)
        np.multiply(radius, np.cos(angle, out=part), out=here)
        np.sin(angle, out=part)
        np.multiply(radius[: len(there)], part[: len(there)], out=there)
