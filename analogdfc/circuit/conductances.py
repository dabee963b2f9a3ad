"""The conductances of a chip's crossbars, by layer and seed.

The netlist, the behavioural and the static model read them here, from the same seed.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from analogdfc.arrays.array import AnalogArray
from analogdfc.arrays.mapping import Fixed, Mapping, Split
from analogdfc.circuit.design import Design
from analogdfc.circuit.devices import Devices
from analogdfc.circuit.streams import standard_normal
from analogdfc.devices import Programmed
from analogdfc.devices.draws import Streams

Crossbar = Literal["forward", "feedback"]
"""The crossbar of W with the bias in its last pair of rows, and that of Q."""

OPEN = 1e-15
"""What an open device conducts, in siemens, so that it can be written as a resistor."""

_LETTER = {"forward": "w", "feedback": "q"}
_ARRAY = {"forward": "layer", "feedback": "feedback"}
"""How a seed's stream of a crossbar is called; the forward ones as in `AnalogNetwork`."""


class Pair(NamedTuple):
    """Conductances of the differential pairs of a crossbar, (columns, inputs), in siemens.

    Attributes:
        plus: on the rows of the signals, whose weights are positive.
        minus: on the rows of the inverted signals.
    """

    plus: Tensor
    minus: Tensor


def conductances(
    design: Design, i: int, crossbar: Crossbar, seed: int | None, matrix: Tensor | None = None
) -> Pair:
    """Conductances of the forward or the feedback crossbar of layer i.

    Without devices, G+ and G- = G_min + max(+-w, 0) G_u, on the card's levels and with its
    mismatch. With devices, they are those of an `AnalogArray` of that seed, at their age, with the
    noise of one read.

    Args:
        design: the design.
        i: layer, from 1.
        crossbar: which of the layer's two.
        seed: the chip's; None for nominal conductances, which lie on the levels.
        matrix: the weights that it holds, of its shape; by default the design's.

    Returns:
        (n_i, n_{i-1} + 1) each for the forward, (n_i, n_L) for the feedback crossbar.

    Raises:
        UserError: an age at which nothing is known of the devices, or a weight that they can't
            hold.
    """
    if matrix is None and crossbar == "forward":
        matrix = torch.cat([design.weights[i - 1], design.biases[i - 1][:, None]], dim=1)
    elif matrix is None:
        matrix = design.feedback[i - 1]
    if design.devices is not None:
        return _of_devices(design, design.devices, i, crossbar, seed, matrix)
    return _of_card(design, i, crossbar, seed, matrix)


def _of_devices(
    design: Design,
    devices: Devices,
    i: int,
    crossbar: Crossbar,
    seed: int | None,
    matrix: Tensor,
) -> Pair:
    """Conductances of an array that was programmed to the weights."""
    model, name = devices.model, f"{_ARRAY[crossbar]} {i}"
    if crossbar == "forward":
        mapping = Mapping(devices.scheme, Fixed(design.weight_limit(i)), bias_rows=0)
    else:
        mapping = Mapping(Split(), Fixed(design.feedback_limit(i)), bias_rows=0)
    layout = mapping.layout(matrix, None, model.window)
    target = layout.conductances(matrix)
    if seed is None:
        g = model.window.quantise(target)
    else:
        streams = Streams(torch.Generator().manual_seed(seed))
        array = AnalogArray(layout, model, target, streams[name])
        g = _read(array.devices, devices.age, Streams(streams[f"read {name}"]))
    plus, minus = g[0].clamp(min=OPEN)
    return Pair(plus, minus)


def _read(array: Programmed, age: float, streams: Streams) -> Tensor:
    """One read, whose kinds of noise have a stream each."""
    telegraph, traps = array.model.telegraph, None
    if telegraph is not None:
        shape, present = array.population.shape, array.population.trap
        traps = telegraph.start(shape, streams["telegraph noise"], present=present)
    return array.read(age, streams["read noise"], traps=traps)


def _of_card(design: Design, i: int, crossbar: Crossbar, seed: int | None, matrix: Tensor) -> Pair:
    """Conductances of the technology card, the same law for all devices."""
    unit = design.weight_unit(i) if crossbar == "forward" else design.feedback_unit(i)
    mismatch, sides = design.card.device.mismatch, []
    for sign, factor in (("+", 1), ("-", -1)):
        g = _on_levels(design, (factor * matrix).clamp(min=0) * unit)
        if seed is not None and mismatch is not None:
            name = f"layer{i}.{_LETTER[crossbar]}{sign}"
            g = g * (1 + mismatch * standard_normal(seed, name, tuple(g.shape)))
        sides.append(g)
    return Pair(*sides)


def _on_levels(design: Design, excess: Tensor) -> Tensor:
    """Nominal conductances, g_min + excess, on the nearest level where levels are few."""
    device = design.card.device
    if device.levels is None:
        return device.g_min + excess
    step = (device.g_max - device.g_min) / (device.levels - 1)
    return device.g_min + (excess / step).round() * step
