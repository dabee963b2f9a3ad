"""Arrays of devices: mapping, converters, layers of a network on them, pulsed updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.arrays.array import AnalogArray
    from analogdfc.arrays.converters import ADC, DAC, Converter
    from analogdfc.arrays.layers import AnalogNetwork, analog
    from analogdfc.arrays.mapping import Cell, Layout, Mapping, Scale, Scheme, Slicing
    from analogdfc.arrays.optimizer import PulsedUpdate
    from analogdfc.arrays.product_error import CrossbarError, Product
    from analogdfc.arrays.rounding import (
        Coincidence,
        Deterministic,
        DeterministicCoincidence,
        MixedPrecision,
        Rounding,
        Stochastic,
    )
    from analogdfc.arrays.writers import (
        Counts,
        IdealWriter,
        PulseWriter,
        ReprogramWriter,
        Writer,
    )
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.arrays.array": ("AnalogArray",),
            "analogdfc.arrays.converters": (
                "ADC",
                "Converter",
                "DAC",
            ),
            "analogdfc.arrays.layers": (
                "AnalogNetwork",
                "analog",
            ),
            "analogdfc.arrays.mapping": (
                "Cell",
                "Layout",
                "Mapping",
                "Scale",
                "Scheme",
                "Slicing",
            ),
            "analogdfc.arrays.optimizer": ("PulsedUpdate",),
            "analogdfc.arrays.product_error": (
                "CrossbarError",
                "Product",
            ),
            "analogdfc.arrays.rounding": (
                "Coincidence",
                "Deterministic",
                "DeterministicCoincidence",
                "MixedPrecision",
                "Rounding",
                "Stochastic",
            ),
            "analogdfc.arrays.writers": (
                "Counts",
                "IdealWriter",
                "PulseWriter",
                "ReprogramWriter",
                "Writer",
            ),
        },
    )

__all__ = [
    "ADC",
    "DAC",
    "AnalogArray",
    "AnalogNetwork",
    "Cell",
    "Coincidence",
    "Converter",
    "Counts",
    "CrossbarError",
    "Deterministic",
    "DeterministicCoincidence",
    "IdealWriter",
    "Layout",
    "Mapping",
    "MixedPrecision",
    "Product",
    "PulseWriter",
    "PulsedUpdate",
    "ReprogramWriter",
    "Rounding",
    "Scale",
    "Scheme",
    "Slicing",
    "Stochastic",
    "Writer",
    "analog",
]
