"""A chip's amplifiers at rest, one law for all of them, from the circuit's description.

Kirchhoff's law at a summing node, whose voltage is V_os - V_out / A0':

    V_out (G_f + G_S / A0') = G_S V_os - sum G_k V_k - currents of tanh cells,

with G_S the sum of all conductances at the node and A0' = A0 / (1 + (R_out + R_stage) G_load).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Bank, Crossbar, Port
from analogdfc.circuit.numbers import AmplifierNumbers
from analogdfc.circuit.static.crossbar import Coupling, coupling
from analogdfc.circuit.static.folded import Cell


class Way(NamedTuple):
    """What conducts at rest between a summing node and another port.

    Attributes:
        port: the other port.
        siemens: conductance, (n,).
        zeroed: whether the auto-zero's voltage is taken off that of the port.
    """

    port: Port
    siemens: Tensor
    zeroed: bool = False


class Stages:
    """The stages of a chip at rest.

    Args:
        chip: the chip.
        ideal: take the amplifiers' gain as infinite.

    Attributes:
        circuit: its description.
        card: its technology.
    """

    def __init__(self, chip: Chip, *, ideal: bool = False) -> None:
        self.circuit, self.card = chip.circuit, chip.design.card
        numbers = AmplifierNumbers.of(self.card)
        self._numbers = numbers
        self._ideal = ideal or numbers.inverse_gain == 0

        self._solved: dict[str, Coupling] = {}

    def coupling(self, crossbar: Crossbar) -> Coupling:
        """A crossbar with its wires, solved when it is first asked for."""
        if crossbar.name not in self._solved:
            pair = crossbar.plus, crossbar.minus
            self._solved[crossbar.name] = coupling(*pair, crossbar.lines, crossbar.tiling)
        return self._solved[crossbar.name]

    def forget(self, crossbar: Crossbar) -> None:
        """Keep the solution of a crossbar no longer."""
        self._solved.pop(crossbar.name, None)

    def load(self, port: Port) -> Tensor:
        """What the drivers at a port deliver their currents to, (n,), in siemens.

        Without the branches, through which only the leak of an integrator runs.
        """
        total = torch.zeros(self.circuit.size(port), dtype=torch.float64)
        for r in self.circuit.resistors:
            if port in (r.a, r.b):
                total = total + r.siemens
        for crossbar in self.circuit.crossbars:
            start = 0
            for rails, n in zip(crossbar.rows, crossbar.sizes, strict=True):
                if port in rails:
                    found = self.coupling(crossbar)
                    load = found.plus_load if port == rails.plus else found.minus_load
                    total = total + load[start : start + n]
                start += n
        return total

    def inverse_gain(self, bank: Bank) -> Tensor:
        """1 / A0', (n,)."""
        if self._ideal:
            return torch.zeros(bank.size, dtype=torch.float64)
        load, p = self.load(bank.o), self._numbers
        return p.inverse_gain_into(load) + p.inverse_gain * p.r_out * load

    def ways(self, bank: Bank) -> Iterator[Way]:
        """What conducts at a bank's summing nodes with the switches open, crossbars left out."""
        yield from self.resistors(bank)
        x = bank.x
        for b in self.circuit.branches:
            if x in (b.a, b.b):
                yield Way(b.b if b.a == x else b.a, b.leak / (1 + b.ohms * b.leak))

    def resistors(self, bank: Bank) -> Iterator[Way]:
        """The resistors at a bank's summing nodes."""
        for r in self.circuit.resistors:
            if r.b is not None and bank.x in (r.a, r.b):
                yield Way(r.b if r.a == bank.x else r.a, r.siemens, r.zeroed)

    def closed(self, bank: Bank) -> Iterator[Way]:
        """What the closed switches add in the free phase."""
        for s in self.circuit.switches:
            if bank.x in (s.a, s.b):
                on = torch.full((bank.size,), 1 / s.ohms, dtype=torch.float64)
                yield Way(s.b if s.a == bank.x else s.a, on)

    def outside(self, bank: Bank) -> Tensor:
        """Conductance at the summing nodes, crossbars left out, (n,)."""
        none = torch.zeros(bank.size, dtype=torch.float64)
        return sum((way.siemens for way in self.ways(bank)), none)

    def devices(self, bank: Bank) -> Tensor:
        """Sum of the devices of crossbars at the summing nodes, their wires left out, (n,)."""
        none = torch.zeros(bank.size, dtype=torch.float64)
        fed = (c for c in self.circuit.crossbars if c.columns == bank.x)
        return sum(((c.plus + c.minus).sum(dim=1) for c in fed), none)

    def between(self, bank: Bank, port: Port) -> Tensor:
        """Conductance from a bank's summing nodes to a port, (n,)."""
        none = torch.zeros(bank.size, dtype=torch.float64)
        return sum((way.siemens for way in self.ways(bank) if way.port == port), none)

    def line(self, bank: Bank, driver: Port) -> tuple[Tensor, Tensor]:
        """Output of a bank that one driver feeds: its gain, negative, and its offset in volts."""
        total = self.outside(bank)
        d = self.between(bank, bank.o) + total * self.inverse_gain(bank)
        return -self.between(bank, driver) / d, total * bank.offset / d

    def cell(self, bank: Bank) -> Cell:
        """The tanh cell that feeds a bank, with that bank.

        The cells' signs undo those of the taps, so that all of it counts positive.
        """
        (cell,) = (c for c in self.circuit.cells if c.into == bank.x)
        card = self.card
        s_v, scale, current = card.scale.activation, card.tanh_scale, card.tanh_current
        total = self.outside(bank)
        d = self.between(bank, bank.o) + total * self.inverse_gain(bank)
        offset = total * bank.offset / (d * s_v)
        return Cell(current / (d * s_v), cell.offset / scale, offset, s_v / scale)
