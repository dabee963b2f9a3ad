"""The digital baseline, measured: energy of our own training steps on the GPU at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean
from typing import Any

import torch

from analogdfc import __version__
from analogdfc.digital.card import Band
from analogdfc.digital.power import Power, energy_counter, measure_power
from analogdfc.digital.training import COUNTS, Operations, Row, engineering, training
from analogdfc.errors import UserError
from analogdfc.learning import SteadyStateDFC
from analogdfc.learning.base import LearningRule
from analogdfc.learning.making import make_rule
from analogdfc.network import Network

FORMATS: dict[str, torch.dtype] = {"fp32": torch.float32, "fp64": torch.float64}
"""Number formats in which steps are measured."""

REPEATS = 3
"""Measurements of each rule and format."""

_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
}

_LEARNING_RATE = 1e-9
"""So small that all repetitions of a step do the same work."""


@dataclass(frozen=True)
class MeasuredRow(Row):
    """A training whose energy was measured; lies in one table with those by published constants.

    `energy` goes from the least to the most of the repetitions, beyond what an idle GPU takes.

    Attributes:
        mean: energy of one sample beyond that of an idle GPU, in joules, mean of the repetitions.
        whole: energy of one sample in all, the idle GPU's included, in joules.
        seconds: duration of one sample.
        idle_watts: mean power of the idle GPU.
        repeats: repetitions of the measurement.
    """

    mean: float
    whole: float
    seconds: float
    idle_watts: float
    repeats: int


def why_not_measured(device: torch.device | str = "cuda") -> str | None:
    """Why nothing can be measured here, in one line; None where it can.

    Args:
        device: as `measured`.
    """
    try:
        with energy_counter(_index(device)) as joules:
            joules()
    except UserError as error:
        return str(error)
    return None


def training_step(
    sizes: Sequence[int],
    rule: str,
    batch: int,
    *,
    number_format: str = "fp64",
    device: torch.device | str = "cuda",
    steps: int = 1000,
    optimizer: str = "sgd",
    seed: int = 0,
) -> Callable[[], LearningRule]:
    """One step of training as this library does it: the rule's `backward`, then the optimiser's.

    Args:
        sizes: neurons of layers 0..L; tanh hidden layers, a linear output.
        rule: one of `COUNTS`; 'dfc-ss-simulated' is 'dfc-ss' without Newton's method.
        batch: samples of the step, >= 1; random inputs in 0..1 and one-hot labels.
        number_format: one of `FORMATS`.
        device: where it is done.
        steps: time steps of a simulation.
        optimizer: 'sgd' or 'adam'.
        seed: of weights and samples.

    Returns:
        A function that makes the step, and returns its rule.

    Raises:
        UserError: a name that isn't among those, or what `training` or the rule refuses.
    """
    if number_format not in FORMATS:
        raise UserError(f"unknown format {number_format!r}; there are {', '.join(FORMATS)}")
    training(sizes, rule, 1, batch=batch, steps=steps, optimizer=optimizer)  # refuses what is wrong
    source = torch.Generator().manual_seed(seed)
    dtype = FORMATS[number_format]
    network = Network(sizes, dtype=dtype, device=device, generator=source)
    x = torch.rand(batch, sizes[0], generator=source, dtype=torch.float64).to(device, dtype)
    labels = torch.randint(sizes[-1], (batch,), generator=source)
    y = torch.nn.functional.one_hot(labels, sizes[-1]).to(device, dtype)
    options: dict[str, dict[str, Any]] = {
        "dfc": {"steps": steps},
        "dfc-ss": {"steps": steps},
        "dfc-ss-simulated": {"steps": steps, "newton": False},
    }
    name = rule.removesuffix("-simulated")
    ours = make_rule(name, network, generator=source, **options.get(rule, {}))
    stepper = _OPTIMIZERS[optimizer](network.parameters(), lr=_LEARNING_RATE)

    def step() -> LearningRule:
        ours.backward(x, y)
        stepper.step()
        return ours

    return step


def measured(
    sizes: Sequence[int],
    rules: Sequence[str] = tuple(COUNTS),
    batch: int = 32,
    *,
    samples: int = 1,
    epochs: int = 1,
    device: torch.device | str = "cuda",
    seconds: float = 2.0,
    idle_seconds: float = 1.0,
    repeats: int = REPEATS,
    steps: int = 1000,
    optimizer: str = "sgd",
    progress: Callable[[], object] | None = None,
) -> list[MeasuredRow]:
    """Energy of training steps, measured by the GPU's own counter.

    Whole minibatches are measured, and every sample of a training is taken to cost as much as one
    of them. Operations and bytes are those that `operations` counts, with its number of Newton
    steps.

    Args:
        sizes: neurons of layers 0..L.
        rules: names, of `COUNTS`.
        batch: samples of a minibatch.
        samples: samples of an epoch of the training that the rows stand for.
        epochs: its epochs.
        device: the GPU; 'cuda' is the first.
        seconds: least duration of one measurement.
        idle_seconds: duration of the measurement at rest before each of them.
        repeats: measurements of each rule and format, >= 1.
        steps: time steps of a simulation.
        optimizer: 'sgd' or 'adam'.
        progress: called after each measurement.

    Returns:
        One row for each rule and each of `FORMATS`, rule by rule.

    Raises:
        UserError: nothing can be measured (`why_not_measured`), a duration or number that isn't
            positive, as `training`, or a step whose energy drowns in that of the idle GPU.
    """
    if repeats < 1:
        raise UserError(f"repeats = {repeats}: it must be >= 1")
    index = _index(device)
    with energy_counter(index):  # a missing GPU is told before anything is placed on it
        pass
    seen = samples * epochs
    rows = []
    for rule, form in product(rules, FORMATS):
        done = training(sizes, rule, samples, epochs, batch=batch, steps=steps, optimizer=optimizer)
        step = training_step(
            sizes,
            rule,
            batch,
            number_format=form,
            device=f"cuda:{index}",
            steps=steps,
            optimizer=optimizer,
        )
        found = []
        for _ in range(repeats):
            found.append(
                measure_power(step, seconds=seconds, idle_seconds=idle_seconds, device=index)
            )
            if progress is not None:
                progress()
        bits = torch.finfo(FORMATS[form]).bits
        row = _row(rule, form, found, batch, seen, done, done.bytes(bits))
        rows.append(replace(row, energy=_noted(row.energy, step())))
    return rows


def _row(
    rule: str,
    form: str,
    found: Sequence[Power],
    batch: int,
    seen: int,
    done: Operations,
    size: int,
) -> MeasuredRow:
    """One row from repeated measurements of a minibatch."""
    shares = [power.incremental_joules / batch for power in found]
    if min(shares) <= 0:
        raise UserError(
            f"{rule}, {form}: a step takes no more than the idle GPU does, as far as its counter "
            "tells; measure for longer, or larger minibatches"
        )
    idle = fmean(power.idle_watts for power in found)
    runs = f"of {len(found)} measurements"
    reason = (
        f"low: least {runs}; high: most {runs}; mean {engineering(fmean(shares), 'J')} a sample, "
        f"beyond the {idle:.3g} W of the idle GPU"
    )
    return MeasuredRow(
        rule,
        f"{found[0].device} (measured), {form}",
        f"NVML energy counter, analogdfc {__version__}",
        seen,
        done,
        size,
        Band(seen * min(shares), seen * max(shares), reason),
        mean=fmean(shares),
        whole=fmean(power.joules / batch for power in found),
        seconds=fmean(power.seconds / power.calls / batch for power in found),
        idle_watts=idle,
        repeats=len(found),
    )


def _noted(band: Band, rule: LearningRule) -> Band:
    """The band, with a note where Newton's method failed and cost a simulation beside."""
    if not (isinstance(rule, SteadyStateDFC) and rule.simulated):
        return band
    note = "; samples on which Newton's method failed were simulated"
    return replace(band, reason=band.reason + note)


def _index(device: torch.device | str) -> int:
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"unknown device '{device}'; write 'cuda' or 'cuda:1'") from error
    if place.type != "cuda":
        raise UserError(f"device '{device}': energy is measured on CUDA devices only")
    return place.index or 0
