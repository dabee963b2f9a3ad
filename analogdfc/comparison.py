"""How far two realisations of a design lie apart, and what drives them apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.dynamics import RungeKutta4, Trajectory, Update, simulate
from analogdfc.dynamics.loop import free_state, output
from analogdfc.errors import UserError
from analogdfc.measures import angle
from analogdfc.samples import check_samples

__all__ = [
    "LEAST_LEVEL",
    "ONSET",
    "RESOLUTION",
    "RESOLUTION_DEV",
    "Cause",
    "Comparison",
    "Kind",
    "StepError",
    "UpdateDifference",
    "causes",
    "compare",
    "ideal_run",
    "nrmse",
]

Kind = Literal["parity", "deviation"]
"""'parity': a model against the circuit that it models; 'deviation': a circuit against the ideal
equations, a finding about the circuit and not a fault of a model."""

ONSET = 0.1
"""Duration, in units of the controller's time, that 'u settled' leaves out: the ideal control
signal jumps at the release, which no circuit follows."""

RESOLUTION = 1e-4
"""Least excursion of a signal that is compared, as a part of its rms: ideal cells of a finite gain
and the simulator's tolerance leave 1e-6 of it, a hundredth of that."""

LEAST_LEVEL = 0.1
"""Least level of v and r, dimensionless: a silent signal shows what leaks into it from others, such
as the bias rails, whose level is 1."""

RESOLUTION_DEV = 1e-6
"""The same where each trace counts from its own free state, in which most of that error is."""


@dataclass(frozen=True)
class UpdateDifference:
    """One update against another.

    Attributes:
        angle: angle between the two, in degrees.
        norm_ratio: norm of the other over the norm of the reference.
        error: norm of the difference over the norm of the reference.
    """

    angle: float
    norm_ratio: float
    error: float

    @classmethod
    def of(cls, reference: Tensor, other: Tensor) -> UpdateDifference:
        """Of two tensors of the same shape, as flat vectors.

        Args:
            reference: the update that is aimed at, any shape.
            other: the other one, of the same shape.

        Raises:
            UserError: an update that is 0 has no angle.
        """
        a, b = reference.flatten(), other.flatten()
        norms = float(a.norm()), float(b.norm())
        if min(norms) == 0:
            raise UserError("an update is exactly 0, so it has no direction; is the target step 0?")
        return cls(angle(a, b), norms[1] / norms[0], float((a - b).norm()) / norms[0])


@dataclass(frozen=True)
class Comparison:
    """Two trajectories of one design side by side.

    Attributes:
        reference: name of the realisation that the other is measured against.
        other: name of the other.
        kind: what their difference means.
        signals: NRMSE of each signal, as a fraction. v and r relative to the rms excursion from
            the free state; 'v1 dev' the same with each trace less its own free state; u and e
            relative to their own rms, 'u settled' without the onset.
        updates: the update of each layer ('1'..'L', biases included) and of all ('all').
        settling: settling times of the reference and the other, mean over the samples, in seconds.
        unresolved: what moves so little that a relative error means nothing, and is therefore in
            neither `signals` nor `updates`: names of signals with their rms excursion
            (dimensionless), and 'update 1'.. with the norm of the reference's update.
    """

    reference: str
    other: str
    kind: Kind
    signals: dict[str, float]
    updates: dict[str, UpdateDifference]
    settling: tuple[float, float]
    unresolved: dict[str, float]

    @property
    def worst_signal(self) -> float:
        """Largest NRMSE of a signal, as a fraction."""
        return self.signals[self.worst_name]

    @property
    def worst_name(self) -> str:
        """The signal of the largest NRMSE."""
        return max(self.signals, key=self.signals.__getitem__)


def nrmse(reference: Tensor, other: Tensor, scale: Tensor) -> float:
    """rms(other - reference) / rms(scale), over all entries.

    Args:
        reference: the signal that is aimed at, any shape.
        other: the other one, of the same shape.
        scale: what the difference is measured against, any shape.

    Raises:
        UserError: the scale is 0 everywhere, so that a relative error means nothing.
    """
    size = _rms(scale)
    if size == 0:
        raise UserError("a signal does not move at all; is the target step 0?")
    return _rms(other - reference) / size


