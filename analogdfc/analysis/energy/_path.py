"""The way of a chip from its free state to rest, in closed form."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip, Stage
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.dynamics import Readings
from analogdfc.dynamics.loop import Loop
from analogdfc.dynamics.steady import rest, sensitivity
from analogdfc.errors import ConvergenceError
from analogdfc.network import Forward

POINTS = 20
"""Times at which a power is evaluated; their spacing grows with time."""


class Path(NamedTuple):
    """States of a chip at so many times after the release.

    Attributes:
        weights: seconds that a power at each time stands for, (points,); the last state, at the end
            of the run, stands for none.
        signals: the neurons' measured signals, (points, batch, n_i).
        control: control signal behind the PI amplifier, (points, batch, n_L).
        volts: output voltages of all banks of amplifiers, (points, batch, n).
    """

    weights: Tensor
    signals: Readings
    control: Tensor
    volts: dict[str, Tensor]


def path(chip: StaticChip, state: StaticState, duration: float) -> Path:
    """States between the release and the end of a run.

    The control signal follows linear dynamics about the rest state, of PI control on layers of one
    lag each; the layers follow it along their nonlinear response.

    Args:
        chip: the chip.
        state: its free state and its rest state.
        duration: length of the run in seconds.

    Raises:
        ConvergenceError: dynamics that do not settle.
    """
    seconds = chip.chip.design.seconds
    t, weights = _times(duration / seconds, chip.loop.tau_v)
    control, seen, late = _modes(chip, state, t)
    u = (seen - chip.control.baseline) / chip.control.scale
    points, batch = len(t), len(state.x)
    repeated = ((s.expand(points, batch, -1).flatten(0, 1) for s in f) for f in state.free_pass)
    layers = rest(chip.loop, Forward(*map(tuple, repeated)), u.flatten(0, 1))
    output = layers.v[-1] + late.flatten(0, 1)
    layers = Forward((*layers.v[:-1], output), layers.v_ff, (*layers.inputs, output))
    signals = chip.readings(layers)
    goal = state.goal.expand(points, batch, -1)
    volts = chip.volts(signals, control.flatten(0, 1), goal.flatten(0, 1), {})

    def each(x: Tensor) -> Tensor:
        return x.reshape(points, batch, -1)

    return Path(
        weights * seconds,
        Readings(**{name: tuple(map(each, parts)) for name, parts in vars(signals).items()}),
        control,
        {bank: each(v) for bank, v in volts.items()},
    )


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
        design, controller = chip.design, chip.controller
        bandwidth = design.card.amplifier.gain_bandwidth
        slow = 1 / (2 * math.pi * bandwidth) if bandwidth else 0.0

        def lag(stage: Stage, *more: Tensor) -> float:
            """Of a stage with further conductances at its summing node."""
            inputs = sum((1 / r for r in stage.r_in), torch.zeros_like(stage.r_f)) + sum(more)
            return float((slow * (1 + stage.r_f * inputs) + stage.r_f * stage.c_f).mean())

        error, pi, inv = (lag(controller.stages[name]) for name in ("error", "pi", "inv"))
        somas, basals, acts = [], [], [0.0]
        for parts in chip.layers:
            somas.append(lag(parts.stages["soma"], (parts.q_plus + parts.q_minus).sum(dim=1)))
            basals.append(lag(parts.stages["basal"], (parts.w_plus + parts.w_minus).sum(dim=1)))
            acts += [lag(parts.stages["act"])] if "act" in parts.stages else []
        soma, basal, act = (sum(x) / len(x) for x in (somas, basals, acts))
        least = 1e-3 * design.tau_v_seconds  # ideal amplifiers: soon enough
        # The inverter drives every second rail.
        control = max(error + pi + inv / 2, least)
        times = (t / design.seconds for t in (control, soma, soma + basal + act))
        return cls(*times)


def _modes(chip: StaticChip, state: StaticState, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Control signal, the first layer's lagged copy of it, and what the output lacks to its rest.

    Deviations from rest: I of the integral part, w of the control signal behind the amplifiers'
    lag, f_k of its copy behind k layers. With K_i = dr_L/du through layer i and the leaks D,
    e = -sum K_i f_(L-i+1), u = I + k_p e, tau_u dI/dt = e - D u.

    Returns:
        (points, batch, n_L) each; the last is sum K_i (f_(L-i+1) - f_1).
    """
    pi, c, depth = chip.chip.design.controller, chip.control, chip.chip.design.depth
    lags = _Lags.of(chip.chip)
    paths = [_through(chip.loop, state, i) / c.scale for i in range(depth, 0, -1)]
    n = paths[0].shape[-1]
    k = torch.cat(paths, dim=-1)  # over f_1 .. f_L
    batch = len(k)
    leak = torch.diag(c.damping)
    size = n * (depth + 2)
    a = k.new_zeros(batch, size, size)
    a[:, :n, :n] = -leak / pi.tau_u
    a[:, :n, 2 * n :] = (pi.k_p * leak @ k - k) / pi.tau_u
    a[:, n : 2 * n, :n] = torch.eye(n, dtype=k.dtype) / lags.control
    a[:, n : 2 * n, 2 * n :] = -pi.k_p * k / lags.control
    rates = [1 / lags.control, 1 / lags.soma] + [1 / lags.layer] * (depth - 1)
    for block, rate in enumerate(rates, start=1):
        here = torch.arange(n) + block * n
        a[:, here, here] -= rate
        if block > 1:
            a[:, here, here - n] += rate
    _check_decay(a)
    final, start = state.rest_control, state.free_control - state.rest_control
    # At rest the integral part is u - k_p e, with e = D u.
    integral = start + pi.k_p * c.damping * final
    z = torch.cat([integral] + [start] * (depth + 1), dim=-1)
    z = (torch.linalg.matrix_exp(t[:, None, None, None] * a) @ z[..., None]).squeeze(-1)
    copies = z[..., 2 * n :]
    first = copies[..., :n]
    late = copies - first.repeat(1, 1, depth)
    return (
        final + z[..., n : 2 * n],
        final + first,
        (k @ late[..., None]).squeeze(-1),
    )


def _through(loop: Loop, state: StaticState, i: int) -> Tensor:
    """Derivative at rest of the output by what layer i sees of u, (batch, n_L, n_L)."""
    feedback = tuple(
        q if k == i else torch.zeros_like(q) for k, q in enumerate(loop.feedback, start=1)
    )
    layers = state.rest_pass
    return sensitivity(loop._replace(feedback=feedback), layers.v, r=layers.r[1:])


def _check_decay(a: Tensor) -> None:
    growth = torch.linalg.eigvals(a).real.amax(dim=-1)
    if bool((growth >= 0).any()):
        b = int(growth.argmax())
        raise ConvergenceError(
            f"sample {b} (counted from 0): the loop doesn't settle, its slowest mode grows with "
            f"{float(growth[b]):.3g} per unit of time; its energy has no closed form"
        )
