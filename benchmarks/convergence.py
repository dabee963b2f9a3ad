"""Training through the behavioural hardware: what a step costs, and how soon it converges.

`OMP_NUM_THREADS=1 python -m benchmarks.convergence`

The cost is that of a step of 784-256-256-256-10, batch 32, float64, by Adam and by plain gradient
descent: the weights are read from the devices and folded into the chip, the loop is solved, the
update is read and sent to the devices as pulses or writes. It is measured beside the ideal rule
with a torch optimiser, in turns; both with their own tolerance of Newton's method. It grows with
the number of devices that a step moves; Adam's first steps move nearly all of them.

The table is that of 16-10-10 on the digits of scikit-learn, 4 x 4 pixels: samples until the target
holds on held-out digits, through the hardware, by the ideal rule and by backpropagation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from analogdfc.arrays.writers import ReprogramWriter
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.datasets import digits
from analogdfc.feedback import DirectFeedback
from analogdfc.files import check_place
from analogdfc.learning import SteadyStateDFC
from analogdfc.losses import SoftmaxCrossEntropy
from analogdfc.network import Network
from analogdfc.onchip.convergence import RULES, Convergence, Course, converge, on_devices
from analogdfc.onchip.figure import convergence_figure
from analogdfc.onchip.rule import HardwareDFC
from analogdfc.plots import save_figure
from analogdfc.training.optimizers import SGD, Adam, OptimizerSettings

CARD = "discrete_100mhz"
DEVICES = ("ideal", "ecram_mo_kim2019", "pcm_nandakumar2019")
LARGE, BATCH = (784, 256, 256, 256, 10), 32
OPTIMIZERS: dict[str, OptimizerSettings] = {
    "Adam 0.001": Adam(lr=0.001),
    "SGD 0.05": SGD(lr=0.05),
    "SGD 0.5": SGD(lr=0.5),
}
REPEATS = 60
BAR = 2.0

SMALL = (16, 10, 10)
TARGET, EPOCHS, SEEDS = 0.9, 20, 3
WIDTH = 120

Step = Callable[[], object]


def interleaved(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """Median processor times of the steps in milliseconds, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.process_time()
            step()
            times[name].append(time.process_time() - start)
    return {name: 1e3 * sorted(spent)[len(spent) // 2] for name, spent in times.items()}


def cost(device: str, settings: OptimizerSettings) -> dict[str, float]:
    """Milliseconds of the ideal step, of the step through the hardware, and of its parts.

    `moved` is the mean number of pulses or writes in a step.
    """
    source = torch.Generator().manual_seed(0)
    network = Network(LARGE, generator=source)
    x = torch.rand(REPEATS, BATCH, LARGE[0], dtype=torch.float64, generator=source)
    y = torch.eye(10, dtype=torch.float64)[torch.arange(BATCH) % 10]
    feedback, loss = DirectFeedback.transposed(network), SoftmaxCrossEntropy()
    chip = Chip.of(Design.of(network, feedback, Card.load(CARD)), 0)
    devices, optimizer = on_devices(network, device, 0, Course(optimizer=settings))
    for writer in optimizer.writers:
        if isinstance(writer, ReprogramWriter):  # as in the midst of training
            writer.left.uniform_(-1, 1, generator=source)
    hardware = HardwareDFC(devices, chip, loss=loss)
    ideal = SteadyStateDFC(network, feedback, loss=loss)
    plain = settings.make(network.parameters())

    batches = {name: iter(x) for name in ("ideal", "hardware", "update")}

    def ideal_step() -> None:
        ideal.backward(next(batches["ideal"]), y)
        plain.step()

    def hardware_step() -> None:
        hardware.backward(next(batches["hardware"]), y)
        optimizer.step()

    steps: dict[str, Step] = {
        "ideal": ideal_step,
        "hardware": hardware_step,
        "fold": hardware.refold,
        "update": lambda: hardware.backward(next(batches["update"]), y),
        "devices": optimizer.step,
        "read": devices.read,
    }
    found = interleaved(steps, REPEATS)
    found["update"] -= found["fold"]
    found["devices"] -= found["read"]
    moved = sum(c.up + c.down + c.attempts for c in optimizer.counts)
    # The optimiser steps in the whole step, and once more on its own.
    found["moved"] = moved / (2 * REPEATS)
    return found


def cost_table() -> Table:
    """What a step costs, by device."""
    table = Table(title=f"{'-'.join(map(str, LARGE))}, batch {BATCH}, float64, one thread")
    table.add_column("devices", no_wrap=True)
    for title in (
        "optimiser\nand rate",
        "pulses or\nwrites",
        "ideal\nms",
        "hardware\nms",
        "ratio\n1",
        "fold\nms",
        "rest state,\nupdate, ms",
        "pulses\nms",
        "read\nms",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for name, settings in OPTIMIZERS.items():
        table.add_section()
        for device in DEVICES:
            t = cost(device, settings)
            parts = [t[name] for name in ("fold", "update", "devices", "read")]
            table.add_row(
                device,
                name,
                f"{t['moved']:.0f}",
                f"{t['ideal']:.2f}",
                f"{t['hardware']:.2f}",
                f"{t['hardware'] / t['ideal']:.2f}",
                *(f"{part:.2f}" for part in parts),
            )
    return table


def small(progress: Progress) -> dict[str, Convergence]:
    """Training of the small network: the ideal rules once, the hardware on each device."""
    data, card = digits(), Card.load(CARD)
    whole = SEEDS * EPOCHS * len(data.x)
    bar = progress.add_task("training", total=whole * (len(DEVICES) + 2))
    out = {}
    for device in DEVICES:
        out[device] = converge(
            data,
            SMALL,
            card,
            device,
            target=TARGET,
            epochs=EPOCHS,
            seeds=range(SEEDS),
            rules=RULES if device == DEVICES[0] else ("hardware",),
            progress=lambda n: progress.advance(bar, n),
        )
    return out


def small_table(found: dict[str, Convergence]) -> Table:
    """Samples to the target, by rule and device."""
    name = "-".join(map(str, SMALL))
    table = Table(title=f"{name}, digits, {CARD}, {SEEDS} seeds, {100 * TARGET:g} % held out")
    table.add_column("rule", no_wrap=True)
    table.add_column("devices", no_wrap=True)
    for title in (
        "samples to the target\nby seed",
        "best\n%",
        "pulses\na sample",
        "writes\na sample",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    first = next(iter(found.values()))
    rows = [(rule, "", first) for rule in first.rules if rule != "hardware"]
    rows += [("hardware", device, convergence) for device, convergence in found.items()]
    for rule, device, convergence in rows:
        runs = convergence.of(rule)
        reached = ["not reached" if r.reached is None else str(r.reached) for r in runs]
        best = [f"{100 * convergence.best(run):.1f}" for run in runs]
        table.add_row(
            rule,
            device,
            ", ".join(reached),
            ", ".join(best),
            _mean(run.pulses_per_sample for run in runs),
            _mean(run.writes_per_sample for run in runs),
        )
    return table


def _mean(counts: Iterable[tuple[float, ...] | None]) -> str:
    """Of all layers together, over the seeds."""
    sums = [sum(count) for count in counts if count is not None]
    return f"{sum(sums) / len(sums):.2f}" if any(sums) else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("convergence.png"), metavar="FILE")
    options = parser.parse_args(arguments)
    check_place(options.out)
    torch.set_num_threads(1)
    console = Console(width=WIDTH)
    console.print(cost_table())
    console.print(f"bar: ratio <= {BAR:g}", style="dim")
    with Progress(console=Console(stderr=True)) as progress:
        found = small(progress)
    console.print(small_table(found))
    save_figure(convergence_figure(found[DEVICES[0]]), options.out)
    console.print(f"written: {options.out}")


if __name__ == "__main__":
    main()
