"""Many chips of one design: how many of them keep a bound on the angle of their update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.montecarlo.chips import Chips, drawn_by, try_chips
    from analogdfc.montecarlo.circuits import Circuits, circuit_work, try_circuits
    from analogdfc.montecarlo.figure import yield_figure
    from analogdfc.montecarlo.found import Correlation, Yield
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.montecarlo.chips": ("Chips", "drawn_by", "try_chips"),
            "analogdfc.montecarlo.circuits": ("Circuits", "circuit_work", "try_circuits"),
            "analogdfc.montecarlo.figure": ("yield_figure",),
            "analogdfc.montecarlo.found": ("Correlation", "Yield"),
        },
    )

__all__ = [
    "Chips",
    "Circuits",
    "Correlation",
    "Yield",
    "circuit_work",
    "drawn_by",
    "try_chips",
    "try_circuits",
    "yield_figure",
]
