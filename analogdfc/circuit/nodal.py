"""The nodal equations of a chip: every conductance and capacitor between its amplifiers.

Nodes come in three blocks: the summing nodes x of the amplifiers, their outputs o, and the
sources s. Crossbars enter through their terminal admittance, so that wire resistance and the load
on every driver are exact. All of it follows from the description of the circuit. The matrices are
sparse: crossbars couple neighbouring layers alone, and all else is local to a neuron.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import scipy
from numpy.typing import NDArray

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Array as Kind
from analogdfc.circuit.description import Node, Port, Rails
from analogdfc.circuit.numbers import AmplifierNumbers
from analogdfc.wires import dual_rail, terminal_admittances

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Sparse = scipy.sparse.csr_array


_NONE: Index = np.zeros(0, dtype=np.intp)


class Elements(NamedTuple):
    """Resistors or capacitors of one kind.

    Attributes:
        part: where they are: 'layer 1'..'layer L' or 'controller'.
        a: node of one end of each.
        b: node of the other end; -1 for ground.
        value: conductance in siemens, or capacitance in farads.
        zeroed: whether an auto-zero's voltage is in series, taken off that of a.
        reference: of the zeroed ones, node of what takes no current in the free phase.
        stored: of the zeroed ones, number of each one's voltage among those of all auto-zeros.
    """

    part: str
    a: Index
    b: Index
    value: Array
    zeroed: bool = False
    reference: Index = _NONE
    stored: Index = _NONE


class Series(NamedTuple):
    """Resistors in series with capacitors, of all branches one after another.

    Attributes:
        part: where each is.
        a: node of one end of each.
        b: node of the other end.
        ohms: the resistors.
        farads: the capacitors, whose voltages are unknowns.
        leak: conductance across each capacitor, in siemens.
    """

    part: list[str]
    a: Index
    b: Index
    ohms: Array
    farads: Array
    leak: Array


class TanhCells(NamedTuple):
    """All tanh cells, one after another.

    Attributes:
        part: where each is.
        source: for each the amplifier whose output drives it.
        into: for each the amplifier whose summing node it feeds.
        sign: +1, or -1 where the cell's inverting input is driven.
        offset: input offset of each, in volts.
    """

    part: list[str]
    source: Index
    into: Index
    sign: Array
    offset: Array


class WiredCrossbar(NamedTuple):
    """An array between its row drivers and its column senses.

    Attributes:
        part: where it is.
        kind: what its devices hold.
        nodes: rows, then columns.
        g: conductances, (rows, columns), in siemens.
        admittance: between the nodes, wires included, in siemens.
    """

    part: str
    kind: Kind
    nodes: Index
    g: Array
    admittance: Array


class Stamps:
    """Entries of a matrix over the nodes, which add up where they meet."""

    def __init__(self) -> None:
        self._rows: list[Index] = []
        self._columns: list[Index] = []
        self._values: list[Array] = []

    def add(self, rows: Index, columns: Index, values: Array) -> None:
        """Add entries.

        Args:
            rows: node of each row.
            columns: node of each column.
            values: the entries.
        """
        self._rows.append(rows)
        self._columns.append(columns)
        self._values.append(np.broadcast_to(values, rows.shape))

    def between(self, a: Index, b: Index, value: Array) -> None:
        """Add elements between nodes a and b to a Laplacian."""
        for rows, columns, sign in ((a, a, 1.0), (b, b, 1.0), (a, b, -1.0), (b, a, -1.0)):
            self.add(rows, columns, sign * value)

    def block(self, nodes: Index, values: Array) -> None:
        """Add a matrix over some nodes.

        Args:
            nodes: the nodes.
            values: (nodes, nodes).
        """
        at = np.nonzero(values)
        self.add(nodes[at[0]], nodes[at[1]], values[at])

    def matrix(self, nodes: int) -> Sparse:
        """The matrix, (nodes, nodes)."""
        rows = _joined(self._rows, np.intp)
        columns = _joined(self._columns, np.intp)
        values = _joined(self._values, np.float64)
        return scipy.sparse.coo_array((values, (rows, columns)), (nodes, nodes)).tocsr()


@dataclass
class NodalEquations:
    """Linear part of a chip's nodal equations, with the places of its nonlinear cells.

    Attributes:
        chip: the chip.
        numbers: its amplifiers.
        amplifiers: number of amplifiers.
        sources: number of sources.
        offset: input offset of each amplifier, in volts.
        part: where each amplifier is.
        resistors: the resistors around the amplifiers.
        capacitors: the capacitors around the amplifiers.
        lines: the capacitance of the crossbars' lines.
        crossbars: the arrays.
    """

    chip: Chip
    numbers: AmplifierNumbers
    amplifiers: int = 0
    sources: int = 0
    offset: Array = field(default_factory=lambda: np.zeros(0))
    part: list[str] = field(default_factory=list)
    resistors: list[Elements] = field(default_factory=list)
    capacitors: list[Elements] = field(default_factory=list)
    lines: list[Elements] = field(default_factory=list)
    crossbars: list[WiredCrossbar] = field(default_factory=list)
    _start: dict[str, int] = field(default_factory=dict)
    _siemens: Stamps = field(default_factory=Stamps)
    _farads: Stamps = field(default_factory=Stamps)

    @classmethod
    def of(cls, chip: Chip) -> NodalEquations:
        """Assemble the equations of the loop with the controller released."""
        (self,) = cls.of_all([chip])
        return self

    @classmethod
    def of_all(cls, chips: Sequence[Chip]) -> list[Self]:
        """The equations of several chips, whose arrays are solved together.

        Args:
            chips: the chips; all of the same layer sizes.
        """
        found = [cls(chip, AmplifierNumbers.of(chip.design.card)) for chip in chips]
        for self in found:
            self._place()
        for self, wired in zip(found, _wired(chips), strict=True):
            self._array(wired)
            self._elements()
            self._inputs()
        return found

    # Nodes

    def nodes(self, port: Port) -> Index:
        """Nodes of a port."""
        n = self.chip.circuit.size(port)
        shift = self.amplifiers if port.node is Node.OUTPUT else 0
        return self._start[port.bank] + shift + np.arange(n)

    def bank(self, name: str) -> Index:
        """Numbers of the amplifiers of a bank."""
        return self._start[name] + np.arange(self.chip.circuit.bank[name].size)

    def _place(self) -> None:
        circuit = self.chip.circuit
        for bank in circuit.banks:
            self._start[bank.name] = self.amplifiers
            self.amplifiers += bank.size
            self.part += [bank.part] * bank.size
        for sources in circuit.sources:
            self._start[sources.name] = 2 * self.amplifiers + self.sources
            self.sources += sources.size
        self.offset = np.concatenate([bank.offset.numpy() for bank in circuit.banks])

    @property
    def size(self) -> int:
        """Number of nodes."""
        return 2 * self.amplifiers + self.sources

    @cached_property
    def conductance(self) -> Sparse:
        """Laplacian over [x, o, s], in siemens, with the switches open."""
        return self._siemens.matrix(self.size)

    @cached_property
    def capacitance(self) -> Sparse:
        """Laplacian over [x, o, s], input capacitances on its diagonal, in farads."""
        return self._farads.matrix(self.size)

    # Elements

    def _rows(self, groups: tuple[Rails, ...]) -> Index:
        """Nodes of a crossbar's rows, the rails of an input next to each other."""
        pairs = [np.stack([self.nodes(p) for p in rails], axis=1).ravel() for rails in groups]
        return np.concatenate(pairs)

    def _array(self, wired: Sequence[tuple[Array, Array]]) -> None:
        for crossbar, (g, admittance) in zip(self.chip.circuit.crossbars, wired, strict=True):
            nodes = np.concatenate([self._rows(crossbar.rows), self.nodes(crossbar.columns)])
            self._siemens.block(nodes, admittance)
            self.crossbars.append(WiredCrossbar(crossbar.part, crossbar.kind, nodes, g, admittance))

    def _elements(self) -> None:
        circuit = self.chip.circuit
        for r in circuit.resistors:
            a, siemens = self.nodes(r.a), r.siemens.numpy()
            if r.b is None:
                self._siemens.add(a, a, siemens)
                self.resistors.append(Elements(r.part, a, np.full_like(a, -1), siemens))
                continue
            kind = Elements(r.part, a, self.nodes(r.b), siemens, r.zeroed)
            if r.zeroed:
                zero, start = circuit.stored(r.a)
                kind = kind._replace(
                    reference=self.nodes(zero.reference), stored=start + np.arange(len(a))
                )
            self._siemens.between(*kind[1:4])
            self.resistors.append(kind)
        for c in circuit.capacitors:
            a, farads = self.nodes(c.a), c.farads.numpy()
            if c.b is None:
                self._grounded(c.part, a, farads, line=c.line)
                continue
            kind = Elements(c.part, a, self.nodes(c.b), farads)
            self._farads.between(*kind[1:4])
            self.capacitors.append(kind)

    def _grounded(self, part: str, a: Index, farads: Array, *, line: bool = False) -> None:
        self._farads.add(a, a, farads)
        kind = Elements(part, a, np.full_like(a, -1), farads)
        (self.lines if line else self.capacitors).append(kind)

    def _inputs(self) -> None:
        for bank in self.chip.circuit.banks:
            farads = np.full(bank.size, self.numbers.c_in)
            self._grounded(bank.part, self.nodes(bank.x), farads)

    @cached_property
    def coupled(self) -> Index:
        """The nodes of amplifiers at which crossbars end, ascending."""
        nodes = np.unique(np.concatenate([c.nodes for c in self.crossbars]))
        found: Index = nodes[nodes < 2 * self.amplifiers]
        return found

    @cached_property
    def series(self) -> Series:
        """The branches with a state of their own."""
        found = self.chip.circuit.branches

        return Series(
            [b.part for b in found for _ in b.ohms],
            _joined([self.nodes(b.a) for b in found], np.intp),
            _joined([self.nodes(b.b) for b in found], np.intp),
            _joined([b.ohms.numpy() for b in found], np.float64),
            _joined([b.farads.numpy() for b in found], np.float64),
            _joined([b.leak.numpy() for b in found], np.float64),
        )

    @cached_property
    def cells(self) -> TanhCells:
        """The tanh cells."""
        found = self.chip.circuit.cells

        return TanhCells(
            [c.part for c in found for _ in c.offset],
            _joined([self.bank(c.source.bank) for c in found], np.intp),
            _joined([self.bank(c.into.bank) for c in found], np.intp),
            _joined([np.full(len(c.offset), c.sign) for c in found], np.float64),
            _joined([c.offset.numpy() for c in found], np.float64),
        )

    def reset(self) -> Sparse:
        """The conductances of the free phase, over [x, o, s].

        The switches are closed, relative targets follow the output, and with auto-zero the zeroed
        resistors hang on a voltage that equals that of the reference's summing nodes.
        """
        circuit, more = self.chip.circuit, Stamps()
        for s in circuit.switches:
            a = self.nodes(s.a)
            more.between(a, self.nodes(s.b), np.full(len(a), 1 / s.ohms))
        if self.chip.design.readout.auto_zero:
            for kind in self.resistors:
                if not kind.zeroed:
                    continue
                a, b, g, reference = kind.a, kind.b, kind.value, kind.reference
                more.between(a, b, -g)
                # What b takes at the reference's voltage, a has to give.
                for node, sign in ((b, 1.0), (a, -1.0)):
                    more.add(node, b, sign * g)
                    more.add(node, reference, -sign * g)
        y: Sparse = self.conductance + more.matrix(self.size)
        if not circuit.relative:
            return y.tocsr()
        # The target follows the output: its source repeats it with the other sign.
        follow, target = self.nodes(circuit.output), self.nodes(circuit.target)
        moved = Stamps()
        every = np.arange(self.size)
        moved.add(every, every, np.isin(every, target, invert=True).astype(np.float64))
        moved.add(target, follow, np.full(len(target), -1.0))
        released: Sparse = (y @ moved.matrix(self.size)).tocsr()
        return released


def _wired(chips: Sequence[Chip]) -> list[list[tuple[Array, Array]]]:
    """Conductances and admittance of each crossbar of each chip."""
    crossbars = [crossbar for chip in chips for crossbar in chip.circuit.crossbars]
    arrays = [dual_rail(crossbar.plus, crossbar.minus) for crossbar in crossbars]
    alike: dict[tuple[Any, ...], list[int]] = {}
    for k, (crossbar, g) in enumerate(zip(crossbars, arrays, strict=True)):
        alike.setdefault((g.shape, crossbar.lines, crossbar.tiling), []).append(k)
    admittances: dict[int, Array] = {}
    for (_, lines, tiling), numbers in alike.items():
        some = [arrays[k] for k in numbers]
        solved = terminal_admittances(some, lines.r_word, lines.r_bit, tiling)
        admittances |= zip(numbers, solved, strict=True)
    found = iter([(g, admittances[k]) for k, g in enumerate(arrays)])
    return [list(itertools.islice(found, len(chip.circuit.crossbars))) for chip in chips]


def _joined(parts: list[NDArray[Any]], kind: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype=kind), *parts])
