"""What follows from a chip's circuit: settling, stability, noise, energy, area."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.analysis.area import AreaEstimate
    from analogdfc.analysis.energy import COMPONENTS, Energy, Metered, closed_form, measure
    from analogdfc.analysis.noise import (
        ReadingNoise,
        SomaNoise,
        noise_norm,
        reading_sigma,
        soma_noise,
    )
    from analogdfc.analysis.settling import (
        LoopTransfer,
        Observed,
        Settling,
        Spectrum,
        observed,
        predict,
    )
    from analogdfc.analysis.spectra import Bands, LinearNoise
    from analogdfc.analysis.stability import critical_bandwidth, growth_rate, slowest_mode
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.analysis.area": ("AreaEstimate",),
            "analogdfc.analysis.energy": (
                "COMPONENTS",
                "Energy",
                "Metered",
                "closed_form",
                "measure",
            ),
            "analogdfc.analysis.noise": (
                "ReadingNoise",
                "SomaNoise",
                "noise_norm",
                "reading_sigma",
                "soma_noise",
            ),
            "analogdfc.analysis.settling": (
                "LoopTransfer",
                "Observed",
                "Settling",
                "Spectrum",
                "observed",
                "predict",
            ),
            "analogdfc.analysis.spectra": ("Bands", "LinearNoise"),
            "analogdfc.analysis.stability": (
                "critical_bandwidth",
                "growth_rate",
                "slowest_mode",
            ),
        },
    )

__all__ = [
    "COMPONENTS",
    "AreaEstimate",
    "Bands",
    "Energy",
    "LinearNoise",
    "LoopTransfer",
    "Metered",
    "Observed",
    "ReadingNoise",
    "Settling",
    "SomaNoise",
    "Spectrum",
    "closed_form",
    "critical_bandwidth",
    "growth_rate",
    "measure",
    "noise_norm",
    "observed",
    "predict",
    "reading_sigma",
    "slowest_mode",
    "soma_noise",
]
