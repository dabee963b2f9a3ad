"""Entries of card files: a number with its unit and source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from analogdfc.cards.units import Kind, to_si
from analogdfc.errors import shown

IN_SI = {"values": "floats in SI units"}
"""Validation context for values that are SI numbers already."""


def finite(value: Any) -> float:
    """A number of a card.

    Raises:
        ValueError: it isn't a number, or isn't finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"value {shown(value)} is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"value {value} is not finite")
    return value


def check_source(entry: dict[str, Any]) -> None:
    """Make sure that an entry says where its number comes from.

    Raises:
        ValueError: it doesn't.
    """
    if not (isinstance(entry["source"], str) and entry["source"].strip()):
        raise ValueError("source must say where the number comes from, or 'assumed'")


class InSI:
    """Validator that turns {value, unit, source} into a float in an SI unit.

    Attributes:
        si_unit: the unit.
        kind: what a number without a dimension is.
    """

    def __init__(self, si_unit: str, kind: Kind = "") -> None:
        self.si_unit = si_unit
        self.kind = kind

    def __call__(self, entry: Any, info: ValidationInfo) -> float:
        """The number.

        Raises:
            ValueError: not such an entry.
        """
        unit = self.si_unit
        if info.context == IN_SI:
            return float(entry)
        if not isinstance(entry, dict):
            raise ValueError(f'write {{ value = ..., unit = "{unit}", source = "..." }}')
        check_keys(entry, unit)
        value = finite(entry["value"])
        check_source(entry)
        return to_si(value, entry["unit"], unit, self.kind)


def si(unit: str, kind: Kind = "") -> InSI:
    """Validator of entries in an SI unit."""
    return InSI(unit, kind)


def check_keys(entry: dict[str, Any], unit: str, more: Sequence[str] = ()) -> None:
    """Make sure that an entry has value, unit and source, and no key beside these and `more`.

    Raises:
        ValueError: a key is missing or unknown.
    """
    needed = ("value", "unit", "source")
    if missing := [k for k in needed if k not in entry]:
        raise ValueError(
            f"missing {' and '.join(missing)}; value, unit (of {unit}) and source are needed"
        )
    if unknown := sorted(set(entry) - {*needed, *more}):
        allowed = ", ".join((*needed, *more))
        raise ValueError(f"unknown key {shown(unknown[0])}; allowed are {allowed}")


Volt = Annotated[float, BeforeValidator(si("V")), Field(gt=0, le=100)]
Ampere = Annotated[float, BeforeValidator(si("A")), Field(gt=0, le=1)]
Siemens = Annotated[float, BeforeValidator(si("S")), Field(gt=0, le=1)]
Ohm = Annotated[float, BeforeValidator(si("ohm")), Field(gt=0)]
Kelvin = Annotated[float, BeforeValidator(si("K")), Field(gt=0, le=1000)]
PerKelvin = Annotated[float, BeforeValidator(si("1/K")), Field(ge=-1, le=1)]
Farad = Annotated[float, BeforeValidator(si("F")), Field(gt=0, le=1e-6)]
Second = Annotated[float, BeforeValidator(si("s")), Field(gt=0)]
Hertz = Annotated[float, BeforeValidator(si("Hz")), Field(gt=0)]
VoltPerSecond = Annotated[float, BeforeValidator(si("V/s")), Field(gt=0)]
Gain = Annotated[float, BeforeValidator(si("1", "gain")), Field(gt=1)]
Fraction = Annotated[float, BeforeValidator(si("1")), Field(gt=0, le=0.1)]
Levels = Annotated[float, BeforeValidator(si("1", "levels")), Field(ge=2, multiple_of=1)]
Tile = Annotated[float, BeforeValidator(si("1")), Field(ge=2, multiple_of=1)]
Joule = Annotated[float, BeforeValidator(si("J")), Field(gt=0, le=1e-3)]
SquareMetre = Annotated[float, BeforeValidator(si("m^2")), Field(gt=0, le=1e-2)]
FaradPerSquareMetre = Annotated[float, BeforeValidator(si("F/m^2")), Field(gt=0)]
OhmPerSquareMetre = Annotated[float, BeforeValidator(si("ohm/m^2")), Field(gt=0)]
VoltPerRootHertz = Annotated[float, BeforeValidator(si("V/Hz^0.5")), Field(gt=0, le=1e-3)]
AmperePerRootHertz = Annotated[float, BeforeValidator(si("A/Hz^0.5")), Field(gt=0, le=1e-6)]


class Section(BaseModel):
    """A section of a card; an unknown key is an error."""

    # Built when it is first used: device cards, which most commands need none of, take a tenth of a
    # second.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Identity(Section):
    """Section [card]: what the card describes and where it comes from."""

    name: str = Field(min_length=1, max_length=120, pattern=r"^[\x20-\x7e]+$")
    source: str = Field(min_length=1, max_length=400, pattern=r"^[\x20-\x7e]+$")
