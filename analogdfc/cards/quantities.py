"""A number with its unit, as a person writes it outside of a card."""

from __future__ import annotations

import math
from typing import Any

from analogdfc.cards.entries import units


def quantity(text: str, unit: str) -> float:
    """The number of a text such as '30 MHz', in an SI unit.

    Args:
        text: a number with a unit; without one it is in the SI unit.
        unit: the SI unit.

    Raises:
        ValueError: neither, or not a finite number.

    >>> quantity("1h", "s"), quantity("20 ms", "s"), quantity("3e-3", "s")
    (3600.0, 0.02, 0.003)
    """
    try:
        found: Any = units().Quantity(text.strip())
        bare = isinstance(found, int | float) or found.unitless
        number = float(getattr(found, "magnitude", found) if bare else found.to(unit).magnitude)
    except Exception as error:  # pint raises many kinds, all of them about the text
        raise ValueError(f"{text.strip()!r} is not a value in {unit}") from error
    if not math.isfinite(number):
        raise ValueError(f"{text.strip()!r} is not a finite number of {unit}")
    return number
