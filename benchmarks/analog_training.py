"""Deep Feedback Control through phase-change memory and ECRAM against ideal weights.

`OMP_NUM_THREADS=1 python -m benchmarks.analog_training --out analog_training`

A network of 16-10-10 learns the digits of scikit-learn, 4 x 4 pixels. Every device is trained as it
allows: phase-change memory by mixed precision (a digital accumulator, and a new write with its
error once a weight has to move by a granule), ECRAM by pulses at random that nobody verifies. Then
the causes are switched off one at a time; what the accuracy gains by it is what the cause costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from analogdfc import records
from analogdfc.arrays.layers import AnalogNetwork, analog
from analogdfc.arrays.mapping import Balanced, Mapping, PerLayer, Scheme, Split
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.arrays.writers import Counts
from analogdfc.cards.device import DeviceCard
from analogdfc.datasets import Dataset, digits
from analogdfc.feedback import DirectFeedback
from analogdfc.files import check_place
from analogdfc.learning import SteadyStateDFC
from analogdfc.losses import SoftmaxCrossEntropy
from analogdfc.network import Network
from analogdfc.plots import save_figure
from analogdfc.records import Quantity
from analogdfc.training import metrics
from analogdfc.training.loop import FORWARD, Phase, Schedule, Training, descent, shuffled
from analogdfc.training.stopping import Epochs

SIZES = [16, 10, 10]
EPOCHS, BATCH, SEEDS = 20, 32, 5
RATE = 0.02
"""Of Adam, the digital optimiser."""

HEADROOM = 6.0
"""Largest representable weight, in units of the largest initial one of a layer."""

GRANULE, FINE = 1 / 64, 1 / 1024
"""Granules of a write, in units of the largest representable weight."""

PERIOD = 1.0
"""Seconds between updates, in which phase-change memory drifts."""

LAST = 5
"""Epochs at the end over which the table takes the mean."""

WIDTH = 120

COLOURS = ("0.5", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class Case:
    """One way to hold and to change the weights.

    Attributes:
        name: what the table calls it.
        card: the device; None for ideal weights.
        off: imperfections that are switched off.
        scheme: how the weights are mapped.
        mode: how the optimiser's step is made.
        granularity: granule of a write; None for pulses.
    """

    name: str
    card: str | None = None
    off: tuple[str, ...] = ()
    scheme: Scheme = field(default_factory=Split)
    mode: str = "mixed-precision"
    granularity: float | None = GRANULE


def cases() -> list[Case]:
    """The reference, each device, and each device with a cause switched off."""
    out = [Case("ideal weights")]
    for title, card, common, causes in (
        (
            "PCM",
            "pcm_nandakumar2019",
            {},
            (("programming noise",), ("read noise",), ("drift",)),
        ),
        (
            "ECRAM",
            "ecram_li_tang2018",
            {"scheme": Balanced(), "mode": "stochastic", "granularity": None},
            (("pulse nonlinearity",), ("pulse spread",), ("pulse noise",)),
        ),
    ):
        given: dict[str, Any] = common
        out.append(Case(title, card, **given))
        out += [Case(f"{title} without {off[0]}", card, off, **given) for off in causes]
        if out[-1].granularity is not None:
            out.append(Case(f"{title} with finer granules", card, granularity=FINE))
        everything = tuple(off[0] for off in causes)
        if out[-1].granularity is not None:
            out.append(Case(f"{title}, noise and drift off", card, everything, **given))
            given = {**given, "granularity": FINE}
        out.append(Case(f"{title}, all off", card, everything, **given))
    return out


@dataclass
class Result:
    """What one run of a case gave.

    Attributes:
        accuracy: on the held-out digits, before training and after each epoch, as a fraction.
        counts: pulses and writes of all layers; None for ideal weights.
    """

    accuracy: list[float]
    counts: Counts | None


def accuracy(network: Network, data: Dataset) -> float:
    """Fraction of the held-out samples; an analog network is read anew."""
    if isinstance(network, AnalogNetwork):
        network.read()
    return metrics.accuracy(network, data.x_test, data.y_test)


def run(case: Case, seed: int, data: Dataset, epochs: int) -> Result:
    """Train one network; a seed gives the same initial weights and batches to every case."""
    source = torch.Generator().manual_seed(seed)
    network = Network(SIZES, generator=source)
    feedback = DirectFeedback.transposed(network)
    update: PulsedUpdate | None = None
    if case.card is not None:
        model = DeviceCard.load(case.card).model().without(*case.off)
        mapping = Mapping(case.scheme, PerLayer(HEADROOM))
        network = chip = analog(network, model, seed, mapping=mapping)
        digital = torch.optim.Adam(chip.parameters(), lr=RATE)
        update = PulsedUpdate(chip, digital, case.mode, granularity=case.granularity, period=PERIOD)
    optimizer = update or torch.optim.Adam(network.parameters(), lr=RATE)
    rule = SteadyStateDFC(network, feedback, loss=SoftmaxCrossEntropy())
    training = Training[float](
        data,
        [Phase(FORWARD, descent(rule, optimizer), shuffled(source))],
        batch_size=BATCH,
        stop=Epochs(epochs),
        evaluate=lambda: accuracy(network, data),
        schedule=Schedule(start=True),
    )
    training.run()
    out = training.history
    if update is None:
        return Result(out, None)
    parts = [vars(count) for count in update.counts]
    return Result(out, Counts(**{name: sum(p[name] for p in parts) for name in parts[0]}))


def show(results: dict[str, list[Result]], console: Console) -> None:
    """Print the table: accuracy, its gap to ideal weights, what switching off gains."""
    table = Table(title=f"{'-'.join(map(str, SIZES))}, digits, dfc-ss, {len(_any(results))} seeds")
    table.add_column("weights", no_wrap=True)
    for title in (
        f"last {LAST}\nepochs, %",
        "spread\n%",
        "gap to\nideal, %",
        "gained by\nswitching off, %",
        "its standard\nerror, %",
        "pulses\n10^6",
        "writes\n10^3",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    last = {
        name: torch.tensor([r.accuracy[-LAST:] for r in runs]).mean(dim=1)
        for name, runs in results.items()
    }
    ideal = float(last["ideal weights"].mean())
    for name, values in last.items():
        mean, device = float(values.mean()), name.split()[0].rstrip(",")
        gained, error = "", ""
        if device in last and device != name:
            # Seeds are paired: the same initial weights and batches with the cause and without.
            paired = 100 * (values - last[device])
            gained = f"{float(paired.mean()):+.2f}"
            if len(paired) > 1:
                error = f"{float(paired.std()) / len(paired) ** 0.5:.2f}"
        counts = [r.counts for r in results[name] if r.counts is not None]
        pulses = sum(c.up + c.down for c in counts) / max(len(counts), 1)
        writes = sum(c.writes for c in counts) / max(len(counts), 1)
        if device == name:
            table.add_section()
        table.add_row(
            name,
            f"{100 * mean:.2f}",
            f"{100 * float(values.std()):.2f}" if len(values) > 1 else "",
            f"{100 * (ideal - mean):.2f}",
            gained,
            error,
            f"{pulses / 1e6:.3f}" if pulses else "",
            f"{writes / 1e3:.1f}" if writes else "",
        )
    console.print(table)


def draw(results: dict[str, list[Result]]) -> Figure:
    """Curves of both devices with ideal weights in each; bands are one standard deviation."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for panel, device in zip(axes, ("PCM", "ECRAM"), strict=True):
        names = [n for n in results if n.startswith(("ideal", device))]
        for name, colour in zip(names, COLOURS, strict=False):
            curves = 100 * torch.tensor([r.accuracy for r in results[name]])
            mean = curves.mean(dim=0)
            width = 2.2 if name in ("ideal weights", device) else 1.1
            panel.plot(mean, color=colour, label=name, linewidth=width)
            if width > 2 and len(curves) > 1:
                spread = curves.std(dim=0)
                low, high = mean - spread, mean + spread
                panel.fill_between(range(len(mean)), low, high, color=colour, alpha=0.2, lw=0)
        panel.set(xlabel="epoch", title=device)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.legend(fontsize=8, loc="lower right")
    axes[0].set_ylabel("accuracy on held-out digits (%)")
    axes[0].set_ylim(50, 100)
    return figure


