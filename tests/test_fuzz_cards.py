"""Fuzzed cards: whatever a file says, it is read or refused in one line."""

from __future__ import annotations

from pathlib import Path

from fuzzing import clear, fuzz
from hypothesis import given
from strategies import card_texts, odd_quantities

from analogdfc.cards import BaseCard, Card, DeviceCard
from analogdfc.cards.quantities import quantity
from analogdfc.digital.card import DigitalCard
from analogdfc.errors import UserError

CALIBRATION = Path(__file__).parents[1] / "calibration"


def texts(folder: str) -> list[str]:
    """The cards that come with the package in one folder."""
    return [f.read_text("utf-8") for f in sorted((CALIBRATION / folder).glob("*.toml"))]


def used(card: BaseCard) -> None:
    """What every command asks of a card."""
    assert card.remarks is not None
    assert card.sha256
    assert card.technology
    if isinstance(card, DeviceCard):
        card.model()


@fuzz("technology cards")
@given(card_texts(texts("")))
def test_a_technology_card_is_read_or_refused(text: str) -> None:
    with clear("technology cards", text):
        used(Card.parse(text, "mine.toml"))


@fuzz("device cards")
@given(card_texts(texts("devices")))
def test_a_device_card_is_read_or_refused(text: str) -> None:
    with clear("device cards", text):
        used(DeviceCard.parse(text, "mine.toml"))


@fuzz("digital cards")
@given(card_texts(texts("digital")))
def test_a_digital_card_is_read_or_refused(text: str) -> None:
    with clear("digital cards", text):
        card = DigitalCard.parse(text, "mine.toml")
        used(card)


@fuzz("quantities")
@given(odd_quantities())
def test_a_number_with_a_unit_is_read_or_refused(text: str) -> None:
    with clear("quantities", text):
        try:
            quantity(text, "s")
        except ValueError as error:
            raise UserError(str(error)) from error
