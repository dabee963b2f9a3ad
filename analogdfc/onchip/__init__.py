"""Training through a chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.onchip.convergence import (
        Convergence,
        Course,
        OnChip,
        converge,
        on_chip,
        on_devices,
    )
    from analogdfc.onchip.figure import convergence_figure
    from analogdfc.onchip.rule import HardwareDFC
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.onchip.convergence": (
                "Convergence",
                "Course",
                "OnChip",
                "converge",
                "on_chip",
                "on_devices",
            ),
            "analogdfc.onchip.figure": ("convergence_figure",),
            "analogdfc.onchip.rule": ("HardwareDFC",),
        },
    )

__all__ = [
    "Convergence",
    "Course",
    "HardwareDFC",
    "OnChip",
    "converge",
    "convergence_figure",
    "on_chip",
    "on_devices",
]
