"""How long the steps of a method are, as binary fractions of the whole time.

A step of level l ends at the next multiple of 2^-l of the whole. Mostly it starts at one too, so
that steps have few lengths and few factors are needed; where steps grow fast, it is what is left.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["LEVELS", "WHOLE", "first", "length_of", "longer", "shorter"]

LEVELS = 44
"""The shortest step is the whole time / 2^44."""
WHOLE = 1 << LEVELS
_FIRST = 16, 24
"""Levels of the first step."""
_LONGEST = 2
"""Of any: between its ends states come from a polynomial, whose error isn't looked at."""
_GROWTH = (3e-5, 10), (1e-3, 4), (0.04, 2)
"""Errors in tolerances below which a step may be so many times as long; they grow with the fourth
power of its length."""
_FURTHEST = 4
"""Levels by which a step may be above the one before, which may be nearly twice as long as its
level says."""
_FEWER = 2
"""More halvings of a step whose error was far too large, at once."""


def first(tolerance: float) -> int:
    """Level of the first step: averages don't feel a peak of a unit that it goes over."""
    return int(np.clip(math.ceil(-math.log2(tolerance)), *_FIRST))


def length_of(level: int, position: int) -> int:
    """Length of a step in parts of 2^-44 of the whole; it ends at a multiple of 2^-level."""
    unit = WHOLE >> level
    return unit - position % unit


def shorter(length: int, ratio: float) -> int:
    """Level of the step instead of one that was too long; beyond the last where there is none.

    Args:
        length: of the latter.
        ratio: its error in tolerances; may be nan.
    """
    level = LEVELS + 1 - (length - 1).bit_length()
    more = next((k for k in range(_FEWER) if ratio <= 32 ** (k + 1)), _FEWER)
    return max(level, min(level + more, LEVELS))


def longer(length: int, position: int, ratio: float) -> int:
    """Level of the step after one; where that is a part of a step, it may be an odd one.

    Args:
        length: of the one before.
        position: where that has ended.
        ratio: its error in tolerances.
    """
    most = length * next((growth for bound, growth in _GROWTH if ratio < bound), 1)
    level = LEVELS + 1 - length.bit_length()
    tried = (max(level - fewer, _LONGEST) for fewer in range(_FURTHEST + 1))
    lengths = {wanted: length_of(wanted, position) for wanted in tried}
    return max((wanted for wanted in lengths if lengths[wanted] <= most), key=lengths.__getitem__)
