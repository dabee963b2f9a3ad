"""Noise in time: sequences of a chip's sources as sources of its netlist, at nodes inside cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.description import Instances, Port
from analogdfc.circuit.sequences import Sequences, TransientNoise
from analogdfc.errors import UserError
from analogdfc.memory import check_memory
from analogdfc.spice.deck import logical_lines
from analogdfc.spice.held import subcircuit
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.noise import around

Array = NDArray[np.float64]

_NUMBERS = 20
"""Numbers that the text of a value takes, in all its forms."""

_A_LINE = 4
"""Points of a waveform that stand in one line."""


def driven(netlist: Netlist) -> Netlist:
    """The circuit with amplifiers that take noise from outside.

    Args:
        netlist: the circuit; its cells bring no noise in time by themselves.

    Raises:
        UserError: transistors, whose noise in time ngspice doesn't have from a seed, or amplifiers
            that no source reaches.
    """
    if netlist.fidelity == "transistor":
        raise UserError(
            "fidelity 'transistor': no noise in time here, since ngspice's of transistors has no "
            "seed; take 'macro', or .noise"
        )
    cells = around(netlist.cells, "opamp", "opamp_quiet", "opamp_driven")
    found = replace(netlist, cells=cells)
    for bank in netlist.chip.circuit.banks:
        _cell_at(found, bank.o)
    return found


@dataclass(frozen=True)
class WrittenNoise:
    """The noise of one sample as lines of its testbench.

    Attributes:
        netlist: the circuit, `driven`.
        noise: which noise.
        x: input r_0, (n_0,), dimensionless.
        step: step of the output target, (n_L,), dimensionless.
        sample: number of the sample, from 0.
    """

    netlist: Netlist
    noise: TransientNoise
    x: Tensor
    step: Tensor
    sample: int

    @property
    def nodes(self) -> frozenset[str]:
        """None: it has sources of its own."""
        return frozenset()

    def lines(self, edge: float, release: float, seconds: float) -> Iterator[str]:
        """Sources that start at the release and go on to the end.

        Args:
            edge: when they leave 0, in seconds, before the release.
            release: when their first values are reached, in seconds.
            seconds: how long they go on from there.
        """
        chip = self.netlist.chip
        model = Behavioural([chip], Rung.FULL)
        found = model.release(self.x[None], self.step[None])
        nodal = model.model.nodal[0]
        drawn = Sequences.draw(
            nodal,
            found.free[0, 0].numpy(),
            found.sources[0, 0].numpy(),
            self.noise,
            seconds,
            self.sample,
        )
        check_memory(
            _NUMBERS * len(drawn.nodes) * (2 * nodal.amplifiers + drawn.series.shape[1]),
            "a netlist with noise",
            "A wider spacing or a shorter time needs less",
        )
        times = np.concatenate([[0, edge], release + drawn.spacing * np.arange(len(drawn.nodes))])
        yield f"* Noise of seed {self.noise.seed}, a value in {drawn.spacing:.4g} s"
        number = 0
        for bank in chip.circuit.banks:
            at = nodal.bank(bank.name)
            for k, place in enumerate(_places(self.netlist, bank.o)):
                e_n, i_n = drawn.amplifiers[:, at[k]], drawn.nodes[:, at[k]]
                yield from waveform(f"Vnoise_{number} {place.noise} 0", times, e_n)
                yield from waveform(f"Inoise_{number} 0 {place.summing}", times, i_n)
                number += 1
        start = 0
        for branch in chip.circuit.branches:
            count = len(branch.ohms)
            for k, ends in enumerate(_resistors(self.netlist, branch.a, branch.b)):
                amperes = drawn.series[:, start + k] / float(branch.ohms[k])
                yield from waveform(f"Inoise_{number} {ends}", times, amperes)
                number += 1
            start += count


def waveform(head: str, times: Array, values: Array) -> Iterator[str]:
    """A source that is 0 up to the second time, and has the values from the third on.

    Args:
        head: its name and nodes.
        times: in seconds, (n,).
        values: at the third time and all after it, (n - 2,).
    """
    whole = np.concatenate([[0.0, 0.0], values])
    points = [f"{t:.12g} {v:.7g}" for t, v in zip(times, whole, strict=True)]
    yield f"{head} PWL("
    for k in range(0, len(points), _A_LINE):
        yield "+ " + " ".join(points[k : k + _A_LINE])
    yield "+ )"


@dataclass(frozen=True)
class _Place:
    """Nodes of an amplifier: of its noise, and its inverting input."""

    noise: str
    summing: str


@dataclass(frozen=True)
class _Cell:
    """A cell of the netlist, by the names inside.

    Attributes:
        pins: its pins.
        parts: name, nodes of resistors, capacitors and amplifiers.
    """

    pins: list[str]
    parts: list[tuple[str, list[str]]]

    @classmethod
    def of(cls, netlist: Netlist, name: str) -> _Cell:
        """The cell of that name."""
        text = subcircuit(netlist.cells, name)[0]
        pins: list[str] = []
        parts = []
        for _, line in logical_lines(f"*\n{text}"):
            words = line.split()
            plain = [word for word in words if "=" not in word]
            if words[0].lower() == ".subckt":
                pins = plain[2:]
            elif words[0][0].lower() in "rc" or plain[-1] == "opamp":
                parts.append((words[0].lower(), plain[1:]))
        return cls(pins, parts)


def _cell_at(netlist: Netlist, port: Port) -> tuple[Instances, _Cell]:
    """The instances that have a port as the output of one of their amplifiers."""
    for kind in netlist.chip.circuit.instances:
        if port in kind.pins:
            cell = _Cell.of(netlist, kind.cell)
            pin = cell.pins[kind.pins.index(port)]
            if any(n[0] == "x" and nodes[2] == pin for n, nodes in cell.parts):
                return kind, cell
    raise UserError(
        f"noise in time: the amplifiers {port.bank!r} lie inside a cell, where no source reaches "
        "them; take a P or PI controller"
    )


def _node(netlist: Netlist, kind: Instances, cell: _Cell, inner: str, k: int) -> str:
    """Name in the whole circuit of a node inside the k-th instance."""
    if inner in cell.pins:
        pin = kind.pins[cell.pins.index(inner)]
        return netlist.chip.circuit.names(pin)[k] if isinstance(pin, Port) else pin
    return f"x{kind.name.format(k=k + 1)}.{inner}"


def _places(netlist: Netlist, output: Port) -> Iterator[_Place]:
    """Where the noise of the amplifiers of an output enters."""
    kind, cell = _cell_at(netlist, output)
    pin = cell.pins[kind.pins.index(output)]
    name, nodes = next(p for p in cell.parts if p[0][0] == "x" and p[1][2] == pin)
    for k in range(kind.size):
        inside = f"x{kind.name.format(k=k + 1)}.{name}.z"
        yield _Place(inside, _node(netlist, kind, cell, nodes[1], k))


def _resistors(netlist: Netlist, a: Port, b: Port) -> Iterator[str]:
    """Nodes of the resistors of a branch, so that a current from the first is one from a to b."""
    output = a if b.node.name == "SUMMING" and a.bank == b.bank else Port(b.bank, a.node)
    kind, cell = _cell_at(netlist, output)
    pin = cell.pins[kind.pins.index(output)]
    amplifier = next(p[1] for p in cell.parts if p[0][0] == "x" and p[1][2] == pin)
    start = pin if output == a else cell.pins[kind.pins.index(a)]
    ends = {start, amplifier[1]}
    for name, (p, q, *_) in cell.parts:
        for inner, outer in ((p, q), (q, p)):
            if name[0] != "r" or outer not in ends or inner in cell.pins or inner in ends:
                continue
            other = (ends - {outer}).pop()
            if any(n[0] == "c" and set(c[:2]) == {inner, other} for n, c in cell.parts):
                first, second = (outer, inner) if outer == start else (inner, outer)
                for k in range(kind.size):
                    yield " ".join(_node(netlist, kind, cell, n, k) for n in (first, second))
                return
    raise UserError(f"cells: {kind.cell} has no resistor in series with a capacitor to {start!r}")
