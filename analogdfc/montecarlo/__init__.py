"""Many chips of one design: how many of them keep a bound on the angle of their update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.montecarlo.chips import Chips, drawn_by, try_chips
    from analogdfc.montecarlo.circuits import Circuits, circuit_work, try_circuits
    from analogdfc.montecarlo.figure import conditions_figure, yield_figure
    from analogdfc.montecarlo.found import Correlation, Yield
    from analogdfc.montecarlo.medians import Median, Medians
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.montecarlo.chips": ("Chips", "drawn_by", "try_chips"),
            "analogdfc.montecarlo.circuits": ("Circuits", "circuit_work", "try_circuits"),
            "analogdfc.montecarlo.figure": ("conditions_figure", "yield_figure"),
            "analogdfc.montecarlo.found": ("Correlation", "Yield"),
            "analogdfc.montecarlo.medians": ("Median", "Medians"),
        },
    )

__all__ = [
    "Chips",
    "Circuits",
    "Correlation",
    "Median",
    "Medians",
    "Yield",
    "circuit_work",
    "conditions_figure",
    "drawn_by",
    "try_chips",
    "try_circuits",
    "yield_figure",
]
