"""What a GPU makes of the control loop, and of a chip in time and at rest.

`python -m benchmarks.gpu`, where there is one; else it says so and measures nothing. The loop of
`dfc` with its steps captured in a graph stands beside the same loop launched from Python; the model
of a chip beside one thread of the CPU. Seconds are those of the clock, the least of several.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticChip
from analogdfc.controller import PI
from analogdfc.dynamics import Loop, Update, mean_update
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from benchmarks._measure import case
from benchmarks._products import one_thread

SIZES = [784, 256, 256, 256, 10]
SMALL, LARGE = [16, 10, 10], [784, 256, 256, 256, 10]
TILE = 64
CAPTURED = 20
"""Bar: how many times faster the captured loop is than the one launched from Python."""
APART = 1e-6
"""Bar of what the two updates of a pair differ by, relative."""
_REPEATS = 3

_Work = Callable[[], Tensor]


class Pair(NamedTuple):
    """Two ways to one update.

    Attributes:
        slow: seconds of the one that is compared with.
        fast: seconds of the other.
        apart: what their updates differ by, relative.
    """

    slow: float
    fast: float
    apart: float

    @classmethod
    def of(cls, slow: _Work, fast: _Work, wait: Callable[[], object]) -> Pair:
        """Measure both.

        Args:
            slow: what is compared with; gives its update, flat, on the CPU.
            fast: the other.
            wait: returns when the device has done all that it was given.
        """
        (a, one), (b, other) = (_least(work, wait) for work in (slow, fast))
        return cls(a, b, float((one - other).norm() / one.norm()))


def _least(work: _Work, wait: Callable[[], object]) -> tuple[float, Tensor]:
    best = float("inf")
    for _ in range(1 + _REPEATS):  # the first makes workspaces, and isn't much faster than others
        wait()
        start = time.perf_counter()
        found = work()
        wait()
        best = min(best, time.perf_counter() - start)
    return best, found


def captured(device: str, wait: Callable[[], object], batch: int, steps: int) -> Pair:
    """The loop of `dfc` launched from Python, and captured in a graph."""
    network = Network(SIZES, device=device, generator=torch.Generator().manual_seed(0))
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    source = torch.Generator().manual_seed(1)
    x, target = (
        torch.rand(batch, n, dtype=torch.float64, generator=source).to(device)
        for n in (SIZES[0], SIZES[-1])
    )

    def work(graph: bool) -> Tensor:
        parts = mean_update(loop, x, target, dt=0.02, steps=steps, captured=graph)
        return _flat(Update(*parts))

    return Pair.of(lambda: work(False), lambda: work(True), wait)


def in_time(
    device: str, wait: Callable[[], object], sizes: Sequence[int], samples: int, tile: int = 0
) -> Pair:
    """The model of a chip in time, with its operating point, on the CPU and on the device."""
    here = case(sizes, 0, samples)
    here = here.in_tiles(tile) if tile else here
    models = [Behavioural([Chip.of(here.design, 0)], device=place) for place in ("cpu", device)]

    def work(model: Behavioural) -> Tensor:
        return _flat(*model.average(here.x, here.step, dt=here.dt, steps=here.steps))

    return Pair.of(lambda: work(models[0]), lambda: work(models[1]), wait)


def at_rest(
    device: str, wait: Callable[[], object], sizes: Sequence[int], samples: int, tile: int = 0
) -> Pair:
    """The rests of a chip and its update there, on the CPU and on the device."""
    here = case(sizes, 0, samples)
    here = here.in_tiles(tile) if tile else here
    chip = StaticChip.of(Chip.of(here.design, 0))

    def work(place: str) -> Callable[[], Tensor]:
        there, x, step = chip.to(place), here.x.to(place), here.step.to(place)
        return lambda: _flat(there.update(there.solve(x, step)))

    return Pair.of(work("cpu"), work(device), wait)


def _flat(*updates: Update) -> Tensor:
    return torch.cat([t.flatten().cpu() for u in updates for t in (*u.weights, *u.biases)])


def measured(device: str, wait: Callable[[], object], name: str) -> tuple[Table, bool]:
    """All pairs in a table, and whether the bars are met."""
    table = Table(title=f"On {name}, in double precision", title_justify="left")
    for column in ("what", "beside", "s", "here s", "times faster", "bar", "apart", "bar"):
        table.add_column(column, justify="left" if column in ("what", "beside") else "right")
    large = f"{'-'.join(map(str, LARGE))}, wires in tiles"
    rows = [
        ("dfc, batch 128, 1000 steps captured", "launched from Python", CAPTURED,
         captured(device, wait, 128, 1000)),
        ("chip in time, 16-10-10, 128 samples", "one CPU thread", None,
         in_time(device, wait, SMALL, 128)),
        (f"chip in time, {large}, 8 samples", "one CPU thread", None,
         in_time(device, wait, LARGE, 8, TILE)),
        (f"chip at rest, {large}, 1024 samples", "one CPU thread", None,
         at_rest(device, wait, LARGE, 1024, TILE)),
    ]  # fmt: skip
    met = True
    for what, beside, bar, pair in rows:
        faster = pair.slow / pair.fast
        met &= pair.apart <= APART and (bar is None or faster >= bar)
        table.add_row(
            what, beside, f"{pair.slow:.3g}", f"{pair.fast:.3g}", f"{faster:.1f}",
            "" if bar is None else f"{bar}", f"{pair.apart:.1e}", f"{APART:g}",
        )  # fmt: skip
    return table, met


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a bar isn't met."""
    argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__).parse_args(arguments)
    console = Console()
    if not torch.cuda.is_available():
        console.print("no CUDA device: nothing was measured")
        return 0
    one_thread()
    table, met = measured("cuda", torch.cuda.synchronize, torch.cuda.get_device_name())
    console.print(table)
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
