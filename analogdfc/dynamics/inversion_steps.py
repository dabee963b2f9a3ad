"""Euler steps of an inverting loop: part by part or, of a small loop, on a tape.

A loop's rates are linear in its state, in the activations of its errors and in the target. So the
next value of a part is the product of one matrix with the last values of all of them: with
d delta/dt = Q u - delta, of [(1 - dt) I, 0, dt Q, 0] with [delta, g(delta), u, target]. The values
stand one after another on a tape, and what the next product needs is always its end.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.activations import Activation
from analogdfc.dynamics.inversion import InversionLoop, State

_Array = NDArray[Any]
_Move = tuple[Callable[..., object], tuple[_Array, ...]]

_SILENT = Activation("silent", torch.zeros_like, torch.zeros_like, torch.zeros_like)
"""Leaves of a loop's rates what doesn't pass an activation."""

_SMALL = 60_000
"""Square of the numbers of a state, times the batch, up to which a tape takes less time."""

_CHUNK = 20
"""Steps on a tape, before its end is copied to its start."""


class Steps(ABC):
    """A simulation that has come some steps from 0.

    Args:
        loop: the loop.
        target: the error to be reached, (batch, n_l).
        dt: length of a step, > 0.
    """

    def __init__(self, loop: InversionLoop, target: Tensor, dt: float) -> None:
        self._loop, self._target, self._dt = loop, target.detach(), dt
        self._scale: _Array = self._target.abs().amax(dim=1).cpu().numpy()

    @abstractmethod
    def advance(self, count: int) -> None:
        """Take steps.

        Args:
            count: their number.
        """

    @abstractmethod
    def state(self) -> State:
        """All parts of the loop's state, (batch, size)."""

    @abstractmethod
    def _change(self) -> _Array:
        """Largest rate of change of each sample, (batch,), or of the only one, ()."""

    def residual(self) -> float:
        """Largest rate of change of a sample relative to its target; infinite if undefined."""
        change = self._change()
        with np.errstate(all="ignore"):
            worst = float(np.where(change == 0, 0.0, change / self._scale).max())
        return worst if math.isfinite(worst) else math.inf


def simulated(loop: InversionLoop, target: Tensor, dt: float) -> Steps:
    """A simulation in the quicker way; both find the same, to rounding.

    Args:
        loop: the loop.
        target: the error to be reached, (batch, n_l).
        dt: length of a step, > 0.
    """
    small = sum(loop.sizes) ** 2 * len(target) <= _SMALL
    kind = OnTape if small and target.device.type == "cpu" else PartByPart
    return kind(loop, target, dt)


class PartByPart(Steps):
    """Steps of the loop itself; see `Steps`."""

    def __init__(self, loop: InversionLoop, target: Tensor, dt: float) -> None:
        super().__init__(loop, target, dt)
        self._state = loop.start(target)

    def advance(self, count: int) -> None:
        """See `Steps`."""
        for _ in range(count):
            self._state = self._loop.step(self._state, self._target, self._dt)

    def state(self) -> State:
        """See `Steps`."""
        return self._state

    def _change(self) -> _Array:
        rates = torch.cat(self._loop.rates(self._state, self._target), dim=1)
        return np.asarray(rates.abs().amax(dim=1).cpu().numpy())


