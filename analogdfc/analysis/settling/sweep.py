"""One sweep through a chip's stages, from the cut at the controller round to it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.stages import Charge, Stages
from analogdfc.analysis.settling.terminals import Crossbar
from analogdfc.circuit.chip import Chip

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

CUT = "controller.pi"
"""The stage at whose outputs the loop is cut."""


@dataclass(frozen=True)
class Paths:
    """What connects the stages of a chip.

    Attributes:
        chip: the chip.
        forward: crossbars of the weights of layers 1..L.
        feedback: those of the feedback weights.
        slopes: transconductances of the tanh cells by stage, (batch, 1, 1, n), in siemens.
    """

    chip: Chip
    forward: Sequence[Crossbar]
    feedback: Sequence[Crossbar]
    slopes: Mapping[str, Array]

    def input(self, group: str, stage: str) -> Array:
        """Conductance of a stage's first input resistor."""
        if group == "controller":
            return 1 / self.chip.controller.stages[stage].r_in[0].numpy()
        return 1 / self.chip.layers[int(group[5:]) - 1].stages[stage].r_in[0].numpy()


@dataclass
class Sweep:
    """Voltages of summing nodes and outputs by stage, (batch, points, k, n), stage after stage.

    What runs backwards is taken from the sweep before.

    Attributes:
        paths: what connects the stages.
        stages: their equations.
        cut: voltages given at the cut, (batch, points, k, n_L).
        charges: what the start has left behind, by stage; empty for nothing.
        last: the sweep before; None for nothing that runs backwards.
        x: voltages of the summing nodes.
        o: voltages of the outputs.
    """

    paths: Paths
    stages: Stages
    cut: Complex
    charges: Mapping[str, Charge]
    last: Sweep | None
    x: dict[str, Complex] = field(default_factory=dict)
    o: dict[str, Complex] = field(default_factory=dict)

    def run(self) -> Sweep:
        """Go once through all stages of the loop."""
        on_pi, on_inv = self._on_feedback_rails()
        g_inv = self.paths.input("controller", "inv")
        self._solve("controller.inv", -g_inv * self.cut, on_inv)
        depth = self.paths.chip.design.depth
        for i in range(1, depth + 1):
            self._layer(i)
        g_error, g_pi = (self.paths.input("controller", name) for name in ("error", "pi"))
        signal = self.o[f"layer{depth}.soma"]
        self._solve("controller.error", -g_error * signal, self._back(g_pi, CUT))
        back = -g_inv * self.x["controller.inv"]
        self._solve(CUT, -g_pi * self.o["controller.error"], _sum(on_pi, back))
        return self

    def read(self) -> dict[str, Complex]:
        """Outputs of all stages for k = 1, (batch, points, n), with what only the readout sees."""
        for i in range(1, self.paths.chip.design.depth):
            name = f"layer{i}.act_ff"
            self._solve(name, self.paths.slopes[name] * self.o[f"layer{i}.basal"], None)
        return {name: v[..., 0, :] for name, v in self.o.items()}

    def _solve(self, name: str, into_x: Complex, into_o: Complex | None) -> None:
        self.x[name], self.o[name] = self.stages.solve(name, into_x, into_o, self.charges.get(name))

    def _back(self, conductance: Array, name: str) -> Complex | None:
        """Current into the summing nodes of a later stage, less that of its conductance."""
        return None if self.last is None else -conductance * self.last.x[name]

    def _layer(self, i: int) -> None:
        name, paths = f"layer{i}", self.paths
        w, q = paths.forward[i - 1], paths.feedback[i - 1]
        current = self._across(f"{name}.basal", w)
        if i > 1:
            below = f"layer{i - 1}"
            for rail, matrix in zip((f"{below}.act", f"{below}.inv"), w.rails, strict=True):
                current = current - times(self.o[rail], matrix.T)
        g_soma = paths.input(name, "soma")
        self._solve(f"{name}.basal", current, self._back(g_soma, f"{name}.soma"))
        current = self._across(f"{name}.soma", q) - g_soma * self.o[f"{name}.basal"]
        current = current - times(self.cut, q.rails[0].T)
        current = current - times(self.o["controller.inv"], q.rails[1].T)
        if i == paths.chip.design.depth:
            g_error = paths.input("controller", "error")
            self._solve(f"{name}.soma", current, self._back(g_error, "controller.error"))
            return
        self._solve(f"{name}.soma", current, None)
        on_act, on_inv = self._on_rails(i + 1)
        g_inv = paths.input(name, "inv")
        current = paths.slopes[f"{name}.act"] * self.o[f"{name}.soma"]
        self._solve(f"{name}.act", current, _sum(on_act, self._back(g_inv, f"{name}.inv")))
        self._solve(f"{name}.inv", -g_inv * self.o[f"{name}.act"], on_inv)

    def _across(self, name: str, crossbar: Crossbar) -> Complex:
        """Currents out of a crossbar's columns through the wires of its rows."""
        if self.last is None or crossbar.across_columns is None:
            return np.zeros_like(self.cut[..., :1])
        return times(self.last.x[name], crossbar.across_columns)

    def _on_rails(self, i: int) -> tuple[Complex | None, Complex | None]:
        """Currents from the rails of layer i's inputs into its crossbar, less those of loads."""
        if self.last is None or self.stages.numbers.r_out == 0:
            return None, None
        below = f"layer{i - 1}"
        rails = self.last.o[f"{below}.act"], self.last.o[f"{below}.inv"]
        return _drawn(self.paths.forward[i - 1], self.last.x[f"layer{i}.basal"], rails)

    def _on_feedback_rails(self) -> tuple[Complex | None, Complex | None]:
        """The same for the rails of the control signal and all feedback crossbars."""
        plus: Complex | None = None
        minus: Complex | None = None
        if self.last is None or self.stages.numbers.r_out == 0:
            return plus, minus
        rails = self.cut, self.last.o["controller.inv"]
        for i, crossbar in enumerate(self.paths.feedback, start=1):
            drawn = _drawn(crossbar, self.last.x[f"layer{i}.soma"], rails)
            plus, minus = _sum(plus, drawn[0]), _sum(minus, drawn[1])
        return plus, minus


def _sum(a: Complex | None, b: Complex | None) -> Complex | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _drawn(
    crossbar: Crossbar, columns: Complex, rails: tuple[Complex, Complex]
) -> tuple[Complex, Complex]:
    """Currents from either rail for voltages of the columns and of other rails."""
    out = [-times(columns, matrix) for matrix in crossbar.rails]
    if crossbar.across_rails is not None:
        for k, row in enumerate(crossbar.across_rails):
            for rail, matrix in zip(rails, row, strict=True):
                out[k] = out[k] + times(rail, matrix.T)
    return out[0], out[1]


def times(v: Complex, matrix: Array) -> Complex:
    """Product v @ matrix with a real matrix, as one real product."""
    flat = v.reshape(-1, v.shape[-1])
    both = np.concatenate([flat.real, flat.imag]) @ matrix
    out = np.empty((*v.shape[:-1], matrix.shape[1]), dtype=complex)
    out.real, out.imag = both.reshape(2, *out.shape)
    return out
