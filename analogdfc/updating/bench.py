"""Sources of an update path in a testbench, and what is read of its nodes in a circuit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.updating.elements import CLEAR, UpdatePath
from analogdfc.updating.nodes import (
    COLUMN,
    COLUMN_ON,
    COLUMN_RAMP,
    ON,
    POST,
    PRE,
    PRODUCT,
    ROW,
    ROW_RAMP,
    SELECT,
    TICK,
    TRACK,
    noise_nodes,
    numbered,
)
from analogdfc.updating.path import Held, Noise, converted, formed

Array = NDArray[np.float64]

_EDGE = 1e-3
"""Edges of what selects and enables, as a part of a slot or a row's time."""

_TICKS = 40, 1000
"""Time points of a column's slot and of all of them, at least."""


class Moments(NamedTuple):
    """When an update path does what, in seconds.

    Attributes:
        end: of the controlled phase; then its holds open.
        edge: in which they do.
    """

    end: float
    edge: float

    @property
    def start(self) -> float:
        """When the product begins."""
        return self.end + 4 * self.edge


def still_sources(path: UpdatePath) -> Iterator[str]:
    """Sources of a path whose holds track, for analyses without an end.

    Args:
        path: the update path.
    """
    for node in _clocks(path):
        yield f"V{node} {node} 0 {int(node == TRACK)}"
    for nodes, _ in noise_nodes(path).values():
        yield from (f"V{node} {node} 0 0" for node in nodes)


def commands(path: UpdatePath) -> list[str]:
    """Nodes of the path's sources: they say when, or are noise, and give no energy.

    Args:
        path: the update path.
    """
    return [*_clocks(path), TICK, *(n for nodes, _ in noise_nodes(path).values() for n in nodes)]


def _clocks(path: UpdatePath) -> list[str]:
    if path.kind == "pulses":
        return [TRACK, ON, ROW_RAMP, COLUMN_RAMP, COLUMN_ON]
    if path.kind == "multiplier":
        return [TRACK, ON, *numbered(SELECT, 0, max(path.inputs))]
    return [TRACK]


def sources(path: UpdatePath, at: Moments, noise: Mapping[str, Array]) -> Iterator[str]:
    """Sources of a path that forms the update of a run.

    Args:
        path: the update path.
        at: when.
        noise: of the sample, in volts, (n,), by what has it; what is missing has none.
    """
    start, span = at.start, path.seconds
    yield "* The update path: its holds open, then the product is formed"
    yield f"V{TRACK} {TRACK} 0 PWL(0 1 {at.end:.12g} 1 {at.end + at.edge:.12g} 0)"
    if path.kind == "pulses":
        slots = int(path.card.pulses.slots or 1)
        slot = span / slots
        # Edges have their middles where they should be, so that pulses are as long as they should.
        edge, active = min(_EDGE * slot, at.edge), (1 - CLEAR) * slot
        back, stay, early = CLEAR / 4 * slot, active - edge, start - edge / 2
        over = start + span
        yield _pulse(ON, early, edge, span, edge)
        ends = f"{start:.12g} 0 {over:.12g} 1 {over + back:.12g} 0"
        yield f"V{ROW_RAMP} {ROW_RAMP} 0 PWL(0 0 {ends})"
        # The ramp goes back slowly enough to be followed, while no column may have a pulse.
        yield (
            f"V{COLUMN_RAMP} {COLUMN_RAMP} 0 PULSE(0 1 {start:.12g} {active:.12g} {back:.12g} "
            f"{back:.12g} {slot:.12g})"
        )
        yield (
            f"V{COLUMN_ON} {COLUMN_ON} 0 PULSE(0 1 {early:.12g} {edge:.12g} {edge:.12g} "
            f"{stay:.12g} {slot:.12g})"
        )
        # A step over the end of a pulse would be a pulse of another length: time points in between.
        tick = min(slot / _TICKS[0], span / _TICKS[1])
        yield (
            f"V{TICK} {TICK} 0 PULSE(0 1 {start:.12g} {tick:.12g} {tick:.12g} {tick:.12g} "
            f"{4 * tick:.12g})"
        )
    elif path.kind == "multiplier":
        row = path.card.multiplier.row_time or 0.0
        edge = _EDGE * row
        yield _pulse(ON, start, edge, span - 2 * edge, edge)
        for k, node in enumerate(numbered(SELECT, 0, max(path.inputs))):
            yield _pulse(node, start + k * row, edge, row - 2 * edge, edge)
    for name, (nodes, _) in noise_nodes(path).items():
        values = noise.get(name, np.zeros(len(nodes)))
        yield from (f"V{n} {n} 0 {float(v)!r}" for n, v in zip(nodes, values, strict=True))


