"""Speed of the learning rules, against backpropagation, BLAS and the authors' code in the same run.

Run with `OMP_NUM_THREADS=1 python -m benchmarks.dfc --published DIR`, where DIR is a copy of
github.com/meulemansalex/deep_feedback_control; without it, constants stand for the authors' code.
With `--preset mnist-autoencoder` it prints what one minibatch of a published experiment costs.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from analogdfc.controller import PI
from analogdfc.dynamics import Loop, Radau
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.steady import newton
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import (
    DFC,
    AnalyticDFC,
    SleepPhase,
    SteadyStateDFC,
    make_rule,
)
from analogdfc.learning.base import LearnsFeedback
from analogdfc.losses import LOSSES, SquaredError
from analogdfc.network import Network
from analogdfc.presets import load_preset
from benchmarks._products import kernels, one_thread, products
from benchmarks._published import Published, angle

SIZES = [784, 256, 256, 256, 10]
# CPU seconds of the authors' published implementation, by batch size: constants of another machine,
# printed where their code isn't run beside ours.
CONSTANTS = {
    "dfc": {32: 5.5, 128: 12.7},
    "dfc-ss": {32: 1.4, 128: 4.1},
    "dfc-ssa": {32: 0.0134, 128: 0.033},
    "feedback": {32: 0.134, 128: 0.38},
}
BARS = {
    "dfc": {32: 6.0, 128: 5.0},
    "dfc-ss": {32: 200.0, 128: 200.0},
    "dfc-ssa": {32: 3.0, 128: 2.5},
    "feedback": {32: 5.0, 128: 4.0},
}
BLAS_BAR = 2.0
ROW, SHORT = 5, 0.1
"""How often a call is repeated in a row, and the CPU seconds after which it isn't any more."""
STEP = 0.1
"""Of the output target, by the gradient of one sample's loss."""


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Least CPU time of a call."""
    call()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def autograd_step(network: Network, x: torch.Tensor, y: torch.Tensor) -> None:
    """Backpropagation through `torch.nn` by autograd."""
    network.zero_grad()
    ((network(x) - y) ** 2).sum(dim=1).mean().backward()


def calls(
    network: Network, x: torch.Tensor, y: torch.Tensor
) -> dict[str, tuple[Callable[[], object], int]]:
    """One minibatch of each rule, and one of feedback learning, with the number of repetitions."""
    dfc = DFC(network, steps=1000, sleep=SleepPhase(steps=48))
    return {
        "dfc": (partial(dfc.backward, x, y), 2),
        "dfc-ss": (partial(SteadyStateDFC(network).backward, x, y), 10),
        "dfc-ssa": (partial(AnalyticDFC(network).backward, x, y), 30),
        "feedback": (partial(dfc.feedback_backward, x), 20),
    }


def gradient(network: Network) -> torch.Tensor:
    """What a rule has written, in one row."""
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def few_steps(batch: int = 128, repeats: int = 5) -> str:
    """Time and error of `dfc` in few long steps, beside the paper's 1000 Euler steps.

    Both are measured against the average of the continuous equations: that of Euler's method at
    1000 and 2000 steps, extrapolated to none.
    """
    network = Network(SIZES, generator=torch.Generator().manual_seed(0))
    x, y = samples(batch)
    found, times = {}, {}
    for name, options, count in (
        ("euler", {}, 2),
        ("radau", {"integrator": Radau()}, repeats),
        ("fine", {"dt": 0.01, "steps": 2000}, 0),
    ):
        rule = DFC(network, **options)
        times[name] = seconds(partial(rule.backward, x, y), count)
        found[name] = gradient(network)
        if name == "radau":
            estimate = rule.figures()["integration_error"]
    exact = 2 * found["fine"] - found["euler"]
    told = []
    for name in ("euler", "radau"):
        cosine = torch.nn.functional.cosine_similarity(found[name], exact, dim=0)
        angle = math.degrees(math.acos(min(1.0, float(cosine))))
        off = float((found[name] - exact).norm() / exact.norm())
        told.append(f"{name} {times[name]:.4f} s, {100 * off:.3f} % and {angle:.3f} deg off")
    return (
        f"dfc, batch {batch}, 1000 Euler steps against few steps of Radau's method: "
        f"{'; '.join(told)} (bar 0.5 % and 0.1 deg; its own estimate {100 * estimate:.2f} %); "
        f"{times['euler'] / times['radau']:.1f}x faster (bar 10x)"
    )


def samples(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random inputs, and labels of ten classes."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(batch, SIZES[0], dtype=torch.float64, generator=generator)
    labels = torch.randint(SIZES[-1], (batch,), generator=generator)
    return x, torch.nn.functional.one_hot(labels, SIZES[-1]).to(torch.float64)


def alternating(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Least CPU time of each of several calls, in turn, so that all meet the same machine.

    Short ones a few times in a row, as in training, so that none finds the other's data in the
    caches in place of its own; BLAS alone, to which they are compared, finds its own there too.
    """
    best = [float("inf")] * len(calls)
    for k in range(repeats + 1):
        for i, call in enumerate(calls):
            began = time.process_time()
            for _ in range(ROW):
                start = time.process_time()
                call()
                if k:  # the first is for the caches
                    best[i] = min(best[i], time.process_time() - start)
                if time.process_time() - began > SHORT:
                    break
    return best


