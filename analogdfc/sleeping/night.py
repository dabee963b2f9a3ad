"""Feedback weights that a chip learns in its sleep, presentation after presentation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Array
from analogdfc.circuit.design import Design
from analogdfc.dynamics import free_state
from analogdfc.errors import UserError
from analogdfc.jobs import Progress, Run, Spool, run_kept
from analogdfc.measures import angle, condition2, condition3
from analogdfc.records import Quantity, Record, Tree
from analogdfc.samples import check_samples
from analogdfc.sleeping.phase import Sleep, compliance, feedback_updates, held_weights
from analogdfc.sleeping.ways import Way
from analogdfc.sleeping.writing import Exact, Writes
from analogdfc.states import digest

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Presented(Run[tuple[Tensor, ...]]):
    """Samples that are presented to a sleeping chip; gives the mean of their updates.

    Attributes:
        way: how it is run.
        chip: the chip in its sleep, as it is programmed.
        x: inputs, (batch, n_0).
        sleep: how it sleeps.
        first: number of the first sample.
    """

    way: Way
    chip: Chip
    x: Tensor
    sleep: Sleep
    first: int

    @property
    def name(self) -> str:
        """'sample 5 through the circuit', 'samples 5 to 8 through the behavioural model'."""
        last = self.first + len(self.x)
        which = f"samples {self.first + 1} to {last}" if len(self.x) > 1 else f"sample {last}"
        return f"{which} asleep through {self.way.name!r}"

    @property
    def work(self) -> int:
        """Samples."""
        return len(self.x)

    def settings(self) -> str:
        """What the update depends on; see `Task.settings`."""
        bars = [bar for bar in self.chip.circuit.crossbars if bar.kind is Array.FEEDBACK]
        return json.dumps(
            {
                "way": self.way.settings(),
                "chip": [self.chip.design.sha256, self.chip.seed],
                "conductances": [digest(g) for bar in bars for g in (bar.plus, bar.minus)],
                "samples": [digest(self.x), self.first],
                "sleep": repr(self.sleep),
            }
        )

    def made_with(self) -> str:
        """See `Run.made_with`; the simulator too."""
        return ", ".join(filter(None, (super().made_with(), self.way.made_with())))

    def run(self, progress: Progress) -> tuple[Tensor, ...]:
        """Run it; see `Task.run`."""
        run = self.way.run(self.chip, self.x, self.sleep, self.first)
        doubled = self.chip.design.readout.double_sampling
        found = feedback_updates(run, double_sampling=doubled, high_pass=self.sleep.high_pass)
        progress(self.work)
        return tuple(update.mean(dim=0) for update in found)

    def pack(self, result: tuple[Tensor, ...]) -> Tree:
        """See `Run.pack`."""
        return {f"Q{i}": Quantity(q.numpy(), "1") for i, q in enumerate(result, start=1)}

    def unpack(self, record: Record) -> tuple[Tensor, ...]:
        """See `Run.unpack`."""
        layers = range(1, self.chip.design.depth + 1)
        return tuple(torch.from_numpy(record.array(f"Q{i}", units="1").copy()) for i in layers)


class Night(NamedTuple):
    """What one realisation has learned.

    Attributes:
        name: of the realisation.
        feedback: Q_1..Q_L before each step and after the last, (steps + 1, n_i, n_L).
        updates: Delta Q_1..Delta Q_L of each step, with decay, (steps, n_i, n_L); 0 where frozen.
        condition2: share of the feedback in the row space of J, mean over all samples, before each
            step and after the last, (steps + 1,).
        measured: the same before and after the night with the J that the realisation itself shows
            (see `Way.jacobian`), mean over some samples, (2,); none where no J was measured.
        written: pulses and writes of devices, and changes that were cut off; empty for exact
            writes.
    """

    name: str
    feedback: tuple[Tensor, ...]
    updates: tuple[Tensor, ...]
    condition2: Tensor
    measured: Tensor
    written: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Lessons:
    """How the feedback weights learn.

    Attributes:
        steps: how often they are written, >= 1.
        batch: samples presented before each, >= 1.
        rate: learning rate, > 0.

    Raises:
        UserError: a value outside its range.
    """

    steps: int = 20
    batch: int = 4
    rate: float = 0.3

    def __post_init__(self) -> None:
        if not (self.steps >= 1 and self.batch >= 1 and self.rate > 0):
            raise UserError(
                f"steps = {self.steps}, batch = {self.batch}, rate = {self.rate}: steps and batch "
                "must be >= 1, the rate > 0"
            )


def sleep_seconds(
    way: Way, awake: Design, sleep: Sleep, lessons: Lessons, chip_seed: int | None = None
) -> float:
    """Time that a night takes, in seconds, right to a factor of two or three.

    Args:
        way: see `sleep_through`, as of the others.
        awake: the design.
        sleep: how it sleeps.
        lessons: how much.
        chip_seed: seed of the chip.

    Raises:
        UserError: a sample alone takes longer than is allowed.
    """
    seconds = way.seconds(Chip.of(sleep.design(awake), chip_seed), sleep)
    return lessons.steps * lessons.batch * seconds


def sleep_through(
    way: Way,
    awake: Design,
    x: Tensor,
    sleep: Sleep,
    lessons: Lessons,
    *,
    chip_seed: int | None = None,
    writes: Writes | None = None,
    measured: int = 2,
    spool: Spool | None = None,
    progress: Callable[[int], object] = lambda samples: None,
) -> Night:
    """Let a chip learn its feedback weights in its sleep (Meulemans et al. 2021, eq. 13).

    In every step some samples are presented, the next of a row that begins anew at its end. Each
    has noise of its own, the same in every realisation; the mean of their updates is written
    into the feedback crossbars.

    Args:
        way: the realisation that updates are taken from.
        awake: the design that learns its forward weights, with the feedback of the start.
        x: inputs, (samples, n_0).
        sleep: how it sleeps.
        lessons: how much, and how fast.
        chip_seed: seed of the chip; None for nominal components.
        writes: how the weights are written; exactly by default.
        measured: samples on which J is measured before and after, from the first on; 0 for none. A
            simulator without operating points measures none.
        spool: where updates of finished steps are kept; None keeps none.
        progress: called with the samples done since the last call.

    Raises:
        UserError: inputs that don't fit, a chip too large for the simulator, or feedback weights
            that leave the room that the conductances have for them.
        ConvergenceError: a run that doesn't converge.
    """
    check_samples(awake.sizes, x, x.new_zeros(len(x), awake.sizes[-1]), what="target steps")
    chip = Chip.of(sleep.design(awake), chip_seed)
    way.seconds(chip, sleep)  # refuses what would take too long
    _check_stable(chip, x)
    writes, held = writes or Exact(), way.name != "ideal"
    chip = writes.start(chip)
    feedback, shares = [chip.design.feedback], [compliance(chip, x, held=held)]
    updates: list[tuple[Tensor, ...]] = []
    measured = measured if way.measures else 0
    shown = [_measured(way, chip, x[:measured])] if measured else []
    for step in range(lessons.steps):
        first = step * lessons.batch
        chosen = torch.arange(first, first + lessons.batch) % len(x)
        (found,) = run_kept([Presented(way, chip, x[chosen], sleep, first)], spool)
        changes = sleep.phase.scaled(found, feedback[-1])
        updates.append(tuple(_or_none(*pair) for pair in zip(changes, found, strict=True)))
        chip = writes.write(chip, [lessons.rate * change for change in updates[-1]])
        feedback.append(chip.design.feedback)
        shares.append(compliance(chip, x, held=held))
        progress(lessons.batch)
    shown += [_measured(way, chip, x[:measured])] if measured else []
    return Night(
        way.name,
        tuple(map(torch.stack, zip(*feedback, strict=True))),
        tuple(map(torch.stack, zip(*updates, strict=True))),
        torch.tensor(shares, dtype=torch.float64),
        torch.tensor(shown, dtype=torch.float64),
        writes.counts(),
    )


def _measured(way: Way, chip: Chip, x: Tensor) -> float:
    """Condition 2 with the measured J, mean over samples."""
    design = chip.design
    feedback = design.feedback if way.name == "ideal" else held_weights(chip, Array.FEEDBACK)
    jacobians = torch.split(way.jacobian(chip, x), list(design.sizes[1:]), dim=2)
    return float(condition2(jacobians, feedback).mean())


def _or_none(change: Tensor | None, like: Tensor) -> Tensor:
    """A change; 0 where the layer is frozen."""
    return torch.zeros_like(like) if change is None else change


def _check_stable(chip: Chip, x: Tensor) -> None:
    """Refuse feedback weights with which nothing could be learned, since signals run away."""
    loop = chip.design.loop()
    growth = condition3(loop, free_state(loop, x).v)
    if bool((growth > 0).any()):
        alpha = loop.controller.alpha
        raise UserError(
            f"asleep, the loop is unstable on {int((growth > 0).sum())} of {len(x)} samples "
            f"(Condition 3): raise alpha = {alpha:g} above {alpha + float(growth.max()):.3g}, or "
            "start from smaller feedback weights, or others"
        )


class Apart(NamedTuple):
    """One night beside another one, which is the reference; each has gone its own way.

    Attributes:
        reference: its name.
        other: name of the other.
        error: norm of the difference of the updates over that of the reference's, (steps,).
        angle: between the two updates, all layers, in degrees, (steps,).
        distance: of the weights after each step, over what the reference's have moved, (steps,).
    """

    reference: str
    other: str
    error: Floats
    angle: Floats
    distance: Floats

    @classmethod
    def of(cls, reference: Night, other: Night) -> Apart:
        """Of two nights of as many steps.

        Args:
            reference: what the other is measured against.
            other: the other.
        """
        a, b = (_flat(night.updates) for night in (reference, other))
        qa, qb = (_flat(night.feedback) for night in (reference, other))
        error = (b - a).norm(dim=1) / a.norm(dim=1)
        angles = [angle(one, two) for one, two in zip(a, b, strict=True)]
        distance = (qb - qa)[1:].norm(dim=1) / (qa[1:] - qa[0]).norm(dim=1)
        return cls(
            reference.name, other.name, error.numpy(), np.array(angles), distance.numpy()
        )  # fmt: skip

    def numbers(self) -> dict[str, Any]:
        """The results, with units in the names."""
        return {
            "first_update_error_percent": 100 * float(self.error[0]),
            "first_update_angle_degree": float(self.angle[0]),
            "largest_angle_degree": float(self.angle.max()),
            "weight_change_error_percent": 100 * float(self.distance[-1]),
        }


def _flat(layers: Sequence[Tensor]) -> Tensor:
    """Of each step all layers in one vector, (steps, weights)."""
    return torch.cat([layer.flatten(1) for layer in layers], dim=1)
