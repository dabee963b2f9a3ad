"""Cards: TOML files of technologies, devices and digital machines, with unit and source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.cards.device import DeviceCard, builtin_device_cards
    from analogdfc.cards.technology import Card, builtin_cards
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.cards.device": (
                "DeviceCard",
                "builtin_device_cards",
            ),
            "analogdfc.cards.technology": (
                "Card",
                "builtin_cards",
            ),
        },
    )

__all__ = [
    "Card",
    "DeviceCard",
    "builtin_cards",
    "builtin_device_cards",
]
