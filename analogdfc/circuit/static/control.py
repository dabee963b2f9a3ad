"""The controller of a chip at rest, whatever its stages are.

Kirchhoff's laws of its summing nodes are linear in the voltages of its amplifiers, of the network's
output, of the target and of the auto-zero. Released, they are solved for the output that belongs to
a control signal, since an integrator has none to an output; in reset for the control signal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static.folded import Between, FoldedControl
from analogdfc.circuit.static.laws import Laws
from analogdfc.circuit.static.stages import Stages


def outputs_of_currents(stages: Stages) -> dict[str, Tensor]:
    """What a current out of the summing nodes of each of the controller's banks is worth.

    Returns:
        By bank, volts of the output per ampere at rest under the same control signal, (n_L,).
    """
    laws, made = Laws(stages), stages.circuit.bank[stages.circuit.control.u_minus.bank]
    others = [k for k, b in enumerate(laws.banks) if b is not made]
    inverse = torch.linalg.inv(laws.released()[..., [*others, laws.output]])
    return {bank.name: -inverse[:, -1, k] for k, bank in enumerate(laws.banks)}


def fold_control(chip: Chip, stages: Stages) -> FoldedControl:
    """The controller of a chip."""
    design, circuit, laws = chip.design, chip.circuit, Laws(stages)
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
