"""A number with its unit, as a person writes it outside of a card."""

from __future__ import annotations

import math
import re
from typing import Any

from analogdfc.cards.units import OFTEN, Kind, hint, magnitude, parsed, with_unit
from analogdfc.errors import shown

_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(.*)")


def quantity(text: str, unit: str, kind: Kind = "") -> float:
    """The number of a text such as '30 MHz', in an SI unit.

    Args:
        text: a number with a unit; without one it is in the SI unit.
        unit: the SI unit.
        kind: what a number without a dimension is, so that a gain may be in decibels and a number
            of levels in bits.

    Raises:
        ValueError: neither, or not a finite number.

    >>> quantity("1h", "s"), quantity("20 ms", "s"), quantity("3e-3", "s")
    (3600.0, 0.02, 0.003)
    >>> quantity("80 dB", "1", "gain"), quantity("8 bit", "1", "levels")
    (10000.0, 256.0)
    """
    text = text.strip()
    number, written = found.groups() if (found := _NUMBER.fullmatch(text)) else ("", "")
    factor = OFTEN.get((written.strip(), unit)) if written else 1.0
    try:
        if number and factor is not None:
            value = float(number) * factor
        else:
            value = _read(text, number, written, unit, kind)
    except Exception as error:  # pint raises many kinds, all of them about the text
        raise ValueError(f"{shown(text)} is not a value in {unit}{hint(written)}") from error
    if not math.isfinite(value):
        raise ValueError(f"{shown(text)} is not a finite number of {unit}")
    return value


def _read(text: str, number: str, written: str, unit: str, kind: Kind) -> float:
    given = _parsed(text, number, written)
    if isinstance(given, int | float) or not given.unit_items():
        return float(getattr(given, "magnitude", given))
    return magnitude(given, unit, kind)


def _parsed(text: str, number: str, written: str) -> Any:
    import pint  # for its errors

    try:
        return parsed(text)
    except (pint.OffsetUnitCalculusError, pint.LogarithmicUnitCalculusError):
        return with_unit(float(number), written)  # a product has no meaning for decibels
