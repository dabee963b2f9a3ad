"""The cheapest circuit whose weight update keeps an angle to the ideal one."""

from analogdfc.estimation.sizing.figure import sizing_figure
from analogdfc.estimation.sizing.finding import Options, Sizing, Verification, size, verify
from analogdfc.estimation.sizing.specification import (
    REQUIREMENTS,
    Requirement,
    parse_fixed,
    parse_ranges,
)
from analogdfc.estimation.sizing.trial import Outcome, Problem

__all__ = [
    "REQUIREMENTS",
    "Options",
    "Outcome",
    "Problem",
    "Requirement",
    "Sizing",
    "Verification",
    "parse_fixed",
    "parse_ranges",
    "size",
    "sizing_figure",
    "verify",
]
