"""The registry of learning rules, with those that learn through a chip.

`learning` doesn't know the circuit; who asks for the rules here has imported what registers them.
"""

from analogdfc.learning import RULES, get_rule
from analogdfc.onchip.rule import HardwareDFC

__all__ = ["RULES", "HardwareDFC", "get_rule"]