def speed(published: Published | None) -> Iterator[tuple[str, int, float, list[str]]]:
    """Rule, batch, our time and the cells of the table, line by line."""
    for batch in (32, 128):
        network = Network(SIZES, generator=torch.Generator().manual_seed(0))
        x, y = samples(batch)
        bp = seconds(partial(autograd_step, network, x, y), 20)
        yield "bp", batch, bp, ["bp", str(batch), f"{bp:.4f}", "1"]
        for name, (call, repeats) in calls(network, x, y).items():
            apart = ""
            if published is None:
                ours, theirs = seconds(call, repeats), CONSTANTS[name][batch]
                told = f"{theirs:g} (constant)"
            elif name == "dfc-ss":  # hundreds of times as long
                code, left = published.minibatch(name, network, x, y, STEP)
                (theirs,), (ours,) = alternating([code], 1), alternating([call], 2 * repeats)
                told, apart = f"{theirs:.4f}", f"{angle(left, network):.4f}"
            else:
                code, left = published.minibatch(name, network, x, y, STEP)
                theirs, ours = alternating([code, call], repeats)
                told = f"{theirs:.4f}"
                apart = "" if name == "feedback" else f"{angle(left, network):.4f}"
            row = [name, str(batch), f"{ours:.4f}", f"{ours / bp:.1f}", told, apart]
            row += [f"{theirs / ours:.2f}x", f"{BARS[name][batch]:g}x"]
            yield name, batch, ours, row


def iterations_of(batch: int) -> int:
    """Newton steps of `dfc-ss` on the batch of this benchmark."""
    network = Network(SIZES, generator=torch.Generator().manual_seed(0))
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    x, y = samples(batch)
    with torch.no_grad():
        free = free_pass(loop, x)
        target = SquaredError().target(free.output, y, STEP)
        return newton(loop, free, target).iterations


def effort(times: Mapping[tuple[str, int], float]) -> Table:
    """Operations and bytes of each rule's products, over what BLAS reaches with these alone."""
    table = Table(
        title="matrix products of a minibatch: in the rule, and by BLAS alone in this run"
    )
    for column in (
        "rule",
        "batch",
        "GFLOP",
        "GB",
        "GFLOP/s",
        "BLAS",
        "GB/s",
        "BLAS",
        "time",
        "bar",
    ):
        table.add_column(column, justify="right")
    for (name, batch), ours in times.items():
        if name not in ("dfc", "dfc-ss", "dfc-ssa"):
            continue
        steps = iterations_of(batch) if name == "dfc-ss" else 0
        found = products(name, SIZES, batch, iterations=steps)
        flops, moved = sum(p.flops for p in found) / 1e9, sum(p.bytes for p in found) / 1e9
        blas = sum(p.seconds for p in found)
        rates = [f"{a / t:.1f}" for a in (flops, moved) for t in (ours, blas)]
        over = f"{ours / blas:.2f}x"
        table.add_row(
            name, str(batch), f"{flops:.2f}", f"{moved:.2f}", *rates, over, f"{BLAS_BAR:g}x"
        )
    return table


def of_preset(name: str, rules: Sequence[str] = ("dfc", "dfc-ss", "dfc-ssa")) -> Table:
    """CPU time of one minibatch of a published experiment, by rule, and of one of its sleep phase.

    Args:
        name: the preset.
        rules: rules of deep feedback control that it has.

    Raises:
        UserError: the preset doesn't exist, or has no settings for these rules.
    """
    preset = load_preset(name)
    plan = preset.experiment(rules[0], "learned")
    batch = plan.plan.batch_size
    generator = torch.Generator().manual_seed(0)
    network = Network(plan.sizes, plan.activation, generator=generator)
    x = torch.rand(batch, plan.sizes[0], dtype=torch.float64, generator=generator)
    labels = torch.randint(plan.sizes[-1], (batch,), generator=generator)
    y = x if plan.autoencoder else torch.nn.functional.one_hot(labels, plan.sizes[-1]).to(x)
    rows = {"bp": seconds(partial(autograd_step, network, x, y), 5)}
    for kind in rules:
        options = preset.experiment(kind, "learned").options
        rule = make_rule(kind, network, loss=LOSSES[plan.loss], **options)
        rows[kind] = seconds(partial(rule.backward, x, y), 1)
    if isinstance(rule, LearnsFeedback):
        rows["feedback"] = seconds(partial(rule.feedback_backward, x), 2)
    sizes = "-".join(map(str, plan.sizes))
    table = Table(title=f"{name}: {sizes}, batch {batch}, float64, one thread, CPU seconds")
    for column in ("rule", "a minibatch", "over our BP"):
        table.add_column(column, justify="right")
    for kind, took in rows.items():
        table.add_row(kind, f"{took:.4f}", f"{took / rows['bp']:.1f}")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--published",
        type=Path,
        metavar="DIR",
        help="copy of the authors' code, to run beside ours; at batch 128 it needs 6 GB",
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="only a minibatch of each rule as this preset has them, such as mnist-autoencoder",
    )
    given = parser.parse_args(arguments)
    folder = given.published
    one_thread()
    console = Console()
    try:
        if given.preset is not None:
            console.print(of_preset(given.preset))
            return
        published = None if folder is None else Published(folder)
    except UserError as error:
        parser.error(str(error))
    table = Table(title="-".join(map(str, SIZES)) + ", float64, one thread, CPU seconds")
    columns = (
        "rule",
        "batch",
        "ours s",
        "over our BP",
        "published s",
        "angle deg",
        "faster",
        "bar",
    )
    for column in columns:
        table.add_column(column, justify="right")
    times = {}
    for name, batch, ours, row in speed(published):
        times[name, batch] = ours
        table.add_row(*row)
    console.print(table)
    if published is None:
        console.print("constant: the authors' code on another machine; --published runs it here")
    console.print(effort(times))
    console.print(kernels())
    for batch in (32, 128):
        console.print(few_steps(batch), soft_wrap=True)


if __name__ == "__main__":
    main()
