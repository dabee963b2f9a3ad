"""How the static imperfections of a chip fold into the weights of an ideal loop."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.conductances import Pair
from analogdfc.circuit.description import Array
from analogdfc.circuit.design import Design
from analogdfc.circuit.static.crossbar import Coupling, coupling
from analogdfc.circuit.static.folded import (
    FoldedControl,
    FoldedLayer,
    nominal_pair,
    on_levels,
)
from analogdfc.circuit.static.stages import Stages
from analogdfc.products import multiplied
from analogdfc.wires.terminals import LARGE


def fold_layers(chip: Chip, stages: Stages, control: FoldedControl) -> tuple[FoldedLayer, ...]:
    """All layers, in order."""
    out: list[FoldedLayer] = []
    for i in range(1, chip.design.depth + 1):
        out.append(_layer(chip, stages, i, control, out[-1] if out else None))
        stages.forget(chip.circuit.crossbars_of(Array.FORWARD)[i - 1])
    return tuple(out)


def _layer(
    chip: Chip, stages: Stages, i: int, control: FoldedControl, below: FoldedLayer | None
) -> FoldedLayer:
    design, circuit, taps = chip.design, chip.circuit, chip.circuit.layers[i - 1]
    s_v = design.card.scale.activation
    basal = circuit.bank[taps.v_ff.bank]
    soma = _soma(chip, stages, i, control)
    constant = soma.constant
    act = act_ff = inv_gain = inv_offset = None
    if taps.r.bank != taps.v.bank:
        act, act_ff = (stages.cell(circuit.bank[tap.bank]) for tap in (taps.r, taps.r_ff))
        # The loop's potential is the input of its tanh.
        soma = _Soma(*(act.slope * part for part in soma))
        constant = soma.constant + act.input
    if taps.r_minus is not None:
        gain, offset = stages.line(circuit.bank[taps.r_minus.bank], taps.r.port)
        inv_gain, inv_offset = -gain, offset / s_v

    unit, window = design.weight_unit(i), design.window
    quantum = 0.0 if window.levels is None else window.span / (window.levels - 1) / unit
    made = _made(chip, i)
    pair = _counted(design, i, made, quantum)
    row = _Rails.of(below, pair.plus)
    forward, gamma = (
        stages.coupling(circuit.crossbars_of(Array.FORWARD)[i - 1]),
        stages.inverse_gain(basal),
    )
    paths = _paths(made, forward, stages.outside(basal), basal.offset, gamma, pair)
    rest = bias_rest = None
    if design.devices is not None:
        paths, rest, bias_rest = _apart(chip, i, paths, pair, row)
        rest, bias_rest = soma.gain[:, None] * rest, soma.gain * bias_rest
    # In place where it can be: of a wide layer each of these is large.
    scale = soma.gain[:, None] * (unit / 2)
    minus = paths.minus.mul_(scale)
    rail = None if below is None else (minus * row.offset)[:, :-1]
    plus, through = paths.plus.mul_(scale).mul_(row.gain), minus.mul_(row.inverted * row.gain)
    slope, curve = plus + through, plus.sub_(through)
    layer = FoldedLayer(
        unit=unit,
        quantum=quantum,
        floor=2 * window.g_min / unit,
        slope=slope[:, :-1].contiguous(),
        curve=curve[:, :-1].contiguous(),
        bias_slope=slope[:, -1].clone(),
        bias_curve=curve[:, -1].clone(),
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
    return layer.stepped() if design.devices is None else layer


def _made(chip: Chip, i: int) -> Pair:
    """The conductances of layer i's forward crossbar."""
    crossbar = chip.circuit.crossbars_of(Array.FORWARD)[i - 1]
    return Pair(crossbar.plus, crossbar.minus)


def _counted(design: Design, i: int, made: Pair, quantum: float) -> Pair:
    """The pairs that weights are counted by: the devices', else the nominal ones of the card."""
    if design.devices is not None:
        return made
    weights = torch.cat([design.weights[i - 1], design.biases[i - 1][:, None]], dim=1)
    return nominal_pair(on_levels(weights, quantum), design.weight_unit(i), design.window.g_min)


