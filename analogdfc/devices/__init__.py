"""Models of a programmable conductance, each off by default, in SI units.

A `DeviceModel` puts them together: `model.program(target, generator)` gives `Programmed` devices,
which are read at any time and moved by pulses.
"""

from analogdfc.devices.ageing import (
    Ageing,
    Measured,
    PowerLawDrift,
    Relaxation,
    Retention,
    Snapshot,
    Temperature,
    arrhenius,
)
from analogdfc.devices.curves import FORMS, Curve, Piece
from analogdfc.devices.faults import Faults, Spread, Stuck, StuckCell, stuck_cells
from analogdfc.devices.model import IMPERFECTIONS, DeviceModel, Population, Programmed
from analogdfc.devices.noise import ReadNoise
from analogdfc.devices.programming import OneShot, Programming, WriteVerify, Written
from analogdfc.devices.pulses import (
    Exponential,
    Law,
    LinearStep,
    PulsedDevices,
    Pulses,
    SoftBounds,
)
from analogdfc.devices.telegraph import RandomTelegraph, TelegraphState
from analogdfc.devices.window import Window

__all__ = [
    "FORMS",
    "IMPERFECTIONS",
    "Ageing",
    "Curve",
    "DeviceModel",
    "Exponential",
    "Faults",
    "Law",
    "LinearStep",
    "Measured",
    "OneShot",
    "Piece",
    "Population",
    "PowerLawDrift",
    "Programmed",
    "Programming",
    "PulsedDevices",
    "Pulses",
    "RandomTelegraph",
    "ReadNoise",
    "Relaxation",
    "Retention",
    "Snapshot",
    "SoftBounds",
    "Spread",
    "Stuck",
    "StuckCell",
    "TelegraphState",
    "Temperature",
    "Window",
    "WriteVerify",
    "Written",
    "arrhenius",
    "stuck_cells",
]
