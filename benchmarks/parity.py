"""Do the models predict the circuit? Every bar, with the worst figure against it.

`python -m benchmarks.parity` (minutes), `python -m benchmarks.parity --quick` (half a minute)

NRMSE: v and r relative to the rms excursion from the free state ('dev': each trace less its own
free state), u and e to their own rms ('u settled': without the first 0.1 tau_u); samples and
neurons are pooled.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.circuit.amplifiers import Rung
from analogdfc.comparison import Comparison
from analogdfc.dynamics import Trajectory
from analogdfc.spice.netlist import Fidelity
from benchmarks._measure import Case, case, cores, worst_angle, worst_norm

SMALL, LARGE = (3, 4, 2), (16, 10, 10)
NETWORK_SEEDS = (0, 1, 2)
CHIPS = (0, 1, 2, 3, 4)
BANDWIDTHS = (30, 100)
DEVICES = ("pcm_nandakumar2019", "rram_wan2022")
HOUR = 3600.0
"""What the crossbars of a chip may be made of, and the seconds since they were programmed."""
DEVICE_CHIPS = 3
TILE = 16
"""Rows of a tile, with the card's wires of 5 ohm from cell to cell."""

IDEAL_BAR = 1e-3
SIGNAL_BAR = 5e-3
ANGLE_BAR = 0.1
NORM_BAR = 2e-3
STATIC_BAR = 2e-3

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Size:
    """How much is run for one network.

    Attributes:
        layers: neurons of layers 0..L.
        seeds: networks compared at level ideal.
        chips: chips of the first network compared at level macro.
        samples: of each.
    """

    layers: tuple[int, ...]
    seeds: Sequence[int] = NETWORK_SEEDS
    chips: Sequence[int] = CHIPS
    samples: int = 4

    @property
    def name(self) -> str:
        """'3-4-2'."""
        return "-".join(map(str, self.layers))


FULL = (Size(SMALL), Size(LARGE, samples=2))
QUICK = (Size(SMALL, samples=2), Size(LARGE, seeds=(0,), chips=(0,), samples=1))


@dataclass
class Bar:
    """A limit, and the worst figure found against it.

    Attributes:
        name: what it is about.
        limit: the largest value allowed.
        unit: '%' for fractions, else as it is.
        worst: the largest value found.
        where: the run that gave it.
    """

    name: str
    limit: float
    unit: str = "%"
    worst: float = -1.0
    where: str = ""

    def see(self, value: float, where: str) -> None:
        """Count a figure; one that isn't a number is the worst of all."""
        if not (value <= self.worst or math.isnan(self.worst)):
            self.worst, self.where = value, where

    @property
    def met(self) -> bool:
        """Whether something was seen and all of it is within the limit."""
        return 0 <= self.worst <= self.limit

    def shown(self, value: float) -> str:
        """A figure in the bar's unit."""
        return f"{value * (100 if self.unit == '%' else 1):.3g} {self.unit}"


