"""A matrix cut into arrays of a largest size."""

from __future__ import annotations

from dataclasses import dataclass

from analogdfc.errors import UserError

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Tiling:
    """Largest array; None for no limit.

    Every tile has lines of its own. The drivers of a row drive all its tiles, and the currents of
    the tiles of a column add up at its sense amplifier, both without resistance in between.

    Attributes:
        rows: largest number of rows, all rails counted.
        columns: largest number of columns, references counted.

    Raises:
        UserError: a size below 1.
    """

    rows: int | None = None
    columns: int | None = None

    def __post_init__(self) -> None:
        for name, size in (("rows", self.rows), ("columns", self.columns)):
            if size is not None and size < 1:
                raise UserError(f"arrays of {size} {name}; 1 or more are allowed")

    def inputs(self, count: int, rails: int) -> Ranges:
        """Inputs of each row of arrays, first and one past the last.

        Args:
            count: number of inputs.
            rails: rows of an input.

        Raises:
            UserError: arrays with fewer rows than rails.
        """
        return _ranges(count, self.rows, self.rows and self.rows // rails, f"{rails} rails", "row")

    def outputs(self, count: int, references: int) -> Ranges:
        """Outputs of each column of arrays.

        Args:
            count: number of outputs.
            references: columns of an array that belong to no output.

        Raises:
            UserError: arrays without a column beside the references.
        """
        left = None if self.columns is None else self.columns - references
        need = f"{references} reference and 1 output"
        return _ranges(count, self.columns, left, need, "column")

    def keeping_rails(self, rails: int) -> Tiling:
        """The tiling whose tiles hold all rails of each of their inputs.

        Args:
            rails: rows of an input, next to each other.

        Raises:
            UserError: arrays with fewer rows than rails.
        """
        if self.rows is None:
            return self
        _, inputs = self.inputs(self.rows, rails)[0]
        return Tiling(inputs * rails, self.columns)

    def cut(self, rows: int, columns: int) -> tuple[tuple[slice, slice], ...]:
        """Rows and columns of each tile of a matrix, tile row after tile row.

        Args:
            rows: of the matrix, each counted for itself.
            columns: of the matrix.
        """
        return tuple(
            (slice(*inputs), slice(*outputs))
            for inputs in self.inputs(rows, 1)
            for outputs in self.outputs(columns, 0)
        )


def _ranges(count: int, size: int | None, each: int | None, need: str, what: str) -> Ranges:
    if each is None:
        return ((0, count),)
    if each < 1:
        raise UserError(f"arrays of {size} {what}s: too few for {need}; give a larger size")
    return tuple((first, min(first + each, count)) for first in range(0, count, each))
