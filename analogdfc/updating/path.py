"""What an update path makes of the voltages that it sees, in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.updating.elements import CLEAR, Holds, LayerPath, Lines, UpdatePath

Noise = Callable[[str, tuple[int, ...]], Tensor]
"""Standard normal numbers by the name of what they are for and their shape."""


class Seen(NamedTuple):
    """What the path of a layer sees, in volts.

    Attributes:
        free: differences phi(v) - phi(v_ff) in the free phase, (batch, n_i).
        last: the same at the end of the controlled phase, (batch, n_i).
        slope: their change there, (batch, n_i), in volts a second.
        pre: activations below at the end, (batch, n_{i-1}); of layer 1 the inputs.
        pre_slope: their change there, (batch, n_{i-1}).
    """

    free: Tensor
    last: Tensor
    slope: Tensor
    pre: Tensor
    pre_slope: Tensor


class Held(NamedTuple):
    """What the lines of a layer have when the product begins, in volts.

    Attributes:
        post: differences, (batch, n_i), noise of their lines in them.
        post_rate: their change while the product is formed, (n_i,), in volts a second.
        pre: activations, the bias last, (batch, rows).
        pre_rate: their change, (rows,).
    """

    post: Tensor
    post_rate: Tensor
    pre: Tensor
    pre_rate: Tensor


def held(
    path: UpdatePath, i: int, seen: Seen, *, unit: float, seconds: float, noise: Noise | None
) -> Held:
    """What the holds of a layer keep.

    A hold that follows with a lag is behind by lag times slope; it loses a charge q as it opens,
    -q / C, then falls by I t / C; the noise of a held value is kT / C.

    Args:
        path: the update path.
        i: number of the layer, 1 to L.
        seen: what it sees.
        unit: volts of an activation of 1, which the bias has.
        seconds: length of the controlled phase.
        noise: random numbers; None for none.
    """
    layer = path.layers[i - 1]
    last, slope = seen.last, seen.slope
    if layer.free is not None:
        rate = layer.free.rate.to(last)
        kept = _opened(layer.free, seen.free, noise)
        last, slope = last - (kept + rate * seconds), slope - rate
    post = _opened(layer.post, last - layer.post.lag * slope, noise)
    ones = torch.full_like(post[:, :1], unit)
    pre, pre_rate = seen.pre, torch.zeros_like(seen.pre[0])
    if layer.pre is not None:
        pre = _opened(layer.pre, pre - layer.pre.lag * seen.pre_slope, noise)
        pre_rate = layer.pre.rate.to(pre)
    pre, pre_rate = torch.cat([pre, ones], dim=1), torch.cat([pre_rate, ones.new_zeros(1)])
    if path.kind == "pulses" and noise is not None:  # of multipliers it is that of a product
        post = post + _lines(path, layer.columns.name, post, noise)
        pre = pre + _lines(path, layer.rows.name, pre, noise)
    return Held(post, layer.post.rate.to(post), pre, pre_rate)


def line_noise(path: UpdatePath) -> float:
    """Noise of a line, rms in volts."""
    found: float | None = getattr(path.card, path.kind).noise
    return found or 0.0


def _lines(path: UpdatePath, name: str, like: Tensor, noise: Noise) -> Tensor | float:
    rms = line_noise(path)
    return rms * noise(name, tuple(like.shape)).to(like) if rms else 0.0


def _opened(hold: Holds, volts: Tensor, noise: Noise | None) -> Tensor:
    """What holds keep of voltages when they open."""
    kept = volts + hold.step.to(volts)
    if noise is not None and hold.rms:
        kept = kept + hold.rms * noise(hold.name, tuple(volts.shape)).to(volts)
    return kept


def formed(path: UpdatePath, i: int, held: Held, noise: Noise | None) -> Tensor:
    """The product of a layer, (batch, n_i, rows), in square volts, the bias last.

    Args:
        path: the update path.
        i: number of the layer, 1 to L.
        held: what its lines have.
        noise: random numbers; None for none.
    """
    layer = path.layers[i - 1]
    if path.kind == "pulses":
        return path.difference * path.activation * coincidence(path, layer, held)
    if path.kind == "multiplier":
        return path.activation * converted(path, layer, products(path, layer, held), noise)
    return _digital(path, layer, held, noise)


def coincidence(path: UpdatePath, layer: LayerPath, held: Held) -> Tensor:
    """Signed time in which a row and a column have a pulse, over the longest, (batch, n_i, rows).

    A row's pulse ends at t* where its ramp, which takes the span T to the full voltage, meets
    the held value; a column's pulse in the slot from t_k is as long as a ramp of its slot takes.
    Coincidence is the sum over the slots of the part of the column's pulse before t*.
    """
    card = path.card.pulses
    assert card.span is not None
    duration = card.span
    size, rate, sign = _amplitude(held.post, held.post_rate, layer.columns)
    row, row_rate, row_sign = _amplitude(held.pre, held.pre_rate, layer.rows)
    # |h| + rate t = R t / T
    until = row / (path.activation / duration - row_rate)
    until = until.clamp(0.0, duration)
    if card.slots is None:
        share = size[:, :, None] * until[:, None]
        share = share + rate[:, :, None] * until[:, None].square() / 2
        share = share.clamp(min=0.0) / (path.difference * duration)
        return share * sign[:, :, None] * row_sign[:, None]
    slots = int(card.slots)
    slot = duration / slots
    active = (1 - CLEAR) * slot
    starts = slot * torch.arange(slots, dtype=size.dtype, device=size.device)
    ramp = path.difference / active
    width = (size[..., None] + rate[..., None] * starts) / (ramp - rate[..., None])
    width = width.clamp(0.0, active)
    passed = torch.nn.functional.pad(width.cumsum(dim=-1), (1, 0))
    whole = (until / slot).floor().clamp(max=slots).long()
    part = (until - whole * slot)[:, None]
    at = whole[:, None].expand(-1, size.shape[1], -1)
    last = torch.nn.functional.pad(width, (0, 1)).gather(2, at)
    time = passed.gather(2, at) + torch.minimum(part.expand_as(last), last)
    return time * sign[:, :, None] * row_sign[:, None] / (slots * active)


def _amplitude(volts: Tensor, rate: Tensor, lines: Lines) -> tuple[Tensor, Tensor, Tensor]:
    """Magnitude behind a line's gain and offset, its change, and the sign."""
    gain, offset = lines.gain.to(volts), lines.offset.to(volts)
    value = gain * volts + offset
    sign = value.sign()
    return value.abs(), sign * (gain * rate), sign


