"""The behavioural realisation: a chip's equations integrated in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.amplifiers import AmplifierModel, Rung
from analogdfc.circuit.averages import Ending, Reader, Until, UpdateSum, Watch, gauss
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Description
from analogdfc.circuit.nodal import NodalEquations
from analogdfc.circuit.probes import probes, trajectory
from analogdfc.circuit.release import Release
from analogdfc.circuit.static import StaticChip, must_move
from analogdfc.dynamics import Trajectory, Update
from analogdfc.dynamics.esdirk import ESDIRK, Piece
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
class _Run:
    """A run of released chips: what of it is wanted, for how long."""

    release: Release
    reader: Reader
    free: Tensor
    columns: Tensor
    dt: float
    steps: int
    watch: Watch | None

    def recorded(self, piece: Piece, until: float) -> range:
        """Times of the record within a step, up to a part of it."""
        numbers = piece.among(self.steps)
        if until == 1:
            return numbers
        return range(
            numbers.start, sum(piece.part(k, self.steps) <= until for k in numbers) + numbers.start
        )


class Behavioural:
    """Chips of one network, run together.

    Args:
        chips: the chips; the same layer sizes and seconds per unit of time, anything else may
            differ (seeds, cards, readout).
        rung: detail of the amplifier model.
        tolerance: error of a time step in volts.
        device: where the equations are integrated.

    Attributes:
        ending: when and why the last run ended that was to end once its updates had settled.

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
        self.ending: Ending | None = None
        self.integrator = ESDIRK(tolerance, _SETTLE / fastest if fastest else math.inf)

    def run(
        self,
        x: Tensor,
        step: Tensor,
        *,
        dt: float,
        steps: int,
        until: Until | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> list[Trajectory]:
        """Release the controller and follow the waveforms.

        Args:
            x: inputs, (batch, n_0), dimensionless.
            step: step of the output target, r* - r_L of the free phase, (batch, n_L).
            dt: spacing of the record, in units of the controller's time.
            steps: number of intervals recorded.
            until: end the record where the updates of all chips have settled, if that is earlier;
                `ending` says whether it was.
            progress: called after each interval with the number finished.

        Returns:
            One trajectory a chip.

        Raises:
            ConvergenceError: no operating point, or a step size too small.
            UserError: a record that is none or too short to see an update settle, or tensors whose
                gradient is asked for: there is none.
        """
        run = self._released(x, step, dt, steps, until)
        check_memory(
            run.free.numel() * (steps + 1),
            f"waveforms of {len(x)} samples over {steps} steps",
            "A shorter time needs less",
        )
        history = run.free.new_empty(steps + 1, *run.free.shape)
        done = 0
        for piece, end in self._pieces(run):
            numbers = run.recorded(piece, end)
            if numbers:
                history[done : numbers.stop] = piece.at(numbers, steps)
                done = numbers.stop
                if progress is not None:
                    progress(done - 1)
        t = torch.arange(done, dtype=history.dtype, device=history.device) * dt
        waves = run.reader.volts(history[:done].permute(1, 2, 0, 3))
        free = run.reader.volts(run.free)
        return [
            trajectory(
                chip,
                t,
                run.reader.x,
                {name: wave[c] for name, wave in waves.items()},
                {name: volts[c] for name, volts in free.items()},
            )
            for c, chip in enumerate(self.chips)
        ]

    def average(
        self,
        x: Tensor,
        step: Tensor,
        *,
        dt: float,
        steps: int,
        trapezoidal: bool = False,
        until: Until | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> list[Update]:
        """Release the controller and average the update, without a record of the waveforms.

        Args:
            x: inputs, (batch, n_0), dimensionless.
            step: step of the output target, (batch, n_L).
            dt: in units of the controller's time, a time that is short for what is looked for.
            steps: length of the run in units of it.
            trapezoidal: average by the trapezoidal rule over times dt apart, as `Update.of` does of
                waveforms; else exactly, over the polynomials between the steps.
            until: end where the updates of all chips have settled, if that is earlier; `ending`
                says whether it was.
            progress: called after each interval with the number finished.

        Returns:
            One update a chip, each with the free phase's value subtracted where the chip does.

        Raises:
            ConvergenceError: see `run`.
            UserError: see `run`.
        """
        run = self._released(x, step, dt, steps, until)
        total, last, ones = UpdateSum(run.reader), run.free[None], run.free.new_ones
        done = 0
        for piece, end in self._pieces(run):
            if trapezoidal:
                numbers = run.recorded(piece, end)
                if numbers:
                    states = piece.at(numbers, steps)
                    total.add(states, ones(len(states)))
                    if numbers.start == 0:
                        total.add(states[:1], ones(1) / -2)
                    last, done = states[-1:], numbers[-1]
            else:
                points, weights = gauss(piece, end)
                total.add(piece.inside(points), torch.from_numpy(weights).to(last))
            if progress is not None and (numbers := run.recorded(piece, end)):
                progress(numbers[-1])
        if trapezoidal:
            total.add(last, ones(1) / -2)
            return total.over(done)
        return total.over(piece.begin + end * (piece.end - piece.begin))

    def _released(
        self, x: Tensor, step: Tensor, dt: float, steps: int, until: Until | None
    ) -> _Run:
        """A run that is about to begin."""
        if not (dt > 0 and steps >= 1):
            raise UserError(f"dt = {dt}, steps = {steps}: both must be positive")
        self._refuse_gradients(x, step)
        x, step = self._here(x), self._here(step)
        release = self.release(x, step)
        nodes = {name: self.model.columns(name) for name in probes(self.circuit)}
        columns = torch.cat(list(nodes.values()))
        free = release.free[..., columns]
        reader = Reader(self.chips, x, {name: len(at) for name, at in nodes.items()}, free)
        watch = None if until is None else Watch(until, reader, dt * steps)
        return _Run(release, reader, free, columns, dt, steps, watch)

    def _pieces(self, run: _Run) -> Iterator[tuple[Piece, float]]:
        """The steps of a run, each with the part of it up to which the run goes."""
        self.ending = None
        for piece in self.integrator.pieces(
            run.release.system,
            run.release.free,
            run.dt * self.chips[0].design.seconds,
            run.steps,
            watched=self.model.watched,
            columns=run.columns,
        ):
            if run.watch is not None and run.watch.settled(piece):
                yield piece, piece.part(run.watch.number, run.watch.checks)
                break
            yield piece, 1.0
        if run.watch is not None:
            self.ending = run.watch.ending()

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
        u = self.model.columns(self.circuit.control.u.bank)
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
        check_samples(self.chips[0].design.sizes, x, step, what="target steps")
        check_solving(self.model.unknowns, len(self.chips), len(x))
        if not (torch.isfinite(x).all() and torch.isfinite(step).all()):
            raise UserError("inputs and target steps must be finite numbers")
        return Release.of(self.model, self._here(x), self._here(step))

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

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.model.device, torch.float64)


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


def _finite_eigenvalues(
    jacobian: NDArray[np.float64], mass: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Finite eigenvalues of the pencil (jacobian, mass), by decreasing real part."""
    inverse = scipy.linalg.eigvals(np.linalg.solve(jacobian, mass))
    kept = inverse[np.abs(inverse) > 1e-15]
    values = 1 / kept
    return values[np.argsort(-values.real)].astype(np.complex128)
