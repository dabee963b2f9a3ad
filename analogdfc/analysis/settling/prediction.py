"""How fast a chip's control loop settles, how far it is from oscillating, and what limits it.

From the linearisation of the full amplifier model at the rest state that the static model finds;
chips of any size. Large steps are followed as if they were small: slewing, rails on the way and the
change of the tanh cells' slopes take no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.analysis.settling.limits import (
    Loops,
    bandwidth_ratio,
    complaint,
    elasticities_of,
)
from analogdfc.analysis.settling.spectrum import is_large
from analogdfc.analysis.settling.transfer import OperatingPoint
from analogdfc.analysis.settling.waveforms import Waveforms
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.dynamics import Trajectory
from analogdfc.errors import ConvergenceError, UserError

__all__ = [
    "Observed",
    "Settling",
    "observed",
    "predict",
]

Array = NDArray[np.float64]

_ALONE = 0.2
"""Part of the band that all other modes may fill where one is said to dominate."""

_BENT = 0.5
"""Change of a neuron's slope up to which the linearisation tells the settling time."""


@dataclass(frozen=True, kw_only=True)
class Settling:
    """Predicted settling of every sample; times in seconds, tensors (batch,).

    Attributes:
        design: of the chip.
        band: half width of the band around the final control signal, relative to the largest
            final control signal of the sample.
        slowest: the slowest mode of the loop, in rad/s; negative real part. Of more than 96
            channels, whose modes lie too close to be told apart, the slowest term that the control
            signal shows.
        dominant: the mode that fills most of the band when the control signal enters it.
        dominated: whether that mode alone does so, but for a fifth of the band.
        bend: largest change of a neuron's slope between the free state and rest, relative to the
            larger of the two: how far control takes the chip from what its linearisation knows.
        time_of_mode: time after which the dominant mode alone stays within the band; nan where
            there is none.
        time_of_modes: the same for the sum of all modes.
        bandwidth_ratio: the card's gain-bandwidth over the critical one of the sample with the
            least margin; inf for a loop that is stable with any amplifier tried, None where it was
            not sought (no finite bandwidth, or a large chip).
        elasticities: d ln(settling time) / d ln(parameter) by name (of `PARAMETERS`), for the
            sample that settles last. That of the wires is the share of the settling time that
            goes away with them. Empty where they were not asked for.
        waveforms: the linear waveforms behind all this, one a sample.
    """

    design: Design
    band: float
    slowest: Tensor
    dominant: Tensor
    dominated: Tensor
    bend: Tensor
    time_of_mode: Tensor
    time_of_modes: Tensor
    bandwidth_ratio: float | None
    elasticities: Mapping[str, float]
    waveforms: tuple[Waveforms, ...]

    @cached_property
    def _margins(self) -> list[tuple[float, float]]:
        return [w.spectrum.margins() for w in self.waveforms]

    @property
    def gain_margin(self) -> Tensor:
        """Least factor of the loop's gain at which it would oscillate, (batch,).

        The same in all channels; inf if there is none. Of more than 96 channels both margins are
        those of the hull of the loci, no larger, to some 2 % and 1 degree.

        Raises:
            ConvergenceError: that hull was not found.
        """
        return _real(g for g, _ in self._margins)

    @property
    def phase_margin(self) -> Tensor:
        """Least lag, the same in all channels, at which it would, (batch,), in degrees."""
        return _real(math.degrees(p) for _, p in self._margins)

    @property
    def linear(self) -> Tensor:
        """Whether control changes no neuron's slope by more than a half, (batch,)."""
        return self.bend <= _BENT

    @property
    def time(self) -> Tensor:
        """Settling time of the control signal, (batch,): of the sum of all modes."""
        return self.time_of_modes

    @property
    def time_constant(self) -> Tensor:
        """Time constant of the slowest mode, (batch,)."""
        return -1 / self.slowest.real

    @property
    def limit(self) -> str | None:
        """The parameter with the largest elasticity; None where none were asked for."""
        if not self.elasticities:
            return None
        return max(self.elasticities, key=lambda name: abs(self.elasticities[name]))

    def free_phase(self, angle: float = 1.0) -> Tensor:
        """Time that the network needs before the release, (batch,).

        From all nodes at 0 volts until what is left would turn the update by less than the angle:
        of the output, relative to the step that control makes there, and of every layer's
        phi(v) - phi(v_ff), relative to its final value.

        Args:
            angle: in degrees, above 0 and below 90.
        """
        bound = _radians(angle)
        return _real(w.free_time(math.sin(bound)) for w in self.waveforms)

    def update_time(self, angle: float = 1.0) -> Tensor:
        """Time after the release from which the update stays within the angle, (batch,).

        The update (phi(v) - phi(v_ff)) r^T of all layers, bias column included, against that at
        rest.

        Args:
            angle: in degrees, above 0 and below 90.
        """
        bound = _radians(angle)
        return _real(w.update_time(bound) for w in self.waveforms)

    def time_per_sample(self, angle: float = 1.0) -> Tensor:
        """Free phase and controlled phase together, (batch,).

        Args:
            angle: error allowed to each of the two, in degrees, above 0 and below 90.
        """
        return self.free_phase(angle) + self.update_time(angle)