def _pulse(node: str, start: float, rise: float, stay: float, fall: float) -> str:
    times = start, start + rise, start + rise + stay, start + rise + stay + fall
    points = " ".join(f"{t:.12g} {v}" for t, v in zip(times, (0, 1, 1, 0), strict=True))
    return f"V{node} {node} 0 PWL(0 0 {points})"


def drawn_noise(path: UpdatePath, noise: Noise | None, batch: int) -> list[dict[str, Array]]:
    """Voltages of the noise of each sample, by what has it.

    Args:
        path: the update path.
        noise: random numbers; None for none.
        batch: how many samples.
    """
    if noise is None:
        return [{} for _ in range(batch)]
    volts = {
        name: rms * noise(name, (batch, len(nodes))).numpy()
        for name, (nodes, rms) in noise_nodes(path).items()
    }
    return [{name: values[k] for name, values in volts.items()} for k in range(batch)]


def watched(path: UpdatePath) -> list[str]:
    """Nodes of a circuit that its update is read from.

    Args:
        path: the update path.
    """
    return [node for groups in _groups(path) for nodes in groups for node in nodes]


def _groups(path: UpdatePath) -> Iterator[tuple[list[str], list[str]]]:
    """Nodes of the columns and of the rows of each layer."""
    for i, layer in enumerate(path.layers, start=1):
        n, rows = layer.columns.size, path.inputs[i - 1]
        if path.kind == "pulses":
            yield numbered(COLUMN, i, n), numbered(ROW, i, rows)
        elif path.kind == "multiplier":
            yield numbered(PRODUCT, i, n), []
        else:
            pre = [] if layer.pre is None else numbered(PRE, i, layer.pre.size)
            yield numbered(POST, i, n), pre


def measured(
    path: UpdatePath, time: Array, signals: Mapping[str, Array], at: Moments
) -> list[Tensor]:
    """What the path's nodes of one run say, layer after layer.

    Args:
        path: the update path.
        time: of the run, (T,), in seconds.
        signals: voltages by node, (T,).
        at: when the path did what.

    Returns:
        Of pulses the share of time in which both coincide, (n_i, rows), signed; of multipliers
        their products at the ends of the rows' times, (n_i, rows), in volts; of a digital product
        held differences and activations, (n_i + n_{i-1},), in volts.
    """
    found = []
    after = time >= at.end + at.edge
    for columns, rows in _groups(path):
        post = np.stack([signals[node] for node in columns])
        if path.kind == "pulses":
            swing = path.card.pulses.swing or 1.0
            pre = np.stack([signals[node] for node in rows])[:, after] / swing
            t, post = time[after], post[:, after] / swing
            # Trapezoids, as the simulator takes them.
            both = post[:, None] * pre[None]
            weights = np.zeros_like(t)
            weights[:-1] += np.diff(t) / 2
            weights[1:] += np.diff(t) / 2
            found.append(torch.from_numpy(both @ weights / ((1 - CLEAR) * path.seconds)))
        elif path.kind == "multiplier":
            row = path.card.multiplier.row_time or 0.0
            # Before the next row is selected.
            ends = at.start + row * (np.arange(1, path.inputs[len(found)] + 1) - 2 * _EDGE)
            found.append(torch.from_numpy(np.stack([np.interp(ends, time, m) for m in post])))
        else:
            when = at.start + (path.card.digital.conversion_time or 0.0)
            values = [np.interp(when, time, signals[node]) for node in (*columns, *rows)]
            found.append(torch.tensor(values, dtype=torch.float64))
    return found


def products_of(
    path: UpdatePath, found: list[Tensor], x: Tensor, unit: float, noise: Noise | None
) -> list[Tensor]:
    """Products of layers 1..L, (batch, n_i, rows), in square volts, of what was measured.

    Args:
        path: the update path.
        found: what `measured` gave for each layer, of all samples, (batch, ...).
        x: inputs, (batch, n_0), dimensionless.
        unit: volts of an activation of 1.
        noise: random numbers; None for none.
    """
    products = []
    for i, (layer, values) in enumerate(zip(path.layers, found, strict=True), start=1):
        if path.kind == "pulses":
            products.append(path.difference * path.activation * values)
        elif path.kind == "multiplier":
            products.append(path.activation * converted(path, layer, values, noise))
        else:
            n = layer.columns.size
            pre = unit * x if layer.pre is None else values[:, n:]
            pre = torch.cat([pre, torch.full_like(pre[:, :1], unit)], dim=1)
            still = torch.zeros_like(pre[0])
            kept = Held(values[:, :n], torch.zeros(n, dtype=pre.dtype), pre, still)
            products.append(formed(path, i, kept, noise))
    return products
