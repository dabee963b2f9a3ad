"""Arrays of conductances seen from their terminals: all inner nodes eliminated, tile by tile.

Terminals are the drivers of the rows, then the sense amplifiers of the columns. What a matrix cut
into tiles takes at its terminals is the sum of what its tiles take at theirs.

Arrays of more than half a million cells are solved in single precision: it takes half the time and
memory, and since nothing cancels each element keeps its digits: to 1e-6 as a rule, the worst of a
million to 1e-5. What is lost is seen on the way (`Factorised.rounding`); where it would be more,
double precision is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.errors import ConvergenceError
from analogdfc.wires.branches import branch_currents
from analogdfc.wires.exact import Factorised
from analogdfc.wires.lines import Lines, checked_conductances
from analogdfc.wires.remembered import SOLUTIONS, Solved
from analogdfc.wires.tiles import Tiling

Array = NDArray[np.float64]
Index = NDArray[np.intp]

LARGE = 2**19
"""Cells beyond which an array is solved in single precision."""

_SHARED = 2**14
"""Cells up to which the part of an admittance is taken from the whole, which others ask for too."""

_AT_ONCE = 2**23
"""Elements of what tiles take at their terminals, up to which tiles are solved at a time."""

_TOGETHER = 2**16
"""Cells of arrays up to which they are solved together: of small ones most of the time is none of
the processor's arithmetic."""

_ROUNDING = 1e-5
"""`Factorised.rounding` up to which single precision is enough; as a rule it is 1e-6, and the worst
element is off by five times as much."""

_TOP = 60
"""Exponent of 2 of the largest conductance in single precision: far from its largest number, so
that couplings of 1e-54 of it still have all their digits."""


class LoadedTransfer(NamedTuple):
    """What an array hands from its row drivers to its column senses, in siemens.

    Attributes:
        transfer: currents out of the columns per volt on the rows, (columns, rows).
        columns: admittance between the columns, (columns, columns), rows grounded.
        loads: what each row's driver is loaded with, (rows,).
    """

    transfer: Array
    columns: Array
    loads: Array


def dual_rail(plus: Tensor, minus: Tensor) -> Array:
    """Conductances of an array whose rows are the dual rails of its inputs.

    Args:
        plus: devices on the first rail of each input, (columns, inputs), in siemens.
        minus: devices on the second rail, (columns, inputs), in siemens.

    Returns:
        (2 inputs, columns): the rails of an input lie next to each other, first rail first.
    """
    columns, inputs = plus.shape
    out = np.empty((2 * inputs, columns))
    out[0::2] = plus.numpy().T
    out[1::2] = minus.numpy().T
    return out


def terminal_admittance(
    g: Array, r_word: float, r_bit: float, tiling: Tiling | None = None
) -> Array:
    """Admittance matrix of an array between its row drivers and its column senses.

    Args:
        g: conductances, (rows, columns), in siemens, >= 0; 0 for an open cell.
        r_word: resistance of one segment of a row in ohms, 0 for an ideal wire.
        r_bit: the same for the columns.
        tiling: largest array of which the matrix is made; by default it is one array.

    Returns:
        (rows + columns, rows + columns), in siemens, rows first: currents into the terminals per
        volt on them. Its rows sum to 0. It is shared with others who ask for the same array, and
        can't be written to.

    Raises:
        UserError: a conductance or a resistance that is negative, infinite or no number.
    """
    (found,) = terminal_admittances([g], r_word, r_bit, tiling)
    return found


def terminal_admittances(
    arrays: Sequence[Array], r_word: float, r_bit: float, tiling: Tiling | None = None
) -> list[Array]:
    """What `terminal_admittance` finds of each of several arrays; small ones are solved together.

    Args:
        arrays: conductances of each, all of one shape.
        r_word: resistance of one segment of a row in ohms, 0 for an ideal wire.
        r_bit: the same for the columns.
        tiling: largest array of which a matrix is made; by default it is one array.

    Raises:
        UserError: as there.
    """
    return _seen(arrays, Lines(r_word=r_word, r_bit=r_bit), tiling, _admittances)


