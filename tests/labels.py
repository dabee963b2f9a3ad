"""Whether a record says what its numbers are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from analogdfc import records
from analogdfc.records import Quantity

UNSAID = ("training", "network")
"""Branches that are for the program to read again: states of a training, feedback of any kind."""


def unlabelled(path: Path) -> list[str]:
    """The arrays of a record whose dimensions have no names, or that no words describe."""
    tree = records.read(path).tree
    return [*_unlabelled({name: branch for name, branch in tree.items() if name not in UNSAID})]


def _unlabelled(tree: Mapping[str, object], where: str = "") -> Iterator[str]:
    for name, leaf in tree.items():
        place = f"{where}/{name}"
        if isinstance(leaf, dict):
            yield from _unlabelled(leaf, place)
        elif isinstance(leaf, Quantity):
            if len(leaf.dims) != np.ndim(leaf.values) or not all(leaf.dims):
                yield f"{place}: {np.shape(leaf.values)} has the dimensions {leaf.dims}"
            if np.ndim(leaf.values) and not leaf.description:
                yield f"{place}: not described"
        elif isinstance(leaf, np.ndarray) and leaf.dtype.kind != "U":
            yield f"{place}: no unit"
