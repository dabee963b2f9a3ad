"""Which device of a netlist stands for which weight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analogdfc import records
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Crossbar
from analogdfc.errors import UserError
from analogdfc.records import Quantity, Record

COLUMNS = "array,row,column,instance,plus_siemens,minus_siemens,from,to,weight"
"""Head of the table. Rows and columns count from 1; 'from' and 'to' are neurons, inputs, channels
of the controller or the bias."""

_PAIRS, _ORDER = "device_pairs", "arrays"

_Matrix = NDArray[np.float64]


class Placement(NamedTuple):
    """The device pairs of an array; matrices are (rows, columns), as it lies in the netlist.

    Attributes:
        name: of the array, 'W1', 'Q1', ...
        plus: conductances on the first rails, in siemens.
        minus: those on the second rails.
        weight: what a pair stands for, dimensionless.
        rows: what drives each pair of rails: a neuron, an input, a channel or the bias.
        columns: the node that each column feeds.
    """

    name: str
    plus: _Matrix
    minus: _Matrix
    weight: _Matrix
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    @classmethod
    def of(cls, chip: Chip, bar: Crossbar) -> Placement:
        """That of a chip's array.

        Args:
            chip: the chip.
            bar: one of its crossbars.
        """
        sources = [
            name.removesuffix("p") for plus, _ in bar.rows for name in chip.circuit.names(plus)
        ]
        if bar.biased:
            sources[-1] = "bias"
        held = (bar.plus - bar.minus) / bar.unit
        plus, minus, weight = (np.asarray(m.T) for m in (bar.plus, bar.minus, held))
        columns = tuple(chip.circuit.names(bar.columns))
        return cls(bar.name, plus, minus, weight, tuple(sources), columns)

    def instance(self, row: int, column: int) -> str:
        """Name of a pair in the netlist, inside the instance of its array.

        Args:
            row: its row, from 1.
            column: its column, from 1.
        """
        return f"X{self.name.lower()}.X{row}_{column}"

    def tree(self) -> dict[str, Any]:
        """The branch of a record."""
        dims = ("row", "column")
        return {
            "plus": Quantity(self.plus, "S", "conductances on the first rails", dims),
            "minus": Quantity(self.minus, "S", "conductances on the second rails", dims),
            "weight": Quantity(self.weight, "1", "what the pairs stand for", dims),
            "rows": [*self.rows],
            "columns": [*self.columns],
        }


def placements(chip: Chip) -> tuple[Placement, ...]:
    """The device pairs of all arrays.

    Args:
        chip: the chip, whose netlist they belong to.
    """
    return tuple(Placement.of(chip, bar) for bar in chip.circuit.crossbars)


def device_lines(chip: Chip) -> Iterator[str]:
    """The table of all device pairs, a line each, as CSV.

    Args:
        chip: the chip, whose netlist it belongs to.
    """
    yield COLUMNS
    for array in placements(chip):
        table = (m.tolist() for m in (array.plus, array.minus, array.weight))
        for j, (source, plus, minus, weight) in enumerate(
            zip(array.rows, *table, strict=True), start=1
        ):
            for k, column in enumerate(array.columns):
                yield (
                    f"{array.name},{j},{k + 1},{array.instance(j, k + 1)},{plus[k]!r},{minus[k]!r},"
                    f"{source},{column},{weight[k]!r}"
                )


def write_placements(path: str | Path, chip: Chip) -> Path:
    """Write the device pairs of all arrays as a record.

    Args:
        path: the file (HDF5).
        chip: the chip.

    Raises:
        UserError: it can't be written.
    """
    found = placements(chip)
    order = [array.name for array in found]
    return records.write(path, {_ORDER: order, _PAIRS: {a.name: a.tree() for a in found}})


def read_placements(path: str | Path) -> tuple[Placement, ...]:
    """The device pairs of all arrays of a netlist, as its record has them.

    Args:
        path: the file, such as 'devices.h5' in the folder of a netlist.

    Raises:
        UserError: it can't be read, or holds no device pairs.
    """
    record = records.read(path)
    found = []
    for name in _texts(record, _ORDER):
        place = f"{_PAIRS}/{name}"
        plus = record.array(f"{place}/plus", units="S", shape=(None, None))
        minus = record.array(f"{place}/minus", units="S", shape=plus.shape)
        weight = record.array(f"{place}/weight", units="1", shape=plus.shape)
        rows, columns = (_texts(record, f"{place}/{way}") for way in ("rows", "columns"))
        if (len(rows), len(columns)) != plus.shape:
            raise UserError(
                f"{path}: '{place}' names {len(rows)} rows and {len(columns)} columns of "
                f"{plus.shape[0]} x {plus.shape[1]} pairs"
            )
        found.append(Placement(name, plus, minus, weight, rows, columns))
    return tuple(found)


def _texts(record: Record, key: str) -> tuple[str, ...]:
    node = record[key]
    if not isinstance(node, np.ndarray) or not all(isinstance(word, str) for word in node.tolist()):
        raise UserError(f"{record.path}: '{key}' must be a list of texts")
    return tuple(node.tolist())
