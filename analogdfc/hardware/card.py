"""Technology cards: one TOML file a process, every number with its unit and its source."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, cast

import pint
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from analogdfc.errors import UserError


@cache
def _units() -> pint.UnitRegistry[float]:
    return pint.UnitRegistry()


_IN_SI = {"values": "floats in SI units"}


def _si(unit: str) -> Callable[[Any, ValidationInfo], float]:
    """Validator that turns {value, unit, source} into a float in the given SI unit."""

    def convert(entry: Any, info: ValidationInfo) -> float:
        if info.context == _IN_SI:
            return float(entry)
        if not isinstance(entry, dict):
            raise ValueError(f'write {{ value = ..., unit = "{unit}", source = "..." }}')
        if missing := [k for k in ("value", "unit", "source") if k not in entry]:
            needed = f"value, unit (of {unit}) and source are needed"
            raise ValueError(f"missing {' and '.join(missing)}; {needed}")
        if unknown := sorted(set(entry) - {"value", "unit", "source"}):
            raise ValueError(f"unknown key {unknown[0]!r}; allowed are value, unit, source")
        value = entry["value"]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"value {value!r} is not a number")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"value {value} is not finite")
        if not (isinstance(entry["source"], str) and entry["source"].strip()):
            raise ValueError("source must say where the number comes from, or 'assumed'")
        try:
            converted = float(
                _units().Quantity(float(value), str(entry["unit"])).to(unit).magnitude
            )
        except OverflowError as error:
            raise ValueError(f"value {value} is larger than a number can be") from error
        except Exception as error:  # pint raises many kinds, all of them about the unit
            raise ValueError(f"unit {entry['unit']!r} is not a unit of {unit}") from error
        if not math.isfinite(converted):
            raise ValueError(f"value {value} {entry['unit']} is not finite in {unit}")
        return converted

    return convert


Volt = Annotated[float, BeforeValidator(_si("V")), Field(gt=0, le=100)]
Ampere = Annotated[float, BeforeValidator(_si("A")), Field(gt=0, le=1)]
Siemens = Annotated[float, BeforeValidator(_si("S")), Field(gt=0, le=1)]
Ohm = Annotated[float, BeforeValidator(_si("ohm")), Field(gt=0)]
Farad = Annotated[float, BeforeValidator(_si("F")), Field(gt=0, le=1e-6)]
Second = Annotated[float, BeforeValidator(_si("s")), Field(gt=0)]
Hertz = Annotated[float, BeforeValidator(_si("Hz")), Field(gt=0)]
VoltPerSecond = Annotated[float, BeforeValidator(_si("V/s")), Field(gt=0)]
Gain = Annotated[float, BeforeValidator(_si("1")), Field(gt=1)]
Fraction = Annotated[float, BeforeValidator(_si("1")), Field(gt=0, le=0.1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Identity(_Section):
    """Section [card]: what the card describes and where it comes from."""

    name: str = Field(min_length=1, max_length=120, pattern=r"^[\x20-\x7e]+$")
    source: str = Field(min_length=1, max_length=400, pattern=r"^[\x20-\x7e]+$")


class Scale(_Section):
    """Section [scale]: volts and seconds that stand for the dimensionless quantities.

    Attributes:
        time: seconds per unit of time of the controller.
        activation: volts per unit of v and r.
        control: volts per unit of u and e.
    """

    time: Second
    activation: Volt
    control: Volt


class Device(_Section):
    """Section [device]: the conductances of the crossbars.

    Attributes:
        g_unit: siemens per unit of weight; a layer whose weights don't fit takes less.
        g_min: lowest programmable conductance; both devices of a pair carry it.
        g_max: highest programmable conductance.
        mismatch: relative standard deviation of a conductance; none by default.
    """

    g_unit: Siemens
    g_min: Siemens
    g_max: Siemens
    mismatch: Fraction | None = None

    @model_validator(mode="after")
    def _window(self) -> Device:
        if self.g_min >= self.g_max:
            raise ValueError(f"g_min = {self.g_min:g} S must stay below g_max = {self.g_max:g} S")
        return self


class Wire(_Section):
    """Section [wire]: resistance of the crossbars' lines from one cell to the next.

    Attributes:
        word: a segment of a row; none by default.
        bit: a segment of a column; none by default.
    """

    word: Ohm | None = None
    bit: Ohm | None = None


class Passive(_Section):
    """Section [passive]: resistors and capacitors outside the crossbars.

    Attributes:
        r_integrator: input resistor R_i of the controller's integrator.
        r_switch: on-resistance of the reset switch.
        tolerance: relative standard deviation of a resistor or capacitor; none by default.
    """

    r_integrator: Ohm
    r_switch: Ohm
    tolerance: Fraction | None = None


class Amplifier(_Section):
    """Section [amplifier]: the operational amplifier; what is left out is ideal.

    Attributes:
        supply: magnitude of either supply voltage.
        quiescent_current: supply current of one amplifier at rest.
        gain: open-loop gain A0 at low frequency.
        gain_bandwidth: unity-gain frequency of the dominant pole.
        second_pole: frequency of the second pole; takes effect with a finite gain_bandwidth.
        slew_rate: fastest change of the output; takes effect with a finite gain_bandwidth.
        output_resistance: resistance in series with the output.
        input_capacitance: from the inverting input to ground; takes effect with a finite
            gain_bandwidth, and the feedback resistors are then compensated by
            C_c = sqrt(C_in / (R_f omega_t)).
        saturation: magnitude at which the output stage limits.
        offset: standard deviation of the input offset.
    """

    supply: Volt
    quiescent_current: Ampere
    gain: Gain | None = None
    gain_bandwidth: Hertz | None = None
    second_pole: Hertz | None = None
    slew_rate: VoltPerSecond | None = None
    output_resistance: Ohm | None = None
    input_capacitance: Farad | None = None
    saturation: Volt | None = None
    offset: Volt | None = None

    @property
    def delays(self) -> Amplifier:
        """The amplifier with what only a finite gain_bandwidth brings into effect.

        Without a dominant pole a second one, a slew rate or an input capacitance would have
        nothing to act on.
        """
        if self.gain_bandwidth is not None:
            return self
        off = {"second_pole": None, "slew_rate": None, "input_capacitance": None}
        return self.model_copy(update=off)


class Tanh(_Section):
    """Section [tanh]: the cell whose current is I_t tanh(V / scale.activation).

    Attributes:
        current: I_t, the largest output current.
        offset: standard deviation of the input offset; none by default.
    """

    current: Ampere
    offset: Volt | None = None


IMPERFECTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "device mismatch": (("device", "mismatch"),),
    "passive tolerance": (("passive", "tolerance"),),
    "wire resistance": (("wire", "word"), ("wire", "bit")),
    "finite gain": (("amplifier", "gain"),),
    "finite bandwidth": (("amplifier", "gain_bandwidth"),),
    "second pole": (("amplifier", "second_pole"),),
    "slew rate": (("amplifier", "slew_rate"),),
    "output resistance": (("amplifier", "output_resistance"),),
    "input capacitance": (("amplifier", "input_capacitance"),),
    "saturation": (("amplifier", "saturation"),),
    "amplifier offset": (("amplifier", "offset"),),
    "tanh offset": (("tanh", "offset"),),
}
"""Names of the imperfections, with the keys of the card that set them; all are optional."""


class Card(_Section):
    """A technology: every number in SI units, every imperfection optional."""

    card: Identity
    scale: Scale
    device: Device
    wire: Wire = Wire()
    passive: Passive
    amplifier: Amplifier
    tanh: Tanh
    text: str = Field(default="", exclude=True)

    @property
    def imperfections(self) -> tuple[str, ...]:
        """Names of the imperfections that this card has."""

        def present(keys: tuple[tuple[str, str], ...]) -> bool:
            return any(getattr(getattr(self, section), key) is not None for section, key in keys)

        return tuple(name for name, keys in IMPERFECTIONS.items() if present(keys))

    def without(self, *names: str) -> Card:
        """The same card with the named imperfections switched off.

        Raises:
            UserError: a name that isn't in `IMPERFECTIONS`.
        """
        changes: dict[str, dict[str, None]] = {}
        for name in names:
            if name not in IMPERFECTIONS:
                raise UserError(f"unknown imperfection {name!r}; {', '.join(IMPERFECTIONS)}")
            for section, key in IMPERFECTIONS[name]:
                changes.setdefault(section, {})[key] = None
        return self._with(changes)

    def ideal(self) -> Card:
        """The same card without any imperfection."""
        return self.without(*IMPERFECTIONS)

    def replace(self, section: str, **values: float | None) -> Card:
        """The same card with other values, in SI units, in one section.

        Raises:
            UserError: a section or key that doesn't exist, or a value out of its range.
        """
        known = type(self).model_fields
        if section not in known or section == "text":
            raise UserError(f"unknown section {section!r} of a technology card")
        for key in values:
            if key not in type(getattr(self, section)).model_fields:
                raise UserError(f"unknown key {key!r} in section [{section}] of a technology card")
        return self._with({section: values})

    def _with(self, changes: dict[str, Any]) -> Card:
        data = self.model_dump(exclude_none=True)
        for section, values in changes.items():
            data[section].update(values)
            data[section] = {k: v for k, v in data[section].items() if v is not None}
        try:
            return Card.model_validate({**data, "text": self.text}, context=_IN_SI)
        except ValidationError as error:
            raise UserError(f"{self.card.name}: {_first_problem(error)}") from error

    @classmethod
    def parse(cls, text: str, where: str = "card") -> Card:
        """The card written in a TOML text.

        Args:
            text: the content of a card file.
            where: what error messages call it.

        Raises:
            UserError: not TOML, an unknown key, a missing key, unit or source, a value out of
                range; the message names the file, the key and what is allowed.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{where}: not a TOML file: {error}") from error
        if "text" in data:
            raise UserError(f"{where}: unknown key 'text'")
        try:
            card = cls.model_validate({**data, "text": text})
        except ValidationError as error:
            raise UserError(f"{where}: {_first_problem(error)}") from error
        return card

    @classmethod
    def load(cls, name: str | Path) -> Card:
        """A card by path, or a card that comes with the package by name (without `.toml`).

        Raises:
            UserError: no such file or name, or a file that isn't a valid card.
        """
        path = Path(name)
        if path.suffix != ".toml" and not path.exists():
            return cls._builtin(str(name))
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: can't read the technology card: {error}") from error
        return cls.parse(text, str(path))

    @classmethod
    def _builtin(cls, name: str) -> Card:
        cards = builtin_cards()
        if name not in cards:
            raise UserError(
                f"unknown card {name!r}; give the path of a TOML file or one of {', '.join(cards)}"
            )
        folder = resources.files("analogdfc._calibration")
        return cls.parse(folder.joinpath(f"{name}.toml").read_text(encoding="utf-8"), name)


def builtin_cards() -> tuple[str, ...]:
    """Names of the cards that come with the package."""
    files = resources.files("analogdfc._calibration").iterdir()
    return tuple(sorted(f.name[:-5] for f in files if f.name.endswith(".toml")))


def _initials(name: str) -> str:
    return "".join(word[0] for word in name.split("_"))


def _first_problem(error: ValidationError) -> str:
    problems = error.errors()
    # A misspelt key is also a missing one; the misspelling is what has to be mended.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    section, *rest = (str(part) for part in problem["loc"])
    key = rest[0] if rest else ""
    place = f"[{section}] {key}".strip()
    if problem["type"] == "extra_forbidden":
        model = Card.model_fields[section].annotation if rest else Card
        fields = [f for f in cast(type[BaseModel], model).model_fields if f != "text"]
        unknown = key or section
        near = difflib.get_close_matches(unknown, fields, n=1, cutoff=0.5)
        initials = [f for f in fields if "_" in f and _initials(f) in unknown]
        guess = initials or near
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
