"""Trees of numbers: what one computation found, for a record and for other programs.

A tree is nested mappings whose leaves are texts, numbers, `Quantity` arrays, or None where there is
none. Rows of a table are a list of mappings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from analogdfc.records import Quantity

__all__ = ["as_json", "as_leaves"]


def as_leaves(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree as a record holds it: rows by their place, nothing where there is none.

    Args:
        tree: the tree.
    """
    out: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            out[name] = as_leaves(value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            out[name] = {str(k): as_leaves(row) for k, row in enumerate(value)}
        elif value is not None and not _empty(value):
            out[name] = value
    return out


def _empty(value: Any) -> bool:
    values = value.values if isinstance(value, Quantity) else value
    return hasattr(values, "__len__") and not isinstance(values, str) and len(values) == 0


def as_json(tree: Any) -> Any:
    """A tree as JSON has it: lists without their units, null for a number that isn't finite.

    Args:
        tree: the tree, or a leaf of it.
    """
    if isinstance(tree, Mapping):
        return {name: as_json(inner) for name, inner in tree.items()}
    if isinstance(tree, Quantity):
        return as_json(tree.values.tolist())
    if isinstance(tree, list | tuple):
        return [as_json(inner) for inner in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