def loaded_transfer(
    g: Array, r_word: float, r_bit: float, tiling: Tiling | None = None
) -> LoadedTransfer:
    """The part of `terminal_admittance` without what the rows couple to each other.

    Of a large array it is found without the whole, which would take more time and memory.

    Args:
        g: conductances, (rows, columns), in siemens, >= 0; 0 for an open cell.
        r_word: resistance of one segment of a row in ohms, 0 for an ideal wire.
        r_bit: the same for the columns.
        tiling: largest array of which it is made; by default it is one array.

    Raises:
        UserError: as there.
    """
    lines, rows = Lines(r_word=r_word, r_bit=r_bit), g.shape[0]
    if _in_one(g.shape, tiling) and math.prod(g.shape) > _SHARED and not lines.ideal:
        checked_conductances(torch.from_numpy(g))
        solved = SOLUTIONS.get(g, (_loaded.__name__, lines), lambda: _loaded(g, lines))
        *_, (scale,) = solved
        transfer, between, lost = (np.divide(x, scale, dtype=float) for x in solved[:3])
        columns = _from_couplings(between)
        np.einsum("ii->i", columns)[...] += transfer.sum(axis=1)
        return LoadedTransfer(transfer, columns, transfer.sum(axis=0) + lost)
    y = terminal_admittance(g, r_word, r_bit, tiling)
    return LoadedTransfer(-y[rows:, :rows], y[rows:, rows:], y.diagonal()[:rows])


def wire_admittance(g: Array, r_word: float, r_bit: float, tiling: Tiling | None = None) -> Array:
    """What the wires of an array take: the power in them is v^T Y v, with v on its terminals.

    Errors are those of `terminal_admittance`.

    Args:
        g: conductances, (rows, columns), in siemens, >= 0; 0 for an open cell.
        r_word: resistance of one segment of a row in ohms, 0 for an ideal wire.
        r_bit: the same for the columns.
        tiling: largest array of which the matrix is made; by default it is one array.

    Returns:
        (rows + columns, rows + columns), in siemens, rows first; a part of `terminal_admittance`,
        the devices take the rest.
    """
    (found,) = _seen([g], Lines(r_word=r_word, r_bit=r_bit), tiling, _wires)
    return found


