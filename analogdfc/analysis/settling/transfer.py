"""The linearised loop of a chip of any size, in the frequency domain.

The nodal equations of the chip (the full amplifier model without slewing) are solved bank by bank
at complex frequencies s, in the order in which the circuit's description has a signal pass them.
The loop is cut at the outputs of the n_L amplifiers that make the control signal: what the cut
drives comes back as -L(s) times it, and the modes of the loop are the zeros of det(I + L(s)). The
little that runs backwards, from an amplifier's summing node through the output resistance of the
one before, is found by iteration, so that no matrix is larger than a crossbar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.stages import Charge, Stages
from analogdfc.analysis.settling.sweep import Cells, Paths, Slopes, Sweep
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import CONTROLLER, Port
from analogdfc.circuit.static import StaticState
from analogdfc.errors import ConvergenceError

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

PRECISE = 1e-8
"""Tolerance of sweeps that has no part in any result."""

SINGLE = 5e-7
"""Relative error of a sweep in single precision, at most."""

_SWEEPS = 40

_SAFE = 4
"""How much more than before a further sweep may change where it is left out."""

_MOST = 2**26
"""Complex numbers that a sweep may hold, 1 GB."""

OVERLOADED = (
    "the transfer functions did not converge: [amplifier] output_resistance is too large for what "
    "the outputs drive"
)


@dataclass(frozen=True)
class OperatingPoint:
    """Output voltages of every bank of amplifiers, by its name, (batch, n), in volts.

    Attributes:
        free: in the free phase.
        rest: where the released loop comes to rest.
    """

    free: Mapping[str, Array]
    rest: Mapping[str, Array]

    @classmethod
    def of(cls, state: StaticState) -> OperatingPoint:
        """The states that the static model has found."""
        free, rest = (
            {n: v.numpy() for n, v in m.items()} for m in (state.volts_free, state.volts_rest)
        )
        return cls(free, rest)

    def with_control(self, chip: Chip, factor: float) -> OperatingPoint:
        """The same neurons, controlled through feedback weights that are larger by a factor.

        Args:
            chip: the chip whose states these are.
            factor: how much larger.
        """
        rest, error = dict(self.rest), chip.circuit.control.e.bank
        for bank in chip.circuit.banks:
            if bank.part == CONTROLLER and bank.name != error:
                moved = rest[bank.name] - self.free[bank.name]
                rest[bank.name] = self.free[bank.name] + moved / factor
        return OperatingPoint(self.free, rest)

    def sample(self, k: int) -> OperatingPoint:
        """One sample, as a batch of one."""
        free, rest = ({n: v[k : k + 1] for n, v in m.items()} for m in (self.free, self.rest))
        return OperatingPoint(free, rest)


class LoopTransfer:
    """Transfer functions of a chip around an operating point.

    Frequencies s are complex, (points,), in rad/s.

    Args:
        chip: the chip.
        point: where it is linearised, and where it starts from.
        paths: what connects the chip's amplifiers, where it is known already.
        tolerance: relative change of the cut's voltages from one sweep to the next that is small
            enough.

    Attributes:
        numbers: the amplifier's parameters.
        paths: what connects the chip's amplifiers.
        cut: name of the amplifiers at which the loop is cut.
        slopes: currents of the tanh cells at rest.
    """

    def __init__(
        self,
        chip: Chip,
        point: OperatingPoint,
        paths: Paths | None = None,
        *,
        tolerance: float = PRECISE,
    ) -> None:
        self.chip, self.point = chip, point
        self.tolerance = tolerance
        self.paths = paths or Paths.of(chip)
        self.numbers = self.paths.numbers
        self.cut = chip.circuit.control.u_minus.bank
        self.slopes = _slopes(chip, point.rest)

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(self.point.rest[self.cut])

    @property
    def channels(self) -> int:
        """Number of control channels n_L."""
        return self.chip.circuit.bank[self.cut].size

    def loop_gain(self, s: Complex) -> Complex:
        """L(s), (batch, points, n_L, n_L): minus what comes back for a unit at the cut.

        Args:
            s: complex frequencies, (points,), in radians per second.

        Raises:
            ConvergenceError: outputs that are loaded so much that nothing converges.
        """
        found = self.loop_gain_where_found(s)
        if np.isnan(found).any():
            raise ConvergenceError(OVERLOADED)
        return found

    def loop_gain_where_found(self, s: Complex) -> Complex:
        """The same for frequencies that may lie on a pole, with nan where it doesn't converge.

        Args:
            s: complex frequencies, (points,), in radians per second.
        """
        n = self.channels
        # Both nodes of all amplifiers for each channel, in this sweep and the last.
        most = max(1, _MOST // (4 * self.batch * n * self.chip.circuit.amplifiers))
        if len(s) > most:
            parts = np.array_split(s, math.ceil(len(s) / most))
            return np.concatenate([self.loop_gain_where_found(part) for part in parts], axis=1)
        unit = np.broadcast_to(np.eye(n, dtype=complex), (self.batch, len(s), n, n))
        sweep, left = self._settle(self.slopes, self.stages(s), unit, {})
        back = sweep.o[self.cut]
        back[left] = np.nan
        return np.swapaxes(-back, -1, -2)

    def loop_gain_along(self, s: Complex, cut: Complex) -> Complex:
        """L(s) times a vector at every frequency, (points, n_L), for a batch of one.

        Args:
            s: complex frequencies, (points,), in radians per second; nan comes of those where it
                doesn't converge.
            cut: the vectors, (points, n_L).
        """
        return Line([self], s).times(cut, np.arange(len(s)))

    def response(self, s: Complex, cut: Complex | None = None) -> dict[str, Complex]:
        """Deviations from rest after the release, as Laplace transforms.

        (s M - J)^-1 M (z_free - z_rest) with J the Jacobian at rest.

        Args:
            s: frequencies.
            cut: that at the cut, (I + L(s))^-1 times `open_response`, (batch, points, n_L), where
                it is known already.

        Returns:
            Output voltages by bank, (batch, points, n), in volts times seconds.

        Raises:
            ConvergenceError: as in `loop_gain`.
        """
        stages, charges = self._released(s)
        if cut is None:
            push = self._open(stages, charges)
            whole = np.eye(self.channels) + self.loop_gain(s)
            cut = np.asarray(np.linalg.solve(whole, push)[..., 0], dtype=np.complex128)
        return self._found(self.slopes, stages, cut[..., None, :], charges).read()

    def open_response(self, s: Complex) -> Complex:
        """What the amplifiers at the cut would do after the release if nothing went round the loop.

        The closed loop's transform at the cut is (I + L(s))^-1 times this.

        Args:
            s: complex frequencies, (points,), in radians per second.

        Returns:
            Output voltages, (batch, points, n_L, 1), in volts times seconds.
        """
        return self._open(*self._released(s))

    def free_response(self, s: Complex) -> dict[str, Complex]:
        """Deviations from the free state of a network that was at 0 volts when its input came.

        Linearised around the free state; the controller is held in reset.

        Args:
            s: frequencies.

        Returns:
            Output voltages of the layers' banks, (batch, points, n), in volts times seconds.
        """
        stages = self.stages(s)
        charges = self.paths.charges(stages.s, {n: -v for n, v in self.point.free.items()})
        slopes = _slopes(self.chip, self.point.free)
        found = self._found(slopes, stages, self._nothing(s), charges).read()
        banks = self.chip.circuit.bank
        return {name: v for name, v in found.items() if banks[name].part != CONTROLLER}

    def unstable_stages(self) -> int:
        """Poles of single amplifiers, open loop, that lie in the right half-plane."""
        rate = 1 / self.chip.design.tau_v_seconds
        return sum(n.unstable_poles(self.numbers, rate) for n in self.paths.nodes.values())

    def stages(self, s: Complex) -> Stages:
        """The equations of all amplifiers at frequencies.

        Args:
            s: frequencies, (points,), in rad/s.
        """
        return Stages(self.paths.nodes, self.numbers, s[None])

    def _nothing(self, s: Complex) -> Complex:
        return np.zeros((self.batch, len(s), 1, self.channels), dtype=complex)

    def _released(self, s: Complex) -> tuple[Stages, dict[str, Charge]]:
        moved = {name: self.point.free[name] - rest for name, rest in self.point.rest.items()}
        stages = self.stages(s)
        return stages, self.paths.charges(stages.s, moved)

    def _open(self, stages: Stages, charges: dict[str, Charge]) -> Complex:
        nothing = self._nothing(stages.s[0, :, 0, 0])
        return self._found(self.slopes, stages, nothing, charges).o[self.cut][..., 0, :, None]

    def _found(
        self, slopes: Slopes, stages: Stages, cut: Complex, charges: dict[str, Charge]
    ) -> Sweep:
        sweep, left = self._settle(slopes, stages, cut, charges)
        if left.any():
            raise ConvergenceError(OVERLOADED)
        return sweep

    def _settle(
        self, slopes: Slopes, stages: Stages, cut: Complex, charges: dict[str, Charge]
    ) -> tuple[Sweep, NDArray[np.bool_]]:
        """Sweeps until nothing changes, and the points, (batch, points), where it still does."""
        sweep = Sweep(self.paths, slopes, stages, cut, charges, None).run()
        left = np.zeros(cut.shape[:2], dtype=bool)
        if not self.paths.backward:
            return sweep, left
        for _ in range(_SWEEPS):
            before, sweep = sweep, sweep.again()
            now = sweep.o[self.cut]
            change = np.abs(now - before.o[self.cut]).max(axis=(-1, -2))
            left = ~(change <= self.tolerance * np.abs(now).max(axis=(-1, -2)))
            if not left.any():
                break
        return sweep, left


class _Among(NamedTuple):
    """What a sweep at some frequencies needs, in one precision."""

    paths: Paths
    slopes: Slopes
    stages: Stages

    def at(self, where: NDArray[np.intp]) -> _Among:
        """The same at some of the frequencies."""
        slopes = {port: [c.at(where) for c in cells] for port, cells in self.slopes.items()}
        return self._replace(slopes=slopes, stages=self.stages.at(where))

    def single(self) -> _Among:
        """The same in single precision."""
        slopes = {port: [c.single() for c in cells] for port, cells in self.slopes.items()}
        return _Among(self.paths.single, slopes, self.stages.single())


class Line:
    """L(s) times vectors, again and again at the same frequencies, of samples of one chip.

    Args:
        loops: the loops, each of a batch of one, with the same paths.
        s: complex frequencies, (points,), in radians per second.
        owner: which of the loops each frequency belongs to, (points,); by default the first.
    """

    def __init__(
        self, loops: Sequence[LoopTransfer], s: Complex, owner: NDArray[np.intp] | None = None
    ) -> None:
        owner = np.zeros(len(s), dtype=np.intp) if owner is None else owner
        self._loop = loops[0]
        every = {
            port: [
                Cells(c.port, np.concatenate([loop.slopes[port][k].siemens for loop in loops], 1))
                for k, c in enumerate(cells)
            ]
            for port, cells in self._loop.slopes.items()
        }
        slopes = {port: [c.at(owner) for c in cells] for port, cells in every.items()}
        self._double = _Among(self._loop.paths, slopes, self._loop.stages(s))
        # What is asked for again and again, at the frequencies of the last time.
        self._last: dict[bool, tuple[NDArray[np.intp], _Among]] = {}
        # By how much second sweeps have changed the first ones, relatively.
        self._slip = np.full(len(s), np.nan)

    @cached_property
    def _single(self) -> _Among:
        return self._double.single()

    def _among(self, where: NDArray[np.intp], *, single: bool) -> _Among:
        if single not in self._last or not np.array_equal(self._last[single][0], where):
            self._last[single] = where, (self._single if single else self._double).at(where)
        return self._last[single][1]

    def times(
        self,
        cut: Complex,
        where: NDArray[np.intp],
        tolerance: Array | float | None = None,
        *,
        sure: bool = True,
    ) -> Complex:
        """L(s) times a vector at some of the frequencies, (k, n_L); nan where there is none.

        Args:
            cut: the vectors, (k, n_L); in single precision the product is found in it too, and a
                tolerance below `SINGLE` isn't met.
            where: at which of the frequencies, (k,).
            tolerance: as that of the loop, by default that, (k,).
            sure: see by another sweep that it is held; else go by what sweeps have changed before.
        """
        loop, name = self._loop, self._loop.cut
        single = cut.dtype == np.complex64
        within = np.broadcast_to(loop.tolerance if tolerance is None else tolerance, len(where))
        within = np.maximum(within, SINGLE) if single else within
        out = np.full(cut.shape, np.nan, dtype=cut.dtype)
        paths, slopes, stages = self._among(where, single=single)
        sweep = Sweep(paths, slopes, stages, cut[None, :, None, :], {}, None).run()
        now = sweep.o[name][0, :, 0, :]
        done = np.full(len(where), not paths.backward)
        if not sure:
            done |= _SAFE * self._slip[where] <= within
        left = np.arange(len(where))
        for k in range(_SWEEPS):
            out[left[done]] = -now[done]
            left = left[~done]
            if not len(left):
                break
            before = sweep.at(np.flatnonzero(~done)) if done.any() else sweep
            sweep = before.again()
            now, last = (each.o[name][0, :, 0, :] for each in (sweep, before))
            size, change = (np.abs(v).max(axis=-1) for v in (now, now - last))
            at = where[left]
            if k == 0:
                self._slip[at] = np.fmax(self._slip[at], change / size)
            # What the next sweep would change.
            more = 1 if sure else np.minimum(1, _SAFE * self._slip[at])
            done = more * change <= within[left] * size
        return out


def _slopes(chip: Chip, volts: Mapping[str, Array]) -> Slopes:
    """Currents of the tanh cells at a state, into the summing nodes that they feed."""
    scale, current = chip.design.card.tanh_scale, chip.design.card.tanh_current
    out: dict[Port, list[Cells]] = {}
    for cells in chip.circuit.cells:
        v = cells.sign * volts[cells.source.bank] + cells.offset.numpy()
        g = cells.sign * current / scale * (1 - np.tanh(v / scale) ** 2)
        out.setdefault(cells.into, []).append(Cells(cells.source, g[:, None, None, :]))
    return out
