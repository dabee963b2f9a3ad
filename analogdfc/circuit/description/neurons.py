"""Neurons as circuits: one entry a kind.

Every neuron has a basal compartment (transimpedance amplifier on the column of the forward
crossbar, -S_v v_ff) and a soma (leaky integrator that sums it and the column of the feedback
crossbar, +S_v v). A kind adds what makes phi(v), its inverse for the next layer's second rails, and
phi(v_ff).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from analogdfc.circuit.description._builder import Builder, Input, Stage
from analogdfc.circuit.description.elements import Instances, LayerTaps, Port, Tap
from analogdfc.errors import UserError


@dataclass(frozen=True)
class Place:
    """Where neurons go.

    Attributes:
        i: their layer, 1..L.
        n: their number.
        unit: siemens per unit of weight in the forward crossbar.
        r_soma: feedback resistor of the soma, in ohms.
        tau: time constant of the soma, in seconds.
        line: capacitance of a column of the forward crossbar, in farads.
    """

    i: int
    n: int
    unit: float
    r_soma: float
    tau: float
    line: float

    @property
    def part(self) -> str:
        """The part that the layer is."""
        return f"layer {self.i}"


Values = dict[str, Tensor]
Kind = Callable[[Builder, Place], LayerTaps]


def _bank(place: Place, stage: str) -> str:
    return f"layer{place.i}.{stage}"


def _compartments(build: Builder, place: Place) -> tuple[Stage, Stage, Values]:
    """Basal compartment and soma, with the parameters of a cell that has them."""
    part, n = place.part, place.n
    basal = build.stage(_bank(place, "basal"), part, n, 1 / place.unit, line=place.line)
    soma = build.stage(
        _bank(place, "soma"),
        part,
        n,
        place.r_soma,
        [Input(basal.bank.o, place.r_soma)],
        c_f=place.tau / place.r_soma,
    )
    tag = f"{place.i}_{{k}}"
    for port, name in (
        (basal.bank.x, "w"),
        (soma.bank.x, "q"),
        (soma.bank.o, "v"),
        (basal.bank.o, "vffn"),
    ):
        build.named(port, name + tag)
    values = {
        "r_b": basal.r_f,
        "c_b": basal.c_f,
        "os_b": basal.offset,
        "r_s": soma.r_in[0],
        "r_f": soma.r_f,
        "c_f": soma.c_f,
        "os_s": soma.offset,
    }
    return basal, soma, values


def _activation(
    build: Builder, place: Place, basal: Stage, soma: Stage, values: Values, *, driving: bool
) -> tuple[Stage, Stage | None, Stage]:
    """Tanh cells on v and v_ff with their amplifiers, and the inverter of a driving neuron."""
    part, n, tag = place.part, place.n, f"{place.i}_{{k}}"
    act, offset = build.tanh(_bank(place, "act"), part, soma.bank.o, 1.0, n, in_loop=True)
    build.named(act.bank.o, f"r{tag}")
    values |= {"r_t": act.r_f, "c_t": act.c_f, "os_t": act.offset}
    inv = _inverter(build, place, act.bank.o, values) if driving else None
    # The cell's inverting input undoes the sign of the basal amplifier.
    act_ff, offset_ff = build.tanh(
        _bank(place, "act_ff"), part, basal.bank.o, -1.0, n, in_loop=False
    )
    build.named(act_ff.bank.o, f"rff{tag}")
    values |= {"r_u": act_ff.r_f, "c_u": act_ff.c_f, "os_u": act_ff.offset}
    values |= {"os_tv": offset, "os_tu": offset_ff}
    return act, inv, act_ff


def _inverter(build: Builder, place: Place, source: Port, values: Values) -> Stage:
    inv = build.inverter(_bank(place, "inv"), place.part, source, place.n)
    build.named(inv.bank.o, f"rn{place.i}_{{k}}")
    values |= {"r_i": inv.r_in[0], "r_j": inv.r_f, "c_j": inv.c_f, "os_i": inv.offset}
    return inv


def _instances(
    build: Builder, place: Place, cell: str, ports: tuple[Port, ...], values: Values
) -> None:
    build.instances.append(
        Instances(
            cell,
            f"n{place.i}_{{k}}",
            place.part,
            place.n,
            (*ports, "vdd", "vss"),
            values,
        )
    )


def tanh_hidden(build: Builder, place: Place) -> LayerTaps:
    """Hidden neuron phi = tanh: five amplifiers and two tanh cells."""
    basal, soma, values = _compartments(build, place)
    act, inv, act_ff = _activation(build, place, basal, soma, values, driving=True)
    assert inv is not None
    b, s, a, f, m = (stage.bank for stage in (basal, soma, act, act_ff, inv))
    _instances(build, place, "neuron_hidden", (b.x, s.x, s.o, b.o, a.o, m.o, f.o), values)
    return LayerTaps(
        Tap(s.name, 1.0), Tap(b.name, -1.0), Tap(a.name, 1.0), Tap(f.name, 1.0), Tap(m.name, 1.0)
    )


def linear_hidden(build: Builder, place: Place) -> LayerTaps:
    """Hidden neuron phi = id: three amplifiers; its rails are the soma and an inverter."""
    basal, soma, values = _compartments(build, place)
    inv = _inverter(build, place, soma.bank.o, values)
    b, s, m = (stage.bank for stage in (basal, soma, inv))
    _instances(build, place, "neuron_linear", (b.x, s.x, s.o, b.o, m.o), values)
    v, v_ff = Tap(s.name, 1.0), Tap(b.name, -1.0)
    return LayerTaps(v, v_ff, v, v_ff, Tap(m.name, 1.0))


def linear_output(build: Builder, place: Place) -> LayerTaps:
    """Output neuron phi = id: two amplifiers."""
    basal, soma, values = _compartments(build, place)
    b, s = basal.bank, soma.bank
    _instances(build, place, "neuron_output", (b.x, s.x, s.o, b.o), values)
    v, v_ff = Tap(s.name, 1.0), Tap(b.name, -1.0)
    return LayerTaps(v, v_ff, v, v_ff, None)


def tanh_output(build: Builder, place: Place) -> LayerTaps:
    """Output neuron phi = tanh: four amplifiers and two tanh cells."""
    basal, soma, values = _compartments(build, place)
    act, _, act_ff = _activation(build, place, basal, soma, values, driving=False)
    b, s, a, f = (stage.bank for stage in (basal, soma, act, act_ff))
    _instances(build, place, "neuron_tanh_output", (b.x, s.x, s.o, b.o, a.o, f.o), values)
    return LayerTaps(Tap(s.name, 1.0), Tap(b.name, -1.0), Tap(a.name, 1.0), Tap(f.name, 1.0), None)


HIDDEN: dict[str, Kind] = {"tanh": tanh_hidden, "linear": linear_hidden}
"""Hidden neurons by the name of their activation."""

OUTPUT: dict[str, Kind] = {"linear": linear_output, "tanh": tanh_output}
"""Output neurons by the name of their activation."""


def check_activations(names: tuple[str, ...], depth: int) -> None:
    """Refuse activations for which there is no cell.

    Args:
        names: activations of layers 1..L.
        depth: number of layers L.

    Raises:
        UserError: not one a layer, or there is no cell for one; the message has what there is.
    """
    if len(names) != depth:
        raise UserError(f"activations {list(names)}: one for each of {depth} layers is needed")
    if any(name not in HIDDEN for name in names[:-1]) or names[-1] not in OUTPUT:
        raise UserError(
            f"activations {list(names)}: the cell library has hidden neurons "
            f"{' and '.join(HIDDEN)}, and outputs {' and '.join(OUTPUT)}"
        )
