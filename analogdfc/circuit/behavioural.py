"""The behavioural realisation: a chip's equations integrated in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.amplifiers import AmplifierModel, Rung
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Description
from analogdfc.circuit.nodal import NodalEquations
from analogdfc.circuit.probes import probes, trajectory
from analogdfc.circuit.static import StaticChip, must_move
from analogdfc.dynamics import Trajectory
from analogdfc.dynamics.esdirk import ESDIRK
from analogdfc.dynamics.loop import free_state
from analogdfc.dynamics.loop import output as free_output
from analogdfc.dynamics.semilinear import Semilinear
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.memory import check_memory
from analogdfc.samples import check_samples

UNKNOWNS = 4
"""Unknowns of an amplifier in the full model."""

_OF_A_CHIP = 6
"""Numbers that its equations and their factors take, by the square of its amplifiers; a bound for
crossbars with wires, measured, as are the next two."""

_OF_AN_UNKNOWN = 600
_OF_A_STATE = 40
"""Numbers that the cells of a chip take, and a step of one sample, by the unknowns."""

_USUAL_STEPS = 80
"""Steps that a loop takes which doesn't ring; errors of more may add up."""

_ELSEWHERE, _NEARBY = 0.3, 0.05
"""Part of the control signal, and volts, by which a rest may differ from that of the static model,
which has no rails; another rest lies farther away."""

_SETTLE = 6e-6
"""Time over the release as a part of an amplifier's 1 / gain-bandwidth."""


@dataclass(frozen=True)
class Release:
    """Everything that is fixed when the controller is released.

    Attributes:
        free: unknowns of the free phase, (chips, batch, n).
        system: the equations from then on.
        sources: voltages of the sources, (chips, batch, sources).
        zero: voltages that the auto-zero has stored, (chips, batch, n_L).
    """

    free: Tensor
    system: Semilinear
    sources: Tensor
    zero: Tensor


