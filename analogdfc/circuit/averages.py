"""The update of chips, from their states as they are integrated: averaged, and watched settling."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.dynamics import Update
from analogdfc.dynamics.esdirk import Piece
from analogdfc.errors import UserError
from analogdfc.measures import angle

_CHECKS = 16
"""Times within a window at which the update is looked at."""

_NEGLIGIBLE = 1e-6
"""Update of a layer, over that of the layer with the largest, that isn't waited for."""

_WINDOWS = 1e5
"""Bound on the windows of a run, each of which is looked at several times."""

_SLOWEST = 0.99
"""Largest ratio of the changes in two windows that is believed in what is still to come."""

_GAUSS = 5
"""Points within a step; exact for products of two signals, which are polynomials of degree 4."""


@dataclass(frozen=True)
class Until:
    """When an update has settled, so that a run may end.

    What counts is the update at a moment, (r - r_ff) r_below^T of all samples, less its value in
    the free phase where the chip subtracts that. It has settled when no layer's has changed over a
    window by more than the tolerance of its size, and none would change by more from then on, if
    changes go on to shrink as they did from the window before.

    Attributes:
        tolerance: largest change, as a fraction of the layer's update; > 0.
        window: in units of the controller's time; by default the longest time constant of the
            algorithm, tau_u or tau_v.

    Raises:
        UserError: a tolerance or a window that isn't positive.
    """

    tolerance: float = 1e-3
    window: float | None = None

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise UserError(f"tolerance = {self.tolerance}: it must be > 0")
        if self.window is not None and not self.window > 0:
            raise UserError(f"window = {self.window}: it must be > 0")


@dataclass(frozen=True)
class Ending:
    """When a run has ended, and why.

    Attributes:
        time: length of the run, in units of the controller's time.
        settled: whether the update had settled; else the time was over.
        change: what was left to settle at the end, as a fraction of the layer's update: the
            larger of the change over the last window and of what would follow; of the layer and
            the chip with the most.
        tolerance: what was allowed.
        window: time over which changes were looked at, in units of the controller's time.
    """

    time: float
    settled: bool
    change: float
    tolerance: float
    window: float

    def __str__(self) -> str:
        """The criterion, and whether it was met."""
        allowed = f"{100 * self.tolerance:.3g} %"
        units = "units of the controller's time"
        if self.settled:
            return (
                f"the update had settled after {self.time:.4g} {units}: that of no layer had "
                f"changed, nor would change, by more than {allowed} over {self.window:.3g} of them"
            )
        return (
            f"the update has not settled within {self.time:.4g} {units}: that of a layer still "
            f"changes by {100 * self.change:.3g} %, and {allowed} is allowed"
        )


@dataclass(frozen=True)
class Rounding:
    """What single precision does to an update, measured on one sample of one chip.

    It is how far the update of the first sample of the first chip is from that of a run in double
    precision whose steps may err by as much.

    Attributes:
        error: norm of the difference over the norm of the update in double precision.
        angle: between the two, in degrees.
    """

    error: float
    angle: float

    @classmethod
    def of(cls, single: Update, double: Update) -> Rounding:
        """Of the first sample of two updates.

        Args:
            single: in single precision.
            double: in double precision.
        """
        a, b = (
            torch.cat([t[0].flatten() for t in (*u.weights, *u.biases)]) for u in (single, double)
        )
        return cls(float((a - b).norm() / b.norm()), angle(b, a))


