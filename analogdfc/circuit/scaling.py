"""Amplifiers that are biased otherwise: what is faster, and what it costs in supply current."""

from __future__ import annotations

import math

from analogdfc.cards.technology import Card
from analogdfc.cards.technology_sections import Amplifier
from analogdfc.circuit.thermal import ROOM
from analogdfc.errors import UserError

ABSOLUTE_ZERO = -273.15
"""Degrees Celsius."""

EFFICIENCY = 15.0, 25.0
"""g_m / I_D of a transistor in moderate and in weak inversion, per volt."""

BRANCHES = 2.0, 8.0
"""Supply current of an amplifier over the current of one input transistor: five transistors, and
two stages."""


def current_ratio(
    amplifier: Amplifier,
    *,
    bandwidth: float | None = None,
    slew: float | None = None,
    noise: float | None = None,
) -> float:
    """Supply current of an amplifier with other properties, over that of this one.

    The largest of three demands, each in proportion to the current of a stage that is biased
    otherwise but has the same load and g_m / I_D: gain-bandwidth (g_m / C), slew rate (I / C) and
    squared noise density (1 / g_m). What isn't given, or what this amplifier lacks, demands
    nothing.

    Args:
        amplifier: the amplifier.
        bandwidth: the other's gain-bandwidth, in hertz.
        slew: its slew rate, in V/s.
        noise: its input noise, in V per root hertz.
    """
    demands = []
    if bandwidth is not None and amplifier.gain_bandwidth is not None:
        demands.append(bandwidth / amplifier.gain_bandwidth)
    if slew is not None and amplifier.slew_rate is not None:
        demands.append(slew / amplifier.slew_rate)
    if noise is not None and amplifier.noise is not None:
        demands.append((amplifier.noise / noise) ** 2)
    return max(demands, default=1.0)


def with_bandwidth(card: Card, gain_bandwidth: float, *, current: bool = False) -> Card:
    """The card with an amplifier that is slower or faster as a whole.

    The second pole and the slew rate keep their ratio to the gain-bandwidth, as in an amplifier
    that is biased with another current. What the design derives from the bandwidth (the
    compensation capacitors) follows when a chip is made.

    Args:
        card: the card.
        gain_bandwidth: the new gain-bandwidth, > 0, in hertz.
        current: whether the supply current follows (`current_ratio`).

    Raises:
        UserError: the card's amplifier is infinitely fast, or the new bandwidth isn't positive.
    """
    a = card.amplifier
    if a.gain_bandwidth is None:
        raise UserError(
            "[amplifier] gain_bandwidth: the card has none, so its amplifier is infinitely fast "
            "and can't be scaled"
        )
    if not (math.isfinite(gain_bandwidth) and gain_bandwidth > 0):
        raise UserError(f"gain-bandwidth {gain_bandwidth} Hz must be a finite number above 0")
    ratio = gain_bandwidth / a.gain_bandwidth
    idle = current_ratio(a, bandwidth=gain_bandwidth) if current else 1.0
    return card.replace(
        "amplifier",
        gain_bandwidth=gain_bandwidth,
        second_pole=None if a.second_pole is None else ratio * a.second_pole,
        slew_rate=None if a.slew_rate is None else ratio * a.slew_rate,
        quiescent_current=idle * a.quiescent_current,
    )


def with_supply(card: Card, supply: float) -> Card:
    """The card at another supply voltage.

    An amplifier's output keeps the distance from the rails that it has. What else follows the
    supply, such as a current that is biased by a resistor, a card doesn't know.

    Args:
        card: the card.
        supply: magnitude of either supply, in volts.

    Raises:
        UserError: a supply that leaves an amplifier's output nothing.
    """
    a = card.amplifier
    saturation = None if a.saturation is None else a.saturation + supply - a.supply
    if saturation is not None and saturation <= 0:
        raise UserError(
            f"supply = {supply:g} V: the amplifiers of {card.card.name} keep "
            f"{a.supply - (a.saturation or 0.0):g} V from either rail, so that nothing is left"
        )
    return card.replace("amplifier", supply=supply, saturation=saturation)


def with_temperature(card: Card, celsius: float) -> Card:
    """The card at another temperature: scale and current of the tanh cells, which follow it most.

    The relative drift is taken to be the same at all temperatures. Amplifiers and
    noise keep what the card says of them: a card characterised at that temperature has theirs.

    Args:
        card: the card; one that has no drift stays as it is.
        celsius: temperature, in degrees Celsius.

    Raises:
        UserError: a temperature at which no card may have what comes of it.
    """
    t, kelvins = card.tanh, celsius - ABSOLUTE_ZERO
    warmer = kelvins - (t.reference or ROOM)
    if warmer == 0 or not (t.scale_drift or t.current_drift):
        return card
    scale, current = (math.exp((k or 0.0) * warmer) for k in (t.scale_drift, t.current_drift))
    return card.replace(
        "tanh",
        scale=card.tanh_scale * scale,
        peak_current=card.tanh_current * current,
        reference=kelvins,
    )


def current_band(amplifier: Amplifier) -> tuple[float, float] | None:
    """Least and most supply current of well designed amplifiers of this bandwidth, in amperes.

    I_D = 2 pi GBW C / (g_m / I_D), and the amplifier takes k I_D: g_m / I_D from `EFFICIENCY`, k
    from `BRANCHES`.

    Returns:
        None where the amplifier lacks the gain-bandwidth or the capacitance of the pole.
    """
    if amplifier.gain_bandwidth is None or amplifier.pole_capacitance is None:
        return None
    g_m = 2 * math.pi * amplifier.gain_bandwidth * amplifier.pole_capacitance
    least, most = (k * g_m / e for k, e in zip(BRANCHES, reversed(EFFICIENCY), strict=True))
    return least, most
