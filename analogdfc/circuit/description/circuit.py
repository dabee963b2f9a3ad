"""A circuit as data: which stages, cells, crossbars, sources and switches, and what drives what.

Described here and nowhere else. The nodal equations, the netlist, the stages of settling, the
folded static model, noise, energy and area all follow from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from analogdfc.circuit.description.elements import (
    TARGET,
    Array,
    AutoZero,
    Bank,
    Branches,
    Capacitors,
    Cells,
    ControlTaps,
    Crossbar,
    Instances,
    LayerTaps,
    Node,
    Port,
    Resistors,
    Sources,
    Switches,
    Tap,
)
from analogdfc.updating import UpdatePath


@dataclass(frozen=True, eq=False)
class Description:
    """A circuit as data.

    Attributes:
        banks: the amplifiers, in the order of their nodes.
        sources: the sources, in the order of their nodes.
        resistors: resistors around the amplifiers.
        capacitors: capacitors around the amplifiers, without their input capacitances.
        branches: resistors in series with capacitors.
        cells: the tanh cells.
        crossbars: the arrays, W_i and Q_i of layer after layer.
        switches: what is closed in the free phase.
        layers: where the signals of layers 1..L are measured.
        control: where those of the controller are measured.
        auto_zero: what the auto-zero stores.
        instances: the subcircuits of the netlist.
        nodes: names of the ports in the netlist, with '{k}' for the number from 1.
        subject: what a netlist's title calls it.
        dynamics: what its head says of the controllers and neurons, on one line.
        legend: what it says of the names of nodes, a line each.
        more_zeros: what further auto-zeros store, where there are several controllers.
        relative: whether the targets follow the output in the free phase; else they are 0 there.
        signals: where those of a circuit are measured that is no loop of layers 1..L, by name.
        noise: sources of the noise in the feedback compartments of layers 1..L; none without
            compartments.
        update: what forms the update; None where the card describes nothing, so that it is ideal.
    """

    banks: tuple[Bank, ...]
    sources: tuple[Sources, ...]
    resistors: tuple[Resistors, ...]
    capacitors: tuple[Capacitors, ...]
    branches: tuple[Branches, ...]
    cells: tuple[Cells, ...]
    crossbars: tuple[Crossbar, ...]
    switches: tuple[Switches, ...]
    layers: tuple[LayerTaps, ...]
    control: ControlTaps
    auto_zero: AutoZero
    instances: tuple[Instances, ...]
    nodes: Mapping[Port, str]
    subject: str
    dynamics: str
    legend: tuple[str, ...]
    more_zeros: tuple[AutoZero, ...] = ()
    relative: bool = True
    signals: Mapping[str, Tap] = field(default_factory=dict)
    noise: tuple[Port, ...] = ()
    update: UpdatePath | None = None

    @property
    def zeros(self) -> tuple[AutoZero, ...]:
        """The auto-zeros of all controllers."""
        return (self.auto_zero, *self.more_zeros)

    def stored(self, signal: Port) -> tuple[AutoZero, int]:
        """The auto-zero of a signal, and where its voltages start among those of all.

        Args:
            signal: what drives zeroed resistors.
        """
        start = 0
        for zero in self.zeros:
            if zero.signal == signal:
                return zero, start
            start += self.size(zero.signal)
        raise KeyError(signal)

    @cached_property
    def bank(self) -> Mapping[str, Bank]:
        """The banks by name."""
        return {bank.name: bank for bank in self.banks}

    @property
    def parts(self) -> tuple[str, ...]:
        """'layer 1'..'layer L', 'controller'."""
        return tuple(dict.fromkeys(bank.part for bank in self.banks))

    @property
    def amplifiers(self) -> int:
        """Number of amplifiers."""
        return sum(bank.size for bank in self.banks)

    @property
    def output(self) -> Port:
        """Where the network's output r_L is measured; the targets follow it in the free phase."""
        return self.layers[-1].r.port

    @property
    def target(self) -> Port:
        """The sources of the target, -r*."""
        return TARGET

    @cached_property
    def sweep(self) -> tuple[Bank, ...]:
        """The banks of the loop in the order in which a signal passes them, from behind the cut.

        The cut is at the outputs of `control.u_minus`, which comes last.
        """
        cut = self.bank[self.control.u_minus.bank]
        left = [b for b in self.banks if b.in_loop and b is not cut]
        found: list[Bank] = []
        while left:
            waiting = {b.name for b in left}
            ready = [b for b in left if not waiting & set(self._drivers(b.x))]
            # Only feedback through the cut is allowed.
            assert ready, "a loop that does not pass the controller"
            found.append(ready[0])
            left.remove(ready[0])
        return (*found, cut)

    @cached_property
    def readouts(self) -> tuple[Bank, ...]:
        """The banks that only the readout sees."""
        return tuple(b for b in self.banks if not b.in_loop)

    @cached_property
    def forward_path(self) -> tuple[tuple[Bank, float], ...]:
        """Banks from the error to the output of the last layer, with their share of the lag.

        The second rail of the control signal carries half of it, so its inverter counts half.
        """
        error, out = self.bank[self.control.e.bank], self.bank[self.control.u_minus.bank]
        last, inv = self.layers[-1], self.bank[self.control.u.bank]
        path = [(error, 1.0), (out, 1.0), (inv, 0.5)]
        if last.v_fb is not None:
            path.append((self.bank[last.v_fb.bank], 1.0))
        path.append((self.bank[last.v.bank], 1.0))
        if last.r.bank != last.v.bank:
            path.append((self.bank[last.r.bank], 1.0))
        return tuple(path)

    def _drivers(self, x: Port) -> Iterator[str]:
        """Banks whose outputs feed a summing node, its own left out."""
        ends = [(r.a, r.b) for r in self.resistors if r.b is not None]
        ends += [(r.a, r.b) for r in self.branches]
        for a, b in ends:
            if x in (a, b):
                other = b if a == x else a
                if other.node is Node.OUTPUT and other.bank != x.bank:
                    yield other.bank
        for cell in self.cells:
            if cell.into == x:
                yield cell.source.bank
        for crossbar in self.crossbars:
            if crossbar.columns == x:
                for rails in crossbar.rows:
                    yield from (p.bank for p in rails if p.node is Node.OUTPUT)

    def names(self, port: Port) -> list[str]:
        """Names of the nodes of a port in the netlist."""
        pattern = self.nodes[port]
        return [pattern.format(k=k) for k in range(1, self.size(port) + 1)]

    def size(self, port: Port) -> int:
        """Number of nodes of a port."""
        if port.node is Node.SOURCE:
            return next(s.size for s in self.sources if s.name == port.bank)
        return self.bank[port.bank].size

    def crossbars_of(self, kind: Array) -> tuple[Crossbar, ...]:
        """The forward or the feedback crossbars, layer after layer."""
        return tuple(c for c in self.crossbars if c.kind is kind)

    def conductance(self, port: Port) -> Tensor:
        """Sum of all conductances at a port's nodes, wires of crossbars left out, in siemens."""
        total = torch.zeros(self.size(port), dtype=torch.float64)
        for r in self.resistors:
            if port in (r.a, r.b):
                total = total + r.siemens
        for crossbar in self.crossbars:
            if crossbar.columns == port:
                total = total + (crossbar.plus + crossbar.minus).sum(dim=1)
            start = 0
            for rails, n in zip(crossbar.rows, crossbar.sizes, strict=True):
                for p, g in zip(rails, (crossbar.plus, crossbar.minus), strict=True):
                    if p == port:
                        total = total + g[:, start : start + n].sum(dim=0)
                start += n
        return total
