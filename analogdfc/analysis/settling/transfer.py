"""The linearised loop of a chip of any size, in the frequency domain.

The nodal equations of the chip (the full amplifier model without slewing) are solved stage
by stage at complex frequencies s. The loop is cut at the outputs of the n_L PI amplifiers: what the
cut drives comes back as -L(s) times it, and the modes of the loop are the zeros of det(I + L(s)).
The little that runs backwards, from an amplifier's summing node through the output resistance of
the one before, is found by iteration, so that no matrix is larger than a crossbar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.stages import AmplifierNumbers, Bank, Charge, Stages
from analogdfc.analysis.settling.sweep import CUT, Paths, Sweep
from analogdfc.analysis.settling.terminals import Crossbars
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticState
from analogdfc.errors import ConvergenceError

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_TOLERANCE = 1e-8
_SWEEPS = 40
_OVERLOADED = (
    "the transfer functions did not converge: [amplifier] output_resistance is too large for what "
    "the outputs drive"
)


@dataclass(frozen=True)
class OperatingPoint:
    """Output voltages of every stage ('layer1.basal' ... 'controller.inv'), (batch, n), in volts.

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

    def with_control(self, factor: float) -> OperatingPoint:
        """The same neurons, controlled through feedback weights that are larger by a factor."""
        rest = dict(self.rest)
        for name in ("controller.pi", "controller.inv"):
            rest[name] = self.free[name] + (rest[name] - self.free[name]) / factor
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
        crossbars: crossbars that are known already.

    Attributes:
        numbers: the amplifier's parameters.
        banks: the stages by name.
    """

    def __init__(
        self, chip: Chip, point: OperatingPoint, crossbars: Crossbars | None = None
    ) -> None:
        self.chip, self.point = chip, point
        self.numbers = AmplifierNumbers.of(chip.design.card)
        crossbars = crossbars or Crossbars()
        layers = range(1, chip.design.depth + 1)
        forward = [crossbars.forward(chip, i) for i in layers]
        feedback = [crossbars.feedback(chip, i) for i in layers]
        self.paths = Paths(chip, forward, feedback, _slopes(chip, point.rest))
        self.banks = _banks(self.paths, self.numbers.c_in)

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(self.point.rest[CUT])

    @property
    def channels(self) -> int:
        """Number of control channels n_L."""
        return self.chip.design.sizes[-1]

    def loop_gain(self, s: Complex) -> Complex:
        """L(s), (batch, points, n_L, n_L): minus what comes back for a unit at the cut.

        Raises:
            ConvergenceError: outputs that are loaded so much that nothing converges.
        """
        found = self.loop_gain_where_found(s)
        if np.isnan(found).any():
            raise ConvergenceError(_OVERLOADED)
        return found

    def loop_gain_where_found(self, s: Complex) -> Complex:
        """The same for frequencies that may lie on a pole, with nan where it doesn't converge."""
        n = self.channels
        unit = np.broadcast_to(np.eye(n, dtype=complex), (self.batch, len(s), n, n))
        sweep, left = self._settle(self.paths, self._stages(s), unit, {})
        back = sweep.o[CUT]
        back[left] = np.nan
        return np.swapaxes(-back, -1, -2)

    def response(self, s: Complex, gain: Complex | None = None) -> dict[str, Complex]:
        """Deviations from rest after the release, as Laplace transforms.

        (s M - J)^-1 M (z_free - z_rest) with J the Jacobian at rest.

        Args:
            s: frequencies.
            gain: L(s), where it is known already.

        Returns:
            Output voltages by stage, (batch, points, n), in volts times seconds.

        Raises:
            ConvergenceError: as in `loop_gain`.
        """
        gain = self.loop_gain(s) if gain is None else gain
        stages, charges = self._released(s)
        push = self._open(stages, charges)
        cut = np.swapaxes(np.linalg.solve(np.eye(self.channels) + gain, push), -1, -2)
        return self._found(self.paths, stages, cut, charges).read()

    def open_response(self, s: Complex) -> Complex:
        """What the PI amplifiers would do after the release if nothing went round the loop.

        The closed loop's transform at the cut is (I + L(s))^-1 times this.

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
            Output voltages of the layers' stages, (batch, points, n), in volts times seconds.
        """
        paths = replace(self.paths, slopes=_slopes(self.chip, self.point.free))
        stages = self._stages(s)
        charges = self._charges(stages, {n: -v for n, v in self.point.free.items()})
        found = self._found(paths, stages, self._nothing(s), charges).read()
        return {n: v for n, v in found.items() if not n.startswith("controller")}

    def unstable_stages(self) -> int:
        """Poles of single stages, open loop, that lie in the right half-plane."""
        rate = 1 / self.chip.design.tau_v_seconds
        return sum(bank.unstable_poles(self.numbers, rate) for bank in self.banks.values())

    def _stages(self, s: Complex) -> Stages:
        return Stages(self.banks, self.numbers, s[None])

    def _nothing(self, s: Complex) -> Complex:
        return np.zeros((self.batch, len(s), 1, self.channels), dtype=complex)

    def _charges(self, stages: Stages, moved: Mapping[str, Array]) -> dict[str, Charge]:
        return {
            name: bank.charge(stages.s, moved[name][:, None, None, :], self.numbers)
            for name, bank in self.banks.items()
        }

    def _released(self, s: Complex) -> tuple[Stages, dict[str, Charge]]:
        moved = {n: self.point.free[n] - self.point.rest[n] for n in self.banks}
        stages = self._stages(s)
        return stages, self._charges(stages, moved)

    def _open(self, stages: Stages, charges: dict[str, Charge]) -> Complex:
        nothing = self._nothing(stages.s[0, :, 0, 0])
        return self._found(self.paths, stages, nothing, charges).o[CUT][..., 0, :, None]

    def _found(
        self, paths: Paths, stages: Stages, cut: Complex, charges: dict[str, Charge]
    ) -> Sweep:
        sweep, left = self._settle(paths, stages, cut, charges)
        if left.any():
            raise ConvergenceError(_OVERLOADED)
        return sweep

    def _settle(
        self, paths: Paths, stages: Stages, cut: Complex, charges: dict[str, Charge]
    ) -> tuple[Sweep, NDArray[np.bool_]]:
        """Sweeps until nothing changes, and the points, (batch, points), where it still does."""
        sweep = Sweep(paths, stages, cut, charges, None).run()
        left = np.zeros(cut.shape[:2], dtype=bool)
        if self.numbers.r_out == 0 and not any(
            crossbar.across_columns is not None for crossbar in (*paths.forward, *paths.feedback)
        ):
            return sweep, left
        for _ in range(_SWEEPS):
            before = sweep
            before.last = None
            sweep = Sweep(paths, stages, cut, charges, before).run()
            now = sweep.o[CUT]
            change = np.abs(now - before.o[CUT]).max(axis=(-1, -2))
            left = ~(change <= _TOLERANCE * np.abs(now).max(axis=(-1, -2)))
            if not left.any():
                break
        return sweep, left


