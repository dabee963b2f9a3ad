"""Designs, chips, the circuit, and its realisations in PyTorch."""

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design, Readout

__all__ = [
    "Behavioural",
    "Chip",
    "Design",
    "Readout",
    "Rung",
]
