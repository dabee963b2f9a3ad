"""What the numbers of a technology card say together: contradictions, and what is unusual."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from analogdfc.cards.update_sections import UPDATE_KINDS
from analogdfc.errors import UserError

if TYPE_CHECKING:
    from analogdfc.cards.technology import Card

__all__ = ["contradictions", "unusual"]

_SLOWEST = 0.03
"""Radians that an amplifier's unity gain must turn in the card's unit of time, to follow at all."""

_NEEDED = 43 / 0.2
"""The same, for a stable loop with the paper's time constants."""


def contradictions(card: Card) -> None:
    """Make sure that there can be a circuit with these numbers.

    Args:
        card: the card.

    Raises:
        UserError: two that can't both hold; the message has both and what is allowed.
    """
    amplifier, scale = card.amplifier, card.scale
    supply = amplifier.supply
    if amplifier.saturation is not None and amplifier.saturation > supply:
        raise UserError(
            f"[amplifier] saturation = {amplifier.saturation:g} V lies beyond supply = {supply:g} "
            "V; an output stays within its supplies"
        )
    if scale.activation >= supply:
        raise UserError(
            f"[scale] activation = {scale.activation:g} V lies beyond [amplifier] supply = "
            f"{supply:g} V; it is the voltage of a neuron's largest output"
        )
    if amplifier.gain_bandwidth is not None:
        turns = 2 * math.pi * amplifier.gain_bandwidth * scale.time
        if turns < _SLOWEST:
            least = _SLOWEST / (2 * math.pi * scale.time)
            raise UserError(
                f"[amplifier] gain_bandwidth = {amplifier.gain_bandwidth:g} Hz is too slow to take "
                f"part in a loop whose [scale] time is {scale.time:g} s; at least {least:.3g} Hz "
                "is needed"
            )

    _check_update(card)
    _check_zeroing(card)


def _check_update(card: Card) -> None:
    """Make sure that there is one update path at most, with all that it needs."""
    given = [n for n in UPDATE_KINDS if getattr(card, n).model_dump(exclude_none=True)]
    if len(given) > 1:
        raise UserError(
            f"sections [{given[0]}] and [{given[1]}] both form the update; a card has one of "
            f"{', '.join(UPDATE_KINDS)}"
        )
    for name in given:
        needed = [UPDATE_KINDS[name], "largest_difference", "largest_activation"]
        if lacks := [key for key in needed if getattr(getattr(card, name), key) is None]:
            raise UserError(f"[{name}] {' and '.join(lacks)}: missing, and an update path needs it")
    hold = card.hold
    needing = [k for k in ("droop", "injection", "temperature") if getattr(hold, k) is not None]
    if needing and hold.capacitor is None:
        raise UserError(f"[hold] {needing[0]} takes effect on a capacitor; give [hold] capacitor")
    if hold.capacitor is not None and (hold.injection or 0.0) > 0.5 * hold.capacitor:
        raise UserError(
            f"[hold] injection = {hold.injection:g} C moves capacitor = {hold.capacitor:g} F by "
            "more than 0.5 V; a hold keeps a value"
        )


def _check_zeroing(card: Card) -> None:
    """Make sure that an auto-zero has what it needs."""
    zero = card.auto_zero
    given = zero.model_dump(exclude_none=True)
    if lacks := [key for key in ("capacitor", "time") if given and key not in given]:
        raise UserError(
            f"[auto_zero] {' and '.join(lacks)}: missing, and an auto-zero needs a capacitor and "
            "the time of its phase"
        )
    if zero.spread is not None and zero.injection is None:
        raise UserError("[auto_zero] spread is that of an injection; give [auto_zero] injection")
    if zero.volts > 0.5 * card.scale.activation:
        raise UserError(
            f"[auto_zero] injection = {zero.injection:g} C moves capacitor = {zero.capacitor:g} F "
            f"by more than half of [scale] activation = {card.scale.activation:g} V"
        )


def unusual(card: Card) -> tuple[str, ...]:
    """What makes a card unlike those that work, a sentence each; none where all is as usual.

    Args:
        card: the card.
    """
    return tuple(_unusual(card))


