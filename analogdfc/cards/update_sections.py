"""Sections of a technology card about the update path: holds, and what forms the product."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from analogdfc.cards.entries import (
    Ampere,
    Farad,
    Fraction,
    Joule,
    Kelvin,
    Levels,
    Second,
    Section,
    SquareMetre,
    Volt,
    si,
)

Charge = Annotated[float, BeforeValidator(si("C")), Field(gt=0, le=1e-9)]
Share = Annotated[float, BeforeValidator(si("1")), Field(gt=0, le=1)]
Slots = Annotated[float, BeforeValidator(si("1")), Field(ge=1, le=1024, multiple_of=1)]


class Hold(Section):
    """Section [hold]: the track-and-holds of the update path; what is left out is ideal.

    The loop's own, of the output in the free phase and of the controller's auto-zero, are ideal.

    Attributes:
        capacitor: that keeps the value; what the next three need.
        droop: current that discharges it while it holds, so that the value falls by I t / C; none
            by default.
        injection: charge that the opening switch takes off it; none by default.
        temperature: gives every held value the noise kT / C; none by default.
        acquisition: time in which a held value follows a step to 0.1 %; none by default.
        spread: relative standard deviation of droop and injection; none by default.
        supply_current: supply current of one with its buffer; unknown by default, as area.
        area: of one with its capacitor and buffer.
    """

    capacitor: Farad | None = None
    droop: Ampere | None = None
    injection: Charge | None = None
    temperature: Kelvin | None = None
    acquisition: Second | None = None
    spread: Share | None = None
    supply_current: Ampere | None = None
    area: SquareMetre | None = None


class Pulses(Section):
    """Section [pulses]: coincidence pulses on rows and columns, straight into the devices.

    A row has one pulse, as long as its activation is large; a column has one in each of the slots,
    as long as its difference is large. The time in which both have theirs is the product.

    Attributes:
        span: of the whole, and so of a row's longest pulse.
        slots: pulses of a column; by default so many that the product is exact.
        largest_difference: voltage of a held difference whose pulse fills a slot; clipped beyond.
        largest_activation: voltage of a held activation whose pulse fills the whole; the same.
        offset: standard deviation of a comparator's input offset; none by default.
        gain_error: relative standard deviation of a pulse's length; none by default.
        noise: rms noise at a comparator's input, of one update; none by default.
        swing: of a pulse, half of what a device has while both coincide; unknown by default, as
            the next three.
        line: capacitance of a row's or a column's line that a pulse charges.
        supply_current: supply current of a comparator pair with its ramp while pulses are made.
        area: of one with its driver.
    """

    span: Second | None = None
    slots: Slots | None = None
    largest_difference: Volt | None = None
    largest_activation: Volt | None = None
    offset: Volt | None = None
    gain_error: Fraction | None = None
    noise: Volt | None = None
    swing: Volt | None = None
    line: Farad | None = None
    supply_current: Ampere | None = None
    area: SquareMetre | None = None


class Multiplier(Section):
    """Section [multiplier]: an analog multiplier and a converter a column, row by row.

    Attributes:
        row_time: of one row: the multiplier settles, the converter samples at its end.
        settling: time constant of a multiplier, so that a row leaves a part to the next; none by
            default.
        largest_difference: largest voltage of a held difference, which is the converter's range.
        largest_activation: voltage of a held activation that multiplies by 1.
        codes: of the converter, over both signs; any by default.
        offset: standard deviation of the offset of either input of a multiplier; none by default.
        gain_error: relative standard deviation of its gain; none by default.
        noise: rms noise of a product at the converter; none by default.
        supply_current: of a multiplier while it works; unknown by default, as the rest.
        conversion: energy of one conversion.
        area: of a multiplier.
        converter_area: of a converter.
    """

    row_time: Second | None = None
    settling: Second | None = None
    largest_difference: Volt | None = None
    largest_activation: Volt | None = None
    codes: Levels | None = None
    offset: Volt | None = None
    gain_error: Fraction | None = None
    noise: Volt | None = None
    supply_current: Ampere | None = None
    conversion: Joule | None = None
    area: SquareMetre | None = None
    converter_area: SquareMetre | None = None


class DigitalProduct(Section):
    """Section [digital]: converters on both factors, and a digital product, then write and verify.

    Attributes:
        conversion_time: after which all factors are converted.
        largest_difference: largest voltage of a held difference that is converted.
        largest_activation: the same of a held activation.
        codes: of a converter, over both signs; any by default.
        offset: standard deviation of a converter's offset; none by default.
        gain_error: relative standard deviation of its gain; none by default.
        noise: rms noise of a conversion; none by default.
        product_time: of one product; the columns of a row are formed at a time.
        conversion: energy of one conversion; unknown by default, as the rest.
        product: energy of one digital product.
        verify: energy of one look at a device after a pulse that writes it; unknown by default.
        area: of a converter.
        product_area: of the arithmetic of one column.
    """

    conversion_time: Second | None = None
    largest_difference: Volt | None = None
    largest_activation: Volt | None = None
    codes: Levels | None = None
    offset: Volt | None = None
    gain_error: Fraction | None = None
    noise: Volt | None = None
    product_time: Second | None = None
    conversion: Joule | None = None
    product: Joule | None = None
    verify: Joule | None = None
    area: SquareMetre | None = None
    product_area: SquareMetre | None = None


UPDATE_KINDS: dict[str, str] = {
    "pulses": "span",
    "multiplier": "row_time",
    "digital": "conversion_time",
}
"""Sections that form the outer product, with the key that a card must give where it has one."""

UPDATE_IMPERFECTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "update path": tuple(UPDATE_KINDS.items()),
    "hold droop": (("hold", "droop"),),
    "hold injection": (("hold", "injection"),),
    "hold noise kT/C": (("hold", "temperature"),),
    "hold acquisition": (("hold", "acquisition"),),
    "update offset": tuple((name, "offset") for name in UPDATE_KINDS),
    "update gain error": tuple((name, "gain_error") for name in UPDATE_KINDS),
    "update noise": tuple((name, "noise") for name in UPDATE_KINDS),
    "update resolution": (("pulses", "slots"), ("multiplier", "codes"), ("digital", "codes")),
    "update settling": (("multiplier", "settling"),),
}
"""Imperfections of the update path. Without the path itself the update is the ideal average over
the run."""

UPDATE_NONE_AT_0 = frozenset(
    key
    for name, keys in UPDATE_IMPERFECTIONS.items()
    if name not in ("update path", "update resolution")
    for key in keys
) | {("hold", "spread")}
"""Keys whose 0 is what leaving them out is."""
