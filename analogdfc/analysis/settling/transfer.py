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
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.stages import Charge, Stages
from analogdfc.analysis.settling.sweep import Paths, Sweep, Term, Terms
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import CONTROLLER, Port
from analogdfc.circuit.static import StaticState
from analogdfc.errors import ConvergenceError

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_TOLERANCE = 1e-8
_SWEEPS = 40

_MOST = 2**26
"""Complex numbers that a sweep may hold, 1 GB."""

_OVERLOADED = (
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
    """

    def __init__(
        self,
        chip: Chip,
        point: OperatingPoint,
        paths: Paths | None = None,
        *,
        tolerance: float = _TOLERANCE,
    ) -> None:
        self.chip, self.point = chip, point
        self._tolerance = tolerance
        self._paths = paths or Paths.of(chip)
        self.numbers = self._paths.numbers
        self._cut = chip.circuit.control.u_minus.bank
        self._slopes = _slopes(chip, point.rest)

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(self.point.rest[self._cut])

    @property
    def channels(self) -> int:
        """Number of control channels n_L."""
        return self.chip.circuit.bank[self._cut].size

    def loop_gain(self, s: Complex) -> Complex:
        """L(s), (batch, points, n_L, n_L): minus what comes back for a unit at the cut.

        Args:
            s: complex frequencies, (points,), in radians per second.

        Raises:
            ConvergenceError: outputs that are loaded so much that nothing converges.
        """
        found = self.loop_gain_where_found(s)
        if np.isnan(found).any():
            raise ConvergenceError(_OVERLOADED)
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
        sweep, left = self._settle(self._slopes, self._stages(s), unit, {})
        back = sweep.o[self._cut]
        back[left] = np.nan
        return np.swapaxes(-back, -1, -2)

    def loop_gain_along(self, s: Complex, cut: Complex) -> Complex:
        """L(s) times a vector at every frequency, (points, n_L), for a batch of one.

        Args:
            s: complex frequencies, (points,), in radians per second; nan comes of those where it
                doesn't converge.
            cut: the vectors, (points, n_L).
        """
        sweep, left = self._settle(self._slopes, self._stages(s), cut[None, :, None, :], {})
        back = sweep.o[self._cut][..., 0, :]
        back[left] = np.nan
        return np.asarray(-back[0], dtype=np.complex128)

    def response(self, s: Complex, gain: Complex | None = None) -> dict[str, Complex]:
        """Deviations from rest after the release, as Laplace transforms.

        (s M - J)^-1 M (z_free - z_rest) with J the Jacobian at rest.

        Args:
            s: frequencies.
            gain: L(s), where it is known already.

        Returns:
            Output voltages by bank, (batch, points, n), in volts times seconds.

        Raises:
            ConvergenceError: as in `loop_gain`.
        """
        gain = self.loop_gain(s) if gain is None else gain
        stages, charges = self._released(s)
        push = self._open(stages, charges)
        cut = np.swapaxes(np.linalg.solve(np.eye(self.channels) + gain, push), -1, -2)
        return self._found(self._slopes, stages, cut, charges).read()

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
        stages = self._stages(s)
        charges = self._paths.charges(stages.s, {n: -v for n, v in self.point.free.items()})
        slopes = _slopes(self.chip, self.point.free)
        found = self._found(slopes, stages, self._nothing(s), charges).read()
        banks = self.chip.circuit.bank
        return {name: v for name, v in found.items() if banks[name].part != CONTROLLER}

    def unstable_stages(self) -> int:
        """Poles of single amplifiers, open loop, that lie in the right half-plane."""
        rate = 1 / self.chip.design.tau_v_seconds
        return sum(n.unstable_poles(self.numbers, rate) for n in self._paths.nodes.values())

    def _stages(self, s: Complex) -> Stages:
        return Stages(self._paths.nodes, self.numbers, s[None])

    def _nothing(self, s: Complex) -> Complex:
        return np.zeros((self.batch, len(s), 1, self.channels), dtype=complex)

    def _released(self, s: Complex) -> tuple[Stages, dict[str, Charge]]:
        moved = {name: self.point.free[name] - rest for name, rest in self.point.rest.items()}
        stages = self._stages(s)
        return stages, self._paths.charges(stages.s, moved)

    def _open(self, stages: Stages, charges: dict[str, Charge]) -> Complex:
        nothing = self._nothing(stages.s[0, :, 0, 0])
        return self._found(self._slopes, stages, nothing, charges).o[self._cut][..., 0, :, None]

    def _found(
        self, slopes: Terms, stages: Stages, cut: Complex, charges: dict[str, Charge]
    ) -> Sweep:
        sweep, left = self._settle(slopes, stages, cut, charges)
        if left.any():
            raise ConvergenceError(_OVERLOADED)
        return sweep

    def _settle(
        self, slopes: Terms, stages: Stages, cut: Complex, charges: dict[str, Charge]
    ) -> tuple[Sweep, NDArray[np.bool_]]:
        """Sweeps until nothing changes, and the points, (batch, points), where it still does."""
        sweep = Sweep(self._paths, slopes, stages, cut, charges, None).run()
        left = np.zeros(cut.shape[:2], dtype=bool)
        if not self._paths.backward:
            return sweep, left
        for _ in range(_SWEEPS):
            before = sweep
            before.last = None
            sweep = Sweep(self._paths, slopes, stages, cut, charges, before).run()
            now = sweep.o[self._cut]
            change = np.abs(now - before.o[self._cut]).max(axis=(-1, -2))
            left = ~(change <= self._tolerance * np.abs(now).max(axis=(-1, -2)))
            if not left.any():
                break
        return sweep, left


def _slopes(chip: Chip, volts: Mapping[str, Array]) -> Terms:
    """Currents of the tanh cells at a state, into the summing nodes that they feed."""
    scale, current = chip.design.card.scale.activation, chip.design.card.tanh.current
    out: dict[Port, list[Term]] = {}
    for cells in chip.circuit.cells:
        v = cells.sign * volts[cells.source.bank] + cells.offset.numpy()
        g = cells.sign * current / scale * (1 - np.tanh(v / scale) ** 2)
        out.setdefault(cells.into, []).append(_drawn(cells.source, g[:, None, None, :]))
    return out


def _drawn(port: Port, siemens: Array) -> Term:
    return Term(port, lambda v, _: -siemens * v)
