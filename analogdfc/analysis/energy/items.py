"""What an energy is made of: one table of components and parts, for every way to find it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from analogdfc.circuit.description import CONTROLLER as CONTROLLER
from analogdfc.circuit.description import Array
from analogdfc.updating.costs import UPDATE_COMPONENTS

QUIESCENT = "amplifiers, quiescent"
OUTPUT_STAGES = "amplifiers, output stages"
FORWARD = Array.FORWARD.value
FEEDBACK = Array.FEEDBACK.value
WIRES = "wires"
RESISTORS = "resistors"
CAPACITORS = "integrator capacitors"
LINES = "line capacitors"
TANH = "tanh cells"
CONVERTERS = "converters"
WRITES = "weight writes"
AUTO_ZERO = "auto-zero of the neurons"
COMPONENTS = (
    QUIESCENT,
    OUTPUT_STAGES,
    FORWARD,
    FEEDBACK,
    WIRES,
    RESISTORS,
    CAPACITORS,
    LINES,
    TANH,
    CONVERTERS,
    WRITES,
    AUTO_ZERO,
    *UPDATE_COMPONENTS,
)
"""Names of the items, in the order of a table. Each joule that the supplies and sources give is
counted in one of them: where it turns into heat or is stored.

'output stages': what a class-AB output takes from its supply less what it hands on to its load.
'crossbars': both devices of every pair. 'wires': their lines. 'resistors': around the amplifiers.
'capacitors': change of the stored energy, which can be negative.
"""


def layer_name(i: int) -> str:
    """Name of the part that layer i is, 1..L."""
    return f"layer {i}"


@dataclass(frozen=True)
class Energy:
    """Energy by component and part.

    Attributes:
        items: joules by component (of `COMPONENTS`) and part ('layer 1'..'layer L',
            'controller'), each (batch,), or (1,) where it is the same for all samples.
        unknown: components that can't be told, with what the card lacks for each; they are not in
            the total.
    """

    items: Mapping[tuple[str, str], Tensor]
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """Sum of the known items, (batch,), in joules; 0, (1,), where none is known."""
        return _total(self.items.values())

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts: layers first, in order, then the controller."""
        return tuple(dict.fromkeys(part for _, part in self.items))

    def by_component(self) -> dict[str, Tensor]:
        """Joules of each known component over all parts, (batch,), in the order of a table."""
        found = [c for c in COMPONENTS if any(c == name for name, _ in self.items)]
        return {c: self._sum(c, 0) for c in found}

    def by_part(self) -> dict[str, Tensor]:
        """Joules of each part over all known components, (batch,)."""
        return {part: self._sum(part, 1) for part in self.parts}

    def _sum(self, name: str, place: int) -> Tensor:
        return _total(e for key, e in self.items.items() if key[place] == name)

    def __add__(self, other: Energy) -> Energy:
        """The energies of two phases or of separate items together."""
        items = dict(self.items)
        for key, joules in other.items.items():
            items[key] = items[key] + joules if key in items else joules
        return Energy(items, {**self.unknown, **other.unknown})

    def scaled(self, factor: float) -> Energy:
        """The energy of so many repetitions.

        Args:
            factor: how many, >= 0.
        """
        return Energy({key: factor * e for key, e in self.items.items()}, self.unknown)


def _total(joules: Iterable[Tensor]) -> Tensor:
    """Sum of tensors (batch,) or (1,)."""
    known = list(joules)
    return reduce(torch.add, known) if known else torch.zeros(1, dtype=torch.float64)
