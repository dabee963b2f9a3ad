"""What every realisation of an inversion returns, and the update that is read from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from analogdfc.activations import get_activation
from analogdfc.dynamics import Update
from analogdfc.errors import UserError
from analogdfc.inverting.design import InversionDesign, Link

__all__ = ["Grid", "InversionRun", "Progress", "Realisation", "Waves", "run"]

Progress = Callable[[str, int, int], object]
"""Called with a realisation's name, how much of it is done, and how much there is."""


class Grid(NamedTuple):
    """The times of a record, from the release of a circuit's controllers on.

    Attributes:
        dt: their spacing, in units of time of the loops.
        steps: number of intervals.
    """

    dt: float
    steps: int

    @property
    def duration(self) -> float:
        """Length of the record, in units of time of the loops."""
        return self.dt * self.steps


class Waves(NamedTuple):
    """The signals of one circuit.

    Attributes:
        signals: 'delta1', .., 'u2', .. and 'e2', .., dimensionless, (batch, T, n) each.
        free: the same before the release, (batch, n) each.
        made_by: the simulator with its version and solver; empty where it was this package.
    """

    signals: Mapping[str, Tensor]
    free: Mapping[str, Tensor]
    made_by: str = ""


class Realisation(Protocol):
    """A way to run the circuits of a design."""

    @property
    def name(self) -> str:
        """Name of the realisation in results and tables."""

    def waves(
        self, design: InversionDesign, number: int, target: Tensor, grid: Grid, progress: Progress
    ) -> Waves:
        """Run one of the circuits.

        Args:
            design: the design.
            number: which of `InversionDesign.circuits`.
            target: error of its uppermost layer, (batch, n).
            grid: the times of the record.
            progress: told how much of it is done.
        """


@dataclass(frozen=True, kw_only=True)
class InversionRun:
    """Waveforms of an inversion; all realisations return this type.

    Of layer pairs in sequence each has its own release, at which its target is what the pair above
    has ended with, held.

    Attributes:
        t: times after the release, (T,), in units of time of the loops.
        target: error at the output, the negative gradient of the loss, (batch, n_L).
        signals: see `Waves`, of all circuits.
        free: see `Waves`.
        made_by: see `Waves`.
    """

    t: Tensor
    target: Tensor
    signals: Mapping[str, Tensor]
    free: Mapping[str, Tensor]
    made_by: str = ""

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return 1 + sum(name.startswith("delta") for name in self.signals)

    def error(self, i: int, *, double_sampling: bool = True) -> Tensor:
        """What layer i has for its error at the end of the run, (batch, n_i).

        Args:
            i: number of the layer, 1 to L.
            double_sampling: less what it was before the release.
        """
        if i == self.depth:
            return self.target
        return _at_end(self.signals, self.free, i, double_sampling)

    def update(self, design: InversionDesign, x: Tensor) -> Update:
        """Update that the rule prescribes, delta_i r_{i-1}^T (Podlaski and Machens 2020, eq. 2).

        The activities r are those of the network's forward pass.

        Args:
            design: the design, whose readout says whether the free phase is subtracted.
            x: inputs, (batch, n_0).
        """
        weights, biases, r = [], [], x.to(torch.float64)
        doubled = design.readout.double_sampling
        for i, (w, b, name) in enumerate(
            zip(design.weights, design.biases, design.activations, strict=True), start=1
        ):
            delta = self.error(i, double_sampling=doubled)
            weights.append(delta.unsqueeze(2) * r.unsqueeze(1))
            biases.append(delta)
            r = get_activation(name).function(r @ w.T + b)
        return Update(tuple(weights), tuple(biases))


def _at_end(
    signals: Mapping[str, Tensor], free: Mapping[str, Tensor], i: int, doubled: bool
) -> Tensor:
    end = signals[f"delta{i}"][:, -1]
    return end - free[f"delta{i}"] if doubled else end


def run(
    design: InversionDesign,
    realisation: Realisation,
    target: Tensor,
    grid: Grid,
    progress: Progress = lambda name, done, total: None,
) -> InversionRun:
    """Run the circuits of a design, one after another.

    Args:
        design: the design.
        realisation: how they run.
        target: error at the output, (batch, n_L): the negative gradient of the loss.
        grid: the times of the record of each circuit.
        progress: told how much is done.

    Raises:
        UserError: no samples, targets that don't fit the design or aren't finite, or a grid that
            isn't positive.
        ConvergenceError: a run that doesn't converge.
    """
    if not (grid.dt > 0 and grid.steps >= 1):
        raise UserError(f"dt = {grid.dt}, steps = {grid.steps}: both must be positive")
    n = design.sizes[-1]
    if target.ndim != 2 or target.shape[1] != n or not len(target):
        raise UserError(f"targets of shape {tuple(target.shape)}: one or more of {n} numbers")
    if not torch.isfinite(target).all():
        raise UserError("targets must be finite numbers")
    given = target = target.to("cpu", torch.float64)
    signals: dict[str, Tensor] = {}
    free: dict[str, Tensor] = {}
    made_by: list[str] = []
    for number, links in enumerate(design.circuits):
        found = realisation.waves(design, number, given, grid, progress)
        signals |= found.signals
        free |= found.free
        made_by.append(found.made_by)
        given = _at_end(signals, free, _lowest(links), design.readout.double_sampling)
    t = torch.arange(grid.steps + 1, dtype=torch.float64) * grid.dt
    by = "; ".join(dict.fromkeys(filter(None, made_by)))
    return InversionRun(t=t, target=target, signals=signals, free=free, made_by=by)


def _lowest(links: Sequence[Link]) -> int:
    return min(link.bottom for link in links)
