"""What an update path takes: energy, time and area, from the card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analogdfc.cards.technology import Card
from analogdfc.updating.elements import LayerPath, UpdatePath

HOLDS = "update, track-and-holds"
MODULATORS = "update, pulses"
MULTIPLIERS = "update, multipliers"
CONVERSIONS = "update, converters"
PRODUCTS = "update, digital products"
VERIFIES = "update, looks at what was written"
PATH = "update path"
"""What is unknown where a card doesn't describe an update path."""

UPDATE_COMPONENTS = (HOLDS, MODULATORS, MULTIPLIERS, CONVERSIONS, PRODUCTS, VERIFIES)
"""Items of an update path, in the order of a table."""

_MISSING = "[hold], and [pulses], [multiplier] or [digital]"

Item = tuple[str, str, float | None, str]
"""Component, part, value, and the key that the card lacks where the value is None."""


def no_path() -> dict[str, str]:
    """What is unknown without an update path."""
    return {PATH: f"the card describes none, in sections {_MISSING}"}


def energy_items(path: UpdatePath, phase: float) -> Iterator[Item]:
    """Energy of one update, item by item, in joules.

    Holds are supplied from the release to the end of the product, what forms it for as long as
    that takes. A line that is charged to a pulse's voltage and back takes that charge twice from a
    supply.

    Args:
        path: the update path.
        phase: length of the controlled phase, in seconds.
    """
    card = path.card
    span, volts = path.seconds, 2 * card.amplifier.supply
    for layer, rows in zip(path.layers, path.inputs, strict=True):
        part, n = layer.post.part, layer.post.size
        held = sum(hold.size for hold in layer.holds)
        amperes = card.hold.supply_current
        joules = None if amperes is None else held * volts * amperes * (phase + span)
        yield HOLDS, part, joules, "[hold] supply_current"
        if path.kind == "pulses":
            yield from _pulses(path, part, n, rows, volts)
        elif path.kind == "multiplier":
            amperes, each = card.multiplier.supply_current, card.multiplier.conversion
            joules = None if amperes is None else n * volts * amperes * span
            yield MULTIPLIERS, part, joules, "[multiplier] supply_current"
            joules = None if each is None else n * rows * each
            yield CONVERSIONS, part, joules, "[multiplier] conversion"
        else:
            each, product = card.digital.conversion, card.digital.product
            # The bias is no conversion; the inputs come from converters.
            count = n + (0 if layer.pre is None else layer.pre.size)
            yield CONVERSIONS, part, None if each is None else count * each, "[digital] conversion"
            joules = None if product is None else n * rows * product
            yield PRODUCTS, part, joules, "[digital] product"


def _pulses(path: UpdatePath, part: str, n: int, rows: int, volts: float) -> Iterator[Item]:
    pulses = path.card.pulses
    amperes, swing, line = pulses.supply_current, pulses.swing, pulses.line
    if amperes is None or swing is None or line is None:
        lacks = [k for k in ("supply_current", "swing", "line") if getattr(pulses, k) is None]
        yield MODULATORS, part, None, f"[pulses] {' and '.join(lacks)}"
        return
    pulsed = n * (pulses.slots or 1) + rows
    idle = (n + rows) * volts * amperes * path.seconds
    yield MODULATORS, part, idle + pulsed * volts * line * swing, ""


def verify_items(card: Card, pulses: Sequence[float] | None) -> Iterator[Item]:
    """Energy of the looks at devices after their pulses, one each; only after a digital product.

    Args:
        card: the technology.
        pulses: of a sample, on the devices of layers 1..L; None where they aren't known.
    """
    if card.update_path != "digital":
        return
    each = card.digital.verify
    for i, count in enumerate([None] if pulses is None else pulses, start=1):
        joules = None if each is None or count is None else count * each
        lacks = "the number of pulses is" if each is not None else "[digital] verify"
        yield VERIFIES, f"layer {i}", joules, lacks


def area_items(path: UpdatePath) -> Iterator[Item]:
    """Area of an update path, item by item, in square metres.

    Args:
        path: the update path.
    """
    card = path.card
    for layer, rows in zip(path.layers, path.inputs, strict=True):
        part = layer.post.part
        held = sum(hold.size for hold in layer.holds)
        yield HOLDS, part, _times(held, card.hold.area), "[hold] area"
        yield from _areas(path, layer, part, rows)


def _areas(path: UpdatePath, layer: LayerPath, part: str, rows: int) -> Iterator[Item]:
    card, n = path.card, layer.post.size
    if path.kind == "pulses":
        yield MODULATORS, part, _times(n + rows, card.pulses.area), "[pulses] area"
    elif path.kind == "multiplier":
        yield MULTIPLIERS, part, _times(n, card.multiplier.area), "[multiplier] area"
        each = card.multiplier.converter_area
        yield CONVERSIONS, part, _times(n, each), "[multiplier] converter_area"
    else:
        converters = n + (0 if layer.pre is None else layer.pre.size)
        yield CONVERSIONS, part, _times(converters, card.digital.area), "[digital] area"
        yield PRODUCTS, part, _times(n, card.digital.product_area), "[digital] product_area"


def _times(count: int, each: float | None) -> float | None:
    return None if each is None else count * each
