"""Testbench of one run of the control loop: supplies, inputs, target, release, analysis."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from analogdfc.circuit.design import Design
from analogdfc.circuit.probes import probes
from analogdfc.dynamics.loop import free_state
from analogdfc.spice.netlist import number

EDGE = 1e-5
"""Duration of each of the two edges of the release, as a part of tau_u."""

_NODES = {"basal": "vffn", "soma": "v", "act": "r", "act_ff": "rff"}


@dataclass(frozen=True)
class Testbench:
    """Sources and analysis of one sample.

    Attributes:
        design: the design.
        x: input r_0, (n_0,), dimensionless.
        step: step of the output target, (n_L,), dimensionless.
        duration: length of the controlled phase, in units of the controller's time.
        max_step: longest time step, in the same unit.
    """

    design: Design
    x: Tensor
    step: Tensor
    duration: float
    max_step: float

    @property
    def release(self) -> float:
        """Time at which the controller runs and its target step is complete, in seconds."""
        return self._start + 2 * self._edge

    @property
    def _edge(self) -> float:
        return EDGE * self.design.tau_u_seconds

    @property
    def _start(self) -> float:
        return 1e-3 * self.design.tau_u_seconds

    def signals(self) -> dict[str, list[str]]:
        """Node names of each stage of a trajectory, in the order of the neurons."""
        out = {}
        for probe in probes(self.design):
            group, stage = probe.split(".")
            if group == "controller":
                prefix, n = {"inv": "up", "error": "e"}[stage], self.design.sizes[-1]
            else:
                layer = int(group.removeprefix("layer"))
                prefix, n = f"{_NODES[stage]}{layer}_", self.design.sizes[layer]
            out[probe] = [f"{prefix}{k}" for k in range(1, n + 1)]
        return out

    def text(self) -> str:
        """The testbench, to be appended to a netlist; the operating point is the free phase."""
        unit = self.design.card.scale.activation
        supply = number(self.design.card.amplifier.supply)
        # The holds open before the target moves, or they would store a part of the step.
        start, held, end = (number(self._start + k * self._edge) for k in range(3))
        lines = [
            "* Supplies and bias rails",
            f"Vdd vdd 0 {supply}",
            f"Vss vss 0 -{supply}",
            f"Vbp bp 0 {number(unit)}",
            f"Vbn bn 0 {number(-unit)}",
            "* The release: first the reset opens, then the target steps",
            f"Vrst rst 0 PWL(0 1 {start} 1 {held} 0)",
            f"Vgo go 0 PWL(0 0 {held} 0 {end} 1)",
        ]
        goal = self.step
        if not self.design.readout.relative_target:
            goal = goal + free_state(self.design.loop(), self.x[None]).v[-1][0]
        for k, value in enumerate(goal.tolist(), start=1):
            lines.append(f"Vgoal{k} goal{k} 0 {number(value * unit)}")
        lines.append("* Inputs on dual rails")
        for k, value in enumerate(self.x.tolist(), start=1):
            lines.append(f"Vin{k}p in{k}p 0 {number(value * unit)}")
            lines.append(f"Vin{k}n in{k}n 0 {number(-value * unit)}")
        stop = self.release + self.duration * self.design.seconds
        longest = self.max_step * self.design.seconds
        lines += [
            "* Analysis: the operating point is the free phase",
            ".options reltol=1e-6 abstol=1e-13 vntol=1e-9 gmin=1e-15 method=trap",
            f".tran {number(longest)} {number(stop)} 0 {number(longest)}",
            ".end",
        ]
        return "\n".join(lines) + "\n"
