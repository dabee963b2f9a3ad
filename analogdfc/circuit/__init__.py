"""Designs, chips, the circuit, and its realisations in PyTorch."""

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.conductances import Pair, conductances
from analogdfc.circuit.design import Design, Readout
from analogdfc.circuit.devices import Devices

__all__ = [
    "Behavioural",
    "Chip",
    "Design",
    "Devices",
    "Pair",
    "Readout",
    "Rung",
    "conductances",
]
