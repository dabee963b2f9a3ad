"""What the waveforms of a comparison say of the circuit that was run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.comparison import Comparison
from analogdfc.dynamics import Trajectory
from analogdfc.errors import ConvergenceError
from analogdfc.study import BEHAVIOURAL, CELLS, IDEAL, Study

__all__ = [
    "AT_RAILS",
    "AT_REST",
    "UNUSUAL",
    "bench_tolerance",
    "loop_remarks",
    "remarks",
    "state_at_end",
    "states_at_end",
]

AT_REST = "at rest"
AT_RAILS = "held at the amplifiers' rails"

UNUSUAL = 0.05
"""NRMSE of a parity, as a fraction, beyond which something else than the model's detail is wrong:
what is promised is a tenth of it."""

_STILL = 1e-2
_NEAR = 0.97
_SETTLED = 0.02

_MOST_AMPLIFIERS = 600
"""Largest circuit whose modes are worth their time where they are only a remark, some 10 s."""


def state_at_end(design: Design, run: Trajectory) -> str:
    """Where a run has got to: at rest, at the rails, still settling, or moving on.

    It is at rest where the control signal moves in the last tenth of the run by less than a
    hundredth of all its movement, from the free phase on.

    Args:
        design: the design, for the amplifiers' limits.
        run: the run.

    Returns:
        `AT_REST`, `AT_RAILS`, or words with the movement that is left.
    """
    if not torch.isfinite(run.u).all():
        return "grows without bound"
    tenth = max(1, len(run.t) // 10)
    whole = _span(torch.cat([torch.zeros_like(run.u[:, :1]), run.u], dim=1))
    last = _span(run.u[:, -tenth - 1 :])
    before = _span(run.u[:, -2 * tenth - 1 : -tenth])
    share = float((last / whole.clamp(min=1e-300)).max())
    if share < _STILL:
        return AT_RAILS if _at_rails(design, run) else AT_REST
    amount = f"the control signal moves by {100 * share:.2g} % of its range in the last tenth"
    settles = bool((last < 0.95 * before).all())
    return f"{'still settling' if settles else 'NOT COMING TO REST'}: {amount}"


def states_at_end(design: Design, runs: Mapping[str, Trajectory]) -> dict[str, str]:
    """Where each run has got to; those of ideal parts have no rails.

    Args:
        design: the design.
        runs: the runs by the name of the realisation.
    """
    ideal = design.ideal()
    boundless = (IDEAL, CELLS["ideal"])
    return {n: state_at_end(ideal if n in boundless else design, run) for n, run in runs.items()}


def _span(u: Tensor) -> Tensor:
    """Largest less smallest value of each sample and channel, (batch, n_L)."""
    return u.amax(1) - u.amin(1)


def _at_rails(design: Design, run: Trajectory) -> bool:
    limit = design.card.amplifier.saturation
    if limit is None:
        return False
    scale = design.card.scale
    ends = [run.u[:, -1] * scale.control, *(v[:, -1] * scale.activation for v in run.neurons.v)]
    return any(float(volts.abs().max()) > _NEAR * limit for volts in ends)


def remarks(
    design: Design,
    runs: Mapping[str, Trajectory],
    comparisons: Sequence[Comparison],
    *,
    full: bool = True,
) -> list[str]:
    """What is unusual about runs of a design, a sentence each; none where all is as it should be.

    Args:
        design: the design.
        runs: the runs by the name of the realisation.
        comparisons: of them.
        full: whether the behavioural model is the full one; a coarser one may be far off.
    """
    found = []
    supply, unit = design.card.amplifier.supply, design.card.scale.activation
    if IDEAL in runs:
        for i, v in enumerate(runs[IDEAL].neurons.v, start=1):
            volts = float(v.abs().max()) * unit
            if volts > supply:
                found.append(
                    f"the potentials of layer {i} reach {volts:.3g} V in the ideal equations, the "
                    f"supplies are +-{supply:g} V: weights, inputs or target steps are too large "
                    f"for the card's [scale] activation of {unit:g} V a unit"
                )
    for c in comparisons:
        if c.kind != "parity" or (c.other == BEHAVIOURAL and not full):
            continue
        name = max(c.signals, key=c.signals.__getitem__)
        if not c.signals[name] <= UNUSUAL:
            found.append(
                f"the {c.reference} don't do what the {c.other} equations say: {name} is off by "
                f"{100 * c.signals[name]:.3g} %, where less than {10 * UNUSUAL:g} % is usual. Look "
                "at those cells (polarity, pins, gain), and at whether the loop is stable"
            )
    for name, state in states_at_end(design, runs).items():
        if state != AT_REST and "settling" not in state:
            found.append(f"{name}: {state} at the end of the run; its update means little")
    return found


def bench_tolerance(study: Study, seed: int | None) -> float:
    """Error of a time step that a testbench asks for, as a part of the usual one.

    It follows the damping of the loop; of a circuit whose modes aren't looked at (see
    `loop_remarks`) it is the usual one.

    Args:
        study: the design and its first sample.
        seed: seed of the chip; None for nominal components.
    """
    if Chip.of(study.design).circuit.amplifiers > _MOST_AMPLIFIERS:
        return 1.0
    return study.step_tolerances(seed)[0]


def loop_remarks(study: Study, seed: int | None) -> list[str]:
    """Whether a loop doesn't come to rest, or not in time, a sentence; none where all is well.

    Args:
        study: the design, its first sample and how long it runs.
        seed: seed of the chip; None for nominal components.
    """
    amplifiers = Chip.of(study.design).circuit.amplifiers
    if amplifiers > _MOST_AMPLIFIERS:
        return [
            f"whether the loop comes to rest was not looked at: it has {amplifiers} amplifiers, "
            f"more than {_MOST_AMPLIFIERS}. The tolerance of a testbench's time steps is the usual "
            "one; a loop that rings for long needs less"
        ]
    try:
        slowest = study.slowest_mode(seed)
    except ConvergenceError as error:
        return [f"no rest of the loop was found on the sample: {error}"]
    told = f"slowest mode {slowest:+.3g} per unit of the controller's time"
    if slowest >= 0:
        return [
            f"the loop is unstable: {told}. Raise the card's [amplifier] gain_bandwidth, or lower "
            "k_p or the feedback weights"
        ]
    needed = -math.log(_SETTLED) / -slowest
    if needed > study.duration:
        return [
            f"the loop is slow: {told}, so it settles to {100 * _SETTLED:g} % in {needed:.3g} "
            f"units; the run ends after {study.duration:g}"
        ]
    return []
