"""How a change of weights becomes whole numbers of steps, device by device or by pulse trains."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from analogdfc.devices.draws import uniform


def _uniform(like: Tensor, generator: torch.Generator, out: Tensor | None = None) -> Tensor:
    """Numbers uniform in 0 <= u < 1, of the shape of another tensor.

    On the CPU NumPy draws them, from a seed that the generator gives, in half the time.

    Args:
        like: what they shall be like.
        generator: source of the numbers.
        out: memory for them, contiguous and like `like`; else they get their own.
    """
    if like.device.type != "cpu" or like.dtype != torch.float64:
        return uniform(like.shape, generator, dtype=like.dtype, device=like.device)
    seed = int(torch.randint(2**62, (1,), generator=generator).item())
    out = torch.empty(like.shape, dtype=like.dtype) if out is None else out
    np.random.Generator(np.random.SFC64(seed)).random(out=out.numpy())
    return out


def nonzero(steps: Tensor) -> Tensor:
    """Columns of (rows, n) that hold a number other than 0, (k,)."""
    hit = steps[0] if len(steps) == 1 else (steps != 0).any(dim=0)
    if hit.device.type != "cpu":
        return hit.nonzero().view(-1)
    return torch.from_numpy(np.flatnonzero(hit.numpy() != 0))  # faster than in torch


class Rounding(ABC):
    """How a change of the weights becomes a whole number of steps."""

    @abstractmethod
    def steps(
        self, change: Tensor, left: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Whole steps.

        Args:
            change: wanted change, in steps, any shape.
            left: what earlier calls have left over, in steps, of the same shape.
            generator: source of random numbers.

        Returns:
            Steps, in whole numbers, and what is left over for the next call.
        """

    def some(
        self, change: Tensor, left: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same for the few weights that step; the arguments are those of `steps`.

        Args:
            change: (slices, outputs, inputs).
            left: (slices, outputs, inputs); it may be overwritten.
            generator: source of random numbers.

        Returns:
            Which weights step in any slice, as places in the flattened (outputs, inputs), (k,),
            their steps, (slices, k), and what is left over.
        """
        whole, left = self.steps(change, left, generator)
        whole = whole.flatten(1)
        which = nonzero(whole)
        return which, whole[:, which], left


class Stochastic(Rounding):
    """Up or down at random, so that the mean is the wanted change."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def steps(
        self, change: Tensor, left: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The whole part, and one more with the probability of the rest."""
        drawn = _uniform(change, generator)
        return drawn.add_(change).floor_(), left

    def some(
        self, change: Tensor, left: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same, in memory that is kept: fresh memory costs as much as what is done in it."""
        memory = self._memory
        if memory is None or memory.shape != change.shape or memory.device != change.device:
            self._memory = memory = torch.empty_like(change).contiguous()
        whole = _uniform(change, generator, memory).add_(change).floor_().flatten(1)
        which = nonzero(whole)
        return which, whole[:, which], left


class Deterministic(Rounding):
    """To the nearest; a change of less than half a step is lost."""

    def steps(
        self, change: Tensor, left: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The nearest whole number."""
        return change.round(), left


class MixedPrecision(Rounding):
    """A digital accumulator keeps what is less than a step (Nandakumar et al. 2020)."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def steps(
        self, change: Tensor, left: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The whole part of the sum; the rest stays."""
        total = left + change
        whole = total.trunc()
        return whole, total.sub_(whole)

    def some(
        self, change: Tensor, left: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The whole parts where there are any: the accumulator is updated in place."""
        total = left.add_(change).view(len(left), -1)
        if self._memory is None or self._memory.shape != total.shape:
            self._memory = torch.empty_like(total)
        # Whole steps are what is not 0 when the part behind the point is cut off.
        which = nonzero(torch.trunc(total, out=self._memory))
        whole = total[:, which].trunc()
        total[:, which] -= whole
        return which, whole, left


class Coincidence(Rounding):
    """Random pulse trains on rows and columns; a device steps where two pulses meet.

    The change is a sum of outer products sigma_k u_k v_k^T, its singular value decomposition, of
    which a batch has at most as many as samples. For each, a row sends pulses with the probability
    |u_k| and a column with |v_k|, scaled such that their product over the train has the mean
    sigma_k |u_k| |v_k|, the signs being known to the drivers (Gokmen and Vlasov 2016). Trains are
    as long as needed for no probability to exceed 1.
    """

    least = 31
    """Pulses of a train, at least."""

    def steps(
        self, change: Tensor, left: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Coincidences, with their signs."""
        u, sigma, vt = torch.linalg.svd(change, full_matrices=False)
        u, v = u.mT, vt  # one outer product a row, (..., k, n)
        rows, columns = (t.abs().amax(dim=-1, keepdim=True).clamp(min=1e-300) for t in (u, v))
        peak = sigma.unsqueeze(-1) * rows * columns
        length = max(self.least, math.ceil(float(peak.max())))
        both = (peak / length).sqrt()  # probability of the busiest row and column
        one = self._train(both * u.abs() / rows, length, generator, row=True)
        other = self._train(both * v.abs() / columns, length, generator, row=False)
        one, other = one * u.sign().unsqueeze(-2), other * v.sign().unsqueeze(-2)
        met = torch.einsum("...kbn,...kbm->...nm", one, other)
        return met, left

    def _train(
        self, probability: Tensor, length: int, generator: torch.Generator, *, row: bool
    ) -> Tensor:
        """Pulses, 0 or 1, (..., k, length, n)."""
        shape = (*probability.shape[:-1], length, probability.shape[-1])
        kind, device = probability.dtype, probability.device
        drawn = uniform(shape, generator, dtype=kind, device=device)
        return (drawn < probability.unsqueeze(-2)).to(kind)


class DeterministicCoincidence(Coincidence):
    """The same with fixed trains: rows pulse early, columns at times spread in binary order.

    The number of coincidences then differs from the wanted change by some log2 of the length at
    most, always in the same way.
    """

    def _train(
        self, probability: Tensor, length: int, generator: torch.Generator, *, row: bool
    ) -> Tensor:
        """Pulses, 0 or 1, (..., k, length, n)."""
        times = range(length)
        if row:
            order = [(t + 0.5) / length for t in times]
        else:
            # Van der Corput's sequence: the bits of t behind the point, in reverse.
            bits = max(1, (length - 1).bit_length())
            order = [(int(f"{t:0{bits}b}"[::-1], 2) + 0.5) / 2**bits for t in times]
        when = torch.tensor(order, dtype=probability.dtype, device=probability.device)
        return (when.unsqueeze(-1) < probability.unsqueeze(-2)).to(probability.dtype)
