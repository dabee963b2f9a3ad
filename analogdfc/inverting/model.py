"""The behavioural realisation of an inversion: its circuits' equations integrated in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analogdfc.circuit.amplifiers import AmplifierModel, Rung
from analogdfc.circuit.behavioural import RELEASE
from analogdfc.circuit.capacity import UNKNOWNS, check_solving
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.nodal import NodalEquations
from analogdfc.circuit.release import Release, stored_zero
from analogdfc.dynamics.esdirk import ESDIRK
from analogdfc.inverting.assembly import chips
from analogdfc.inverting.design import InversionDesign
from analogdfc.inverting.runs import Grid, Progress, Waves

__all__ = ["BEHAVIOURAL", "Behaviour", "ReleasedModel"]

BEHAVIOURAL = "behavioural"

_TOLERANCE = 2e-7
"""Error of a time step in volts; integral control rings, and its errors add up."""


@dataclass(frozen=True)
class ReleasedModel:
    """The equations of a circuit from the release of its controllers on.

    Attributes:
        model: the chip's equations.
        release: the free phase, and what takes over from it.
        integrator: what follows them.
    """

    model: AmplifierModel
    release: Release
    integrator: ESDIRK

    @classmethod
    def of(cls, chip: Chip, target: Tensor, tolerance: float = _TOLERANCE) -> ReleasedModel:
        """Those of a chip with the full amplifier model.

        Args:
            chip: one of `chips`.
            target: error of its uppermost layer, (batch, n), dimensionless.
            tolerance: error of a time step, in volts.

        Raises:
            ConvergenceError: no operating point.
        """
        check_solving(UNKNOWNS * chip.circuit.amplifiers, 1, len(target))
        model = AmplifierModel([NodalEquations.of(chip)], Rung.FULL)
        card = chip.design.card
        volts = -target.to(torch.float64)[None] * card.scale.activation
        free_system, _ = model.system(released=False)
        start = volts.new_zeros(1, len(target), model.unknowns)
        start = model.relaxed(free_system).equilibrium(start)
        free = free_system.equilibrium(start)
        zero = stored_zero(model, free)
        system, sources = model.system(released=True)
        system = replace(system, constant=system.constant + sources @ volts.mT)
        system = system.driven(model.error_input(zero))
        hertz = card.amplifier.gain_bandwidth
        settle = RELEASE / hertz if hertz else math.inf
        release = Release(free, system, volts, zero, target[None])
        return cls(model, release, ESDIRK(tolerance, settle))

    def states(
        self,
        grid: Grid,
        *,
        observe: Callable[[float, Tensor, Tensor], object] | None = None,
        progress: Callable[[int], object] = lambda done: None,
    ) -> Tensor:
        """Unknowns at the times of a record, (T, batch, n).

        Args:
            grid: the times.
            observe: see `ESDIRK.run`.
            progress: called with the number of intervals done.
        """
        spacing = grid.dt * self.model.nodal[0].chip.design.seconds
        found: list[Tensor] = []
        done = -1
        for states in self.integrator.run(
            self.release.system,
            self.release.free,
            spacing,
            grid.steps,
            watched=self.model.watched,
            observe=observe,
        ):
            found.append(states[:, 0])
            done += len(states)
            progress(done)
        return torch.cat(found)


@dataclass(frozen=True)
class Behaviour:
    """The behavioural model of the circuits of a seed.

    Attributes:
        seed: seed of the components; None for nominal ones.
        name: name of the realisation.
    """

    seed: int | None = None
    name: str = BEHAVIOURAL

    def waves(
        self, design: InversionDesign, number: int, target: Tensor, grid: Grid, progress: Progress
    ) -> Waves:
        """See `Realisation`.

        Args:
            design: the design.
            number: which of its circuits.
            target: error of its uppermost layer, (batch, n).
            grid: the times of the record.
            progress: told how much of it is done.
        """
        chip = chips(design, self.seed)[number]
        released = ReleasedModel.of(chip, target)
        states = released.states(grid, progress=lambda done: progress(self.name, done, grid.steps))
        signals, free = {}, {}
        for name, tap in chip.circuit.signals.items():
            columns = released.model.columns(tap.bank)
            unit = tap.sign / volts_per_unit(design, name)
            signals[name] = states[..., columns].transpose(0, 1) * unit
            free[name] = released.release.free[0][:, columns] * unit
        return Waves(signals, free)


def volts_per_unit(design: InversionDesign, signal: str) -> float:
    """Scale of a signal, in volts per unit.

    Args:
        design: the design.
        signal: its name, such as 'delta1', 'u2' or 'e2'.
    """
    scale = design.card.scale
    return scale.activation if signal.startswith("delta") else scale.control
