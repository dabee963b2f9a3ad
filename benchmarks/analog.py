"""Forward pass of an analog network against `torch.nn.functional.linear`.

`OMP_NUM_THREADS=1 python -m benchmarks.analog`

A layer of 256 x 256 pairs, batch 32, programmed once with its errors and drifted for an hour; every
pass reads the weights anew, with the noise of the read, and multiplies. Without wires.

Where `aihwkit-lightning` can be imported (`pip install --no-deps aihwkit-lightning==2.1.0`), its
layer with noise on every weight, drawn anew in each pass, runs beside.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import linear

from analogdfc.arrays.converters import ADC, DAC
from analogdfc.arrays.layers import AnalogNetwork, analog
from analogdfc.arrays.mapping import Balanced, Equal, Mapping, OffsetColumn, Tiling
from analogdfc.network import Network

CARD = "pcm_nandakumar2019"
SIZE, BATCH = 256, 32
AGE = 3600.0
"""Seconds between programming and the reads."""

REPEATS = 200
BAR = 6.0


def made(mapping: Mapping, dac: DAC | None = None, adc: ADC | None = None) -> AnalogNetwork:
    """The layer on its devices, an hour old."""
    source = torch.Generator().manual_seed(0)
    network = analog(
        Network([SIZE, SIZE], generator=source), CARD, 1, mapping=mapping, dac=dac, adc=adc
    )
    network.wait(AGE)
    return network


def passes() -> dict[str, Callable[[], Tensor]]:
    """The passes that are timed, by name; the first is what the others are measured by."""
    source = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, SIZE, dtype=torch.float64, generator=source)
    weight = torch.randn(SIZE, SIZE, dtype=torch.float64, generator=source)

    def fresh(network: AnalogNetwork) -> Callable[[], Tensor]:
        def run() -> Tensor:
            network.read()
            return network.forward(x)

        return run

    array, reads = made(Mapping(bias_rows=0)).arrays[0], torch.Generator().manual_seed(2)
    return peer(x, weight) | {
        "a read of the array, and its product": lambda: linear(x, array.matrix(AGE, reads)),
        "network, pairs": fresh(made(Mapping())),
        "network, pairs, 4 slices": fresh(made(Mapping(slicing=Equal(4)))),
        "network, balanced pairs, arrays of 128": fresh(
            made(Mapping(Balanced(), tiling=Tiling(128, 128)))
        ),
        "network, reference column": fresh(made(Mapping(OffsetColumn()))),
        "network, pairs, arrays of 128, 8-bit converters": fresh(
            made(Mapping(tiling=Tiling(128, 128)), DAC(bits=8, range=4.0), ADC(bits=8, range=8.0))
        ),
    }


def peer(x: Tensor, weight: Tensor) -> dict[str, Callable[[], Tensor]]:
    """The pass that ours is to be no slower than, where its package is there."""
    first: dict[str, Callable[[], Tensor]] = {
        "torch.nn.functional.linear": lambda: linear(x, weight)
    }
    try:
        nn = importlib.import_module("aihwkit_lightning.nn")
        configs = importlib.import_module("aihwkit_lightning.simulator.configs")
    except ImportError:
        return first
    config = configs.TorchInferenceRPUConfig()
    config.modifier.noise_type = configs.WeightNoiseInjectionType.ADD_NORMAL
    config.modifier.std_dev = 0.05
    made: dict[str, Callable[[], Tensor]] = dict(first)
    for kind in (torch.float64, torch.float32):
        layer = nn.AnalogLinear(SIZE, SIZE, bias=False, rpu_config=config).to(kind).train()
        made[f"aihwkit-lightning, noisy weights, {str(kind)[6:]}"] = partial(layer, x.to(kind))
    return made


def interleaved(runs: dict[str, Callable[[], Tensor]]) -> dict[str, float]:
    """Median times of the calls in milliseconds, taken in turns so that all see the same load."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * sorted(spent)[len(spent) // 2] for name, spent in times.items()}


@torch.no_grad()
def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    table = Table(title=f"{SIZE} x {SIZE} pairs, batch {BATCH}, float64, {CARD}, one thread")
    table.add_column("forward pass", no_wrap=True)
    table.add_column("time\nms", justify="right")
    table.add_column("ratio\n1", justify="right")
    found = interleaved(passes())
    plain = next(iter(found.values()))
    for name, spent in found.items():
        table.add_row(name, f"{spent:.3f}", f"{spent / plain:.2f}")
    console = Console()
    console.print(table)
    if not any(name.startswith("aihwkit") for name in found):
        console.print("aihwkit-lightning isn't installed: not compared", style="dim")
    console.print(f"bar: a read of the array and its product, ratio <= {BAR:g}", style="dim")


if __name__ == "__main__":
    main()
