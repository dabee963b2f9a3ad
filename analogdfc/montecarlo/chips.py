"""Chips of one design in the behavioural model, a few at a time.

A run is some chips of consecutive seeds, integrated together. Only the angles of their updates and
what they drew are kept of it, so that memory doesn't grow with the number of chips.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.capacity import UNKNOWNS, check_solving
from analogdfc.circuit.chip import Chip
from analogdfc.dynamics import Trajectory
from analogdfc.effort import chips_of_a_run
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.jobs import Progress, Run, Shared, run_kept
from analogdfc.montecarlo.lot import Lot
from analogdfc.records import Quantity, Record, Tree
from analogdfc.study import Study

__all__ = ["Chips", "drawn_by", "try_chips"]


@dataclass(frozen=True)
class Chips:
    """Chips of one design, and how far the update of each is from the ideal one.

    Attributes:
        seeds: of the chips.
        angles: angle of each chip's time-averaged update to the ideal one, as `compare` measures
            it, in degrees, by the layer: '1'..'L', and 'all' for the whole; each (chips,). nan for
            a chip that came to no result, and for a layer whose update is too small to have one.
        drawn: what each chip drew, by name, each (chips,); see `drawn_by`.
        failed: why a chip came to no result, by its seed.
    """

    seeds: tuple[int, ...]
    angles: Mapping[str, NDArray[np.float64]]
    drawn: Mapping[str, NDArray[np.float64]]
    failed: Mapping[int, str]

    @classmethod
    def joined(cls, parts: Sequence[Chips]) -> Chips:
        """All chips of several.

        Args:
            parts: one or more, of one design.
        """
        first = parts[0]
        return cls(
            tuple(seed for part in parts for seed in part.seeds),
            {name: np.concatenate([part.angles[name] for part in parts]) for name in first.angles},
            # In the order of a record: those of chips that were kept come in that.
            {n: np.concatenate([part.drawn[n] for part in parts]) for n in sorted(first.drawn)},
            {seed: why for part in parts for seed, why in part.failed.items()},
        )

    def tree(self) -> Tree:
        """They as a branch of a record."""
        failed = {str(seed): why for seed, why in self.failed.items()}
        return {
            "seed": Quantity(np.array(self.seeds), "1", "seed of the chip", ("chip",)),
            "angle": {
                name: Quantity(
                    values,
                    "degree",
                    "between the chip's update and the ideal one, "
                    + ("all layers" if name == "all" else f"layer {name}")
                    + "; nan where there is none",
                    ("chip",),
                )
                for name, values in self.angles.items()
            },
            "drawn": {
                name: Quantity(
                    values,
                    "V" if name.startswith("offset") else "1",
                    f"{name}: rms deviation from the nominal chip"
                    + ("" if name.startswith("offset") else ", as a part of it"),
                    ("chip",),
                )
                for name, values in self.drawn.items()
            },
            **({"failed": failed} if failed else {}),
        }

    @classmethod
    def read(cls, record: Record) -> Chips:
        """What `tree` was made of.

        Args:
            record: holds that branch as its root.
        """
        seeds = record.array("seed")
        shape = (len(seeds),)

        def all_of(branch: str) -> dict[str, NDArray[np.float64]]:
            names = list(record.group(branch))
            return {n: record.array(f"{branch}/{n}", shape=shape, finite=False) for n in names}

        failed = list(record.group("failed")) if "failed" in record else []
        return cls(
            tuple(map(int, seeds)),
            all_of("angle"),
            all_of("drawn"),
            {int(seed): record.text(f"failed/{seed}") for seed in failed},
        )


def drawn_by(chip: Chip, nominal: Chip) -> dict[str, float]:
    """How far the components of a chip are from the nominal ones, kind by kind.

    Args:
        chip: the chip.
        nominal: the chip without a seed, of the same design.

    Returns:
        By kind and place: root mean square of the input offsets of a bank of amplifiers or of tanh
        cells, in volts; of the relative deviations of resistors and of capacitors; of the
        deviations of a crossbar's conductances, relative to that of a weight of 1.
    """
    one, other = chip.circuit, nominal.circuit
    found: dict[str, list[Tensor]] = {}

    def add(name: str, deviation: Tensor) -> None:
        found.setdefault(name.replace("/", " "), []).append(deviation.flatten())

    for bank in one.banks:
        add(f"offset of {bank.name}", bank.offset)
    for cell in one.cells:
        add(f"offset of tanh cells, {cell.part}", cell.offset)
    for a, b in zip(one.resistors, other.resistors, strict=True):
        add(f"resistors, {a.part}", a.siemens / b.siemens - 1)
    for c, d in zip(one.capacitors, other.capacitors, strict=True):
        add(f"capacitors, {c.part}", c.farads / d.farads - 1)
    for bar, usual in zip(one.crossbars, other.crossbars, strict=True):
        name = f"conductances of {bar.name}"
        add(name, (bar.plus - usual.plus) / usual.unit)
        add(name, (bar.minus - usual.minus) / usual.unit)
    return {
        name: float(torch.cat(parts).square().mean().sqrt())
        for name, parts in found.items()
        if sum(map(len, parts))
    }


@dataclass(frozen=True)
class _Some(Run[Chips]):
    """Chips that are integrated together."""

    lot: Shared[Lot]
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"chips {self.seeds[0]} to {self.seeds[-1]}"

    @property
    def work(self) -> int:
        return len(self.seeds)

    def settings(self) -> str:
        return json.dumps([self.lot.value.described, list(self.seeds)])

    def run(self, progress: Progress) -> Chips:
        lot = self.lot.value
        runs = _runs(lot.study, self.seeds)
        angles: list[dict[str, float]] = []
        failed: dict[int, str] = {}
        for seed, run in zip(self.seeds, runs, strict=True):
            if isinstance(run, ConvergenceError):
                failed[seed] = str(run)
            angles.append({} if isinstance(run, ConvergenceError) else lot.angles(run))
        drawn = [drawn_by(Chip.of(lot.study.design, seed), lot.nominal) for seed in self.seeds]
        progress(self.work)
        return Chips(
            self.seeds,
            {name: np.array([a.get(name, np.nan) for a in angles]) for name in lot.layers},
            {name: np.array([d[name] for d in drawn]) for name in drawn[0]},
            failed,
        )

    def pack(self, result: Chips) -> Tree:
        return result.tree()

    def unpack(self, record: Record) -> Chips:
        return Chips.read(record)


def _runs(study: Study, seeds: Sequence[int]) -> list[Trajectory | ConvergenceError]:
    """The behavioural model of chips, together; each alone where one keeps all from an end."""
    try:
        return list(study.behavioural(seeds))
    except ConvergenceError as error:
        if len(seeds) == 1:
            return [error]
    return [run for seed in seeds for run in _runs(study, [seed])]


def try_chips(
    study: Study,
    seeds: Sequence[int],
    *,
    together: int | None = None,
    executor: Executor | None = None,
    progress: Progress = lambda units: None,
) -> Chips:
    """Run chips of a design in the behavioural model.

    Args:
        study: the design, with what it runs on and the spool that keeps finished runs.
        seeds: of the chips, one or more.
        together: chips of a run, which is what memory is needed for. Those of a run share their
            time steps, so that another number changes the angles by as much as time steps do. By
            default a second of work, see `chips_of_a_run`.
        executor: what does the runs; None does one after another in this process.
        progress: called with the number of chips done since the last call.

    Raises:
        UserError: no chips, or runs that don't fit the memory.
    """
    if together is None:
        together = chips_of_a_run(study.design, len(study.x), study.steps)
    if not seeds or together < 1:
        raise UserError(f"{len(seeds)} chips, {together} together: one or more are needed")
    amplifiers = Chip.of(study.design).circuit.amplifiers
    check_solving(UNKNOWNS * amplifiers, min(together, len(seeds)), len(study.x))
    lot = Shared(Lot(study))
    starts = range(0, len(seeds), together)
    runs = [_Some(lot, tuple(seeds[k : k + together])) for k in starts]
    return Chips.joined(run_kept(runs, study.spool, executor, progress))
