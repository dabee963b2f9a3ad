"""Which unknowns of a system make a cell, and through which of them cells are coupled."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Index", "Layout", "port_places"]

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Layout:
    """Which unknowns make a cell, and which are its ports.

    In grouped order the unknowns stand group by group, cell by cell; the ports of a group cell by
    cell.

    Attributes:
        groups: for each group the unknowns of its cells, (cells, size).
        ports: for each group the places within a cell that are ports, (ports,).
    """

    groups: tuple[Index, ...]
    ports: tuple[Index, ...]

    @classmethod
    def whole(cls, unknowns: int) -> Self:
        """One cell, so a dense matrix.

        Args:
            unknowns: their number.
        """
        return cls((np.arange(unknowns)[None],), (np.zeros(0, dtype=np.intp),))

    @classmethod
    def of(cls, labels: Index, group: Index, coupled: Index) -> Self:
        """The cells of labelled unknowns.

        Args:
            labels: cell of each unknown, any numbers.
            group: group of each unknown; groups are eliminated in the order of these numbers.
            coupled: the unknowns that are coupled to those of other cells.
        """
        cells: dict[tuple[int, int], dict[int, list[int]]] = {}
        for unknown in np.argsort(labels, kind="stable"):
            label, level = int(labels[unknown]), int(group[unknown])
            cells.setdefault((level, label), {}).setdefault(0, []).append(int(unknown))
        # Cells of one level that differ in size make groups of their own.
        sizes: dict[tuple[int, int], list[list[int]]] = {}
        for (level, _), parts in sorted(cells.items()):
            sizes.setdefault((level, len(parts[0])), []).append(parts[0])
        groups = tuple(np.array(sizes[key], dtype=np.intp) for key in sorted(sizes))
        is_port = np.isin(np.concatenate([g.ravel() for g in groups]), coupled)
        ports, start = [], 0
        for members in groups:
            flags = is_port[start : start + members.size].reshape(members.shape)
            ports.append(np.nonzero(flags.any(axis=0))[0])
            start += members.size
        return cls(groups, tuple(ports))

    @cached_property
    def order(self) -> Index:
        """The unknowns in grouped order."""
        return np.concatenate([g.ravel() for g in self.groups])

    @cached_property
    def place(self) -> Index:
        """Place of each unknown in grouped order."""
        found = np.empty_like(self.order)
        found[self.order] = np.arange(len(found))
        return found

    @cached_property
    def starts(self) -> list[int]:
        """Where each group starts in grouped order, and the end."""
        return [0, *itertools.accumulate(g.size for g in self.groups)]

    @cached_property
    def port_starts(self) -> list[int]:
        """Where the ports of each group start among all ports, and the end."""
        pairs = zip(self.groups, self.ports, strict=True)
        return [0, *itertools.accumulate(len(g) * len(p) for g, p in pairs)]

    @cached_property
    def port_of(self) -> Index:
        """Number of each unknown, in grouped order, among all ports; -1 where it is none."""
        found = np.full(len(self.order), -1, dtype=np.intp)
        for k, (members, ports) in enumerate(zip(self.groups, self.ports, strict=True)):
            places = self.starts[k] + np.arange(members.size).reshape(members.shape)
            first, last = self.port_starts[k : k + 2]
            found[places[:, ports].ravel()] = np.arange(first, last)
        return found

    @cached_property
    def cell(self) -> Index:
        """Number of the cell of each unknown, in grouped order."""
        cells, start = [], 0
        for members in self.groups:
            cells.append(np.repeat(start + np.arange(len(members)), members.shape[1]))
            start += len(members)
        return np.concatenate(cells)


def port_places(layout: Layout, group: int) -> Index:
    """Places in grouped order of the ports of a group.

    Args:
        layout: the cells.
        group: number of the group.
    """
    members, ports = layout.groups[group], layout.ports[group]
    places = layout.starts[group] + np.arange(members.size).reshape(members.shape)
    found: Index = places[:, ports].ravel()
    return found
