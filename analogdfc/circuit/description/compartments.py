"""Feedback compartments: a stage a neuron that sums the feedback and noise from outside.

Without one, the soma sums the column of the feedback crossbar itself. With one, an amplifier on the
column gives -S_v v_fb, and the soma sums that as it does the basal compartment:

    tau_fb dv_fb/dt = -v_fb + Q u + sigma xi    (Meulemans et al. 2021, eq. 207)

where sigma xi is the voltage of a source over S_v.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analogdfc.circuit.description._builder import Builder, Input
from analogdfc.circuit.description.elements import (
    Instances,
    LayerTaps,
    Node,
    Port,
    Resistors,
    Tap,
)
from analogdfc.circuit.description.neurons import Place
from analogdfc.errors import UserError


@dataclass(frozen=True)
class Compartments:
    """Feedback compartments of all neurons.

    Attributes:
        tau_fb: their time constant, in the controller's unit of time, > 0.
        gain: v_fb at rest per unit of v that a source of noise has, > 0: R_fb over the resistor
            from the source; with more, the same noise needs less voltage.

    Raises:
        UserError: a value outside its range.
    """

    tau_fb: float
    gain: float = 1.0

    def __post_init__(self) -> None:
        for name in ("tau_fb", "gain"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"feedback compartments: {name} = {value}: it must be > 0")


def noise_port(i: int) -> Port:
    """Sources of the noise in the feedback compartments of a layer.

    Args:
        i: number of the layer, 1 to L.
    """
    return Port(f"noise{i}", Node.SOURCE)


def compartment(
    build: Builder,
    place: Place,
    taps: LayerTaps,
    compartments: Compartments,
    seconds: float,
    line: float,
) -> LayerTaps:
    """Add the compartments of a layer, between its feedback crossbar and its somas.

    Args:
        build: the elements so far.
        place: where the neurons are.
        taps: where their signals are measured.
        compartments: what is wanted.
        seconds: time constant of the compartments.
        line: capacitance of a column of the feedback crossbar, in farads.

    Returns:
        The same taps with that of v_fb.
    """
    part, n, tag = place.part, place.n, f"{place.i}_{{k}}"
    name, source = f"layer{place.i}.apical", noise_port(place.i)
    r_noise = place.r_soma / compartments.gain
    stage = build.stage(
        name, part, n, place.r_soma, [Input(source, r_noise)], c_f=seconds / place.r_soma, line=line
    )
    into = build.draw.passive(f"{name}.r_out", place.r_soma, n)
    soma = Port(taps.v.bank, Node.SUMMING)
    build.resistors.append(Resistors(part, stage.bank.o, soma, 1 / into))
    for port, node in ((source, "eps"), (stage.bank.x, "fb"), (stage.bank.o, "vfbn")):
        build.named(port, node + tag)
    values = {
        "r_n": stage.r_in[0],
        "r_c": stage.r_f,
        "c_c": stage.c_f,
        "os_c": stage.offset,
        "r_o": into,
    }
    pins = (stage.bank.x, source, stage.bank.o, soma, "vdd", "vss")
    build.instances.append(Instances("compartment", f"a{tag}", part, n, pins, values))
    return taps._replace(v_fb=Tap(name, -1.0))