def _slopes(chip: Chip, volts: Mapping[str, Array]) -> dict[str, Array]:
    """Transconductances of the tanh cells at a state, (batch, 1, 1, n), in siemens."""
    card, out = chip.design.card, {}
    for i, parts in enumerate(chip.layers[:-1], start=1):
        for cell, driver, sign in (("act", "soma", 1.0), ("act_ff", "basal", -1.0)):
            v = sign * volts[f"layer{i}.{driver}"] + parts.tanh_offset[cell].numpy()
            slope = 1 - np.tanh(v / card.scale.activation) ** 2
            g = sign * card.tanh.current / card.scale.activation * slope
            out[f"layer{i}.{cell}"] = g[:, None, None, :]
    return out


def _banks(paths: Paths, c_in: float) -> dict[str, Bank]:
    """All stages, with everything that hangs on their nodes."""
    chip, design = paths.chip, paths.chip.design
    banks = {
        f"layer{i}.{name}": Bank.of(stage, c_in)
        for i, parts in enumerate(chip.layers, start=1)
        for name, stage in parts.stages.items()
    }
    controller = chip.controller
    for name in ("error", "inv"):
        banks[f"controller.{name}"] = Bank.of(controller.stages[name], c_in)
    banks[CUT] = Bank.integrator(
        controller.stages["pi"], c_in, controller.g_leak.numpy(), controller.c_i.numpy()
    )
    for i, (w, q) in enumerate(zip(paths.forward, paths.feedback, strict=True), start=1):
        lines = design.row_capacitance(i)
        banks[f"layer{i}.basal"].feed(w.columns, design.column_capacitance(i))
        banks[f"layer{i}.basal"].load(paths.input(f"layer{i}", "soma"))
        banks[f"layer{i}.soma"].feed(q.columns, design.column_capacitance(i, feedback=True))
        banks[CUT].load(q.loads[0], lines)
        banks["controller.inv"].load(q.loads[1], lines)
        if i > 1:
            banks[f"layer{i - 1}.act"].load(w.loads[0], lines)
            banks[f"layer{i - 1}.inv"].load(w.loads[1], lines)
        if i < design.depth:
            banks[f"layer{i}.act"].load(paths.input(f"layer{i}", "inv"))
    banks[f"layer{design.depth}.soma"].load(paths.input("controller", "error"))
    banks["controller.error"].load(paths.input("controller", "pi"))
    banks[CUT].load(paths.input("controller", "inv"))
    return banks
