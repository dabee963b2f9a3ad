"""Linear regression with updates of fixed norm (Podlaski and Machens 2020, figure 3b).

A 30-20-10 network learns t = T x online. Each matrix's update has the norm of the learning rate,
0.01, so that only its direction counts; weights start uniform in +-0.01, the feedback of
alignment in +-0.5 and that of R-Init in +-0.01. Counted are the examples until the squared error
over the whole training set is below a fraction of what it was at the start.

Backpropagation, which starts with the directions of largest gain, is first to have half of the
error left; the inversions are the first to have a tenth left, and everything below.

Dynamic inversion is taken at its steady state, which is the same as simulating it for long enough;
the angle between the two updates of the first layer is measured now and then.

Run with `OMP_NUM_THREADS=1 python -m benchmarks.inversion --seeds 3`; a seed takes a minute.
"""

from __future__ import annotations

import argparse
import math
import sys

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm import tqdm

from analogdfc.datasets import Samples
from analogdfc.dynamics.settling import Simulation
from analogdfc.experiments.inversion_tasks import EXAMPLES, RATE, LinearTask, rules
from analogdfc.learning.base import LearningRule
from analogdfc.learning.inversion import DynamicInversion
from analogdfc.network import Network
from analogdfc.training.loop import FORWARD, Phase, Schedule, Training
from analogdfc.training.stopping import Epochs, Reached

FRACTIONS = (0.5, 0.25, 0.1, 0.01, 0.001)
REFERENCES = ("BP", "FA")
"""What the inversions are to overtake."""

SIMULATED_EVERY = 400
"""Examples between two simulations that the steady state is compared with."""


def train(task: LinearTask, network: Network, rule: LearningRule) -> tuple[list[int | None], float]:
    """Examples to each of the fractions, and the largest angle to simulated dynamic inversion.

    Args:
        task: what to learn.
        network: the network, at its start.
        rule: the rule that teaches it.

    Returns:
        One number a fraction, None if it wasn't reached, and an angle in degrees: NaN for rules
        other than dynamic inversion.
    """
    first = task.error(network)
    angles: list[float] = []

    def step(x: Tensor, _: Tensor) -> float:
        y = x @ task.teacher.T
        loss = float(rule.backward(x, y))
        updates = [-w.grad for w in network.weights if w.grad is not None]
        number = training.seen % SIMULATED_EVERY
        if isinstance(rule, DynamicInversion) and number == SIMULATED_EVERY // 2:
            angles.append(simulated_angle(rule, x, y, updates[0]))
        for w, update in zip(network.weights, updates, strict=True):
            w.data += RATE * update / update.norm()
        return loss

    training = Training[float](
        Samples(task.x, task.x),
        [Phase(FORWARD, step, torch.arange)],
        batch_size=1,
        stop=Reached(FRACTIONS[-1], lambda left: left, rising=False) | Epochs(1),
        evaluate=lambda: task.error(network) / first,
        schedule=Schedule(every=1),
    )
    training.run()
    reached = [
        next((i for i, left in enumerate(training.history, start=1) if left < fraction), None)
        for fraction in FRACTIONS
    ]
    return reached, max(angles, default=math.nan)


def simulated_angle(rule: DynamicInversion, x: Tensor, y: Tensor, update: Tensor) -> float:
    """Angle of an update of the first layer to that of the paper's 10000 Euler steps, degrees."""
    twin = DynamicInversion(
        rule.network, rule.feedback, rule.controls, settling=Simulation(dt=0.1, steps=10000)
    )
    twin.backward(x, y)
    grad = rule.network.weights[0].grad
    assert grad is not None
    cosine = torch.nn.functional.cosine_similarity(-grad.flatten(), update.flatten(), dim=0)
    return math.degrees(math.acos(min(1.0, float(cosine))))


def main() -> int:
    """Print the table; 1 if an inversion converges (1 % left) after BP or FA in any seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    names = list(rules(LinearTask(0).network(), 0))
    reached: dict[str, list[list[int | None]]] = {name: [] for name in names}
    angles: dict[str, list[float]] = {name: [] for name in names}
    with tqdm(total=seeds * len(names), file=sys.stderr, leave=False) as bar:
        for seed in range(seeds):
            for name in names:
                task = LinearTask(seed)
                network = task.network()
                steps, angle = train(task, network, rules(network, seed)[name]())
                reached[name].append(steps)
                angles[name].append(angle)
                bar.update()
    table, converges = summary(reached, angles)
    Console().print(table)
    Console().print(
        "Rules: Tr-Init or R-Init, leak alpha. In brackets: in how many seeds the rule gets there "
        "before both BP and FA. Angle: largest between the first layer's update at the steady "
        "state and a simulated one."
    )
    return 0 if converges else 1


def summary(
    reached: dict[str, list[list[int | None]]], angles: dict[str, list[float]]
) -> tuple[Table, bool]:
    """The table, and whether every inversion has 1 % of the error left before BP and FA."""
    seeds = len(reached["BP"])
    title = f"Examples until so much of the error is left, mean over {seeds} seeds"
    table = Table(title=title)
    for column in ("rule", *(f"{100 * f:g} %" for f in FRACTIONS), "angle, deg"):
        table.add_column(column, justify="right")
    converges = True
    for name, runs in reached.items():
        cells = []
        for k, fraction in enumerate(FRACTIONS):
            own = [_number(run[k]) for run in runs]
            best = [min(_number(reached[r][s][k]) for r in REFERENCES) for s in range(seeds)]
            wins = sum(a < b for a, b in zip(own, best, strict=True))
            mean = sum(own) / seeds
            cell = f"{mean:.0f}" if math.isfinite(mean) else f"> {EXAMPLES}"
            cells.append(cell if name in REFERENCES else f"{cell} ({wins})")
            if name not in REFERENCES and fraction == 0.01:
                converges &= wins == seeds
        known = [a for a in angles[name] if not math.isnan(a)]
        table.add_row(name, *cells, f"{max(known):.2g}" if known else "")
    return table, converges


def _number(count: int | None) -> float:
    return math.inf if count is None else count


if __name__ == "__main__":
    sys.exit(main())