class Behavioural:
    """Chips of one network, run together.

    Args:
        chips: the chips; the same layer sizes and seconds per unit of time, anything else may
            differ (seeds, cards, readout).
        rung: detail of the amplifier model.
        tolerance: error of a time step in volts.
        device: where the equations are integrated.

    Raises:
        UserError: no chips, or chips that can't run together.
    """

    def __init__(
        self,
        chips: Sequence[Chip],
        rung: Rung = Rung.FULL,
        *,
        tolerance: float = 2e-6,
        device: torch.device | str = "cpu",
    ) -> None:
        if not chips:
            raise UserError("the behavioural model needs at least one chip")
        if len({_shape(c) for c in chips}) != 1:
            raise UserError(
                "chips of different layer sizes, activations, controllers or time scales can't "
                "run together"
            )
        self.chips = list(chips)
        amplifiers = self.circuit.amplifiers
        check_memory(
            _OF_A_CHIP * len(chips) * amplifiers**2,
            f"the equations of {amplifiers} amplifiers, {len(chips)} chips,",
            "A smaller network needs less",
        )
        self.model = AmplifierModel([NodalEquations.of(c) for c in chips], rung, device)
        bandwidths = [c.design.card.amplifier.gain_bandwidth for c in chips]
        fastest = max((b for b in bandwidths if b is not None), default=0.0)
        # In a slow loop's spacing the amplifiers would have moved before the first state.
        self.integrator = ESDIRK(tolerance, _SETTLE / fastest if fastest else math.inf)

    def run(
        self,
        x: Tensor,
        step: Tensor,
        *,
        dt: float,
        steps: int,
        progress: Callable[[int], object] | None = None,
    ) -> list[Trajectory]:
        """Release the controller and follow the waveforms.

        Args:
            x: inputs, (batch, n_0), dimensionless.
            step: step of the output target, r* - r_L of the free phase, (batch, n_L).
            dt: spacing of the record, in units of the controller's time.
            steps: number of intervals recorded.
            progress: called after each interval with the number finished.

        Returns:
            One trajectory a chip.

        Raises:
            ConvergenceError: no operating point, or a step size too small.
            UserError: a record that is none, or tensors whose gradient is asked for: there is none.
        """
        if not (dt > 0 and steps >= 1):
            raise UserError(f"dt = {dt}, steps = {steps}: both must be positive")
        self._refuse_gradients(x, step)
        x, step = self._here(x), self._here(step)
        release = self.release(x, step)
        nodes = {name: self._columns(name) for name in probes(self.circuit)}
        sizes = [len(columns) for columns in nodes.values()]
        signals = sum(sizes)
        check_memory(
            len(self.chips) * len(x) * (steps + 1) * signals,
            f"waveforms of {len(x)} samples over {steps} steps",
            "A shorter time needs less",
        )
        history = x.new_empty(steps + 1, len(self.chips), len(x), signals)
        columns = torch.cat(list(nodes.values()))
        seconds = self.chips[0].design.seconds
        states = self.integrator.run(
            release.system,
            release.free,
            dt * seconds,
            steps,
            watched=self.model.watched,
            columns=columns,
        )
        done = 0
        for found in states:
            history[done : done + len(found)] = found
            done += len(found)
            if progress is not None:
                progress(done - 1)
        t = torch.arange(steps + 1, dtype=x.dtype, device=x.device) * dt
        parts = dict(zip(nodes, torch.split(history, sizes, dim=-1), strict=True))
        return [
            trajectory(
                chip,
                t,
                x,
                {name: waves[:, c].transpose(0, 1) for name, waves in parts.items()},
                {name: release.free[c][:, at] for name, at in nodes.items()},
            )
            for c, chip in enumerate(self.chips)
        ]

    @property
    def needed(self) -> float:
        """Tolerance with which the last run would have been as accurate as one that doesn't ring.

        While a loop rings, it takes many steps, whose errors don't decay. With the errors of an
        oscillation, near the limit of stability, the third power was found to be on the safe side.
        """
        return self.integrator.tolerance * min(1.0, (_USUAL_STEPS / self.integrator.steps) ** 3)

    def modes(
        self, x: Tensor, step: Tensor, *, at_rest: bool = True
    ) -> list[list[NDArray[np.complex128]]]:
        """Eigenvalues of the released loop at its steady state, slowest or least stable first.

        Args:
            x: inputs, (batch, n_0).
            step: steps of the output target, (batch, n_L).
            at_rest: else at the free state, in which the controller is released.

        Returns:
            For every chip and sample the eigenvalues, in 1 / (unit of the controller's time). A
            positive real part is a loop that oscillates or runs away.

        Raises:
            ConvergenceError: no steady state was found, or the one that was found is held at the
                amplifiers' rails, where the loop is open.
        """
        check_memory(
            4 * len(self.chips) * len(x) * self.model.unknowns**2,
            f"the dense linear equations of {self.model.unknowns} unknowns for {len(x)} samples of "
            f"{len(self.chips)} chips",
            "Fewer samples or a smaller network need less; 'analysis.settling' finds the slowest "
            "modes of large ones",
        )
        release = self.release(self._here(x), self._here(step))
        system, z = release.system, release.free
        if at_rest:
            start, known = self._near_rest(x, step, release)
            z = system.equilibrium(self.model.relaxed(system).equilibrium(start))
            self._refuse_rails(z)
            self._refuse_elsewhere(z[known], start[known])
        jacobian, masses = system.jacobian(z).cpu().numpy(), system.mass.dense()
        seconds = self.chips[0].design.seconds
        out = []
        for c in range(len(self.chips)):
            mass = masses[c].cpu().numpy()
            rows = [_finite_eigenvalues(jacobian[c, b], mass) * seconds for b in range(len(x))]
            out.append(rows)
        return out

    def _refuse_rails(self, z: Tensor) -> None:
        """Raise an error where the controller or the output rests at its amplifiers' rails."""
        for bank in must_move(self.circuit):
            held = self.model.held(z, self.model.nodal[0].bank(bank)).any(dim=-1)
            if bool(held.any()):
                c, k = torch.nonzero(held)[0].tolist()
                limit = self.chips[c].design.card.amplifier.saturation
                raise ConvergenceError(
                    f"sample {k} (counted from 0): the loop ends with '{bank}' held at the "
                    f"amplifiers' rails of {limit:.3g} V. Take smaller target steps, stronger "
                    "feedback weights or fewer volts in [scale]"
                )

    def _refuse_elsewhere(self, z: Tensor, near: Tensor) -> None:
        """Raise an error where the rest that was found isn't the one near which it was sought."""
        u = self._columns(self.circuit.control.u.bank)
        wanted = near[..., u]
        off = (z[..., u] - wanted).abs().amax(dim=-1)
        if bool((off > _ELSEWHERE * wanted.abs().amax(dim=-1) + _NEARBY).any()):
            raise ConvergenceError(
                "Newton's method found another rest than the one to which the dynamics go"
            )

    def _near_rest(self, x: Tensor, step: Tensor, release: Release) -> tuple[Tensor, list[int]]:
        """Where Newton's method starts, so that it finds the rest to which the dynamics go.

        The static model follows them; the free state is all there is where it comes to no rest.

        Returns:
            The start, and the chips whose rest the static model knows.
        """
        start, known = release.free.clone(), []
        for c, chip in enumerate(self.chips):
            try:
                state = StaticChip.of(chip).solve(
                    x.cpu().double(), step.cpu().double(), reached=False
                )
            except ConvergenceError:
                continue
            if (limit := chip.design.card.amplifier.saturation) is not None:
                state.check_rails(limit)
            known.append(c)
            for bank, volts in state.volts_rest.items():
                # The stages within an amplifier stand where its output does.
                for columns in self.model.stages(self.model.nodal[0].bank(bank)):
                    start[c][..., columns] = self._here(volts)
        return start, known

    def release(self, x: Tensor, step: Tensor) -> Release:
        """The free phase, and the equations that take over from it.

        Args:
            x: inputs, (batch, n_0).
            step: steps of the output target, (batch, n_L).

        Raises:
            UserError: inputs or steps that don't fit or aren't finite, or no samples.
            ConvergenceError: no operating point.
        """
        sizes = self.chips[0].design.sizes
        check_samples(sizes, x, step, what="target steps")
        chips, samples, n_out = len(self.chips), len(x), sizes[-1]
        check_solving(self.model.unknowns, chips, samples)
        if not (torch.isfinite(x).all() and torch.isfinite(step).all()):
            raise UserError("inputs and target steps must be finite numbers")
        units = [c.design.card.scale.activation for c in self.chips]
        unit = self._here(torch.tensor(units, dtype=torch.float64))[:, None, None]
        bias = self._here(torch.tensor([1.0, -1.0])).expand(chips, samples, 2)
        inputs = torch.cat([x, -x], dim=1).expand(chips, -1, -1)
        zero = x.new_zeros(chips, samples, n_out)
        held = torch.cat([inputs, bias, zero], dim=2) * unit
        system, sources = self.model.system(released=False)
        system = _driven(system, sources, held)
        start = held.new_zeros(chips, samples, self.model.unknowns)
        start = self.model.relaxed(system).equilibrium(start)
        free = system.equilibrium(start)
        volts = held + _last(self._target(x, step, free), held)
        zero = self._zero(free)
        system, sources = self.model.system(released=True)
        system = _driven(system, sources, volts).driven(self.model.error_input(zero))
        return Release(free, system, volts, zero)

    def _refuse_gradients(self, x: Tensor, step: Tensor) -> None:
        """Raise an error where a gradient is wanted, which the rests would cut."""
        designs = [chip.design for chip in self.chips]
        parts = {
            "x": (x,),
            "step": (step,),
            "the weights": [t for d in designs for t in (*d.weights, *d.biases)],
            "the feedback": [t for d in designs for t in d.feedback],
        }
        for name, tensors in parts.items():
            if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
                raise UserError(
                    f"{name}: a gradient is asked for, and the behavioural model has none, since "
                    "its states at rest are solved for without. Detach the tensors, or run it "
                    "within torch.no_grad()"
                )

    @property
    def circuit(self) -> Description:
        """The circuit of the first chip; all have the same stages."""
        return self.chips[0].circuit

    def _output(self, bank: str, z: Tensor) -> Tensor:
        return z[..., self._columns(bank)]

    def _columns(self, bank: str) -> Tensor:
        """Indices of a stage's output voltages among the unknowns."""
        nodes = self.model.outputs[self.model.nodal[0].bank(bank)]
        return torch.from_numpy(nodes).to(self.model.device)

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.model.device, torch.float64)

    def _target(self, x: Tensor, step: Tensor, free: Tensor) -> Tensor:
        """Voltages of the target sources, -r*, (chips, batch, n_L)."""
        measured = self._output(self.circuit.output.bank, free)
        out = []
        for c, chip in enumerate(self.chips):
            unit = chip.design.card.scale.activation
            output = measured[c]
            if not chip.design.readout.relative_target:
                loop = chip.design.loop()
                output = self._here(free_output(loop, free_state(loop, x.cpu()))) * unit
            out.append(-(output + step * unit))
        return torch.stack(out)

    def _zero(self, free: Tensor) -> Tensor:
        """Voltages that the auto-zero has stored, (chips, batch, n_L)."""
        zero = self.circuit.auto_zero
        stored = self._output(zero.signal.bank, free)
        stored = stored - self.model.summing_voltage(zero.reference.bank, free)
        on = [float(c.design.readout.auto_zero) for c in self.chips]
        return stored * self._here(torch.tensor(on))[:, None, None]