def _unusual(card: Card) -> Iterator[str]:
    yield from _of_the_amplifier(card)
    yield from _of_resistances(card)
    yield from _of_offsets(card)
    if card.device.g_min > 0.5 * card.device.g_max:
        yield (
            f"[device] g_min = {card.device.g_min:g} S leaves little of the window below g_max = "
            f"{card.device.g_max:g} S"
        )


def _of_the_amplifier(card: Card) -> Iterator[str]:
    """Ranges and speeds of the amplifier that don't fit the scale."""
    amplifier, scale = card.amplifier, card.scale
    if amplifier.saturation is not None and amplifier.saturation < scale.activation:
        yield (
            f"[amplifier] saturation = {amplifier.saturation:g} V is below [scale] activation = "
            f"{scale.activation:g} V: a neuron's largest output is out of reach"
        )
    if amplifier.driven is not None and amplifier.driven < scale.activation:
        yield (
            f"[amplifier] gain = {amplifier.gain:g} and slew_rate = {amplifier.slew_rate:g} V/s "
            f"drive outputs to {amplifier.driven:.3g} V, gain * slew_rate / (2 pi gain_bandwidth), "
            f"below [scale] activation = {scale.activation:g} V: a neuron's largest output is out "
            "of reach"
        )
    if amplifier.gain_bandwidth is not None:
        turns = 2 * math.pi * amplifier.gain_bandwidth * scale.time
        if turns < _NEEDED:
            yield (
                f"[amplifier] gain_bandwidth = {amplifier.gain_bandwidth:g} Hz is slow for [scale] "
                f"time = {scale.time:g} s: the paper's time constants need some "
                f"{_NEEDED / (2 * math.pi * scale.time):.2g} Hz for a stable loop"
            )
        if amplifier.second_pole is not None and amplifier.second_pole < amplifier.gain_bandwidth:
            yield (
                f"[amplifier] second_pole = {amplifier.second_pole:g} Hz is below gain_bandwidth = "
                f"{amplifier.gain_bandwidth:g} Hz: the amplifier rings by itself"
            )
        if amplifier.slew_rate is not None and amplifier.slew_rate * scale.time < scale.activation:
            yield (
                f"[amplifier] slew_rate = {amplifier.slew_rate:g} V/s takes longer than [scale] "
                f"time = {scale.time:g} s to a neuron's largest output of {scale.activation:g} V"
            )


def _of_resistances(card: Card) -> Iterator[str]:
    """Resistances that are large beside what they stand in series with."""
    amplifier, device, passive = card.amplifier, card.device, card.passive
    for name, ohms in (("wire] word", card.wire.word), ("wire] bit", card.wire.bit)):
        if ohms is not None and ohms * device.g_max > 0.1:
            yield (
                f"[{name} = {ohms:g} ohm: one segment has {100 * ohms * device.g_max:.3g} % of the "
                f"resistance of a device at g_max = {device.g_max:g} S"
            )
    if amplifier.output_resistance is not None and (
        amplifier.output_resistance * device.g_max > 0.5
    ):
        yield (
            f"[amplifier] output_resistance = {amplifier.output_resistance:g} ohm: the amplifier "
            f"can't drive a device of g_max = {device.g_max:g} S"
        )
    if passive.r_switch > 0.5 * passive.r_integrator:
        yield (
            f"[passive] r_switch = {passive.r_switch:g} ohm doesn't reset an integrator with "
            f"r_integrator = {passive.r_integrator:g} ohm"
        )


def _of_offsets(card: Card) -> Iterator[str]:
    """Offsets that are large beside the signals, or beside what takes them off."""
    amplifier, scale = card.amplifier, card.scale
    for section, offset in (("amplifier", amplifier.offset), ("tanh", card.tanh.offset)):
        if offset is not None and offset > 0.1 * scale.activation:
            yield (
                f"[{section}] offset = {offset:g} V is {100 * offset / scale.activation:.3g} % of "
                f"[scale] activation = {scale.activation:g} V"
            )
    zero, offset = card.auto_zero, amplifier.offset
    if offset is not None and zero.volts > offset:
        yield (
            f"[auto_zero] injection leaves {zero.volts:g} V, more than the [amplifier] offset = "
            f"{offset:g} V that it takes off"
        )