def _seen(
    arrays: Sequence[Array],
    lines: Lines,
    tiling: Tiling | None,
    of: Callable[[Tensor, Lines], Solved],
) -> list[Array]:
    """Matrices between the terminals of arrays, each solved once for the same content."""
    for g in arrays:
        checked_conductances(torch.from_numpy(g))
    shape, tiling = arrays[0].shape, tiling or Tiling()
    whole = _in_one(shape, tiling)

    def solve(unknown: Sequence[Array]) -> list[Solved]:
        if not whole:
            return [_of_tiles(torch.from_numpy(g), lines, tiling, of) for g in unknown]
        found: list[Solved] = []
        size = max(1, _TOGETHER // math.prod(shape))
        for first in range(0, len(unknown), size):
            found += _of_each(unknown[first : first + size], lines, of)
        return found

    solved = SOLUTIONS.get_all(arrays, (of.__name__, lines, tiling), solve)
    return [_in_double(solution) for solution in solved]


def _in_one(shape: tuple[int, ...], tiling: Tiling | None) -> bool:
    """Whether an array is made in one piece."""
    return tiling is None or tiling.cut(*shape) == (tuple(slice(0, n) for n in shape),)


def _is_large(shape: Sequence[int], lines: Lines) -> bool:
    """Whether an array is solved in single precision where it can be."""
    return shape[-2] * shape[-1] > LARGE and 0 not in (lines.r_word, lines.r_bit)


def _of_each(
    arrays: Sequence[Array], lines: Lines, of: Callable[[Tensor, Lines], Solved]
) -> list[Solved]:
    """Matrices between the terminals of arrays in one piece."""
    if len(arrays) == 1:
        return [of(torch.from_numpy(arrays[0]), lines)]
    found = _in_double(of(torch.from_numpy(np.stack(arrays)), lines))
    # With memory of its own each, so that one can be forgotten without the others.
    return [(each.copy(),) for each in found]


def _of_tiles(
    g: Tensor, lines: Lines, tiling: Tiling, of: Callable[[Tensor, Lines], Solved]
) -> Solved:
    """Sum over an array's tiles of the matrices between their terminals."""
    terminals = sum(g.shape)
    total = np.zeros((terminals, terminals))
    for tiles, places in _equal_tiles(g, tiling):
        for part, at in zip(_in_double(of(tiles, lines)), places, strict=True):
            total[np.ix_(at, at)] += part
    return (total,)


def _equal_tiles(g: Tensor, tiling: Tiling) -> Iterator[tuple[Tensor, list[Index]]]:
    """Tiles of one size, (tiles, rows, columns), with the terminals of each in the whole.

    As many at a time as have room.
    """
    by_size: dict[torch.Size, list[tuple[Tensor, Index]]] = {}
    numbers, rows = np.arange(sum(g.shape)), g.shape[0]
    for inputs, outputs in tiling.cut(*g.shape):
        at = np.concatenate([numbers[:rows][inputs], numbers[rows:][outputs]])
        by_size.setdefault(g[inputs, outputs].shape, []).append((g[inputs, outputs], at))
    for tiles in by_size.values():
        size = max(1, _AT_ONCE // sum(tiles[0][0].shape) ** 2)
        for first in range(0, len(tiles), size):
            some = tiles[first : first + size]
            yield torch.stack([tile for tile, _ in some]), [at for _, at in some]


def _admittances(g: Tensor, lines: Lines) -> Solved:
    """Admittances of arrays between their terminals, (..., terminals, terminals).

    In single precision they are couplings and by what they were scaled, which take half the room
    until somebody asks; see `_in_double`.
    """
    if _is_large(g.shape, lines):
        solved, scale = _in_single(g, lines, terminals=True)
        if solved is not None:
            return solved.couplings().numpy(), scale
    return (_from_couplings(Factorised(g, lines, keep=False, terminals=True).couplings().numpy()),)


def _loaded(g: Array, lines: Lines) -> Solved:
    """Transfer, couplings of the columns and what rows lose; and by what they were multiplied."""
    cells = torch.from_numpy(g)
    if _is_large(g.shape, lines):
        solved, scale = _in_single(cells, lines, terminals=False)
        if solved is not None:
            return _parts(solved, scale)
    return _parts(
        Factorised(cells, lines, keep=False, terminals=0 in (lines.r_word, lines.r_bit)), np.ones(1)
    )


def _parts(solved: Factorised, scale: Array) -> Solved:
    between, lost = solved.lost()
    return solved.transfer.numpy(), between.numpy(), lost.numpy(), scale


def _in_single(g: Tensor, lines: Lines, *, terminals: bool) -> tuple[Factorised | None, Array]:
    """An array in single precision, None where it isn't enough; and what it was multiplied by."""
    most = max(float(g.max()), 1 / lines.r_word, 1 / lines.r_bit)
    scale = 2.0 ** (_TOP - math.frexp(most)[1])
    cells = torch.mul(g, scale, out=torch.empty_like(g, dtype=torch.float32))
    try:
        solved = Factorised(cells, lines.times(1 / scale), keep=False, terminals=terminals)
    except ConvergenceError:
        return None, np.array([scale])
    return (solved if solved.rounding <= _ROUNDING else None), np.array([scale])


def _in_double(solved: Solved) -> Array:
    """Admittances of what has been solved: they, or scaled couplings in single precision."""
    if len(solved) == 1:
        return solved[0]
    couplings, (scale,) = solved
    found = couplings.astype(np.float64)
    found /= scale
    found = _from_couplings(found)
    found.flags.writeable = False
    return found


def _from_couplings(found: Array) -> Array:
    """Admittances in the place of couplings, which have no diagonal."""
    sums = found.sum(axis=-1)
    np.negative(found, out=found)
    np.einsum("...ii->...i", found)[...] = sums
    return found


def _wires(g: Tensor, lines: Lines) -> Solved:
    """What the lines of arrays take per volt on their terminals, squared: the same shape."""
    rows, terminals = g.shape[-2], sum(g.shape[-2:])
    volts = torch.eye(terminals, dtype=g.dtype).expand(*g.shape[:-2], -1, -1)
    if lines.ideal:
        return (np.zeros(volts.shape),)
    word, bit = Factorised(g, lines).voltages(volts[..., :rows], volts[..., rows:])
    currents = branch_currents(g.unsqueeze(-3) * (word - bit), lines)
    along_words, along_bits = currents.word.flatten(-2), currents.bit.flatten(-2)
    taken = lines.r_word * along_words @ along_words.mT + lines.r_bit * along_bits @ along_bits.mT
    return (taken.numpy(),)
