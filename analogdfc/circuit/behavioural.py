"""The behavioural realisation: a chip's equations integrated in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.amplifiers import AmplifierModel, Rung
from analogdfc.circuit.averages import Ending, Reader, Rounding, Until, UpdateSum, Watch, gauss
from analogdfc.circuit.capacity import check_equations, check_modes, check_solving
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Description
from analogdfc.circuit.modes import eigenvalues, rest
from analogdfc.circuit.nodal import NodalEquations
from analogdfc.circuit.probes import probes, readings, scaled
from analogdfc.circuit.release import Release, TargetStep
from analogdfc.circuit.sequences import Noise
from analogdfc.circuit.updates import read_update
from analogdfc.circuit.waveforms import Waveforms
from analogdfc.dynamics import Trajectory, Update
from analogdfc.dynamics.esdirk import ESDIRK, TOLERANCE, WHOLE, Piece
from analogdfc.errors import UserError
from analogdfc.memory import check_memory
from analogdfc.samples import check_samples

_USUAL_STEPS = 75
"""Steps that a loop takes which doesn't ring; errors of more may add up."""

_ENOUGH = 0.7
"""Part of a tolerance beyond which a run with less isn't worth it."""

RELEASE = 6e-6
"""Time over the release as a part of an amplifier's 1 / gain-bandwidth."""


