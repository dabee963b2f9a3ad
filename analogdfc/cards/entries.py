"""Entries of card files: a number with its unit and source, and what a wrong one is answered."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, get_args

import pint
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo

from analogdfc.errors import UserError

IN_SI = {"values": "floats in SI units"}
"""Validation context for values that are SI numbers already."""


@cache
def units() -> pint.UnitRegistry[float]:
    """The units that cards may use."""
    return pint.UnitRegistry()


def finite(value: Any) -> float:
    """A number of a card.

    Raises:
        ValueError: it isn't a number, or isn't finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"value {value!r} is not a number")
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


def to_si(value: float, written: Any, unit: str) -> float:
    """A value in an SI unit.

    Args:
        value: the number.
        written: its unit, as the card writes it.
        unit: the SI unit.

    Raises:
        ValueError: `written` is no such unit, or the value is too large for a number.
    """
    try:
        converted = float(units().Quantity(float(value), str(written)).to(unit).magnitude)
    except OverflowError as error:
        raise ValueError(f"value {value} is larger than a number can be") from error
    except Exception as error:  # pint raises many kinds, all of them about the unit
        raise ValueError(f"unit {written!r} is not a unit of {unit}") from error
    if not math.isfinite(converted):
        raise ValueError(f"value {value} {written} is not finite in {unit}")
    return converted


class InSI:
    """Validator that turns {value, unit, source} into a float in an SI unit.

    Attributes:
        si_unit: the unit.
    """

    def __init__(self, si_unit: str) -> None:
        self.si_unit = si_unit

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
        return to_si(value, entry["unit"], unit)


def si(unit: str) -> InSI:
    """Validator of entries in an SI unit."""
    return InSI(unit)


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
        raise ValueError(f"unknown key {unknown[0]!r}; allowed are {allowed}")


Volt = Annotated[float, BeforeValidator(si("V")), Field(gt=0, le=100)]
Ampere = Annotated[float, BeforeValidator(si("A")), Field(gt=0, le=1)]
Siemens = Annotated[float, BeforeValidator(si("S")), Field(gt=0, le=1)]
Ohm = Annotated[float, BeforeValidator(si("ohm")), Field(gt=0)]
Farad = Annotated[float, BeforeValidator(si("F")), Field(gt=0, le=1e-6)]
Second = Annotated[float, BeforeValidator(si("s")), Field(gt=0)]
Hertz = Annotated[float, BeforeValidator(si("Hz")), Field(gt=0)]
VoltPerSecond = Annotated[float, BeforeValidator(si("V/s")), Field(gt=0)]
Gain = Annotated[float, BeforeValidator(si("1")), Field(gt=1)]
Fraction = Annotated[float, BeforeValidator(si("1")), Field(gt=0, le=0.1)]
Levels = Annotated[float, BeforeValidator(si("1")), Field(ge=2, multiple_of=1)]
Tile = Annotated[float, BeforeValidator(si("1")), Field(ge=2, multiple_of=1)]
Joule = Annotated[float, BeforeValidator(si("J")), Field(gt=0, le=1e-3)]
SquareMetre = Annotated[float, BeforeValidator(si("m^2")), Field(gt=0, le=1e-2)]
FaradPerSquareMetre = Annotated[float, BeforeValidator(si("F/m^2")), Field(gt=0)]
OhmPerSquareMetre = Annotated[float, BeforeValidator(si("ohm/m^2")), Field(gt=0)]
VoltPerRootHertz = Annotated[float, BeforeValidator(si("V/Hz^0.5")), Field(gt=0, le=1e-3)]


class Section(BaseModel):
    """A section of a card; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Identity(Section):
    """Section [card]: what the card describes and where it comes from."""

    name: str = Field(min_length=1, max_length=120, pattern=r"^[\x20-\x7e]+$")
    source: str = Field(min_length=1, max_length=400, pattern=r"^[\x20-\x7e]+$")


def read_text(path: Path, what: str) -> str:
    """The text of a card file.

    Raises:
        UserError: it can't be read; the message calls it `what`.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't read the {what}: {error}") from error


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a card.

    Raises:
        UserError: not TOML.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: not a TOML file: {error}") from error
    if "text" in data:
        raise UserError(f"{where}: unknown key 'text'")
    return data


def kind_of(data: dict[str, Any]) -> str:
    """'device' for the tables of a device card, else 'circuit'."""
    identity = data.get("card")
    kind = identity.get("kind", "circuit") if isinstance(identity, dict) else "circuit"
    return str(kind)


def builtin_texts(folder: str = "") -> dict[str, str]:
    """Texts of the cards that come with the package, by name, of one folder of `calibration`."""
    place = resources.files("analogdfc._calibration").joinpath(folder)
    files = {f.name[:-5]: f for f in place.iterdir() if f.name.endswith(".toml")}
    return {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}


def find_card(
    name: str | Path, what: str, folder: str = "", *, file: str | None = None
) -> tuple[str, str]:
    """The text of a card by path, or of one that comes with the package by name.

    Args:
        name: a path, or a name without `.toml`.
        what: what error messages call it, 'card' or 'device card'.
        folder: folder of `calibration` with the cards of this kind.
        file: what they call its file; by default the same.

    Returns:
        The text, and what error messages call the card.

    Raises:
        UserError: no such file or name.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return read_text(path, file or what), str(path)
    cards = builtin_texts(folder)
    if str(name) not in cards:
        raise UserError(
            f"unknown {what} {str(name)!r}; give the path of a TOML file or one of "
            f"{', '.join(cards)}"
        )
    return cards[str(name)], str(name)


def _initials(name: str) -> str:
    return "".join(word[0] for word in name.split("_"))


def _section_model(model: type[BaseModel], section: str) -> type[BaseModel] | None:
    """The class of a section, also of one that may be missing or that is there several times."""
    found = [model.model_fields[section].annotation]
    while found:
        kind = found.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
        found.extend(get_args(kind))
    return None


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """One line about what is wrong with a card: the place, and what is allowed there."""
    problems = error.errors()
    # A misspelt key is also a missing one; the misspelling is what has to be mended.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    section, *rest = problem["loc"]
    number = next((part for part in rest if isinstance(part, int)), None)
    keys = [str(part) for part in rest if isinstance(part, str)]
    key = keys[0] if keys else ""
    head = f"[{section}]" if number is None else f"[{section}] no. {number + 1}"
    place = f"{head} {key}".strip()
    if problem["type"] == "extra_forbidden":
        inner = _section_model(model, str(section)) if rest else model
        fields = [f for f in inner.model_fields if f != "text"] if inner else []
        unknown = key or str(section)
        near = difflib.get_close_matches(unknown, fields, n=1, cutoff=0.5)
        initials = [f for f in fields if "_" in f and _initials(f) in unknown]
        same = difflib.get_close_matches(unknown, fields, n=1, cutoff=0.8)
        guess = same or initials or near
        hint = f"did you mean {guess[0]!r}?" if guess else f"allowed are {', '.join(fields)}"
        return f"{place}: unknown key {unknown!r}; {hint}"
    if problem["type"] == "missing":
        return f"{place}: this key is missing"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    shown = (
        f" = {problem['input']['value']!r} {problem['input'].get('unit', '')}"
        if (isinstance(problem["input"], dict) and "value" in problem["input"])
        else ""
    )
    return f"{place}{shown}: {message}" if key else f"{place} {message}"
