"""Energy of a settle in closed form, from a chip's free state and its rest state."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from analogdfc.analysis.energy import items
from analogdfc.analysis.energy._path import Path, path
from analogdfc.analysis.energy.items import Energy
from analogdfc.circuit.description import (
    BIAS,
    INPUT,
    Array,
    Bank,
    Branches,
    Cells,
    Crossbar,
    Node,
    Port,
)
from analogdfc.circuit.numbers import AmplifierNumbers
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.circuit.static.stages import Stages
from analogdfc.errors import UserError
from analogdfc.wires import ArrayEnergy, array_energy, array_power, dual_rail


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
    state.check_rails(min(amplifier.supply, amplifier.reach or math.inf))
    with torch.no_grad():
        bill = _Bill(chip, state, path(chip, state, duration), duration)
        bill.count()
    found = Energy(bill.items)
    # The error amplifier jumps at once here, before the others do.
    return found if duration > 0 else found.scaled(0.0)


class _Bill:
    """Adds up the items of one chip along the way from its free state to rest."""

    def __init__(self, chip: StaticChip, state: StaticState, way: Path, duration: float) -> None:
        self.chip, self.state, self.way, self.duration = chip, state, way, duration
        self.circuit, self.card = chip.chip.circuit, chip.chip.design.card
        self.amplifier, self.numbers = self.card.amplifier, AmplifierNumbers.of(self.card)
        self.stages = Stages(chip.chip)
        self.items: dict[tuple[str, str], Tensor] = {}
        points, batch = len(way.weights), len(state.x)
        self.currents = {  # out of the amplifiers
            b.name: state.x.new_zeros(points, batch, b.size) for b in self.circuit.banks
        }
        self.inflow = {name: torch.zeros_like(c) for name, c in self.currents.items()}
        self.last = {name: v[-1] for name, v in way.volts.items()}

    def count(self) -> None:
        """Count everything."""
        for crossbar in self.circuit.crossbars:
            self._crossbar(crossbar)
        for r in self.circuit.resistors:
            volts = self._across(r.a, r.b)
            if r.zeroed:
                volts = volts - self.state.zero
            self._spend(items.RESISTORS, r.part, r.siemens * volts**2)
            self._flow(r.a, r.b, r.siemens * volts)
        for cell in self.circuit.cells:
            self._cell(cell)
        for branch in self.circuit.branches:
            self._branch(branch)
        for c in self.circuit.capacitors:
            ends = (self._across(c.a, c.b, volts) for volts in (self.state.volts_free, self.last))
            self._charge(items.LINES if c.line else items.CAPACITORS, c.part, c.farads, *ends)
        for bank in self.circuit.banks:
            ends = (self._volts(bank.x, volts) for volts in (self.state.volts_free, self.last))
            self._charge(items.CAPACITORS, bank.part, self.numbers.c_in, *ends)
            self._amplifiers(bank)

    # The states

    def _volts(self, port: Port | None, volts: Mapping[str, Tensor] | None = None) -> Tensor:
        """Voltages of a port along the way, or in a state whose outputs are given."""
        if port is None:
            return self.state.x.new_zeros(1)
        if port.node is Node.SOURCE:
            return self._source(port)
        output = (volts or self.way.volts)[port.bank]
        if port.node is Node.OUTPUT:
            return output
        bank = self.circuit.bank[port.bank]
        if self.numbers.r_stage == 0:
            return bank.offset - self.numbers.inverse_gain * output
        return bank.offset - self.numbers.inverse_gain_into(self.stages.load(bank.o)) * output

    def _source(self, port: Port) -> Tensor:
        """Voltages of sources, which do not move after the release, (batch, n)."""
        one = torch.ones_like(self.state.x[:, :1])
        driven = {
            INPUT.plus: self.state.x,
            INPUT.minus: -self.state.x,
            BIAS.plus: one,
            BIAS.minus: -one,
            self.circuit.target: -self.state.goal,
        }
        return self.card.scale.activation * driven[port]

    def _across(self, a: Port, b: Port | None, volts: Mapping[str, Tensor] | None = None) -> Tensor:
        return self._volts(a, volts) - self._volts(b, volts)

    # What flows and what it costs

    def _flow(self, a: Port, b: Port | None, current: Tensor) -> None:
        """Book a current from a to b, None for ground."""
        for port, out in ((a, current), (b, -current)):
            if port is None:
                continue
            if port.node is Node.OUTPUT:
                self.currents[port.bank] += out
            elif port.node is Node.SUMMING:
                self.inflow[port.bank] -= out

    def _add(self, component: str, part: str, joules: Tensor) -> None:
        key = component, part
        self.items[key] = self.items[key] + joules if key in self.items else joules

    def _spend(self, component: str, part: str, power: Tensor) -> None:
        """Integrate a power, (points, batch) or (points, batch, n), over the path."""
        if power.ndim == 3:
            power = power.sum(dim=-1)
        self._add(component, part, self.way.weights @ power)

    def _charge(
        self, component: str, part: str, farads: Tensor | float, x: Tensor, y: Tensor
    ) -> None:
        """Count the energy that capacitors have gained from voltages x to y."""
        self._add(component, part, (farads * (y**2 - x**2) / 2).sum(dim=-1))

    def _amplifiers(self, bank: Bank) -> None:
        """Count a bank of amplifiers that deliver their currents."""
        a, volts, current = self.amplifier, self.way.volts[bank.name], self.currents[bank.name]
        idle = 2 * a.supply * a.quiescent_current * self.duration * bank.size
        self._add(items.QUIESCENT, bank.part, volts.new_full(volts.shape[1:2], idle))
        self._spend(items.OUTPUT_STAGES, bank.part, a.supply * current.abs() - volts * current)

    def _cell(self, cell: Cells) -> None:
        """Count tanh cells, which sink a part of their current from summing nodes."""
        current, supply = self.card.tanh_current, self.amplifier.supply
        volts = cell.sign * self._volts(cell.source) + cell.offset
        limit = torch.tanh(volts / self.card.tanh_scale)
        ground = self._volts(cell.into)
        self._spend(items.TANH, cell.part, current * (supply * (2 - limit) + limit * ground))
        self.inflow[cell.into.bank] -= current * limit

    def _branch(self, branch: Branches) -> None:
        """Count resistors in series with capacitors.

        Their current is what all else leaves of Kirchhoff's law at the summing node of b.
        """
        current = -self.inflow[branch.b.bank]
        held = self._across(branch.a, branch.b) - branch.ohms * current
        heat = branch.ohms * current**2 + branch.leak * held**2
        self._spend(items.RESISTORS, branch.part, heat)
        self._flow(branch.a, branch.b, current)
        # In the free phase nothing but its leak runs through a branch.
        start = self._across(branch.a, branch.b, self.state.volts_free)
        start = start / (1 + branch.ohms * branch.leak)
        self._charge(items.CAPACITORS, branch.part, branch.farads, start, held[-1])

    # Crossbars

    def _crossbar(self, crossbar: Crossbar) -> None:
        """Count an array: its devices, its wires, and the currents into its rows."""
        taken = self._solved if crossbar.kind is Array.FEEDBACK else self._moving
        currents, devices, wires = taken(crossbar)
        self._add(crossbar.kind.value, crossbar.part, devices)
        self._add(items.WIRES, crossbar.part, wires)
        pairs = zip(
            crossbar.rows,
            torch.split(currents, [2 * n for n in crossbar.sizes], dim=-1),
            strict=True,
        )
        for rails, flowing in pairs:
            for k, rail in enumerate(rails):
                if rail.node is Node.OUTPUT:
                    self.currents[rail.bank] += flowing[..., k::2]

    def _rows(self, crossbar: Crossbar, volts: Mapping[str, Tensor] | None = None) -> Tensor:
        """Voltages of the rows, both rails of each input next to each other."""
        groups = []
        for rails in crossbar.rows:
            both = torch.stack([self._volts(rail, volts) for rail in rails], dim=-1)
            groups.append(both.flatten(-2))
        most = max(groups, key=lambda g: g.ndim)
        return torch.cat([g.expand(*most.shape[:-1], g.shape[-1]) for g in groups], dim=-1)

    def _solved(self, crossbar: Crossbar) -> ArrayEnergy:
        """An array solved at every point."""
        g = torch.from_numpy(dual_rail(crossbar.plus, crossbar.minus))
        terminals = self._rows(crossbar), self._volts(crossbar.columns)
        return array_energy(g, crossbar.lines, *terminals, self.way.weights, crossbar.tiling)

    def _moving(self, crossbar: Crossbar) -> ArrayEnergy:
        """One whose rows move little: a quadratic through the free state, rest and their mean."""
        ends = [self.state.volts_free, self.state.volts_rest]
        driven = any(rail.node is Node.OUTPUT for rails in crossbar.rows for rail in rails)
        if not driven:  # by sources alone, which do not move
            ends = ends[1:]
        rows = torch.stack([self._rows(crossbar, volts) for volts in ends])
        columns = torch.stack([self._volts(crossbar.columns, volts) for volts in ends])
        layer = self.circuit.crossbars_of(crossbar.kind).index(crossbar) + 1
        g = torch.from_numpy(dual_rail(*self.chip.devices(layer)))
        power = array_power(g, crossbar.lines, rows, columns, crossbar.tiling)
        weights = self.way.weights
        if not driven:
            currents = power.rows.expand(len(weights), *power.rows.shape[1:])
            return ArrayEnergy(currents, *(weights.sum() * x[0] for x in power[1:]))
        now = self._rows(crossbar)
        way = rows[1] - rows[0]
        share = ((now - rows[0]) * way).sum(dim=-1) / way.square().sum(dim=-1).clamp(min=1e-300)
        apart = now - rows[0] - share.unsqueeze(-1) * way
        currents = power.rows[0] + share.unsqueeze(-1) * (power.rows[1] - power.rows[0])
        currents = currents + apart * g.sum(dim=1)
        return ArrayEnergy(currents, *(weights @ _quadratic(x, share) for x in power[1:]))


def _quadratic(power: Tensor, s: Tensor) -> Tensor:
    """The parabola through powers at s = 0, 1 and 1/2, (3, batch), at s, (points, batch)."""
    start, end, middle = power.unbind()
    return start * (1 - s) * (1 - 2 * s) + end * s * (2 * s - 1) + 4 * middle * s * (1 - s)
