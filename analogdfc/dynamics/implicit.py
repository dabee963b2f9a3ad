"""Nonlinear equations P z - beta N(z) = r, for all samples at once.

P is the same for all samples of a chip. One factor of it, with the channels as straight lines of a
reference slope, serves all of them by substitution, which goes on among the channels' inputs and
the cells' ports alone; where sweeps find the voltages of these, they come nearer with it. Where it
does not contract, `clipped` takes over for the samples that need it, or Newton's method with a
factor a sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from analogdfc.dynamics.blocks import BlockMatrix
from analogdfc.dynamics.channels import Kind, Nonlinear
from analogdfc.dynamics.clipped import Clipped
from analogdfc.dynamics.factor import Factor, is_wide
from analogdfc.dynamics.layout import port_places
from analogdfc.dynamics.linalg import multiplied
from analogdfc.errors import ConvergenceError

__all__ = ["Implicit"]

_SLOW = 0.5
"""Contraction an iteration beyond which substitution is given up, after the first few."""

_FEW = 4
_LAYERS = 8
_SUBSTITUTIONS = 16
_NEWTON = 40
_HALVINGS = 30


class Implicit:
    """The equations of one P.

    Args:
        matrix: P.
        beta: what the channels are multiplied by.
        channels: N.
        reference: slopes of the channels that the shared factor has, (chips, m, 1).

    Attributes:
        factor: the shared factor, of P less the channels' straight lines.
        newton: how often factors a sample were needed.

    Raises:
        ConvergenceError: P is singular.
    """

    def __init__(
        self, matrix: BlockMatrix, beta: float, channels: Nonlinear, reference: Tensor
    ) -> None:
        self.matrix, self.beta, self.channels, self.reference = matrix, beta, channels, reference
        self.newton = 0
        self.factor = Factor(channels.added(matrix, -beta, reference))
        parts = zip(channels.kinds, channels.split(reference), strict=True)
        # A deadzone that nothing has left does nothing.
        self._always = [k.tanh or bool((slope != 0).any()) for k, slope in parts]
        self._groups: dict[tuple[bool, ...], list[_Group]] = {}
        self._clipped = Clipped(self.factor, beta, channels, reference)
        self._places = channels.source
        if is_wide(layout := matrix.layout):
            ports = [port_places(layout, k) for k in range(len(layout.groups))]
            at = torch.from_numpy(np.concatenate(ports)).to(channels.source)
            self._places = torch.cat([channels.source, at])

    def guess(self, z: Tensor) -> Tensor:
        """What `solve` starts from, of a state (chips, n, batch)."""
        return z.index_select(1, self._places)

    def solve(self, right: Tensor, guess: Tensor, tolerance: float) -> Tensor:
        """The z of P z - beta N(z) = r; nan in a sample for which none was found.

        Args:
            right: r, (chips, n, batch), in grouped order.
            guess: of what `guess` takes of a state, (chips, m, batch).
            tolerance: largest change of such an input at which the iteration stops.
        """
        if not self.channels.kinds:
            return self.factor.solve(right)
        local = self.factor.local(right)
        busy = self._busy(self._always, guess, None)
        y, lost = guess, None
        while True:
            z, lost = self._substituted(local, y, busy, tolerance, lost)
            y = self.guess(z)
            now = self._busy(busy, y, lost)
            if now == busy:
                break
            busy = now
        if lost is not None:
            inputs = guess[:, : len(self.channels.source)]
            self._found(z, right, inputs, tolerance, lost)
        return z

    def _found(
        self, z: Tensor, right: Tensor, guess: Tensor, tolerance: float, lost: Tensor
    ) -> None:
        """Write the samples that substitution doesn't serve to z."""
        some = lost.any(dim=0)
        clipped, arrived = self._clipped.solve(right[..., some], guess[..., some], tolerance)
        served, left = lost.clone(), lost.clone()
        served[:, some] &= arrived
        left[:, some] &= ~arrived
        z.mT[served] = clipped.mT[served[:, some]]
        if bool(left.any()):
            z.mT[left] = self._by_newton(right, guess, tolerance, left)

    def _busy(
        self, already: tuple[bool, ...] | list[bool], y: Tensor, lost: Tensor | None
    ) -> list[bool]:
        """Whether the channels of each kind do anything beyond their straight lines.

        Args:
            already: of which kinds it is known.
            y: the channels' inputs, (chips, m, batch).
            lost: samples that don't count, (chips, batch).
        """
        parts = zip(already, self.channels.kinds, self.channels.split(y), strict=True)
        return [on or not _argument(kind, at, lost) <= 1 for on, kind, at in parts]

    def _of(self, busy: list[bool]) -> list[_Group]:
        key = tuple(busy)
        if key not in self._groups:
            groups = range(len(self.matrix.own))
            self._groups[key] = [_Group(self, g, busy) for g in groups]
        return self._groups[key]

    def _substituted(
        self,
        local: Sequence[Tensor],
        guess: Tensor,
        busy: list[bool],
        tolerance: float,
        lost: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Substitution with some of the kinds; the state, and the samples that it isn't found of.

        Args:
            local: what the cells by themselves would have.
            guess: see `solve`.
            busy: which kinds.
            tolerance: largest change of such an input at which the iteration stops.
            lost: samples that don't count any more, (chips, batch).
        """
        groups, chips = self._of(busy), len(guess)
        parts = self.channels.split(guess)
        y = [g.joined([parts[k] for k in g.kinds], local[g.group]) for g in groups]
        if self.factor.sweeps is not None:
            y = [torch.cat(both, dim=1) for both in zip(y, self._ports(guess), strict=True)]
        start = [local[g.group].index_select(1, g.felt) for g in groups]
        pace = _Pace(chips, tolerance, lost)
        for k in range(_SUBSTITUTIONS):
            rests = [g.rest(at[:, : g.inputs]) for g, at in zip(groups, y, strict=True)]
            felt = [
                multiplied(g.own, rest).add_(a)
                for g, a, rest in zip(groups, start, rests, strict=True)
            ]
            ports = [f[:, g.inputs :] for g, f in zip(groups, felt, strict=True)]
            currents = self.factor.currents(ports, chips, self._near(groups, y))
            new = [
                f[:, : g.response.shape[1]] - multiplied(g.response, current)
                for g, f, current in zip(groups, felt, currents, strict=True)
            ]
            moved = [a - b for a, b in zip(new, y, strict=True)]
            goes_on = pace.goes_on(k, moved)
            y = [pace.kept(b, a) for a, b in zip(new, y, strict=True)]
            if not goes_on:
                break
        found = [
            multiplied(g.whole, rest).add_(local[g.group])
            for g, rest in zip(groups, rests, strict=True)
        ]
        near = self._near(groups, y)
        if near is None:
            return self.factor.loaded(found, currents, chips), pace.lost
        return self.factor.finished(found, chips, near), pace.lost

    def _ports(self, guess: Tensor) -> list[Tensor]:
        """Voltages of the ports in a guess, (chips * cells, ports, batch) of each group."""
        sizes = [b - a for a, b in itertools.pairwise(self.matrix.layout.port_starts)]
        parts = torch.split(guess[:, len(self.channels.source) :], sizes, dim=1)
        return [
            part.reshape(-1, len(ports), part.shape[-1])
            for part, ports in zip(parts, self.factor.ports, strict=True)
        ]

    def _near(self, groups: Sequence[_Group], y: Sequence[Tensor]) -> list[Tensor] | None:
        """Voltages of the ports, where the factor makes use of them."""
        if self.factor.sweeps is None:
            return None
        return [at[:, g.inputs :] for g, at in zip(groups, y, strict=True)]

    def _by_newton(self, right: Tensor, guess: Tensor, tolerance: float, lost: Tensor) -> Tensor:
        """Newton's method for the samples that substitution doesn't serve, (samples, n)."""
        self.newton += 1
        each = lost.nonzero()[:, 0]
        channels, matrix = self.channels.picked(each), self.matrix.picked(each)
        right, y = (t.mT[lost].unsqueeze(-1) for t in (right, guess))
        left = torch.arange(len(y), device=y.device)
        out = torch.full_like(right, torch.nan)
        for _ in range(_NEWTON):
            slopes = channels.slopes(y)
            moved = channels.add_to(right.clone(), channels.rests(y, slopes), self.beta)
            try:
                z = Factor(channels.added(matrix, -self.beta, slopes)).solve(moved)
            except ConvergenceError:
                break  # what is left stays nan
            new = channels.inputs(z)
            change = (new - y).abs().amax(dim=(1, 2))
            done = change < tolerance
            out[left[done]] = z[done]
            on = ~done & torch.isfinite(change)
            if not bool(on.any()):
                break
            matrix, channels = matrix.picked(on), channels.picked(on)
            right, y, left = right[on], new[on], left[on]
        return out.squeeze(-1)

    def rest(
        self, constant: Tensor, start: Tensor, tolerance: float, iterations: int
    ) -> tuple[Tensor, bool]:
        """The z with P z - N(z) = b; beta is 1.

        Args:
            constant: b, (chips, n, batch or 1), in grouped order.
            start: a first z, (chips, n, batch).
            tolerance: largest change of an unknown at which the iteration stops.
            iterations: bound on their number.

        Returns:
            The last z, and whether the iteration stopped at it.
        """
        z, before = start, torch.inf
        for k in range(iterations):
            step = self.factor.solve(_residual(self.matrix, constant, self.channels, z))
            change = _largest(step)
            # What goes through the layers one after another settles in as many iterations.
            if not (k < _LAYERS or change < _SLOW * before):
                # From the start: where substitution doesn't contract, it leads anywhere.
                return self._damped(constant, start, tolerance, iterations - k)
            z, before = z + step, change
            if change < tolerance:
                return z, True
        return z, False

    def _damped(
        self, constant: Tensor, start: Tensor, tolerance: float, iterations: int
    ) -> tuple[Tensor, bool]:
        """Newton's method with step halving, a factor a sample."""
        chips, n, batch = start.shape
        each = torch.arange(chips, device=start.device).repeat_interleave(batch)
        channels, matrix = self.channels.picked(each), self.matrix.picked(each)
        constant = constant.expand(-1, -1, batch).mT.reshape(-1, n, 1)
        z = start.mT.reshape(-1, n, 1)
        out, left = z.clone(), torch.arange(len(z), device=z.device)
        residual = _residual(matrix, constant, channels, z)
        for _ in range(iterations):
            slopes = channels.slopes(channels.inputs(z))
            step = Factor(channels.added(matrix, -1.0, slopes)).solve(residual)
            factor = torch.ones_like(step[:, :1])
            before = residual.norm(dim=1, keepdim=True)
            for _ in range(_HALVINGS):
                trial = _residual(matrix, constant, channels, z + factor * step)
                worse = ~(trial.norm(dim=1, keepdim=True) <= before * (1 - 1e-4 * factor) + 1e-14)
                if not bool(worse.any()):
                    break
                factor = torch.where(worse, factor / 2, factor)
            z = z + factor * step
            out[left] = z
            # Not the damped step: one that was halved away is no sign of a solution.
            on = ~(step.abs().amax(dim=(1, 2)) < tolerance)
            if not bool(on.any()):
                left = left[on]
                break
            z, constant, left = z[on], constant[on], left[on]
            matrix, channels = matrix.picked(on), channels.picked(on)
            residual = _residual(matrix, constant, channels, z)
        return out.view(chips, batch, n).mT.contiguous(), not len(left)


class _Pace:
    """Whether substitution comes nearer, and in which samples it doesn't.

    Args:
        chips: number of chips.
        tolerance: largest change at which a sample has arrived.
        lost: samples that don't count, (chips, batch).

    Attributes:
        lost: those, and the samples that were given up or haven't arrived; None where all have.
    """

    def __init__(self, chips: int, tolerance: float, lost: Tensor | None) -> None:
        self.lost = lost
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
        at_most = 1.0 if k < _FEW else _SLOW
        end = k == _SUBSTITUTIONS - 1
        if self.lost is None:
            # The usual way: one number for all samples.
            change, before = max(map(_largest, moved)), self._before
            if change < self._tolerance:
                return False
            if not end and change < at_most * before:
                self._before = change
                return True
        each = self._each(moved)
        left = ~(each < self._tolerance)
        slow = left if end else left & ~(each < at_most * self._each(last or moved))
        self.lost = slow if self.lost is None else self.lost | slow
        return bool((left & ~self.lost).any())

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


class _Group:
    """What substitution needs of the cells of a group, for some kinds of channels.

    Attributes:
        kinds: numbers of the kinds.
        inputs: how many inputs a cell has.
        felt: places within a cell of the inputs, then of the ports.
        own: these from what the channels add to the rows, (cells, felt, inputs).
        whole: the same for all unknowns.
        response: to currents at the ports, of the inputs, and of the ports if they are sought too.
    """

    def __init__(self, equations: Implicit, group: int, busy: list[bool]) -> None:
        channels, factor = equations.channels, equations.factor
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
        self.whole = (equations.beta * factor.inverses[group][:, :, row]).contiguous()
        self.own = self.whole[:, self.felt].contiguous()
        sought = source if factor.sweeps is None else self.felt
        self.response = factor.responses[group][:, sought].contiguous()
        slopes = channels.split(equations.reference)
        self._parts: list[tuple[Kind, Tensor]] = []
        for k in self.kinds:
            kind = channels.kinds[k]
            self._parts.append((kind, slopes[k].flatten(0, 1)))
        self._widths = [kind.gain.shape[2] for kind in chosen]

    def joined(self, parts: Sequence[Tensor], like: Tensor) -> Tensor:
        """Inputs by kinds as one, (chips * cells, inputs, batch)."""
        if not parts:
            return like[:, :0]
        return torch.cat([part.flatten(0, 1) for part in parts], dim=1)

    def rest(self, y: Tensor) -> Tensor:
        """What the straight lines leave of the channels, (chips * cells, inputs, batch)."""
        out = []
        for (kind, slopes), part in zip(
            self._parts, torch.split(y, self._widths, dim=1), strict=True
        ):
            value = kind.value(part.reshape(*kind.gain.shape[:3], -1)).flatten(0, 1)
            out.append(value.addcmul_(part, slopes, value=-1))
        return out[0] if len(out) == 1 else torch.cat([y[:, :0], *out], dim=1)


def _residual(matrix: BlockMatrix, constant: Tensor, channels: Nonlinear, z: Tensor) -> Tensor:
    """The residual b + N(z) - P z."""
    out = (matrix @ z).neg_().add_(constant)
    return channels.add_to(out, channels.values(channels.inputs(z)))


def _argument(kind: Kind, y: Tensor, lost: Tensor | None) -> float:
    """Largest magnitude of the arguments of a kind's channels, of samples that aren't lost."""
    found = kind.argument(y).abs()
    if lost is not None:
        found = found.masked_fill(lost[:, None, None], 0.0)
    return float(found.max())


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0