def tree(results: dict[str, list[Result]]) -> records.Tree:
    """The record: curves and counts of every case."""
    out: dict[str, Any] = {}
    for case in cases():
        runs = results[case.name]
        branch: dict[str, Any] = {
            "accuracy": Quantity(
                [r.accuracy for r in runs], "1", "(seed, epoch), 0 before training"
            ),
            "card": case.card or "none",
            "off": ", ".join(case.off),
        }
        for name in vars(Counts()):
            if runs[0].counts is not None:
                branch[name] = Quantity([vars(r.counts)[name] for r in runs], "1")
        out[case.name.replace("/", " ")] = branch
    return out


def _any(results: dict[str, list[Result]]) -> list[Result]:
    return next(iter(results.values()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print the table, write the record and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("analog_training"), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record, picture = options.out.with_suffix(".h5"), options.out.with_suffix(".png")
    records.check_writable(record)
    check_place(picture)
    data = digits()
    results: dict[str, list[Result]] = {}
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("training", total=len(cases()) * options.seeds)
        for case in cases():
            results[case.name] = []
            for seed in range(options.seeds):
                results[case.name].append(run(case, seed, data, options.epochs))
                progress.advance(bar)
    show(results, Console(width=WIDTH))
    head = {"epochs": options.epochs, "seeds": options.seeds, "rate": RATE, "headroom": HEADROOM}
    records.write(record, {**head, **tree(results)})
    save_figure(draw(results), picture)
    Console().print(f"written: {record}, {picture}")


if __name__ == "__main__":
    main()
