"""The cheapest circuit whose weight update keeps an angle, or that learns as well as is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analogdfc.lazy import hand_out

if TYPE_CHECKING:
    from analogdfc.sizing.figure import sizing_figure
    from analogdfc.sizing.finding import Options, Sizing, Verification, size, verify
    from analogdfc.sizing.lesson import Lesson
    from analogdfc.sizing.specification import REQUIREMENTS, Requirement, parse_fixed, parse_ranges
    from analogdfc.sizing.teaching import Education, teach
    from analogdfc.sizing.trial import Outcome, Problem
else:
    __getattr__, __dir__ = hand_out(
        __name__,
        {
            "analogdfc.sizing.figure": ("sizing_figure",),
            "analogdfc.sizing.finding": (
                "Options",
                "Sizing",
                "Verification",
                "size",
                "verify",
            ),
            "analogdfc.sizing.lesson": ("Lesson",),
            "analogdfc.sizing.specification": (
                "REQUIREMENTS",
                "Requirement",
                "parse_fixed",
                "parse_ranges",
            ),
            "analogdfc.sizing.teaching": (
                "Education",
                "teach",
            ),
            "analogdfc.sizing.trial": (
                "Outcome",
                "Problem",
            ),
        },
    )

__all__ = [
    "REQUIREMENTS",
    "Education",
    "Lesson",
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
    "teach",
    "verify",
]
