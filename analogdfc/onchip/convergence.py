"""Whether training through the hardware converges, after how many samples, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from analogdfc.analysis.noise import ReadingNoise
from analogdfc.cards.device import DeviceCard
from analogdfc.cards.technology import Card
from analogdfc.circuit.devices import Devices
from analogdfc.datasets import Dataset, Samples
from analogdfc.devices import DeviceModel
from analogdfc.errors import UserError
from analogdfc.jobs import Shared, Spool, run_kept
from analogdfc.onchip._run import (
    RULES,
    Course,
    Given,
    Goal,
    Measure,
    Run,
    TrainingRun,
    on_devices,
)
from analogdfc.records import Quantity, Tree
from analogdfc.training.metrics import are_classes

__all__ = [
    "RULES",
    "Convergence",
    "Course",
    "Measure",
    "OnChip",
    "ReadingNoise",
    "Run",
    "converge",
    "on_chip",
    "on_devices",
]


@dataclass(frozen=True)
class Convergence:
    """Curves of several rules and seeds.

    Attributes:
        target: what the measure should reach.
        measure: `accuracy`, as a share from 0 to 1, or `loss`, of the held-out samples.
        budget: samples that training was allowed.
        runs: all trainings.
    """

    target: float
    measure: Measure
    budget: int
    runs: tuple[Run, ...]

    def of(self, rule: str) -> tuple[Run, ...]:
        """The runs of a rule, one a seed.

        Args:
            rule: name of the rule.

        Raises:
            UserError: a rule that wasn't trained.
        """
        found = tuple(run for run in self.runs if run.rule == rule)
        if not found:
            raise UserError(f"rule {rule!r} wasn't trained; {', '.join(self.rules)} were")
        return found

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that were trained."""
        return tuple(dict.fromkeys(run.rule for run in self.runs))

    def best(self, run: Run) -> float:
        """The best value of the measure that a run showed.

        Args:
            run: the run.
        """
        return max(run.accuracy) if self.measure == "accuracy" else min(run.loss)

    def samples_to_target(self, rule: str) -> tuple[int | None, ...]:
        """Samples to the target for each seed; None where the budget ended first.

        Args:
            rule: name of the rule.
        """
        return tuple(run.reached for run in self.of(rule))

    def curves(self, rule: str) -> tuple[Tensor, Tensor]:
        """The measure of all seeds at common numbers of samples.

        A run that met the target and ended keeps its last value; one that broke off has nan.

        Args:
            rule: name of the rule.

        Returns:
            Samples, (evaluations,), and the measure, (seeds, evaluations).
        """
        runs = self.of(rule)
        samples = max((run.samples for run in runs), key=len)
        rows = []
        for run in runs:
            row = list(run.accuracy if self.measure == "accuracy" else run.loss)
            last = math.nan if run.stopped is not None or not row else row[-1]
            rows.append(row + [last] * (len(samples) - len(row)))
        return torch.tensor(samples), torch.tensor(rows, dtype=torch.float64)

    def tree(self) -> Tree:
        """The record: curves, samples to the target, pulses; nan where there is none."""
        out: dict[str, Any] = {
            "target": Quantity(self.target, "1"),
            "measure": self.measure,
            "budget": Quantity(self.budget, "1", "samples"),
        }
        for rule in self.rules:
            runs = self.of(rule)
            samples, curve = self.curves(rule)
            reached = [math.nan if r.reached is None else float(r.reached) for r in runs]
            branch: dict[str, Any] = {
                "seeds": [run.seed for run in runs],
                "samples": Quantity(samples.tolist(), "1", "samples seen", ("evaluation",)),
                self.measure: Quantity(curve.tolist(), "1", "held out", ("seed", "evaluation")),
                "samples_to_target": Quantity(
                    reached, "1", "nan where it wasn't reached", ("seed",)
                ),
                "verdict": self.verdict(rule),
            }
            for name in ("pulses", "writes"):
                counts = [getattr(run, name) for run in runs]
                if counts[0] is not None:
                    branch[name] = Quantity(
                        [list(c) for c in counts], "1", "all samples", ("seed", "layer")
                    )
            out[rule] = branch
        return out

    def verdict(self, rule: str) -> str:
        """One sentence on a rule: when it reached the target, or that it did not, and how close.

        Args:
            rule: name of the rule.
        """
        runs = self.of(rule)
        reached = [run.reached for run in runs if run.reached is not None]
        goal = f"{self.measure} {self.target:g}"
        broken = [run for run in runs if run.stopped is not None]
        why = f"; seed {broken[0].seed}: {broken[0].stopped}" if broken else ""
        if not reached:
            values = [self.best(run) for run in runs]
            best = max(values) if self.measure == "accuracy" else min(values)
            return f"{rule}: {goal} not reached within {self.budget} samples; best {best:.4g}{why}"
        spread = f"{min(reached)} to {max(reached)} samples"
        missing = len(runs) - len(reached)
        tail = f"; not reached by {missing} of {len(runs)} seeds" if missing else ""
        return f"{rule}: {goal} after {spread}{tail}{why}"


