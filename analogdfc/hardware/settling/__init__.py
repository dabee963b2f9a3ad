"""Settling of a chip's control loop: its modes, its margins, and what limits it."""

from analogdfc.hardware.settling.limits import (
    BANDWIDTH,
    FEEDBACK,
    K_P,
    PARAMETERS,
    TAU_U,
    TAU_V,
    WIRES,
)
from analogdfc.hardware.settling.modes import Spectrum
from analogdfc.hardware.settling.prediction import Observed, Settling, observed, predict
from analogdfc.hardware.settling.rational import Modal, poles
from analogdfc.hardware.settling.terminals import Crossbars
from analogdfc.hardware.settling.transfer import LoopTransfer, OperatingPoint

__all__ = [
    "BANDWIDTH",
    "FEEDBACK",
    "K_P",
    "PARAMETERS",
    "TAU_U",
    "TAU_V",
    "WIRES",
    "Crossbars",
    "LoopTransfer",
    "Modal",
    "Observed",
    "OperatingPoint",
    "Settling",
    "Spectrum",
    "observed",
    "poles",
    "predict",
]
