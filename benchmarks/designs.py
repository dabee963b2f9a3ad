"""Verdict and rest of random designs: modes, static chip and prediction against waveforms.

`python -m benchmarks.designs` (a quarter of an hour at most, see `--seconds`; most of it goes to
loops that run into their rails), `--count 8` for a look, `--first 8` to go on.

Random feedback, half of the chips with four conductance levels, amplifiers from slow to fast.

The waveforms say whether a loop comes to rest: its control signal stands still, and no amplifier of
the controller is held at its rails, where the loop is open. Of a loop that rests, modes and
prediction agree that say it is stable, and a static chip that has its control signal. Of one that
doesn't, all agree that say that it is unstable or has no rest.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from rich.console import Console
from torch import Tensor
from tqdm import tqdm

from analogdfc.analysis.settling import predict
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.errors import ConvergenceError
from benchmarks._measure import Case, case

SIZES = ((3, 4, 2), (4, 5, 3), (3, 4, 4, 2), (5, 4, 7, 4, 5))
BANDWIDTHS = (2, 10, 30, 300)
LEVELS = 4.0
TARGET = 0.05
CHIP = 0

DT = 0.25
LONGEST, WATCHED = 200.0, 5.0
"""Length of a run that doesn't end before, and the part of it that shows that it has ended."""
COARSE, FINE = 1e-4, 2e-6
"""Errors of a time step in volts. Coarse ones find in a third of the time that a loop runs into its
rails, where most of the time goes; they may keep one from coming to rest, or calm one that doesn't.
"""
STILL = 0.003
"""Movement in that part, relative to the largest control signal, of one at rest."""
SAME = 0.05
HELD = "held at the rails"
RAILS = 0.95
"""Part of the amplifiers' limit from which an output counts as held there."""


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
    if seed // 16 % 2:
        made = made.on(made.card.replace("device", levels=LEVELS))
    return replace(here, design=made).at_bandwidth(BANDWIDTHS[seed // 4 % len(BANDWIDTHS)])


def measure(here: Case) -> Iterator[str]:
    """What agrees with the waveforms and what doesn't.

    Args:
        here: the design and its sample.
    """
    ended, u = _waveforms(here)
    rests = ended == "at rest"
    yield f"waveforms: {ended}"
    for name, stable in (("modes", _modes(here)), ("prediction", _predicted(here))):
        yield f"{name}: {'same verdict' if stable is rests else 'ANOTHER VERDICT'}"
    found = _static(here)
    if found is None:
        yield f"static chip: {'NO REST' if rests else 'no rest either'}"
        return
    same = float((found - u).abs().max()) < SAME * float(u.abs().max())
    yield f"static chip: {'same rest' if rests and same else 'ANOTHER REST'}"


def _waveforms(here: Case) -> tuple[str, Tensor]:
    """Where the waveforms end, and the control signal there."""
    ended, u = _followed(here, COARSE)
    return (ended, u) if ended == HELD else _followed(here, FINE)


def _followed(here: Case, tolerance: float) -> tuple[str, Tensor]:
    seen: list[Tensor] = []
    try:
        for u in _control(here, tolerance):
            seen.append(u)
            ended = _ended(here, torch.stack(seen))
            if ended:
                return ended, u
    except ConvergenceError:
        return "not followed", torch.full_like(here.step[0], torch.nan)
    return "moving on", seen[-1]


def _control(here: Case, tolerance: float) -> Iterator[Tensor]:
    """The control signal of the full model every `DT`, (n_L,)."""
    model = Behavioural([Chip.of(here.design, CHIP)], tolerance=tolerance)
    release, amplifiers = model.release(here.x, here.step), model.model
    bank = amplifiers.nodal[0].bank(model.circuit.control.u.bank)
    nodes = torch.from_numpy(amplifiers.outputs[bank])
    states = model.integrator.run(
        release.system,
        release.free,
        DT * here.design.seconds,
        round(LONGEST / DT),
        watched=amplifiers.watched,
        columns=nodes,
    )
    for found in states:
        yield from found[:, 0, 0] / here.design.card.scale.control


def _ended(here: Case, u: Tensor) -> str:
    """Where a control signal, (T, n_L), has ended; empty while that is not seen."""
    card = here.design.card
    limit = (card.amplifier.saturation or math.inf) / card.scale.control
    last = u[-round(WATCHED / DT) :]
    if len(u) < 3 * len(last):
        return ""
    if float(last.abs().amin(dim=0).max()) > RAILS * limit:
        return HELD
    still = float((last.amax(0) - last.amin(0)).max()) < STILL * float(u.abs().max())
    return "at rest" if still else ""


def _modes(here: Case) -> bool:
    return bool(_found(lambda: here.slowest_mode(CHIP) < 0))


def _static(here: Case) -> Tensor | None:
    found = _found(lambda: here.static(CHIP).u[0])
    return found if isinstance(found, Tensor) else None


def _predicted(here: Case) -> bool:
    found = _found(lambda: predict(here.design, CHIP, here.x, here.step, limits=False))
    return found is not None


def _found(what: Callable[[], object]) -> object | None:
    """What is found, or None where there is no rest."""
    try:
        return what()
    except ConvergenceError:
        return None


def main() -> int:
    """Print the counts; 1 where something disagrees with the waveforms."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--first", type=int, default=0, help="seed of the first design")
    parser.add_argument("--count", type=int, default=100, help="designs")
    parser.add_argument("--seconds", type=float, default=900.0, help="CPU time to stop after")
    given = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    seen: Counter[str] = Counter()
    done = 0
    for seed in tqdm(range(given.first, given.first + given.count), file=sys.stderr, leave=False):
        if time.process_time() > given.seconds:
            console.print(f"stopped after {given.seconds:g} s of CPU time")
            break
        found = [*measure(design(seed))]
        seen.update(found)
        done += 1
        for words in filter(_disagrees, found):
            console.print(f"seed {seed}: {words} ({found[0]})", highlight=False)
    console.print(f"{done} designs, {time.process_time():.0f} s of CPU time", highlight=False)
    for words, number in sorted(seen.items()):
        console.print(f"{number:4d}  {words}", highlight=False)
    return int(any(map(_disagrees, seen)))


def _disagrees(words: str) -> bool:
    return any(word.isupper() for word in words.split())


if __name__ == "__main__":
    sys.exit(main())
