"""What is asked of a circuit: requirements with units, ranges and a safe side."""

from __future__ import annotations

import difflib
import math
from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from analogdfc.cards.quantities import quantity
from analogdfc.cards.technology import Card
from analogdfc.cards.units import Kind
from analogdfc.circuit.scaling import current_ratio
from analogdfc.digital.training import engineering
from analogdfc.errors import UserError


class Requirement(NamedTuple):
    """One property of the circuit that is sized.

    Attributes:
        name: as on the command line.
        symbol: as a data sheet has it.
        meaning: what it is, for people.
        unit: SI unit.
        loose_high: whether large values are the easy ones, so that the value is an upper limit.
        whole: whether only integers count.
        kind: what a number without a dimension is.
    """

    name: str
    symbol: str
    meaning: str
    unit: str
    loose_high: bool
    whole: bool = False
    kind: Kind = ""

    @property
    def side(self) -> str:
        """The safe side: '<=' or '>='."""
        return "<=" if self.loose_high else ">="

    def text(self, value: float) -> str:
        """A value with its unit, such as '23 MHz'.

        Args:
            value: in the SI unit.
        """
        if self.unit == "1":
            return f"{value:.0f}" if self.whole else f"{value:.4g}"
        if self.unit == "V/s":
            return f"{value * 1e-6:.4g} V/us"
        return engineering(value, self.unit, digits=4)


REQUIREMENTS: dict[str, Requirement] = {
    r.name: r
    for r in (
        Requirement("bandwidth", "GBW", "amplifier, gain-bandwidth", "Hz", False),
        Requirement("slew", "SR", "amplifier, slew rate", "V/s", False),
        Requirement("noise", "e_n", "amplifier, white input noise", "V/Hz^0.5", True),
        Requirement("gain", "A0", "amplifier, open-loop gain", "1", False, kind="gain"),
        Requirement("offset", "V_os", "amplifier, input offset (1 sigma)", "V", True),
        Requirement("levels", "levels", "devices, programmable levels", "1", False, True, "levels"),
        Requirement("window", "R_off/R_on", "devices, window g_max/g_min", "1", False),
        Requirement("word", "R_word", "word line, resistance a cell", "ohm", True),
        Requirement("bit", "R_bit", "bit line, resistance a cell", "ohm", True),
        Requirement("hold", "C_hold", "update path, capacitor of a hold", "F", False),
        Requirement(
            "resolution", "codes", "update path, codes or slots", "1", False, True, "levels"
        ),
    )
}
"""All requirements by name, those that cost energy first; the last two of cards with an update path
that has a hold capacitor, and so many codes of its converters or slots of its pulses."""

_PATH = ("hold", "resolution")
_RESOLUTION = {"pulses": "slots", "multiplier": "codes", "digital": "codes"}

Values = Mapping[str, float]
Ranges = Mapping[str, tuple[float, float]]


def requirements_of(card: Card) -> tuple[str, ...]:
    """Names of the requirements that a circuit on a card has.

    Args:
        card: the card.
    """
    own = own_values(card)
    return tuple(name for name in REQUIREMENTS if name not in _PATH or name in own)


def path_ranges(card: Card) -> dict[str, tuple[float, float]]:
    """What is possible of the card's update path, in SI units; nothing where it has none.

    A capacitor keeps what the injected charge moves below a quarter of a volt.

    Args:
        card: the card.
    """
    least = max(1e-13, 4 * (card.hold.injection or 0.0))
    found = {"hold": (least, max(1e-11, 10 * least)), "resolution": (8.0, 1024.0)}
    named = requirements_of(card)
    return {name: ends for name, ends in found.items() if name in named}


def default_ranges(tau_v: float) -> dict[str, tuple[float, float]]:
    """What is technically possible, from hard-won to easy or the other way round, in SI units.

    Args:
        tau_v: time constant of the neurons in seconds; bandwidths go from 1 / tau_v to 1000 / tau_v
            in hertz.
    """
    return {
        "bandwidth": (1 / tau_v, 1e3 / tau_v),
        "slew": (1e5, 1e9),
        "noise": (1e-9, 1e-6),
        "gain": (1e2, 1e6),
        "offset": (1e-5, 2e-2),
        "levels": (4, 1024),
        "window": (5, 1000),
        "word": (0.1, 50),
        "bit": (0.1, 50),
    }


