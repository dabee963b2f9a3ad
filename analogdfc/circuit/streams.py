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
    stream = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return torch.from_numpy(stream.standard_normal(shape))
