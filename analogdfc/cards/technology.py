"""Technology cards: one TOML file a process, every number with its unit and its source."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ValidationError

from analogdfc.cards.base import BaseCard
from analogdfc.cards.entries import IN_SI
from analogdfc.cards.problems import first_problem
from analogdfc.cards.sense import contradictions, unusual
from analogdfc.cards.technology_sections import (
    Amplifier,
    Area,
    Converters,
    Device,
    Passive,
    Scale,
    Tanh,
    Wire,
    Write,
)
from analogdfc.cards.update_sections import (
    UPDATE_IMPERFECTIONS,
    UPDATE_KINDS,
    UPDATE_NONE_AT_0,
    DigitalProduct,
    Hold,
    Multiplier,
    Pulses,
)
from analogdfc.cards.zeroing import ZERO_IMPERFECTIONS, ZERO_NONE_AT_0, Zeroing
from analogdfc.errors import UserError, check_names

_NONE_AT_0 = frozenset(
    {
        ("device", "mismatch"),
        ("passive", "tolerance"),
        ("wire", "word"),
        ("wire", "bit"),
        ("wire", "capacitance"),
        ("amplifier", "stage_resistance"),
        ("amplifier", "output_resistance"),
        ("amplifier", "input_capacitance"),
        ("amplifier", "offset"),
        ("amplifier", "noise"),
        ("amplifier", "noise_corner"),
        ("device", "flicker"),
        ("tanh", "offset"),
        ("tanh", "current_mismatch"),
        ("tanh", "noise"),
        ("tanh", "input_resistance"),
        ("tanh", "scale_drift"),
        ("tanh", "current_drift"),
        *UPDATE_NONE_AT_0,
        *ZERO_NONE_AT_0,
    }
)
"""Keys whose 0 is what leaving them out is."""

LOOP_IMPERFECTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "device mismatch": (("device", "mismatch"),),
    "finite levels": (("device", "levels"),),
    "passive tolerance": (("passive", "tolerance"),),
    "wire resistance": (("wire", "word"), ("wire", "bit")),
    "line capacitance": (("wire", "capacitance"),),
    "finite gain": (("amplifier", "gain"), ("amplifier", "stage_resistance")),
    "finite bandwidth": (("amplifier", "gain_bandwidth"),),
    "second pole": (("amplifier", "second_pole"),),
    "slew rate": (("amplifier", "slew_rate"),),
    "output resistance": (("amplifier", "output_resistance"),),
    "input capacitance": (("amplifier", "input_capacitance"),),
    "saturation": (("amplifier", "saturation"),),
    "amplifier offset": (("amplifier", "offset"),),
    "tanh offset": (("tanh", "offset"),),
    "tanh mismatch": (("tanh", "current_mismatch"),),
    "tanh current and scale": (("tanh", "peak_current"), ("tanh", "scale")),
    "tanh input resistance": (("tanh", "input_resistance"),),
}
"""What each imperfection of the loop is on a card: sections and entries."""

IMPERFECTIONS = {**LOOP_IMPERFECTIONS, **ZERO_IMPERFECTIONS, **UPDATE_IMPERFECTIONS}
"""Names of the imperfections, with the keys of the card that set them; all are optional."""


class Card(BaseCard):
    """A technology: every number in SI units, every imperfection optional.

    The sections [write], [converters] and [area] are for estimates; what they leave out is unknown.

    Attributes:
        scale: section [scale].
        device: section [device].
        wire: section [wire]; without it wires are ideal.
        passive: section [passive].
        amplifier: section [amplifier].
        tanh: section [tanh].
        write: section [write]; without it unknown.
        converters: section [converters]; without it unknown.
        area: section [area]; without it unknown.
        auto_zero: section [auto_zero] of the neurons; without it they have none.
        hold: section [hold]: the track-and-holds of the update path; without it ideal, and what
            they cost is unknown.
        pulses: section [pulses]: an update path by coincidence pulses.
        multiplier: section [multiplier]: one by analog multipliers.
        digital: section [digital]: one by a digital product; without any of the three the update
            is the ideal one, and what it costs is unknown.
    """

    kind: ClassVar[str] = "circuit"
    of: ClassVar[str] = "a circuit"
    what: ClassVar[str] = "card"
    file: ClassVar[str] = "technology card"
    folder: ClassVar[str] = ""

    scale: Scale
    device: Device
    wire: Wire = Wire()
    passive: Passive
    amplifier: Amplifier
    tanh: Tanh
    write: Write = Write()
    converters: Converters = Converters()
    area: Area = Area()
    auto_zero: Zeroing = Zeroing()
    hold: Hold = Hold()
    pulses: Pulses = Pulses()
    multiplier: Multiplier = Multiplier()
    digital: DigitalProduct = DigitalProduct()

    @property
    def update_path(self) -> str:
        """Name of the section that forms the outer product; empty where none does."""
        found = (n for n, key in UPDATE_KINDS.items() if getattr(getattr(self, n), key) is not None)
        return next(found, "")

    @property
    def technology(self) -> str:
        """Short name of what the card describes."""
        return "op-amp circuit"

    @property
    def window(self) -> tuple[float, float]:
        """Lowest and highest programmable conductance, in siemens."""
        return self.device.g_min, self.device.g_max

    @property
    def tanh_current(self) -> float:
        """Largest output current of a tanh cell as it is, in amperes."""
        return self.tanh.peak_current or self.tanh.current

    @property
    def tanh_scale(self) -> float:
        """Input of tanh(1) of a tanh cell as it is, in volts."""
        return self.tanh.scale or self.scale.activation

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is unusual about the card, a sentence each."""
        return unusual(self)

    def check(self) -> None:
        """Make sure that the numbers of different sections go together.

        Raises:
            UserError: they don't.
        """
        contradictions(self)

    @property
    def imperfections(self) -> tuple[str, ...]:
        """Names of the imperfections that this card has."""

        def present(keys: tuple[tuple[str, str], ...]) -> bool:
            return any(getattr(getattr(self, section), key) is not None for section, key in keys)

        return tuple(name for name, keys in IMPERFECTIONS.items() if present(keys))

    def without(self, *names: str) -> Card:
        """The same card with the named imperfections switched off.

        Args:
            names: keys of `IMPERFECTIONS`.

        Raises:
            UserError: a name that isn't in `IMPERFECTIONS`.
        """
        check_names(names, IMPERFECTIONS, "imperfection")
        changes: dict[str, dict[str, None]] = {}
        for name in names:
            for section, key in IMPERFECTIONS[name]:
                changes.setdefault(section, {})[key] = None
        return self._with(changes)

    def ideal(self) -> Card:
        """The same card without any imperfection."""
        return self.without(*IMPERFECTIONS)

    def replace(self, section: str, **values: float | None) -> Card:
        """The same card with other values, in SI units, in one section.

        Args:
            section: name of the section.
            values: the new values by their keys, in SI units; None leaves a key out, and so does
                0 where a circuit may be without, such as a mismatch.

        Raises:
            UserError: a section or key that doesn't exist, or a value out of its range.
        """
        known = type(self).model_fields
        if section not in known or section == "text":
            raise UserError(f"unknown section {section!r} of a technology card")
        for key in values:
            if key not in type(getattr(self, section)).model_fields:
                raise UserError(f"unknown key {key!r} in section [{section}] of a technology card")
        left_out = {k for k, v in values.items() if v == 0 and (section, k) in _NONE_AT_0}
        return self._with({section: {**values, **dict.fromkeys(left_out)}})

    def _with(self, changes: dict[str, Any]) -> Card:
        data = self.model_dump(exclude_none=True)
        for section, values in changes.items():
            data[section].update(values)
            data[section] = {k: v for k, v in data[section].items() if v is not None}
        try:
            return Card.model_validate({**data, "text": self.text}, context=IN_SI)
        except ValidationError as error:
            raise UserError(f"{self.card.name}: {first_problem(error, Card)}") from error


def builtin_cards() -> tuple[str, ...]:
    """Names of the cards that come with the package."""
    return Card.builtin()