def _radians(angle: float) -> float:
    if not 0 < angle < 90:
        raise UserError(f"angle {angle}: it must lie between 0 and 90 degrees")
    return math.radians(angle)


def predict(
    design: Design,
    seed: int | None,
    x: Tensor,
    step: Tensor,
    *,
    band: float = 0.02,
    limits: bool = True,
    state: StaticState | None = None,
) -> Settling:
    """Settling of a chip's control loop from its linearisation.

    Args:
        design: the design.
        seed: seed of the chip; None for nominal components.
        x: inputs, (batch, n_0), dimensionless.
        step: steps of the output target, (batch, n_L).
        band: half width of the band around the final control signal, above 0 and below 1.
        limits: find the elasticities and the critical bandwidth too.
        state: free and rest state of this chip for these samples, where they are known already.

    Raises:
        ConvergenceError: the loop is unstable, or a sample has no rest state within the rails. The
            message has the eigenvalue or the voltage, and what to change.
        UserError: a band that is none, shapes that don't fit, no samples, or a target step of 0.
    """
    if not 0 < band < 1:
        raise UserError(f"band {band}: it must lie between 0 and 1")
    if not bool((step != 0).any(dim=-1).all()):
        raise UserError("a sample's target step is 0: its update has nothing to settle to")
    chip = Chip.of(design, seed)
    if state is None:
        state = StaticChip.of(chip).solve(x.cpu().double(), step.cpu().double(), reached=False)
    state.check_rails(design.card.amplifier.reach)
    loops = Loops(chip, OperatingPoint.of(state), x.cpu().double().numpy())
    waveforms = _stable(loops, band)
    if not bool(state.reached.all()):
        k = int(torch.nonzero(~state.reached)[0])
        raise ConvergenceError(
            f"sample {k} (counted from 0): the loop would be stable at its rest, but from the free "
            "state the dynamics don't go there. Take smaller target steps"
        )
    elasticities: dict[str, float] = {}
    ratio = None
    if limits:
        last = int(np.argmax([w.time_of_modes for w in waveforms]))
        elasticities = elasticities_of(loops, last, waveforms[last])
        if not is_large(chip):
            margins = (w.spectrum.margins() for w in waveforms)
            worst = int(np.argmin([min(math.log(g), p) for g, p in margins]))
            ratio = bandwidth_ratio(loops, worst)
    return Settling(
        design=design,
        band=band,
        slowest=_complex(w.slowest for w in waveforms),
        dominant=_complex(w.dominant for w in waveforms),
        dominated=torch.tensor([w.remainder <= _ALONE for w in waveforms]),
        bend=_bend(design, state),
        time_of_mode=_real(w.time_of_mode for w in waveforms),
        time_of_modes=_real(w.time_of_modes for w in waveforms),
        bandwidth_ratio=ratio,
        elasticities=elasticities,
        waveforms=waveforms,
    )


def _bend(design: Design, state: StaticState) -> Tensor:
    """Largest relative change of a neuron's slope from the free state to rest, (batch,)."""
    worst = torch.zeros(len(state.u), dtype=torch.float64)
    signals = zip(design.loop().activations, state.free.v, state.rest.v, strict=True)
    for phi, free, rest in signals:
        a, b = phi.derivative(free), phi.derivative(rest)
        change = (a - b).abs() / torch.maximum(a, b).clamp(min=1e-30)
        worst = torch.maximum(worst, change.amax(dim=-1))
    return worst


