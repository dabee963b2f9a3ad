"""Some chips of a design in SPICE, one sample of one chip a run.

The runs share nothing, so that all cores have one until the last; of each only the update is kept,
a vector as long as the network has weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from analogdfc.dynamics import Update
from analogdfc.errors import UserError
from analogdfc.jobs import Progress, Run, Shared, outcomes
from analogdfc.montecarlo.lot import Lot
from analogdfc.records import Quantity, Record, Tree
from analogdfc.spice.netlist import Fidelity
from analogdfc.spice.own import OwnDevice, own_texts
from analogdfc.spice.simulation import PARTS
from analogdfc.study import Cells, Study

__all__ = ["Circuits", "circuit_work", "try_circuits"]


class Circuits(NamedTuple):
    """Some chips as circuits.

    Attributes:
        angles: angle of the whole update to the ideal one, in degrees, by the chip's seed.
        failed: why a chip came to no result, by its seed.
        logs: what the simulator wrote of such a chip, by its seed; none where it wrote nothing.
        fidelity: level of their cells.
        drawn: whether their transistors were drawn by the kit, so that no chip of the model has
            the same.
    """

    angles: Mapping[int, float]
    failed: Mapping[int, str]
    logs: Mapping[int, str] = {}
    fidelity: Fidelity = "macro"
    drawn: bool = False

    def tree(self) -> Tree:
        """They as a branch of a record."""
        about = "between the circuit's update and the ideal one, all layers"
        return {
            "angle": {str(s): Quantity(a, "degree", about) for s, a in self.angles.items()},
            **({"failed": {str(s): why for s, why in self.failed.items()}} if self.failed else {}),
            **({"log": {str(s): log for s, log in self.logs.items()}} if self.logs else {}),
        }


@dataclass(frozen=True)
class _One(Run[Tensor]):
    """A sample of a chip as a circuit; gives its update, all layers in one vector."""

    lot: Shared[Lot]
    cells: Cells
    sample: int

    @property
    def name(self) -> str:
        return f"chip {self.cells.seed}, sample {self.sample + 1}"

    @property
    def work(self) -> int:
        return PARTS

    def settings(self) -> str:
        cells = self.cells
        own = {name: _digest(text) for name, text in own_texts(cells.cells or {}).items()}
        device = [repr(one) for one in (cells.cells or {}).values() if isinstance(one, OwnDevice)]
        kit = None if cells.kit is None else cells.kit.about
        circuit: list[object] = [
            cells.fidelity,
            cells.seed,
            cells.simulator.name,
            own,
            kit,
            cells.celsius,
        ]
        circuit += [cells.rough, device, self.sample]
        return json.dumps([self.lot.value.described, circuit])

    def made_with(self) -> str:
        return f"{super().made_with()}, {self.cells.simulator.made_with()}"

    def run(self, progress: Progress) -> Tensor:
        told = 0

        def tell(name: str, done: int, total: int) -> None:
            nonlocal told
            progress(done - told)
            told = done

        study, k = self.lot.value.study, slice(self.sample, self.sample + 1)
        # A study of its own: what it remembers of a chip goes with it.
        one = replace(study, x=study.x[k], step=study.step[k], spool=None)
        run = self.cells.run(one, tell)
        return Update.of(run, double_sampling=study.design.readout.double_sampling).flat()

    def pack(self, result: Tensor) -> Tree:
        return {"update": Quantity(result.numpy(), "1", "change of the weights, layer by layer")}

    def unpack(self, record: Record) -> Tensor:
        return torch.from_numpy(record.array("update", units="1").copy())


def try_circuits(
    study: Study,
    seeds: Sequence[int],
    cells: Cells,
    *,
    executor: Executor | None = None,
    progress: Callable[[int], object] = lambda units: None,
) -> Circuits:
    """Run chips of a design as circuits, in time steps that are enough for their updates.

    Args:
        study: the design, with what it runs on and the spool that keeps finished simulations.
        seeds: of the chips.
        cells: the circuit, whose own seed doesn't count.
        executor: what does the simulations; None does one after another in this process.
        progress: called with what was simulated since the last call, of `circuit_work`.

    Raises:
        UserError: the simulator is missing or refuses the netlist.
    """
    lot = Shared(Lot(study))
    samples = range(len(study.x))
    each = [replace(cells, seed=seed, jobs=1, rough=True) for seed in seeds]
    runs = [_One(lot, one, k) for one in each for k in samples]
    ended = outcomes(runs, study.spool, executor, progress)
    found = iter(ended)
    angles: dict[int, float] = {}
    failed: dict[int, str] = {}
    logs: dict[int, str] = {}
    for seed in seeds:
        updates = {k: next(found) for k in samples}
        errors = {k: one for k, one in updates.items() if isinstance(one, UserError)}
        if errors:
            k, error = next(iter(errors.items()))
            failed[seed] = f"sample {k + 1}: {error}"
            if error.log:
                logs[seed] = error.log
            continue
        whole = torch.stack([one for one in updates.values() if isinstance(one, Tensor)])
        angles[seed] = lot.value.angle(whole.mean(dim=0))
    drawn = cells.kit is not None and cells.kit.mismatch
    return Circuits(angles, failed, logs, cells.fidelity, drawn)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def circuit_work(study: Study, chips: int) -> int:
    """Units of progress of so many circuits.

    Args:
        study: see `try_circuits`.
        chips: how many.
    """
    return PARTS * chips * len(study.x)
