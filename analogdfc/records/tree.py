"""What a record holds: a tree of quantities, arrays, texts and numbers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analogdfc.errors import UserError

FORMAT = 1
"""Format of the records that are written; 0 is that of those without a mark."""

MARK = "analogdfc_format"
"""Attribute of the file that marks a record and has its format."""

__all__ = ["FORMAT", "MARK", "Branch", "Leaf", "Quantity", "Record", "Scalar", "Tree", "missing"]


@dataclass(frozen=True, eq=False)
class Quantity:
    """An array with its unit.

    Args:
        values: of any shape; booleans, integers, real or complex numbers.
        units: the SI unit as text (`"V"`, `"V/s"`); `"1"` for a dimensionless quantity.
        description: one line that says what it is; may be empty.
        dims: names of the dimensions, the labels of the HDF5 dataset; empty where there are none.

    Raises:
        ValueError: another number of names than of dimensions.
    """

    values: NDArray[Any]
    units: str
    description: str = ""
    dims: tuple[str, ...] = ()

    def __init__(
        self, values: ArrayLike, units: str, description: str = "", dims: Sequence[str] = ()
    ) -> None:
        if dims and len(dims) != np.ndim(values):
            raise ValueError(f"{len(dims)} names of {np.ndim(values)} dimensions")
        object.__setattr__(self, "dims", tuple(dims))
        object.__setattr__(self, "values", np.asarray(values))
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "description", description)


Scalar = str | bool | int | float | complex
Leaf = Quantity | NDArray[Any] | Sequence[str] | Scalar
Tree = Mapping[str, "Leaf | Tree"]
Branch = dict[str, "Quantity | NDArray[Any] | Scalar | Branch"]


@dataclass(frozen=True, eq=False)
class Record:
    """What a file holds, read into memory.

    A key is the path of names down the tree, `"ideal/v1"`. Each accessor raises `UserError` with
    the file and the key when the key is missing or holds something else.

    Args:
        path: the file, for messages.
        tree: nested dictionaries; a dataset with a unit is a `Quantity`, one without an array.
        format: of the record; 0 for a file of another program, or of a version without formats.
        unread: names at the top of the tree that are in the file, and that nobody asked for.
    """

    path: Path
    tree: Branch = field(default_factory=dict)
    format: int = 0
    unread: frozenset[str] = frozenset()

    def __contains__(self, key: str) -> bool:
        if key in self.unread:
            return True
        try:
            self[key]
        except UserError:
            return False
        return True

    def __getitem__(self, key: str) -> Quantity | NDArray[Any] | Scalar | Branch:
        node: Quantity | NDArray[Any] | Scalar | Branch = self.tree
        names = key.split("/")
        if names[0] in self.unread:
            raise LookupError(f"'{key}' is in the file, and wasn't read")
        for depth, name in enumerate(names):
            there = node if isinstance(node, dict) else {}
            if name not in there:
                where = "/".join(names[:depth])
                known = sorted(there if depth else self.unread.union(there))
                raise UserError(missing(self.path, key, name, where, known))
            node = there[name]
        return node

    def group(self, key: str) -> Branch:
        """The branch at `key`.

        Args:
            key: names down the tree, joined by '/'.
        """
        node = self[key]
        if not isinstance(node, dict):
            raise UserError(f"{self.path}: '{key}' must be a group")
        return node

    def text(self, key: str) -> str:
        """The text at `key`.

        Args:
            key: names down the tree, joined by '/'.
        """
        node = self[key]
        if not isinstance(node, str):
            raise UserError(f"{self.path}: '{key}' must be a text")
        return node

    def says(self, key: str, text: str) -> bool:
        """Whether there is this text at `key`.

        Args:
            key: names down the tree, joined by '/'.
            text: the text.
        """
        if key not in self:
            return False
        node = self[key]
        return isinstance(node, str) and node == text

    def truth(self, key: str) -> bool:
        """What holds or not, at `key`.

        Args:
            key: names down the tree, joined by '/'.
        """
        node = self[key]
        if not isinstance(node, bool):
            raise UserError(f"{self.path}: '{key}' must be true or false")
        return node

    def number(self, key: str) -> float:
        """The real number at `key`, without its unit where it has one.

        Args:
            key: names down the tree, joined by '/'.
        """
        node = self[key]
        values = node.values if isinstance(node, Quantity) else node
        if isinstance(values, np.ndarray) and values.ndim == 0:
            node = values.item()
        if isinstance(node, bool) or not isinstance(node, int | float):
            raise UserError(f"{self.path}: '{key}' must be a number")
        return node

    def integer(self, key: str) -> int:
        """The integer at `key`, for example a seed.

        Args:
            key: names down the tree, joined by '/'.
        """
        node = self[key]
        if isinstance(node, bool) or not isinstance(node, int):
            raise UserError(f"{self.path}: '{key}' must be an integer")
        return node

    def array(
        self,
        key: str,
        *,
        shape: Sequence[int | None] | None = None,
        units: str | None = None,
        finite: bool = True,
        real: bool = True,
        truth: bool = False,
    ) -> NDArray[Any]:
        """The array of numbers at `key`.

        Args:
            key: path of the dataset.
            shape: what the shape must be, `None` for a length that may be any; unchecked without.
            units: what the unit must be; unchecked without.
            finite: refuse infinite numbers and NaN.
            real: refuse complex numbers.
            truth: take truth values for numbers, too.

        Returns:
            The values, without their unit.

        Raises:
            UserError: the key is missing, holds something else than numbers, a number that isn't
                finite, or has another shape or unit.
        """
        node = self[key]
        values = node.values if isinstance(node, Quantity) else node
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "biufc":
            raise UserError(f"{self.path}: '{key}' must be an array of numbers")
        if values.dtype.kind == "b" and not truth:
            raise UserError(f"{self.path}: '{key}' holds truth values; they must be numbers")
        if real and values.dtype.kind == "c":
            raise UserError(f"{self.path}: '{key}' holds complex numbers; they must be real")
        if shape is not None and not _has_shape(values, shape):
            wanted = " x ".join("any" if n is None else str(n) for n in shape)
            found = " x ".join(map(str, values.shape)) or "a single number"
            raise UserError(f"{self.path}: '{key}' has the shape {found}; it must be {wanted}")
        found = node.units if isinstance(node, Quantity) else ""
        if units is not None and found != units:
            raise UserError(f"{self.path}: '{key}' is in '{found}'; it must be in '{units}'")
        if finite and not np.isfinite(values).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise UserError(
                f"{self.path}: '{key}' holds {values[index]} at index {index}; "
                "all numbers must be finite"
            )
        return values


def missing(path: Path, key: str, name: str, where: str, names: Sequence[str]) -> str:
    """What is said where something isn't in a file: what is missing, and what may be meant.

    Args:
        path: the file.
        key: what was asked for.
        name: the name in it that isn't there.
        where: the group that doesn't have it; empty for the file.
        names: those that it has.
    """
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"there is: {', '.join(names) or 'nothing'}"
    place = f" in '{where}'" if where else ""
    return f"{path}: missing key '{key}'; no '{name}'{place}; {hint}"


def _has_shape(values: NDArray[Any], shape: Sequence[int | None]) -> bool:
    return len(values.shape) == len(shape) and all(
        wanted in (None, length) for length, wanted in zip(values.shape, shape, strict=True)
    )
