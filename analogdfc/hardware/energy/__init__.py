"""Energy of a chip: what it is made of, from waveforms and in closed form."""

from analogdfc.hardware.energy.closed import closed_form
from analogdfc.hardware.energy.items import COMPONENTS, Energy
from analogdfc.hardware.energy.meter import Metered, measure
from analogdfc.hardware.energy.peripherals import (
    converters,
    pulses_per_update,
    weight_steps,
    writes,
)

__all__ = [
    "COMPONENTS",
    "Energy",
    "Metered",
    "closed_form",
    "converters",
    "measure",
    "pulses_per_update",
    "weight_steps",
    "writes",
]
