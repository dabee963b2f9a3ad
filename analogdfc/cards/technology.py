"""Technology cards: one TOML file a process, every number with its unit and its source."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ValidationError, model_validator

from analogdfc.cards.base import BaseCard
from analogdfc.cards.entries import (
    IN_SI,
    Ampere,
    AmperePerRootHertz,
    Farad,
    FaradPerSquareMetre,
    Fraction,
    Gain,
    Hertz,
    Joule,
    Kelvin,
    Levels,
    Ohm,
    OhmPerSquareMetre,
    PerKelvin,
    Second,
    Section,
    Siemens,
    SquareMetre,
    Tile,
    Volt,
    VoltPerRootHertz,
    VoltPerSecond,
)
from analogdfc.cards.problems import first_problem
from analogdfc.cards.sense import contradictions, unusual
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


class Scale(Section):
    """Section [scale]: volts and seconds that stand for the dimensionless quantities.

    Attributes:
        time: seconds per unit of time of the controller.
        activation: volts per unit of v and r.
        control: volts per unit of u and e.
    """

    time: Second
    activation: Volt
    control: Volt


class Device(Section):
    """Section [device]: the conductances of the crossbars.

    Attributes:
        g_unit: siemens per unit of weight; a layer whose weights don't fit takes less.
        g_min: lowest programmable conductance; both devices of a pair carry it.
        g_max: highest programmable conductance.
        mismatch: relative standard deviation of a conductance; none by default.
        levels: programmable conductances from g_min to g_max, evenly spaced; any by default.
        flicker: 1 / f noise of a current I through a device, of the density flicker I^2 / f, beside
            the thermal noise; none by default. Enters where noise is asked for, as the next ones.
    """

    g_unit: Siemens
    g_min: Siemens
    g_max: Siemens
    mismatch: Fraction | None = None
    levels: Levels | None = None
    flicker: Fraction | None = None

    @model_validator(mode="after")
    def _window(self) -> Device:
        if self.g_min >= self.g_max:
            raise ValueError(f"g_min = {self.g_min:g} S must stay below g_max = {self.g_max:g} S")
        return self


class Wire(Section):
    """Section [wire]: the crossbars' lines, from one cell to the next.

    Attributes:
        word: resistance of a segment of a row; none by default.
        bit: resistance of a segment of a column; none by default.
        capacitance: of a segment of either to ground; lumped at the end where the amplifier is.
            Takes effect with a finite gain_bandwidth; none by default.
        rows: rows of the largest array, all rails counted: larger ones are cut into tiles with
            lines of their own, whose currents add up at the sense amplifiers; any by default.
        columns: the same for columns.
    """

    word: Ohm | None = None
    bit: Ohm | None = None
    capacitance: Farad | None = None
    rows: Tile | None = None
    columns: Tile | None = None


class Passive(Section):
    """Section [passive]: resistors and capacitors outside the crossbars.

    Attributes:
        r_integrator: input resistor R_i of the controller's integrator.
        r_switch: on-resistance of the reset switch.
        tolerance: relative standard deviation of a resistor or capacitor; none by default.
    """

    r_integrator: Ohm
    r_switch: Ohm
    tolerance: Fraction | None = None


class Amplifier(Section):
    """Section [amplifier]: the operational amplifier; what is left out is ideal.

    Attributes:
        supply: magnitude of either supply voltage.
        quiescent_current: supply current of one amplifier at rest.
        gain: open-loop gain A0 at low frequency; without a load where a stage_resistance is given.
        stage_resistance: output resistance R of the last stage inside a Miller capacitor, at low
            frequency: a load of conductance G lowers the gain to A0 / (1 + R G), and hardly the
            bandwidth; takes effect with a finite gain.
        gain_bandwidth: unity-gain frequency of the dominant pole.
        second_pole: frequency of the second pole; takes effect with a finite gain_bandwidth.
        slew_rate: fastest change of the output; takes effect with a finite gain_bandwidth.
        output_resistance: resistance in series with the output.
        input_capacitance: from the inverting input to ground; takes effect with a finite
            gain_bandwidth, and the feedback resistors are then compensated by
            C_c = sqrt(C_in / (R_f omega_t)).
        saturation: magnitude at which the output stage limits.
        offset: standard deviation of the input offset.
        noise: white noise referred to the input, in V per root hertz. Waveforms are without noise
            where none is asked for.
        noise_corner: frequency below which the noise at the input rises, noise^2 (1 + corner / f);
            takes effect with a noise.
        pole_capacitance: that the input pair charges at the dominant pole; gives a band of supply
            currents to lay beside `quiescent_current`.
    """

    supply: Volt
    quiescent_current: Ampere
    gain: Gain | None = None
    stage_resistance: Ohm | None = None
    gain_bandwidth: Hertz | None = None
    second_pole: Hertz | None = None
    slew_rate: VoltPerSecond | None = None
    output_resistance: Ohm | None = None
    input_capacitance: Farad | None = None
    saturation: Volt | None = None
    offset: Volt | None = None
    noise: VoltPerRootHertz | None = None
    noise_corner: Hertz | None = None
    pole_capacitance: Farad | None = None

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


class Tanh(Section):
    """Section [tanh]: the cell whose current is I_t tanh(V / scale.activation).

    Attributes:
        current: I_t, the largest output current, for which the resistors behind the cells are made.
        offset: standard deviation of the input offset; none by default.
        current_mismatch: relative standard deviation of the largest current; none by default.
        noise: white noise of the output current, in A per root hertz; none by default.
        peak_current: largest output current that a cell really has, at the card's corner and
            temperature; by default `current`.
        scale: input of tanh(1) that a cell really has; by default [scale] activation.
        input_resistance: from either input to ground, which loads the amplifier that drives it;
            none by default.
        scale_drift: change of the scale with temperature, d ln(scale) / dT; none by default.
        current_drift: the same of the largest output current.
        reference: temperature at which scale and largest output current are the card's; by default
            that of netlists, 300.15 K.
    """

    current: Ampere
    offset: Volt | None = None
    current_mismatch: Fraction | None = None
    noise: AmperePerRootHertz | None = None
    peak_current: Ampere | None = None
    scale: Volt | None = None
    input_resistance: Ohm | None = None
    scale_drift: PerKelvin | None = None
    current_drift: PerKelvin | None = None
    reference: Kelvin | None = None


class Write(Section):
    """Section [write]: a pulse that changes a conductance.

    Attributes:
        voltage: of the pulse.
        duration: of the pulse.
    """

    voltage: Volt | None = None
    duration: Second | None = None


class Converters(Section):
    """Section [converters]: where signals cross between digital and analog.

    Attributes:
        input_dac: energy of one conversion of an input to its two rails.
        target_dac: energy of one conversion of an output's target step.
        output_adc: energy of one conversion of an output.
    """

    input_dac: Joule | None = None
    target_dac: Joule | None = None
    output_adc: Joule | None = None


class Area(Section):
    """Section [area]: what a component takes on the chip.

    Attributes:
        device: one device of a crossbar with its share of the lines.
        amplifier: one amplifier.
        tanh: one tanh cell.
        capacitor_density: capacitance per area.
        resistor_density: resistance per area.
    """

    device: SquareMetre | None = None
    amplifier: SquareMetre | None = None
    tanh: SquareMetre | None = None
    capacitor_density: FaradPerSquareMetre | None = None
    resistor_density: OhmPerSquareMetre | None = None


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
