"""Collects the elements of a circuit, with values around the nominal ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from analogdfc.cards.technology import Card
from analogdfc.circuit.description.elements import (
    Bank,
    Branches,
    Capacitors,
    Cells,
    Crossbar,
    Instances,
    Port,
    Resistors,
    Switches,
)
from analogdfc.circuit.thermal import BOLTZMANN


class Draw(Protocol):
    """Random deviations of components, by the component's name."""

    def passive(self, name: str, value: float, n: int) -> Tensor:
        """Resistors or capacitors, (n,), in ohms or farads."""

    def offset(self, name: str, sigma: float | None, n: int) -> Tensor:
        """Input offsets, (n,), in volts."""


class Stage(NamedTuple):
    """An amplifier stage as built: what an instance's parameters are taken from.

    Attributes:
        bank: the amplifiers.
        r_in: input resistors, (n,) each, in ohms.
        r_f: feedback resistor, or the one in series with its capacitor, (n,), in ohms.
        c_f: capacitor across the feedback, (n,), in farads.
    """

    bank: Bank
    r_in: tuple[Tensor, ...]
    r_f: Tensor
    c_f: Tensor

    @property
    def offset(self) -> Tensor:
        """Input offsets of the amplifiers, (n,), in volts."""
        return self.bank.offset


class Input(NamedTuple):
    """An input resistor of a stage.

    Attributes:
        port: what drives it.
        ohms: its nominal resistance.
        zeroed: whether the auto-zero's voltage is in series.
    """

    port: Port
    ohms: float
    zeroed: bool = False


def compensation(c_in: float | None, r_feedback: float, gain_bandwidth: float | None) -> float:
    """Capacitor across a feedback resistor, C_c = sqrt(C_in / (R_f omega_t)), in farads.

    Args:
        c_in: input capacitance of the amplifier in farads, None for none.
        r_feedback: feedback resistor in ohms; 0 needs no compensation.
        gain_bandwidth: unity-gain frequency in hertz, None for an infinitely fast amplifier.
    """
    if c_in is None or gain_bandwidth is None or r_feedback == 0:
        return 0.0
    return math.sqrt(c_in / (r_feedback * 2 * math.pi * gain_bandwidth))


