"""The controller of a chip at rest, whatever its stages are.

Kirchhoff's laws of its summing nodes are linear in the voltages of its amplifiers, of the network's
output, of the target and of the auto-zero. Released, they are solved for the output that belongs to
a control signal, since an integrator has none to an output; in reset for the control signal.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import CONTROLLER, Bank
from analogdfc.circuit.static.folded import Between, FoldedControl
from analogdfc.circuit.static.stages import Stages, Way


class _Laws:
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


def outputs_of_currents(stages: Stages) -> dict[str, Tensor]:
    """What a current out of the summing nodes of each of the controller's banks is worth.

    Returns:
        By bank, volts of the output per ampere at rest under the same control signal, (n_L,).
    """
    laws, made = _Laws(stages), stages.circuit.bank[stages.circuit.control.u_minus.bank]
    others = [k for k, b in enumerate(laws.banks) if b is not made]
    inverse = torch.linalg.inv(laws.released()[..., [*others, laws.output]])
    return {bank.name: -inverse[:, -1, k] for k, bank in enumerate(laws.banks)}


def fold_control(chip: Chip, stages: Stages) -> FoldedControl:
    """The controller of a chip."""
    design, circuit, laws = chip.design, chip.circuit, _Laws(stages)
    scale, readout, taps = design.card.scale, design.readout, circuit.control
    s_v, s_u = scale.activation, scale.control
    made, error = circuit.bank[taps.u_minus.bank], circuit.bank[taps.e.bank]
    control = laws.column[made.o]
    others = [k for k in range(len(laws.banks)) if k != control]

    given = [control, laws.target, laws.zero, laws.one]
    rest = laws.solve(laws.released(), [*others, laws.output], given)
    push, balance, zeroed, alone = rest[laws.output].unbind(-1)

    (law,) = (r for b, r in zip(laws.banks, laws.released().unbind(1), strict=True) if b is error)
    d = law[:, laws.column[error.o]]
    error_gain, error_offset = law[:, laws.output] * s_v / d, -law[:, laws.one] / d

    laws_of_reset = laws.reset(auto_zero=readout.auto_zero)
    free = laws.solve(laws_of_reset, [control, *others], [laws.output, laws.one])
    reference = circuit.bank[circuit.auto_zero.reference.bank]
    held = reference.offset - stages.inverse_gain(reference) * free[laws.column[reference.o]][:, 1]
    baseline, follow = -free[control][:, 1] / s_u, -free[control][:, 0] * (s_v / s_u)

    inv_gain, inv_offset = stages.line(circuit.bank[taps.u.bank], made.o)
    last = circuit.layers[-1]
    cell = None if last.r.bank == last.v.bank else stages.cell(circuit.bank[last.r.bank])
    named = {b.name: k for k, b in enumerate(laws.banks)}
    between = tuple(
        Between(name, rest[k], free[k])
        for name, k in named.items()
        if name not in (taps.u_minus.bank, taps.u.bank, taps.e.bank)
    )
    return FoldedControl(
        error_gain=error_gain,
        error_offset=error_offset,
        balance=-balance,
        drive=alone / s_v,
        zeroed=zeroed / s_v,
        held=held,
        damping=push * (s_u / s_v),
        baseline=baseline,
        follow=None if readout.auto_zero else follow,
        inv_gain=-inv_gain,
        inv_offset=inv_offset / s_u,
        scale=torch.ones_like(held),
        output=cell,
        between=between,
        auto_zero=readout.auto_zero,
        relative=readout.relative_target,
        double_sampling=readout.double_sampling,
    )
