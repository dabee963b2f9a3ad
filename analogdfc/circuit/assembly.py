"""The circuit of a design: which neurons and controller, and the crossbars between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from analogdfc.cards.technology_sections import Wire
from analogdfc.circuit.description._builder import Builder, Draw
from analogdfc.circuit.description.circuit import Description
from analogdfc.circuit.description.compartments import compartment, noise_port
from analogdfc.circuit.description.controllers import (
    Wanted,
    about_controller,
    describe_controller,
)
from analogdfc.circuit.description.elements import (
    BIAS,
    INPUT,
    TARGET,
    Array,
    Capacitors,
    ControlTaps,
    Crossbar,
    LayerTaps,
    Node,
    Port,
    Rails,
    Sources,
)
from analogdfc.circuit.description.neurons import HIDDEN, OUTPUT, Place
from analogdfc.circuit.description.update import describe_update
from analogdfc.circuit.design import Design
from analogdfc.wires import Lines, Tiling


class Components(Draw, Protocol):
    """Where the values of a chip come from."""

    def pairs(
        self, design: Design, i: int, kind: Array, matrix: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Conductances G+ and G- of a crossbar of layer i, (n_i, inputs), in siemens.

        Those of another matrix than the design's, where one is given.
        """


def describe(design: Design, components: Components) -> Description:
    """The circuit of a design.

    Args:
        design: the design.
        components: where values come from.
    """
    build = Builder(design.card, components)
    sizes, depth = design.sizes, design.depth
    for port, name in (
        (INPUT.plus, "in{k}p"),
        (INPUT.minus, "in{k}n"),
        (BIAS.plus, "bp"),
        (BIAS.minus, "bn"),
        (TARGET, "goal{k}"),
    ):
        build.named(port, name)
    taps = _layers(build, design)
    wanted = Wanted(design.controller, design.seconds, sizes[-1], taps[-1].r.port, TARGET)
    control, auto_zero = describe_controller(build, wanted)
    noise = () if design.compartments is None else tuple(map(noise_port, range(1, depth + 1)))
    crossbars: list[Crossbar] = []
    for i in range(1, depth + 1):
        crossbars += _crossbars(design, components, taps, control, i)
    double_sampling = design.readout.double_sampling
    update = describe_update(build, sizes, taps, double_sampling=double_sampling)
    return Description(
        tuple(build.banks),
        _sources(sizes, noise),
        tuple(build.resistors),
        (*build.capacitors, *line_capacitors(crossbars)),
        tuple(build.branches),
        tuple(build.cells),
        tuple(crossbars),
        tuple(build.switches),
        tuple(taps),
        control,
        auto_zero,
        tuple(build.instances),
        build.nodes,
        "Deep Feedback Control",
        f"Controller: {about_controller(design.controller, design.seconds)}; neurons: "
        f"tau_v = {design.tau_v_seconds:g} s, {' '.join(design.activations)}",
        (*_LEGEND, *(_COMPARTMENTS if noise else ())),
        noise=noise,
        update=update,
    )


_LEGEND = (
    "in<n>p in<n>n  inputs +-     bp bn  bias rails +-",
    "rst  1 V holds the reset      go  1 V applies the target step",
    "w<i>_<n> q<i>_<n>  columns of the forward and feedback crossbars",
    "v<i>_<n>  v     vffn<i>_<n>  - v_ff     r<i>_<n> rn<i>_<n>  +- phi(v)",
    "rff<i>_<n>  phi(v_ff)     e<n>  error",
    "up<n> un<n>  +- u     goal<n>  target",
)
"""Names of the nodes."""

_COMPARTMENTS = (
    "eps<i>_<n>  noise of the feedback compartments",
    "fb<i>_<n>  columns of the feedback crossbars     vfbn<i>_<n>  - v_fb",
)
"""Nodes of a circuit with feedback compartments, instead of q as columns."""


