"""Forward pass through noisy devices against `torch.nn.functional.linear`.

`python -m benchmarks.devices`

A 256 x 256 array of differential pairs, batch 32, with programming noise, drift and a fresh read
noise in every pass; without wires. The devices are programmed once; a pass draws the noise of the
read and multiplies.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import linear

from analogdfc.cards.device import DeviceCard
from analogdfc.devices import Programmed

CARD = "pcm_nandakumar2019"
SIZE, BATCH = 256, 32
AGE = 3600.0
"""Seconds between programming and the reads."""

REPEATS = 400
BAR = 6.0
LIGHTNING = 1.1
"""Milliseconds of aihwkit-lightning 2.1.0 for the same pass on another day's processor."""


def devices(seed: int = 0) -> Programmed:
    """The programmed pairs, (2, size, size): positive devices first."""
    model = DeviceCard.load(CARD).model()
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, SIZE, SIZE, dtype=torch.float64, generator=generator)
    return model.program(model.window.g_min + model.window.span * x, generator)


def milliseconds(run: Callable[[], Tensor]) -> float:
    """Time of a call, the median of many."""
    for _ in range(REPEATS // 10):
        run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * sorted(times)[len(times) // 2]


def passes(array: Programmed, dtype: torch.dtype) -> dict[str, Callable[[], Tensor]]:
    """The passes that are timed, by name; the first is what the others are measured by."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, SIZE, dtype=dtype, generator=generator)
    weight = torch.randn(SIZE, SIZE, dtype=dtype, generator=generator)

    def both() -> Tensor:
        g = array.read(AGE, generator, dtype=dtype)
        return linear(x, g[0] - g[1])

    mean, sigma = array.moments(AGE, dtype=dtype)
    assert sigma is not None
    difference, spread = mean[0] - mean[1], (sigma[0] ** 2 + sigma[1] ** 2).sqrt()

    def pairs() -> Tensor:
        noise = torch.randn(SIZE, SIZE, generator=generator)
        return linear(x, torch.addcmul(difference, spread, noise.to(dtype)))

    return {
        "torch.nn.functional.linear": lambda: linear(x, weight),
        "a read of both devices of a pair": both,
        "one normal number for a pair": pairs,
    }


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    array = devices()
    table = Table(title=f"{SIZE} x {SIZE} pairs, batch {BATCH}, {CARD}, one thread")
    table.add_column("forward pass", no_wrap=True)
    table.add_column("type", no_wrap=True)
    table.add_column("time\nms", justify="right")
    table.add_column("ratio\n1", justify="right")
    for dtype in (torch.float64, torch.float32):
        found = {name: milliseconds(run) for name, run in passes(array, dtype).items()}
        plain = next(iter(found.values()))
        for name, spent in found.items():
            table.add_row(name, str(dtype)[6:], f"{spent:.3f}", f"{spent / plain:.2f}")
        table.add_section()
    console = Console()
    console.print(table)
    console.print(f"bar: ratio <= {BAR:g}; aihwkit-lightning 2.1.0: {LIGHTNING} ms", style="dim")
    console.print(
        "  (quoted, from another day's processor; benchmarks.analog runs it)", style="dim"
    )


if __name__ == "__main__":
    main()
