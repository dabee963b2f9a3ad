"""The linear motion of many channels, whose matrix is too large for its exponential.

By projection on a rational Krylov space (Ruhe 1984; van den Eshof, Hochbruck 2006), whose shifts
cover the times that are asked for. A shifted system is solved channel by channel, but for a matrix
of one row a channel: layers are lags of one another, and couple through the output alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from analogdfc.errors import ConvergenceError

_SHIFTS = 8
_ROUNDS = 10
"""Shifts from the shortest time to the longest, and a bound on how often each is used."""

_SAME = 1e-7
"""Change by one more round, relative to the start, up to which the motion is found."""


class WideMotion:
    """d/dt of (h_1 .. h_k, w, f_1 .. f_L), n each, by their structure.

    Args:
        own: of h and w by themselves, channel by channel, (batch or 1, n, k + 1, k + 1).
        driven: of h and w by the output, (batch or 1, n, k + 1).
        output: the output over f_1 .. f_L, (batch, n, L n).
        rates: of the lags f_1 .. f_L, each of w or of the one before.
    """

    def __init__(self, own: Tensor, driven: Tensor, output: Tensor, rates: Sequence[float]) -> None:
        self._own, self._driven, self._output, self._rates = own, driven, output, rates
        self._n, self._fast = own.shape[1], own.shape[-1]

    def times(self, x: Tensor) -> Tensor:
        """The derivative of states, (batch, size)."""
        fast, lags = self._split(x)
        y = (self._output @ lags.flatten(1)[..., None]).squeeze(-1)
        moved = (self._own @ fast[..., None]).squeeze(-1) + self._driven * y[..., None]
        before = torch.cat([fast[:, None, :, -1], lags[:, :-1]], dim=1)
        rates = torch.tensor(self._rates, dtype=x.dtype)[:, None]
        return self._joined(moved, rates * (before - lags))

    def at(self, t: Tensor, z: Tensor) -> Tensor:
        """States at times, (points, batch, size), from one at time 0.

        Args:
            t: (points,), > 0.
            z: (batch, size).

        Raises:
            ConvergenceError: it grows, or is not found.
        """
        size = z.norm(dim=-1)
        if not bool((size > 0).all()):
            moving = torch.nonzero(size > 0).squeeze(-1)
            out = z.new_zeros(len(t), *z.shape)
            if len(moving):
                out[:, moving] = self._part(moving).at(t, z[moving])
            return out
        first, last_shift = (math.log10(float(e)) for e in (t.min(), t.max()))
        shifts = torch.logspace(first, last_shift, _SHIFTS, dtype=z.dtype)
        solvers = [_Shifted(self, float(g)) for g in shifts]
        basis = (z / size[:, None])[:, None]
        images = self.times(basis[:, 0])[:, None]
        last: Tensor | None = None
        for _ in range(_ROUNDS):
            for solver in solvers[: z.shape[-1] - basis.shape[1]]:
                new = solver.solve(basis[:, -1])
                for _ in range(2):
                    new = new - ((basis @ new[..., None]).mT @ basis).squeeze(1)
                new = new / new.norm(dim=-1, keepdim=True)
                basis = torch.cat([basis, new[:, None]], dim=1)
                images = torch.cat([images, self.times(new)[:, None]], dim=1)
            small = basis @ images.mT
            moved = torch.linalg.matrix_exp(t[:, None, None, None] * small)[..., 0]
            now = ((moved * size[:, None])[..., None, :] @ basis).squeeze(-2)
            whole = basis.shape[1] == z.shape[-1]
            if whole or (last is not None and _same(now, last, size)):
                check_decay(small)
                return torch.as_tensor(now)
            last = now
        raise ConvergenceError("the way of the chip to rest was not found; its energy neither")

    def _part(self, samples: Tensor) -> WideMotion:
        """The motion of some samples."""
        own, driven = (x if len(x) == 1 else x[samples] for x in (self._own, self._driven))
        return WideMotion(own, driven, self._output[samples], self._rates)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """States h and w, (batch, n, k + 1), and the lags, (batch, L, n)."""
        parts = x.reshape(len(x), -1, self._n)
        return parts[:, : self._fast].mT, parts[:, self._fast :]

    def _joined(self, fast: Tensor, lags: Tensor) -> Tensor:
        return torch.cat([fast.mT, lags], dim=1).flatten(1)


def _same(now: Tensor, last: Tensor, size: Tensor) -> bool:
    return bool(((now - last).norm(dim=-1) <= _SAME * size).all())


class _Shifted:
    """Solutions of (1 - g d/dt) x = b."""

    def __init__(self, motion: WideMotion, g: float) -> None:
        self._motion, self._g = motion, g
        eye = torch.eye(motion._fast, dtype=motion._own.dtype)
        self._inverse = torch.linalg.inv(eye - g * motion._own)
        self._pushed = g * (self._inverse @ motion._driven[..., None]).squeeze(-1)
        share, through = 1.0, torch.zeros_like(motion._output[..., : motion._n])
        outputs = torch.split(motion._output, motion._n, dim=-1)
        for output, rate in zip(outputs, motion._rates, strict=True):
            share *= g * rate / (1 + g * rate)
            through = through + share * output
        whole = torch.eye(motion._n, dtype=eye.dtype) - self._pushed[..., -1:] * through
        self._through, self._factor = through, torch.linalg.lu_factor(whole)

    def solve(self, b: Tensor) -> Tensor:
        """For right-hand sides, (batch, size)."""
        motion = self._motion
        fast, lags = motion._split(b)
        alone = (self._inverse @ fast[..., None]).squeeze(-1)
        rest = self._lags(torch.zeros_like(alone[..., -1]), lags)
        y = (motion._output @ rest.flatten(1)[..., None]).squeeze(-1)
        right = alone[..., -1] + self._pushed[..., -1] * y
        w = torch.linalg.lu_solve(*self._factor, right[..., None])
        y = y + (self._through @ w).squeeze(-1)
        return motion._joined(alone + self._pushed * y[..., None], self._lags(w.squeeze(-1), lags))

    def _lags(self, w: Tensor, b: Tensor) -> Tensor:
        out, g = [w], self._g
        for rate, own in zip(self._motion._rates, b.unbind(1), strict=True):
            out.append((own + g * rate * out[-1]) / (1 + g * rate))
        return torch.stack(out[1:], dim=1)


def check_decay(small: Tensor) -> None:
    """Refuse linear motions that grow.

    Args:
        small: their matrices, (batch, k, k).

    Raises:
        ConvergenceError: one does.
    """
    growth = torch.linalg.eigvals(small).real.amax(dim=-1)
    if bool((growth >= 0).any()):
        b = int(growth.argmax())
        raise ConvergenceError(
            f"sample {b} (counted from 0): the loop doesn't settle, its slowest mode grows with "
            f"{float(growth[b]):.3g} per unit of time; its energy has no closed form"
        )
