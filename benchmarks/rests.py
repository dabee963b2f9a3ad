"""Rests of random loops: those of Newton's method and fall-backs, against long simulations.

`python -m benchmarks.rests` (minutes)
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from analogdfc.controller import PI
from analogdfc.dynamics import Loop, LoopState, RungeKutta4, free_state
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.reached import steady_state
from analogdfc.dynamics.stability import abscissa
from analogdfc.dynamics.steady import newton
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network

SIZES = [5, 8, 8, 3]
SAMPLES = 32
TARGET = 0.1
NETWORKS = 20
DURATION = 100.0
DT = 0.08
STRONG = 2.0
LONGER = 6.0
"""Times the duration, in which what barely rings down with strong weights is seen to settle."""


class Count(NamedTuple):
    """Samples of one network.

    Attributes:
        newton_wrong: roots of Newton's method that a long simulation doesn't come to.
        wrong: rests that are said to be reached and aren't.
        unstable: of the rests that are said to be reached.
        restless: said to come to no rest.
        missed: of those, the ones that do.
        simulated: fall-backs.
    """

    newton_wrong: int
    wrong: int
    unstable: int
    restless: int
    missed: int
    simulated: int


def measure(seed: int, *, transposed: bool = False, scale: float = 1.0) -> Count:
    """The samples of one network.

    Args:
        seed: of the network, its feedback and its samples.
        transposed: feedback from the transposed weights instead of random feedback.
        scale: of W_2..W_L; about 1.5 and beyond, the lags of the layers make some loops oscillate.
    """
    source = torch.Generator().manual_seed(seed)
    network = Network(SIZES, generator=source)
    for w in network.weights:
        w.data = 1.2 * torch.randn(w.shape, dtype=w.dtype, generator=source) / w.shape[1] ** 0.5
    for w in network.weights[1:]:
        w.data *= scale
    x = torch.randn(SAMPLES, SIZES[0], dtype=torch.float64, generator=source)
    step = TARGET * torch.randn(SAMPLES, SIZES[-1], dtype=torch.float64, generator=source)
    drawn = [torch.randn(n, SIZES[-1], dtype=x.dtype, generator=source) for n in SIZES[1:-1]]
    feedback = DirectFeedback([*drawn, torch.eye(SIZES[-1], dtype=x.dtype)])
    if transposed:
        feedback = DirectFeedback.transposed(network)
    loop = Loop.of(network, feedback, PI())
    with torch.no_grad():
        free = free_pass(loop, x)
        target = free.output + step
        root = newton(loop, free, target)
        found = steady_state(loop, free, target)
        dt, duration = DT / scale**2, DURATION * (LONGER if scale > 1 else 1.0)
        end = _after(loop, free_state(loop, x), x, target, duration, dt)
        late = _after(loop, end, x, target, 0.1 * duration, dt)
        # One that has left the finite numbers doesn't rest.
        rests = (late.u - end.u).abs().amax(-1) < 1e-2 * end.u.abs().amax(-1)
        growth = abscissa(loop, found.layers.r[1:], found.u)

    def away(u: torch.Tensor) -> torch.Tensor:
        # A slow mode may have some way to go.
        return (u - end.u).abs().amax(-1) > 0.05 * end.u.abs().amax(-1)

    return Count(
        int((root.converged & (away(root.u) | ~rests)).sum()),
        int((found.converged & (away(found.u) | ~rests)).sum()),
        int((found.converged & (growth >= 0)).sum()),
        int((~found.converged).sum()),
        int((~found.converged & rests).sum()),
        int(found.simulated.sum()),
    )


def _after(
    loop: Loop, state: LoopState, x: torch.Tensor, target: torch.Tensor, duration: float, dt: float
) -> LoopState:
    method = RungeKutta4(substeps=1)
    for _ in range(round(duration / dt)):
        state = method.step(loop, state, x, target, dt)
    return state


def main() -> int:
    """Print the table; 1 where a rest isn't the one that the dynamics reach."""
    torch.set_num_threads(1)
    table = Table(title=f"Rests of {SAMPLES} samples, " + "-".join(map(str, SIZES)))
    names = ("feedback", "networks", "samples", "Newton's root\nnot reached", "rest\nnot reached",
             "rest\nunstable", "without\nrest", "of these\nat rest", "fall-backs")  # fmt: skip
    for name in names:
        table.add_column(name, justify="right")
    wrong = 0
    for transposed, scale in ((False, 1.0), (True, 1.0), (True, STRONG)):
        seeds = range(NETWORKS)
        rows = [
            measure(seed, transposed=transposed, scale=scale)
            for seed in tqdm(seeds, file=sys.stderr, leave=False)
        ]
        total = Count(*map(sum, zip(*rows, strict=True)))
        kind = "transposed" if transposed else "random"
        kind += f", W_2..W_L x {scale:g}" if scale != 1 else ""
        row = [str(n) for n in (NETWORKS, NETWORKS * SAMPLES, *total)]
        table.add_row(kind, *row)
        wrong += total.wrong + total.unstable + total.missed
    Console().print(table)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
