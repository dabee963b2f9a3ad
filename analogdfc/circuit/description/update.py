"""The update path of a circuit: track-and-holds at the neurons, and what forms the product."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from analogdfc.circuit.description._builder import Builder
from analogdfc.circuit.description.elements import BIAS, INPUT, Instances, LayerTaps, Port
from analogdfc.circuit.thermal import BOLTZMANN
from analogdfc.updating import Holds, LayerPath, Lines, UpdatePath
from analogdfc.updating import nodes as named
from analogdfc.updating.elements import ACQUIRED

_FARADS, _OHMS = 1e-12, 1e3
"""Of a hold that the card says nothing of, which follows in a nanosecond."""

_EDGE = 2e-3
"""Time constant of a pulse's edges, as a part of a slot."""


def describe_update(
    build: Builder, sizes: Sequence[int], taps: Sequence[LayerTaps], *, double_sampling: bool
) -> UpdatePath | None:
    """The update path that the card has; None without one.

    Args:
        build: the elements so far.
        sizes: neurons of layers 0..L.
        taps: where the signals of layers 1..L are measured.
        double_sampling: whether differences of the free phase are kept and subtracted.
    """
    kind = build.card.update_path
    if not kind:
        return None
    layers = []
    for i in range(1, len(sizes)):
        n, below = sizes[i], sizes[i - 1]
        second = n if kind == "multiplier" else below + 1
        layers.append(
            LayerPath(
                _holds(build, i, "free", n) if double_sampling else None,
                _holds(build, i, "post", n),
                _holds(build, i, "pre", below) if i > 1 else None,
                _lines(build, i, "columns", n, getattr(build.card, kind).gain_error),
                _lines(
                    build,
                    i,
                    "rows",
                    second,
                    None if kind == "multiplier" else getattr(build.card, kind).gain_error,
                ),
            )
        )
    path = UpdatePath(build.card, kind, tuple(layers), tuple(n + 1 for n in sizes[:-1]))
    for i, layer in enumerate(layers, start=1):
        feeding = taps[i - 2] if i > 1 else None
        build.instances += _hold_instances(path, i, layer, taps[i - 1], feeding)
        build.instances += _line_instances(path, i, layer, sizes[i - 1])
    return path


Pin = Port | str


def _hold_instances(
    path: UpdatePath, i: int, layer: LayerPath, own: LayerTaps, below: LayerTaps | None
) -> Iterator[Instances]:
    """Holds of a layer, those of the free phase track as the controller is in reset."""
    free, post, pre = (p.format(i=i) for p in (named.FREE, named.POST, named.PRE))
    difference = own.r.port, own.r_ff.port
    signs = own.r.sign, own.r_ff.sign
    subtracted = "0"
    if layer.free is not None:
        yield _held(path, f"uhf{i}_{{k}}", layer.free, (*difference, "0"), signs, free, "rst")
        subtracted = free
    pins: tuple[Pin, Pin, Pin] = (*difference, subtracted)
    yield _held(path, f"uhp{i}_{{k}}", layer.post, pins, signs, post, named.TRACK)
    if layer.pre is not None and below is not None:
        pins, signs = (below.r.port, "0", "0"), (below.r.sign, 0.0)
        yield _held(path, f"uhr{i}_{{k}}", layer.pre, pins, signs, pre, named.TRACK)


def _held(
    path: UpdatePath,
    name: str,
    hold: Holds,
    pins: tuple[Pin, Pin, Pin],
    signs: tuple[float, float],
    node: str,
    track: str,
) -> Instances:
    farads = hold.farads or _FARADS
    same = {
        "sp": signs[0],
        "sn": signs[1],
        "r_h": hold.lag / farads if hold.lag else _OHMS,
        "c_h": farads,
        "i_q": path.card.hold.supply_current or 0.0,
    }
    values = _same(same, hold.size) | {"q_h": hold.coulombs, "i_h": hold.amperes}
    noise = named.noisy(node) if hold.rms else "0"
    every = (*pins, node, noise, track, "vdd", "vss")
    return Instances("update_hold", name, hold.part, hold.size, every, values)


def _same(values: Mapping[str, float], n: int) -> dict[str, Tensor]:
    return {k: torch.full((n,), v, dtype=torch.float64) for k, v in values.items()}


