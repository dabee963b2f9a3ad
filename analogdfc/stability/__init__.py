"""How far the control loop of a chip is from oscillating: by its equations, and by its netlist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.stability.figure import bode_figure
    from analogdfc.stability.found import SampleLoop, Stability, stability_of
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.stability.figure": ("bode_figure",),
            "analogdfc.stability.found": ("SampleLoop", "Stability", "stability_of"),
        },
    )

__all__ = ["SampleLoop", "Stability", "bode_figure", "stability_of"]
