"""Speed of the learning rules, against backpropagation in the same run and the published code.

Run with `OMP_NUM_THREADS=1 python -m benchmarks.dfc`.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

from analogdfc.controller import PI
from analogdfc.dynamics import Loop, Radau, mean_update
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import DFC, AnalyticDFC, SleepPhase, SteadyStateDFC
from analogdfc.network import Network

SIZES = [784, 256, 256, 256, 10]
# CPU seconds of the authors' published implementation, by batch size, and how much faster to be.
PUBLISHED = {
    "dfc": ({32: 5.5, 128: 12.7}, {32: 5.0, 128: 4.0}),
    "dfc-ss": ({32: 1.4, 128: 4.1}, {32: 60.0, 128: 60.0}),
    "dfc-ssa": ({32: 0.0134, 128: 0.033}, {32: 2.0, 128: 2.0}),
    "feedback": ({32: 0.134, 128: 0.38}, {32: 3.0, 128: 3.0}),
}


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


def on_gpu(batch: int = 128, steps: int = 1000) -> str:
    """Time of `dfc` with its loop captured in a graph, beside the loop launched from Python."""
    if not torch.cuda.is_available():
        return "no CUDA device: the captured loop was not measured"
    network = Network(SIZES, device="cuda", generator=torch.Generator().manual_seed(0))
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    x = torch.rand(batch, SIZES[0], dtype=torch.float64, device="cuda")
    target = torch.rand(batch, SIZES[-1], dtype=torch.float64, device="cuda")
    times, updates = {}, {}
    for captured in (False, True):
        for _ in range(2):
            torch.cuda.synchronize()
            start = time.perf_counter()
            weights, _biases = mean_update(loop, x, target, dt=0.02, steps=steps, captured=captured)
            torch.cuda.synchronize()
            times[captured] = time.perf_counter() - start
        updates[captured] = torch.cat([w.flatten() for w in weights])
    off = float((updates[True] - updates[False]).norm() / updates[False].norm())
    return (
        f"CUDA, batch {batch}, {steps} steps: eager {times[False]:.3f} s, captured "
        f"{times[True]:.4f} s, {times[False] / times[True]:.1f}x (bar 20x), relative difference "
        f"{off:.1e} (bar 1e-6)"
    )


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    table = Table(title="-".join(map(str, SIZES)) + ", float64, one thread, CPU seconds")
    for column in ("rule", "batch", "ours s", "over our BP", "published s", "faster", "bar"):
        table.add_column(column, justify="right")
    grown = 0
    for batch in (32, 128):
        generator = torch.Generator().manual_seed(0)
        network = Network(SIZES, generator=generator)
        x = torch.rand(batch, SIZES[0], dtype=torch.float64, generator=generator)
        labels = torch.randint(10, (batch,), generator=generator)
        y = torch.nn.functional.one_hot(labels, 10).to(torch.float64)
        bp = seconds(partial(autograd_step, network, x, y), 20)
        table.add_row("bp", str(batch), f"{bp:.4f}", "1", "", "", "", end_section=False)
        for name, (call, repeats) in calls(network, x, y).items():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            ours = seconds(call, repeats)
            if name == "dfc":
                grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            published, bar = PUBLISHED[name][0][batch], PUBLISHED[name][1][batch]
            row = [f"{ours:.4f}", f"{ours / bp:.1f}", f"{published:g}"]
            table.add_row(name, str(batch), *row, f"{published / ours:.1f}x", f"{bar:g}x")
    console = Console()
    console.print(table)
    for batch in (32, 128):
        console.print(few_steps(batch), soft_wrap=True)
    console.print(on_gpu())
    console.print(f"peak memory that dfc at batch 128 adds: {grown / 1024:.0f} MB")


if __name__ == "__main__":
    main()
