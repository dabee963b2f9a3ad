"""Models of a programmable conductance, each off by default, in SI units.

A `DeviceModel` puts them together: `model.program(target, generator)` gives `Programmed` devices,
which are read at any time and moved by pulses.
"""

from analogdfc.hardware.devices.ageing import (
    Ageing,
    Measured,
    PowerLawDrift,
    Relaxation,
    Retention,
    Snapshot,
    Temperature,
    arrhenius,
)
from analogdfc.hardware.devices.curves import FORMS, Curve, Piece
from analogdfc.hardware.devices.faults import Faults, Spread, Stuck, StuckCell, stuck_cells
from analogdfc.hardware.devices.model import IMPERFECTIONS, DeviceModel, Population, Programmed
from analogdfc.hardware.devices.noise import ReadNoise
from analogdfc.hardware.devices.programming import OneShot, Programming, WriteVerify, Written
from analogdfc.hardware.devices.pulses import (
    Exponential,
    Law,
    LinearStep,
    PulsedDevices,
    Pulses,
    SoftBounds,
)
from analogdfc.hardware.devices.telegraph import RandomTelegraph, TelegraphState
from analogdfc.hardware.devices.window import Window

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
