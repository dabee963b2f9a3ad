"""The components of one chip: nominal values of a design, or a draw around them.

Both the behavioural model and the netlist read their resistors, capacitors, conductances and
offsets from here, so that a mismatch seed gives the same chip to both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analogdfc.circuit.assembly import Components, describe
from analogdfc.circuit.conductances import OPEN, Crossbar, Pair, conductances
from analogdfc.circuit.description import Array, Description
from analogdfc.circuit.description import Crossbar as Bar
from analogdfc.circuit.design import Design
from analogdfc.circuit.streams import standard_normal
from analogdfc.errors import UserError

Assembly = Callable[[Design, Components], Description]
"""What makes the circuit of a design, of components with values."""


@dataclass(frozen=True)
class LoopAssembly:
    """What makes the circuit of Deep Feedback Control: data, as a chip is that knows it."""

    def __call__(self, design: Design, components: Components) -> Description:
        """The circuit of a design.

        Args:
            design: the design.
            components: where values come from.
        """
        return describe(design, components)


@dataclass(frozen=True)
class Chip:
    """One realised chip.

    Attributes:
        design: what it realises.
        seed: seed of the draw; None for nominal components.
        circuit: its circuit, with the value of every component.
        assembly: what made the circuit.
    """

    design: Design
    seed: int | None
    circuit: Description
    assembly: Assembly = LoopAssembly()

    @classmethod
    def of(
        cls, design: Design, seed: int | None = None, assembly: Assembly = LoopAssembly()
    ) -> Chip:
        """The chip of a seed.

        Each kind of component has a stream of its own, so that switching one imperfection off
        leaves the draws of all others as they were.

        Args:
            design: the design.
            seed: seed of the draw, >= 0; None gives nominal components without offsets.
            assembly: what makes the circuit; by default that of Deep Feedback Control.

        Raises:
            UserError: a negative seed.
        """
        if seed is not None and seed < 0:
            raise UserError(f"seed {seed}: a seed must be >= 0")
        return cls(design, seed, assembly(design, _Draw(design, seed)), assembly)

    def remade(self, design: Design, seed: int | None) -> Chip:
        """A chip of the same kind.

        Args:
            design: its design.
            seed: its seed.
        """
        return Chip.of(design, seed, self.assembly)

    def holding(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor], pairs: Sequence[Pair]
    ) -> Chip:
        """The same chip with other conductances in its forward crossbars.

        Everything else stays as it was made: amplifiers, capacitors, feedback.

        Args:
            weights: W_1..W_L that the conductances stand for, (n_i, n_{i-1}).
            biases: b_1..b_L, (n_i,).
            pairs: conductances of layers 1..L, (n_i, n_{i-1} + 1) each, bias last, in siemens; one
                of 0 or less is open.

        Raises:
            UserError: as `Design`.
        """
        layers = iter(pairs)

        def held(bar: Bar) -> Bar:
            if bar.kind is not Array.FORWARD:
                return bar
            plus, minus = (g.clamp(min=OPEN) for g in next(layers))
            return replace(bar, plus=plus, minus=minus)

        circuit = replace(self.circuit, crossbars=tuple(map(held, self.circuit.crossbars)))
        design = replace(self.design, weights=tuple(weights), biases=tuple(biases))
        return replace(self, design=design, circuit=circuit)


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

    def pairs(
        self, design: Design, i: int, kind: Array, matrix: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        which: Crossbar = "forward" if kind is Array.FORWARD else "feedback"
        return conductances(design, i, which, self.seed, matrix)

    def offset(self, name: str, sigma: float | None, n: int) -> Tensor:
        if self.seed is None or sigma is None:
            return torch.zeros(n, dtype=torch.float64)
        return sigma * standard_normal(self.seed, name, (n,))
