"""Parts of circuits that invert layers: neurons that receive control, and readouts.

A neuron has one soma, on the column of what drives it; the rails of the layer above are its
activation and that one's inverse. A readout answers with W phi(delta) on the column of the forward
crossbar. Either lies on a column whose first devices hang on the inverted rails, since the
amplifier inverts once more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from analogdfc.circuit.description._builder import Builder, Stage
from analogdfc.circuit.description.elements import Bank, Instances, Port, Rails

__all__ = ["RECIPIENT", "Neurons", "Recipients", "Unit", "negative", "readout", "recipients"]


@dataclass(frozen=True)
class Unit:
    """Equal neurons or readouts on the columns of a crossbar.

    Attributes:
        i: their layer, 1..L.
        n: their number.
        r_f: feedback resistor, that a unit of what the column sums is worth, in ohms; infinite
            for one without leak.
        c_f: capacitor across it, in farads; None for no lag but the amplifier's own.
        line: capacitance of a column, in farads.
    """

    i: int
    n: int
    r_f: float
    c_f: float | None = None
    line: float = 0.0

    @property
    def part(self) -> str:
        """The part that the layer is."""
        return f"layer {self.i}"


class Neurons(NamedTuple):
    """Neurons of an inverted layer.

    Attributes:
        soma: their somas, whose outputs are + S_v delta.
        rails: + and - S_v phi(delta), which drive the layer above.
    """

    soma: Bank
    rails: Rails


Recipients = Callable[[Builder, Unit], Neurons]


def _soma(build: Builder, unit: Unit) -> tuple[Stage, dict[str, Tensor]]:
    soma = build.stage(
        f"layer{unit.i}.soma", unit.part, unit.n, unit.r_f, c_f=unit.c_f, line=unit.line
    )
    build.named(soma.bank.x, f"q{unit.i}_{{k}}")
    build.named(soma.bank.o, f"d{unit.i}_{{k}}")
    return soma, {"r_f": soma.r_f, "c_f": soma.c_f, "os_s": soma.offset}


def _inverse(
    build: Builder, unit: Unit, source: Port, name: str, values: dict[str, Tensor]
) -> Bank:
    inv = build.inverter(f"layer{unit.i}.inv", unit.part, source, unit.n)
    build.named(inv.bank.o, f"{name}{unit.i}_{{k}}")
    values |= {"r_i": inv.r_in[0], "r_j": inv.r_f, "c_j": inv.c_f, "os_i": inv.offset}
    return inv.bank


def _placed(
    build: Builder, unit: Unit, cell: str, ports: tuple[Port, ...], values: dict[str, Tensor]
) -> None:
    name = f"n{unit.i}_{{k}}"
    build.instances.append(Instances(cell, name, unit.part, unit.n, (*ports, "vdd", "vss"), values))


def tanh_recipients(build: Builder, unit: Unit) -> Neurons:
    """Neurons phi = tanh: three amplifiers and one tanh cell each."""
    soma, values = _soma(build, unit)
    x, d = soma.bank.x, soma.bank.o
    act, offset = build.tanh(f"layer{unit.i}.act", unit.part, d, 1.0, unit.n, in_loop=True)
    build.named(act.bank.o, f"r{unit.i}_{{k}}")
    values |= {"r_t": act.r_f, "c_t": act.c_f, "os_t": act.offset, "os_tv": offset}
    inv = _inverse(build, unit, act.bank.o, "rn", values)
    _placed(build, unit, "recipient_tanh", (x, d, act.bank.o, inv.o), values)
    return Neurons(soma.bank, Rails(act.bank.o, inv.o))


def linear_recipients(build: Builder, unit: Unit) -> Neurons:
    """Neurons phi = id: two amplifiers each; their rails are the soma and an inverter."""
    soma, values = _soma(build, unit)
    x, d = soma.bank.x, soma.bank.o
    inv = _inverse(build, unit, d, "dn", values)
    _placed(build, unit, "recipient_linear", (x, d, inv.o), values)
    return Neurons(soma.bank, Rails(d, inv.o))


RECIPIENT: dict[str, Recipients] = {"tanh": tanh_recipients, "linear": linear_recipients}
"""Neurons of inverted layers by the name of their activation."""


def recipients(build: Builder, unit: Unit, activation: str, *, reset: bool) -> Neurons:
    """Add the neurons of an inverted layer.

    Args:
        build: the circuit so far.
        unit: the neurons.
        activation: name of phi, a key of `RECIPIENT`.
        reset: hold them at 0 in the free phase: those that integrate, and would run away.
    """
    found = RECIPIENT[activation](build, unit)
    if reset:
        build.reset(found.soma)
        pins = (found.soma.x, found.soma.o, "rst")
        name = f"s{unit.i}_{{k}}"
        build.instances.append(Instances("switch", name, unit.part, unit.n, pins, {}))
    return found


def negative(build: Builder, unit: Unit, neurons: Neurons) -> Port:
    """- S_v delta, that the layer below takes for its target; adds an inverter where none gives it.

    Args:
        build: the circuit so far.
        unit: the neurons.
        neurons: what was added of them.
    """
    if neurons.rails.plus == neurons.soma.o:
        return neurons.rails.minus
    inv = build.inverter(f"layer{unit.i}.target", unit.part, neurons.soma.o, unit.n)
    build.named(inv.bank.o, f"dn{unit.i}_{{k}}")
    values = {"r_i": inv.r_in[0], "r_f": inv.r_f, "c_f": inv.c_f, "os": inv.offset}
    pins = (neurons.soma.o, inv.bank.o, "vdd", "vss")
    name = f"t{unit.i}_{{k}}"
    build.instances.append(Instances("inverter", name, unit.part, unit.n, pins, values))
    return inv.bank.o


def readout(build: Builder, unit: Unit) -> Bank:
    """Add the amplifiers that read the answer of a layer, + S_v W phi(delta).

    Args:
        build: the circuit so far.
        unit: the amplifiers; with a capacitor of their own they answer with a lag.
    """
    stage = build.stage(
        f"layer{unit.i}.readout", unit.part, unit.n, unit.r_f, c_f=unit.c_f, line=unit.line
    )
    bank = stage.bank
    build.named(bank.x, f"w{unit.i}_{{k}}")
    build.named(bank.o, f"f{unit.i}_{{k}}")
    values = {"r_b": stage.r_f, "c_b": stage.c_f, "os_b": stage.offset}
    pins = (bank.x, bank.o, "vdd", "vss")
    name = f"o{unit.i}_{{k}}"
    build.instances.append(Instances("readout", name, unit.part, unit.n, pins, values))
    return bank