@dataclass
class Bench:
    """What has been measured so far; one progress step a simulation.

    Attributes:
        step: called after each simulation.
        bars: the limits.
        tables: the tables to be printed.
    """

    step: Callable[[], object]
    bars: list[Bar] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def timed(self, run: Callable[[], _Result]) -> tuple[_Result, float]:
        """A result and the seconds it took."""
        start = time.perf_counter()
        result = run()
        self.step()
        return result, time.perf_counter() - start

    def bar(self, name: str, limit: float, unit: str = "%") -> Bar:
        """A new limit."""
        self.bars.append(Bar(name, limit, unit))
        return self.bars[-1]

    def table(self, title: str, columns: Sequence[str]) -> Table:
        """A new table; all columns but the first are figures."""
        table = Table(title=title, title_justify="left")
        for k, name in enumerate(columns):
            table.add_column(name.replace(" ", "\n"), justify="right" if k else "left")
        self.tables.append(table)
        return table

    def ideal_cells(self, sizes: Sequence[Size]) -> None:
        """Ideal dynamics against the circuit of ideal cells."""
        for size in sizes:
            bar = self.bar(f"ideal, {size.name}: every signal", IDEAL_BAR)
            table = None
            for seed in size.seeds:
                cases = case(size.layers, seed, size.samples)
                model, fast = self.timed(cases.ideal)
                circuit, slow = self.timed(partial(_circuit, cases, None, "ideal"))
                result = cases.parity(circuit, model)
                if table is None:
                    title = f"Ideal dynamics against ideal cells, {size.name}: NRMSE, %"
                    table = self.table(title, ["network", *_shown(result), "model s", "ngspice s"])
                table.add_row(f"seed {seed}", *_signals(result), f"{fast:.2f}", f"{slow:.2f}")
                _see_signals(bar, result, f"seed {seed}")

    def macro_cells(self, size: Size) -> dict[int, list[Trajectory]]:
        """The full model and the static rung against the circuit of macro cells, by bandwidth."""
        signal = self.bar(f"full model, {size.name}: every signal", SIGNAL_BAR)
        angle = self.bar(f"full model, {size.name}: update angle", ANGLE_BAR, "deg")
        norm = self.bar(f"full model, {size.name}: update norm", NORM_BAR)
        static = self.bar(f"static rung, {size.name}: update", STATIC_BAR)
        table = None
        circuits: dict[int, list[Trajectory]] = {}
        for product in BANDWIDTHS:
            here = case(size.layers, NETWORK_SEEDS[0], size.samples).at_bandwidth(product)
            models, fast = self.timed(partial(here.behavioural, size.chips))
            rest, _ = self.timed(partial(here.behavioural, size.chips, Rung.STATIC))
            circuits[product] = []
            for chip, model, low in zip(size.chips, models, rest, strict=True):
                circuit, slow = self.timed(partial(_circuit, here, chip, "macro"))
                circuits[product].append(circuit)
                result, coarse = here.parity(circuit, model), here.parity(circuit, low)
                if table is None:
                    title = f"Full model against macro cells, {size.name}: NRMSE and update, %"
                    columns = ["GBW tau_v", "chip", *_shown(result), "angle deg", "norm",
                               "static dW", "model s", "ngspice s"]  # fmt: skip
                    table = self.table(title, columns)
                where = f"GBW tau_v {product}, chip {chip}"
                _see_signals(signal, result, where)
                angle.see(worst_angle(result), where)
                norm.see(worst_norm(result), where)
                static.see(coarse.updates["all"].error, where)
                table.add_row(
                    str(product), str(chip), *_signals(result), f"{worst_angle(result):.5f}",
                    _percent(worst_norm(result)), _percent(coarse.updates["all"].error),
                    f"{fast / len(size.chips):.2f}", f"{slow:.2f}",
                )  # fmt: skip
        return circuits

    def devices(self, size: Size) -> None:
        """The full model against macro cells, with tiles of devices after an hour."""
        signal = self.bar(f"devices, {size.name}: every signal", SIGNAL_BAR)
        angle = self.bar(f"devices, {size.name}: update angle", ANGLE_BAR, "deg")
        table, chips = None, size.chips[:DEVICE_CHIPS]
        for name in DEVICES:
            here = case(size.layers, NETWORK_SEEDS[0], size.samples)
            here = here.of_devices(name, HOUR).in_tiles(TILE)
            models, fast = self.timed(partial(here.behavioural, chips))
            ideal, _ = self.timed(here.ideal)
            for chip, model in zip(chips, models, strict=True):
                circuit, slow = self.timed(partial(_circuit, here, chip, "macro"))
                result = here.parity(circuit, model)
                apart = here.compare("ideal", "circuit", "deviation", ideal, circuit)
                if table is None:
                    title = (
                        f"Full model against macro cells, {size.name}: devices after 1 h in tiles "
                        f"of {TILE} rows, NRMSE, %"
                    )
                    columns = ["devices", "chip", *_shown(result), "angle deg",
                               "from ideal deg", "model s", "ngspice s"]  # fmt: skip
                    table = self.table(title, columns)
                where = f"{name}, chip {chip}"
                _see_signals(signal, result, where)
                angle.see(worst_angle(result), where)
                table.add_row(
                    name, str(chip), *_signals(result), f"{worst_angle(result):.5f}",
                    f"{worst_angle(apart):.2f}", f"{fast / len(chips):.2f}", f"{slow:.2f}",
                )  # fmt: skip

    def ladder(self, size: Size, circuits: dict[int, list[Trajectory]]) -> None:
        """Every rung against macro cells, median of the chips."""
        shown = [*(f"v{i}" for i in range(1, len(size.layers))), "u", "u settled", "e"]
        table = self.table(
            f"Ladder against macro cells, {size.name}: median of chips {_listed(size.chips)}, %",
            ["model", "GBW tau_v", *shown, "dW", "s/chip"],
        )
        for name, rung in (("M0 the paper's equations", None), *((_name(r), r) for r in Rung)):
            for product in sorted(circuits, reverse=True):
                here = case(size.layers, NETWORK_SEEDS[0], size.samples).at_bandwidth(product)
                models, seconds = self.timed(partial(_models, here, size.chips, rung))
                pairs = zip(circuits[product], models, strict=True)
                results = [here.parity(circuit, model) for circuit, model in pairs]
                figures = [statistics.median(r.signals[s] for r in results) for s in shown]
                figures.append(statistics.median(r.updates["all"].error for r in results))
                chips = 1 if rung is None else len(size.chips)
                table.add_row(name, str(product), *map(_percent, figures), f"{seconds / chips:.2f}")

    def deviation(self, size: Size, circuits: dict[int, list[Trajectory]]) -> None:
        """How far macro cells are from the algorithm: for information."""
        table = None
        for product in BANDWIDTHS:
            here = case(size.layers, NETWORK_SEEDS[0], size.samples).at_bandwidth(product)
            ideal, _ = self.timed(here.ideal)
            results = [
                here.compare("ideal", "circuit", "deviation", ideal, circuit)
                for circuit in circuits[product]
            ]
            if table is None:
                table = self.table(
                    f"Deviation of macro cells from the algorithm (no bar), {size.name}: "
                    f"median of chips {_listed(size.chips)}, %",
                    ["GBW tau_v", *results[0].signals, "angle deg", "norm ratio", "dW"],
                )
            total = [r.updates["all"] for r in results]
            table.add_row(
                str(product),
                *(
                    _percent(statistics.median(r.signals[s] for r in results))
                    for s in results[0].signals
                ),
                f"{statistics.median(u.angle for u in total):.3f}",
                f"{statistics.median(u.norm_ratio for u in total):.4f}",
                _percent(statistics.median(u.error for u in total)),
            )

    def summary(self) -> Table:
        """The bars with the worst figures against them."""
        table = Table(title="Bars", title_justify="left")
        for k, name in enumerate(("bar", "limit", "worst", "met", "where")):
            table.add_column(name, justify="right" if 0 < k < 4 else "left")
        for bar in self.bars:
            met = "yes" if bar.met else "[bold red]no[/]"
            table.add_row(bar.name, bar.shown(bar.limit), bar.shown(bar.worst), met, bar.where)
        return table


