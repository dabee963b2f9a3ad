"""From the signals of a folded loop to what is measured on the chip, and its volts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static.folded import FoldedControl, FoldedLayer
from analogdfc.dynamics import Readings
from analogdfc.network import Forward


def measured(layers: Sequence[FoldedLayer], signals: Forward) -> Readings:
    """Measured signals, (..., n_i), of those of the folded loop."""
    v, v_ff, r, r_ff = [], [], [], []
    for layer, a, b, c in zip(layers, *signals[:2], signals.r[1:], strict=True):
        v_ff.append((b - layer.constant) / layer.soma_gain)
        if layer.act is None or layer.act_ff is None:  # linear neurons
            v.append(a)
            r.append(a)
            r_ff.append(v_ff[-1])
            continue
        v.append((a - layer.act.input) / layer.act.slope)
        r.append(torch.addcmul(layer.act.offset, c, layer.act.gain))
        cell = layer.act_ff
        r_ff.append(
            torch.addcmul(cell.offset, torch.tanh(cell.slope * v_ff[-1] + cell.input), cell.gain)
        )
    return Readings(v=tuple(v), v_ff=tuple(v_ff), r=tuple(r), r_ff=tuple(r_ff))


def activations(layers: Sequence[FoldedLayer], signals: Forward) -> tuple[Tensor, ...]:
    """Measured r_1..r_L alone, (..., n_i), of the signals of the folded loop."""
    return tuple(
        r if layer.act is None else torch.addcmul(layer.act.offset, r, layer.act.gain)
        for layer, r in zip(layers, signals.r[1:], strict=True)
    )


def differences(
    layers: Sequence[FoldedLayer], signals: Forward, before: Forward | None = None
) -> tuple[Tensor, ...]:
    """Measured phi(v) - phi(v_ff) of layers 1..L, (..., n_i), in few operations a number.

    Args:
        layers: what the neurons are.
        signals: those of the folded loop.
        before: others, whose differences are taken off; None for none.
    """
    out = []
    for i, layer in enumerate(layers):
        act, last = layer.act, None if before is None else before.r[i + 1]
        if before is not None and last is not None and before.v_ff[i] is signals.v_ff[i]:
            # What doesn't depend on the feedback is in both.
            moved = signals.r[i + 1] - last
            out.append(moved if act is None else moved.mul_(act.gain))
            continue
        found = _difference(layer, signals.r[i + 1], signals.v_ff[i])
        if before is not None and last is not None:
            found.sub_(_difference(layer, last, before.v_ff[i]))
        out.append(found)
    return tuple(out)


def _difference(layer: FoldedLayer, r: Tensor, v_ff: Tensor) -> Tensor:
    """phi(v) - phi(v_ff) of tanh(v), or of v of linear neurons, and v_ff of the folded loop."""
    act, cell = layer.act, layer.act_ff
    if act is None or cell is None:
        return r - (v_ff - layer.constant) / layer.soma_gain
    slope = cell.slope / layer.soma_gain
    seen = torch.addcmul(cell.input - slope * layer.constant, v_ff, slope).tanh_()
    made = torch.addcmul(act.offset - cell.offset, r, act.gain)
    return made.addcmul_(seen, cell.gain, value=-1)


def neuron_volts(chip: Chip, layers: Sequence[FoldedLayer], signals: Readings) -> dict[str, Tensor]:
    """Output voltages of the neurons' banks, (..., n), of their measured signals."""
    s_v = chip.design.card.scale.activation
    found = {}
    for i, (taps, layer) in enumerate(zip(chip.circuit.layers, layers, strict=True)):
        for tap, signal in (
            (taps.r, signals.r[i]),
            (taps.r_ff, signals.r_ff[i]),
            (taps.v, signals.v[i]),
            (taps.v_ff, signals.v_ff[i]),
        ):
            found[tap.bank] = tap.sign * s_v * signal
        if taps.r_minus is not None:
            assert layer.inv_gain is not None
            assert layer.inv_offset is not None
            inverted = layer.inv_offset - layer.inv_gain * signals.r[i]
            found[taps.r_minus.bank] = s_v * inverted
    return found


def control_volts(
    chip: Chip, folded: FoldedControl, output: Tensor, control: Tensor, goal: Tensor
) -> dict[str, Tensor]:
    """Those of the error, of the control signal and of its inverter.

    Args:
        chip: the chip.
        folded: its controller.
        output: measured output r_L, (..., n_L).
        control: control signal as its amplifier makes it, (..., n_L).
        goal: target r*, (..., n_L).
    """
    taps, s_u = chip.circuit.control, chip.design.card.scale.control
    return {
        taps.e.bank: folded.error(output, goal),
        taps.u_minus.bank: taps.u_minus.sign * s_u * control,
        taps.u.bank: s_u * (folded.inv_gain * control + folded.inv_offset),
    }


def between_free(chip: Chip, folded: FoldedControl, output: Tensor) -> dict[str, Tensor]:
    """Those of the controller's further banks in the free phase, of its output."""
    volts = chip.design.card.scale.activation * output
    return {b.name: volts * b.free[:, 0] + b.free[:, 1] for b in folded.between}


def between_rest(
    chip: Chip, folded: FoldedControl, control: Tensor, goal: Tensor, zero: Tensor
) -> dict[str, Tensor]:
    """The same at rest under control.

    Args:
        chip: the chip.
        folded: its controller.
        control: control signal as its amplifier makes it, (..., n_L).
        goal: target r*, (..., n_L).
        zero: what the auto-zero has stored, (..., n_L), in volts.
    """
    scale, sign = chip.design.card.scale, chip.circuit.control.u_minus.sign
    made = sign * scale.control * control
    given = torch.stack([made, -scale.activation * goal, zero, torch.ones_like(zero)], dim=-1)
    return {b.name: (b.rest * given).sum(dim=-1) for b in folded.between}
