"""The bandwidth at which a loop goes unstable: eigenvalues of the model against ngspice.

`python -m benchmarks.stability`
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.analysis.stability import critical_bandwidth, growth_rate, slowest_mode
from analogdfc.controller import PI
from benchmarks._measure import case

NETWORKS = (((3, 4, 2), 1), ((4, 5, 3), 0), ((3, 4, 4, 2), 4))
"""Layer sizes and seeds of networks that lose their stability at a moderate bandwidth."""

CONTROLLER = PI(k_p=5.0)
"""With k_p = 2 most of these small loops stay stable down to amplifiers of no practical use."""

TARGET = 1e-3
"""Target step, so small that an oscillation may grow for 12 tau_u without slewing."""

CHIP = 0
DURATION = 12.0
DT = 0.01
"""Length and spacing of the record, in tau_u; the spacing is also ngspice's longest step."""

FACTORS = (0.95, 1.05)


@dataclass(frozen=True)
class Point:
    """One network at one bandwidth.

    Attributes:
        sizes: its layers.
        critical: gain-bandwidth times tau_v at which the model's loop goes unstable.
        factor: gain-bandwidth as a multiple of that.
        eigenvalue: real part of the slowest oscillating mode of the model, per tau_u.
        growth: rate fitted to ngspice's waveform, per tau_u.
        seconds: time of the run in ngspice.
    """

    sizes: tuple[int, ...]
    critical: float
    factor: float
    eigenvalue: float
    growth: float
    seconds: float

    @property
    def same_sign(self) -> bool:
        """Whether model and circuit agree on growth or decay."""
        return self.eigenvalue * self.growth > 0


def measure(sizes: tuple[int, ...], seed: int) -> Iterator[Point]:
    """One point a factor, below and above the critical bandwidth.

    Args:
        sizes: neurons of layers 0..L.
        seed: of the network.
    """
    loop = case(sizes, seed, 1, controller=CONTROLLER, target=TARGET)
    hertz = critical_bandwidth(loop.design, CHIP, loop.x, loop.step)
    critical = hertz * loop.design.tau_v_seconds
    for factor in FACTORS:
        here = replace(loop.at_bandwidth(factor * critical), dt=DT, steps=round(DURATION / DT))
        eigenvalue = slowest_mode(here.design, CHIP, here.x, here.step, oscillating=True)
        start = time.perf_counter()
        growth = growth_rate(here.circuit(CHIP, "macro"))
        seconds = time.perf_counter() - start
        yield Point(sizes, critical, factor, eigenvalue, growth, seconds)


def main() -> int:
    """Print the table; 1 if a sign differs."""
    torch.set_num_threads(1)
    table = Table(title="Stability: amplifiers slower and faster than critical, k_p = 5")
    for name in ("network", "critical\nGBW tau_v", "GBW /\ncritical", "eigenvalue\n1/tau_u",
                 "ngspice\n1/tau_u", "same\nsign", "ngspice\ns"):  # fmt: skip
        table.add_column(name, justify="right")
    agree = []
    with tqdm(total=len(NETWORKS) * len(FACTORS), file=sys.stderr, leave=False) as bar:
        for sizes, seed in NETWORKS:
            for p in measure(sizes, seed):
                agree.append(p.same_sign)
                table.add_row(
                    "-".join(map(str, sizes)), f"{p.critical:.3f}", f"{p.factor:g}",
                    f"{p.eigenvalue:+.4f}", f"{p.growth:+.4f}",
                    "yes" if p.same_sign else "[bold red]no[/]", f"{p.seconds:.2f}",
                )  # fmt: skip
                bar.update()
            table.add_section()
    console = Console()
    console.print(table)
    console.print(f"{sum(agree)} of {len(agree)} signs agree")
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
