"""Technologies, designs, chips, and their behavioural realisation."""

from analogdfc.hardware.amplifiers import Rung
from analogdfc.hardware.behavioural import Behavioural
from analogdfc.hardware.card import IMPERFECTIONS, Card, builtin_cards
from analogdfc.hardware.chip import Chip
from analogdfc.hardware.design import Design, Readout

__all__ = [
    "IMPERFECTIONS",
    "Behavioural",
    "Card",
    "Chip",
    "Design",
    "Readout",
    "Rung",
    "builtin_cards",
]
