"""Cards: TOML files of technologies, devices and digital machines, with unit and source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.cards.base import BaseCard, find
    from analogdfc.cards.device import DeviceCard, builtin_device_cards
    from analogdfc.cards.technology import IMPERFECTIONS, Card, builtin_cards
    from analogdfc.cards.technology_sections import Wire
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.cards.base": (
                "BaseCard",
                "find",
            ),
            "analogdfc.cards.device": (
                "DeviceCard",
                "builtin_device_cards",
            ),
            "analogdfc.cards.technology": (
                "IMPERFECTIONS",
                "Card",
                "builtin_cards",
            ),
            "analogdfc.cards.technology_sections": ("Wire",),
        },
    )

__all__ = [
    "IMPERFECTIONS",
    "BaseCard",
    "Card",
    "DeviceCard",
    "Wire",
    "builtin_cards",
    "builtin_device_cards",
    "find",
]