def products(path: UpdatePath, layer: LayerPath, held: Held) -> Tensor:
    """What the multipliers have at the end of each row's time, (batch, n_i, rows), in volts.

    From row to row the holds droop; a multiplier keeps exp(-row time / settling) of what it had
    before.
    """
    card = path.card.multiplier
    assert card.row_time is not None
    rows = held.pre.shape[1]
    ends = card.row_time * torch.arange(1, rows + 1, dtype=held.pre.dtype, device=held.pre.device)
    x = held.post[..., None] + held.post_rate[:, None] * ends + _column(layer.columns.offset, held)
    y = (held.pre + held.pre_rate * ends)[:, None] + _column(layer.rows.offset, held)
    m = _column(layer.columns.gain, held) * x * y / path.activation
    if card.settling is None:
        return m
    kept = torch.exp(torch.tensor(-card.row_time / card.settling, dtype=m.dtype, device=m.device))
    found, before = [], torch.zeros_like(m[..., 0])
    for k in range(rows):
        before = m[..., k] + (before - m[..., k]) * kept
        found.append(before)
    return torch.stack(found, dim=-1)


def _column(values: Tensor, held: Held) -> Tensor:
    return values.to(held.post)[:, None]


def converted(path: UpdatePath, layer: LayerPath, volts: Tensor, noise: Noise | None) -> Tensor:
    """Products as the columns' converters give them, in volts.

    Args:
        path: the update path.
        layer: of which layer.
        volts: what the multipliers have, (batch, n_i, rows).
        noise: random numbers; None for none.
    """
    rms = line_noise(path)
    if noise is not None and rms:
        volts = volts + rms * noise(layer.columns.name, tuple(volts.shape)).to(volts)
    return quantised(volts, path.difference, path.card.multiplier.codes)


def quantised(volts: Tensor, most: float, levels: float | None) -> Tensor:
    """The nearest of the levels that lie evenly on both sides of 0, and 0.

    Args:
        volts: of any shape.
        most: the largest.
        levels: how many, of which one of an even number is not used; None for any.
    """
    volts = volts.clamp(-most, most)
    if levels is None:
        return volts
    step = most / max((int(levels) - 1) // 2, 1)
    return (volts / step).round() * step


def _digital(path: UpdatePath, layer: LayerPath, held: Held, noise: Noise | None) -> Tensor:
    levels, rms = path.card.digital.codes, line_noise(path)

    def code(volts: Tensor, most: float, lines: Lines) -> Tensor:
        value = lines.gain.to(volts) * volts + lines.offset.to(volts)
        if noise is not None and rms:
            drawn = noise(lines.name, tuple(volts.shape))
            value = value + rms * drawn.to(volts)
        return quantised(value, most, levels)

    post = code(held.post, path.difference, layer.columns)
    pre = code(held.pre, path.activation, layer.rows)
    return post[:, :, None] * pre[:, None]