def _line_instances(path: UpdatePath, i: int, layer: LayerPath, below: int) -> Iterator[Instances]:
    """What forms the product of a layer."""
    post, pre = named.POST.format(i=i), named.PRE.format(i=i)
    part = layer.columns.part
    rows: list[tuple[Pin, int, int]] = [(INPUT.plus if layer.pre is None else pre, 0, below)]
    rows.append((BIAS.plus, below, 1))
    if path.kind == "pulses":
        columns = post, named.COLUMN_RAMP, named.COLUMN_ON
        n, most = layer.columns.size, path.difference
        yield _modulators(path, f"umc{i}_{{k}}", layer.columns, columns, most,
                          named.COLUMN.format(i=i), slice(0, n))  # fmt: skip
        for source, first, n in rows:
            out, label = named.ROW.format(i=i), f"uml{i}_{{k}}"
            if n == 1 and first == below:
                out, label = out.format(k=below + 1), f"umb{i}_{{k}}"
            pins = source, named.ROW_RAMP, named.ON
            yield _modulators(path, label, layer.rows, pins, path.activation, out,
                              slice(first, first + n))  # fmt: skip
    elif path.kind == "multiplier":
        card, n, bus = path.card.multiplier, layer.columns.size, named.BUS.format(i=i)
        same = {
            "ref": path.activation,
            "t_m": card.settling or 1e-4 * (card.row_time or 0.0),
            "i_q": card.supply_current or 0.0,
        }
        values = {
            "os_x": layer.columns.offset, "os_y": layer.rows.offset, "gain": layer.columns.gain,
        } | _same(same, n)  # fmt: skip
        every = (post, bus, named.PRODUCT.format(i=i), named.ON, "vdd", "vss")
        yield Instances("update_multiplier", f"umm{i}_{{k}}", part, n, every, values)
        load = _same({"r_b": 1e3 * (below + 1)}, below)
        yield Instances("update_row", f"ums{i}_{{k}}", part, below,
                        (rows[0][0], named.SELECT.format(), bus), load)  # fmt: skip
        last = named.SELECT.format().format(k=below + 1)
        yield Instances("update_row", f"umb{i}_{{k}}", part, 1, (BIAS.plus, last, bus),
                        {"r_b": load["r_b"][:1]})  # fmt: skip


def _modulators(
    path: UpdatePath,
    name: str,
    lines: Lines,
    pins: tuple[Pin, str, str],
    most: float,
    out: str,
    those: slice,
) -> Instances:
    card = path.card.pulses
    source, ramp, enable = pins
    noise = named.noisy(out) if card.noise else "0"
    n = those.stop - those.start
    same = {
        "most": most,
        "t_e": _EDGE * path.seconds / (card.slots or 1.0),
        "v_p": card.swing or 1.0,
        "c_l": card.line or 0.0,
        "i_q": card.supply_current or 0.0,
    }
    values = {"os": lines.offset[those], "gain": lines.gain[those]} | _same(same, n)
    every = (source, noise, ramp, enable, named.ON, out, "vdd", "vss")
    return Instances("update_modulator", name, lines.part, n, every, values)


def _holds(build: Builder, i: int, what: str, n: int) -> Holds:
    name, hold = f"layer{i}.hold.{what}", build.card.hold

    def each(key: str, value: float | None) -> Tensor:
        if value is None:
            return torch.zeros(n, dtype=torch.float64)
        return value * (1 + build.draw.offset(f"{name}.{key}", hold.spread, n))

    farads = hold.capacitor or 0.0
    rms = 0.0
    if farads and hold.temperature is not None:
        rms = math.sqrt(BOLTZMANN * hold.temperature / farads)
    return Holds(
        name,
        f"layer {i}",
        farads,
        each("droop", hold.droop),
        each("injection", hold.injection),
        (hold.acquisition or 0.0) / ACQUIRED,
        rms,
    )


def _lines(build: Builder, i: int, what: str, n: int, spread: float | None) -> Lines:
    name, section = f"layer{i}.update.{what}", getattr(build.card, build.card.update_path)
    offset = build.draw.offset(f"{name}.offset", section.offset, n)
    return Lines(name, f"layer {i}", offset, 1 + build.draw.offset(f"{name}.gain", spread, n))