class OnTape(Steps):
    """Steps of one product for each part, of a loop on the CPU; see `Steps`."""

    @torch.no_grad()
    def __init__(self, loop: InversionLoop, target: Tensor, dt: float) -> None:
        super().__init__(loop, target, dt)
        shapes = loop.shapes
        direct, shaped, driven = _contributions(loop)
        # Of a step: the target, then each part, each with its activation if it has one.
        signals, self._starts = [driven], list[int]()
        for part, phi in enumerate(shapes):
            self._starts.append(sum(s.shape[1] for s in signals))
            signals += [direct[part]] if phi is None else [direct[part], shaped[part]]
        self._all = np.concatenate(signals, axis=1)
        # A column is a vector for NumPy, whose products are then quicker.
        batch = () if len(target) == 1 else (len(target),)
        self._tape: _Array = np.zeros(((_CHUNK + 1) * self._all.shape[1], *batch), driven.dtype)
        for step in range(_CHUNK + 1):
            self._block(step)[: target.shape[1]] = self._target.numpy().T.reshape(-1, *batch)
        for part, phi in enumerate(shapes):
            if phi is not None:
                _shaping(phi)(*self._pair(0, part))
        matrices = [self._matrix(part) for part in range(len(shapes))]
        self._moves = [self._planned(step, matrices) for step in range(1, _CHUNK + 1)]
        self._now = 0

    def advance(self, count: int) -> None:
        """See `Steps`."""
        with np.errstate(all="ignore"):  # a state that is lost shows in its rates
            while count > 0:
                if self._now == _CHUNK:
                    self._block(0)[:] = self._block(_CHUNK)
                    self._now = 0
                end = min(self._now + count, _CHUNK)
                for moves in self._moves[self._now : end]:
                    for function, where in moves:
                        function(*where)
                count, self._now = count - (end - self._now), end

    def state(self) -> State:
        """See `Steps`."""
        block = torch.from_numpy(self._block(self._now).reshape(-1, len(self._target)))
        places = zip(self._starts, self._loop.sizes, strict=True)
        return tuple(block[start : start + n].T.clone() for start, n in places)

    def _change(self) -> _Array:
        with np.errstate(all="ignore"):
            return np.asarray(np.abs(self._all @ self._block(self._now)).max(axis=0))

    def _block(self, step: int) -> _Array:
        """What a step leaves on the tape."""
        length = self._all.shape[1]
        return self._tape[step * length : (step + 1) * length]

    def _pair(self, step: int, part: int) -> tuple[_Array, _Array]:
        """A part of the state after a step, and what follows it: its activation if it has one."""
        start, size = self._starts[part], self._loop.sizes[part]
        block = self._block(step)
        return block[start : start + size], block[start + size : start + 2 * size]

    def _matrix(self, part: int) -> _Array:
        """What makes a part's next value of the tape's end, which begins with its last value."""
        size, before = self._loop.sizes[part], sum(self._loop.sizes[:part])
        rows = self._dt * np.roll(self._all[before : before + size], -self._starts[part], axis=1)
        rows[:, :size] += np.eye(size)
        return np.ascontiguousarray(rows, dtype=self._tape.dtype)

    def _planned(self, step: int, matrices: list[_Array]) -> list[_Move]:
        """What is computed in a step, with the places on the tape."""
        out: list[_Move] = []
        length = self._all.shape[1]
        for part, (matrix, phi) in enumerate(zip(matrices, self._loop.shapes, strict=True)):
            here = step * length + self._starts[part]
            pair = self._pair(step, part)
            out.append((np.dot, (matrix, self._tape[here - length : here], pair[0])))
            if phi is not None:
                out.append((_shaping(phi), pair))
        return out


def _contributions(loop: InversionLoop) -> tuple[list[_Array], list[_Array], _Array]:
    """Matrices whose products with parts, their activations and the target add up to the rates.

    Each (k, size), for the rates of the whole state.
    """
    unit, nothing = loop.units()
    direct = torch.cat(loop.through(_SILENT).rates(unit, nothing), dim=1).T
    shaped = loop.matrix() - direct
    wanted = torch.eye(nothing.shape[1], dtype=nothing.dtype)
    driven = torch.cat(loop.through(_SILENT).rates(loop.start(wanted), wanted), dim=1).T
    sizes = list(loop.sizes)
    of_parts, of_shaped = (
        [m.numpy() for m in torch.split(a, sizes, dim=1)] for a in (direct, shaped)
    )
    return of_parts, of_shaped, driven.numpy()


def _shaping(phi: Activation) -> Callable[[_Array, _Array], object]:
    """An activation that writes to its second argument."""
    if phi.function is torch.tanh:
        return np.tanh
    if phi.name == "linear":
        return np.positive

    def written(v: _Array, out: _Array) -> None:
        torch.from_numpy(out).copy_(phi.function(torch.from_numpy(v)))

    return written