def check_solving(unknowns: int, chips: int, samples: int) -> None:
    """Make sure that there is memory for the steps of several runs at a time.

    Args:
        unknowns: of the equations; of the full model `UNKNOWNS` an amplifier.
        chips: how many run together.
        samples: of each.

    Raises:
        UserError: there isn't.
    """
    check_memory(
        chips * unknowns * (_OF_AN_UNKNOWN + _OF_A_STATE * samples),
        f"solving {unknowns} equations at a time for {samples} samples of {chips} chips",
        "Fewer samples or a smaller network need less",
    )


def _shape(chip: Chip) -> tuple[object, ...]:
    """What chips that run together share."""
    circuit = chip.circuit
    banks = tuple((bank.name, bank.size) for bank in circuit.banks)
    return banks, chip.design.sizes, len(circuit.branches), chip.design.seconds


def _driven(system: Semilinear, sources: Tensor, volts: Tensor) -> Semilinear:
    """The system with these voltages of its sources, (chips, batch, sources)."""
    return replace(system, constant=system.constant + sources @ volts.mT)


def _last(target: Tensor, like: Tensor) -> Tensor:
    out = torch.zeros_like(like)
    out[..., -target.shape[-1] :] = target
    return out


def _finite_eigenvalues(
    jacobian: NDArray[np.float64], mass: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Finite eigenvalues of the pencil (jacobian, mass), by decreasing real part."""
    inverse = scipy.linalg.eigvals(np.linalg.solve(jacobian, mass))
    kept = inverse[np.abs(inverse) > 1e-15]
    values = 1 / kept
    return values[np.argsort(-values.real)].astype(np.complex128)
