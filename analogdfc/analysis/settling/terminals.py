"""Crossbars of a chip as its amplifiers see them: transfer, loads and what runs across."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analogdfc.circuit.description import Crossbar, Node, Port
from analogdfc.wires import dual_rail, terminal_admittance

Array = NDArray[np.float64]

_EXACT_CELLS = 4096
"""Devices up to which a wired crossbar's terminal admittance is kept whole."""


@dataclass(frozen=True)
class Driver:
    """Amplifiers that drive rows of a crossbar.

    Attributes:
        port: their outputs.
        transfer: currents into grounded columns per volt, (columns, inputs), in siemens.
        load: conductance that loads each, (inputs,).
    """

    port: Port
    transfer: Array
    load: Array


@dataclass(frozen=True)
class Terminals:
    """A crossbar between its drivers and virtual grounds, in siemens.

    Attributes:
        drivers: the amplifiers that drive it; rows that sources drive are left out.
        columns: conductance that a column sees, (columns,).
        across_columns: admittance between different columns; None for none.
        across_rows: between different rows of any two drivers, (inputs, inputs); None where it is
            none or neglected.
    """

    drivers: tuple[Driver, ...]
    columns: Array
    across_columns: Array | None = None
    across_rows: tuple[tuple[Array, ...], ...] | None = None

    @classmethod
    def of(cls, crossbar: Crossbar, *, rough: bool = False) -> Terminals:
        """A crossbar seen from its terminals.

        Args:
            crossbar: the crossbar.
            rough: solve its wires in single precision, to some 1e-5 of every element.
        """
        driven = _driven(crossbar)
        lines, large = crossbar.lines, 2 * crossbar.plus.numel() > _EXACT_CELLS
        if lines.r_word == lines.r_bit == 0 or (large and not driven):
            return cls._ideal(crossbar, driven)
        g = dual_rail(crossbar.plus, crossbar.minus)
        if rough:
            g = g.astype(np.float32)
        y = terminal_admittance(g, lines.r_word, lines.r_bit, crossbar.tiling)
        y = y.astype(float, copy=False)
        count, own = len(g), np.diag(y).copy()
        rows = [slice(2 * start + rail, 2 * end, 2) for _, rail, start, end in driven]
        drivers = tuple(
            Driver(port, np.ascontiguousarray(-y[count:, at]), own[at].copy())
            for (port, *_), at in zip(driven, rows, strict=True)
        )
        if large:
            # What couples columns of so large an array is left out: it acts on virtual grounds.
            return cls(drivers, own[count:])
        y = y - np.diag(own)
        across = tuple(tuple(y[a, b].copy() for b in rows) for a in rows)
        return cls(drivers, own[count:], y[count:, count:].copy(), across)

    @classmethod
    def _ideal(cls, crossbar: Crossbar, driven: list[tuple[Port, int, int, int]]) -> Terminals:
        pair = crossbar.plus.numpy(), crossbar.minus.numpy()
        drivers = tuple(
            Driver(port, pair[rail][:, start:end], pair[rail][:, start:end].sum(axis=0))
            for port, rail, start, end in driven
        )
        return cls(drivers, (pair[0] + pair[1]).sum(axis=1))


def _driven(crossbar: Crossbar) -> list[tuple[Port, int, int, int]]:
    """Which amplifiers drive which rail (0 or 1) of which inputs, from one to before another."""
    out, start = [], 0
    for rails, n in zip(crossbar.rows, crossbar.sizes, strict=True):
        for rail, port in enumerate(rails):
            if port.node is Node.OUTPUT:
                out.append((port, rail, start, start + n))
        start += n
    return out
