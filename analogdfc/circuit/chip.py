"""The components of one chip: nominal values of a design, or a draw around them.

Both the behavioural model and the netlist read their resistors, capacitors, conductances and
offsets from here, so that a mismatch seed gives the same chip to both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.circuit.assembly import describe
from analogdfc.circuit.conductances import Crossbar, conductances
from analogdfc.circuit.description import Array, Description, compensation
from analogdfc.circuit.design import Design
from analogdfc.circuit.streams import standard_normal
from analogdfc.errors import UserError

HIDDEN_AMPLIFIERS = ("basal", "soma", "act", "inv", "act_ff")
OUTPUT_AMPLIFIERS = ("basal", "soma")
CONTROLLER_AMPLIFIERS = ("error", "pi", "inv")


class Stage(NamedTuple):
    """A resistive amplifier stage: inputs through resistors, feedback R parallel C.

    Attributes:
        r_in: input resistors, one tensor (n,) an input, in ohms; a crossbar or a tanh cell that
            feeds the stage is not among them.
        r_f: feedback resistor, (n,), in ohms.
        c_f: capacitor across it, (n,), in farads.
        offset: input offset of the amplifier, (n,), in volts.
    """

    r_in: tuple[Tensor, ...]
    r_f: Tensor
    c_f: Tensor
    offset: Tensor


class LayerParts(NamedTuple):
    """Components of the neurons of one layer.

    Attributes:
        w_plus: conductances on the rows +s, (n_i, n_{i-1} + 1), bias last, in siemens.
        w_minus: conductances on the rows -s.
        q_plus: feedback conductances on the rows -u, (n_i, n_L).
        q_minus: feedback conductances on the rows +u.
        stages: the amplifier stages by name (`HIDDEN_AMPLIFIERS` or `OUTPUT_AMPLIFIERS`).
        tanh_offset: input offsets of the tanh cells 'act' and 'act_ff', (n,), in volts.
    """

    w_plus: Tensor
    w_minus: Tensor
    q_plus: Tensor
    q_minus: Tensor
    stages: dict[str, Stage]
    tanh_offset: dict[str, Tensor]


class ControllerParts(NamedTuple):
    """Components of the controller, one channel an output; tensors are (n_L,).

    Attributes:
        stages: the stages 'error' (inputs: output, target) and 'inv', and 'pi' whose `r_f` is
            R_p and whose `c_f` is its compensation.
        c_i: integration capacitors in series with R_p, in farads.
        g_leak: conductance of the leak resistor, in siemens; 0 without a leak.
    """

    stages: dict[str, Stage]
    c_i: Tensor
    g_leak: Tensor


@dataclass(frozen=True)
class Chip:
    """One realised chip.

    Attributes:
        design: what it realises.
        seed: seed of the draw; None for nominal components.
        circuit: its circuit, with the value of every component.
    """

    design: Design
    seed: int | None
    circuit: Description

    @classmethod
    def of(cls, design: Design, seed: int | None = None) -> Chip:
        """The chip of a seed.

        Each kind of component has a stream of its own, so that switching one imperfection off
        leaves the draws of all others as they were.

        Args:
            design: the design.
            seed: seed of the draw, >= 0; None gives nominal components without offsets.

        Raises:
            UserError: a negative seed.
        """
        if seed is not None and seed < 0:
            raise UserError(f"seed {seed}: a seed must be >= 0")
        return cls(design, seed, describe(design, _Draw(design, seed)))

    @cached_property
    def layers(self) -> tuple[LayerParts, ...]:
        """Components of layers 1..L."""
        draw, depth = _Draw(self.design, self.seed), self.design.depth
        return tuple(_layer(self.design, i, draw) for i in range(1, depth + 1))

    @cached_property
    def controller(self) -> ControllerParts:
        """Components of the controller."""
        return _controller(self.design, _Draw(self.design, self.seed))


class _Draw:
    """Random deviations of the components, by the component's name."""

    def __init__(self, design: Design, seed: int | None) -> None:
        self._card = design.card
        self.seed = seed

    def passive(self, name: str, value: float, n: int) -> Tensor:
        nominal, sigma = torch.full((n,), value, dtype=torch.float64), self._card.passive.tolerance
        if self.seed is None or sigma is None:
            return nominal
        return nominal * (1 + sigma * standard_normal(self.seed, name, (n,)))

    def pairs(self, design: Design, i: int, kind: Array) -> tuple[Tensor, Tensor]:
        which: Crossbar = "forward" if kind is Array.FORWARD else "feedback"
        return conductances(design, i, which, self.seed)

    def offset(self, name: str, sigma: float | None, n: int) -> Tensor:
        if self.seed is None or sigma is None:
            return torch.zeros(n, dtype=torch.float64)
        return sigma * standard_normal(self.seed, name, (n,))


