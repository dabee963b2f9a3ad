"""What a circuit is made of: banks of equal parts between named ports, as data.

Every element stands for n equal ones, one a neuron or channel; its values are tensors (n,). A port
is the same node of all amplifiers of a bank, or of all sources of a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from torch import Tensor

from analogdfc.wires import Lines, Tiling


class Node(Enum):
    """Which node of an amplifier or a source a port is."""

    SUMMING = "summing node"
    OUTPUT = "output"
    SOURCE = "source"


class Port(NamedTuple):
    """The same node of every member of a bank of amplifiers, or of a group of sources.

    Attributes:
        bank: name of the bank or group.
        node: which node.
    """

    bank: str
    node: Node


class Array(Enum):
    """What the devices of a crossbar hold."""

    FORWARD = "forward crossbars"
    FEEDBACK = "feedback crossbars"


@dataclass(frozen=True, eq=False)
class Bank:
    """Equal amplifiers, non-inverting inputs at ground.

    Attributes:
        name: its name, unique in a circuit.
        part: where it is: 'layer 1'..'layer L' or 'controller'.
        offset: input offset of each, (n,), in volts.
        in_loop: whether the loop runs through it; else only the readout sees it.
        self_zeroed: whether an auto-zero takes off their offsets; these are what it leaves.
    """

    name: str
    part: str
    offset: Tensor
    in_loop: bool = True
    self_zeroed: bool = False

    @property
    def size(self) -> int:
        """Number of amplifiers."""
        return len(self.offset)

    @property
    def x(self) -> Port:
        """Its summing nodes, the inverting inputs."""
        return Port(self.name, Node.SUMMING)

    @property
    def o(self) -> Port:
        """Its outputs."""
        return Port(self.name, Node.OUTPUT)


@dataclass(frozen=True)
class Sources:
    """Voltage sources to ground.

    Attributes:
        name: name of the group, unique in a circuit.
        size: number of sources.
    """

    name: str
    size: int

    @property
    def port(self) -> Port:
        """Their nodes."""
        return Port(self.name, Node.SOURCE)


@dataclass(frozen=True, eq=False)
class Resistors:
    """Resistors from a to b.

    Attributes:
        part: where they are.
        a: one end; of the zeroed ones, the end with the stored voltage in series.
        b: the other end; None for ground.
        siemens: their conductances, (n,).
        zeroed: whether the auto-zero's stored voltage is taken off that of a.
    """

    part: str
    a: Port
    b: Port | None
    siemens: Tensor
    zeroed: bool = False


@dataclass(frozen=True, eq=False)
class Capacitors:
    """Capacitors from a to b.

    Attributes:
        part: where they are.
        a: one end.
        b: the other end; None for ground.
        farads: their capacitances, (n,).
        intended: whether their lag belongs to the algorithm, as tau_v does; else it is a price.
        line: whether they are lines of a crossbar.
    """

    part: str
    a: Port
    b: Port | None
    farads: Tensor
    intended: bool = False
    line: bool = False


@dataclass(frozen=True, eq=False)
class Branches:
    """Resistors in series with capacitors, from a to b; the resistor lies at a.

    Attributes:
        part: where they are.
        a: one end.
        b: the other end.
        ohms: series resistances, (n,); 0 for a bare capacitor.
        farads: capacitances, (n,).
        leak: conductance across the capacitor alone, (n,), in siemens.
    """

    part: str
    a: Port
    b: Port
    ohms: Tensor
    farads: Tensor
    leak: Tensor


@dataclass(frozen=True, eq=False)
class Cells:
    """Transconductors that draw I_t tanh((sign V + offset) / scale) out of a summing node.

    Attributes:
        part: where they are.
        source: outputs that drive them.
        into: summing nodes from which they draw.
        sign: +1, or -1 where the inverting input is driven.
        offset: input offset, (n,), in volts.
        self_zeroed: as of `Bank`.
    """

    part: str
    source: Port
    into: Port
    sign: float
    offset: Tensor
    self_zeroed: bool = False


class Rails(NamedTuple):
    """The two row drivers of each of some inputs of a crossbar.

    Attributes:
        plus: drivers of the first rails.
        minus: drivers of the second rails.
    """

    plus: Port
    minus: Port


INPUT = Rails(Port("input+", Node.SOURCE), Port("input-", Node.SOURCE))
"""Sources of the inputs, +x and -x."""

BIAS = Rails(Port("bias+", Node.SOURCE), Port("bias-", Node.SOURCE))
"""Sources of the bias row, +1 and -1."""

TARGET = Port("target", Node.SOURCE)
"""Sources of the target, -r*."""


@dataclass(frozen=True, eq=False)
class Crossbar:
    """An array of device pairs between dual-rail rows and the summing nodes of its columns.

    Attributes:
        name: its name, 'W1', 'Q1', ...
        part: where it is.
        kind: what its devices hold.
        rows: drivers of its inputs, group after group.
        sizes: inputs of each group.
        columns: the summing nodes that it feeds.
        plus: devices on the first rails, (columns, inputs), in siemens.
        minus: devices on the second rails.
        row_farads: capacitance of one row, in farads.
        column_farads: capacitance of one column, in farads.
        lines: resistance of its lines.
        tiling: largest array; a larger one is cut into tiles.
        unit: siemens per unit of weight.
    """

    name: str
    part: str
    kind: Array
    rows: tuple[Rails, ...]
    sizes: tuple[int, ...]
    columns: Port
    plus: Tensor
    minus: Tensor
    row_farads: float
    column_farads: float
    lines: Lines
    tiling: Tiling
    unit: float

    @property
    def biased(self) -> bool:
        """Whether its last pair of rows is the bias."""
        return self.rows[-1] == BIAS


@dataclass(frozen=True)
class Switches:
    """Switches from a to b that are closed in the free phase and open from the release on.

    Attributes:
        a: one end.
        b: the other end.
        ohms: resistance of a closed one.
    """

    a: Port
    b: Port
    ohms: float


class AutoZero(NamedTuple):
    """Where the voltage is taken that zeroed resistors have in series.

    Stored in the free phase: the voltage of `signal` less that of `reference`.

    Attributes:
        signal: outputs of the error amplifiers.
        reference: summing nodes into which no current shall flow in the free phase.
    """

    signal: Port
    reference: Port


@dataclass(frozen=True)
class Instances:
    """Subcircuits of one kind in the netlist, one a neuron or channel.

    Attributes:
        cell: name of the cell: a file of the cell library, and its subcircuit.
        name: name of an instance, with '{k}' for its number from 1.
        part: where they are.
        size: number of instances.
        pins: what each pin is connected to, in the cell's order: a port, a global node, or the name
            of a node with '{k}' for the number.
        values: parameters, (n,) each; an infinite resistance is none.
    """

    cell: str
    name: str
    part: str
    size: int
    pins: tuple[Port | str, ...]
    values: Mapping[str, Tensor]


class Tap(NamedTuple):
    """Where a signal of the paper is measured: sign times the output of a bank.

    Attributes:
        bank: the bank.
        sign: +1 or -1.
    """

    bank: str
    sign: float

    @property
    def port(self) -> Port:
        """The outputs."""
        return Port(self.bank, Node.OUTPUT)


class LayerTaps(NamedTuple):
    """Where the signals of a layer's neurons are measured, in volts per `scale.activation`.

    Attributes:
        v: potentials.
        v_ff: feedforward compartments.
        r: activations phi(v).
        r_ff: phi(v_ff).
        r_minus: what drives the second rails of the layer above with -r; None without one.
        v_fb: feedback compartments; None where the soma itself sums the feedback.
    """

    v: Tap
    v_ff: Tap
    r: Tap
    r_ff: Tap
    r_minus: Tap | None
    v_fb: Tap | None = None


class ControlTaps(NamedTuple):
    """Where the controller's signals are measured, in volts per `scale.control`.

    Attributes:
        u: the control signal, first rail of u.
        u_minus: the amplifiers that make it, whose outputs are -u; the loop is cut there.
        e: the control error.
    """

    u: Tap
    u_minus: Tap
    e: Tap
