"""What hangs together in a chip without its crossbars: neurons, and the controller with them."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from analogdfc.circuit.description import Port
from analogdfc.circuit.nodal import NodalEquations

__all__ = ["cells_of"]

Index = NDArray[np.intp]


def cells_of(nodal: NodalEquations) -> tuple[Index, Index]:
    """The cells that a chip falls into where its crossbars are cut, and their layers.

    Args:
        nodal: the chip's equations.

    Returns:
        For each amplifier the number of its cell, and the layer to which that belongs; what hangs
        together with the controller belongs to the last.
    """
    circuit, n = nodal.chip.circuit, nodal.amplifiers
    ends: list[tuple[Index, Index]] = [(nodal.bank(b.name), nodal.bank(b.name)) for b in
                                       circuit.banks]  # fmt: skip

    def join(a: Port, b: Port) -> None:
        if a.bank in circuit.bank and b.bank in circuit.bank:
            ends.append((nodal.nodes(a) % n, nodal.nodes(b) % n))

    between = [(r.a, r.b) for r in circuit.resistors if r.b is not None]
    between += [(b.a, b.b) for b in circuit.branches]
    between += [(s.a, s.b) for s in circuit.switches]
    for first, second in between:
        join(first, second)
        # The target follows the output while the controller is held in reset.
        for end, other in ((first, second), (second, first)):
            if end == circuit.target and circuit.relative:
                join(circuit.output, other)
    for c in circuit.capacitors:
        if c.b is not None:
            join(c.a, c.b)
    for cell in circuit.cells:
        ends.append((nodal.bank(cell.source.bank), nodal.bank(cell.into.bank)))
    for kind in circuit.resistors:
        if kind.zeroed and kind.b is not None:
            zero, _ = circuit.stored(kind.a)
            join(kind.b, zero.reference)
            join(kind.a, zero.reference)
    a, b = (np.concatenate(side) for side in zip(*ends, strict=True))
    graph = scipy.sparse.coo_array((np.ones(len(a)), (a, b)), (n, n))
    _, labels = scipy.sparse.csgraph.connected_components(graph, directed=False)
    parts = {part: k for k, part in enumerate(dict.fromkeys(nodal.part))}
    own = np.array([parts[part] for part in nodal.part])
    own[own == parts.get("controller", -1)] = len(parts)
    last = np.zeros(labels.max() + 1, dtype=np.intp)
    np.maximum.at(last, labels, own)
    return labels.astype(np.intp), last[labels]
