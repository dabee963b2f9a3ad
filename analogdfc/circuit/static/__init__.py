"""The static model of a chip: every amplifier at rest, folded into an ideal loop."""

from analogdfc.circuit.static.chip import StaticChip
from analogdfc.circuit.static.crossbar import Coupling, coupling
from analogdfc.circuit.static.state import StaticState, must_move

__all__ = ["Coupling", "StaticChip", "StaticState", "coupling", "must_move"]