def _layers(build: Builder, design: Design) -> list[LayerTaps]:
    """The neurons, with their feedback compartments where the design has such."""
    taps: list[LayerTaps] = []
    for i in range(1, design.depth + 1):
        kinds = OUTPUT if i == design.depth else HIDDEN
        unit, q_unit = design.weight_unit(i), design.feedback_unit(i)
        # The soma turns q_unit * S_u amperes per unit of Q u into S_v volts.
        r_soma = design.card.scale.activation / (design.card.scale.control * q_unit)
        line = design.column_capacitance(i)
        place = Place(i, design.sizes[i], unit, r_soma, design.tau_v_seconds, line)
        taps.append(kinds[design.activations[i - 1]](build, place))
        if design.compartments is not None:
            line = design.column_capacitance(i, feedback=True)
            seconds = design.compartments.tau_fb * design.seconds
            taps[-1] = compartment(build, place, taps[-1], design.compartments, seconds, line)
    return taps


def _sources(sizes: Sequence[int], noise: Sequence[Port]) -> tuple[Sources, ...]:
    """What drives the circuit from outside."""
    return (
        Sources(INPUT.plus.bank, sizes[0]),
        Sources(INPUT.minus.bank, sizes[0]),
        Sources(BIAS.plus.bank, 1),
        Sources(BIAS.minus.bank, 1),
        *(Sources(port.bank, n) for port, n in zip(noise, sizes[1:], strict=False)),
        Sources(TARGET.bank, sizes[-1]),
    )


def _crossbars(
    design: Design,
    components: Components,
    taps: list[LayerTaps],
    control: ControlTaps,
    i: int,
) -> Iterator[Crossbar]:
    """Both crossbars of layer i."""
    below = INPUT if i == 1 else _rails(taps[i - 2])
    # G+ hangs on -u, since the soma inverts; before it, a compartment inverts once more.
    feedback, summed = Rails(control.u_minus.port, control.u.port), taps[i - 1].v
    if (compartments := taps[i - 1].v_fb) is not None:
        feedback, summed = Rails(*reversed(feedback)), compartments
    wire = design.card.wire
    forward = (below, BIAS), (design.sizes[i - 1], 1)
    back = (feedback,), (design.sizes[-1],)
    for kind, name, (rows, inputs), tap, unit in (
        (Array.FORWARD, "W", forward, taps[i - 1].v_ff, design.weight_unit(i)),
        (Array.FEEDBACK, "Q", back, summed, design.feedback_unit(i)),
    ):
        plus, minus = components.pairs(design, i, kind)
        yield Crossbar(
            f"{name}{i}",
            f"layer {i}",
            kind,
            rows,
            inputs,
            Port(tap.bank, Node.SUMMING),
            plus,
            minus,
            design.row_capacitance(i),
            design.column_capacitance(i, feedback=kind is Array.FEEDBACK),
            *lines_and_tiling(wire),
            unit,
        )


def lines_and_tiling(wire: Wire) -> tuple[Lines, Tiling]:
    """Lines of a crossbar, and how it is cut.

    Args:
        wire: what the card says of its wires.
    """
    # Both rails of an input lie in the same tile.
    tiling = Tiling(_whole(wire.rows), _whole(wire.columns)).keeping_rails(2)
    return Lines(r_word=wire.word or 0.0, r_bit=wire.bit or 0.0), tiling


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _rails(taps: LayerTaps) -> Rails:
    assert taps.r_minus is not None
    return Rails(taps.r.port, taps.r_minus.port)


def line_capacitors(crossbars: list[Crossbar]) -> Iterator[Capacitors]:
    """The lines of crossbars, lumped at the end where the amplifier is.

    Args:
        crossbars: the crossbars.
    """
    for crossbar in crossbars:
        for rails, n in zip(crossbar.rows, crossbar.sizes, strict=True):
            for port in rails:
                farads = torch.full((n,), crossbar.row_farads, dtype=torch.float64)
                yield Capacitors(crossbar.part, port, None, farads, line=True)
        columns = len(crossbar.plus)
        farads = torch.full((columns,), crossbar.column_farads, dtype=torch.float64)
        yield Capacitors(crossbar.part, crossbar.columns, None, farads, line=True)
