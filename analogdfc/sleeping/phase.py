"""A chip that sleeps: its circuit, the noise in it, and what is read of its signals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Array, Compartments
from analogdfc.circuit.design import Design
from analogdfc.circuit.injected import FeedbackNoise
from analogdfc.controller import PI
from analogdfc.dynamics import Trajectory
from analogdfc.errors import UserError
from analogdfc.learning import SleepPhase
from analogdfc.measures import condition2
from analogdfc.network import Network

USUAL = SleepPhase(sigma=0.05, tau_v=0.05, dt=0.05, steps=200)
"""Settings of a chip's sleep phase: longer than the published ones, with more noise than offsets,
and neurons that are not as fast beside the controller, which a simulation pays for."""

MOST = 1_000_000
"""Intervals of the noise in a presentation, each of which takes a simulation a millisecond."""


@dataclass(frozen=True)
class Sleep:
    """How a chip sleeps.

    Attributes:
        phase: noise, controller, time constants, decay. Times are in units of the controller's
            time; `dt` is the spacing of the noise's values, which bounds its band, and `steps` is
            how many intervals a sample is presented for.
        seed: of the noise.
        high_pass: take the mean of u over the presentation off it (App. C.3), so that what is
            constant, such as an offset, leaves no update.
        room: feedback weights that the conductances leave room for, over the largest of all
            layers at the start.
        gain: see `Compartments`.

    Raises:
        UserError: a value outside its range.
    """

    phase: SleepPhase = USUAL
    seed: int = 0
    high_pass: bool = False
    room: float = 2.0
    gain: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.room) and self.room >= 1):
            raise UserError(f"room = {self.room}: it must be >= 1")
        if self.phase.steps > MOST:
            raise UserError(f"steps = {self.phase.steps} of the noise: at most {MOST} are allowed")
        self.noise(0)  # refuses a seed out of its range

    @property
    def duration(self) -> float:
        """Length of a presentation, in units of the controller's time."""
        return self.phase.dt * self.phase.steps

    def noise(self, first: int) -> FeedbackNoise:
        """The noise of samples.

        Args:
            first: number of the first of them, from 0.
        """
        p = self.phase
        return FeedbackNoise(self.seed, p.sigma, p.dt, output=p.train_output, first=first)

    def design(self, awake: Design) -> Design:
        """The circuit of a design in its sleep.

        The neurons keep their capacitors, so that one unit of the sleeping controller's time is
        tau_v of the awake chip over the phase's tau_v. Controller and feedback compartments take
        the components that the phase asks for; what both circuits have is the same on a chip of
        the same seed.

        Args:
            awake: the design that learns its forward weights.

        Raises:
            UserError: a controller that has no circuit, or feedback weights that don't fit.
        """
        p, largest = self.phase, max(float(q.abs().max()) for q in awake.feedback)
        time = awake.tau_v_seconds / p.tau_v
        room = self.room * largest if largest > 0 else 1.0
        return replace(
            awake,
            controller=PI(p.k_p, p.alpha, p.tau_u),
            tau_v=p.tau_v,
            card=awake.card.replace("scale", time=time),
            feedback_limits=(room,) * awake.depth,
            compartments=Compartments(p.tau_fb, self.gain),
        )


def feedback_updates(
    run: Trajectory, *, double_sampling: bool = True, high_pass: bool = False
) -> tuple[Tensor, ...]:
    """The anti-Hebbian part of the feedback update (Meulemans et al. 2021, eq. 13), as it is read.

    - mean over the run of v_fb u^T, by the trapezoidal rule over the times of the record.

    Args:
        run: the waveforms, of a circuit with feedback compartments.
        double_sampling: subtract the free phase's v_fb, which offsets leave.
        high_pass: subtract the mean of u.

    Returns:
        One a layer, (batch, n_i, n_L), before decay and any learning rate.

    Raises:
        UserError: a run without feedback compartments.
    """
    signals = run.neurons.v_fb
    if not signals:
        raise UserError("feedback update: this run has no signals of feedback compartments")
    weight = torch.ones_like(run.t)
    weight[0] = weight[-1] = 0.5
    weight = (weight / weight.sum())[:, None]
    u = run.u
    if high_pass:
        u = u - (u * weight).sum(dim=1, keepdim=True)
    found = []
    for i, v_fb in enumerate(signals):
        moved = v_fb - run.free.v_fb[i].unsqueeze(1) if double_sampling else v_fb
        found.append(-(moved * weight).mT @ u)
    return tuple(found)


def rewritten(chip: Chip, feedback: Sequence[Tensor]) -> Chip:
    """A chip whose feedback crossbars are programmed to other weights; all else stays.

    Args:
        chip: the chip.
        feedback: Q_1..Q_L, (n_i, n_L).

    Raises:
        UserError: a weight that the conductances have no room for.
    """
    design = chip.design
    for i, q in enumerate(feedback, start=1):
        largest, limit = float(q.abs().max()), design.feedback_limit(i)
        if not largest <= limit * (1 + 1e-9):
            raise UserError(
                f"layer {i}: a feedback weight of magnitude {largest:.4g} lies outside the "
                f"conductance window, which holds up to {limit:.4g}; leave more room, let the "
                "weights decay faster or learn more slowly"
            )
    return Chip.of(replace(design, feedback=tuple(feedback)), chip.seed)


def compliance(chip: Chip, x: Tensor, *, held: bool = True) -> float:
    """Share of the feedback in the row space of J (Condition 2), mean over samples.

    Args:
        chip: the chip.
        x: inputs, (batch, n_0).
        held: of the weights that the conductances stand for; else of those that they should.
    """
    design = chip.design
    weights, feedback = (held_weights(chip, kind) for kind in (Array.FORWARD, Array.FEEDBACK))
    biases = [w[:, -1] for w in weights]
    if not held:
        biases, feedback = list(design.biases), list(design.feedback)
    *hidden, last = design.activations
    network = Network(design.sizes, hidden or "tanh", last, generator=torch.Generator())
    with torch.no_grad():
        for k, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
            w.copy_(weights[k][:, :-1] if held else design.weights[k])
            b.copy_(biases[k])
        jacobians = network.jacobians(network.potentials(x))
    return float(condition2(jacobians, feedback).mean())


def held_weights(chip: Chip, kind: Array) -> list[Tensor]:
    """Weights that the conductances of a chip stand for, layer after layer, the bias last.

    Args:
        chip: the chip.
        kind: of the forward or of the feedback crossbars.
    """
    return [(bar.plus - bar.minus) / bar.unit for bar in chip.circuit.crossbars_of(kind)]
