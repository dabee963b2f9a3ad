"""Units of cards and options, and what stands for a number without a dimension."""

from __future__ import annotations

import math
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from analogdfc.errors import shown

if TYPE_CHECKING:
    import pint

Kind = Literal["", "gain", "levels"]
"""What a number without a dimension is: just a number, a voltage gain or a number of levels."""

_PREFIXES = {"": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6,
             "G": 1e9}  # fmt: skip
_SYMBOLS = ("A", "A/Hz^0.5", "C", "F", "Hz", "J", "S", "V", "V/Hz^0.5", "W", "ohm", "s")
OFTEN = {
    **{(prefix + si, si): by for prefix, by in _PREFIXES.items() for si in _SYMBOLS},
    ("1", "1"): 1.0,
    ("K", "K"): 1.0,
    ("1/K", "1/K"): 1.0,
    ("%", "1"): 0.01,
    ("day", "s"): 86400.0,
    ("h", "s"): 3600.0,
    ("min", "s"): 60.0,
    ("1/ps", "1/s"): 1e12,
    ("KiB", "byte"): 2.0**10,
    ("MiB", "byte"): 2.0**20,
    ("TB/s", "byte/s"): 1e12,
    ("V/us", "V/s"): 1e6,
    ("um^2", "m^2"): 1e-12,
    # Rounded as pint rounds them, so that it doesn't matter who converts.
    ("fF/um^2", "F/m^2"): 0.0010000000000000002,
    ("ohm/um^2", "ohm/m^2"): 1000000000000.0001,
}
"""Factors by written unit and SI unit. They stand for what cards have most often, since pint's
registry takes half a second to build; none of them means something else for a gain or levels."""

_LONGEST = 100
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_POWER = re.compile(
    r"(?:\*\*|\^)\s*"
    r"(?:\(\s*[-+]?(\d{1,2})\s*(?:/\s*\d{1,2}\s*)?\)|[-+]?(\d{1,2}(?:\.\d{1,3})?)(?![\w.]))"
    r"(?!\s*(?:\*\*|\^))"
)


@cache
def units() -> pint.UnitRegistry[float]:
    """The units that cards may use; an angle and a bit are no plain numbers.

    Pint's own have radian = bit = 1, so that 1 rad/s would be 1 Hz and 8 bit would be 8.
    """
    import pint  # costs more than what most commands do with it

    known: pint.UnitRegistry[float] = pint.UnitRegistry(None, on_redefinition="ignore")
    known.load_definitions(str(resources.files("pint").joinpath("default_en.txt")))
    known.load_definitions(["radian = [angle] = rad", "bit = [information]"])
    return known


def parsed(text: str) -> Any:
    """What a text says, in these units: a number or a quantity.

    Pint computes what it reads, so that '9**9**9' would keep it busy for hours: powers are those
    of units, short numbers that aren't stacked.

    Args:
        text: a number, a unit or both.

    Raises:
        ValueError: longer than anything of that kind, or with a power that no unit has.
        Exception: of many kinds, all about the text.
    """
    _check(text)
    return units().Quantity(text)


def with_unit(value: float, text: str) -> Any:
    """A number with a unit.

    Args:
        value: the number.
        text: the unit; see `parsed`.

    Raises:
        ValueError: as `parsed`.
        Exception: of many kinds, all about the text.
    """
    _check(text)
    return units().Quantity(value, text)


def _check(text: str) -> None:
    if len(text) > _LONGEST:
        raise ValueError(f"more than {_LONGEST} characters")
    plain = _SUPERSCRIPT.sub(lambda found: f"**{found[0].translate(_RAISED)}", text)
    exponents = [float(one or other) for one, other in _POWER.findall(plain)]
    rest = _POWER.sub("", plain)
    if "**" in rest or "^" in rest or math.prod(max(e, 1.0) for e in exponents) > 1e4:
        raise ValueError("a power that no unit has")


def to_si(value: float, written: Any, unit: str, kind: Kind = "") -> float:
    """A value in an SI unit.

    Args:
        value: the number.
        written: its unit, as the card writes it.
        unit: the SI unit.
        kind: what a number without a dimension is.

    Raises:
        ValueError: `written` is no such unit, or the value is too large for a number.
    """
    hint = ""
    try:
        if (factor := OFTEN.get((str(written), unit))) is not None:
            converted = float(value) * factor
        else:
            given = with_unit(float(value), str(written))
            hint = _hint(given)
            converted = magnitude(given, unit, kind)
    except OverflowError as error:
        raise ValueError(f"value {shown(value)} is larger than a number can be") from error
    except Exception as error:  # pint raises many kinds, all of them about the unit
        raise ValueError(f"unit {shown(written)} is not a unit of {unit}{hint}") from error
    if not math.isfinite(converted):
        raise ValueError(f"value {value} {written} is not finite in {unit}")
    return converted


def magnitude(given: Any, unit: str, kind: Kind) -> float:
    """The number of a quantity in an SI unit.

    A voltage gain may be in decibels or nepers (80 dB = 1e4), a number of levels in bits
    (8 bit = 256), a frequency as an angle a second (2 pi rad/s = 1 Hz).

    Args:
        given: the quantity.
        unit: the SI unit.
        kind: what a number without a dimension is.

    Raises:
        ValueError: a logarithm of something else.
        pint.DimensionalityError: another dimension.
    """
    if kind == "gain" and given.units == units().decibel:
        return float(10 ** (given.magnitude / 20))
    if kind == "gain" and given.units == units().neper:
        return math.exp(given.magnitude)
    if kind == "levels" and given.check("[information]"):
        return float(2.0 ** given.to("bit").magnitude)
    if unit == "Hz" and given.check("[angle] / [time]"):
        return float(given.to("turn / second").magnitude)
    if _logarithm(given):
        raise ValueError(f"{given} is a logarithm")
    return float(given.to(unit).magnitude)


def hint(text: str) -> str:
    """What a text's unit would be good for, to end a message with; empty where nothing is known."""
    try:
        return _hint(with_unit(1.0, text))
    except Exception:  # pint raises many kinds, all of them about the text
        return ""


def _logarithm(given: Any) -> bool:
    """Whether a quantity is the logarithm of a plain number: twice of it isn't twice as much."""
    if not given.dimensionless:
        return False
    one, two = (units().Quantity(float(n), given.units).to("").magnitude for n in (1, 2))
    return not math.isclose(two, 2 * one)


def _hint(given: Any) -> str:
    if _logarithm(given):
        return "; decibels and nepers stand for a voltage gain"
    dimensions = given.dimensionality
    if "[information]" in dimensions:
        return "; bits stand for a number of levels (8 bit = 256) or the size of a memory"
    if "[angle]" in dimensions:
        return "; angles stand for a frequency in Hz, as rad/s, cycle/s or rpm"
    return ""
