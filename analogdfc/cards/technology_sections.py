"""Sections of a technology card."""

from __future__ import annotations

import math

from pydantic import model_validator

from analogdfc.cards.entries import (
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

    @property
    def driven(self) -> float | None:
        """Largest magnitude of an output that the input stage drives, in volts; None for no bound.

        Its current is bounded, which is the slew rate; what flows into the dominant pole at low
        frequency then has gain * slew_rate / (2 pi gain_bandwidth) at the output.
        """
        if self.gain is None or self.slew_rate is None or self.gain_bandwidth is None:
            return None
        return self.gain * self.slew_rate / (2 * math.pi * self.gain_bandwidth)

    @property
    def reach(self) -> float | None:
        """Largest magnitude of an output at rest: of its stage, or `driven`; None for no bound."""
        bounds = [b for b in (self.saturation, self.driven) if b is not None]
        return min(bounds, default=None)


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
