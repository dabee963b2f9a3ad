"""Target propagation: its speed, and the toy experiment of figure 2 of Meulemans et al. 2020.

Run with `OMP_NUM_THREADS=1 python -m benchmarks.targets`; see `--help`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from analogdfc.experiments.targets import NullSpaceShares, NullSpaceToy
from analogdfc.files import check_place
from analogdfc.learning import DirectFeedbackAlignment
from analogdfc.learning.targets import (
    DDTPRHL,
    DTP,
    DTPDRL,
    DDTPControl,
    DDTPLinear,
    GaussNewtonTargets,
    GeneralisedGaussNewtonTargets,
    LearnedTargets,
    RecurrentDDTPRHL,
)
from analogdfc.losses import Loss, SoftmaxCrossEntropy
from analogdfc.network import Network
from analogdfc.plots import save_figure
from benchmarks.dfc import seconds

SIZES = [784, 256, 256, 256, 256, 256, 10]
BATCH = 128
# CPU seconds of the authors' published implementation, forward and feedback learning together:
# constants of another machine.
PUBLISHED = {
    "bp": 0.014,
    "dfa": 0.016,
    "dtp": 0.038,
    "dtp-drl": 0.063,
    "ddtp-linear": 0.035,
    "ddtp-rhl": 0.098,
    "ddtp-control": 0.031,
}
BAR = 1.5
LEARNED: dict[str, type[LearnedTargets]] = {
    "dtp": DTP,
    "dtp-drl": DTPDRL,
    "ddtp-linear": DDTPLinear,
    "ddtp-control": DDTPControl,
    "ddtp-rhl": DDTPRHL,
    "ddtp-rhl-rec": RecurrentDDTPRHL,
}
COLOURS = {"dtp-pretrained": "#0072B2", "ddtp-linear": "#D55E00", "gnt": "0.5"}


def autograd_step(network: Network, loss: Loss, x: torch.Tensor, y: torch.Tensor) -> None:
    """Backpropagation through `torch.nn` by autograd."""
    network.zero_grad()
    torch.autograd.backward([loss.value(network(x), y).mean()])


def speed(repeats: int) -> Table:
    """Time one minibatch of each rule."""
    generator = torch.Generator().manual_seed(0)
    network, loss = Network(SIZES, generator=generator), SoftmaxCrossEntropy()
    x = torch.rand(BATCH, SIZES[0], dtype=torch.float64, generator=generator)
    labels = torch.randint(10, (BATCH,), generator=generator)
    y = torch.nn.functional.one_hot(labels, 10).to(torch.float64)
    calls: dict[str, Callable[[], object]] = {"bp": partial(autograd_step, network, loss, x, y)}
    calls["dfa"] = partial(DirectFeedbackAlignment(network, loss=loss).backward, x, y)
    for name, kind in LEARNED.items():
        calls[name] = partial(kind(network, loss).backward, x, y)
    for name, kind in LEARNED.items():
        calls[f"{name} feedback"] = partial(kind(network, loss).feedback_backward, x)
    calls["gnt"] = partial(GaussNewtonTargets(network, loss).backward, x, y)
    calls["ggnt"] = partial(
        GeneralisedGaussNewtonTargets(network, loss, damping=1.0).backward, x, y
    )
    title = "-".join(map(str, SIZES)) + f", batch {BATCH}, float64, one thread"
    table = Table(title=title)
    for column in ("rule", "ours ms", "over our BP", "published ms\n(constant)", "faster", "bar"):
        table.add_column(column, justify="right")
    bp = seconds(calls["bp"], repeats)
    for name, call in calls.items():
        ours = bp if name == "bp" else seconds(call, repeats)
        row = [f"{1e3 * ours:.1f}", f"{ours / bp:.2f}"]
        if name in PUBLISHED:
            published = PUBLISHED[name]
            row += [f"{1e3 * published:g}", f"{published / ours:.2f}x", f"{BAR:g}x"]
        table.add_row(name, *row)
    return table


def shares_table(found: NullSpaceShares) -> Table:
    """The toy experiment's result as a table."""
    count = len(next(iter(found.shares.values())))
    table = Table(title=f"null-space share of the updates of W_2, {count} networks")
    for column in ("rule", "before feedback learning", "after it", "sd over networks"):
        table.add_column(column, justify="right")
    for name, curves in found.shares.items():
        mean, spread = found.final(name)
        table.add_row(name, f"{float(curves[:, 0].mean()):.3f}", f"{mean:.3f}", f"{spread:.3f}")
    return table


def shares_figure(found: NullSpaceShares) -> Figure:
    """Shares during feedback learning, with their standard deviations over the networks."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, curves in found.shares.items():
        epochs = range(curves.shape[1])
        mean, spread = curves.mean(dim=0), curves.std(dim=0, correction=0)
        axes.errorbar(epochs, mean, yerr=spread, label=name, color=COLOURS[name], capsize=2)
    axes.set_xlabel("epochs of feedback learning")
    axes.set_ylabel("share of the update in the null space (1)")
    axes.set_ylim(-0.03, 1)
    axes.grid(color="0.92")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center right")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, default=Path("null_space.png"), help="PNG to write")
    parser.add_argument("--networks", type=int, default=10, help="networks of the toy experiment")
    parser.add_argument("--repeats", type=int, default=30, help="repetitions of a minibatch")
    options = parser.parse_args(arguments)
    check_place(options.figure)
    torch.set_num_threads(1)
    console = Console()
    console.print(speed(options.repeats))
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("toy experiment", total=options.networks)
        found = NullSpaceToy().run(range(options.networks), partial(bar.advance, task))
    console.print(shares_table(found))
    console.print(f"wrote {save_figure(shares_figure(found), options.figure)}")


if __name__ == "__main__":
    main()
