"""Which device of a netlist stands for which weight."""

from __future__ import annotations

from collections.abc import Iterator

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Array

COLUMNS = "array,row,column,instance,plus_siemens,minus_siemens,from,to,weight"
"""Head of the table. Rows and columns count from 1; 'from' and 'to' are neurons, inputs, channels
of the controller or the bias."""


def device_lines(chip: Chip) -> Iterator[str]:
    """The table of all device pairs, a line each, as CSV.

    Args:
        chip: the chip, whose netlist it belongs to.
    """
    yield COLUMNS
    for bar in chip.circuit.crossbars:
        into = chip.circuit.names(bar.columns)
        sources = [
            name.removesuffix("p") for plus, _ in bar.rows for name in chip.circuit.names(plus)
        ]
        if bar.kind is Array.FORWARD:
            sources[-1] = "bias"
        place = f"X{bar.name.lower()}.X"
        weights = ((bar.plus - bar.minus) / bar.unit).T.tolist()
        for j, (source, plus, minus, row) in enumerate(
            zip(sources, bar.plus.T.tolist(), bar.minus.T.tolist(), weights, strict=True), start=1
        ):
            for k, column in enumerate(into):
                yield (
                    f"{bar.name},{j},{k + 1},{place}{j}_{k + 1},{plus[k]!r},{minus[k]!r},"
                    f"{source},{column},{row[k]!r}"
                )
