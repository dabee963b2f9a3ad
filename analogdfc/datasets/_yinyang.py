"""The Yin-Yang set, which small mixed-signal chips are measured on."""

from __future__ import annotations

import math

import numpy as np
import torch

from analogdfc.datasets._base import Dataset, Samples, check_dtype
from analogdfc.errors import UserError

CLASSES = ("yin", "yang", "dot")
SIZES, SEEDS = (5000, 1000, 1000), (42, 41, 40)
"""Samples to learn from, for validation and for testing, and the seeds of each, as published."""

RADIUS, DOT = 0.5, 0.1
"""Radius of the figure, which touches the sides of the unit square, and of its two dots."""


def yin_yang(*, bias: bool = False, dtype: torch.dtype = torch.float64) -> Dataset:
    """Points of the Yin-Yang figure and which of its three parts they lie in.

    The 5000 / 1000 / 1000 samples of Kriener, Goeltz and Petrovici 2022
    (doi:10.1145/3517343.3517380), number by number: they are drawn from seeds by a formula. A
    linear classifier gets about 64 % of them right.

    Args:
        bias: whether a fifth input that is always 1 is added, for neurons without a bias.
        dtype: floating type; the draw is in float64 for all.

    Returns:
        Inputs (x, y, 1 - x, 1 - y), (samples, 4) or (samples, 5), each in 0 to 1; labels one-hot,
        (samples, 3), in the order yin, yang, dot.

    Raises:
        UserError: not a floating type.
    """
    check_dtype(dtype)
    learned, chosen_by, tested = (
        _drawn(size, seed, bias=bias, dtype=dtype) for size, seed in zip(SIZES, SEEDS, strict=True)
    )
    return Dataset(*learned, *tested, chosen_by)


def part_of(x: float, y: float) -> int:
    """The part of the figure that a point lies in.

    Args:
        x: abscissa, within the figure.
        y: ordinate.

    Returns:
        0 for yin, 1 for yang, 2 for a dot.

    Raises:
        UserError: a point outside the figure.
    """
    if math.hypot(x - RADIUS, y - RADIUS) > RADIUS:
        raise UserError(f"({x:g}, {y:g}) is outside the figure: it has the radius {RADIUS:g}")
    left = math.hypot(x - RADIUS / 2, y - RADIUS)
    right = math.hypot(x - 3 * RADIUS / 2, y - RADIUS)
    if min(left, right) < DOT:
        return 2
    # The upper half, with the bulge around the left dot and without that around the right one.
    upper = y > RADIUS and right > RADIUS / 2
    return int(upper or left <= RADIUS / 2 or right <= DOT)


def _drawn(size: int, seed: int, *, bias: bool, dtype: torch.dtype) -> Samples:
    """Samples of a seed: for each its part, then points until one lies in it."""
    source = np.random.RandomState(seed)  # whose numbers NumPy keeps for ever
    points, parts = np.empty((size, 2)), np.empty(size, dtype=np.int64)
    for k in range(size):
        parts[k] = source.randint(3)
        while True:
            x, y = source.rand(2) * 2 * RADIUS
            if math.hypot(x - RADIUS, y - RADIUS) <= RADIUS and part_of(x, y) == parts[k]:
                points[k] = x, y
                break
    inputs = [points, 1 - points] + ([np.ones((size, 1))] if bias else [])
    labels = torch.nn.functional.one_hot(torch.from_numpy(parts), len(CLASSES))
    return Samples(torch.from_numpy(np.hstack(inputs)).to(dtype), labels.to(dtype))
