"""The update path as data: track-and-holds, and the lines behind them, with every value."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from analogdfc.cards.technology import Card

PHASE = 20.0
"""Length of a controlled phase, in units of the controller's time, where nobody says another."""

CLEAR = 0.02
"""Part of a slot at its end in which the columns' ramp goes back and no column has a pulse."""

ACQUIRED = math.log(1e3)
"""Time constants in which a hold has followed a step to 0.1 %."""


@dataclass(frozen=True, eq=False)
class Holds:
    """Equal track-and-holds.

    Attributes:
        name: unique in a circuit.
        part: where they are.
        farads: their capacitors; 0 for ideal holds.
        amperes: droop, (n,), that discharges them while they hold.
        coulombs: charge, (n,), that the opening switch takes off them.
        lag: time constant with which they follow, in seconds.
        rms: noise kT / C of a held value, in volts.
    """

    name: str
    part: str
    farads: float
    amperes: Tensor
    coulombs: Tensor
    lag: float
    rms: float

    @property
    def size(self) -> int:
        """Number of holds."""
        return len(self.amperes)

    @property
    def rate(self) -> Tensor:
        """Change of the held values, (n,), in volts a second."""
        return -self.amperes / self.farads if self.farads else self.amperes

    @property
    def step(self) -> Tensor:
        """Change when they open, (n,), in volts."""
        return -self.coulombs / self.farads if self.farads else self.coulombs


@dataclass(frozen=True, eq=False)
class Lines:
    """What stands behind the holds, one a line: pulse modulators, multiplier inputs, converters.

    Attributes:
        name: unique in a circuit.
        part: where they are.
        offset: added to the held value, (n,), in volts.
        gain: its factor, (n,).
    """

    name: str
    part: str
    offset: Tensor
    gain: Tensor

    @property
    def size(self) -> int:
        """Number of lines."""
        return len(self.offset)


@dataclass(frozen=True, eq=False)
class LayerPath:
    """The update path of one layer.

    Attributes:
        free: keeps phi(v) - phi(v_ff) of the free phase; None without double sampling.
        post: keeps what the controlled phase has come to, less that.
        pre: keeps the activations of the layer below; None where these are the inputs, which stay.
        columns: behind the differences, one a neuron.
        rows: behind the activations, the bias last; of multipliers their second inputs, one a
            neuron.
    """

    free: Holds | None
    post: Holds
    pre: Holds | None
    columns: Lines
    rows: Lines

    @property
    def holds(self) -> tuple[Holds, ...]:
        """All holds."""
        return tuple(h for h in (self.free, self.post, self.pre) if h is not None)


@dataclass(frozen=True, eq=False)
class UpdatePath:
    """How a chip forms its update.

    Attributes:
        card: the technology.
        kind: 'pulses', 'multiplier' or 'digital'.
        layers: of layers 1..L.
        inputs: rows of layers 1..L, the bias counted.
    """

    card: Card
    kind: str
    layers: tuple[LayerPath, ...]
    inputs: tuple[int, ...]

    @property
    def difference(self) -> float:
        """Largest difference, in volts."""
        found: float = getattr(self.card, self.kind).largest_difference
        return found

    @property
    def activation(self) -> float:
        """Largest activation, in volts."""
        found: float = getattr(self.card, self.kind).largest_activation
        return found

    @property
    def seconds(self) -> float:
        """Time that the product takes after the holds have opened, in seconds."""
        card = self.card
        if self.kind == "pulses":
            return card.pulses.span or 0.0
        if self.kind == "multiplier":
            return max(self.inputs) * (card.multiplier.row_time or 0.0)
        digital = card.digital
        return (digital.conversion_time or 0.0) + max(self.inputs) * (digital.product_time or 0.0)
