"""The static model of a chip: every amplifier at rest, folded into an ideal loop."""

from analogdfc.hardware.static.chip import StaticChip, StaticState
from analogdfc.hardware.static.crossbar import Coupling, coupling

__all__ = ["Coupling", "StaticChip", "StaticState", "coupling"]
