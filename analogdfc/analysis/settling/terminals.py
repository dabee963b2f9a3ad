"""Crossbars of a chip as its amplifiers see them: transfer, loads and what runs across."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.cards.technology import Wire
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static.crossbar import Coupling, coupling
from analogdfc.wires import dual_rail, terminal_admittance

Array = NDArray[np.float64]

_EXACT_CELLS = 4096
"""Devices up to which a wired crossbar's terminal admittance is kept whole."""


@dataclass(frozen=True)
class Crossbar:
    """A crossbar between row drivers and virtual grounds, in siemens.

    Attributes:
        rails: currents into grounded columns per volt on the first and on the second rail of each
            input, each (columns, inputs).
        loads: conductance that loads either rail, each (inputs,).
        columns: conductance that a column sees, (columns,).
        across_columns: admittance between different columns; None for none.
        across_rails: between different rails, first and second, (inputs, inputs); None where it is
            none or neglected.
    """

    rails: tuple[Array, Array]
    loads: tuple[Array, Array]
    columns: Array
    across_columns: Array | None = None
    across_rails: tuple[tuple[Array, Array], tuple[Array, Array]] | None = None

    @classmethod
    def of(cls, plus: Tensor, minus: Tensor, wire: Wire) -> Crossbar:
        """The crossbar of pairs of devices (columns, inputs)."""
        if wire.word is None and wire.bit is None:
            loads = plus.sum(dim=0).numpy(), minus.sum(dim=0).numpy()
            return cls((plus.numpy(), minus.numpy()), loads, (plus + minus).sum(dim=1).numpy())
        if 2 * plus.numel() > _EXACT_CELLS:
            return cls._large(coupling(plus, minus, wire))
        y = terminal_admittance(dual_rail(plus, minus), wire.word or 0.0, wire.bit or 0.0)
        own, rows = np.diag(y).copy(), 2 * plus.shape[1]
        y = y - np.diag(own)
        first, second = ((-y[rows:, k:rows:2]).copy() for k in (0, 1))
        across = [[y[j:rows:2, k:rows:2].copy() for k in (0, 1)] for j in (0, 1)]
        return cls(
            (first, second),
            (own[0:rows:2], own[1:rows:2]),
            own[rows:],
            y[rows:, rows:].copy(),
            ((across[0][0], across[0][1]), (across[1][0], across[1][1])),
        )

    @classmethod
    def _large(cls, found: Coupling) -> Crossbar:
        # What couples columns of so large an array is left out: it acts on virtual grounds only.
        columns = np.diag(found.columns.numpy()).copy()
        first, second = (np.ascontiguousarray(t.numpy()) for t in (found.plus, found.minus))
        loads = found.plus_load.numpy(), found.minus_load.numpy()
        return cls((first, second), loads, columns)

    def without_last(self) -> Crossbar:
        """Without the last input, which a source drives."""
        across = self.across_rails
        if across is not None:
            (a, b), (c, d) = across
            across = (a[:-1, :-1], b[:-1, :-1]), (c[:-1, :-1], d[:-1, :-1])
        rails = (
            np.ascontiguousarray(self.rails[0][:, :-1]),
            np.ascontiguousarray(self.rails[1][:, :-1]),
        )
        loads = self.loads[0][:-1], self.loads[1][:-1]
        return Crossbar(rails, loads, self.columns, self.across_columns, across)


class Crossbars:
    """Crossbars seen from their terminals, each worked out once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, float | None, float | None, bool], Crossbar] = {}

    def forward(self, chip: Chip, i: int) -> Crossbar:
        """Crossbar of the weights of layer i; of layer 1, which sources drive, the columns only."""
        parts, wire = chip.layers[i - 1], chip.design.card.wire
        if i == 1 and 2 * parts.w_plus.numel() > _EXACT_CELLS:
            wire = Wire()
        return self._get(parts.w_plus, parts.w_minus, wire, bias=True)

    def feedback(self, chip: Chip, i: int) -> Crossbar:
        """Crossbar of the feedback weights of layer i."""
        parts = chip.layers[i - 1]
        return self._get(parts.q_plus, parts.q_minus, chip.design.card.wire, bias=False)

    def _get(self, plus: Tensor, minus: Tensor, wire: Wire, *, bias: bool) -> Crossbar:
        content = hash((plus.shape, plus.numpy().tobytes(), minus.numpy().tobytes()))
        key = content, wire.word, wire.bit, bias
        if key not in self._known:
            found = Crossbar.of(plus, minus, wire)
            self._known[key] = found.without_last() if bias else found
        return self._known[key]
