"""`analogdfc estimate`: what learning costs on a chip."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import torch

from analogdfc import records, trees
from analogdfc.cases import Stimuli
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.static import StaticChip
from analogdfc.cli import _estimate
from analogdfc.cli._design import (
    JSON,
    TARGET_STEPSIZE,
    Switches,
    design_options,
    device_options,
    make_design,
    make_model,
    make_stimuli,
    progress_bar,
)
from analogdfc.cli._estimate_training import (
    TRAINING,
    TrainingOptions,
    check_trainable,
    train_as_asked,
    training_options,
)
from analogdfc.cli._given import given, learned_on
from analogdfc.cli._inversion_options import NONE_HERE, Inverting, inversion_options
from analogdfc.cli._inverting import bill_inversion, make_inversion
from analogdfc.cli._options import (
    Control,
    Count,
    Finite,
    bundled,
    check_outputs,
    control_options,
    refuse,
    settings,
)
from analogdfc.cli._where import Where, where_options
from analogdfc.cost.bandwidth import AtBandwidth, against_bandwidth
from analogdfc.cost.estimate import ENDS, METHODS, UPDATE, chip_noise, estimate
from analogdfc.cost.figures import estimate_figure, noise_figure
from analogdfc.cost.report import Costs
from analogdfc.cost.sweep import Parameter, Point, parse, sweep
from analogdfc.digital import baseline
from analogdfc.digital.measured import FORMATS, REPEATS, measured, why_not_measured
from analogdfc.digital.training import COUNTS
from analogdfc.errors import UserError
from analogdfc.files import beside
from analogdfc.findings import inputs_tree
from analogdfc.jobs import Spool, check_spool, spool_beside
from analogdfc.onchip.bill import numbers as training_numbers
from analogdfc.onchip.figure import convergence_figure
from analogdfc.plots import about as about_design
from analogdfc.plots import save_figure
from analogdfc.recorded import chip_tree

_FACTORS = (0.05, 0.1, 0.2, 0.5, 1.0, 3.0)
_FEW_FACTORS = (0.3, 1.0, 3.0)
"""Amplifiers of the figure, relative to the card's; of a large design, where each takes seconds."""

_LARGE = 1000
"""Amplifiers from which a design is large."""

# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc estimate --sizes 16-10-10 --sweep bandwidth=30MHz,100MHz,300MHz -o estimate.h5
"""


@dataclass(frozen=True)
class _Options:
    """What is estimated, and against what."""

    accuracy: float
    until: str
    learning_rate: float
    method: str | None
    sweeps: tuple[str, ...]
    rules: str
    training_samples: int
    measure: bool
    jobs: int | None

    @property
    def arguments(self) -> dict[str, Any]:
        """Further arguments of `estimate`."""
        return {name: getattr(self, name) for name in ("accuracy", "until", "learning_rate")}


@click.command("estimate", short_help="Estimate time, energy and area of learning on a chip.",
               epilog=_EXAMPLES)  # fmt: skip
@click.argument("record", required=False, type=click.Path(path_type=Path))
@design_options
@control_options
@device_options
@inversion_options
@click.option(
    "--samples",
    type=Count(1),
    default=4,
    show_default=True,
    help="Inputs that energies are a mean over; the slowest decides how long a settle takes.",
)
@TARGET_STEPSIZE
@click.option(
    "--accuracy",
    type=Finite(min=0, max=90, min_open=True, max_open=True),
    default=1.0,
    show_default=True,
    help="The update has settled when it is within this angle of that at rest, in degrees.",
)
@click.option(
    "--until",
    type=click.Choice(ENDS),
    default=UPDATE,
    show_default=True,
    help="What a settle waits for: the direction of the update, within --accuracy, or the control "
    "signal, within 2 %, so that the update has its size too.",
)
@click.option(
    "--learning-rate",
    type=Finite(min=0, min_open=True),
    default=0.1,
    show_default=True,
    help="Of the update, for the number of pulses that write it.",
)
@click.option(
    "--method",
    type=click.Choice([m.replace(" ", "-") for m in METHODS]),
    help="Energy of a settle from the waveforms of the behavioural model, or in closed form.  "
    "[default: waveforms of small designs]",
)
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME=A,B,C",
    help="Vary a number of the card, such as amplifier.gain=1e3,1e4 or wire.word=1,5,20ohm, and "
    "draw energy against the angle of the update; 'bandwidth' scales the amplifier as a whole, "
    "its quiescent current too. May be repeated.",
)
@click.option(
    "--rules",
    default="bp,dfc,dfc-ss",
    show_default=True,
    help=f"Rules of the digital baseline, of {', '.join(COUNTS)}.",
)
@click.option(
    "--training-samples",
    type=Count(1),
    default=1_000_000,
    show_default=True,
    help="Samples of the training whose energy is laid beside that of digital machines.",
)
@click.option(
    "--measure",
    is_flag=True,
    help="Measure the digital rules on a CUDA GPU too, by its NVML energy counter; about 20 s a "
    "rule.",
)
@training_options
@click.option("--jobs", type=Count(1), help="Trainings at a time.  [default: cores]")
@JSON
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("estimate.h5"),
    show_default=True,
    help="Record to write (HDF5); the figures go beside it as .png and _noise.png.",
)
@where_options
@bundled("options", _Options)
def command(
    record: Path | None,
    weights: Path | None,
    sizes: tuple[int, ...] | None,
    card: str,
    seed: int,
    chip_seed: int | None,
    samples: int,
    target_stepsize: float | None,
    as_json: bool,
    output: Path,
    switches: Switches,
    devices: str | None,
    age: float,
    control: Control,
    inverting: Inverting,
    training: TrainingOptions,
    where: Where,
    options: _Options,
) -> None:
    """Estimate time, energy and area of learning on a chip.

    The network comes from RECORD, written by `train` or `compare` (with its card, devices, seed and
    readout, where it has them and no option says otherwise), from --weights, or from --sizes. A
    network that learned through a chip brings that chip.

    Where the card describes an update path (update_pulses, update_multiplier and update_digital of
    the package do), its holds, product and verified writes count; else they are named as unknown.

    With --rule di it is the backward pass alone, from waveforms, without figures.
    """
    torch.set_num_threads(1)
    if inverting.asked:
        refuse(NONE_HERE, "method", "sweeps", "rules", "training_samples", "measure", "jobs",
               "target_accuracy", "on", "address")  # fmt: skip
    if training.target_accuracy is None:
        refuse("nothing is trained without --target-accuracy", *TRAINING)
        if not options.sweeps:
            refuse("there is one run; needs --sweep or --target-accuracy", "on", "address")
    figure_path = beside(output, ".png")
    noise_path = beside(output, "_noise.png")
    curves_path = [] if training.target_accuracy is None else [beside(output, "_training.png")]
    read = (record, weights, card, devices, training.device)
    check_outputs(output, figure_path, noise_path, *curves_path, read=read)
    spool_folder = beside(output, ".runs")
    check_spool(spool_folder, output)
    parameters = _parameters(options.sweeps)
    rules = _rules(options.rules)
    if options.measure and (why := why_not_measured()) is not None:
        raise UserError(f"--measure: {why}")
    if record is not None and weights is not None:
        raise UserError("RECORD and --weights: give one of them, both name a network")
    made_of = record or learned_on(weights)
    chip = given(made_of, card, (seed, chip_seed), switches, devices, age)
    if inverting.asked:
        made = make_inversion(inverting, record or weights, sizes, control, chip)
        told = {"samples": samples, "target_stepsize": target_stepsize, "as_json": as_json}
        bill_inversion(made, {**asdict(options), **told}, output)
        return
    model, origin = make_model(record or weights, sizes, chip.seeds[0], control)
    origin += chip.note
    check_trainable(model.network.sizes, training)
    design = make_design(model, chip.card, chip.switches, chip.devices)
    data = make_stimuli(model.network, samples, chip.seeds[0], target_stepsize)
    with _kept(spool_folder, parameters, training) as spool:
        swept = _swept(design, chip.seeds[1], data, parameters, options, where, spool)
        work = _work(design, chip.seeds[1], data, swept, rules, options)
        learned = train_as_asked(work.found, work.rows, training, spool, where, options.jobs)
    numbers = work.numbers()
    if learned is not None:
        numbers["training"] = training_numbers(learned)
    tree = inputs_tree(model, design, chip.seeds, data)
    tree |= {"chip": chip_tree(Chip.of(design, chip.seeds[1])), "settings": settings()}
    records.write(output, {**tree, "results": trees.as_leaves(numbers)})
    written = [output]
    figure = estimate_figure(work.found, work.bandwidths, work.sweeps, chip.seeds)
    written.append(save_figure(figure, figure_path))
    if not isinstance(work.noise, str):
        written.append(save_figure(noise_figure(work.found, work.noise, chip.seeds), noise_path))
    if learned is not None:
        curves = convergence_figure(learned.convergence, work.found.seconds, about_design(design))
        written.append(save_figure(curves, beside(output, "_training.png")))
    if as_json:
        about = {"network": "-".join(map(str, design.sizes)), "origin": origin}
        drawn = {"seed": chip.seeds[0], "chip_seed": chip.seeds[1]}
        whole = {**about, **drawn, "samples": data.source, **numbers}
        click.echo(json.dumps(trees.as_json(whole), indent=2))
    else:
        _estimate.show(design, origin, data.source, work)
        if learned is not None:
            _estimate.show_training(learned)
        click.echo(f"wrote {', '.join(map(str, written[:-1]))} and {written[-1]}")


def _kept(
    folder: Path, parameters: Sequence[Parameter], training: TrainingOptions
) -> AbstractContextManager[Spool | None]:
    """Where sweeps and trainings are kept until all are done; nothing without any."""
    long = bool(parameters) or training.target_accuracy is not None
    return spool_beside(folder) if long else nullcontext()


def _parameters(texts: tuple[str, ...]) -> list[Parameter]:
    found = [parse(text) for text in texts]
    names = [parameter.name for parameter in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--sweep: {name} is given twice; give all its values at once")
    return found


def _rules(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in COUNTS:
            raise UserError(f"--rules: unknown rule {name!r}; there are {', '.join(COUNTS)}")
    return names


def _swept(
    design: Design,
    seed: int,
    data: Stimuli,
    parameters: list[Parameter],
    options: _Options,
    where: Where,
    spool: Spool | None,
) -> list[tuple[Parameter, list[Point]]]:
    """The sweeps; on this machine one value after another, which take less than a process."""
    if spool is None or not parameters:
        return []
    jobs = 1 if where.here else options.jobs
    with (
        progress_bar("sweeps", sum(len(p.values) for p in parameters)) as bar,
        where.open(jobs, kept=spool.folder) as executor,
    ):
        told: dict[str, Any] = {"spool": spool, "executor": executor, "progress": bar.update}
        told |= options.arguments
        return [(one, sweep(design, seed, data.x, data.step, one, **told)) for one in parameters]


def _work(
    design: Design,
    seed: int,
    data: Stimuli,
    swept: list[tuple[Parameter, list[Point]]],
    rules: list[str],
    options: _Options,
) -> Costs:
    method = options.method
    with progress_bar("estimate", 4) as bar:

        def stage(name: str) -> None:
            bar.set_description(name)
            bar.update()

        stage("static model")
        state = StaticChip.of(Chip.of(design, seed)).solve(data.x, data.step)
        found = estimate(
            design,
            seed,
            data.x,
            data.step,
            method=method.replace("-", " ") if method else None,
            state=state,
            progress=stage,
            **options.arguments,
        )
        stage("noise")
        noise = chip_noise(found, seed, data.x, data.step)
    bandwidths = []
    hertz = design.card.amplifier.gain_bandwidth
    if hertz is not None:
        updates = found.settling.update_time(options.accuracy)
        slowest = int(updates.argmax())
        times = float(found.settling.time[slowest]), float(updates[slowest])
        factors = _FACTORS if Chip.of(design).circuit.amplifiers < _LARGE else _FEW_FACTORS
        with progress_bar("bandwidths", len(factors)) as bar:
            bandwidths = against_bandwidth(
                design,
                seed,
                data.x[slowest : slowest + 1],
                data.step[slowest : slowest + 1],
                factors,
                accuracy=options.accuracy,
                state=state.sample(slowest),
                known=AtBandwidth(hertz, *times),
                progress=bar.update,
            )
    rows = baseline(design.sizes, rules, options.training_samples) if rules else []
    if options.measure and rules:
        with progress_bar("measuring", len(FORMATS) * REPEATS * len(rules)) as bar:
            rows += measured(
                design.sizes, rules, samples=options.training_samples, progress=bar.update
            )
    return Costs(found, bandwidths, swept, rows, options.training_samples, noise)