class Reader:
    """What the layers of chips learn from, read from their states.

    Args:
        chips: of one shape.
        x: inputs, (batch, n_0), dimensionless.
        sizes: how many outputs of each bank the states have, in their order.
        free: output voltages of these banks in the free phase, (chips, batch, columns).
    """

    def __init__(
        self, chips: Sequence[Chip], x: Tensor, sizes: Mapping[str, int], free: Tensor
    ) -> None:
        self.chips, self.x, self.sizes = chips, x, sizes
        units = [chip.design.card.scale.activation for chip in chips]
        sampled = [float(chip.design.readout.double_sampling) for chip in chips]
        self._unit, on = (x.new_tensor(n)[:, None, None, None] for n in (units, sampled))
        self._free = [on * (r - r_ff) for r, r_ff in self._read(free.unsqueeze(0))]

    def volts(self, states: Tensor) -> dict[str, Tensor]:
        """States by bank.

        Args:
            states: (..., columns).
        """
        parts = torch.split(states, list(self.sizes.values()), dim=-1)
        return dict(zip(self.sizes, parts, strict=True))

    def _read(self, states: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each layer r and r_ff, (chips, batch, times, n_i)."""
        volts = self.volts(states.permute(1, 2, 0, 3))
        for layer in self.chips[0].circuit.layers:
            r, r_ff = (volts[tap.bank] * (tap.sign / self._unit) for tap in (layer.r, layer.r_ff))
            yield r, r_ff

    def learned(self, states: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each layer the difference r - r_ff, less that of the free phase, and what is below.

        Args:
            states: (times, chips, batch, columns), in volts.

        Yields:
            (chips, batch, times, n_i) and (chips, batch, times, n_{i-1}); of layer 1 the second is
            the input, of one time only.
        """
        below = self.x[:, None].expand(len(self.chips), -1, -1, -1)
        for (r, r_ff), free in zip(self._read(states), self._free, strict=True):
            yield r - r_ff - free, below
            below = r


class UpdateSum:
    """A weighted sum of the updates at moments of a run.

    Args:
        reader: reads them.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader, x, chips = reader, reader.x, len(reader.chips)
        sizes = reader.chips[0].design.sizes
        self._biases = [x.new_zeros(chips, len(x), n) for n in sizes[1:]]
        # Layer 1 sees a constant input and needs the sum of its differences only.
        shapes = zip(sizes[2:], sizes[1:], strict=False)
        self._weights = [x.new_zeros(chips, len(x), *shape) for shape in shapes]

    def add(self, states: Tensor, weights: Tensor) -> None:
        """Add the updates at some moments.

        Args:
            states: (times, chips, batch, columns).
            weights: of the moments, (times,).
        """
        for i, (post, pre) in enumerate(self._reader.learned(states)):
            post = post * weights[:, None]
            self._biases[i] += post.sum(dim=2)
            if i > 0:
                into = self._weights[i - 1].flatten(0, 1)
                into.baddbmm_(post.flatten(0, 1).mT, pre.flatten(0, 1))

    def over(self, total: float) -> list[Update]:
        """The sums over a number, one update a chip.

        Args:
            total: sum of all weights.
        """
        found = []
        for c in range(len(self._reader.chips)):
            biases = tuple(b[c] / total for b in self._biases)
            first = biases[0].unsqueeze(2) * self._reader.x.unsqueeze(1)
            found.append(Update((first, *(w[c] / total for w in self._weights)), biases))
        return found


def gauss(piece: Piece, until: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points in a step, as parts of it, and their weights, which add up to its length.

    Args:
        piece: the step.
        until: part of it up to which it counts.

    Returns:
        The parts, and weights in the step's own unit of time.
    """
    at, weights = np.polynomial.legendre.leggauss(_GAUSS)
    return until * (1 + at) / 2, until * (piece.end - piece.begin) * weights / 2


class Watch:
    """Watches the updates of chips, step after step, until all have settled.

    Args:
        until: when they have.
        reader: reads them.
        duration: longest time of the run, in units of the controller's time.

    Attributes:
        checks: parts of the run after each of which the updates are looked at.
        number: how many have passed.

    Raises:
        UserError: a window that the run is too short for, or has too many of.
    """

    def __init__(self, until: Until, reader: Reader, duration: float) -> None:
        design = reader.chips[0].design
        window = until.window or design.pace[1] / design.seconds
        if not 2 * window <= duration * (1 + 1e-9):
            raise UserError(
                f"a run of {duration:g} units of the controller's time has no two windows of "
                f"{window:g}, over which an update could be seen to settle: run for longer"
            )
        if duration > _WINDOWS * window:
            raise UserError(
                f"window = {window:g}: a run of {duration:g} units of the controller's time has "
                f"more than {_WINDOWS:g} of them; take a longer one"
            )
        self.until, self._reader, self._duration = until, reader, duration
        self.checks = math.floor(_CHECKS * duration / window * (1 + 1e-9))
        self.number, self.change = 0, math.inf
        # What each layer learned from at the last times, and its changes then.
        self._seen: deque[list[tuple[Tensor, Tensor]]] = deque(maxlen=_CHECKS + 1)
        self._changes: deque[Tensor] = deque(maxlen=_CHECKS + 1)

    def settled(self, piece: Piece) -> bool:
        """Whether the updates have settled within a step; then `number` says when.

        Args:
            piece: the step.
        """
        numbers = piece.among(self.checks)
        if not numbers:
            return False
        states = piece.at(numbers, self.checks)
        for k, self.number in enumerate(numbers):
            self._seen.append(list(self._reader.learned(states[k : k + 1])))
            if len(self._seen) > _CHECKS:
                self._changes.append(self._changed())
            if len(self._changes) > _CHECKS:
                self.change = self._left()
                if self.change <= self.until.tolerance:
                    return True
        return False

    def ending(self) -> Ending:
        """How the run has ended."""
        spacing = self._duration / self.checks
        settled = self.change <= self.until.tolerance
        return Ending(
            self.number * spacing, settled, self.change, self.until.tolerance, _CHECKS * spacing
        )

    def _left(self) -> float:
        """What is left to settle: the largest change of a layer, or what would follow it."""
        now, before = self._changes[-1], self._changes[0]
        ratio = (now / before).clamp(max=_SLOWEST)
        return float(torch.maximum(now, now * ratio / (1 - ratio)).nan_to_num(math.inf).max())

    def _changed(self) -> Tensor:
        """Largest change of each layer over the last window, over its size; (layers, chips)."""
        changes, sizes = [], []
        for layer in zip(*self._seen, strict=True):
            post, pre = (torch.cat(signals, dim=2) for signals in zip(*layer, strict=True))
            # The bias sees a 1.
            active = (pre.square().sum(dim=3) + 1).sqrt()
            push = post.norm(dim=3)
            # U - U' = (d - d') r^T + d' (r - r')^T, without the difference of two large numbers.
            moved = (post - post[:, :, -1:]).norm(dim=3) * active[:, :, -1:]
            moved = moved + push * (pre - pre[:, :, -1:]).norm(dim=3)
            changes.append(moved.norm(dim=1).amax(dim=1))
            sizes.append((push[:, :, -1] * active[:, :, -1]).norm(dim=1))
        size = torch.stack(sizes)
        least = _NEGLIGIBLE * size.amax(dim=0)
        return torch.stack(changes) / torch.maximum(size, least)
