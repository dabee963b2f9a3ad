"""The circuits of a design that inverts layers: neurons, readouts, controllers and crossbars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from analogdfc.circuit.assembly import Components, line_capacitors, lines_and_tiling
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import (
    TARGET,
    Array,
    AutoZero,
    ControlTaps,
    Crossbar,
    Description,
    Port,
    Rails,
    Sources,
    Tap,
)
from analogdfc.circuit.description._builder import Builder
from analogdfc.circuit.description.controllers import (
    Wanted,
    about_controller,
    describe_controller,
)
from analogdfc.circuit.description.recipients import (
    Neurons,
    Unit,
    negative,
    readout,
    recipients,
)
from analogdfc.circuit.design import Design
from analogdfc.inverting.design import InversionDesign, Link
from analogdfc.learning.inversion import FastControl

__all__ = ["chips"]

_LEGEND = (
    "rst  1 V holds the reset      goal<n>  - target of the uppermost layer, a rail",
    "q<i>_<n> w<i>_<n>  columns that drive neurons and readouts",
    "d<i>_<n> dn<i>_<n>  +- delta     r<i>_<n> rn<i>_<n>  +- phi(delta)",
    "f<i>_<n>  answer W phi(delta)     e<i>_<n>  error of that answer",
    "up<i>_<n> un<i>_<n>  +- u of the controller of layer i",
)


def chips(design: InversionDesign, seed: int | None) -> tuple[Chip, ...]:
    """The circuits of a design, in the order in which they run.

    Of layer pairs in sequence these are one a pair, else it is one.

    Args:
        design: the design.
        seed: seed of the components, >= 0; None for nominal ones.

    Raises:
        UserError: a negative seed.
    """
    return tuple(Chip.of(design, seed, InversionAssembly(k)) for k in range(len(design.circuits)))


@dataclass(frozen=True)
class InversionAssembly:
    """What makes one of the circuits of a design.

    Attributes:
        number: which of `InversionDesign.circuits`.
    """

    number: int

    def __call__(self, design: Design, components: Components) -> Description:
        """The circuit.

        Args:
            design: the design, an `InversionDesign`.
            components: where values come from.
        """
        assert isinstance(design, InversionDesign)
        return _Assembly(design, components).describe(design.circuits[self.number])


class _Assembly:
    """Puts the circuit of some links together."""

    def __init__(self, design: InversionDesign, components: Components) -> None:
        self.design, self.components = design, components
        self.build = Builder(design.card, components)
        self.crossbars: list[Crossbar] = []
        self.signals: dict[str, Tap] = {}

    def describe(self, links: Sequence[Link]) -> Description:
        """The circuit."""
        build, design = self.build, self.design
        build.named(TARGET, "goal{k}")
        target, controls, zeros = TARGET, list[ControlTaps](), list[AutoZero]()
        for link, below in zip(links, [*links[1:], None], strict=True):
            unit, neurons = self._neurons(link.bottom, self._soma_of_feedback(link), link)
            answer = self._answer(link, neurons)
            wanted = Wanted(
                link.controller,
                design.seconds,
                design.sizes[link.top],
                answer,
                target,
                f"controller{link.top}",
                f"controller {link.top}",
                f"{link.top}_",
                railed=True,
            )
            control, zero = describe_controller(build, wanted)
            self._feedback(link, control, neurons)
            self.signals |= {f"u{link.top}": control.u, f"e{link.top}": control.e}
            controls.append(control)
            zeros.append(zero)
            if below is not None:
                target = negative(build, unit, neurons)
        sources = Sources(TARGET.bank, design.sizes[links[0].top])
        return Description(
            tuple(build.banks),
            (sources,),
            tuple(build.resistors),
            (*build.capacitors, *line_capacitors(self.crossbars)),
            tuple(build.branches),
            tuple(build.cells),
            tuple(self.crossbars),
            tuple(build.switches),
            (),
            controls[0],
            zeros[0],
            tuple(build.instances),
            build.nodes,
            f"Dynamic inversion of {', '.join(link.name for link in links)}",
            _dynamics(design, links),
            _LEGEND,
            tuple(zeros[1:]),
            relative=False,
            signals=self.signals,
        )

    def _soma_of_feedback(self, link: Link) -> float:
        """Resistance that turns a unit of Q u into one of delta, in ohms."""
        scale, unit = self.design.card.scale, self.design.feedback_unit(link.top)
        return scale.activation / (scale.control * unit)

    def _neurons(self, i: int, ohms: float, link: Link) -> tuple[Unit, Neurons]:
        """Neurons of layer i; those at the bottom integrate what they get, with fast control."""
        design = self.design
        farads, leak = design.tau_v_seconds / ohms, 1.0
        if i == link.bottom and isinstance(link.control, FastControl):
            leak = link.control.alpha
        r_f = ohms / leak if leak else float("inf")
        unit = Unit(i, design.sizes[i], r_f, farads)
        integrates = leak < 1 and i == link.bottom
        name = design.activations[i - 1]
        found = recipients(self.build, unit, name, reset=integrates)
        self.signals[f"delta{i}"] = Tap(found.soma.name, 1.0)
        return unit, found

    def _answer(self, link: Link, neurons: Neurons) -> Port:
        """The layers between the bottom and the top of a link, and the readout of the top."""
        design, rails = self.design, neurons.rails
        for i in range(link.bottom + 1, link.top):
            _, between = self._neurons(i, 1 / design.weight_unit(i), link)
            self._forward(i, rails, between.soma.x)
            rails = between.rails
        top, unit = link.top, design.weight_unit(link.top)
        farads = design.tau_v_seconds * unit if link.fast else None
        line = 2 * design.sizes[top - 1] * design.cell_capacitance
        found = readout(self.build, Unit(top, design.sizes[top], 1 / unit, farads, line))
        self._forward(top, rails, found.x)
        return found.o

    def _forward(self, i: int, rails: Rails, columns: Port) -> None:
        """The devices of W_i, without the row of the bias; G+ hangs on the inverted rail."""
        plus, minus = self.components.pairs(self.design, i, Array.FORWARD)
        turned = Rails(rails.minus, rails.plus)
        unit = self.design.weight_unit(i)
        self._crossbar(f"W{i}", i, Array.FORWARD, turned, columns, (plus[:, :-1], minus[:, :-1]),
                       unit)  # fmt: skip

    def _feedback(self, link: Link, control: ControlTaps, neurons: Neurons) -> None:
        """The devices of Q; G+ hangs on -u, since the soma inverts."""
        design, top = self.design, link.top
        pair = self.components.pairs(design, top, Array.FEEDBACK, design.q(link))
        rails = Rails(control.u_minus.port, control.u.port)
        unit = design.feedback_unit(top)
        self._crossbar(f"Q{top}", link.bottom, Array.FEEDBACK, rails, neurons.soma.x, pair, unit)

    def _crossbar(
        self,
        name: str,
        layer: int,
        kind: Array,
        rows: Rails,
        columns: Port,
        pair: tuple[Tensor, Tensor],
        unit: float,
    ) -> None:
        plus, minus = pair
        outputs, inputs = plus.shape
        cell = self.design.cell_capacitance
        self.crossbars.append(
            Crossbar(
                name,
                f"layer {layer}",
                kind,
                (rows,),
                (inputs,),
                columns,
                plus,
                minus,
                outputs * cell,
                2 * inputs * cell,
                *lines_and_tiling(self.design.card.wire),
                unit,
            )
        )


def _dynamics(design: InversionDesign, links: Sequence[Link]) -> str:
    """The line of the netlist's head on controllers and neurons."""
    seconds = design.seconds
    controls = [
        f"{link.name}: "
        + (
            f"fast control, alpha = {link.control.alpha:g}"
            if isinstance(link.control, FastControl)
            else about_controller(link.control, seconds)
        )
        for link in links
    ]
    names = [design.activations[i - 1] for link in links for i in range(link.bottom, link.top)]
    return f"Controllers of {'; '.join(controls)}; neurons: {seconds:g} s, {' '.join(names)}"