def compare(
    design: Design,
    names: tuple[str, str],
    kind: Kind,
    reference: Trajectory,
    other: Trajectory,
) -> Comparison:
    """Measure the difference of two trajectories of one design on the same inputs and grid.

    Args:
        design: the design.
        names: what the two are called.
        kind: what their comparison shows.
        reference: waveforms of the first.
        other: waveforms of the second.
    """
    signals: dict[str, float] = {}
    unresolved: dict[str, float] = {}
    for i in range(reference.depth):
        for name, pick in (("v", "v"), ("r", "r")):
            if name == "r" and design.activations[i] == "linear":
                continue  # r = v
            a, b = getattr(reference.neurons, pick)[i], getattr(other.neurons, pick)[i]
            start = getattr(reference.free, pick)[i].unsqueeze(1)
            own = getattr(other.free, pick)[i].unsqueeze(1)
            moved, level = _rms(a - start), max(_rms(a), LEAST_LEVEL)
            key = f"{name}{i + 1}"
            if moved > RESOLUTION * level:
                signals[key] = nrmse(a, b, a - start)
            else:
                unresolved[key] = moved
            if name == "v" and moved > RESOLUTION_DEV * level:
                signals[f"{key} dev"] = nrmse(a - start, b - own, a - start)
            elif name == "v":
                unresolved[f"{key} dev"] = moved
    late = reference.t > ONSET
    signals["u"] = nrmse(reference.u, other.u, reference.u)
    signals["u settled"] = nrmse(reference.u[:, late], other.u[:, late], reference.u[:, late])
    signals["e"] = nrmse(reference.e, other.e, reference.e)
    double_sampling = design.readout.double_sampling
    a, b = (Update.of(t, double_sampling=double_sampling) for t in (reference, other))
    updates: dict[str, UpdateDifference] = {}
    for i in range(1, design.depth + 1):
        one, two = a.layer(i), b.layer(i)
        if f"v{i} dev" in unresolved or min(float(one.norm()), float(two.norm())) == 0:
            unresolved[f"update {i}"] = float(one.norm())
        else:
            updates[str(i)] = UpdateDifference.of(one, two)
    updates["all"] = UpdateDifference.of(a.flat(), b.flat())
    settling = [float(t.settling_time().mean()) * design.seconds for t in (reference, other)]
    return Comparison(*names, kind, signals, updates, (settling[0], settling[1]), unresolved)


def _rms(signal: Tensor) -> float:
    return float(signal.square().mean().sqrt())


def ideal_run(
    design: Design, x: Tensor, step: Tensor, *, dt: float, steps: int, fine: bool = False
) -> Trajectory:
    """The ideal realisation: the design's equations, integrated accurately.

    Args:
        design: the design.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).
        dt: spacing of the record, in units of the controller's time.
        steps: number of intervals.
        fine: take two steps in the place of each usual one.

    Raises:
        UserError: inputs or steps that don't fit the design, or no samples.
    """
    check_samples(design.sizes, x, step, what="target steps")
    loop = design.loop()
    target = output(loop, free_state(loop, x)) + step
    substeps = (2 if fine else 1) * max(1, math.ceil(dt / design.tau_v * 40))
    return simulate(loop, x, target, dt=dt, steps=steps, integrator=RungeKutta4(substeps))


@dataclass(frozen=True)
class StepError:
    """What the time steps of a realisation do to its waveforms.

    It is how far a run is from one whose steps may err by a tenth as much, which is four fifths of
    the whole error for methods of second order, and nine tenths for the model's.

    Attributes:
        signal: the signal that they change most.
        error: its NRMSE, as a fraction.
        tolerance: error of a step that the run was allowed, as a part of the usual one; smaller for
            a loop that rings.
    """

    signal: str
    error: float
    tolerance: float

    @classmethod
    def of(
        cls, design: Design, name: str, run: Trajectory, finer: Trajectory, tolerance: float
    ) -> StepError:
        """Of a run and a finer one.

        Args:
            design: the design.
            name: the realisation.
            run: the run.
            finer: the same with a tenth of the tolerance.
            tolerance: of the run, as a part of the usual one.
        """
        found = compare(design, (f"{name}, finer steps", name), "parity", finer, run)
        return cls(found.worst_name, found.worst_signal, tolerance)


@dataclass(frozen=True)
class Cause:
    """What one imperfection does to the update.

    Attributes:
        name: the imperfection.
        angle: angle of the whole update to the ideal one without this imperfection, in degrees.
        change: that angle less the angle with everything on; negative where it does harm.
    """

    name: str
    angle: float
    change: float


def causes(
    design: Design,
    seed: int | None,
    x: Tensor,
    step: Tensor,
    *,
    duration: float = 20.0,
    dt: float = 0.1,
    rung: Rung = Rung.FULL,
    progress: Callable[[int], object] | None = None,
) -> tuple[float, list[Cause]]:
    """Switch the design's imperfections off, one at a time, and see what the update gains.

    All variants of the chip run together in the behavioural model, with the same draws.

    Args:
        design: the design with everything on.
        seed: seed of the chip.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).
        duration: length of the run, in units of the controller's time.
        dt: spacing of the record that the update is averaged over.
        rung: detail of the amplifier model.
        progress: called after each interval with the number finished.

    Returns:
        The angle of the update to the ideal one with everything on, in degrees, and the causes,
        the most harmful first.
    """
    names = design.imperfections
    variants: Sequence[Design] = [design, *(design.without(n) for n in names)]
    chips = [Chip.of(variant, seed) for variant in variants]
    steps = round(duration / dt)
    # The average over the run forgives coarser steps than waveforms do.
    updates = Behavioural(chips, rung, tolerance=2e-5).average(
        x, step, dt=dt, steps=steps, trapezoidal=True, progress=progress
    )
    ideal = Update.of(ideal_run(design, x, step, dt=dt, steps=steps)).flat()
    angles = [UpdateDifference.of(ideal, update.flat()).angle for update in updates]
    found = [Cause(n, a, a - angles[0]) for n, a in zip(names, angles[1:], strict=True)]
    return angles[0], sorted(found, key=lambda c: c.change)
