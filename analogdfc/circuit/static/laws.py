"""Kirchhoff's laws of a chip's controller, whatever its stages are.

They are linear in the voltages of its amplifiers, of the network's output, of the target and of the
auto-zero, and of the capacitors of its branches, which alone take time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.circuit.description import CONTROLLER, Bank, Branches, Node, Port
from analogdfc.circuit.static.stages import Stages, Way


class Laws:
    """The laws of the controller's summing nodes as rows, (n_L, banks, columns), of zero sum.

    Columns are the voltages of the banks, of the output, the target and the auto-zero, and a one.
    """

    def __init__(self, stages: Stages) -> None:
        self.stages, circuit = stages, stages.circuit
        self.banks = [b for b in circuit.banks if b.part == CONTROLLER]
        self.column = {b.o: k for k, b in enumerate(self.banks)}
        self.output, self.target, self.zero, self.one = (len(self.banks) + k for k in range(4))
        self.column |= {circuit.output: self.output, circuit.target: self.target}

    def row(self, bank: Bank, ways: Iterable[Way]) -> Tensor:
        """The law of a bank, (n_L, columns)."""
        row = torch.zeros(bank.size, self.one + 1, dtype=torch.float64)
        total = torch.zeros(bank.size, dtype=torch.float64)
        for way in ways:
            row[:, self.column[way.port]] += way.siemens
            if way.zeroed:
                row[:, self.zero] -= way.siemens
            total = total + way.siemens
        return row - total[:, None] * self.summing(bank)

    def summing(self, bank: Bank) -> Tensor:
        """Voltage of a bank's summing nodes, (n_L, columns)."""
        x = torch.zeros(bank.size, self.one + 1, dtype=torch.float64)
        x[:, self.one] = bank.offset
        x[:, self.column[bank.o]] = -self.stages.inverse_gain(bank)
        return x

    def released(self) -> Tensor:
        """All laws with the switches open."""
        return torch.stack([self.row(b, self.stages.ways(b)) for b in self.banks], dim=1)

    def reset(self, *, auto_zero: bool) -> Tensor:
        """All laws of the free phase, in which the target follows the output."""
        zero = self.stages.circuit.auto_zero
        reference = self.stages.circuit.bank[zero.reference.bank]
        rows = []
        for bank in self.banks:
            ways = [*self.stages.ways(bank), *self.stages.closed(bank)]
            if not auto_zero:
                rows.append(self.row(bank, (way._replace(zeroed=False) for way in ways)))
                continue
            row = self.row(bank, (way for way in ways if not way.zeroed))
            for way in ways:
                if way.zeroed and bank is not reference:
                    # What is stored is the signal's voltage less the reference's.
                    other = self.summing(reference) - self.summing(bank)
                    other[:, self.column[way.port]] += 1
                    other[:, self.column[zero.signal]] -= 1
                    row = row + way.siemens[:, None] * other
            rows.append(row)
        laws = torch.stack(rows, dim=1)
        laws[..., self.output] -= laws[..., self.target]
        laws[..., self.target] = 0
        return laws

    def solve(self, laws: Tensor, unknown: list[int], given: list[int]) -> dict[int, Tensor]:
        """Each unknown column as a linear map of the given ones, (n_L, given)."""
        found = torch.linalg.solve(laws[..., unknown], -laws[..., given])
        return {column: found[:, k] for k, column in enumerate(unknown)}

    def volts(self, port: Port) -> Tensor:
        """Voltage of a port, (n_L, columns)."""
        if port.node is Node.SUMMING:
            return self.summing(self.stages.circuit.bank[port.bank])
        found = torch.zeros(self.banks[0].size, self.one + 1, dtype=torch.float64)
        found[:, self.column[port]] = 1
        return found


class Motion(NamedTuple):
    """A released controller whose amplifiers are at rest at every moment.

    Columns are the voltages of the branches' capacitors, of the output, the target and the
    auto-zero, and a one.

    Attributes:
        branches: the branches.
        rates: of their capacitors' voltages, (n_L, branches, columns), per second.
        volts: output voltages of each bank, (n_L, columns).
    """

    branches: tuple[Branches, ...]
    rates: Tensor
    volts: dict[str, Tensor]

    @classmethod
    def of(cls, stages: Stages) -> Motion:
        """That of a chip's controller."""
        laws = Laws(stages)
        branches = tuple(b for b in stages.circuit.branches if b.part == CONTROLLER)
        banks, k = len(laws.banks), len(branches)
        nodes = torch.stack([laws.row(b, stages.resistors(b)) for b in laws.banks], dim=1)
        n = len(nodes)
        ends = nodes.new_zeros(n, k, nodes.shape[-1])
        currents = nodes.new_zeros(n, banks + k, k)
        held = nodes.new_zeros(n, banks + k, k)
        for j, branch in enumerate(branches):
            for row, bank in enumerate(laws.banks):
                currents[:, row, j] += float(bank.x == branch.b) - float(bank.x == branch.a)
            ends[:, j] = laws.volts(branch.a) - laws.volts(branch.b)
            currents[:, banks + j, j] = -branch.ohms
            held[:, banks + j, j] = -1
        all_ = torch.cat([nodes, ends], dim=1)
        unknown = torch.cat([all_[..., :banks], currents], dim=-1)
        found = torch.linalg.solve(unknown, -torch.cat([held, all_[..., banks:]], dim=-1))
        rates = found[:, banks:].clone()
        for j, branch in enumerate(branches):
            rates[:, j, j] -= branch.leak
            rates[:, j] /= branch.farads[:, None]
        return cls(branches, rates, {b.name: found[:, j] for j, b in enumerate(laws.banks)})
