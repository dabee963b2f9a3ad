"""Amplifier models of increasing detail, from a chip's nodal equations to a semilinear system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.cells import cells_of
from analogdfc.circuit.description import Bank
from analogdfc.circuit.nodal import NodalEquations, Sparse, Stamps
from analogdfc.circuit.numbers import NO_LIMIT
from analogdfc.dynamics.blocks import BlockMatrix, Part
from analogdfc.dynamics.layout import Layout
from analogdfc.dynamics.semilinear import Channels, Fed, Semilinear

Array = NDArray[np.float64]

CLAMP_GAIN = 10.0
"""Volts at the input that one volt beyond the rails is worth; the macro cell has the same."""

_NANOSECOND = 1e-9  # unit of the second lag's extra unknown, so that it reads in volts


# Unknowns read, rows written, and for each chip gain, sign, offset and scale of every channel.
_Group = tuple[NDArray[np.intp], NDArray[np.intp], list[tuple[Array, Array, Array, Array]]]


class Rung(IntEnum):
    """How much of an amplifier the model keeps; each adds to those before.

    STATIC: gain, offsets, mismatch, wires: amplifiers without delay (M1).
    CONTROL_LAG: and one lag in the controller that stands for all amplifiers of the loop (M3).
    ONE_LAG: one lag an amplifier (M5).
    TWO_LAG: second order an amplifier (M6).
    FULL: dominant and second pole, slew rate, rails, input, compensation, output resistance (M7).
    """

    STATIC = 1
    CONTROL_LAG = 3
    ONE_LAG = 5
    TWO_LAG = 6
    FULL = 7


@dataclass(frozen=True)
class _Matrices:
    """Of one chip and one phase: M dz/dt = A z + S s + c, with s the source voltages."""

    mass: list[Part]
    linear: list[Part]
    sources: Sparse
    constant: Array


def _part(matrix: Sparse, rows: int = 0, columns: int = 0) -> Part:
    """The entries of a matrix, from a row and a column on."""
    found = matrix.tocoo()
    return Part(found.row.astype(np.intp) + rows, found.col.astype(np.intp) + columns, found.data)


def _diagonal(values: Array | float, size: int, row: int = 0, column: int = 0) -> Part:
    every = np.arange(size)
    return Part(every + row, every + column, np.broadcast_to(np.float64(values), (size,)))


class AmplifierModel:
    """The equations of several chips at one rung, free and released.

    Args:
        nodal: nodal equations of the chips; all of the same layer sizes.
        rung: the amplifier model.
        device: where the equations live.

    Attributes:
        outputs: indices of the amplifiers' output voltages among the unknowns.
    """

    def __init__(
        self, nodal: Sequence[NodalEquations], rung: Rung, device: torch.device | str = "cpu"
    ) -> None:
        self.nodal = list(nodal)
        self.device = torch.device(device)
        self.rung = rung
        self.numbers = [n.numbers for n in self.nodal]
        first = self.nodal[0]
        self.amplifiers = n = first.amplifiers
        self.integrators = len(first.series.a)
        full = rung is Rung.FULL
        self.outputs = np.arange(n, 2 * n) if full else np.arange(n)
        blocks = 4 if full else 2 if rung is Rung.TWO_LAG else 1
        self.unknowns = blocks * n + self.integrators
        self._capacitor = np.arange(blocks * n, self.unknowns)
        self._layout = self._cells(blocks)
        self.channels = self._channels()

    def _cells(self, blocks: int) -> Layout:
        """Amplifiers that hang together, with their unknowns, neurons mostly."""
        nodal, n = self.nodal[0], self.amplifiers
        labels, group = cells_of(nodal)
        series = nodal.series
        owner = np.concatenate([np.tile(np.arange(n), blocks), series.b % n]).astype(np.intp)
        coupled = nodal.coupled
        if self.rung is not Rung.FULL:
            coupled = np.unique(coupled % n)
            if self.rung is Rung.TWO_LAG:
                coupled = np.concatenate([coupled, n + coupled])
        return Layout.of(labels[owner], group[owner], coupled)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    @property
    def watched(self) -> Tensor:
        """Unknowns that are voltages; the second lag also has a derivative for an unknown."""
        every = np.arange(self.unknowns)
        derivatives = self.amplifiers + np.arange(self.amplifiers)
        if self.rung is Rung.TWO_LAG:
            every = np.delete(every, derivatives)
        return self._tensor(every)

    def columns(self, bank: str) -> Tensor:
        """Indices of a stage's output voltages among the unknowns.

        Args:
            bank: the stage.
        """
        return self._tensor(self.outputs[self.nodal[0].bank(bank)])

    def stages(self, amplifiers: NDArray[np.int64]) -> list[Tensor]:
        """Unknowns of amplifiers that at rest have the voltages of their outputs, but for loads.

        Args:
            amplifiers: their numbers; see `NodalEquations.bank`.
        """
        blocks = (1, 2, 3) if self.rung is Rung.FULL else (0,)
        return [self._tensor(b * self.amplifiers + amplifiers) for b in blocks]

    def held(self, z: Tensor, amplifiers: NDArray[np.int64]) -> Tensor:
        """Whether amplifiers are held at their rails, (chips, batch, amplifiers).

        Args:
            z: unknowns, (chips, batch, n).
            amplifiers: their numbers; see `NodalEquations.bank`.
        """
        if self.rung is not Rung.FULL:  # the others have no rails
            return torch.zeros((*z.shape[:2], len(amplifiers)), dtype=torch.bool, device=z.device)
        rails = z.new_tensor([p.saturation for p in self.numbers])[:, None, None]
        stages = self._tensor(2 * self.amplifiers + amplifiers)
        return z[..., stages].abs() > rails

    def relaxed(self, system: Semilinear, *, rails: bool = True) -> Semilinear:
        """The same equations without slewing; their rest is where Newton's method can start.

        Args:
            system: the equations.
            rails: whether they keep the rails.
        """
        c = system.channels
        cells = len(self.nodal[0].cells.source)
        wide, on = torch.ones_like(c.gain), torch.ones_like(c.gain)
        wide[:, cells : c.tanh] = NO_LIMIT
        on[:, c.tanh :] = float(rails)
        channels = c._replace(gain=c.gain * wide * on, scale=c.scale * wide)
        return replace(system, channels=channels)

    def system(self, released: bool) -> tuple[Semilinear, Fed]:
        """The equations of a phase.

        Args:
            released: the controller runs; else it is held in reset, its target follows the output
                and, with auto-zero, nothing flows into its integrator.

        Returns:
            The system with its constant for zero sources, and what these add to it.
        """
        all_ = [self._matrices(k, released) for k in range(len(self.nodal))]
        layout, device = self._layout, self.device
        constant = np.stack([m.constant[layout.order] for m in all_])[..., None]
        sources = [m.sources[layout.order] for m in all_]
        rows = np.unique(np.concatenate([np.nonzero(np.diff(s.indptr))[0] for s in sources]))
        fed = np.stack([s[rows].toarray() for s in sources])
        system = Semilinear(
            BlockMatrix.of(layout, [m.mass for m in all_], device),
            BlockMatrix.of(layout, [m.linear for m in all_], device),
            self._tensor(constant),
            self.channels,
        )
        return system, Fed(self._tensor(rows), self._tensor(fed), self.unknowns)

    def summing_voltage(self, bank: str, z: Tensor) -> Tensor:
        """Voltage of a stage's summing nodes at rest, (chips, batch, n)."""
        nodes = self.nodal[0].bank(bank)
        if self.rung is Rung.FULL:
            return z[..., nodes]
        out = []
        for k, nodal in enumerate(self.nodal):
            gain = self._tensor(self._inverse_gain(k)[nodes])
            out.append(self._tensor(nodal.offset[nodes]) - gain * z[k][..., nodes])
        return torch.stack(out)

    def error_input(self, zero: Tensor) -> Tensor:
        """Right-hand side of the auto-zero's voltages, in series with the zeroed resistors.

        Args:
            zero: those voltages, (chips, batch, stored), taken off the error amplifiers' outputs.

        Returns:
            (chips, batch, unknowns), to be added to the constant.
        """
        out = torch.zeros(*zero.shape[:2], self.unknowns, dtype=zero.dtype, device=self.device)
        for k, nodal in enumerate(self.nodal):
            scale = self._row_scale(nodal)
            for kind in nodal.resistors:
                if not kind.zeroed:
                    continue
                held = zero[k][:, self._tensor(kind.stored)]
                out[k][:, kind.b] -= self._tensor(kind.value * scale) * held
                if self.rung is Rung.FULL:
                    loaded = self._tensor(kind.value * self.numbers[k].r_out) * held
                    out[k][:, kind.a] += loaded
        return out

    # Pieces of the matrices

    @staticmethod
    def _row_scale(nodal: NodalEquations) -> float:
        # Kirchhoff's rows in volts, like all others.
        return 1 / nodal.chip.design.card.device.g_unit

    def _matrices(self, k: int, released: bool) -> _Matrices:
        y = self.nodal[k].conductance if released else self.nodal[k].reset()
        return self._full(k, y) if self.rung is Rung.FULL else self._lagged(k, y)

    def _full(self, k: int, y: Sparse) -> _Matrices:
        nodal, p, n = self.nodal[k], self.numbers[k], self.amplifiers
        scale, c = self._row_scale(nodal), nodal.capacitance
        o, a, q = n, 2 * n, 3 * n
        mass = [
            _part(scale * c[:n, : 2 * n]),
            _part(p.r_out * c[n : 2 * n, : 2 * n], rows=o),
            _diagonal(p.inverse_omega, n, a, a),
            _diagonal(p.inverse_pole, n, q, q),
        ]
        linear = [
            _part(-scale * y[:n, : 2 * n]),
            _part(-p.r_out * y[n : 2 * n, : 2 * n], rows=o),
            _diagonal(-1.0, n, o, o),
            _diagonal(1.0, n, o, q),
            _diagonal(-p.inverse_gain_into(self._load(k)), n, a, a),
            _diagonal(-1.0, n, q, q),
            _diagonal(1.0, n, q, a),
        ]
        # A branch takes C dv/dt + G v out of its node a, and hands it to its node b.
        s, vc = nodal.series, self._capacitor
        for node, sign in ((s.a, 1.0), (s.b, -1.0)):
            weight = sign * np.where(node < n, scale, p.r_out)
            mass.append(Part(node, vc, weight * s.farads))
            linear.append(Part(node, vc, -weight * s.leak))
            linear.append(Part(vc, node, np.full(len(vc), sign)))
        mass.append(Part(vc, vc, s.ohms * s.farads))
        linear.append(Part(vc, vc, -(1 + s.ohms * s.leak)))
        driven = [-scale * y[:n, 2 * n :], -p.r_out * y[n : 2 * n, 2 * n :]]
        return _Matrices(mass, linear, self._below(driven), np.zeros(self.unknowns))

    def _below(self, rows: list[Sparse]) -> Sparse:
        """Rows one below the other, and nothing below them."""
        rest = self.unknowns - sum(r.shape[0] for r in rows)
        empty = scipy.sparse.csr_array((rest, rows[0].shape[1]))
        return scipy.sparse.vstack([*rows, empty]).tocsr()

    def _load(self, k: int) -> Array:
        """Conductance of each output to everything; what it feeds are virtual grounds."""
        n = self.amplifiers
        found: Array = self.nodal[k].conductance.diagonal()[n : 2 * n]
        return found

    def _loading(self, k: int) -> Array:
        return 1 + self.numbers[k].r_out * self._load(k)

    def _inverse_gain(self, k: int) -> Array:
        p, load = self.numbers[k], self._load(k)
        return p.inverse_gain_into(load) + p.inverse_gain * p.r_out * load

    def _lagged(self, k: int, y: Sparse) -> _Matrices:
        """Amplifiers with their summing nodes eliminated.

        x = V_os - (1/A0' + s/omega_t' + s^2/(omega_t' p2)) V in Kirchhoff's law of the node, up to
        the order of s that the rung keeps.
        """
        nodal, p, n = self.nodal[k], self.numbers[k], self.amplifiers
        scale, diagonal = self._row_scale(nodal), scipy.sparse.diags_array
        gain, omega = self._inverse_gain(k), p.inverse_omega * self._loading(k)
        yxx, yxo = y[:n, :n], y[:n, n : 2 * n]
        mass = [_part(scale * self._first_order(k, yxx, gain, omega))]
        linear = [_part(-scale * (yxo - yxx @ diagonal(gain)))]
        constant = np.zeros(self.unknowns)
        constant[:n] = -scale * yxx @ nodal.offset
        if self.rung is Rung.TWO_LAG:
            cxx = nodal.capacitance.diagonal()[:n]
            second = yxx @ diagonal(omega * p.inverse_pole) + diagonal(cxx * omega)
            mass.append(_part(-scale / _NANOSECOND * second, columns=n))
            mass.append(_diagonal(_NANOSECOND, n, n))
            linear.append(_diagonal(1.0, n, n, n))
        s, vc = nodal.series, self._capacitor
        mass.append(Part(vc, vc, s.ohms * s.farads))
        linear.append(Part(vc, vc, -(1 + s.ohms * s.leak)))
        for nodes, sign in ((s.a, 1.0), (s.b, -1.0)):
            inner, at = nodes < n, nodes % n
            linear.append(Part(vc, at, sign * np.where(inner, -gain[at], 1.0)))
            x, row = nodes[inner], vc[inner]
            constant[row] += sign * nodal.offset[x]
            if self.rung >= Rung.ONE_LAG:
                mass.append(Part(row, x, sign * omega[x]))
            mass.append(Part(x, row, sign * scale * s.farads[inner]))
            linear.append(Part(x, row, -sign * scale * s.leak[inner]))
        sources = self._below([-scale * y[:n, 2 * n :]])
        return _Matrices(mass, linear, sources, constant)

    def _first_order(self, k: int, yxx: Sparse, gain: Array, omega: Array) -> Sparse:
        nodal, n = self.nodal[k], self.amplifiers
        lag: Sparse
        if self.rung >= Rung.ONE_LAG:
            lag = nodal.capacitance[:n, n : 2 * n] - yxx @ scipy.sparse.diags_array(omega)
            if self.rung is Rung.TWO_LAG:
                own = nodal.capacitance.diagonal()[:n] * gain
                lag = lag - scipy.sparse.diags_array(own)
            return scipy.sparse.csr_array(lag)
        lag = self._intended(k)
        if self.rung is Rung.CONTROL_LAG:
            circuit, more = nodal.chip.circuit, Stamps()
            error = nodal.nodes(circuit.bank[circuit.control.e.bank].x)
            wanted = _between(nodal, error) * self._loop_lag(k, yxx, omega)
            more.add(error, error, wanted - lag.diagonal()[error])
            lag = lag + more.matrix(n)
        return lag

    def _intended(self, k: int) -> Sparse:
        """The capacitors whose lag belongs to the algorithm, between summing nodes and outputs."""
        nodal, n = self.nodal[k], self.amplifiers
        found = Stamps()
        for c in nodal.chip.circuit.capacitors:
            if c.intended and c.b is not None:
                found.add(nodal.nodes(c.a), nodal.nodes(c.b) - n, -c.farads.numpy())
        return found.matrix(n)

    def _loop_lag(self, k: int, yxx: Sparse, omega: Array) -> float:
        """Sum of the lags on the way from the error to the output, in seconds."""
        nodal, n = self.nodal[k], self.amplifiers
        own = yxx.diagonal() * omega - nodal.capacitance[:n, n : 2 * n].diagonal()
        own = own + self._intended(k).diagonal()
        series = {int(x): k for k, x in enumerate(nodal.series.b)}

        def lag(bank: Bank) -> float:
            nodes = nodal.nodes(bank.x)
            branches = [series[int(x)] for x in nodes if int(x) in series]
            if branches:
                return float((nodal.series.ohms[branches] * own[nodes] + omega[nodes]).mean())
            return float((own[nodes] / -_between(nodal, nodes)).mean())

        return sum(share * lag(bank) for bank, share in nodal.chip.circuit.forward_path)

    def _channels(self) -> Channels:
        """Tanh cells and, in the full model, slewing and rails."""
        first, n = self.nodal[0], self.amplifiers
        groups: list[_Group] = []
        if len(first.cells.source):
            index = self.outputs[first.cells.source]
            row = first.cells.into
            groups.append((index, row, [self._tanh(m) for m in self.nodal]))
        tanh = sum(len(g[0]) for g in groups)
        if self.rung is Rung.FULL:
            slew = [
                self._constant(p.linear_range, -1.0, m.offset, p.linear_range, n)
                for p, m in zip(self.numbers, self.nodal, strict=True)
            ]
            groups.append((np.arange(n), 2 * n + np.arange(n), slew))
            tanh += n
            if any(p.saturation < NO_LIMIT for p in self.numbers):
                rails = [
                    self._constant(-CLAMP_GAIN * p.saturation, 1.0, 0.0, p.saturation, n)
                    for p in self.numbers
                ]
                a = 2 * n + np.arange(n)
                groups.append((a, a, rails))
        return self._joined(groups, tanh)

    @staticmethod
    def _constant(
        gain: float, sign: float, offset: Array | float, scale: float, n: int
    ) -> tuple[Array, Array, Array, Array]:
        full = np.ones(n)
        return gain * full, sign * full, offset * full, scale * full

    def _tanh(self, nodal: NodalEquations) -> tuple[Array, Array, Array, Array]:
        card, cells = nodal.chip.design.card, nodal.cells
        one = np.ones_like(cells.sign)
        gain = -card.tanh_current * self._row_scale(nodal)
        return gain * one, cells.sign, cells.offset, card.tanh_scale * one

    def _joined(self, groups: list[_Group], tanh: int) -> Channels:
        if not groups:
            empty = self._tensor(np.zeros((1, 0, 1)))
            none = self._tensor(np.zeros(0, dtype=np.intp))
            return Channels(0, none, none, empty, empty, empty, empty)
        index = self._tensor(np.concatenate([g[0] for g in groups]))
        row = self._tensor(np.concatenate([g[1] for g in groups]))
        chips = range(len(groups[0][2]))
        values = [
            self._tensor(
                np.stack([np.concatenate([g[2][c][part] for g in groups]) for c in chips])
            ).unsqueeze(2)
            for part in range(4)
        ]
        return Channels(tanh, index, row, *values)


def _between(nodal: NodalEquations, nodes: NDArray[np.intp]) -> Array:
    """Conductances from summing nodes to their own amplifiers' outputs, as in the Laplacian."""
    found = nodal.conductance[nodes, nodes + nodal.amplifiers]
    return np.asarray(found, dtype=np.float64).ravel()
