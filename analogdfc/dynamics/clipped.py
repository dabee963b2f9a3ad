"""Samples in which a few channels have left their deadzone, such as amplifiers at a rail.

Their slope there is steep, so that substitution with a factor that doesn't know it leads away. A
factor of its own for such a sample would cost what the whole batch does; but the few channels
are a change of few columns, whose responses the shared factor gives:

    dy = F + R_S D_S dy_S,    dy_S = (1 - R_SS D_S)^-1 F_S,

with F what substitution would change, D the slopes beyond those of the factor, R the response of
the channels' inputs to what the channels add, and S the channels outside their deadzone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.dynamics.channels import Nonlinear
from analogdfc.dynamics.factor import Factor
from analogdfc.dynamics.linalg import inverse
from analogdfc.errors import ConvergenceError
from analogdfc.products import multiplied

_ITERATIONS = 12

_MOST = 64
"""Channels with other slopes beyond which a factor a sample is as good."""


class Beyond(NamedTuple):
    """Slopes of deadzones beyond those of the straight lines, and what they change.

    Attributes:
        chosen: which deadzones have other slopes in some samples, S of them.
        slopes: how much steeper they are, D_S, (chips, S, batch).
        inner: inverses of 1 - R_SS D_S, (chips, batch, S, S).
        response: R_S of all places to them, (chips, places, S).
    """

    chosen: Tensor
    slopes: Tensor
    inner: Tensor
    response: Tensor

    def added(self, change: Tensor) -> Tensor:
        """What the slopes add to the rows, D_S dy_S, (chips, S, batch).

        Args:
            change: of the deadzones' inputs by substitution, F, (chips, deadzones, batch).
        """
        here = change.index_select(1, self.chosen).mT.unsqueeze(-1).contiguous()
        return self.slopes * multiplied(self.inner, here).squeeze(-1).mT


class Clipped:
    """The equations P z - beta N(z) = r of such samples.

    Args:
        factor: of P less the channels' straight lines.
        beta: what the channels are multiplied by.
        channels: N.
        reference: slopes of the straight lines, (chips, m, 1).
        places: whose responses are wanted, in grouped order; first of them what channels read.
    """

    def __init__(
        self, factor: Factor, beta: float, channels: Nonlinear, reference: Tensor, places: Tensor
    ) -> None:
        self._factor, self._beta, self._channels = factor, beta, channels
        self._reference, self._places = reference, places
        self._deadzones = channels.deadzones()
        self._rows = channels.rows()[self._deadzones]
        self._straight = reference[:, self._deadzones]
        self._known: dict[int, Tensor] = {}
        self._last: tuple[Tensor, Beyond | None] | None = None

    def solve(self, right: Tensor, guess: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
        """Solutions z, (chips, n, batch), and in which samples they are, (chips, batch).

        Args:
            right: r, (chips, n, batch).
            guess: of the channels' inputs, (chips, m, batch).
            tolerance: largest change of such an input at which a sample has arrived.
        """
        channels, y = self._channels, guess
        z = right
        arrived = torch.zeros(len(right), right.shape[-1], dtype=torch.bool, device=right.device)
        for _ in range(_ITERATIONS):
            beyond = self.beyond(channels.outside(y))
            if beyond is None:
                break
            rests = channels.rests(y, self._reference)
            z = self._factor.solve(channels.add_to(right.clone(), rests, self._beta))
            change = channels.inputs(z) - y
            added = beyond.added(change[:, self._deadzones])
            change = change + multiplied(beyond.response[:, : len(channels.source)], added)
            y = y + change
            # The z of this iteration is as far off as y was; the change says how far.
            arrived = change.abs().amax(dim=1) < tolerance
            if bool(arrived.all()):
                break
        return z, arrived

    def beyond(self, outside: Tensor) -> Beyond | None:
        """What the slopes are beyond the straight lines; None for too many, or without an answer.

        Args:
            outside: which deadzones have been left, (chips, deadzones, batch).
        """
        if self._last is None or not torch.equal(self._last[0], outside):
            self._last = outside, self._made(outside)
        return self._last[1]

    def _made(self, outside: Tensor) -> Beyond | None:
        steep = self._channels.steep()
        slopes = torch.where(outside, steep, torch.zeros_like(steep)) - self._straight
        chosen = (slopes != 0).any(dim=2).any(dim=0).nonzero()[:, 0]
        if len(chosen) > _MOST:
            return None
        slopes = slopes.index_select(1, chosen)
        response = self._responses(chosen.tolist())
        own = response[:, self._deadzones[chosen]]
        eye = torch.eye(len(chosen), dtype=slopes.dtype, device=slopes.device)
        try:
            # (chips, batch, S, S): each sample has its own slopes.
            inner = inverse(eye - own[:, None] * slopes.mT[:, :, None])
        except ConvergenceError:
            return None
        return Beyond(chosen, slopes, inner, response)

    def _responses(self, chosen: list[int]) -> Tensor:
        """Responses of the places to deadzones, (chips, places, chosen)."""
        new = [c for c in chosen if c not in self._known]
        if new:
            chips, n = len(self._reference), self._channels.layout.starts[-1]
            unit = self._reference.new_zeros(chips, n, len(new))
            unit[:, self._rows[new], range(len(new))] = self._beta
            found = self._factor.solve(unit).index_select(1, self._places)
            self._known |= dict(zip(new, found.unbind(dim=2), strict=True))
        if not chosen:
            return self._reference.new_zeros(len(self._reference), len(self._places), 0)
        return torch.stack([self._known[c] for c in chosen], dim=2)
