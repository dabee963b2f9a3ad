"""Verdict and rest of random designs: modes, static chip and prediction against waveforms.

`python -m benchmarks.designs` (many minutes), `python -m benchmarks.designs --count 8`

Random feedback, every other chip with four conductance levels, amplifiers from slow to fast.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import torch
from rich.console import Console
from tqdm import tqdm

from analogdfc.analysis.settling import predict
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticChip
from analogdfc.errors import ConvergenceError
from benchmarks._measure import Case, case

SIZES = ((3, 4, 2), (4, 5, 3), (3, 4, 4, 2), (5, 4, 7, 4, 5))
BANDWIDTHS = (10, 30, 100, 1000)
TARGET = 0.05
CHIP = 0
DURATION, DT = 40.0, 0.25


def design(seed: int) -> Case:
    """A random design with one sample.

    Args:
        seed: of its network, feedback and sample.
    """
    source = torch.Generator().manual_seed(seed)
    here = case(SIZES[seed % len(SIZES)], seed, 1, target=TARGET)
    old = here.design.feedback
    random = [torch.randn(q.shape, dtype=q.dtype, generator=source) for q in old[:-1]]
    made = replace(here.design, feedback=(*random, old[-1]), scaling=True)
    if seed % 2:
        made = made.on(made.card.replace("device", levels=4.0))
    return replace(here, design=made).at_bandwidth(BANDWIDTHS[seed // 4 % len(BANDWIDTHS)])


def measure(here: Case) -> Iterator[str]:
    """What agrees with the waveforms and what doesn't.

    Args:
        here: the design and its sample.
    """
    chip = Chip.of(here.design, CHIP)
    try:
        steps = round(DURATION / DT)
        run = Behavioural([chip]).run(here.x, here.step, dt=DT, steps=steps)[0]
    except ConvergenceError:
        yield "waveforms: none"
        return
    size = float(run.u[0].abs().max())
    moved = float((run.u[0, -1] - run.u[0, -steps // 5 :]).abs().max()) / size
    rests = moved < 0.02
    yield f"waveforms: {'at rest' if rests else 'not at rest'}"
    for name, stable in (("modes", _modes(here)), ("prediction", _predicted(here))):
        # Without a root there is nothing to rest at either.
        yield f"{name}: {'same verdict' if (stable is True) is rests else 'ANOTHER VERDICT'}"
    if rests:
        try:
            found = StaticChip.of(chip).solve(here.x, here.step).u[0]
        except ConvergenceError:
            yield "static chip: NO REST"
            return
        same = float((found - run.u[0, -1]).abs().max()) < 0.05 * size
        yield f"static chip: {'same rest' if same else 'ANOTHER REST'}"


def _modes(here: Case) -> bool | None:
    try:
        modes = Behavioural([Chip.of(here.design, CHIP)]).modes(here.x, here.step)
    except ConvergenceError:
        return None
    return bool(modes[0][0][0].real < 0)


def _predicted(here: Case) -> bool | None:
    try:
        predict(here.design, CHIP, here.x, here.step, limits=False)
    except ConvergenceError as error:
        return False if "unstable" in str(error) else None
    return True


def main() -> int:
    """Print the counts; 1 where something disagrees with the waveforms."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=100, help="designs")
    count = parser.parse_args().count
    torch.set_num_threads(1)
    seen: Counter[str] = Counter()
    for seed in tqdm(range(count), file=sys.stderr, leave=False):
        seen.update(measure(design(seed)))
    console = Console()
    for words, number in sorted(seen.items()):
        console.print(f"{number:4d}  {words}", highlight=False)
    return int(any(any(w.isupper() for w in words.split()) for words in seen))


if __name__ == "__main__":
    sys.exit(main())