_PRECISIONS = {torch.float64: (TOLERANCE, 0.0), torch.float32: (1e-4, 5e-5)}
"""Usual and least error of a step, in volts."""


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
        tolerance: error of a time step in volts; by default 2e-6, and 1e-4 in single precision.
        device: where the equations are integrated.
        dtype: precision in which they are: `torch.float64`, or `torch.float32`, which takes half
            the memory. Their free phase, and the components, are in double precision always, and
            so is what is returned; `rounding` says what single precision has done to the update.

    Attributes:
        ending: when and why the last run ended that was to end once its updates had settled.
        rounding: what single precision did to the update of the last run; None in double precision.

    Raises:
        UserError: a precision that is neither, or a tolerance that is lost in its rounding; no
            chips, or chips that can't run together.
    """

    def __init__(
        self,
        chips: Sequence[Chip],
        rung: Rung = Rung.FULL,
        *,
        tolerance: float | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        if dtype not in _PRECISIONS:
            raise UserError(f"dtype = {dtype}: it must be torch.float64 or torch.float32")
        usual, least = _PRECISIONS[dtype]
        if tolerance is None:
            tolerance = usual
        if not 0 < tolerance < math.inf:
            raise UserError(f"tolerance = {tolerance:g} V: it must be finite and > 0")
        if tolerance < least:
            raise UserError(
                f"tolerance = {tolerance:g} V: in {dtype} steps err by {least:g} V by rounding "
                "alone; allow more, or take torch.float64"
            )
        if not chips:
            raise UserError("the behavioural model needs at least one chip")
        if len({_shape(c) for c in chips}) != 1:
            raise UserError(
                "chips of different layer sizes, activations, controllers or time scales can't "
                "run together"
            )
        self.chips = list(chips)
        check_equations(self.circuit.amplifiers, len(chips))
        self.model = AmplifierModel(NodalEquations.of_all(chips), rung, device)
        bandwidths = [c.design.card.amplifier.gain_bandwidth for c in chips]
        fastest = max((b for b in bandwidths if b is not None), default=0.0)
        # In a slow loop's spacing the amplifiers would have moved before the first state.
        self.dtype = dtype
        self.ending: Ending | None = None
        self.rounding: Rounding | None = None
        self.integrator = ESDIRK(tolerance, RELEASE / fastest if fastest else math.inf)

    def run(
        self,
        x: Tensor,
        step: Tensor,
        *,
        dt: float,
        steps: int,
        until: Until | None = None,
        progress: Callable[[int], object] | None = None,
        noise: Noise | None = None,
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
            noise: from the release on, of the card's densities or put into feedback compartments;
                none by default. The free phase is at rest, without noise.

        Returns:
            One trajectory a chip.

        Raises:
            ConvergenceError: no operating point, or a step size too small.
            UserError: a record that is none or too short to see an update settle, tensors whose
                gradient is asked for: there is none, or noise of another model than the full one.
        """
        run = self._released(x, step, dt, steps, until)
        drive = None if noise is None else self._drive(run, noise)
        check_memory(
            run.free.numel() * (steps + 1),
            f"waveforms of {len(x)} samples over {steps} steps",
            "A shorter time needs less",
        )
        waves = Waveforms(self.chips, run.reader.sizes, run.free, steps + 1)
        for piece, end in self._pieces(run, drive):
            if numbers := run.recorded(piece, end):
                waves.write(piece, numbers, steps)
                if progress is not None:
                    progress(numbers[-1])
        done = waves.written
        runs = waves.trajectories(run.reader.x, dt)
        if self.dtype is not torch.float64:
            doubled = self.chips[0].design.readout.double_sampling
            update = Update.of(runs[0], double_sampling=doubled)
            self.rounding = self._lost(update, x, step, dt=dt, steps=done - 1, trapezoidal=True)
        return runs

    def average(
        self,
        x: Tensor,
        step: TargetStep,
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
            step: step of the output target, (batch, n_L); or what makes it of the r_L that is
                measured in the free phase, (chips, batch, n_L).
            dt: in units of the controller's time, a time that is short for what is looked for.
            steps: length of the run in units of it.
            trapezoidal: average by the trapezoidal rule over times dt apart, as `Update.of` does of
                waveforms; else exactly, over the polynomials between the steps.
            until: end where the updates of all chips have settled, if that is earlier; `ending`
                says whether it was.
            progress: called after each interval with the number finished.

        Returns:
            One update a chip, each with the free phase's value subtracted where the chip does; of
            a chip with an update path not the average, but what the path forms at the end.

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
                    states = piece.at(numbers, steps).to(last)
                    total.add(states, ones(len(states)))
                    if numbers.start == 0:
                        total.add(states[:1], ones(1) / -2)
                    last, done = states[-1:], numbers[-1]
            else:
                points, weights = gauss(piece, end)
                total.add(piece.inside(points).to(last), torch.from_numpy(weights).to(last))
            if progress is not None and (numbers := run.recorded(piece, end)):
                progress(numbers[-1])
        if trapezoidal:
            total.add(last, ones(1) / -2)
            updates, whole = total.over(done), (dt, done)
        else:
            updates = total.over(piece.begin + end * (piece.end - piece.begin))
            whole = (dt * steps if self.ending is None else self.ending.time) / steps, steps
        updates = self._read(run, updates, piece, end, whole[0] * whole[1])
        if self.dtype is not torch.float64:
            self.rounding = self._lost(
                updates[0],
                x,
                run.release.step[0],
                dt=whole[0],
                steps=whole[1],
                trapezoidal=trapezoidal,
            )
        return updates

    def _read(
        self, run: _Run, averages: list[Update], piece: Piece, end: float, duration: float
    ) -> list[Update]:
        """The averages, but of chips with an update path what that forms at the end."""
        if all(chip.circuit.update is None for chip in self.chips):
            return averages
        states = piece.inside(np.array([end / 2, end])).to(run.free)
        seconds = self.chips[0].design.seconds
        gap = end / 2 * (piece.end - piece.begin) / WHOLE * run.dt * run.steps * seconds
        free, (early, late) = run.reader.volts(run.free), map(run.reader.volts, states)
        found = []
        for c, (chip, average) in enumerate(zip(self.chips, averages, strict=True)):
            if chip.circuit.update is None:
                found.append(average)
                continue
            start, before, last = (
                readings(chip, scaled(chip, {name: v[c] for name, v in volts.items()}))
                for volts in (free, early, late)
            )
            found.append(
                read_update(
                    chip, run.reader.x, start, last,
                    seconds=duration * seconds, before=(before, gap),
                )
            )  # fmt: skip
        return found

    def _lost(self, single: Update, x: Tensor, step: Tensor, **times: Any) -> Rounding:
        """What single precision has done to the update of the first chip's first sample."""
        exact = Behavioural(
            self.chips[:1],
            self.model.rung,
            tolerance=self.integrator.tolerance,
            device=self.model.device,
        )
        (double,) = exact.average(x[:1], step[:1], **times)
        return Rounding.of(single, double)

    def _released(
        self, x: Tensor, step: TargetStep, dt: float, steps: int, until: Until | None
    ) -> _Run:
        """A run that is about to begin."""
        if not (0 < dt < math.inf and steps >= 1 and float(steps).is_integer()):
            raise UserError(
                f"dt = {dt}, steps = {steps}: both must be positive and finite, and steps whole"
            )
        self._refuse_gradients(x, step)
        x = self._here(x)
        release = self.release(x, step)
        nodes = {name: self.model.columns(name) for name in probes(self.circuit)}
        columns = torch.cat(list(nodes.values()))
        free = release.free[..., columns]
        reader = Reader(self.chips, x, {name: len(at) for name, at in nodes.items()}, free)
        watch = None if until is None else Watch(until, reader, dt * steps)
        return _Run(release, reader, free, columns, dt, steps, watch)

    def _drive(self, run: _Run, noise: Noise) -> Sequence[Tensor]:
        """The noise of a run."""
        if self.dtype is not torch.float64:
            raise UserError("waveforms with noise are those of the model in double precision")
        seconds = run.dt * run.steps * self.chips[0].design.seconds
        return noise.drive(self.model, run.release, seconds)

    def _pieces(
        self, run: _Run, drive: Sequence[Tensor] | None = None
    ) -> Iterator[tuple[Piece, float]]:
        """The steps of a run, each with the part of it up to which the run goes."""
        self.ending = self.rounding = None
        spacing = run.dt * self.chips[0].design.seconds
        system, free = run.release.system.to(self.dtype), run.release.free.to(self.dtype)
        watched, columns = self.model.watched, run.columns
        if drive is None:
            pieces = self.integrator.pieces(
                system, free, spacing, run.steps, watched=watched, columns=columns
            )
        else:
            pieces = self.integrator.driven(
                system, free, drive, spacing * run.steps, watched=watched, columns=columns
            )
        for piece in pieces:
            if run.watch is not None and run.watch.settled(piece):
                yield piece, piece.part(run.watch.number, run.watch.checks)
                break
            yield piece, 1.0
        if run.watch is not None:
            self.ending = run.watch.ending()

    def outputs(self, x: Tensor, injected: Tensor | None = None) -> Tensor:
        """Output r_L that is measured in the free phase, (chips, batch, n_L), dimensionless.

        Args:
            x: inputs, (batch, n_0).
            injected: what sources of noise put into feedback compartments, (batch, neurons), see
                `Release.of`.

        Raises:
            ConvergenceError: no operating point.
        """
        found: list[Tensor] = []

        def step(output: Tensor) -> Tensor:
            found.append(output)
            return torch.zeros_like(output)

        self.release(x, step, injected)
        return found[0]

    @property
    def needed(self) -> float:
        """Tolerance with which the last run would have been as accurate as one that doesn't ring.

        While a loop rings, it takes many steps, whose errors don't decay. With the errors of an
        oscillation, near the limit of stability, the third power was found to be on the safe side.
        """
        return self.integrator.tolerance * min(1.0, (_USUAL_STEPS / self.integrator.steps) ** 3)

    @property
    def rings(self) -> bool:
        """Whether the last run needed less tolerance by so much that another is worth it."""
        return self.needed <= _ENOUGH * self.integrator.tolerance

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
        check_modes(self.model.unknowns, len(self.chips), len(x))
        release = self.release(x, step)
        z = rest(self.model, x, step, release) if at_rest else release.free
        return eigenvalues(self.model, release, z)

    def release(self, x: Tensor, step: TargetStep, injected: Tensor | None = None) -> Release:
        """The free phase, and the equations that take over from it.

        Args:
            x: inputs, (batch, n_0).
            step: steps of the output target, (batch, n_L), or what makes them; see `average`.
            injected: what sources of noise put into feedback compartments, (batch, neurons), see
                `Release.of`.

        Raises:
            UserError: inputs or steps that don't fit or aren't finite, or no samples.
            ConvergenceError: no operating point.
        """
        sizes = self.chips[0].design.sizes
        known = step if isinstance(step, Tensor) else x.new_zeros(len(x), sizes[-1])
        check_samples(sizes, x, known, what="target steps")
        check_solving(self.model.unknowns, len(self.chips), len(x))
        if not (torch.isfinite(x).all() and torch.isfinite(known).all()):
            raise UserError("inputs and target steps must be finite numbers")
        given = self._here(step) if isinstance(step, Tensor) else step
        return Release.of(self.model, self._here(x), given, injected)

    def _refuse_gradients(self, x: Tensor, step: TargetStep) -> None:
        """Raise an error where a gradient is wanted, which the rests would cut."""
        designs = [chip.design for chip in self.chips]
        parts = {
            "x": (x,),
            "step": (step,) if isinstance(step, Tensor) else (),
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


def _shape(chip: Chip) -> tuple[object, ...]:
    """What chips that run together share."""
    circuit = chip.circuit
    banks = tuple((bank.name, bank.size) for bank in circuit.banks)
    return banks, chip.design.sizes, len(circuit.branches), chip.design.seconds
