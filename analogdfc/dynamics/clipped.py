"""Samples in which a few channels have left their deadzone, such as amplifiers at a rail.

Their slope there is steep, so that substitution with a factor that doesn't know it leads away. A
factor of its own for such a sample would cost what the whole batch does; but the few channels
are a change of few columns, whose responses the shared factor gives:

    dy = F + R_S D_S dy_S,    dy_S = (1 - R_SS D_S)^-1 F_S,

with F what substitution would change, D the slopes beyond those of the factor, R the response of
the channels' inputs to what the channels add, and S the channels outside their deadzone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from analogdfc.dynamics.channels import Nonlinear
from analogdfc.dynamics.factor import Factor
from analogdfc.dynamics.linalg import multiplied

_ITERATIONS = 12

_MOST = 64
"""Channels outside their deadzone beyond which a factor a sample is as good."""


class Clipped:
    """The equations P z - beta N(z) = r of such samples.

    Args:
        factor: of P less the channels' straight lines.
        beta: what the channels are multiplied by.
        channels: N.
        reference: slopes of the straight lines, (chips, m, 1).
    """

    def __init__(self, factor: Factor, beta: float, channels: Nonlinear, reference: Tensor) -> None:
        self._factor, self._beta, self._channels = factor, beta, channels
        self._reference = reference
        self._rows = channels.rows()
        self._known: dict[int, Tensor] = {}

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
            rests = channels.rests(y, self._reference)
            z = self._factor.solve(channels.add_to(right.clone(), rests, self._beta))
            change = self._corrected(channels.inputs(z) - y, y)
            if change is None:
                break
            y = y + change
            # The z of this iteration is as far off as y was; the change says how far.
            arrived = change.abs().amax(dim=1) < tolerance
            if bool(arrived.all()):
                break
        return z, arrived

    def _corrected(self, change: Tensor, y: Tensor) -> Tensor | None:
        """The change of the inputs with the slopes of channels outside; None for too many."""
        outside = self._channels.outside(y).any(dim=2).any(dim=0).nonzero()[:, 0].tolist()
        if len(outside) > _MOST:
            return None
        if not outside:
            return change
        response = self._responses(outside)
        beyond = (self._channels.slopes(y) - self._reference)[:, outside]
        own = response[:, outside]
        eye = torch.eye(len(outside), dtype=y.dtype, device=y.device)
        # (chips, batch, S, S): each sample has its own slopes.
        matrix = eye - own[:, None] * beyond.mT[:, :, None]
        inner, failed = torch.linalg.solve_ex(matrix, change[:, outside].mT)
        if bool(failed.any()):
            return None
        found: Tensor = change + multiplied(response, beyond * inner.mT)
        return found

    def _responses(self, chosen: list[int]) -> Tensor:
        """Responses of the inputs to channels, (chips, m, chosen)."""
        new = [c for c in chosen if c not in self._known]
        if new:
            chips, n = len(self._reference), self._channels.layout.starts[-1]
            unit = self._reference.new_zeros(chips, n, len(new))
            unit[:, self._rows[new], range(len(new))] = self._beta
            found = self._channels.inputs(self._factor.solve(unit))
            self._known |= dict(zip(new, found.unbind(dim=2), strict=True))
        return torch.stack([self._known[c] for c in chosen], dim=2)
