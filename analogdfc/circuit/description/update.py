"""The update path of a circuit: track-and-holds at the neurons, and what forms the product."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from analogdfc.circuit.description._builder import Builder
from analogdfc.updating import Holds, LayerPath, Lines, UpdatePath
from analogdfc.updating.elements import ACQUIRED

BOLTZMANN = 1.380649e-23


def describe_update(
    build: Builder, sizes: Sequence[int], *, double_sampling: bool
) -> UpdatePath | None:
    """The update path that the card has; None without one.

    Args:
        build: the elements so far.
        sizes: neurons of layers 0..L.
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
    return UpdatePath(build.card, kind, tuple(layers), tuple(n + 1 for n in sizes[:-1]))


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
