"""What learning costs on a chip: time, energy and area."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.cost.bandwidth import AtBandwidth, against_bandwidth
    from analogdfc.cost.estimate import Estimate, energy_band, ideal_update, update_angle
    from analogdfc.cost.figures import estimate_figure
    from analogdfc.cost.sweep import Parameter, Point, parameters, varied
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.cost.bandwidth": ("AtBandwidth", "against_bandwidth"),
            "analogdfc.cost.estimate": (
                "Estimate",
                "energy_band",
                "ideal_update",
                "update_angle",
            ),
            "analogdfc.cost.figures": ("estimate_figure",),
            "analogdfc.cost.sweep": (
                "Parameter",
                "Point",
                "parameters",
                "varied",
            ),
        },
    )

__all__ = [
    "AtBandwidth",
    "Estimate",
    "Parameter",
    "Point",
    "against_bandwidth",
    "energy_band",
    "estimate_figure",
    "ideal_update",
    "parameters",
    "update_angle",
    "varied",
]
