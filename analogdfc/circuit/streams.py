"""Random numbers of a chip, from its seed and the name of what they are for."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor


def standard_normal(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers, float64, of a shape.

    Each name has a stream of its own, so that switching one imperfection off leaves the draws of
    all others as they were.

    Args:
        seed: the chip's, >= 0.
        name: what is drawn.
        shape: of the result.
    """
    return torch.from_numpy(_stream(seed, name).standard_normal(shape))


def draw_seed(seed: int, name: str) -> int:
    """Seed for another program that draws, from 1 to 2^31 - 1.

    Args:
        seed: the chip's, >= 0.
        name: what is drawn.
    """
    return int(_stream(seed, name).integers(1, 2**31))


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
