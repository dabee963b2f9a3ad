"""Energy of a chip: what it is made of, from waveforms and in closed form."""

from analogdfc.analysis.energy.closed import closed_form
from analogdfc.analysis.energy.items import COMPONENTS, Energy
from analogdfc.analysis.energy.meter import Metered, measure
from analogdfc.analysis.energy.peripherals import (
    converters,
    pulses_per_update,
    update_path,
    verifies,
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
    "update_path",
    "verifies",
    "weight_steps",
    "writes",
]
