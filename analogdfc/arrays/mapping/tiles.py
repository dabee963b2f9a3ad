"""A matrix cut into arrays of a largest size."""

from __future__ import annotations

from dataclasses import dataclass

from analogdfc.errors import UserError

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Tiling:
    """Largest array; None for no limit.

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

        Raises:
            UserError: arrays with fewer rows than rails.
        """
        return _ranges(count, self.rows, self.rows and self.rows // rails, f"{rails} rails", "row")

    def outputs(self, count: int, references: int) -> Ranges:
        """Outputs of each column of arrays.

        Raises:
            UserError: arrays without a column beside the references.
        """
        left = None if self.columns is None else self.columns - references
        need = f"{references} reference and 1 output"
        return _ranges(count, self.columns, left, need, "column")


def _ranges(count: int, size: int | None, each: int | None, need: str, what: str) -> Ranges:
    if each is None:
        return ((0, count),)
    if each < 1:
        raise UserError(f"arrays of {size} {what}s: too few for {need}; give a larger size")
    return tuple((first, min(first + each, count)) for first in range(0, count, each))
