"""The way of a chip from its free state to rest, in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.activations import get_activation
from analogdfc.analysis.energy._wide import WideMotion, check_decay
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import CONTROLLER, Bank, Node, Port, Tap
from analogdfc.circuit.numbers import AmplifierNumbers
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.circuit.static.laws import Motion
from analogdfc.circuit.static.stages import Stages
from analogdfc.dynamics import Readings
from analogdfc.dynamics.loop import Loop
from analogdfc.dynamics.steady import rest, sensitivity
from analogdfc.network import Forward

_DENSE = 500
"""Signals up to which their matrix's exponential is cheap."""

POINTS = 20
"""Times at which a power is evaluated; their spacing grows with time."""


class Path(NamedTuple):
    """States of a chip at so many times after the release.

    Attributes:
        weights: seconds that a power at each time stands for, (points,); the last state, at the end
            of the run, stands for none.
        signals: the neurons' measured signals, (points, batch, n_i).
        control: control signal as its amplifier makes it, (points, batch, n_L).
        volts: output voltages of all banks of amplifiers, (points, batch, n).
    """

    weights: Tensor
    signals: Readings
    control: Tensor
    volts: dict[str, Tensor]


def path(chip: StaticChip, state: StaticState, duration: float) -> Path:
    """States between the release and the end of a run.

    The control signal follows linear dynamics about the rest state, of the controller's capacitors
    and layers of one lag each; the layers follow it along their nonlinear response.

    Args:
        chip: the chip.
        state: its free state and its rest state.
        duration: length of the run in seconds.

    Raises:
        ConvergenceError: dynamics that do not settle.
    """
    seconds = chip.chip.design.seconds
    t, weights = _times(duration / seconds, chip.loop.tau_v)
    found = _Modes(chip, state).at(t)
    u = (found.seen - chip.control.baseline) / chip.control.scale
    points, batch = len(t), len(state.x)
    repeated = ((s.expand(points, batch, -1).flatten(0, 1) for s in f) for f in state.free_pass)
    layers = rest(chip.loop, Forward(*map(tuple, repeated)), u.flatten(0, 1))
    v = layers.v[-1] + found.late.flatten(0, 1)
    r = chip.loop.activations[-1].function(v)
    signals = chip.readings(Forward((*layers.v[:-1], v), layers.v_ff, (*layers.inputs, r)))

    def each(x: Tensor) -> Tensor:
        return x.reshape(points, batch, -1)

    goal = state.goal.expand(points, batch, -1)
    between = _between(chip, state, found, each(signals.r[-1]))
    between = {name: v.flatten(0, 1) for name, v in between.items()}
    volts = chip.volts(signals, found.control.flatten(0, 1), goal.flatten(0, 1), between)
    return Path(
        weights * seconds,
        Readings(**{name: tuple(map(each, x)) for name, x in vars(signals).items()}),
        found.control,
        {bank: each(v) for bank, v in volts.items()},
    )


def _between(
    chip: StaticChip, state: StaticState, found: _Found, output: Tensor
) -> dict[str, Tensor]:
    """Volts of the controller's further banks, (points, batch, n_L), by bank."""
    s_v = chip.chip.design.card.scale.activation
    given = [s_v * output, -s_v * state.goal, state.zero, torch.ones_like(output)]
    columns = torch.stack([g.expand_as(output) for g in given], dim=-1)
    columns = torch.cat([found.held, columns], dim=-1)
    return {
        b.name: (found.motion.volts[b.name] * columns).sum(dim=-1) for b in chip.control.between
    }


def _times(duration: float, tau_v: float) -> tuple[Tensor, Tensor]:
    """Times and weights of a Gauss-Legendre rule in log(1 + t / t0), and the end."""
    t0 = tau_v / 5
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    end = math.log1p(duration / t0)
    theta = torch.from_numpy(nodes + 1) * (end / 2)
    t = t0 * torch.expm1(theta)
    w = torch.from_numpy(weights) * (end / 2) * t0 * theta.exp()
    return torch.cat([t, t.new_tensor([duration])]), torch.cat([w, w.new_zeros(1)])


