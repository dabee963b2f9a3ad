"""Does a network learn in its circuit what it learns in the model of it, sample by sample?

`python -m benchmarks.through` (two hours on one core), `--samples 5` (minutes),
`--writes pulsed`, `--datasets yin-yang` (one of both), `--compare` (finished records of the folder,
seconds)

Yin-Yang on 4-30-3 and digits of 4 x 4 pixels on 16-10-10, one sample a step, through the
behavioural model and through the circuit with macro cells in ngspice: with exact writes and with
pulses on ECRAM devices. The records are written to a folder, `--folder`, where a run that was
interrupted goes on; finished ones there with the same settings are taken as they are. CPU seconds
are those of a sample in the loop, with all that goes with it, and of ngspice alone on the same
decks, in one run. `--compare` trains and times nothing, and lays beside each other what records are
there, whatever card they were trained with.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from click.testing import CliRunner
from rich.console import Console
from rich.table import Table
from torch import Tensor

from analogdfc import records
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.conductances import Pair
from analogdfc.cli import cli
from analogdfc.datasets import load_dataset
from analogdfc.errors import UserError
from analogdfc.losses import SoftmaxCrossEntropy
from analogdfc.network import Network
from analogdfc.onchip.beside import Beside, beside_figure
from analogdfc.onchip.substrate import CARD, ChipSubstrate
from analogdfc.onchip.through import Behaviour, Goal, InTime, Presented, Simulated
from analogdfc.plots import save_figure
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.loaded import Loaded

WEIGHT_BAR, ANGLE_BAR, COST_BAR = 1.0, 0.5, 1.2
"""Percent of the weights' change, degrees, and CPU time over that of ngspice alone."""

DEVICES = "ecram_mo_kim2019"
WRITES = ("exact", "pulsed")
"""How weights are written."""


class Case(NamedTuple):
    """What learns.

    Attributes:
        dataset: name of the data set.
        sizes: neurons of layers 0..L.
    """

    dataset: str
    sizes: tuple[int, ...]

    @property
    def network(self) -> str:
        """'16-10-10'."""
        return "-".join(map(str, self.sizes))


CASES = (Case("yin-yang", (4, 30, 3)), Case("digits-4x4", (16, 10, 10)))
TIMED = CASES[1]


def trained(case: Case, way: str, samples: int | None, folder: Path, *, pulsed: bool) -> Path:
    """The record of a training, which is done where it isn't there.

    Args:
        case: what learns.
        way: what it goes through.
        samples: how many, each a step; None for a record that is there already.
        folder: where the record is.
        pulsed: on devices, with pulses; else with exact writes.
    """
    path = folder / f"{case.dataset}-{'pulsed' if pulsed else 'exact'}-{way}.h5"
    if samples is None:
        return path
    words = f"train --through {way} --dataset {case.dataset} --sizes {case.network} --batch-size 1"
    words += f" --epochs 1 --samples {samples} --optimizer sgd --lr 1 --chip-seed 1 --resume"
    words += f" --devices {DEVICES}" if pulsed else f" --card {_without_levels(folder)}"
    result = CliRunner().invoke(cli, [*words.split(), "-o", str(path)])
    if result.exit_code:
        raise UserError(f"{path}: {result.output.splitlines()[-1]}")
    return path


def _finished(path: Path) -> bool:
    """Whether the record of a whole training is there."""
    return path.exists() and records.read(path).tree.get("finished") is True