@dataclass
class Builder:
    """Elements so far.

    Attributes:
        card: the technology.
        draw: deviations of the components.
    """

    card: Card
    draw: Draw
    banks: list[Bank] = field(default_factory=list)
    resistors: list[Resistors] = field(default_factory=list)
    capacitors: list[Capacitors] = field(default_factory=list)
    branches: list[Branches] = field(default_factory=list)
    cells: list[Cells] = field(default_factory=list)
    crossbars: list[Crossbar] = field(default_factory=list)
    switches: list[Switches] = field(default_factory=list)
    instances: list[Instances] = field(default_factory=list)
    nodes: dict[Port, str] = field(default_factory=dict)

    def zeroes(self, part: str) -> bool:
        """Whether amplifiers and tanh cells of a part have an auto-zero of their own."""
        return self.card.auto_zero.capacitor is not None and part.startswith("layer")

    def _offset(self, name: str, sigma: float | None, n: int, part: str) -> Tensor:
        """Input offsets, (n,), in volts; of zeroed ones what is left of them."""
        zero = self.card.auto_zero
        if zero.capacitor is None or not self.zeroes(part):
            return self.draw.offset(name, sigma, n)
        left = self.draw.offset(name, (sigma or 0.0) * (zero.residual or 0.0), n)
        left = left + zero.volts * (1 + self.draw.offset(f"{name}.injection", zero.spread, n))
        rms = math.sqrt(BOLTZMANN * (zero.temperature or 0.0) / zero.capacitor)
        return left + self.draw.offset(f"{name}.stored", rms, n)

    @property
    def r_unit(self) -> float:
        """Resistance that is a weight of 1, in ohms."""
        return 1 / self.card.device.g_unit

    def stage(
        self,
        name: str,
        part: str,
        n: int,
        r_f: float,
        inputs: Sequence[Input] = (),
        *,
        c_f: float | None = None,
        line: float = 0.0,
        resistive: bool = True,
        in_loop: bool = True,
        spread: Tensor | None = None,
    ) -> Stage:
        """Add a bank of amplifiers with their input and feedback components.

        Args:
            name: name of the bank.
            part: where it is.
            n: number of amplifiers.
            r_f: feedback resistor, in ohms.
            inputs: input resistors.
            c_f: capacitor across the feedback, in farads: a lag that is intended. By default what
                compensates the amplifier's input capacitance.
            line: capacitance of a crossbar's column at the summing node, in farads.
            resistive: whether r_f lies across the amplifier; else the caller places it.
            in_loop: whether the loop runs through the bank.
            spread: factors, (n,), by which the feedback resistors differ beside their tolerance.
        """
        amplifier, intended = self.card.amplifier, c_f is not None
        if c_f is None:
            c_in = (amplifier.input_capacitance or 0.0) + line
            c_f = compensation(c_in or None, r_f, amplifier.gain_bandwidth)
        r_in = [self.draw.passive(f"{name}.r_in{k}", i.ohms, n) for k, i in enumerate(inputs)]
        offset = self._offset(f"{name}.offset", amplifier.offset, n, part)
        r_drawn = self.draw.passive(f"{name}.r_f", r_f, n)
        stage = Stage(
            Bank(name, part, offset, in_loop, self.zeroes(part)),
            tuple(r_in),
            r_drawn if spread is None else r_drawn * spread,
            self.draw.passive(f"{name}.c_f", c_f, n),
        )
        bank = stage.bank
        self.banks.append(bank)
        for given, r in zip(inputs, r_in, strict=True):
            self.resistors.append(Resistors(part, given.port, bank.x, 1 / r, given.zeroed))
        if resistive:
            self.resistors.append(Resistors(part, bank.x, bank.o, 1 / stage.r_f))
        self.capacitors.append(Capacitors(part, bank.x, bank.o, stage.c_f, intended))
        return stage

    def reset(self, bank: Bank) -> None:
        """Add switches that hold a bank's outputs at its summing nodes in the free phase."""
        self.switches.append(Switches(bank.x, bank.o, self.card.passive.r_switch))

    def inverter(self, name: str, part: str, source: Port, n: int) -> Stage:
        """Add amplifiers of gain -1."""
        return self.stage(name, part, n, self.r_unit, [Input(source, self.r_unit)])

    def tanh(
        self, name: str, part: str, source: Port, sign: float, n: int, *, in_loop: bool
    ) -> tuple[Stage, Tensor]:
        """Add tanh cells, and the amplifiers that turn their currents into volts.

        A cell whose current is some percent larger is one whose volts are: what the currents differ
        by is in the resistors behind them.

        Returns:
            The amplifiers, and the input offsets of the cells, (n,).
        """
        card = self.card
        r_t = card.scale.activation / card.tanh.current
        spread = None
        if card.tanh.current_mismatch is not None:
            spread = 1 + self.draw.offset(f"{name}.tanh_mismatch", card.tanh.current_mismatch, n)
        stage = self.stage(name, part, n, r_t, in_loop=in_loop, spread=spread)
        offset = self._offset(f"{name}.tanh_offset", card.tanh.offset, n, part)
        self.cells.append(Cells(part, source, stage.bank.x, sign, offset, self.zeroes(part)))
        if card.tanh.input_resistance is not None:
            load = torch.full((n,), 1 / card.tanh.input_resistance, dtype=torch.float64)
            self.resistors.append(Resistors(part, source, None, load))
        return stage, offset

    def named(self, port: Port, pattern: str) -> Port:
        """Give a port the name of its nodes in a netlist, with '{k}' for the number from 1."""
        self.nodes[port] = pattern
        return port


def none(n: int) -> Tensor:
    """Conductances or capacitances of 0, (n,)."""
    return torch.zeros(n, dtype=torch.float64)
