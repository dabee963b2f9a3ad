"""Whether chips in SPICE and in the model have the same median angle, as far as so many show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, quantile_test

__all__ = ["Median", "Medians"]

CONFIDENCE = 0.95


class Median(NamedTuple):
    """A median with its confidence interval.

    Attributes:
        value: of the sample.
        low: lower end of the 95 % confidence interval, by order statistics: it holds whatever the
            distribution. nan where the sample is too small to have one.
        high: upper end.
        chips: how many.
    """

    value: float
    low: float
    high: float
    chips: int

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Median:
        """Of a sample.

        Args:
            values: (chips,), one or more.
        """
        low, high = np.array(quantile_test(values, p=0.5).confidence_interval(CONFIDENCE))
        middle = float(np.quantile(values, 0.5, method="inverted_cdf"))
        return cls(middle, float(low), float(high), len(values))

    def __str__(self) -> str:
        """For people: '2.06 degrees (1.8 to 2.4)'."""
        if np.isnan(self.low) or np.isnan(self.high):
            return f"{self.value:.3g} degrees"
        return f"{self.value:.3g} degrees ({self.low:.3g} to {self.high:.3g})"

    def numbers(self) -> dict[str, float]:
        """They with units in the names."""
        return {
            "median_degree": self.value,
            "median_95_percent_low_degree": self.low,
            "median_95_percent_high_degree": self.high,
        }


class Medians(NamedTuple):
    """Chips in SPICE beside chips in the model.

    Attributes:
        circuits: median angle in SPICE, in degrees.
        model: the same in the model.
        chance: probability of two samples as different as these, had both the same distribution
            (Mann and Whitney, two-sided).
    """

    circuits: Median
    model: Median
    chance: float

    @classmethod
    def of(cls, circuits: NDArray[np.float64], model: NDArray[np.float64]) -> Medians:
        """Of two samples of angles.

        Args:
            circuits: in SPICE, (chips,), in degrees.
            model: in the model, (chips,), in degrees.
        """
        chance = float(mannwhitneyu(circuits, model).pvalue)
        return cls(Median.of(circuits), Median.of(model), chance)

    @property
    def agree(self) -> bool:
        """Whether they differ by no more than so many chips may by chance, one time in twenty."""
        return self.chance >= 1 - CONFIDENCE
