"""Energy of a settle, from the waveforms of the behavioural realisation.

Work is accumulated step by step while the equations are integrated; no waveform is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.analysis.energy import items
from analogdfc.analysis.energy.items import Energy
from analogdfc.circuit.amplifiers import AmplifierModel, Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.nodal import Elements, NodalEquations
from analogdfc.circuit.release import Release
from analogdfc.dynamics.esdirk import TOLERANCE
from analogdfc.errors import UserError
from analogdfc.wires import wire_admittance

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Metered:
    """What one chip has taken.

    Attributes:
        energy: where it has gone.
        drawn: what supplies and sources gave, by Kirchhoff's laws the total of `energy`, (batch,),
            in joules. The sources are those of inputs, bias and targets, and the auto-zero's.
    """

    energy: Energy
    drawn: Tensor


def measure(
    chips: Sequence[Chip],
    x: Tensor,
    step: Tensor,
    *,
    duration: float,
    tolerance: float = TOLERANCE,
    longest: float | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Metered]:
    """Energy from the release of the controller on.

    Args:
        chips: the chips, of the same layer sizes and scale of time.
        x: inputs, (batch, n_0), dimensionless.
        step: steps of the output target, (batch, n_L).
        duration: length of the controlled phase, in units of the controller's time; 0 takes
            nothing.
        tolerance: error of a time step, in volts.
        longest: longest time step, in units of the controller's time; a tenth of tau_v by default.
        progress: called after each of these with the number finished.

    Returns:
        One result a chip.

    Raises:
        UserError: a duration that is negative or isn't finite, chips that can't run together, or
            an amplifier that leaves its supply voltages, for want of a saturation in the card.
        ConvergenceError: no operating point, or a step size too small.
    """
    if not 0 <= duration < math.inf:
        raise UserError(f"duration {duration}: it must be finite and >= 0")
    model = Behavioural(chips, Rung.FULL, tolerance=tolerance)
    release = model.release(x, step)
    meter = Meter(model.model, release)
    if duration == 0:
        return [meter.result(c, release.free, release.free) for c in range(len(chips))]
    design = chips[0].design
    steps = max(1, round(duration / (longest or design.tau_v / 10)))
    states = model.integrator.run(
        release.system,
        release.free,
        duration / steps * design.seconds,
        steps,
        watched=model.model.watched,
        observe=meter.add,
    )
    first = last = next(states)[0]
    done = 0
    for found in states:
        last = found[-1]
        done += len(found)
        if progress is not None:
            progress(done)
    return [meter.result(c, first, last) for c in range(len(chips))]


class _Form(NamedTuple):
    """A part of the circuit whose power is a quadratic form of its voltages."""

    component: str
    part: str
    nodes: NDArray[np.intp]
    siemens: Tensor  # (chips, nodes, nodes)


class Meter:
    """Work in several chips.

    A step counts with the voltages in its middle and the currents of its mean slope, so that the
    charge that flows into a capacitor is exact.

    Args:
        model: the chips' equations, of the full amplifier model.
        release: what they start from.
    """

    def __init__(self, model: AmplifierModel, release: Release) -> None:
        self.nodals = model.nodal
        self.sources, self.zero = release.sources, release.zero
        self.n = n = model.amplifiers
        first = self.nodals[0]
        self.zeroed = [k for k in first.resistors if k.zeroed]
        self._y = self._stack(lambda m: m.conductance[n:].toarray())
        self._c = self._stack(lambda m: m.capacitance[n : 2 * n, : 2 * n].toarray())
        self._series = [self._stack(partial(_series, name=name)) for name in ("farads", "leak")]
        self._g_zeroed = self._stack(_zeroed)
        channels = release.system.channels
        cells = len(first.cells.source)
        self._cells = channels.source[:cells], channels.row[:cells]
        self._tanh = [t[:, :cells].mT for t in (channels.sign, channels.offset, channels.scale)]
        self.forms = [*self._crossbars()]
        self._ends = _joined(first.resistors)
        zeros = partial(release.free.new_zeros, *release.free.shape[:2])
        self.time = 0.0
        self.highest = zeros()  # magnitude of an output
        self.output, self.work = zeros(n), zeros(n)  # integrals of |I_out| and of V_out I_out
        self.given = zeros()  # work of the sources
        self.squares = zeros(len(self._ends[0]))  # integrals of the resistors' squared voltages
        branches = len(first.series.a)
        self.branch = zeros(branches)  # of the squared currents through series resistors
        self.leaked = zeros(branches)  # and of the squared voltages on leaking capacitors
        self.spent = [zeros() for _ in self.forms]
        self.sunk, self.taken = zeros(cells), zeros(cells)  # by the tanh cells, of their limit

    def _stack(self, pick: Callable[[NodalEquations], Array]) -> Tensor:
        values = np.stack([pick(m) for m in self.nodals])
        return torch.from_numpy(values).to(self.sources.device)

    def _crossbars(self) -> Iterator[_Form]:
        for k, crossbar in enumerate(self.nodals[0].crossbars):
            wires = self._stack(partial(_wires, k=k))
            all_ = self._stack(partial(_admittance, k=k))
            yield _Form(crossbar.kind.value, crossbar.part, crossbar.nodes, all_ - wires)
            yield _Form(items.WIRES, crossbar.part, crossbar.nodes, wires)

    def add(self, h: float, before: Tensor, after: Tensor) -> None:
        """Take a step into account.

        Args:
            h: its length, in seconds.
            before: unknowns at its start, (chips, batch, n).
            after: unknowns at its end.
        """
        n = self.n
        z, rate = (before + after) / 2, (after - before) / h
        p = torch.cat([z[..., : 2 * n], self.sources], dim=-1)
        out = p[..., n : 2 * n]
        farads, leak = self._series
        held, moved = self._held(z), self._held(rate)
        branch = farads * moved + leak * held
        current = p @ self._y.mT
        current[..., :n] += rate[..., : 2 * n] @ self._c.mT
        series = self.nodals[0].series
        for node, way in ((series.a, 1.0), (series.b, -1.0)):
            out_of = torch.from_numpy(node >= n)
            current.index_add_(
                -1,
                torch.from_numpy(node[node >= n] - n).to(z.device),
                way * branch[..., out_of],
            )
        zeros = [self.zero[..., kind.stored] for kind in self.zeroed]
        stored = torch.cat(zeros, dim=-1) * self._g_zeroed
        lost_by = torch.split(stored, [len(kind.a) for kind in self.zeroed], dim=-1)
        for kind, lost in zip(self.zeroed, lost_by, strict=True):
            current[..., kind.a - n] -= lost
        self.time += h
        self.highest = torch.maximum(self.highest, out.abs().amax(dim=-1))
        self.output += h * current[..., :n].abs()
        self.work += h * out * current[..., :n]
        self.given += h * (self.sources * current[..., n:]).sum(dim=-1)
        for kind, zero, lost in zip(self.zeroed, zeros, lost_by, strict=True):
            drive = p[..., kind.a] - zero - p[..., kind.b]
            self.given -= h * (lost * drive).sum(dim=-1)
        self.squares += h * self._across(p) ** 2
        self.branch += h * branch**2
        self.leaked += h * held**2
        for spent, form in zip(self.spent, self.forms, strict=True):
            v = p[..., form.nodes]
            spent += h * (v * (v @ form.siemens)).sum(dim=-1)
        source, row = self._cells
        sign, offset, scale = self._tanh
        limit = torch.tanh((sign * z[..., source] + offset) / scale)
        self.sunk += h * limit
        self.taken += h * limit * z[..., row]

    def _across(self, p: Tensor) -> Tensor:
        """Voltages on the resistors; the auto-zero is in series with some."""
        a, b = self._ends
        if (b < 0).any():  # at ground, which is behind all nodes
            p = torch.cat([p, torch.zeros_like(p[..., :1])], dim=-1)
        volts = p[..., a] - p[..., b]
        start = 0
        for kind in self.nodals[0].resistors:
            if kind.zeroed:
                volts[..., start : start + len(kind.a)] -= self.zero[..., kind.stored]
            start += len(kind.a)
        return volts

    def _held(self, z: Tensor) -> Tensor:
        """Voltages of the branches' capacitors, last among the unknowns."""
        return z[..., z.shape[-1] - len(self.nodals[0].series.a) :]

    def result(self, c: int, first: Tensor, last: Tensor) -> Metered:
        """Energies of a chip between two states.

        Args:
            c: number of the chip.
            first: unknowns at the start, (chips, batch, n).
            last: unknowns at the end.
        """
        nodal = self.nodals[c]
        table = _Table({})
        drawn = self.given[c].clone()
        drawn += self._amplifiers(c, nodal, table)
        for spent, form in zip(self.spent, self.forms, strict=True):
            table.add(form.component, form.part, spent[c])
        start = 0
        for kind in nodal.resistors:
            stop = start + len(kind.a)
            g = torch.from_numpy(kind.value).to(self.squares.device)
            table.add(items.RESISTORS, kind.part, self.squares[c][:, start:stop] @ g)
            start = stop
        series = nodal.series
        heat = self.branch[c] * torch.from_numpy(series.ohms).to(self.branch.device)
        heat += self.leaked[c] * torch.from_numpy(series.leak).to(self.branch.device)
        for k, part in enumerate(series.part):
            table.add(items.RESISTORS, part, heat[:, k])
        self._capacitors(c, nodal, table, first[c], last[c])
        drawn += self._tanh_cells(c, nodal, table)
        return Metered(Energy(table.items), drawn)

    def _amplifiers(self, c: int, nodal: NodalEquations, table: _Table) -> Tensor:
        amplifier = nodal.chip.design.card.amplifier
        highest = float(self.highest[c].max())
        if highest > amplifier.supply:
            raise UserError(
                f"an amplifier's output reaches {highest:.3g} V, but its supply has "
                f"{amplifier.supply:.3g} V: set [amplifier] saturation below that"
            )
        idle = 2 * amplifier.supply * amplifier.quiescent_current * self.time
        taken = idle + amplifier.supply * self.output[c]
        lost = amplifier.supply * self.output[c] - self.work[c]
        for bank in nodal.chip.circuit.banks:
            nodes = nodal.bank(bank.name)
            rest = lost.new_full(lost.shape[:1], idle * len(nodes))
            table.add(items.QUIESCENT, bank.part, rest)
            table.add(items.OUTPUT_STAGES, bank.part, lost[:, nodes].sum(dim=-1))
        return taken.sum(dim=-1)

    def _tanh_cells(self, c: int, nodal: NodalEquations, table: _Table) -> Tensor:
        """What the cells take from their supplies; they also take some from their virtual grounds.

        The tail current flows into the lower supply, what the output doesn't give comes from the
        upper one.
        """
        card, cells = nodal.chip.design.card, len(self._cells[0])
        drawn = self.given.new_zeros(self.given.shape[1])
        for k in range(cells):
            most = card.tanh_current * card.amplifier.supply
            supplied = most * (2 * self.time - self.sunk[c][:, k])
            drawn = drawn + supplied
            part = nodal.cells.part[k]
            table.add(items.TANH, part, supplied + card.tanh_current * self.taken[c][:, k])
        return drawn

    def _capacitors(
        self, c: int, nodal: NodalEquations, table: _Table, first: Tensor, last: Tensor
    ) -> None:
        for name, kinds in ((items.CAPACITORS, nodal.capacitors), (items.LINES, nodal.lines)):
            for kind in kinds:
                joules = [self._charge(kind, self.sources[c], z) for z in (first, last)]
                table.add(name, kind.part, joules[1] - joules[0])
        squares = self._held(last) ** 2 - self._held(first) ** 2
        gained = self._series[0][c] / 2 * squares
        for k, part in enumerate(nodal.series.part):
            table.add(items.CAPACITORS, part, gained[:, k])

    def _charge(self, kind: Elements, sources: Tensor, z: Tensor) -> Tensor:
        """Energy that capacitors hold, (batch,)."""
        p = torch.cat([z[:, : 2 * self.n], sources, z.new_zeros(len(z), 1)], dim=-1)
        farads = torch.from_numpy(kind.value).to(z.device)
        return (p[:, kind.a] - p[:, kind.b]) ** 2 @ farads / 2


class _Table(NamedTuple):
    items: dict[tuple[str, str], Tensor]

    def add(self, component: str, part: str, joules: Tensor) -> None:
        """Add to an item."""
        before = self.items.get((component, part))
        self.items[component, part] = joules if before is None else before + joules


def _joined(kinds: Sequence[Elements]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.concatenate([e.a for e in kinds]), np.concatenate([e.b for e in kinds])


def _admittance(nodal: NodalEquations, k: int) -> Array:
    return nodal.crossbars[k].admittance


def _wires(nodal: NodalEquations, k: int) -> Array:
    crossbar = nodal.chip.circuit.crossbars[k]
    lines = crossbar.lines
    return wire_admittance(nodal.crossbars[k].g, lines.r_word, lines.r_bit, crossbar.tiling)


def _series(nodal: NodalEquations, name: str) -> Array:
    values: Array = getattr(nodal.series, name)
    return values[None]


def _zeroed(nodal: NodalEquations) -> Array:
    return np.concatenate([k.value for k in nodal.resistors if k.zeroed])[None]
