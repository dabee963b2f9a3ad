"""The components of one chip: nominal values of a design, or a draw around them.

Both the behavioural model and the netlist read their resistors, capacitors, conductances and
offsets from here, so that a mismatch seed gives the same chip to both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.circuit.assembly import describe
from analogdfc.circuit.conductances import Crossbar, conductances
from analogdfc.circuit.description import Array, Description
from analogdfc.circuit.design import Design
from analogdfc.circuit.streams import standard_normal
from analogdfc.errors import UserError


@dataclass(frozen=True)
class Chip:
    """One realised chip.

    Attributes:
        design: what it realises.
        seed: seed of the draw; None for nominal components.
        circuit: its circuit, with the value of every component.
    """

    design: Design
    seed: int | None
    circuit: Description

    @classmethod
    def of(cls, design: Design, seed: int | None = None) -> Chip:
        """The chip of a seed.

        Each kind of component has a stream of its own, so that switching one imperfection off
        leaves the draws of all others as they were.

        Args:
            design: the design.
            seed: seed of the draw, >= 0; None gives nominal components without offsets.

        Raises:
            UserError: a negative seed.
        """
        if seed is not None and seed < 0:
            raise UserError(f"seed {seed}: a seed must be >= 0")
        return cls(design, seed, describe(design, _Draw(design, seed)))


class _Draw:
    """Random deviations of the components, by the component's name."""

    def __init__(self, design: Design, seed: int | None) -> None:
        self._card = design.card
        self.seed = seed

    def passive(self, name: str, value: float, n: int) -> Tensor:
        nominal, sigma = torch.full((n,), value, dtype=torch.float64), self._card.passive.tolerance
        if self.seed is None or sigma is None:
            return nominal
        return nominal * (1 + sigma * standard_normal(self.seed, name, (n,)))

    def pairs(self, design: Design, i: int, kind: Array) -> tuple[Tensor, Tensor]:
        which: Crossbar = "forward" if kind is Array.FORWARD else "feedback"
        return conductances(design, i, which, self.seed)

    def offset(self, name: str, sigma: float | None, n: int) -> Tensor:
        if self.seed is None or sigma is None:
            return torch.zeros(n, dtype=torch.float64)
        return sigma * standard_normal(self.seed, name, (n,))