class _Lags(NamedTuple):
    """Delays of the loop, in units of the controller's time.

    Attributes:
        control: from the error to the control signal's rails.
        soma: of a neuron's potential.
        layer: from a potential to that of the layer above.
    """

    control: float
    soma: float
    layer: float

    @classmethod
    def of(cls, chip: Chip) -> _Lags:
        """First-order lags of the amplifiers, NG / omega_t + R_f C_c, and tau_v."""
        design, circuit, stages = chip.design, chip.circuit, Stages(chip, ideal=True)
        slow = AmplifierNumbers.of(design.card).inverse_omega

        def lag(bank: Bank) -> float:
            """Of a bank; one without a feedback resistor has that in series with its capacitor."""
            g_f = stages.between(bank, bank.o)
            inputs = stages.outside(bank) - g_f + stages.devices(bank)
            series = [b.ohms for b in circuit.branches if {b.a, b.b} == {bank.x, bank.o}]
            r_f = series[0] if series else 1 / g_f
            c_f = sum(
                (c.farads for c in circuit.capacitors if {c.a, c.b} == {bank.x, bank.o}),
                torch.zeros_like(r_f),
            )
            return float((slow * (1 + r_f * inputs) + r_f * c_f).mean())

        def mean(taps: Sequence[Tap | None]) -> float:
            """Of banks, one a layer."""
            lags = [0.0 if tap is None else lag(circuit.bank[tap.bank]) for tap in taps]
            return sum(lags) / len(lags)

        soma = mean([taps.v for taps in circuit.layers])
        basal = mean([taps.v_ff for taps in circuit.layers])
        act = mean([None if t.r.bank == t.v.bank else t.r for t in circuit.layers])
        least = 1e-3 * design.tau_v_seconds  # ideal amplifiers: soon enough
        path = circuit.forward_path
        control = sum(share * lag(bank) for bank, share in path if bank.part == CONTROLLER)
        times = (t / design.seconds for t in (max(control, least), soma, soma + basal + act))
        return cls(*times)


class _Found(NamedTuple):
    """The linear dynamics at so many times, (points, batch, n_L) each.

    Attributes:
        motion: the controller's equations.
        held: voltages of its branches' capacitors, (points, batch, n_L, branches).
        control: control signal.
        seen: the first layer's lagged copy of it.
        late: what the output's potential lacks to the rest that belongs to that copy.
    """

    motion: Motion
    held: Tensor
    control: Tensor
    seen: Tensor
    late: Tensor


