"""Substitution in the equations of coupled cells: what it works on, and whether it comes nearer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from analogdfc.dynamics.channels import Kind, Nonlinear
from analogdfc.dynamics.factor import Factor

__all__ = ["SLOW", "SUBSTITUTIONS", "Group", "Pace", "largest"]

SLOW = 0.5
"""Contraction an iteration beyond which substitution is given up, after the first few."""

SUBSTITUTIONS = 16
"""Most iterations."""

_FEW = 4

_CAUTION = 0.8
"""Power of the contraction that was seen in other equations of the same factor."""

_FAST = 0.01
"""Least contraction that is believed: that of a few changes may be less than those to come."""


def largest(values: Tensor) -> float:
    """Largest magnitude of values; 0 of none."""
    return float(values.abs().max()) if values.numel() else 0.0


class Pace:
    """Whether substitution comes nearer, and in which samples it doesn't.

    Args:
        chips: number of chips.
        tolerance: largest change at which a sample has arrived; that which is still to come, where
            none is lost.
        lost: samples that don't count, (chips, batch).
        rate: contraction an iteration that is expected; None where changes tell nothing of those
            to come, since a limit may be left or reached on the way.

    Attributes:
        rate: the last contraction that was seen.
        lost: those, and the samples that were given up or haven't arrived; None where all have.
    """

    def __init__(
        self, chips: int, tolerance: float, lost: Tensor | None, rate: float | None
    ) -> None:
        self.lost, self.rate = lost, rate
        self._chips, self._tolerance = chips, tolerance
        self._moved: Sequence[Tensor] = ()
        self._before = torch.inf

    def goes_on(self, k: int, moved: Sequence[Tensor]) -> bool:
        """Whether another iteration is worth it.

        Args:
            k: number of this iteration, from 0.
            moved: what it has changed, (chips * cells, inputs, batch) of each group.
        """
        last, self._moved = self._moved, moved
        at_most = 1.0 if k < _FEW else SLOW
        end = k == SUBSTITUTIONS - 1
        if self.lost is None:
            # The usual way: one number for all samples.
            change, before = max(map(largest, moved)), self._before
            if self._arrived(k, change):
                return False
            if not end and change < at_most * before:
                self._before = change
                return True
        each = self._each(moved)
        left = ~(each < self._tolerance)
        slow = left if end else left & ~(each < at_most * self._each(last or moved))
        self.lost = slow if self.lost is None else self.lost | slow
        return bool((left & ~self.lost).any())

    def _arrived(self, k: int, change: float) -> bool:
        """Whether the changes that are still to come add up to less than the tolerance."""
        if self.rate is None:
            return change < self._tolerance
        if k:
            self.rate = change / self._before
        # As in Hairer and Wanner, Solving Ordinary Differential Equations II, section IV.8.
        rate = max(self.rate if k else self.rate**_CAUTION, _FAST)
        share = rate / (1 - rate) if rate < SLOW else 1.0
        return share * change < self._tolerance

    def kept(self, before: Tensor, now: Tensor) -> Tensor:
        """What an iteration leads to, (chips * cells, inputs, batch); lost samples stay."""
        if self.lost is None:
            return now
        cells = len(now) // self._chips
        return torch.where(self.lost.repeat_interleave(cells, 0)[:, None], before, now)

    def _each(self, moved: Sequence[Tensor]) -> Tensor:
        """Largest change of each sample, (chips, batch)."""
        parts = [m.abs().reshape(self._chips, -1, m.shape[-1]) for m in moved if m.numel()]
        return torch.cat(parts, dim=1).amax(dim=1)


class Group:
    """What substitution needs of the cells of a group, for some kinds of channels.

    Attributes:
        kinds: numbers of the kinds.
        inputs: how many inputs a cell has.
        felt: places within a cell of the inputs, then of the ports.
        own: these from what the channels add to the rows, (cells, felt, inputs).
        whole: the same for all unknowns.
        response: to currents at the ports, of the inputs, and of the ports if they are sought too.
        widths: inputs of each kind.
    """

    def __init__(
        self,
        factor: Factor,
        beta: float,
        channels: Nonlinear,
        reference: Tensor,
        group: int,
        busy: list[bool],
    ) -> None:
        pairs = enumerate(zip(channels.kinds, busy, strict=True))
        self.group = group
        self.kinds = [k for k, (kind, on) in pairs if kind.group == group and on]
        chosen = [channels.kinds[k] for k in self.kinds]
        device = factor.inverses[group].device
        none = torch.zeros(0, dtype=torch.int64, device=device)
        source = torch.cat([none, *(kind.source for kind in chosen)])
        row = torch.cat([none, *(kind.row for kind in chosen)])
        self.inputs = len(source)
        self.felt = torch.cat([source, factor.ports[group]])
        self.whole = (beta * factor.inverses[group][:, :, row]).contiguous()
        self.own = self.whole[:, self.felt].contiguous()
        sought = source if factor.sweeps is None else self.felt
        self.response = factor.responses[group][:, sought].contiguous()
        slopes = channels.split(reference)
        self._parts: list[tuple[Kind, Tensor]] = []
        for k in self.kinds:
            kind = channels.kinds[k]
            self._parts.append((kind, slopes[k].flatten(0, 1)))
        self.widths = [kind.gain.shape[2] for kind in chosen]

    def joined(self, parts: Sequence[Tensor], cells: int, like: Tensor) -> Tensor:
        """Inputs by kinds as one, (chips * cells, inputs, batch).

        Args:
            parts: the inputs of each kind.
            cells: chips * cells.
            like: of the same type and batch.
        """
        if not parts:
            return like.new_empty(cells, 0, like.shape[-1])
        return torch.cat([part.flatten(0, 1) for part in parts], dim=1)

    def rest(self, y: Tensor) -> Tensor:
        """What the straight lines leave of the channels, (chips * cells, inputs, batch)."""
        out = []
        for (kind, slopes), part in zip(
            self._parts, torch.split(y, self.widths, dim=1), strict=True
        ):
            value = kind.value(part.reshape(*kind.gain.shape[:3], -1)).flatten(0, 1)
            out.append(value.addcmul_(part, slopes, value=-1))
        return out[0] if len(out) == 1 else torch.cat([y[:, :0], *out], dim=1)
