"""Settling of a chip's control loop: its modes, its margins, and what limits it."""

from analogdfc.analysis.settling.limits import (
    BANDWIDTH,
    FEEDBACK,
    K_P,
    PARAMETERS,
    TAU_U,
    TAU_V,
    WIRES,
)
from analogdfc.analysis.settling.modes import Spectrum
from analogdfc.analysis.settling.prediction import Observed, Settling, observed, predict
from analogdfc.analysis.settling.rational import Modal, poles
from analogdfc.analysis.settling.transfer import LoopTransfer, OperatingPoint

__all__ = [
    "BANDWIDTH",
    "FEEDBACK",
    "K_P",
    "PARAMETERS",
    "TAU_U",
    "TAU_V",
    "WIRES",
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
