"""The conductances of a chip's crossbars, by layer and seed.

The netlist, the behavioural and the static model read them here, from the same seed.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from analogdfc.circuit.design import Design
from analogdfc.circuit.streams import standard_normal

Crossbar = Literal["forward", "feedback"]
"""The crossbar of W with the bias in its last pair of rows, and that of Q."""

_LETTER = {"forward": "w", "feedback": "q"}


class Pair(NamedTuple):
    """Conductances of the differential pairs of a crossbar, (columns, inputs), in siemens.

    Attributes:
        plus: on the rows of the signals, whose weights are positive.
        minus: on the rows of the inverted signals.
    """

    plus: Tensor
    minus: Tensor


def conductances(design: Design, i: int, crossbar: Crossbar, seed: int | None) -> Pair:
    """Conductances of the forward or the feedback crossbar of layer i.

    G+ and G- = G_min + max(+-w, 0) G_u, on the card's levels and with its mismatch.

    Args:
        design: the design.
        i: layer, from 1.
        crossbar: which of the layer's two.
        seed: the chip's; None for nominal conductances.

    Returns:
        (n_i, n_{i-1} + 1) each for the forward, (n_i, n_L) for the feedback crossbar.
    """
    if crossbar == "forward":
        unit = design.weight_unit(i)
        matrix = torch.cat([design.weights[i - 1], design.biases[i - 1][:, None]], dim=1)
    else:
        unit, matrix = design.feedback_unit(i), design.feedback[i - 1]
    device, sides = design.card.device, []
    for sign, factor in (("+", 1), ("-", -1)):
        g = _programmed(design, (factor * matrix).clamp(min=0) * unit)
        if seed is not None and device.mismatch is not None:
            name = f"layer{i}.{_LETTER[crossbar]}{sign}"
            g = g * (1 + device.mismatch * standard_normal(seed, name, tuple(g.shape)))
        sides.append(g)
    return Pair(*sides)


def _programmed(design: Design, excess: Tensor) -> Tensor:
    """Nominal conductances, g_min + excess, on the nearest level where levels are few."""
    device = design.card.device
    if device.levels is None:
        return device.g_min + excess
    step = (device.g_max - device.g_min) / (device.levels - 1)
    return device.g_min + (excess / step).round() * step