def converge(
    data: Dataset,
    sizes: Sequence[int],
    card: Card,
    device: DeviceCard | DeviceModel | str | Path,
    *,
    target: float,
    measure: Measure = "accuracy",
    epochs: int = 20,
    seeds: Sequence[int] = (0, 1, 2),
    every: int | None = None,
    rules: Sequence[str] = RULES,
    course: Course | None = None,
    spool: Spool | None = None,
    executor: Executor | None = None,
    progress: Callable[[int], object] = lambda units: None,
) -> Convergence:
    """Train through the chip, by the ideal rule and by backpropagation, until a target is met.

    All rules start from the same weights and see the samples in the same order; a seed draws both,
    and the chip and its devices. The held-out samples are evaluated at regular numbers of samples,
    for the hardware by the measured output of the chip's free phase.

    Args:
        data: what is learned; its test samples are held out.
        sizes: neurons of layers 0..L.
        card: the technology of the circuit.
        device: the devices that hold the weights.
        target: accuracy to be reached, 0 to 1, or loss.
        measure: which of both it is.
        epochs: budget, >= 1.
        seeds: one training of each rule for each, all >= 0.
        every: samples between two evaluations, rounded up to whole mini-batches; by default a
            quarter of an epoch.
        rules: which of `RULES` to train.
        course: how training goes.
        spool: where finished trainings are kept; None keeps none.
        executor: what does them; None this process.
        progress: called after each mini-batch with the samples it had, and at the end of a run
            with the rest of its budget.

    Raises:
        UserError: data that don't fit the sizes, an unknown rule, a value out of range, an
            accuracy of labels that aren't classes, or what the card and the device refuse.
    """
    course = course or Course()
    _check(data, sizes, target, measure, epochs, seeds, every, rules)
    goal = Goal(target, measure, every or max(1, len(data.x) // 4), epochs)
    given = Shared(Given(data, tuple(sizes), card, Devices.of(device), course, goal))
    trainings = [TrainingRun(given, rule, seed) for seed in seeds for rule in rules]
    runs = run_kept(trainings, spool, executor, progress)
    return Convergence(target, measure, epochs * len(data.x), tuple(runs))


class OnChip(NamedTuple):
    """What one training costs on the chip.

    Attributes:
        seed: of the run.
        samples: to the target; None if it wasn't reached.
        time: on the chip to the target, in seconds; None if it wasn't reached.
        energy: to the target, in joules; None if it wasn't reached or a part is unknown.
    """

    seed: int
    samples: int | None
    time: float | None
    energy: float | None


def on_chip(
    convergence: Convergence,
    time_per_sample: float,
    energy_per_sample: float | None,
    *,
    energy_per_pulse: float | None = 0.0,
    rule: str = "hardware",
) -> tuple[OnChip, ...]:
    """Time and energy that training takes on the chip, for each seed.

    Args:
        convergence: from `converge`.
        time_per_sample: seconds, both phases and the reading, > 0.
        energy_per_sample: joules, >= 0; None if it is unknown.
        energy_per_pulse: joules of a pulse or a write, beyond what `energy_per_sample` holds; None
            if it is unknown.
        rule: whose samples count.

    Raises:
        UserError: a time or energy out of range, or a rule that wasn't trained.
    """
    if not (time_per_sample > 0 and math.isfinite(time_per_sample)):
        raise UserError(f"time per sample {time_per_sample} s: it must be finite and > 0")
    for name, value in (("sample", energy_per_sample), ("pulse", energy_per_pulse)):
        if value is not None and not (value >= 0 and math.isfinite(value)):
            raise UserError(f"energy per {name} {value} J: it must be finite and >= 0")
    out = []
    for run in convergence.of(rule):
        if run.reached is None:
            out.append(OnChip(run.seed, None, None, None))
            continue
        # A run ends where it reaches its target: all its pulses lie before.
        pulses = sum(run.pulses or ()) + sum(run.writes or ())
        energy = None
        if energy_per_sample is not None and energy_per_pulse is not None:
            energy = run.reached * energy_per_sample + pulses * energy_per_pulse
        out.append(OnChip(run.seed, run.reached, run.reached * time_per_sample, energy))
    return tuple(out)


def _check(
    data: Dataset,
    sizes: Sequence[int],
    target: float,
    measure: str,
    epochs: int,
    seeds: Sequence[int],
    every: int | None,
    rules: Sequence[str],
) -> None:
    if measure not in ("accuracy", "loss"):
        raise UserError(f"measure {measure!r}: there are accuracy and loss")
    if not math.isfinite(target) or (measure == "accuracy" and not 0 <= target <= 1):
        raise UserError(f"target {target} of the {measure}: a share from 0 to 1, or a loss")
    if epochs < 1 or (every is not None and every < 1) or not seeds or min(seeds) < 0:
        raise UserError(
            f"epochs = {epochs}, every = {every}, seeds = {list(seeds)}: epochs and every >= 1, "
            "and one seed >= 0 at least"
        )
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown or not rules:
        raise UserError(f"rules {list(rules)}: give one or more of {', '.join(RULES)}")
    for part in (Samples(data.x, data.y), Samples(data.x_test, data.y_test)):
        if not len(part.x) or part.x.shape[1:] != (sizes[0],) or part.y.shape[1:] != (sizes[-1],):
            raise UserError(
                f"inputs {tuple(part.x.shape)} and labels {tuple(part.y.shape)} don't fit layers "
                f"of {'-'.join(map(str, sizes))}"
            )
    if measure == "accuracy" and not are_classes(data.y_test):
        raise UserError("an accuracy needs labels that are classes; give a target of the loss")
