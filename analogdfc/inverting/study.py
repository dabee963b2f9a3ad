"""An inversion in its realisations side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from analogdfc.comparison import RESOLUTION, Comparison, Kind, UpdateDifference, nrmse
from analogdfc.errors import UserError
from analogdfc.inverting.cells import CELLS
from analogdfc.inverting.design import InversionDesign
from analogdfc.inverting.ideal import IDEAL
from analogdfc.inverting.model import BEHAVIOURAL, volts_per_unit
from analogdfc.inverting.runs import Grid, InversionRun, Progress, Realisation, run
from analogdfc.samples import check_samples

__all__ = ["InversionResult", "InversionStudy"]

PAIRS: tuple[tuple[str, str, Kind], ...] = (
    (IDEAL, CELLS["ideal"], "parity"),
    (CELLS["macro"], BEHAVIOURAL, "parity"),
    (IDEAL, CELLS["macro"], "deviation"),
)
"""What is laid beside what where both have run: reference, other, and what it means."""

_BAND = 0.02
"""Part of their final size within which errors have settled."""

_LEFT = 0.01
"""Part of a loop's slowest mode that may be left at the end of a run."""


@dataclass(frozen=True)
class InversionResult:
    """What the realisations of an inversion gave.

    Attributes:
        runs: by name of the realisation.
        comparisons: of those in `PAIRS` that have run.
        remarks: what is unusual, a sentence each.
    """

    runs: Mapping[str, InversionRun]
    comparisons: tuple[Comparison, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class InversionStudy:
    """A design with the samples whose errors it sends down.

    Attributes:
        design: the design.
        x: inputs, (batch, n_0), dimensionless; the update has the activities that they give.
        target: errors at the output, (batch, n_L): negative gradients of the loss.
        grid: the times of the record of each circuit.

    Raises:
        UserError: inputs or targets that don't fit the design, or no samples.
    """

    design: InversionDesign
    x: Tensor
    target: Tensor
    grid: Grid

    def __post_init__(self) -> None:
        check_samples(self.design.sizes, self.x, self.target, what="target errors")

    def run(
        self, *realisations: Realisation, progress: Progress = lambda name, done, total: None
    ) -> InversionResult:
        """Run realisations on the same samples and compare them.

        Args:
            realisations: what is run; names must differ.
            progress: told what is being done.

        Raises:
            UserError: two of one name, or what they themselves refuse.
            ConvergenceError: a run that doesn't converge.
        """
        names = [r.name for r in realisations]
        if not names or len(set(names)) != len(names):
            raise UserError(f"realisations {names}: one or more of different names are needed")
        runs = {r.name: run(self.design, r, self.target, self.grid, progress) for r in realisations}
        found = tuple(
            self.compare((a, b), kind, runs[a], runs[b])
            for a, b, kind in PAIRS
            if a in runs and b in runs
        )
        return InversionResult(runs, found, (*self._restless(), *self._held(runs)))

    def compare(
        self, names: tuple[str, str], kind: Kind, reference: InversionRun, other: InversionRun
    ) -> Comparison:
        """One run measured against another.

        Errors delta and control signals u count relative to their own rms; 'dev' and the
        controllers' errors e with each trace less what it was before the release.

        Args:
            names: of the reference and of the other.
            kind: what their difference means.
            reference: what is aimed at.
            other: the other.
        """
        signals: dict[str, float] = {}
        unresolved: dict[str, float] = {}
        for name, a in reference.signals.items():
            b = other.signals[name]
            moved = a - reference.free[name].unsqueeze(1)
            other_moved = b - other.free[name].unsqueeze(1)
            size = float(moved.square().mean().sqrt())
            if size <= RESOLUTION:
                unresolved[name] = size
            elif name.startswith("e"):
                signals[name] = nrmse(moved, other_moved, moved)
            else:
                signals[name] = nrmse(a, b, a)
                if name.startswith("delta"):
                    signals[f"{name} dev"] = nrmse(moved, other_moved, moved)
        one, two = (r.update(self.design, self.x) for r in (reference, other))
        updates = {}
        for i in range(1, self.design.depth):
            if f"delta{i}" in unresolved:
                unresolved[f"update {i}"] = float(one.layer(i).norm())
            else:
                updates[str(i)] = UpdateDifference.of(one.layer(i), two.layer(i))
        updates["all"] = UpdateDifference.of(one.flat(), two.flat())
        settling = self.settling(reference), self.settling(other)
        return Comparison(*names, kind, signals, updates, settling, unresolved)

    def settling(self, found: InversionRun) -> float:
        """Seconds until all errors stay within 2 % of their final size, mean over the samples.

        Of layer pairs in sequence it is the sum over the pairs.

        Args:
            found: the run.
        """
        total = 0.0
        for links in self.design.circuits:
            latest = found.t.new_zeros(len(self.x))
            for link in links:
                for i in range(link.bottom, link.top):
                    wave = found.signals[f"delta{i}"]
                    off = (wave - wave[:, -1:]).norm(dim=2) > _BAND * wave[:, -1:].norm(dim=2)
                    last = (off * found.t).amax(dim=1)
                    latest = latest.maximum(last)
            total += float(latest.mean())
        return total * self.design.seconds

    def _restless(self) -> list[str]:
        """Loops whose slowest mode outlasts the record."""
        lines = []
        for links in self.design.circuits:
            slowest = self.design.inversion(links).abscissa()
            left = math.exp(slowest * self.grid.duration)
            if left > _LEFT:
                lines.append(
                    f"{' and '.join(link.name for link in links)}: {100 * left:.2g} % of the "
                    f"loop's slowest mode, {slowest:+.3g} per unit of time, is left at the end of "
                    "the run: the update is on its way. A longer run or a larger leak alpha helps"
                )
        return lines

    def _held(self, runs: Mapping[str, InversionRun]) -> list[str]:
        """Signals that reach the amplifiers' rails."""
        limit = self.design.card.amplifier.saturation
        found = runs.get(BEHAVIOURAL)
        if limit is None or found is None:
            return []
        lines = []
        for name, wave in found.signals.items():
            highest = float(wave.abs().max()) * volts_per_unit(self.design, name)
            if highest >= limit:
                lines.append(
                    f"{name} reaches the amplifiers' rails of {limit:.3g} V, beyond which there is "
                    "no inverse: take smaller target steps, a larger leak alpha or fewer volts in "
                    "[scale]"
                )
        return lines
