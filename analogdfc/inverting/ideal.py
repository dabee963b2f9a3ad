"""The ideal realisation of an inversion: the paper's equations, integrated accurately."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.dynamics.inversion import ChainedLoop, ControllerLoop, FastLoop, InversionLoop, State
from analogdfc.errors import ConvergenceError
from analogdfc.inverting.design import InversionDesign
from analogdfc.inverting.runs import Grid, Progress, Waves

__all__ = ["IDEAL", "Equations"]

IDEAL = "ideal"

_RELATIVE, _ABSOLUTE = 1e-9, 1e-10
"""Error of a time step, relative to a signal and to the target."""


@dataclass(frozen=True)
class Equations:
    """The paper's equations (5, 8 and 14, or S1 and S2), integrated accurately.

    Attributes:
        name: name of the realisation.
    """

    name: str = IDEAL

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

        Raises:
            ConvergenceError: a loop that runs away.
        """
        links = design.circuits[number]
        loop = design.inversion(links)
        states = _solved(loop, target, grid)
        progress(self.name, grid.steps, grid.steps)
        found: dict[str, list[Tensor]] = {}
        for state in states:
            for link, (part, seen, goal) in zip(links, _parts(loop, state, target), strict=True):
                for i, place in enumerate(part.places, start=link.bottom):
                    found.setdefault(f"delta{i}", []).append(seen[place])
                found.setdefault(f"u{link.top}", []).append(part.control(seen, goal))
                found.setdefault(f"e{link.top}", []).append(part.error(seen, goal))
        signals = {name: torch.stack(values, dim=1) for name, values in found.items()}
        free = {name: torch.zeros_like(wave[:, 0]) for name, wave in signals.items()}
        return Waves(signals, free)


def _parts(
    loop: InversionLoop, state: State, target: Tensor
) -> Iterator[tuple[ControllerLoop | FastLoop, State, Tensor]]:
    """The loops of a circuit, each with what it sees, the output's first."""
    if not isinstance(loop, ChainedLoop):
        assert isinstance(loop, ControllerLoop | FastLoop)
        yield loop, state, target
        return
    for which, part in enumerate(loop.loops):
        assert isinstance(part, ControllerLoop | FastLoop)
        yield part, *loop.seen_by(which, state, target)


def _solved(loop: InversionLoop, target: Tensor, grid: Grid) -> list[State]:
    """States of a loop at the times of a record."""
    start = loop.start(target)

    def split(z: NDArray[np.float64]) -> State:
        parts = torch.from_numpy(z).view(len(target), -1)
        return torch.split(parts, list(loop.sizes), dim=1)

    def rates(_: float, z: NDArray[np.float64]) -> NDArray[np.float64]:
        return torch.cat(loop.rates(split(z), target), dim=1).flatten().numpy()

    # Its polynomial between steps is of seventh order.
    found = scipy.integrate.solve_ivp(
        rates,
        (0, grid.duration),
        torch.cat(start, dim=1).flatten().numpy(),
        method="DOP853",
        t_eval=np.linspace(0, grid.duration, grid.steps + 1),
        rtol=_RELATIVE,
        atol=_ABSOLUTE * float(target.abs().max() or 1.0),
    )
    if not found.success:
        raise ConvergenceError(f"the equations of the inversion can't be followed: {found.message}")
    return [split(z) for z in np.ascontiguousarray(found.y.T)]
