"""How the static imperfections of a chip fold into the weights of an ideal loop."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip, LayerParts, Stage
from analogdfc.circuit.conductances import Pair
from analogdfc.circuit.design import Design
from analogdfc.circuit.static.crossbar import Coupling, coupling
from analogdfc.circuit.static.folded import (
    Cell,
    FoldedControl,
    FoldedLayer,
    nominal_pair,
    on_levels,
)


class _Gains:
    """Inverse gains 1 / A0' of a chip's amplifiers."""

    def __init__(self, chip: Chip) -> None:
        a = chip.design.card.amplifier
        self._inverse = 1 / a.gain if a.gain else 0.0
        self._r_out = a.output_resistance or 0.0

    def __call__(self, *loads: Tensor) -> Tensor:
        total = reduce(torch.add, loads)
        return self._inverse * (1 + self._r_out * total)


def fold_control(chip: Chip) -> tuple[FoldedControl, tuple[Coupling, ...]]:
    """The controller, and the feedback crossbars that load it."""
    design, parts = chip.design, chip.controller
    wire, scale, gains = design.card.wire, design.card.scale, _Gains(chip)
    s_v, s_u = scale.activation, scale.control
    feedback = tuple(coupling(p.q_plus, p.q_minus, wire) for p in chip.layers)
    error, pi, inv = (parts.stages[name] for name in ("error", "pi", "inv"))
    g_l, g_g = (1 / r for r in error.r_in)
    g_e, g_i, g_leak = 1 / error.r_f, 1 / pi.r_in[0], parts.g_leak
    g_v, g_u = 1 / inv.r_in[0], 1 / inv.r_f

    sum_e = g_e + g_l + g_g
    d_e = g_e + sum_e * gains(g_e, g_i)
    error_gain, error_offset = g_l * s_v / d_e, sum_e * error.offset / d_e
    balance = g_g / g_l

    gamma = gains(g_leak, g_v, *(f.plus_load for f in feedback))
    share = 1 + g_leak / g_i
    damping = s_u * (share * gamma + g_leak / g_i) / error_gain
    held, follow = pi.offset / (1 + gamma), None
    baseline = -held / s_u
    if not design.readout.auto_zero:
        g_on = g_leak + 1 / design.card.passive.r_switch
        d_p = g_on + (g_on + g_i) * gamma
        baseline = (g_i * error_offset - (g_on + g_i) * pi.offset) / (d_p * s_u)
        follow = -g_i * error_gain * (1 - balance) / (d_p * s_u)

    d_u = g_u + (g_u + g_v) * gains(g_u, *(f.minus_load for f in feedback))
    control = FoldedControl(
        error_gain,
        error_offset,
        balance,
        share * pi.offset,
        held,
        damping,
        baseline,
        follow,
        g_v / d_u,
        (g_u + g_v) * inv.offset / (d_u * s_u),
        torch.ones_like(damping),
        design.readout.auto_zero,
        design.readout.relative_target,
        design.readout.double_sampling,
    )
    return control, feedback


def fold_layers(
    chip: Chip, control: FoldedControl, feedback: tuple[Coupling, ...]
) -> tuple[FoldedLayer, ...]:
    """All layers, in order."""
    wire, depth = chip.design.card.wire, chip.design.depth
    forward = [coupling(p.w_plus, p.w_minus, wire) for p in chip.layers]
    out: list[FoldedLayer] = []
    for k in range(depth):
        above = forward[k + 1] if k + 1 < depth else None
        below = out[-1] if out else None
        out.append(_layer(chip, k + 1, control, forward[k], feedback[k], above, below))
    return tuple(out)


def _layer(
    chip: Chip,
    i: int,
    control: FoldedControl,
    forward: Coupling,
    feedback: Coupling,
    above: Coupling | None,
    below: FoldedLayer | None,
) -> FoldedLayer:
    design, parts, gains = chip.design, chip.layers[i - 1], _Gains(chip)
    scale = design.card.scale
    s_v = scale.activation
    basal = parts.stages["basal"]
    soma = _soma(chip, i, control, feedback)
    constant = soma.constant
    act = act_ff = inv_gain = inv_offset = None
    if above is not None:
        current = design.card.tanh.current
        act, act_ff, inv_gain, inv_offset = _cells(parts, above, gains, s_v, current)
        constant = constant + act.input

    unit, window = design.weight_unit(i), design.window
    quantum = 0.0 if window.levels is None else window.span / (window.levels - 1) / unit
    pair = _counted(design, i, parts, quantum)
    row = _Rails.of(below, pair.plus)
    gamma = gains(1 / basal.r_f, 1 / parts.stages["soma"].r_in[0])
    paths = _paths(parts, forward, basal, gamma, pair)
    rest = bias_rest = None
    if design.devices is not None:
        paths, rest, bias_rest = _apart(chip, paths, pair, row)
        rest, bias_rest = soma.gain[:, None] * rest, soma.gain * bias_rest
    plus, minus = (soma.gain[:, None] * k for k in (paths.plus, paths.minus))
    through = row.inverted * minus
    rail = None if below is None else (unit / 2) * (minus * row.offset)[:, :-1]
    slope = (unit / 2) * row.gain * (plus + through)
    curve = (unit / 2) * row.gain * (plus - through)
    return FoldedLayer(
        unit=unit,
        quantum=quantum,
        floor=2 * window.g_min / unit,
        slope=slope[:, :-1].contiguous(),
        curve=curve[:, :-1].contiguous(),
        bias_slope=slope[:, -1],
        bias_curve=curve[:, -1],
        rest=rest,
        bias_rest=bias_rest,
        rail=rail,
        centre=None if below is None else (row.centre / row.gain)[:-1],
        total=(pair.plus + pair.minus).sum(dim=1) / unit,
        loading=unit * paths.wire * paths.share * gamma,
        offset=-soma.gain * paths.offset / s_v,
        noise=unit * paths.wire / paths.total,
        constant=constant,
        soma_gain=soma.gain,
        push=soma.push,
        act=act,
        act_ff=act_ff,
        inv_gain=inv_gain,
        inv_offset=inv_offset,
    )


def _counted(design: Design, i: int, parts: LayerParts, quantum: float) -> Pair:
    """The pairs that weights are counted by: the devices', else the nominal ones of the card."""
    if design.devices is not None:
        return Pair(parts.w_plus, parts.w_minus)
    weights = torch.cat([design.weights[i - 1], design.biases[i - 1][:, None]], dim=1)
    return nominal_pair(on_levels(weights, quantum), design.weight_unit(i), design.window.g_min)