def _stable(loops: Loops, band: float) -> tuple[Waveforms, ...]:
    """Waveforms of all samples, unless the loop of one is unstable."""
    spectra = loops.spectra()
    for k, spectrum in enumerate(spectra):
        if spectrum.unstable:
            raise ConvergenceError(complaint(loops, k, spectrum))
    return tuple(
        Waveforms(s, loops.point.sample(k), loops.x[k], band) for k, s in enumerate(spectra)
    )


def _real(values: Iterable[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)


def _complex(values: Iterable[complex]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.complex128)


@dataclass(frozen=True)
class Observed:
    """Settling seen in waveforms, in the trajectory's unit of time; tensors (batch,).

    Attributes:
        control: time after which the control signal stays within the band; inf where it doesn't.
        update: time after which the running update stays within the angle; inf where it doesn't.
    """

    control: Tensor
    update: Tensor


def observed(
    trajectory: Trajectory,
    rest: StaticState | None = None,
    *,
    band: float = 0.02,
    angle: float = 1.0,
    double_sampling: bool = True,
) -> Observed:
    """Settling of the control signal and of the running update of any realisation.

    Args:
        trajectory: the waveforms. Times lie between the points of the record, by straight lines.
        rest: where the chip comes to rest; by default the last point of the record.
        band: as in `predict`.
        angle: between the running update and that at rest, in degrees.
        double_sampling: subtract the free phase's phi(v) - phi(v_ff).

    Raises:
        UserError: a band or an angle out of its range.
    """
    if not 0 < band < 1:
        raise UserError(f"band {band}: it must lie between 0 and 1")
    bound = _radians(angle)
    final = trajectory.u[:, -1] if rest is None else rest.u
    scale = final.abs().amax(dim=-1, keepdim=True)
    deviation = (trajectory.u - final.unsqueeze(1)).abs().amax(dim=-1) / scale
    turned = _running_angle(trajectory, rest, double_sampling)
    return Observed(
        _last_above(trajectory.t, deviation, band), _last_above(trajectory.t, turned, bound)
    )


def _running_angle(
    trajectory: Trajectory, rest: StaticState | None, double_sampling: bool
) -> Tensor:
    """Angle between the update at each time and that at rest, (batch, T), in radians."""
    zero = torch.zeros((), dtype=trajectory.u.dtype)
    product, own, final = zero, zero, zero
    neurons, free = trajectory.neurons, trajectory.free
    for i in range(trajectory.depth):
        d = neurons.r[i] - neurons.r_ff[i]
        end = d[:, -1] if rest is None else rest.rest.r[i] - rest.rest.r_ff[i]
        if double_sampling:
            base = free.r[i] - free.r_ff[i]
            d, end = d - base.unsqueeze(1), end - base
        r = trajectory.x.unsqueeze(1) if i == 0 else neurons.r[i - 1]
        r_end = r[:, -1] if i == 0 or rest is None else rest.rest.r[i - 1]
        end, r_end = end.unsqueeze(1), r_end.unsqueeze(1)
        product = product + (d * end).sum(-1) * (1 + (r * r_end).sum(-1))
        own = own + d.square().sum(-1) * (1 + r.square().sum(-1))
        final = final + end.square().sum(-1) * (1 + r_end.square().sum(-1))
    across = (own * final - product.square()).clamp(min=0).sqrt()
    return torch.atan2(across, product)


def _last_above(t: Tensor, values: Tensor, bound: float) -> Tensor:
    """Last time at which values (batch, T) lie above a bound."""
    steps = torch.arange(len(t))
    last = torch.where(values > bound, steps, -1).amax(dim=-1)
    before = last.clamp(0, len(t) - 2)
    a, b = (values.gather(1, (before + k).unsqueeze(1)).squeeze(1) for k in (0, 1))
    share = ((a - bound) / (a - b)).clamp(0, 1)
    out = t[before] + share * (t[before + 1] - t[before])
    out = torch.where(last < 0, torch.zeros_like(out), out)
    return torch.where(last == len(t) - 1, torch.full_like(out, math.inf), out)