def _circuit(here: Case, chip: int | None, fidelity: Fidelity) -> Trajectory:
    return here.circuit(chip, fidelity, jobs=cores())


def _models(here: Case, chips: Sequence[int], rung: Rung | None) -> list[Trajectory]:
    """One run a chip; the paper's equations, of which all chips are alike, without a rung."""
    return [here.ideal()] * len(chips) if rung is None else here.behavioural(chips, rung)


def _name(rung: Rung) -> str:
    return f"M{rung.value} {rung.name.lower().replace('_', ' ')}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _percent(value: float) -> str:
    return f"{value * 100:.3f}" if value < 0.1 else f"{value * 100:.1f}"


def _shown(result: Comparison) -> dict[str, float]:
    """The signals of the tables; the worst figure is of all of them."""
    return {name: value for name, value in result.signals.items() if not name.endswith(" dev")}


def _signals(result: Comparison) -> Iterator[str]:
    return map(_percent, _shown(result).values())


def _see_signals(bar: Bar, result: Comparison, where: str) -> None:
    for name, value in result.signals.items():
        bar.see(value, f"{name}, {where}")


def _simulations(sizes: Sequence[Size]) -> int:
    ideal = sum(2 * len(s.seeds) for s in sizes)
    macro = sum(len(BANDWIDTHS) * (2 + len(s.chips)) for s in sizes)
    devices = sum(len(DEVICES) * (2 + len(s.chips[:DEVICE_CHIPS])) for s in sizes)
    return ideal + macro + devices + len(BANDWIDTHS) * (len(Rung) + 1 + len(sizes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.parity", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples and large networks")
    sizes = QUICK if parser.parse_args(arguments).quick else FULL
    torch.set_num_threads(1)
    start = time.perf_counter()
    with tqdm(total=_simulations(sizes), file=sys.stderr, leave=False) as progress:
        bench = Bench(progress.update)
        bench.ideal_cells(sizes)
        for size in sizes:
            circuits = bench.macro_cells(size)
            if size.layers == SMALL:
                bench.ladder(size, circuits)
            bench.deviation(size, circuits)
            bench.devices(size)
    console = Console(width=None if sys.stdout.isatty() else 120)
    for table in (*bench.tables, bench.summary()):
        console.print(table)
    met = sum(bar.met for bar in bench.bars)
    console.print(f"{time.perf_counter() - start:.0f} s on {cores()} cores")
    console.print(f"{met} of {len(bench.bars)} bars are met", highlight=False)
    return 0 if met == len(bench.bars) else 1


if __name__ == "__main__":
    sys.exit(main())
