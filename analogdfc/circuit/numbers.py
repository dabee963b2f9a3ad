"""A card's amplifier as numbers: here alone it is decided what 'not given, so ideal' is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.cards.technology import Card

_Load = TypeVar("_Load", NDArray[np.float64], Tensor)

NO_RESISTOR = 1e15
"""Ohms of a resistor that isn't there."""

NO_LIMIT = 1e6
"""Volts at which a switched-off limit lies; double precision sees a straight line."""


@dataclass(frozen=True)
class AmplifierNumbers:
    """An amplifier's parameters as they enter equations; an absent effect is 0, a limit far off.

    Attributes:
        inverse_gain: 1 / A0, without a load.
        r_stage: resistance by which a load lowers the gain at low frequency, in ohms.
        inverse_omega: 1 / omega_t, in seconds.
        inverse_pole: 1 / (2 pi times the second pole), in seconds.
        r_out: output resistance, in ohms.
        c_in: input capacitance, in farads.
        linear_range: slew rate over omega_t, in volts.
        saturation: magnitude at which the output limits, in volts.
        density: squared density of the noise at the input, one-sided, in V^2/Hz.
    """

    inverse_gain: float
    r_stage: float
    inverse_omega: float
    inverse_pole: float
    r_out: float
    c_in: float
    linear_range: float
    saturation: float
    density: float

    @classmethod
    def of(cls, card: Card) -> AmplifierNumbers:
        """Those of a card."""
        a = card.amplifier.delays
        omega = 2 * math.pi * a.gain_bandwidth if a.gain_bandwidth else math.inf
        return cls(
            1 / a.gain if a.gain else 0.0,
            a.stage_resistance or 0.0,
            1 / omega,
            1 / (2 * math.pi * a.second_pole) if a.second_pole else 0.0,
            a.output_resistance or 0.0,
            a.input_capacitance or 0.0,
            a.slew_rate / omega if a.slew_rate else NO_LIMIT,
            a.saturation if a.saturation is not None else NO_LIMIT,
            (a.noise or 0.0) ** 2,
        )

    def inverse_gain_into(self, load: _Load) -> _Load:
        """1 / A0 with a load, without what falls at the output resistance.

        Args:
            load: conductance of each output to everything, in siemens.
        """
        return self.inverse_gain * (1 + self.r_stage * load)

    @property
    def omega(self) -> float:
        """Unity-gain frequency omega_t in rad/s; infinite without a limit."""
        return 1 / self.inverse_omega if self.inverse_omega else math.inf


def macro_parameters(card: Card) -> dict[str, float]:
    """Parameters of the macro cells; an effect that the card lacks is beyond reach.

    Returns:
        Of an amplifier a0, gbw (Hz), f_pole2 (Hz), slew (V/s), v_sat (V), c_in (F), r_out (ohm),
        i_q (A), and r_stage (ohm) where a load lowers the gain; of a tanh cell that differs from
        what it is designed for i_peak (A), s_tanh (V) and r_tanh (ohm).
    """
    a = card.amplifier.delays
    gbw = a.gain_bandwidth or 1e18
    loaded = {"r_stage": a.stage_resistance} if a.gain and a.stage_resistance else {}
    t = card.tanh
    if t.peak_current or t.scale or t.input_resistance:
        loaded |= {
            "i_peak": card.tanh_current,
            "s_tanh": card.tanh_scale,
            "r_tanh": t.input_resistance or NO_RESISTOR,
        }
    return {
        "a0": a.gain or 1e12,
        "gbw": gbw,
        "f_pole2": a.second_pole or 1e18,
        "slew": a.slew_rate or NO_LIMIT * 2 * math.pi * gbw,
        "v_sat": a.saturation or NO_LIMIT,
        "c_in": a.input_capacitance or 0.0,
        "r_out": a.output_resistance or 0.0,
        "i_q": a.quiescent_current,
        **loaded,
    }