_NEAR_OPEN = 0.05
"""Of the window: a device below it is counted as if it were there, to see how its wires take it."""


def _apart(chip: Chip, paths: _Paths, pair: Pair, row: _Rails) -> tuple[_Paths, Tensor, Tensor]:
    """Gains per siemens of devices that may be open, and what doesn't come from the device itself.

    Through the wires a row reaches a column by other devices too. Of an open device that is all
    there is, and no measure of what the device will carry when it is closed.

    Returns:
        The paths, and what goes by other devices per unit of signal, (n_i, n_{i-1}), and for the
        bias, (n_i,).
    """
    design = chip.design
    least = _NEAR_OPEN * design.window.span
    closed = Pair(*(g.clamp(min=least) for g in pair))
    alone = coupling(*closed, design.card.wire)
    found = Pair(paths.plus * pair.plus, paths.minus * pair.minus)
    share = paths.share[:, None]
    own = Pair(alone.plus / closed.plus * share, alone.minus / closed.minus * share)
    plus, minus = (f - k * g for f, k, g in zip(found, own, pair, strict=True))
    rest = row.gain * (plus - row.inverted * minus)
    return (
        paths._replace(plus=own.plus, minus=own.minus),
        rest[:, :-1].contiguous(),
        rest[:, -1] + (minus * row.offset).sum(dim=1),
    )


class _Soma(NamedTuple):
    """From the basal amplifier and the control signal to the potential, dimensionless.

    Attributes:
        gain: of the basal amplifier's signal, (n_i,).
        push: of the control signal behind the PI amplifier, (n_i, n_L).
        constant: potential without either, control signal of the free phase included, (n_i,).
    """

    gain: Tensor
    push: Tensor
    constant: Tensor


