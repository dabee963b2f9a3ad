"""The record of a run: the signals of chips at evenly spaced times, written step by step."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.probes import Signal, scaled, signals, trajectory
from analogdfc.dynamics import Trajectory
from analogdfc.dynamics.esdirk import Piece
from analogdfc.dynamics.tableau import weights_inside
from analogdfc.products import multiplied

__all__ = ["Waveforms"]


class Waveforms:
    """Signals of chips of one shape.

    Each step's stages are scaled, and the polynomial through them is written where it stays, so
    that a record costs the memory that it fills once.

    Args:
        chips: the chips.
        sizes: how many outputs of each bank the states have, in their order.
        free: output voltages of these banks in the free phase, (chips, batch, columns).
        times: of the record.

    Attributes:
        written: how many times have been written.
    """

    def __init__(
        self, chips: Sequence[Chip], sizes: Mapping[str, int], free: Tensor, times: int
    ) -> None:
        self._chips, self._free = chips, free
        self._sizes = sizes
        self.written = 0
        found = signals(chips[0].circuit)
        starts = dict(zip(sizes, itertools.accumulate(sizes.values(), initial=0), strict=False))
        widths = [sizes[s.tap.bank] for s in found]
        # The columns of each signal; a bank may have several.
        columns = [np.arange(n) + starts[s.tap.bank] for s, n in zip(found, widths, strict=True)]
        self._columns = torch.from_numpy(np.concatenate(columns)).to(free.device)
        factors = [np.repeat([s.per_volt(chip) for s in found], widths) for chip in chips]
        self._factors = torch.from_numpy(np.stack(factors)).to(free)[:, :, None]
        ends = itertools.pairwise(itertools.accumulate(widths, initial=0))
        self._waves: dict[Signal, tuple[slice, Tensor]] = {
            s: (slice(*end), _empty((*free.shape[:2], times, n), free))
            for s, end, n in zip(found, ends, widths, strict=True)
        }

    def write(self, piece: Piece, numbers: range, count: int) -> None:
        """Write the times k / count of a run that lie within a step.

        Args:
            piece: the step.
            numbers: the k, which go on from those that were written before.
            count: how many parts the run is divided into.
        """
        weights = torch.from_numpy(weights_inside(piece.parts(numbers, count))).to(self._free)
        stages = piece.stages.index_select(2, piece.shown[self._columns]).to(self._free)
        values = (stages * self._factors).permute(1, 3, 0, 2).contiguous()
        for where, wave in self._waves.values():
            out = wave[:, :, numbers.start : numbers.stop]
            multiplied(weights, values[..., where], out=out)
        self.written = numbers.stop

    def trajectories(self, x: Tensor, dt: float) -> list[Trajectory]:
        """What has been written, one trajectory a chip.

        Args:
            x: inputs, (batch, n_0), dimensionless.
            dt: distance of the times, in units of the controller's time.
        """
        done = self.written
        t = torch.arange(done, dtype=self._free.dtype, device=self._free.device) * dt
        banks = torch.split(self._free, list(self._sizes.values()), dim=-1)
        free = dict(zip(self._sizes, banks, strict=True))
        return [
            trajectory(
                chip,
                t,
                x,
                {signal: wave[c, :, :done] for signal, (_, wave) in self._waves.items()},
                scaled(chip, {name: volts[c] for name, volts in free.items()}),
            )
            for c, chip in enumerate(self._chips)
        ]


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Memory for a waveform, of the type and on the device of another tensor."""
    if like.device.type != "cpu":
        return like.new_empty(shape)
    # NumPy asks for large pages, which cost a third of the time when they are first written to.
    return torch.from_numpy(np.empty(shape, dtype=like.numpy().dtype))
