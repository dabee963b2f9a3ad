"""Crossbars of conductances with resistive lines, seen from their terminals."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu
from torch import Tensor

from analogdfc.errors import UserError

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def dual_rail(plus: Tensor, minus: Tensor) -> Array:
    """Conductances of an array whose rows are the dual rails of its inputs.

    Args:
        plus: devices on the first rail of each input, (columns, inputs), in siemens.
        minus: devices on the second rail.

    Returns:
        (2 inputs, columns): the rails of an input lie next to each other, first rail first.
    """
    columns, inputs = plus.shape
    out = np.empty((2 * inputs, columns))
    out[0::2] = plus.numpy().T
    out[1::2] = minus.numpy().T
    return out


def terminal_admittance(g: Array, r_word: float | None, r_bit: float | None) -> Array:
    """Admittance matrix of an array between its row drivers and its column senses.

    The drivers sit before column 0 of each row, the senses after the last row of each column; one
    wire segment lies between neighbouring cells and between a terminal and its first cell. The
    inner nodes are eliminated exactly (Schur complement of the nodal equations).

    Args:
        g: conductances, (rows, columns), in siemens, all > 0.
        r_word: resistance of one segment of a row in ohms, None for an ideal wire.
        r_bit: the same for the columns.

    Returns:
        (rows + columns, rows + columns), in siemens, rows first: currents into the terminals per
        volt on them. Its rows sum to 0.

    Raises:
        UserError: a conductance or a resistance that is not positive.
    """
    if not (np.isfinite(g).all() and (g > 0).all()):
        i, j = np.argwhere(~(np.isfinite(g) & (g > 0)))[0]
        raise UserError(f"conductance of row {i}, column {j} is {g[i, j]:g} S; it must be > 0")
    _check_wires(r_word, r_bit)
    edges, wires, count = _edges(g, r_word, r_bit)
    return _seen(_laplacian([edges, *wires], count), sum(g.shape))[0]


def wire_admittance(g: Array, r_word: float | None, r_bit: float | None) -> Array:
    """What the wires of an array take: the power in them is v^T Y v, with v on its terminals.

    Args:
        g: conductances, (rows, columns), in siemens, all > 0.
        r_word: resistance of one segment of a row in ohms, None for an ideal wire.
        r_bit: the same for the columns.

    Returns:
        (rows + columns, rows + columns), in siemens, rows first; a part of `terminal_admittance`,
        the devices take the rest.
    """
    edges, wires, count = _edges(g, r_word, r_bit)
    terminals = sum(g.shape)
    if not wires:
        return np.zeros((terminals, terminals))
    inside = _seen(_laplacian([edges, *wires], count), terminals)[1]
    volts = np.concatenate([np.eye(terminals), inside])
    out: Array = volts.T @ (_laplacian(wires, count) @ volts)
    return out


def _check_wires(r_word: float | None, r_bit: float | None) -> None:
    for name, r in (("word", r_word), ("bit", r_bit)):
        if r is not None and not (np.isfinite(r) and r > 0):
            raise UserError(f"{name} line: {r} ohm a segment; it must be > 0, None for no wire")


_Edges = tuple[Index, Index, Array]


def _edges(g: Array, r_word: float | None, r_bit: float | None) -> tuple[_Edges, list[_Edges], int]:
    """Devices, segments of wire and the number of nodes; the terminals come first."""
    rows, columns = g.shape
    terminals = rows + columns
    ids = np.arange(rows * columns).reshape(rows, columns)
    word = bit = None
    count = terminals
    if r_word is not None:
        word, count = ids + count, count + rows * columns
    if r_bit is not None:
        bit, count = ids + count, count + rows * columns
    row_ends = np.broadcast_to(np.arange(rows)[:, None], g.shape)
    column_ends = np.broadcast_to(rows + np.arange(columns), g.shape)
    devices = (row_ends if word is None else word, column_ends if bit is None else bit, g)
    wires = []
    if word is not None and r_word is not None:
        chain = np.concatenate([np.arange(rows)[:, None], word], axis=1)
        wires.append((chain[:, :-1], chain[:, 1:], np.full(g.shape, 1 / r_word)))
    if bit is not None and r_bit is not None:
        chain = np.concatenate([bit, rows + np.arange(columns)[None]], axis=0)
        wires.append((chain[:-1], chain[1:], np.full(g.shape, 1 / r_bit)))
    return devices, wires, count


def _laplacian(edges: list[_Edges], count: int) -> sp.csc_array:
    a = np.concatenate([e[0].ravel() for e in edges])
    b = np.concatenate([e[1].ravel() for e in edges])
    g = np.concatenate([e[2].ravel() for e in edges])
    row = np.concatenate([a, b, a, b])
    column = np.concatenate([a, b, b, a])
    value = np.concatenate([g, g, -g, -g])
    return sp.csc_array(sp.coo_array((value, (row, column)), shape=(count, count)))


def _seen(laplacian: sp.csc_array, terminals: int) -> tuple[Array, Array]:
    """Admittance between the terminals, and inner voltages per volt on each of them."""
    outer: Array = laplacian[:terminals, :terminals].toarray()
    if laplacian.shape[0] == terminals:
        return outer, np.zeros((0, terminals))
    coupling = laplacian[terminals:, :terminals].toarray()
    inner = splu(sp.csc_array(laplacian[terminals:, terminals:]))
    inside: Array = -inner.solve(coupling)
    seen: Array = outer + coupling.T @ inside
    # On the diagonal the wires would cancel each other; the rows of a Laplacian sum to 0.
    np.fill_diagonal(seen, 0)
    np.fill_diagonal(seen, -seen.sum(axis=1))
    return seen, inside
