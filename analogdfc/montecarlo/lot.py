"""What many chips of one design have in common."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.comparison import UpdateDifference
from analogdfc.dynamics import Trajectory, Update
from analogdfc.states import digest
from analogdfc.study import Study

__all__ = ["Lot"]


class Lot:
    """A study with what all of its chips are measured against.

    Args:
        study: the study.
    """

    def __init__(self, study: Study) -> None:
        # Whoever does a run doesn't keep it.
        self.study = replace(study, spool=None, executor=None)

    def __reduce__(self) -> tuple[type[Lot], tuple[Study]]:
        return Lot, (self.study,)

    @cached_property
    def ideal(self) -> Trajectory:
        """The equations of the paper."""
        return self.study.ideal()

    @cached_property
    def nominal(self) -> Chip:
        """The chip without any mismatch."""
        return Chip.of(self.study.design)

    @cached_property
    def described(self) -> list[object]:
        """All that a run depends on but its chip."""
        study = self.study
        return [study.design.sha256, digest(study.x), digest(study.step), study.dt, study.steps]

    @property
    def layers(self) -> list[str]:
        """Names of the layers, and of the whole, in `angles`."""
        return [*map(str, range(1, self.study.design.depth + 1)), "all"]

    def angles(self, run: Trajectory) -> dict[str, float]:
        """Angle of a run's update to the ideal one, of each layer that has one, in degrees.

        Args:
            run: the run.
        """
        compared = self.study.compare("ideal", "chip", "deviation", self.ideal, run)
        return {name: update.angle for name, update in compared.updates.items()}

    def angle(self, update: Tensor) -> float:
        """Angle of an update of all layers, the mean of the samples, to the ideal one, in degrees.

        Args:
            update: see `Update.flat`.
        """
        return UpdateDifference.of(self._update, update).angle

    @cached_property
    def _update(self) -> Tensor:
        doubled = self.study.design.readout.double_sampling
        return Update.of(self.ideal, double_sampling=doubled).flat()