_NEAR_OPEN = 0.05
"""Of the window: a device below it is counted as if it were there, to see how its wires take it."""


def _apart(
    chip: Chip, i: int, paths: _Paths, pair: Pair, row: _Rails
) -> tuple[_Paths, Tensor, Tensor]:
    """Gains per siemens of devices that may be open, and what doesn't come from the device itself.

    Through the wires a row reaches a column by other devices too. Of an open device that is all
    there is, and no measure of what the device will carry when it is closed.

    Returns:
        The paths, and what goes by other devices per unit of signal, (n_i, n_{i-1}), and for the
        bias, (n_i,).
    """
    design, crossbar = chip.design, chip.circuit.crossbars_of(Array.FORWARD)[i - 1]
    least = _NEAR_OPEN * design.window.span
    closed = Pair(*(g.clamp(min=least) for g in pair))
    alone = coupling(*closed, crossbar.lines, crossbar.tiling)
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
        push: of the control signal as its amplifier makes it, (n_i, n_L).
        constant: potential without either, control signal of the free phase included, (n_i,).
    """

    gain: Tensor
    push: Tensor
    constant: Tensor


def _soma(chip: Chip, stages: Stages, i: int, control: FoldedControl) -> _Soma:
    scale, taps = chip.design.card.scale, chip.circuit.layers[i - 1]
    s_v, s_u = scale.activation, scale.control
    bank, feedback = (
        chip.circuit.bank[taps.v.bank],
        stages.coupling(chip.circuit.crossbars_of(Array.FEEDBACK)[i - 1]),
    )
    outside = stages.outside(bank)
    total = feedback.columns.diagonal() + outside
    d = stages.between(bank, bank.o) + total * stages.inverse_gain(bank)
    push = (feedback.plus - feedback.minus * control.inv_gain) * (s_u / s_v) / d[:, None]
    offset = feedback.columns @ bank.offset + outside * bank.offset
    inverted = feedback.minus @ control.inv_offset * s_u
    constant = (offset - inverted) / (d * s_v) + push @ control.baseline
    return _Soma(stages.between(bank, taps.v_ff.port) / d, push, constant)


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
        if below is None:
            return cls(one, none, one, none)
        assert below.inv_gain is not None
        assert below.inv_offset is not None
        gain, centre = one, none
        if below.act is not None:
            gain = torch.cat([below.act.gain, one[:1]])
            centre = torch.cat([below.act.offset, none[:1]])
        inverted = torch.cat([below.inv_gain, one[:1]])
        return cls(gain, centre, inverted, torch.cat([below.inv_offset, none[:1]]))


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
    made: Pair, forward: Coupling, g_f: Tensor, offset: Tensor, gamma: Tensor, pair: Pair
) -> _Paths:
    """Those of a crossbar whose columns have only a feedback resistor beside it."""
    node = forward.columns.clone()
    node.diagonal().add_(g_f)
    matrix = node * gamma
    matrix.diagonal().add_(g_f)
    right = [forward.plus, forward.minus, (node @ offset)[:, None]]
    found = _solved(matrix, torch.cat(right, dim=1))
    n = pair.plus.shape[1]
    return _Paths(
        found[:, :n].div_(pair.plus),
        found[:, n : 2 * n].div_(pair.minus),
        found[:, -1].clone(),
        forward.columns.diagonal() / (made.plus + made.minus).sum(dim=1),
        node.diagonal(),
        1 / matrix.diagonal(),
    )


_WEAK = 0.004
"""What a column gets from all others by amplifiers' finite gain, up to which its third power is
below single precision."""


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """matrix^-1 right, which is changed.

    In a wide array columns reach each other by little. What they do is found in single precision,
    as its transfer was, to the second power: (1 + M + M^2) D^-1 right, for D (1 - M) with D its
    diagonal.
    """
    diagonal = matrix.diagonal()[:, None]
    if right.numel() > LARGE:
        others = matrix / -diagonal
        others.diagonal().zero_()
        if float(others.abs().sum(dim=1).max()) <= _WEAK:
            weak = others.float()
            right /= diagonal
            return right.add_(multiplied(weak + multiplied(weak, weak), right.float()))
    found: Tensor = torch.linalg.solve(matrix, right)
    return found