class _Modes:
    """Linear dynamics about the rest state.

    Deviations from rest: h of the voltages on the controller's capacitors, w of the control signal
    behind the amplifiers' lag, f_k of its copy behind k layers. With K_i = dr_L/du through layer i
    the output's is sum K_i f_(L-i+1), and Kirchhoff's laws give dh/dt and u by h and the output.
    """

    def __init__(self, chip: StaticChip, state: StaticState) -> None:
        self.chip, self.state = chip, state
        self.depth, self.n = chip.chip.design.depth, len(chip.control.damping)
        self.stages = Stages(chip.chip)
        self.motion = Motion.of(self.stages)
        last_first = range(self.depth, 0, -1)
        paths = [_through(chip.loop, state, i) / chip.control.scale for i in last_first]
        self.potential = torch.cat(paths, dim=-1)  # of the output, over f_1 .. f_L
        self._lags = _Lags.of(chip.chip)

    def _output(self) -> Tensor:
        """Volts of the output over f_1 .. f_L, (batch, n_L, L n_L)."""
        control, slope = self.chip.control, self.chip.loop.activations[-1].slope
        gain = slope(self.state.rest_pass.output)
        if control.output is not None:
            gain = gain * control.output.gain
        unit = self.chip.chip.design.card.scale.activation
        return unit * gain.unsqueeze(-1) * self.potential

    def _matrix(self, lags: _Lags) -> Tensor:
        """d/dt of h, w, f_1 .. f_L, in units of the controller's time."""
        design, made = self.chip.chip.design, self.chip.chip.circuit.control.u_minus
        n, k, output = self.n, len(self.motion.branches), self._output()
        signal = self.motion.volts[made.bank] * (made.sign / design.card.scale.control)
        # Rows of h and of the control signal that w follows; both by h and by the output.
        rows = [*(self.motion.rates * design.seconds).unbind(1), signal / lags.control]
        start = k * n
        size = start + n * (self.depth + 1)
        a = output.new_zeros(len(output), size, size)
        for i, row in enumerate(rows):
            block = slice(i * n, (i + 1) * n)
            for j in range(k):
                a[:, block, j * n : (j + 1) * n] = torch.diag(row[:, j])
            a[:, block, start + n :] = row[:, k, None] * output
        rates = [1 / lags.control, 1 / lags.soma] + [1 / lags.layer] * (self.depth - 1)
        for i, rate in enumerate(rates):
            here = start + torch.arange(n) + i * n
            a[:, here, here] -= rate
            if i > 0:
                a[:, here, here - n] += rate
        return a

    def _structure(self, lags: _Lags) -> WideMotion:
        """The same by what follows what."""
        design, made = self.chip.chip.design, self.chip.chip.circuit.control.u_minus
        k = len(self.motion.branches)
        signal = self.motion.volts[made.bank] * (made.sign / design.card.scale.control)
        rows = torch.cat(
            [self.motion.rates * design.seconds, signal[:, None] / lags.control], dim=1
        )
        own = torch.nn.functional.pad(rows[..., :k], (0, 1))
        own[:, -1, -1] -= 1 / lags.control
        rates = [1 / lags.soma] + [1 / lags.layer] * (self.depth - 1)
        return WideMotion(own[None], rows[None, :, :, k], self._output(), rates)

    def at(self, t: Tensor) -> _Found:
        """Where the chip is at times t, (points,), in units of the controller's time."""
        state, n, k = self.state, self.n, len(self.motion.branches)
        final, start = state.rest_control, state.free_control - state.rest_control
        before, after = (self._held(volts) for volts in (state.volts_free, state.volts_rest))
        held = [x - y for x, y in zip(before, after, strict=True)]
        z = torch.cat([*held, *[start] * (self.depth + 1)], dim=-1)
        z = self._moved(t, z)
        w, copies = z[..., k * n : (k + 1) * n], z[..., (k + 1) * n :]
        first = copies[..., :n]
        late = copies - first.repeat(1, 1, self.depth)
        volts = z.new_zeros(*w.shape, k)
        for j, rest_of in enumerate(after):
            volts[..., j] = z[..., j * n : (j + 1) * n] + rest_of
        return _Found(
            self.motion,
            volts,
            final + w,
            final + first,
            (self.potential @ late.movedim(0, -1)).movedim(-1, 0),
        )

    def _moved(self, t: Tensor, z: Tensor) -> Tensor:
        """The state z, (batch, size), after times, (points, batch, size)."""
        if z.shape[-1] > _DENSE:
            return self._structure(self._lags).at(t, z)
        matrix = self._matrix(self._lags)
        check_decay(matrix)
        grown: Tensor = torch.linalg.matrix_exp(t[:, None, None, None] * matrix)
        return (grown @ z[..., None]).squeeze(-1)

    def _held(self, volts: Mapping[str, Tensor]) -> list[Tensor]:
        """Voltages of the branches' capacitors in a state, (batch, n_L), when only leaks flow."""
        found = []
        for branch in self.motion.branches:
            across = self._volts(branch.a, volts) - self._volts(branch.b, volts)
            found.append(across / (1 + branch.ohms * branch.leak))
        return found

    def _volts(self, port: Port, volts: Mapping[str, Tensor]) -> Tensor:
        output = volts[port.bank]
        if port.node is Node.OUTPUT:
            return output
        bank = self.chip.chip.circuit.bank[port.bank]
        return bank.offset - self.stages.inverse_gain(bank) * output


def _through(loop: Loop, state: StaticState, i: int) -> Tensor:
    """Derivative at rest of the output's potential by what layer i sees of u, (batch, n_L, n_L)."""
    feedback = tuple(
        q if k == i else torch.zeros_like(q) for k, q in enumerate(loop.feedback, start=1)
    )
    layers = state.rest_pass
    open_ended = (*loop.activations[:-1], get_activation("linear"))
    loop = loop._replace(feedback=feedback, activations=open_ended)
    return sensitivity(loop, layers.v, r=layers.r[1:])