def _stage(
    design: Design,
    draw: _Draw,
    name: str,
    n: int,
    r_f: float,
    r_in: tuple[float, ...] = (),
    c_f: float | None = None,
    line: float = 0.0,
) -> Stage:
    """A stage; `line` is the capacitance of the crossbar's column at its input, in farads."""
    amplifier = design.card.amplifier
    if c_f is None:
        c_in = (amplifier.input_capacitance or 0.0) + line
        c_f = compensation(c_in or None, r_f, amplifier.gain_bandwidth)
    return Stage(
        tuple(draw.passive(f"{name}.r_in{k}", r, n) for k, r in enumerate(r_in)),
        draw.passive(f"{name}.r_f", r_f, n),
        draw.passive(f"{name}.c_f", c_f, n),
        draw.offset(f"{name}.offset", amplifier.offset, n),
    )


def _layer(design: Design, i: int, draw: _Draw) -> LayerParts:
    card, name = design.card, f"layer{i}"
    n = design.sizes[i]
    unit, q_unit = design.weight_unit(i), design.feedback_unit(i)
    w = conductances(design, i, "forward", draw.seed)
    q = conductances(design, i, "feedback", draw.seed)
    # The soma turns q_unit * S_u amperes per unit of Q u into S_v volts.
    r_soma = card.scale.activation / (card.scale.control * q_unit)
    c_soma = design.tau_v_seconds / r_soma
    stages = {
        "basal": _stage(
            design, draw, f"{name}.basal", n, 1 / unit, line=design.column_capacitance(i)
        ),
        "soma": _stage(design, draw, f"{name}.soma", n, r_soma, (r_soma,), c_soma),
    }
    tanh_offset = {}
    if i < design.depth:
        r_t = card.scale.activation / card.tanh.current
        r_x = 1 / card.device.g_unit
        stages |= {
            "act": _stage(design, draw, f"{name}.act", n, r_t),
            "inv": _stage(design, draw, f"{name}.inv", n, r_x, (r_x,)),
            "act_ff": _stage(design, draw, f"{name}.act_ff", n, r_t),
        }
        tanh_offset = {
            cell: draw.offset(f"{name}.{cell}.tanh_offset", card.tanh.offset, n)
            for cell in ("act", "act_ff")
        }
    return LayerParts(w.plus, w.minus, q.plus, q.minus, stages, tanh_offset)


def _controller(design: Design, draw: _Draw) -> ControllerParts:
    card, pi = design.card, design.controller
    n = design.sizes[-1]
    r_x = 1 / card.device.g_unit
    r_i = card.passive.r_integrator
    # e and u share one voltage scale, S_e = S_u.
    remaining = 1 - pi.alpha * pi.k_p
    c_i = design.tau_u_seconds / r_i * remaining
    r_p = pi.k_p * r_i / remaining
    gain = card.scale.control / card.scale.activation
    stages = {
        "error": _stage(design, draw, "controller.error", n, gain * r_x, (r_x, r_x)),
        "pi": _stage(design, draw, "controller.pi", n, r_p, (r_i,)),
        "inv": _stage(design, draw, "controller.inv", n, r_x, (r_x,)),
    }
    g_leak = torch.zeros(n, dtype=torch.float64)
    if pi.alpha > 0:
        g_leak = 1 / draw.passive("controller.r_leak", r_i / pi.alpha, n)
    return ControllerParts(stages, draw.passive("controller.c_i", c_i, n), g_leak)
