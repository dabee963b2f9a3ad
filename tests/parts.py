"""Components of a chip by their place, taken from the description of its circuit."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Array


class Stage(NamedTuple):
    """Input resistors, feedback resistor and capacitor, offset of the amplifiers; (n,) each."""

    r_in: tuple[Tensor, ...]
    r_f: Tensor
    c_f: Tensor
    offset: Tensor


class Layer(NamedTuple):
    """Conductances, stages by name and offsets of the tanh cells by stage."""

    w_plus: Tensor
    w_minus: Tensor
    q_plus: Tensor
    q_minus: Tensor
    stages: dict[str, Stage]
    tanh_offset: dict[str, Tensor]


class Controller(NamedTuple):
    """Stages by name, integration capacitors, conductances of the leak."""

    stages: dict[str, Stage]
    c_i: Tensor
    g_leak: Tensor


def stage(chip: Chip, name: str) -> Stage:
    circuit = chip.circuit
    bank = circuit.bank[name]
    around = [r for r in circuit.resistors if (r.a, r.b) == (bank.x, bank.o)]
    series = [b for b in circuit.branches if b.b == bank.x]
    return Stage(
        tuple(1 / r.siemens for r in circuit.resistors if r.b == bank.x),
        series[0].ohms if series else 1 / around[0].siemens,
        next(c.farads for c in circuit.capacitors if (c.a, c.b) == (bank.x, bank.o)),
        bank.offset,
    )


def _stages(chip: Chip, group: str) -> dict[str, Stage]:
    names = [name for name in chip.circuit.bank if name.startswith(f"{group}.")]
    return {name.partition(".")[2]: stage(chip, name) for name in names}


def layers(chip: Chip) -> tuple[Layer, ...]:
    circuit, out = chip.circuit, []
    for i in range(1, chip.design.depth + 1):
        w, q = (circuit.crossbars_of(kind)[i - 1] for kind in (Array.FORWARD, Array.FEEDBACK))
        cells = {
            c.into.bank.partition(".")[2]: c.offset
            for c in circuit.cells
            if c.into.bank.startswith(f"layer{i}.")
        }
        out.append(Layer(w.plus, w.minus, q.plus, q.minus, _stages(chip, f"layer{i}"), cells))
    return tuple(out)


def controller(chip: Chip) -> Controller:
    circuit = chip.circuit
    bank = circuit.bank["controller.pi"]
    leaks = [r.siemens for r in circuit.resistors if (r.a, r.b) == (bank.x, bank.o)]
    (branch,) = circuit.branches
    leak = leaks[0] if leaks else torch.zeros(bank.size, dtype=torch.float64)
    return Controller(_stages(chip, "controller"), branch.farads, leak + branch.leak)
