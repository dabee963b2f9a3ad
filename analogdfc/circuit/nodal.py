"""The nodal equations of a chip: every conductance and capacitor between its amplifiers.

Nodes come in three blocks: the summing nodes x of the amplifiers, their outputs o, and the
sources s. Crossbars enter through their terminal admittance, so that wire resistance and the load
on every driver are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.chip import Chip, Stage
from analogdfc.wires.terminals import dual_rail, terminal_admittance

Array = NDArray[np.float64]
Index = NDArray[np.intp]


class Elements(NamedTuple):
    """Resistors or capacitors of one kind.

    Attributes:
        group: where they are: 'layer1'..'layerL' or 'controller'.
        a: node of one end of each.
        b: node of the other end; -1 for ground.
        value: conductance in siemens, or capacitance in farads.
    """

    group: str
    a: Index
    b: Index
    value: Array


class Crossbar(NamedTuple):
    """An array between its row drivers and its column senses.

    Attributes:
        group: 'layer1'..'layerL'.
        feedback: whether it holds feedback weights.
        nodes: rows, then columns.
        g: conductances, (rows, columns), in siemens.
        admittance: between the nodes, wires included, in siemens.
    """

    group: str
    feedback: bool
    nodes: Index
    g: Array
    admittance: Array


@dataclass
class NodalEquations:
    """Linear part of a chip's nodal equations, with the places of its nonlinear cells.

    Attributes:
        chip: the chip.
        banks: indices of the amplifiers of each stage, 'layer1.basal' ... 'controller.inv'.
        conductance: Laplacian over [x, o, s], in siemens.
        capacitance: Laplacian over [x, o, s], input capacitances on its diagonal, in farads.
        offset: input offset of each amplifier, in volts.
        tanh_input: for each tanh cell the amplifier whose output drives it.
        tanh_output: for each tanh cell the amplifier whose summing node it feeds.
        tanh_sign: +1, or -1 where the cell's inverting input is driven.
        tanh_offset: input offset of each tanh cell, in volts.
        resistors: the resistors around the amplifiers, without R_p of the integrators.
        capacitors: the capacitors around the amplifiers, without C_i of the integrators.
        lines: the capacitance of the crossbars' lines.
        crossbars: the arrays.
    """

    chip: Chip
    banks: dict[str, Index] = field(default_factory=dict)
    amplifiers: int = 0
    sources: int = 0
    conductance: Array = field(default_factory=lambda: np.zeros((0, 0)))
    capacitance: Array = field(default_factory=lambda: np.zeros((0, 0)))
    offset: Array = field(default_factory=lambda: np.zeros(0))
    tanh_input: list[Index] = field(default_factory=list)
    tanh_output: list[Index] = field(default_factory=list)
    tanh_sign: list[Array] = field(default_factory=list)
    tanh_offset: list[Array] = field(default_factory=list)
    resistors: list[Elements] = field(default_factory=list)
    capacitors: list[Elements] = field(default_factory=list)
    lines: list[Elements] = field(default_factory=list)
    crossbars: list[Crossbar] = field(default_factory=list)

    @classmethod
    def of(cls, chip: Chip) -> NodalEquations:
        """Assemble the equations of the loop with the controller released."""
        self = cls(chip)
        self._place()
        for i in range(1, chip.design.depth + 1):
            self._layer(i)
        self._controller()
        c_in = chip.design.card.amplifier.delays.input_capacitance or 0.0
        for bank, nodes in self.banks.items():
            self._capacitor(bank.split(".")[0], nodes, None, np.full(len(nodes), c_in))
        return self

    # Nodes

    def x(self, bank: str) -> Index:
        """Nodes of the summing nodes of a stage."""
        return self.banks[bank]

    def o(self, bank: str) -> Index:
        """Nodes of the outputs of a stage."""
        return self.banks[bank] + self.amplifiers

    def source(self, name: str) -> Index:
        """Nodes of the sources: 'input+', 'input-', 'bias' (both rails) or 'target'."""
        n_in, n_out = self.chip.design.sizes[0], self.chip.design.sizes[-1]
        starts = {"input+": 0, "input-": n_in, "bias": 2 * n_in, "target": 2 * n_in + 2}
        counts = {"input+": n_in, "input-": n_in, "bias": 2, "target": n_out}
        return 2 * self.amplifiers + starts[name] + np.arange(counts[name])

    def _place(self) -> None:
        groups = [(f"layer{i}", p.stages) for i, p in enumerate(self.chip.layers, start=1)]
        groups.append(("controller", self.chip.controller.stages))
        offsets = []
        for group, stages in groups:
            for name, stage in stages.items():
                n = len(stage.r_f)
                self.banks[f"{group}.{name}"] = self.amplifiers + np.arange(n)
                self.amplifiers += n
                offsets.append(stage.offset.numpy())
        self.offset = np.concatenate(offsets)
        design = self.chip.design
        self.sources = 2 * design.sizes[0] + 2 + design.sizes[-1]
        nodes = 2 * self.amplifiers + self.sources
        self.conductance = np.zeros((nodes, nodes))
        self.capacitance = np.zeros((nodes, nodes))

    # Elements

    def _between(self, matrix: Array, a: Index, b: Index, value: Array) -> None:
        matrix[a, a] += value
        matrix[b, b] += value
        matrix[a, b] -= value
        matrix[b, a] -= value

    def _resistor(self, group: str, a: Index, b: Index, g: Array) -> None:
        self._between(self.conductance, a, b, g)
        self.resistors.append(Elements(group, a, b, g))

    def _capacitor(
        self, group: str, a: Index, b: Index | None, c: Array, *, line: bool = False
    ) -> None:
        if b is None:
            self.capacitance[a, a] += c
            b = np.full_like(a, -1)
        else:
            self._between(self.capacitance, a, b, c)
        (self.lines if line else self.capacitors).append(Elements(group, a, b, c))

    def _stage(self, bank: str, stage: Stage, inputs: list[Index]) -> None:
        x, o, group = self.x(bank), self.o(bank), bank.split(".")[0]
        for node, r in zip(inputs, stage.r_in, strict=True):
            self._resistor(group, node, x, 1 / r.numpy())
        if not bank.endswith(".pi"):
            self._resistor(group, x, o, 1 / stage.r_f.numpy())
        self._capacitor(group, x, o, stage.c_f.numpy())

    def _crossbar(
        self, i: int, plus: Tensor, minus: Tensor, rows: Index, columns: Index, *, feedback: bool
    ) -> None:
        design = self.chip.design
        g, wire = dual_rail(plus, minus), design.card.wire
        nodes = np.concatenate([rows, columns])
        admittance = terminal_admittance(g, wire.word or 0.0, wire.bit or 0.0)
        self.conductance[np.ix_(nodes, nodes)] += admittance
        self.crossbars.append(Crossbar(f"layer{i}", feedback, nodes, g, admittance))
        for lines, c in (
            (rows, design.row_capacitance(i)),
            (columns, design.column_capacitance(i, feedback=feedback)),
        ):
            self._capacitor(f"layer{i}", lines, None, np.full(len(lines), c), line=True)

    def _rails(self, plus: Index, minus: Index) -> Index:
        return np.stack([plus, minus], axis=1).ravel()

    def _layer(self, i: int) -> None:
        parts, layer = self.chip.layers[i - 1], f"layer{i}"
        if i == 1:
            rails = self._rails(self.source("input+"), self.source("input-"))
        else:
            rails = self._rails(self.o(f"layer{i - 1}.act"), self.o(f"layer{i - 1}.inv"))
        rows = np.concatenate([rails, self.source("bias")])
        columns = self.x(f"{layer}.basal")
        self._crossbar(i, parts.w_plus, parts.w_minus, rows, columns, feedback=False)
        # G+ hangs on -u, the output of the PI amplifier, since the soma inverts.
        rows = self._rails(self.o("controller.pi"), self.o("controller.inv"))
        columns = self.x(f"{layer}.soma")
        self._crossbar(i, parts.q_plus, parts.q_minus, rows, columns, feedback=True)
        inputs = {"soma": [self.o(f"{layer}.basal")]}
        if "act" in parts.stages:
            inputs["inv"] = [self.o(f"{layer}.act")]
            for cell, driver, sign in (("act", "soma", 1.0), ("act_ff", "basal", -1.0)):
                self.tanh_input.append(self.banks[f"{layer}.{driver}"])
                self.tanh_output.append(self.banks[f"{layer}.{cell}"])
                self.tanh_sign.append(np.full(len(self.banks[f"{layer}.{cell}"]), sign))
                self.tanh_offset.append(parts.tanh_offset[cell].numpy())
        for name, stage in parts.stages.items():
            self._stage(f"{layer}.{name}", stage, inputs.get(name, []))

    def _controller(self) -> None:
        parts = self.chip.controller
        output = self.o(f"layer{self.chip.design.depth}.soma")
        self._stage("controller.error", parts.stages["error"], [output, self.source("target")])
        self._stage("controller.pi", parts.stages["pi"], [self.o("controller.error")])
        self._stage("controller.inv", parts.stages["inv"], [self.o("controller.pi")])
        x, o = self.x("controller.pi"), self.o("controller.pi")
        self._resistor("controller", x, o, parts.g_leak.numpy())