def with_values(card: Card, values: Values) -> Card:
    """The card with other properties, and the supply current that they take.

    A hold keeps its switch: droop and injected charge stay as they are, the acquisition takes as
    much longer as the capacitor is larger, and so much more its buffer takes in current and area. A
    conversion takes energy in proportion to its codes. The second pole keeps its ratio to the
    gain-bandwidth, the tanh cells' offset its ratio to the amplifiers'. g_max stays, the window
    sets g_min. The quiescent current follows `current_ratio`.

    Args:
        card: a card with a finite gain-bandwidth.
        values: by name (of `REQUIREMENTS`), in SI units.

    Raises:
        UserError: a card with an infinitely fast amplifier, a value that cards don't allow, or one
            that contradicts the card's others.
    """
    a = card.amplifier
    if a.gain_bandwidth is None:
        raise UserError(
            "[amplifier] gain_bandwidth: the card has none, so its quiescent current belongs to no "
            "bandwidth and can't be scaled"
        )
    ratio = values["bandwidth"] / a.gain_bandwidth
    more = current_ratio(
        a, bandwidth=values["bandwidth"], slew=values["slew"], noise=values["noise"]
    )
    card = card.replace(
        "amplifier",
        gain_bandwidth=values["bandwidth"],
        second_pole=None if a.second_pole is None else ratio * a.second_pole,
        quiescent_current=a.quiescent_current * more,
        slew_rate=values["slew"],
        noise=values["noise"],
        gain=values["gain"],
        offset=values["offset"],
    )
    if card.tanh.offset is not None:
        share = 1.0 if a.offset is None else card.tanh.offset / a.offset
        card = card.replace("tanh", offset=share * values["offset"])
    card = card.replace(
        "device", g_min=card.device.g_max / values["window"], levels=values["levels"]
    )
    card = card.replace("wire", word=values["word"], bit=values["bit"])
    card = _with_path(card, values)
    card.check()
    return card


def _with_path(card: Card, values: Values) -> Card:
    """The card with other properties of its update path."""
    hold, kind = card.hold, card.update_path
    if "hold" in values and hold.capacitor is not None:
        ratio = values["hold"] / hold.capacitor
        scaled = {key: getattr(hold, key) for key in ("acquisition", "supply_current", "area")}
        grown = {key: ratio * value for key, value in scaled.items() if value is not None}
        card = card.replace("hold", capacitor=values["hold"], **grown)
    if "resolution" in values and kind:
        key, section = _RESOLUTION[kind], getattr(card, kind)
        changed, joules = {key: values["resolution"]}, getattr(section, "conversion", None)
        if joules is not None:
            changed["conversion"] = joules * values["resolution"] / getattr(section, key)
        card = card.replace(kind, **changed)
    return card


def own_values(card: Card) -> dict[str, float]:
    """The properties that the card itself has; what it leaves out is missing."""
    a, device, wire = card.amplifier, card.device, card.wire
    found = {
        "bandwidth": a.gain_bandwidth,
        "slew": a.slew_rate,
        "noise": a.noise,
        "gain": a.gain,
        "offset": a.offset,
        "levels": device.levels,
        "window": device.g_max / device.g_min,
        "word": wire.word,
        "bit": wire.bit,
    }
    if kind := card.update_path:
        found |= {
            "hold": card.hold.capacitor,
            "resolution": getattr(getattr(card, kind), _RESOLUTION[kind]),
        }
    return {name: value for name, value in found.items() if value is not None}


def loosest(ranges: Ranges) -> dict[str, float]:
    """The easy end of every range."""
    return {n: b[1] if REQUIREMENTS[n].loose_high else b[0] for n, b in ranges.items()}