def _without_levels(folder: Path) -> Path:
    """The card with conductances that are set exactly.

    A weight at the edge of a level may be rounded to another one in the second training: a
    difference of the writes, and none of the realisations.
    """
    path, text = folder / "card.toml", Card.load(CARD).text
    path.write_text(re.sub(r"^levels = .*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    return path


def compared(
    samples: int | None,
    folder: Path,
    writes: Sequence[str] = WRITES,
    cases: Sequence[Case] = CASES,
) -> Iterator[tuple[str, Beside]]:
    """Every training through the circuit beside that through the model.

    Args:
        samples: of each; None for finished records as they are, and no others.
        folder: where records and figures are.
        writes: of `WRITES`.
        cases: of `CASES`.
    """
    for pulsed in (way == "pulsed" for way in writes):
        for case in cases:
            ways = ("circuit", "behavioural")
            pair = [trained(case, way, samples, folder, pulsed=pulsed) for way in ways]
            if samples is None and (missing := [path for path in pair if not _finished(path)]):
                print(f"{missing[0]}: no finished record, left out", file=sys.stderr)
                continue
            found = Beside.of(*map(records.read, pair))
            name = f"{case.dataset} {case.network}, {'pulses' if pulsed else 'exact writes'}"
            save_figure(beside_figure(found, name), pair[1].with_suffix(".beside.png"))
            yield name, found


class Cost(NamedTuple):
    """CPU seconds of a sample.

    Attributes:
        behavioural: through the model.
        circuit: through the loaded circuit, with all that goes with it.
        bare: ngspice alone, started anew on the same deck.
    """

    behavioural: float
    circuit: float
    bare: float


def cost(samples: int) -> Cost:
    """What a sample costs, its weights being new to the chip.

    Args:
        samples: over which it is measured.
    """
    network = Network(TIMED.sizes, generator=torch.Generator().manual_seed(0))
    data, chip = load_dataset(TIMED.dataset), ChipSubstrate().chip(network, 1)
    chips = [_moved(chip, 1 + 0.01 * k) for k in range(samples + 1)]
    totals = dict.fromkeys(Cost._fields, 0.0)
    with Loaded() as simulator:
        ways: tuple[InTime, ...] = (Behaviour(), Simulated(simulator=simulator))
        for k, one in enumerate(chips):
            x, goal = data.x[k : k + 1], Goal(SoftmaxCrossEntropy(), data.y[k : k + 1], 0.1)
            spent = dict(zip(totals, _spent(ways, one, x, goal, simulator), strict=True))
            if k:  # the first pays for what is loaded once
                totals = {name: totals[name] + spent[name] / samples for name in totals}
    return Cost(**totals)


def _spent(
    ways: tuple[InTime, ...], chip: Chip, x: Tensor, goal: Goal, simulator: Loaded
) -> Iterator[float]:
    """CPU seconds of a sample through each way, and of ngspice alone."""
    for way in ways:
        start = _cpu(simulator)
        Presented(way, chip, x, goal).run(lambda units: None)
        yield _cpu(simulator) - start
    circuit = Circuit(chip, "macro", BatchProcess())
    step = goal(circuit.outputs(x))
    before = os.times()
    circuit.run(x, step, dt=0.02, steps=1000)
    after = os.times()
    yield sum(getattr(after, n) - getattr(before, n) for n in ("children_user", "children_system"))


def _moved(chip: Chip, factor: float) -> Chip:
    bars = [bar for bar in chip.circuit.crossbars if bar.name.startswith("W")]
    pairs = [Pair(bar.plus * factor, bar.minus * factor) for bar in bars]
    return chip.holding(chip.design.weights, chip.design.biases, pairs)


def _cpu(simulator: Loaded) -> float:
    return time.process_time() + simulator.cpu_seconds()


def main() -> int:
    """Print the bars; 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200, help="of each training")
    parser.add_argument("--timed", type=int, default=5, help="samples whose cost is measured")
    parser.add_argument("--folder", type=Path, default=Path("through"), help="of the records")
    parser.add_argument("--writes", nargs="+", choices=WRITES, default=list(WRITES))
    names = [case.dataset for case in CASES]
    parser.add_argument("--datasets", nargs="+", choices=names, default=names)
    parser.add_argument("--compare", action="store_true", help="finished records, no training")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    missed = not given.compare and _show_cost(cost(given.timed))
    rows: list[dict[str, Any]] = []
    samples = None if given.compare else given.samples
    cases = [case for case in CASES if case.dataset in given.datasets]
    for name, found in compared(samples, given.folder, given.writes, cases):
        rows.append({"name": name, **found.numbers()})
        Console(stderr=True).print(f"{name}: done")
    return int(_show(rows) or missed)


def _show_cost(found: Cost) -> bool:
    """Print what a sample costs; whether that is too much."""
    ratio = found.circuit / found.bare
    table = Table(title=f"{TIMED.network}, CPU seconds of a sample, one core")
    for column in ("through", "CPU s", "samples a minute"):
        table.add_column(column, justify="right")
    for name, seconds in zip(("behavioural", "circuit", "ngspice alone"), found, strict=True):
        table.add_row(name, f"{seconds:.3g}", f"{60 / seconds:.3g}")
    Console().print(table)
    print(f"a sample in the loop over ngspice alone: {ratio:.3f} (bar {COST_BAR})")
    return ratio > COST_BAR


def _show(rows: list[dict[str, Any]]) -> bool:
    """Print the comparisons; whether a bar is missed by exact writes."""
    table = Table(title="through behavioural, against through circuit (macro cells)")
    names = ["training", "steps", "weight change %", "largest angle, degree"]
    for column in [*names, "pulses", "others", "by 1"]:
        table.add_column(column, justify="right")
    missed = False
    for row in rows:
        pulses = row.get("pulses")
        weights, turned = row["weight_change_error_percent"], row["update_angle_largest_degree"]
        counts = [str(n) for n in pulses.values()] if pulses else ["", "", ""]
        table.add_row(row["name"], str(row["steps"]), f"{weights:.3g}", f"{turned:.3g}", *counts)
        if pulses is None:
            missed |= weights > WEIGHT_BAR or turned > ANGLE_BAR
    Console().print(table)
    print(f"bars, exact writes: weight change {WEIGHT_BAR} %, every angle {ANGLE_BAR} degree")
    return missed


if __name__ == "__main__":
    sys.exit(main())
