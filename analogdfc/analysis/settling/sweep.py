"""One sweep through a chip's banks of amplifiers, from the cut round to it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.stages import Admittance, Charge, Nodes, Stages, single
from analogdfc.analysis.settling.terminals import Terminals
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Bank, Description, Node, Port
from analogdfc.circuit.numbers import AmplifierNumbers

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


class Element(NamedTuple):
    """Equal two-terminal elements.

    Attributes:
        a: one end of each.
        b: the other end; None for ground.
        y: their admittance.
    """

    a: Port
    b: Port | None
    y: Admittance


class Through(NamedTuple):
    """Currents into nodes through elements from others, one to one.

    Attributes:
        port: the other nodes.
        y: the elements.
    """

    port: Port
    y: Admittance

    def current(self, volts: Complex, s: Complex) -> Complex:
        """Of the voltages of the other nodes, (..., n), and of s."""
        out: Complex = self.y.at(s) * volts
        return out

    def single(self) -> Through:
        """The same in single precision."""
        return self._replace(y=self.y.single())


class Product(NamedTuple):
    """Currents into nodes that each follow from the voltages of many.

    Attributes:
        port: the others.
        matrix: siemens, (others, nodes).
    """

    port: Port
    matrix: Array

    def current(self, volts: Complex, _: Complex) -> Complex:
        """Of the voltages of the others, (..., n), as that of `Through`."""
        return times(volts, self.matrix)

    def single(self) -> Product:
        """The same in single precision."""
        return self._replace(matrix=single(self.matrix))


class Cells(NamedTuple):
    """Currents of tanh cells into a node, linear around a state.

    Attributes:
        port: the node that the cells sense.
        siemens: their slopes, (batch or 1, points or 1, 1, n).
    """

    port: Port
    siemens: Array

    def current(self, volts: Complex, _: Complex) -> Complex:
        """Of the voltages of the node, (..., n), as that of `Through`."""
        out: Complex = -self.siemens * volts
        return out

    def at(self, points: NDArray[np.intp]) -> Cells:
        """The same at some of the frequencies."""
        return self._replace(siemens=self.siemens[:, points])

    def single(self) -> Cells:
        """The same in single precision."""
        return self._replace(siemens=single(self.siemens))


Term = Through | Product
Terms = Mapping[Port, Sequence[Term]]
Slopes = Mapping[Port, Sequence[Cells]]


@dataclass(frozen=True)
class Paths:
    """What hangs on the nodes of a chip's amplifiers, and what runs between them.

    The tanh cells are not part of it: what they do depends on the operating point.

    Attributes:
        chip: the chip.
        numbers: its amplifier.
        elements: resistors, capacitors and branches.
        nodes: of every bank, by its name.
        into: currents into a port from the voltages of others.
        backward: whether some of them come from nodes that a sweep has not reached yet.
    """

    chip: Chip
    numbers: AmplifierNumbers
    elements: tuple[Element, ...]
    nodes: Mapping[str, Nodes]
    into: Terms
    backward: bool

    @classmethod
    def of(cls, chip: Chip, *, rough: bool = False) -> Paths:
        """Those of a chip.

        Args:
            chip: the chip.
            rough: as in `Terminals.of`.
        """
        circuit, numbers = chip.circuit, AmplifierNumbers.of(chip.design.card)
        nodes = {bank.name: Nodes.bare(bank.size) for bank in circuit.banks}
        into: dict[Port, list[Term]] = {}
        elements = tuple(_elements(circuit, numbers.c_in))
        for a, b, y in elements:
            ends = {p.bank: [q.node for q in (a, b) if q and q.bank == p.bank] for p in (a, b) if p}
            for bank, which in ends.items():
                if bank in nodes:
                    nodes[bank].hang(y, x=Node.SUMMING in which, o=Node.OUTPUT in which)
            if b is not None and a.bank != b.bank:
                for here, there in ((a, b), (b, a)):
                    into.setdefault(here, []).append(Through(there, y))
        for crossbar in circuit.crossbars:
            _seen(Terminals.of(crossbar, rough=rough), crossbar.columns, nodes, into)
        known = {bank.name: k for k, bank in enumerate(circuit.sweep)}
        backward = numbers.r_out > 0 or any(
            term.port.bank in known and known[term.port.bank] >= known[bank.name]
            for bank in circuit.sweep
            for term in into.get(bank.x, ())
            if term.port != circuit.control.u_minus.port
        )
        return cls(chip, numbers, elements, nodes, into, backward)

    @cached_property
    def single(self) -> Paths:
        """The same in single precision, for sweeps without charges."""
        into = {port: [term.single() for term in terms] for port, terms in self.into.items()}
        return replace(self, into=into)

    def charges(self, s: Complex, moved: Mapping[str, Array]) -> dict[str, Charge]:
        """What capacitors and amplifiers hold at the start, by bank.

        Args:
            s: frequencies.
            moved: volts that the outputs of every bank are off their rest, (batch, n).
        """
        inner = {
            name: moved[name][:, None, None, :] * (1 + self.numbers.r_out * nodes.load)
            for name, nodes in self.nodes.items()
        }
        volts: dict[Port, Array] = {}
        for name, v in inner.items():
            loaded = self.numbers.inverse_gain_into(self.nodes[name].g_o)
            volts[Port(name, Node.SUMMING)] = -loaded * v
            volts[Port(name, Node.OUTPUT)] = moved[name][:, None, None, :]
        held: dict[Port, Complex] = {port: v * 0 + 0 * s for port, v in volts.items()}
        for a, b, y in self.elements:
            if not y.farads.any():
                continue
            fall = volts.get(a, 0.0) - (volts.get(b, 0.0) if b is not None else 0.0)
            charge = y.charge(s, np.asarray(fall))
            for port, sign in ((a, 1), (b, -1)):
                if port in held:
                    held[port] = held[port] + sign * charge
        return {
            name: nodes.charge(
                s,
                inner[name],
                (held[Port(name, Node.SUMMING)], held[Port(name, Node.OUTPUT)]),
                self.numbers,
            )
            for name, nodes in self.nodes.items()
        }


def _elements(circuit: Description, c_in: float) -> Iterator[Element]:
    for r in circuit.resistors:
        yield Element(r.a, r.b, Admittance.parallel(r.siemens.numpy()))
    for c in circuit.capacitors:
        farads = c.farads.numpy()
        yield Element(c.a, c.b, Admittance.parallel(np.zeros_like(farads), farads))
    for bank in circuit.banks:
        yield Element(bank.x, None, Admittance.parallel(np.zeros(bank.size), c_in))
    for b in circuit.branches:
        yield Element(b.a, b.b, Admittance(b.leak.numpy(), b.farads.numpy(), b.ohms.numpy()))


def _seen(
    terminals: Terminals, columns: Port, nodes: Mapping[str, Nodes], into: dict[Port, list[Term]]
) -> None:
    """Hang a crossbar on its drivers and on the summing nodes that it feeds."""
    nodes[columns.bank].hang(Admittance.parallel(terminals.columns), x=True, o=False)
    at_columns = into.setdefault(columns, [])
    if terminals.across_columns is not None:
        at_columns.append(Product(columns, -terminals.across_columns))
    for k, driver in enumerate(terminals.drivers):
        nodes[driver.port.bank].hang(Admittance.parallel(driver.load), x=False, o=True)
        at_columns.append(Product(driver.port, driver.transfer.T))
        at_row = into.setdefault(driver.port, [])
        at_row.append(Product(columns, driver.transfer))
        if terminals.across_rows is not None:
            for other, matrix in zip(terminals.drivers, terminals.across_rows[k], strict=True):
                at_row.append(Product(other.port, -matrix.T))


@dataclass
class Sweep:
    """Voltages of summing nodes and outputs by bank, (batch, points, k, n), bank after bank.

    What a node that is not reached yet does is taken from the sweep before.

    Attributes:
        paths: what connects the banks.
        slopes: currents of the tanh cells.
        stages: the equations of the banks.
        cut: voltages given at the cut, (batch, points, k, n_L).
        charges: what the start has left behind, by bank; empty for nothing.
        last: the sweep before; None for nothing that runs backwards.
        x: voltages of the summing nodes.
        o: voltages of the outputs.
    """

    paths: Paths
    slopes: Slopes
    stages: Stages
    cut: Complex
    charges: Mapping[str, Charge]
    last: Sweep | None
    x: dict[str, Complex] = field(default_factory=dict)
    o: dict[str, Complex] = field(default_factory=dict)

    def run(self) -> Sweep:
        """Go once through all banks of the loop."""
        for bank in self.paths.chip.circuit.sweep:
            self._solve(bank)
        return self

    def again(self) -> Sweep:
        """The next sweep, which knows what runs backwards from this one."""
        self.last = None
        return Sweep(self.paths, self.slopes, self.stages, self.cut, self.charges, self).run()

    def at(self, points: NDArray[np.intp]) -> Sweep:
        """The same at some of the frequencies, which have slopes of their own each.

        Without charges, and without the sweep before.
        """
        x, o = ({name: v[:, points] for name, v in node.items()} for node in (self.x, self.o))
        cut, stages = self.cut[:, points], self.stages.at(points)
        slopes = {port: [c.at(points) for c in cells] for port, cells in self.slopes.items()}
        return Sweep(self.paths, slopes, stages, cut, {}, None, x, o)

    def read(self) -> dict[str, Complex]:
        """Outputs of all banks for k = 1, (batch, points, n), with what only the readout sees."""
        for bank in self.paths.chip.circuit.readouts:
            self._solve(bank)
        return {name: v[..., 0, :] for name, v in self.o.items()}

    def _solve(self, bank: Bank) -> None:
        into_x = self._into(bank.x)
        if into_x is None:
            into_x = np.zeros_like(self.cut[..., :1])
        into_o = self._into(bank.o) if self.paths.numbers.r_out > 0 else None
        self.x[bank.name], self.o[bank.name] = self.stages.solve(
            bank.name, into_x, into_o, self.charges.get(bank.name)
        )

    def _into(self, port: Port) -> Complex | None:
        """Currents into a port from all nodes whose voltage is known; None for none."""
        total: Complex | None = None
        terms: list[Term | Cells] = [*self.paths.into.get(port, ()), *self.slopes.get(port, ())]
        for term in terms:
            volts = self._volts(term.port)
            if volts is not None:
                current = term.current(volts, self.stages.s)
                total = current if total is None else total + current
        return total

    def _volts(self, port: Port) -> Complex | None:
        if port == self.paths.chip.circuit.control.u_minus.port:
            return self.cut
        here = self.x if port.node is Node.SUMMING else self.o
        if port.bank in here:
            return here[port.bank]
        if self.last is None:
            return None
        before = self.last.x if port.node is Node.SUMMING else self.last.o
        return before.get(port.bank)


def times(v: Complex, matrix: Array) -> Complex:
    """Product v @ matrix with a real matrix of the same precision, as one real product."""
    flat = v.reshape(-1, v.shape[-1])
    both = np.concatenate([flat.real, flat.imag]) @ matrix
    out = np.empty((*v.shape[:-1], matrix.shape[1]), dtype=v.dtype)
    out.real, out.imag = both.reshape(2, *out.shape)
    return out
