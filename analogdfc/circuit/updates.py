"""The update of a chip as its update path forms it, from the neurons' signals."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.streams import standard_normal
from analogdfc.dynamics import Readings, Update
from analogdfc.updating import Noise, Seen, formed, held

__all__ = ["path_noise", "read_update", "update_of"]


def path_noise(chip: Chip, x: Tensor) -> Noise | None:
    """Random numbers of a chip's update path for a batch; None of a nominal chip.

    They follow from the chip's seed and the inputs, so that every realisation has the same.

    Args:
        chip: the chip.
        x: inputs, (batch, n_0).
    """
    seed = chip.seed
    if seed is None:
        return None
    tag = zlib.crc32(x.detach().double().cpu().contiguous().numpy().tobytes())

    def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
        return standard_normal(seed, f"{name}.noise.{tag}", shape)

    return drawn


def read_update(
    chip: Chip,
    x: Tensor,
    free: Readings,
    last: Readings,
    *,
    seconds: float,
    before: tuple[Readings, float] | None = None,
) -> Update:
    """What the update path makes of a run.

    Args:
        chip: a chip with an update path.
        x: inputs, (batch, n_0), dimensionless.
        free: the neurons' signals in the free phase, each (batch, n_i).
        last: the same at the end of the controlled phase.
        seconds: length of the controlled phase.
        before: signals a while before the end, and how many seconds that is, for holds that
            follow with a lag; None where nothing moves any more.
    """
    path, unit = chip.circuit.update, chip.design.card.scale.activation
    assert path is not None
    noise = path_noise(chip, x)
    products = []
    for i in range(1, chip.design.depth + 1):
        end, start = (unit * (s.r[i - 1] - s.r_ff[i - 1]) for s in (last, free))
        pre = unit * (x if i == 1 else last.r[i - 2])
        slope, pre_slope = torch.zeros_like(end), torch.zeros_like(pre)
        if before is not None:
            earlier, gap = before
            slope = (end - unit * (earlier.r[i - 1] - earlier.r_ff[i - 1])) / gap
            if i > 1:
                pre_slope = (pre - unit * earlier.r[i - 2]) / gap
        seen = Seen(start, end, slope, pre, pre_slope)
        kept = held(path, i, seen, unit=unit, seconds=seconds, noise=noise)
        products.append(formed(path, i, kept, noise))
    return update_of(chip, products)


def update_of(chip: Chip, products: Sequence[Tensor]) -> Update:
    """The dimensionless update of products in square volts.

    Args:
        chip: the chip.
        products: of layers 1..L, (batch, n_i, rows), the bias last.
    """
    square = chip.design.card.scale.activation**2
    return Update(
        tuple(p[..., :-1] / square for p in products), tuple(p[..., -1] / square for p in products)
    )