def tightest(ranges: Ranges) -> dict[str, float]:
    """The hard end of every range."""
    return {n: b[0] if REQUIREMENTS[n].loose_high else b[1] for n, b in ranges.items()}


def effort(values: Values, ranges: Ranges) -> float:
    """Sum over the requirements of the decades by which each is tighter than its easy end."""
    easy = loosest(ranges)
    return sum(abs(math.log10(values[name] / easy[name])) for name in ranges)


def grid(requirement: Requirement, start: float, end: float) -> list[float]:
    """Values of two significant digits from start to end, which come first and last.

    Args:
        requirement: what is meant; of one that is whole, only integers.
        start: first value, > 0.
        end: last value, > 0.
    """
    low, high = min(start, end), max(start, end)
    found = {low, high}
    for power in range(math.floor(math.log10(low)) - 1, math.floor(math.log10(high)) + 1):
        for digits in range(10, 100):
            # From the text, so that the value is the one that is printed.
            value = float(f"{digits}e{power}")
            if low < value < high and not (requirement.whole and value % 1):
                found.add(value)
    return sorted(found, reverse=start > end)


def parse_fixed(texts: Iterable[str]) -> dict[str, float]:
    """Requirements that are given: 'gain=1e4' or 'bandwidth=20 MHz', in SI units without a unit.

    Args:
        texts: one a requirement.

    Raises:
        UserError: not of this form, an unknown name, one that is given twice, a value of another
            unit or out of the allowed.
    """
    fixed: dict[str, float] = {}
    form = "NAME=VALUE, such as gain=1e4 or bandwidth=20MHz"
    for text in texts:
        name, value = _split(text, "fixed", form, fixed)
        fixed[name] = _number(value, REQUIREMENTS[name], f"fixed {text}")
    return fixed


def parse_ranges(texts: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Ranges that are given: 'offset=10uV:1mV'.

    Args:
        texts: one a requirement.

    Raises:
        UserError: as `parse_fixed`; or a range whose ends are the wrong way round.
    """
    ranges: dict[str, tuple[float, float]] = {}
    form = "NAME=LOW:HIGH, such as offset=10uV:1mV"
    for text in texts:
        name, value = _split(text, "ranges", form, ranges)
        low, mark, high = value.partition(":")
        if not mark:
            raise UserError(f"ranges {text}: write {form}")
        ends = [_number(v, REQUIREMENTS[name], f"ranges {text}") for v in (low, high)]
        if not ends[0] < ends[1]:
            raise UserError(f"ranges {text}: the first number must be below the second")
        ranges[name] = (ends[0], ends[1])
    return ranges


def _split(text: str, option: str, form: str, before: Container[str]) -> tuple[str, str]:
    """Name and value of NAME=VALUE, of a name that isn't among those before."""
    name, mark, value = text.partition("=")
    name = name.strip()
    if not mark or not value.strip():
        raise UserError(f"{option} {text}: write {form}")
    if name not in REQUIREMENTS:
        near = difflib.get_close_matches(name, REQUIREMENTS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise UserError(
            f"{option} {text}: unknown requirement '{name}'{hint} Allowed are "
            f"{', '.join(REQUIREMENTS)}"
        )
    if name in before:
        raise UserError(f"{option} {text}: '{name}' is given twice")
    return name, value.strip()


_ALLOWED = {"gain": 1.0, "window": 1.0, "levels": 2.0, "resolution": 2.0}


def _number(text: str, requirement: Requirement, where: str) -> float:
    least = _ALLOWED.get(requirement.name, 0.0)
    what = "an integer >=" if requirement.whole else "a number >"
    allowed = f"{requirement.name} must be {what} {least:g}"
    try:
        number = quantity(text, requirement.unit, requirement.kind)
    except ValueError as error:
        raise UserError(f"{where}: {error}; {allowed}") from error
    enough = number >= least if requirement.whole else number > least
    if not enough or (requirement.whole and number % 1):
        raise UserError(f"{where}: {allowed}")
    return number
