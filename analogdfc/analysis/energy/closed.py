"""Energy of a settle in closed form, from a chip's free state and its rest state."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.analysis.energy import items
from analogdfc.analysis.energy._path import Path, path
from analogdfc.analysis.energy.items import Energy
from analogdfc.circuit.chip import Stage
from analogdfc.circuit.description import Array, Crossbar
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.errors import UserError
from analogdfc.wires import array_power, dual_rail


def closed_form(chip: StaticChip, state: StaticState, *, duration: float) -> Energy:
    """Energy from the release of the controller on, without integrating the waveforms.

    Within 0.1 % of the waveforms for durations well above the lag of an amplifier; items that
    nearly cancel are less exact. The controller's and the output's rest must lie within the rails.

    Args:
        chip: the chip.
        state: its free state and its rest state, from `chip.solve`, in double precision on the CPU.
        duration: length of the controlled phase in seconds; 0 takes nothing.

    Returns:
        Items and parts as `measure` has them, each (batch,).

    Raises:
        UserError: a duration that is negative or isn't finite.
        ConvergenceError: a loop that doesn't settle, or whose rest lies beyond the rails.
    """
    if not 0 <= duration < math.inf:
        raise UserError(f"duration = {duration} s: it must be finite and >= 0")
    amplifier = chip.chip.design.card.amplifier
    state.check_rails(min(amplifier.supply, amplifier.saturation or math.inf))
    with torch.no_grad():
        bill = _Bill(chip, state, path(chip, state, duration), duration)
        for i in range(1, chip.chip.design.depth + 1):
            bill.layer(i)
        bill.controller()
    found = Energy(bill.items)
    # The error amplifier jumps at once here, before the others do.
    return found if duration > 0 else found.scaled(0.0)


def _dual_rows(plus: Tensor, minus: Tensor) -> Tensor:
    """Voltages or currents of the rows from those of the two rails of each input."""
    return torch.stack([plus, minus], dim=-1).flatten(-2)


class _Taken(NamedTuple):
    """A crossbar along the path: powers (points, batch), currents into its rails (.., inputs)."""

    plus: Tensor
    minus: Tensor
    devices: Tensor
    wires: Tensor


class _Bill:
    """Adds up the items of one chip."""

    def __init__(self, chip: StaticChip, state: StaticState, way: Path, duration: float) -> None:
        self.chip, self.state, self.way, self.duration = chip, state, way, duration
        self.design, self.parts = chip.chip.design, chip.chip
        self.amplifier = self.design.card.amplifier
        self.inverse_gain = 1 / self.amplifier.gain if self.amplifier.gain else 0.0
        self.items: dict[tuple[str, str], Tensor] = {}
        depth = self.design.depth
        self.forward = [self._forward(i) for i in range(1, depth + 1)]
        self.feedback = [self._feedback(i) for i in range(1, depth + 1)]

    # The states

    def _x(self, bank: str, stage: Stage, volts: dict[str, Tensor] | None = None) -> Tensor:
        """Voltage of a bank's summing nodes."""
        return stage.offset - self.inverse_gain * (volts or self.way.volts)[bank]

    def _rails(self, i: int, volts: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Voltages on the rails of layer i's forward crossbar, bias last."""
        if i == 1:
            plus = self.state.x * self.design.card.scale.activation
            minus = -plus
        else:
            plus, minus = volts[f"layer{i - 1}.act"], volts[f"layer{i - 1}.inv"]
        one = plus.new_full((*plus.shape[:-1], 1), self.design.card.scale.activation)
        return torch.cat([plus, one], dim=-1), torch.cat([minus, -one], dim=-1)

    def _crossbar(self, i: int, kind: Array) -> Crossbar:
        found = (
            c for c in self.parts.circuit.crossbars if (c.kind, c.part) == (kind, f"layer {i}")
        )
        return next(found)

    def _forward(self, i: int) -> _Taken:
        """Its rows move little: a quadratic through the free state, rest and their mean."""
        devices, stage = self.chip.devices(i), self.parts.layers[i - 1].stages["basal"]
        ends = [self.state.volts_free, self.state.volts_rest]
        if i == 1:  # driven by sources, which do not move
            ends = ends[1:]
        rows = torch.stack([_dual_rows(*self._rails(i, volts)) for volts in ends])
        columns = torch.stack([self._x(f"layer{i}.basal", stage, volts) for volts in ends])
        crossbar = self._crossbar(i, Array.FORWARD)
        g = torch.from_numpy(dual_rail(*devices))
        power = array_power(g, crossbar.lines, rows, columns, crossbar.tiling)
        if i == 1:
            points = len(self.way.weights)
            held = [x.expand(points, *x.shape[1:]) for x in power]
            return _Taken(held[0][..., 0::2], held[0][..., 1::2], held[1], held[2])
        now = _dual_rows(*self._rails(i, self.way.volts))
        way = rows[1] - rows[0]
        share = ((now - rows[0]) * way).sum(dim=-1) / way.square().sum(dim=-1).clamp(min=1e-300)
        apart = now - rows[0] - share.unsqueeze(-1) * way
        currents = power.rows[0] + share.unsqueeze(-1) * (power.rows[1] - power.rows[0])
        currents = currents + apart * _dual_rows(*(g.sum(dim=0) for g in devices))
        return _Taken(
            currents[..., 0::2],
            currents[..., 1::2],
            _quadratic(power.devices, share),
            _quadratic(power.wires, share),
        )

    def _feedback(self, i: int) -> _Taken:
        parts, volts = self.parts.layers[i - 1], self.way.volts
        rows = _dual_rows(volts["controller.pi"], volts["controller.inv"])
        columns = self._x(f"layer{i}.soma", parts.stages["soma"])
        # One state each, or a mean would be added to two.
        flat = rows.flatten(0, 1)[None], columns.flatten(0, 1)[None]
        crossbar = self._crossbar(i, Array.FEEDBACK)
        g = torch.from_numpy(dual_rail(parts.q_plus, parts.q_minus))
        found = array_power(g, crossbar.lines, *flat, crossbar.tiling)
        currents, heat, lost = (x[0].reshape(*rows.shape[:2], *x.shape[2:]) for x in found)
        return _Taken(currents[..., 0::2], currents[..., 1::2], heat, lost)

    # The items

    def _add(self, component: str, part: str, joules: Tensor) -> None:
        key = component, part
        self.items[key] = self.items[key] + joules if key in self.items else joules

    def _spend(self, component: str, part: str, power: Tensor) -> None:
        """Integrate a power, (points, batch) or (points, batch, n), over the path."""
        if power.ndim == 3:
            power = power.sum(dim=-1)
        self._add(component, part, self.way.weights @ power)

    def _resistor(self, part: str, volts: Tensor, g: Tensor) -> Tensor:
        """Count a resistor's heat; its current."""
        self._spend(items.RESISTORS, part, g * volts**2)
        return g * volts

    def _amplifiers(self, part: str, bank: str, current: Tensor) -> None:
        """Count a bank of amplifiers that deliver these currents."""
        a, volts = self.amplifier, self.way.volts[bank]
        idle = 2 * a.supply * a.quiescent_current * self.duration * volts.shape[-1]
        self._add(items.QUIESCENT, part, volts.new_full(volts.shape[1:2], idle))
        self._spend(items.OUTPUT_STAGES, part, a.supply * current.abs() - volts * current)

    def _charge(self, component: str, part: str, c: Tensor | float, x: Tensor, y: Tensor) -> None:
        """Count the energy that capacitors have gained from voltages x to y."""
        joules = (c * (y**2 - x**2) / 2).sum(dim=-1)
        self._add(component, part, joules)

    def _capacitor(self, part: str, bank: str, stage: Stage) -> None:
        """The capacitor across a stage's feedback, and the amplifier's input."""
        ends = self.state.volts_free, {k: v[-1] for k, v in self.way.volts.items()}
        x = [self._x(bank, stage, volts) for volts in ends]
        over = [volts[bank] - at for volts, at in zip(ends, x, strict=True)]
        self._charge(items.CAPACITORS, part, stage.c_f, *over)
        c_in = self.amplifier.delays.input_capacitance or 0.0
        self._charge(items.CAPACITORS, part, c_in, *x)

    def _tanh(self, part: str, limit: Tensor, ground: Tensor) -> None:
        """Count tanh cells that sink `limit` of their current from nodes at `ground`."""
        current, supply = self.design.card.tanh.current, self.amplifier.supply
        self._spend(items.TANH, part, current * (supply * (2 - limit) + limit * ground))

    def layer(self, i: int) -> None:
        """Count layer i."""
        part, volts = items.layer_name(i), self.way.volts
        stages, depth = self.parts.layers[i - 1].stages, self.design.depth
        for component, array in (
            (items.FORWARD, self.forward[i - 1]),
            (items.FEEDBACK, self.feedback[i - 1]),
        ):
            self._spend(component, part, array.devices)
            self._spend(items.WIRES, part, array.wires)
        x = {name: self._x(f"layer{i}.{name}", stage) for name, stage in stages.items()}
        current = {
            name: self._resistor(part, volts[f"layer{i}.{name}"] - x[name], 1 / stage.r_f)
            for name, stage in stages.items()
        }
        into_soma = volts[f"layer{i}.basal"] - x["soma"]
        current["basal"] = current["basal"] + self._resistor(
            part, into_soma, 1 / stages["soma"].r_in[0]
        )
        if i == depth:
            error = self.parts.controller.stages["error"]
            at = volts[f"layer{i}.soma"] - self._x("controller.error", error)
            drawn = self._resistor(items.CONTROLLER, at, 1 / error.r_in[0])
            current["soma"] = current["soma"] + drawn
        else:
            above = self.forward[i]
            into_inv = volts[f"layer{i}.act"] - x["inv"]
            drawn = self._resistor(part, into_inv, 1 / stages["inv"].r_in[0])
            current["act"] = current["act"] + drawn + above.plus[..., :-1]
            current["inv"] = current["inv"] + above.minus[..., :-1]
            folded = self.chip.layers[i - 1]
            for name, cell, r in (
                ("act", folded.act, self.way.signals.r),
                ("act_ff", folded.act_ff, self.way.signals.r_ff),
            ):
                assert cell is not None
                self._tanh(part, (r[i - 1] - cell.offset) / cell.gain, x[name])
        for name, stage in stages.items():
            self._amplifiers(part, f"layer{i}.{name}", current[name])
            self._capacitor(part, f"layer{i}.{name}", stage)
        self._lines(i)

    def _lines(self, i: int) -> None:
        """Count the lines of both crossbars of layer i."""
        part, stages = items.layer_name(i), self.parts.layers[i - 1].stages
        last = {k: v[-1] for k, v in self.way.volts.items()}
        free, row = self.state.volts_free, self.design.row_capacitance(i)
        rows = ["controller.pi", "controller.inv"]
        if i > 1:
            rows += [f"layer{i - 1}.act", f"layer{i - 1}.inv"]
        for bank in rows:
            self._charge(items.LINES, part, row, free[bank], last[bank])
        for name, feedback in (("basal", False), ("soma", True)):
            bank, column = f"layer{i}.{name}", self.design.column_capacitance(i, feedback=feedback)
            x = [self._x(bank, stages[name], volts) for volts in (free, last)]
            self._charge(items.LINES, part, column, *x)

    def controller(self) -> None:
        """Count the controller."""
        part, parts, volts = items.CONTROLLER, self.parts.controller, self.way.volts
        error, pi, inv = (parts.stages[name] for name in ("error", "pi", "inv"))
        x = {name: self._x(f"controller.{name}", s) for name, s in parts.stages.items()}
        s_v = self.design.card.scale.activation
        self._resistor(part, -s_v * self.state.goal - x["error"], 1 / error.r_in[1])
        e, u, n = (volts[f"controller.{name}"] for name in ("error", "pi", "inv"))
        out = self._resistor(part, e - x["error"], 1 / error.r_f)
        driven = self._resistor(part, e - self.state.zero - x["pi"], 1 / pi.r_in[0])
        self._amplifiers(part, "controller.error", out + driven)
        leak = self._resistor(part, u - x["pi"], parts.g_leak)
        branch = driven + leak  # from the summing node through R_p and C_i to the output
        self._spend(items.RESISTORS, part, branch**2 * pi.r_f)
        out = leak - branch + self._resistor(part, u - x["inv"], 1 / inv.r_in[0])
        self._amplifiers(part, "controller.pi", out + sum(q.plus for q in self.feedback))
        out = self._resistor(part, n - x["inv"], 1 / inv.r_f)
        self._amplifiers(part, "controller.inv", out + sum(q.minus for q in self.feedback))
        for name, stage in parts.stages.items():
            self._capacitor(part, f"controller.{name}", stage)
        stored = (u - x["pi"] + branch * pi.r_f)[-1]
        self._charge(items.CAPACITORS, part, parts.c_i, torch.zeros_like(stored), stored)


def _quadratic(power: Tensor, s: Tensor) -> Tensor:
    """The parabola through powers at s = 0, 1 and 1/2, (3, batch), at s, (points, batch)."""
    start, end, middle = power.unbind()
    return start * (1 - s) * (1 - 2 * s) + end * s * (2 * s - 1) + 4 * middle * s * (1 - s)
