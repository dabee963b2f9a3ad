"""Names of the nodes of an update path in a netlist: one place for cells, testbench and readout."""

from __future__ import annotations

from analogdfc.updating.elements import UpdatePath

TRACK, ON, ROW_RAMP, COLUMN_RAMP, COLUMN_ON = "utrk", "uon", "urr", "ucr", "uce"
"""1 V while the controlled phase is tracked; while the product is formed; ramps of rows and of
columns; 1 V where columns may have a pulse."""

TICK = "utick"
"""Makes time points while pulses are formed, and drives nothing."""

FREE, POST, PRE = "uf{i}_{{k}}", "up{i}_{{k}}", "ur{i}_{{k}}"
"""Held differences of the free and of the controlled phase, and activations."""

COLUMN, ROW, PRODUCT, BUS, SELECT = "uc{i}_{{k}}", "ul{i}_{{k}}", "um{i}_{{k}}", "ub{i}", "us{{k}}"
"""Pulses of columns and rows; products of multipliers, their bus, and what selects a row."""


def noisy(node: str) -> str:
    """Node of the noise of what has a node.

    Args:
        node: its name, or the pattern of it.
    """
    return f"n{node}"


def numbered(pattern: str, i: int, n: int) -> list[str]:
    """Names of a layer's nodes.

    Args:
        pattern: one of this module.
        i: number of the layer, 1 to L.
        n: how many.
    """
    return [pattern.format(i=i).format(k=k) for k in range(1, n + 1)]


def noise_nodes(path: UpdatePath) -> dict[str, tuple[list[str], float]]:
    """Nodes of the noise by the name of what has it, with its rms in volts.

    Args:
        path: the update path.
    """
    found: dict[str, tuple[list[str], float]] = {}
    rms = path.card.pulses.noise if path.kind == "pulses" else None
    for i, layer in enumerate(path.layers, start=1):
        held = ((layer.free, FREE), (layer.post, POST), (layer.pre, PRE))
        for hold, pattern in held:
            if hold is not None and hold.rms:
                found[hold.name] = list(map(noisy, numbered(pattern, i, hold.size))), hold.rms
        if rms:
            for lines, pattern in ((layer.columns, COLUMN), (layer.rows, ROW)):
                found[lines.name] = list(map(noisy, numbered(pattern, i, lines.size))), rms
    return found
