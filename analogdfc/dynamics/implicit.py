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
from analogdfc.dynamics.clipped import Beyond, Clipped
from analogdfc.dynamics.factor import Factor, is_wide
from analogdfc.dynamics.layout import port_places
from analogdfc.dynamics.substitution import SLOW, SUBSTITUTIONS, Group, Pace, largest
from analogdfc.errors import ConvergenceError
from analogdfc.products import multiplied

__all__ = ["Implicit"]

_LAYERS = 8
_NEWTON = 40
_HALVINGS = 30

_ROUGH = 1e-9
"""Change of an input, in units of the unknowns, up to which Newton's method may start at a rest."""


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
        self._rate = 1.0
        self.factor = Factor(channels.added(matrix, -beta, reference))
        parts = zip(channels.kinds, channels.split(reference), strict=True)
        # A deadzone that nothing has left does nothing.
        self._always = [k.tanh or bool((slope != 0).any()) for k, slope in parts]
        self._groups: dict[tuple[bool, ...], list[Group]] = {}
        self._felt: tuple[Beyond, Sequence[Group], list[Tensor]] | None = None
        self._places = channels.source
        if is_wide(layout := matrix.layout):
            ports = [port_places(layout, k) for k in range(len(layout.groups))]
            at = torch.from_numpy(np.concatenate(ports)).to(channels.source)
            self._places = torch.cat([channels.source, at])
        self._clipped = Clipped(self.factor, beta, channels, reference, self._places)

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

    def _limits(self, busy: Sequence[bool]) -> list[int]:
        """Numbers of the kinds that are deadzones and count."""
        pairs = enumerate(zip(busy, self.channels.kinds, strict=True))
        return [number for number, (on, kind) in pairs if on and not kind.tanh]

    def _of(self, busy: list[bool]) -> list[Group]:
        key = tuple(busy)
        if key not in self._groups:
            groups = range(len(self.matrix.own))
            self._groups[key] = [
                Group(self.factor, self.beta, self.channels, self.reference, g, busy)
                for g in groups
            ]
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
        y = self._by_groups(groups, guess)
        start = [local[g.group].index_select(1, g.felt) for g in groups]
        smooth = not self._limits(busy)
        pace = Pace(chips, tolerance, lost, self._rate if smooth else None)
        for k in range(SUBSTITUTIONS):
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
            moved = self._corrected(groups, busy, y, new)
            goes_on = pace.goes_on(k, moved)
            y = [pace.kept(b, b + by) for b, by in zip(y, moved, strict=True)]
            if not goes_on:
                break
        self._rate = pace.rate or self._rate
        found = [
            multiplied(g.whole, rest).add_(local[g.group])
            for g, rest in zip(groups, rests, strict=True)
        ]
        near = self._near(groups, y)
        if near is None:
            return self.factor.loaded(found, currents, chips), pace.lost
        return self.factor.finished(found, chips, near), pace.lost

    def _by_groups(self, groups: Sequence[Group], guess: Tensor) -> list[Tensor]:
        """What `guess` takes of a state by the cells of each group, (chips * cells, sought, batch).

        Args:
            groups: the groups, with the kinds of channels that count.
            guess: (chips, m, batch).
        """
        parts = self.channels.split(guess)
        found = [g.joined([parts[k] for k in g.kinds], len(self.factor.inverses[g.group]), guess)
                 for g in groups]  # fmt: skip
        if self.factor.sweeps is None:
            return found
        return [torch.cat(both, dim=1) for both in zip(found, self._ports(guess), strict=True)]

    def _corrected(
        self, groups: Sequence[Group], busy: list[bool], y: Sequence[Tensor], new: Sequence[Tensor]
    ) -> list[Tensor]:
        """What an iteration moves the inputs by, with the slopes of deadzones that were left.

        Args:
            groups: the groups.
            busy: which kinds of channels they have.
            y: inputs of each group's cells before it.
            new: what substitution leads to.
        """
        moved = [a - b for a, b in zip(new, y, strict=True)]
        limits = self._limits(busy)
        if not limits:
            return moved
        chips, batch = len(self.reference), y[0].shape[-1]
        before, change = (self._of_deadzones(groups, at, chips) for at in (y, moved))
        outside, changes = [], []
        for number, kind in enumerate(self.channels.kinds):
            if number in limits:
                outside.append(kind.outside(before[number]).flatten(1, 2))
                changes.append(change[number].flatten(1, 2))
            elif not kind.tanh:
                zero = y[0].new_zeros(chips, kind.channels, batch)
                outside.append(zero > 0)
                changes.append(zero)
        beyond = self._clipped.beyond(torch.cat(outside, dim=1))
        if beyond is None or not len(beyond.chosen):
            return moved
        added = beyond.added(torch.cat(changes, dim=1))
        if self._felt is None or self._felt[0] is not beyond or self._felt[1] is not groups:
            parts = self._by_groups(groups, beyond.response)
            self._felt = beyond, groups, [r.view(chips, -1, r.shape[-1]) for r in parts]
        return [
            m + multiplied(response, added).view(m.shape)
            for m, response in zip(moved, self._felt[2], strict=True)
        ]

    def _of_deadzones(
        self, groups: Sequence[Group], y: Sequence[Tensor], chips: int
    ) -> dict[int, Tensor]:
        """Inputs of the deadzones by the numbers of their kinds, (chips, cells, m, batch)."""
        found = {}
        for g, at in zip(groups, y, strict=True):
            parts = torch.split(at[:, : g.inputs], g.widths, dim=1)
            for number, part in zip(g.kinds, parts, strict=True):
                if not self.channels.kinds[number].tanh:
                    found[number] = part.reshape(chips, -1, *part.shape[1:])
        return found

    def _ports(self, guess: Tensor) -> list[Tensor]:
        """Voltages of the ports in a guess, (chips * cells, ports, batch) of each group."""
        sizes = [b - a for a, b in itertools.pairwise(self.matrix.layout.port_starts)]
        parts = torch.split(guess[:, len(self.channels.source) :], sizes, dim=1)
        return [
            part.reshape(-1, len(ports), part.shape[-1])
            for part, ports in zip(parts, self.factor.ports, strict=True)
        ]

    def _near(self, groups: Sequence[Group], y: Sequence[Tensor]) -> list[Tensor] | None:
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
            change = largest(step)
            # What goes through the layers one after another settles in as many iterations.
            if not (k < _LAYERS or change < SLOW * before):
                # Near the start: where substitution doesn't contract, it leads anywhere.
                near = self._nearer(constant, start)
                return self._damped(constant, near, tolerance, iterations - k)
            z, before = z + step, change
            if change < tolerance:
                return z, True
        return z, False

    def _nearer(self, constant: Tensor, start: Tensor) -> Tensor:
        """The start, but of samples that only deadzones keep from a rest that rest, roughly."""
        right = constant.expand_as(start).contiguous()
        found, arrived = self._clipped.solve(right, self.channels.inputs(start), _ROUGH)
        return torch.where(arrived.unsqueeze(1), found, start)

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
