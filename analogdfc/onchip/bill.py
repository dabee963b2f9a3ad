"""What a training until a target costs on the chip, beside the same on digital machines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

from torch import Tensor

from analogdfc.analysis.energy import verifies, writes
from analogdfc.analysis.energy.items import WRITES
from analogdfc.circuit.design import Design
from analogdfc.cost.estimate import CLOSED_FORM, Estimate, estimate
from analogdfc.datasets import Dataset
from analogdfc.devices import DeviceModel
from analogdfc.digital import Band, Row, spread
from analogdfc.jobs import Spool
from analogdfc.onchip.convergence import Convergence, OnChip, converge, on_chip
from analogdfc.onchip.rule import HardwareDFC
from analogdfc.records import Quantity
from analogdfc.updating.costs import VERIFIES

DEVICE = "ecram_mo_kim2019"
"""What is trained on where nothing says otherwise."""


_PULSED = (WRITES, VERIFIES)
"""Items of which a training has its own number."""


class Trained(NamedTuple):
    """A training and what it costs.

    Attributes:
        convergence: its curves.
        chip: time and energy on the chip, one a seed.
        unknown: what is not in the energy, empty if nothing.
        digital: energy of a sample on digital machines, by rule.
    """

    convergence: Convergence
    chip: tuple[OnChip, ...]
    unknown: str
    digital: dict[str, Band]


def trained(
    found: Estimate,
    rows: Sequence[Row],
    data: Dataset,
    *,
    target: float,
    device: str | DeviceModel | None = None,
    epochs: int = 20,
    seeds: Sequence[int] = (0, 1, 2),
    spool: Spool | None = None,
    executor: Executor | None = None,
    progress: Callable[[int], object] = lambda units: None,
) -> Trained:
    """Train until a target is reached, and add up what it costs.

    Args:
        found: what a sample costs on the chip, of the design that is trained.
        rows: what a sample costs on digital machines.
        data: what is learned; inputs and outputs fit the design.
        target: share of the held-out samples to get right, in (0, 1].
        device: the weights' devices; by default the design's, else `DEVICE`.
        epochs: budget of a training.
        seeds: of the trainings: initial weights, chips and devices.
        spool: where finished trainings are kept; None keeps none.
        executor: what does them; None this process.
        progress: called with the number of samples learned since the last call.

    Raises:
        UserError: an unknown device, or a target or budget out of range.
    """
    design = found.design
    if device is None:
        device = DEVICE if design.devices is None else design.devices.model
    convergence = converge(
        data,
        design.sizes,
        design.card,
        device,
        target=target,
        epochs=epochs,
        seeds=list(seeds),
        spool=spool,
        executor=executor,
        progress=progress,
    )
    border = {k: e for k, e in found.border.items.items() if k[0] not in _PULSED}
    sample = found.free.total + found.settle.total + sum(border.values())
    pulse, unknown = _pulse(design)
    known = {k: why for k, why in found.energy.unknown.items() if k not in _PULSED}
    missing = [f"{name}: {why}" for name, why in (*known.items(), *unknown)]
    chip = on_chip(convergence, found.seconds, float(sample), energy_per_pulse=pulse)
    digital = {}
    for rule in ("dfc-ss", "bp"):
        mine = [row for row in rows if row.rule == rule]
        if mine:
            digital[rule] = spread(mine)
    return Trained(convergence, chip, "; ".join(missing), digital)


def sample_cost(rule: HardwareDFC, x: Tensor, y: Tensor, seed: int | None) -> Estimate:
    """What a sample costs on the chip of a training, with the weights that it starts from.

    Args:
        rule: through the chip, on the CPU, before it has learned.
        x: inputs, (batch, n_0); the cost is a mean over them.
        y: labels, (batch, n_L).
        seed: of the chip.

    Raises:
        ConvergenceError: the loop doesn't settle.
    """
    static = rule.refold()
    step = rule.target_stepsize * rule.loss.error(rule.outputs(x), y)
    state, design = static.solve(x, step), static.chip.design
    return estimate(design, seed, x, step, method=CLOSED_FORM, state=state, limits=False)


def _pulse(design: Design) -> tuple[float, list[tuple[str, str]]]:
    """Energy of one pulse on a mean device and of the look at it, and what isn't known of it."""
    counts = [
        float(w.numel() + b.numel()) for w, b in zip(design.weights, design.biases, strict=True)
    ]
    energy = writes(design, counts) + verifies(design, counts)
    if energy.unknown:
        return 0.0, list(energy.unknown.items())
    return float(energy.total) / sum(counts), []


def numbers(training: Trained) -> dict[str, Any]:
    """The numbers of a training, with their units; nan where the target was not reached.

    Args:
        training: the training.
    """
    convergence, chip = training.convergence, training.chip
    out: dict[str, Any] = {
        "target_accuracy": convergence.target,
        "budget_samples": convergence.budget,
        "energy_leaves_out": training.unknown,
        "on_chip_us": Quantity(
            [_or_nan(c.time, 1e6) for c in chip], "us", "of the samples to the target", ("seed",)
        ),
        "on_chip_joule": Quantity(
            [_or_nan(c.energy) for c in chip], "J", "of the samples to the target", ("seed",)
        ),
    }
    for rule in convergence.rules:
        samples, curves = convergence.curves(rule)
        runs = convergence.of(rule)
        accuracy = zip(runs, curves, strict=True)
        reached = [_or_nan(n) for n in convergence.samples_to_target(rule)]
        out[rule] = {
            "verdict": convergence.verdict(rule),
            "samples_to_target": Quantity(reached, "1", "nan where it wasn't reached", ("seed",)),
            "samples": Quantity(samples, "1", "samples seen", ("evaluation",)),
            "accuracy": {
                f"seed {r.seed}": Quantity(curve, "1", "held out", ("evaluation",))
                for r, curve in accuracy
            },
        }
        if runs[0].pulses_per_sample is not None:
            out[rule]["pulses_per_sample"] = {
                f"seed {run.seed}": Quantity(
                    run.pulses_per_sample or (), "1", "on the devices of a layer", ("layer",)
                )
                for run in runs
            }
    return out


def _or_nan(value: float | None, factor: float = 1.0) -> float:
    return math.nan if value is None else factor * value