def _soma(chip: Chip, i: int, control: FoldedControl, feedback: Coupling) -> _Soma:
    scale, stage = chip.design.card.scale, chip.layers[i - 1].stages["soma"]
    s_v, s_u = scale.activation, scale.control
    g_f, g_in = 1 / stage.r_f, 1 / stage.r_in[0]
    load = g_f
    if i == chip.design.depth:
        load = g_f + 1 / chip.controller.stages["error"].r_in[0]
    total = feedback.columns.diagonal() + g_f + g_in
    d = g_f + total * _Gains(chip)(load)
    push = (feedback.plus - feedback.minus * control.inv_gain) * (s_u / s_v) / d[:, None]
    offset = feedback.columns @ stage.offset + (g_f + g_in) * stage.offset
    inverted = feedback.minus @ control.inv_offset * s_u
    return _Soma(g_in / d, push, (offset - inverted) / (d * s_v) + push @ control.baseline)


class _Rails(NamedTuple):
    """Rails of a forward crossbar's rows, bias last, each (n_{i-1} + 1,), dimensionless.

    The first rail is gain r + centre, the second offset less `inverted` times the first.
    """

    gain: Tensor
    centre: Tensor
    inverted: Tensor
    offset: Tensor

    @classmethod
    def of(cls, below: FoldedLayer | None, like: Tensor) -> _Rails:
        one, none = torch.ones_like(like[0]), torch.zeros_like(like[0])
        if below is None or below.act is None:
            return cls(one, none, one, none)
        assert below.inv_gain is not None
        assert below.inv_offset is not None
        return cls(
            torch.cat([below.act.gain, one[:1]]),
            torch.cat([below.act.offset, none[:1]]),
            torch.cat([below.inv_gain, one[:1]]),
            torch.cat([below.inv_offset, none[:1]]),
        )


class _Paths(NamedTuple):
    """From the rails of a row to the basal amplifier of a column.

    Attributes:
        plus: gain per siemens of a weight's pair on the first rail, (n_i, n_{i-1} + 1).
        minus: the same for the second rail.
        offset: the amplifier's offset at its output, (n_i,), in volts.
        wire: what the wires leave of a column's conductance, (n_i,).
        total: conductance at the summing node, (n_i,).
        share: output volts per ampere into the node, (n_i,).
    """

    plus: Tensor
    minus: Tensor
    offset: Tensor
    wire: Tensor
    total: Tensor
    share: Tensor


def _paths(
    parts: LayerParts,
    forward: Coupling,
    basal: Stage,
    gamma: Tensor,
    pair: Pair,
) -> _Paths:
    g_f = 1 / basal.r_f
    node = forward.columns + torch.diag(g_f)
    matrix = torch.diag(g_f) + node * gamma
    right = [forward.plus, forward.minus, (node @ basal.offset)[:, None]]
    found = torch.linalg.solve(matrix, torch.cat(right, dim=1))
    n = pair.plus.shape[1]
    devices = (parts.w_plus + parts.w_minus).sum(dim=1)
    return _Paths(
        found[:, :n] / pair.plus,
        found[:, n : 2 * n] / pair.minus,
        found[:, -1],
        forward.columns.diagonal() / devices,
        node.diagonal(),
        1 / matrix.diagonal(),
    )


def _cells(
    parts: LayerParts, above: Coupling, gains: _Gains, s_v: float, current: float
) -> tuple[Cell, Cell, Tensor, Tensor]:
    """Both tanh cells with their amplifiers, and the inverter's gain and offset."""
    inv = parts.stages["inv"]
    g_in, g_x = 1 / inv.r_in[0], 1 / inv.r_f
    n = len(g_x)
    # The row of the bias comes from sources.
    loads = {"act": (g_in, above.plus_load[:n]), "act_ff": ()}
    cells = []
    for name, extra in loads.items():
        stage = parts.stages[name]
        share = 1 + gains(1 / stage.r_f, *extra)
        gain = current * stage.r_f / (share * s_v)
        cells.append(Cell(gain, parts.tanh_offset[name] / s_v, stage.offset / (share * s_v)))
    d = g_x + (g_x + g_in) * gains(g_x, above.minus_load[:n])
    return cells[0], cells[1], g_in / d, (g_x + g_in) * inv.offset / (d * s_v)
