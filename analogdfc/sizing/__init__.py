"""The cheapest circuit whose weight update keeps an angle to the ideal one."""

from analogdfc.sizing.figure import sizing_figure
from analogdfc.sizing.finding import Options, Sizing, Verification, size, verify
from analogdfc.sizing.specification import (
    REQUIREMENTS,
    Requirement,
    parse_fixed,
    parse_ranges,
)
from analogdfc.sizing.trial import Outcome, Problem

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
