"""What many chips say: the share that keeps a bound, and what goes with a large angle."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, spearmanr

from analogdfc.errors import UserError
from analogdfc.montecarlo.chips import Chips
from analogdfc.montecarlo.circuits import Circuits
from analogdfc.montecarlo.medians import CONFIDENCE, Medians
from analogdfc.records import Tree
from analogdfc.study import Condition

__all__ = ["Correlation", "Yield"]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_FEWEST = 4
"""Chips with fewer of which a rank correlation says nothing."""


class Correlation(NamedTuple):
    """How the angle goes with something that chips drew.

    Attributes:
        name: what they drew; see `drawn_by`.
        rank: Spearman's rank correlation, -1 to 1.
        chance: probability of one as large as this of any of all that was drawn, had none of it to
            do with the angle (Bonferroni).
    """

    name: str
    rank: float
    chance: float


@dataclass(frozen=True)
class Yield:
    """Chips against a bound.

    Attributes:
        chips: the chips.
        max_angle: the bound on the angle of the whole update, in degrees.
        together: chips that were integrated together.
        circuits: some of them as circuits.
        condition: where they work.

    Raises:
        UserError: a bound that isn't positive.
    """

    chips: Chips
    max_angle: float
    together: int
    circuits: Circuits = field(default_factory=lambda: Circuits({}, {}))
    condition: Condition = field(default_factory=Condition)

    def __post_init__(self) -> None:
        if not self.max_angle > 0:
            raise UserError(f"max_angle = {self.max_angle} degrees: it must be > 0")

    @property
    def angles(self) -> NDArray[np.float64]:
        """Angles of the whole update, in degrees, inf for a chip without a result; (chips,)."""
        whole = self.chips.angles["all"]
        return np.where(np.isnan(whole), np.inf, whole)

    @property
    def within(self) -> int:
        """How many chips keep the bound; one without a result doesn't."""
        return int((self.angles <= self.max_angle).sum())

    @property
    def share(self) -> float:
        """Part of the chips that keeps the bound."""
        return self.within / len(self.angles)

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % confidence interval of that part (Wilson's)."""
        test = binomtest(self.within, len(self.angles))
        low, high = test.proportion_ci(CONFIDENCE, method="wilson")
        return float(low), float(high)

    def quantiles(self) -> dict[float, float]:
        """Quantiles of the whole update's angle, in degrees, by the part of chips below."""
        # Of the sample itself: nothing lies between a chip and one without a result.
        found = np.quantile(self.angles, _QUANTILES, method="inverted_cdf")
        return dict(zip(_QUANTILES, map(float, found), strict=True))

    @cached_property
    def medians(self) -> Medians | None:
        """Median angles in SPICE and in the model; None where no chip was a circuit."""
        angles = [*self.circuits.angles.values(), *(np.inf for _ in self.circuits.failed)]
        return Medians.of(np.array(angles), self.angles) if angles else None

    @cached_property
    def correlations(self) -> tuple[Correlation, ...]:
        """How the angle goes with what was drawn, the strongest first; none of too few chips."""
        angles = self.angles
        drawn = {name: v for name, v in self.chips.drawn.items() if len(set(v.tolist())) > 1}
        if len(angles) < _FEWEST or len(set(angles.tolist())) == 1:
            return ()
        found = []
        for name, values in drawn.items():
            rank, chance = spearmanr(angles, values)
            found.append(Correlation(name, float(rank), min(1.0, float(chance) * len(drawn))))
        return tuple(sorted(found, key=lambda c: (-abs(c.rank), c.name)))

    def numbers(self) -> dict[str, Any]:
        """The results, with units in the names."""
        angles, (low, high) = self.angles, self.interval
        out: dict[str, Any] = {
            "chips": len(angles),
            "first_chip_seed": self.chips.seeds[0],
            "chips_together": self.together,
            "max_angle_degree": self.max_angle,
            "chips_within": self.within,
            "yield_percent": 100 * self.share,
            "yield_95_percent_interval": {"low_percent": 100 * low, "high_percent": 100 * high},
            "angle_degree": {
                "least": float(angles.min()),
                **{f"quantile {100 * q:g} %": value for q, value in self.quantiles().items()},
                "largest": float(angles.max()),
            },
            "median_angle_of_layers_degree": {
                name: float(np.median(known))
                for name, values in self.chips.angles.items()
                if name != "all" and len(known := values[~np.isnan(values)])
            },
            "goes_with_the_angle": {
                c.name: {"rank_correlation": c.rank, "chance": c.chance} for c in self.correlations
            },
        }
        if self.chips.failed:
            out["without_a_result"] = {f"chip {s}": w for s, w in self.chips.failed.items()}
        if self.medians is not None:
            out[f"ngspice_{self.circuits.fidelity}"] = self._circuits()
            out["medians"] = {
                "ngspice": self.medians.circuits.numbers(),
                "behavioural": self.medians.model.numbers(),
                "chance": self.medians.chance,
            }
        return out

    def tree(self) -> Tree:
        """The chips, and the circuits where there are any, as branches of a record."""
        some = {"circuits": self.circuits.tree()} if self.medians is not None else {}
        return {"chips": self.chips.tree(), **some}

    def _circuits(self) -> dict[str, dict[str, Any]]:
        """Chips as circuits, by name."""
        found: dict[str, dict[str, Any]] = {}
        for seed, angle in self.circuits.angles.items():
            same = {} if self.circuits.drawn else {"behavioural_degree": self.of(seed)}
            found[f"chip {seed}"] = {"angle_degree": angle, **same}
        for seed, why in self.circuits.failed.items():
            found[f"chip {seed}"] = {"without_a_result": why}
        return found

    def of(self, seed: int) -> float:
        """Angle of a chip in the behavioural model, in degrees.

        Args:
            seed: of the chip, one of them.
        """
        return float(self.angles[self.chips.seeds.index(seed)])
