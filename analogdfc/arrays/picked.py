"""Some devices of an array: taken out, and put back in place."""

from __future__ import annotations

from dataclasses import replace
from typing import overload

import torch
from torch import Tensor

from analogdfc.arrays.mapping.layout import Layout
from analogdfc.devices import Programmed
from analogdfc.devices.faults import Stuck
from analogdfc.devices.pulses import PulsedDevices


def taken(tensor: Tensor, index: Tensor) -> Tensor:
    """Elements of a tensor, of the shape of the index; much faster than indexing.

    Args:
        tensor: of any shape.
        index: places in it, flattened, any shape.
    """
    return tensor.reshape(-1).index_select(0, index.view(-1)).view(index.shape)


@overload
def _at(tensor: Tensor, index: Tensor) -> Tensor: ...


@overload
def _at(tensor: None, index: Tensor) -> None: ...


def _at(tensor: Tensor | None, index: Tensor) -> Tensor | None:
    return None if tensor is None else taken(tensor, index)


def pulse_table(devices: Programmed) -> Tensor | None:
    """What pulses do to each device, a row a device, (devices, 6); None without pulses.

    Side by side in memory it costs one access to pick a device, not six.
    """
    pulsed = devices.population.pulsed
    if pulsed is None:
        return None
    return torch.stack([t.reshape(-1) for t in pulsed], dim=1)


def picked(devices: Programmed, index: Tensor, table: Tensor | None) -> Programmed:
    """The devices of an index, as an array of its shape.

    Args:
        devices: the array.
        index: places in the flattened array, any shape.
        table: from `pulse_table`.
    """
    whole = devices.population
    stuck = whole.stuck
    population = replace(
        whole,
        shape=tuple(index.shape),
        gain=_at(whole.gain, index),
        stuck=None if stuck is None else Stuck(_at(stuck.mask, index), _at(stuck.g, index)),
        trap=_at(whole.trap, index),
        pulsed=None if table is None else _pulsed_at(table, index),
    )
    return replace(
        devices,
        population=population,
        target=_at(devices.target, index),
        g=_at(devices.g, index),
        hidden=_at(devices.hidden, index),
        attempts=None,
        accepted=None,
    )


def _pulsed_at(table: Tensor, index: Tensor) -> PulsedDevices:
    rows = table.index_select(0, index.view(-1))
    return PulsedDevices(*(t.view(index.shape) for t in rows.T.contiguous()))


def copied(devices: Programmed) -> Programmed:
    """The same devices with states of their own; what doesn't change is shared."""
    hidden = None if devices.hidden is None else devices.hidden.clone()
    return replace(devices, g=devices.g.clone(), target=devices.target.clone(), hidden=hidden)


def overwrite(whole: Tensor, index: Tensor, part: Tensor) -> None:
    """Put numbers at places of a flattened tensor, in place."""
    whole.view(-1).index_copy_(0, index.view(-1), part.reshape(-1))


def put(devices: Programmed, index: Tensor, some: Programmed) -> None:
    """Write the states of picked devices back, in place."""
    for whole, part in ((devices.g, some.g), (devices.target, some.target)):
        overwrite(whole, index, part)
    if devices.hidden is not None and some.hidden is not None:
        overwrite(devices.hidden, index, some.hidden)


def devices_of(layout: Layout, weights: Tensor) -> Tensor:
    """Places of the devices of some weights, (slices, rails, 1, n).

    Args:
        layout: how the weights lie on the array.
        weights: places in the flattened (outputs, inputs + bias rows), (n,).
    """
    slices, rails, columns, inputs = layout.shape
    # Columns of references lie behind all outputs, so that an output's column has its number.
    first = weights.new_tensor(range(slices * rails)).view(slices, rails, 1, 1)
    return first * (columns * inputs) + weights
