"""`analogdfc sleep`: feedback weights that a chip learns, in the model and in SPICE."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from rich.table import Table

from analogdfc import records
from analogdfc.arrays.writers import MODES
from analogdfc.cases import Stimuli
from analogdfc.circuit.design import Design
from analogdfc.circuit.devices import Devices
from analogdfc.cli._console import make_console
from analogdfc.cli._design import (
    ENGINE,
    JSON,
    SOLVER,
    TIME_LIMIT,
    Bars,
    Switches,
    design_options,
    make_design,
    make_model,
    make_stimuli,
)
from analogdfc.cli._given import given, learned_on
from analogdfc.cli._options import (
    Count,
    Finite,
    as_options,
    bundled,
    check_outputs,
    refuse,
    settings,
)
from analogdfc.effort import long_work
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.files import beside
from analogdfc.findings import inputs_tree
from analogdfc.jobs import Spool, check_spool, spool_beside
from analogdfc.learning import SleepPhase
from analogdfc.onchip.substrate import Writing
from analogdfc.plots import save_figure
from analogdfc.sleeping import (
    Equations,
    Exact,
    Lessons,
    Model,
    Nights,
    OnDevices,
    Simulated,
    Sleep,
    Way,
    Writes,
    nights_figure,
    sleep_seconds,
    sleep_through,
)
from analogdfc.sleeping.phase import MOST, USUAL
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.netlist import Fidelity

WAYS = ("ideal", "behavioural", "circuit")

# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc sleep --sizes 3-4-2 --steps 10 -o sleep.h5
"""


@dataclass(frozen=True)
class _Options:
    """Through what a chip sleeps, and how it learns."""

    through: str
    start: str
    steps: int
    batch: int
    rate: float
    sigma: float
    alpha: float
    k_p: float
    tau_v: float
    tau_fb: float
    beta: float
    duration: float
    spacing: float
    measured: int
    frozen_output: bool
    high_pass: bool
    room: float
    writing: str | None
    granularity: float | None
    fidelity: Fidelity
    engine: str
    solver: str
    jobs: int | None
    time_limit: float

    def sleep(self, seed: int) -> Sleep:
        """How the chip sleeps."""
        if self.spacing > self.duration:
            raise UserError(
                f"--spacing {self.spacing:g}: it must not exceed --duration {self.duration:g}"
            )
        if not self.duration / self.spacing <= MOST:
            raise UserError(
                f"--spacing {self.spacing:g}: a --duration of {self.duration:g} has more than "
                f"{MOST} of it, which is the most"
            )
        steps = round(self.duration / self.spacing)
        with as_options("sigma", "alpha", "k_p", "tau_v", "tau_fb", "beta", "room"):
            phase = SleepPhase(
                sigma=self.sigma,
                alpha=self.alpha,
                k_p=self.k_p,
                tau_v=self.tau_v,
                tau_fb=self.tau_fb,
                beta=self.beta,
                dt=self.duration / steps,
                steps=steps,
                train_output=not self.frozen_output,
            )
            return Sleep(phase, seed, self.high_pass, self.room)

    def writes(self, way: Way, seed: int, devices: Devices | None) -> Writes:
        """How a realisation writes; the equations know no devices."""
        if devices is None or way.name == "ideal":
            return Exact()
        writing = Writing(mode=self.writing, granularity=self.granularity, aligned=True)
        return OnDevices(writing, seed)

    def ways(self) -> list[Way]:
        """The realisations, in the order in which they are shown."""
        names = [name.strip() for name in self.through.split(",")]
        if len(set(names)) < len(names) or not set(names) <= set(WAYS):
            raise UserError(
                f"--through {self.through!r}: one or more of {', '.join(WAYS)}, each once, with "
                "commas between them"
            )
        simulator = get_simulator(self.engine, self.solver) if "circuit" in names else None
        made: dict[str, Way] = {"ideal": Equations(), "behavioural": Model()}
        if simulator is not None:
            jobs = self.jobs or os.cpu_count() or 1
            made["circuit"] = Simulated(simulator, self.fidelity, self.time_limit, jobs)
        return [made[name] for name in WAYS if name in names]


@click.command(
    "sleep", short_help="Let a chip learn its feedback weights, asleep.", epilog=_EXAMPLES
)
@design_options
@click.option(
    "--through",
    default=",".join(WAYS),
    show_default=True,
    help="Realisations that learn, each by itself, on the same samples with the same noise.",
)
@click.option(
    "--samples",
    type=Count(1),
    default=16,
    show_default=True,
    help="Inputs that are presented, one after another and then anew.",
)
@click.option(
    "--start",
    type=click.Choice(["random", "given"]),
    default="random",
    show_default=True,
    help="Feedback weights at the start: random to the hidden layers and the identity to the "
    "output, or those of --weights or of the network that is made.",
)
@click.option("--steps", type=Count(1), default=20, show_default=True, help="Writes of Q.")
@click.option(
    "--batch", type=Count(1), default=4, show_default=True, help="Samples presented for each."
)
@click.option(
    "--rate",
    type=Finite(min=0, min_open=True),
    default=0.3,
    show_default=True,
    help="Learning rate of the update, which counts from the noise's power.",
)
@click.option(
    "--sigma",
    type=Finite(min=0, min_open=True),
    default=USUAL.sigma,
    show_default=True,
    help="Strength of the noise in the feedback compartments, in v times the root of time.",
)
@click.option(
    "--alpha", type=Finite(min=0), default=USUAL.alpha, show_default=True,
    help="Leak of the sleeping controller; must be large enough for a stable loop.",
)  # fmt: skip
@click.option(
    "--k-p", type=Finite(min=0), default=USUAL.k_p, show_default=True,
    help="Proportional gain of the sleeping controller.",
)  # fmt: skip
@click.option(
    "--tau-v", type=Finite(min=0, min_open=True), default=USUAL.tau_v, show_default=True,
    help="Time constant of the neurons, in units of the sleeping controller's tau_u. The neurons "
    "stay as they are, so that it says how slow that controller is.",
)  # fmt: skip
@click.option(
    "--tau-fb", type=Finite(min=0, min_open=True), default=USUAL.tau_fb, show_default=True,
    help="Time constant of the feedback compartments, in the same unit.",
)  # fmt: skip
@click.option(
    "--beta", type=Finite(min=0), default=USUAL.beta, show_default=True,
    help="Decay of the feedback weights.",
)  # fmt: skip
@click.option(
    "--duration", type=Finite(min=0, min_open=True), default=USUAL.dt * USUAL.steps,
    show_default=True, help="How long a sample is presented, in units of tau_u.",
)  # fmt: skip
@click.option(
    "--spacing", type=Finite(min=0, min_open=True), default=USUAL.dt, show_default=True,
    help="Time between the values of the noise, in units of tau_u: it is white up to some 0.1 / "
    "spacing.",
)  # fmt: skip
@click.option(
    "--measured",
    type=Count(0),
    default=2,
    show_default=True,
    help="Samples on which each realisation shows its own Jacobian before and after, by how far "
    "its output moves with what is put into each compartment; VACASK shows none.",
)
@click.option("--frozen-output", is_flag=True, help="Q_L doesn't learn and layer L has no noise.")
@click.option(
    "--high-pass",
    is_flag=True,
    help="Take the mean of the control signal off it, so that offsets teach nothing.",
)
@click.option(
    "--room", type=Finite(min=1), default=2.0, show_default=True,
    help="Feedback weights that the conductances leave room for, over the largest at the start.",
)  # fmt: skip
@click.option(
    "--devices",
    metavar="CARD",
    help="Device card of the crossbars. The feedback weights are then written as these devices "
    "can: by pulses, or where they have none by programming them anew.  [default: exact writes]",
)
@click.option(
    "--writing",
    type=click.Choice(list(MODES)),
    help="How a step becomes pulses or writes of devices; as in `analogdfc train`.",
)
@click.option(
    "--granularity",
    type=Finite(min=0, min_open=True),
    help="Program the devices anew, in multiples of this part of the largest weight.",
)
@click.option(
    "--fidelity",
    type=click.Choice(["ideal", "macro"]),
    default="macro",
    show_default=True,
    help="Level of the circuit's cells.",
)
@ENGINE
@SOLVER
@click.option("--jobs", type=Count(1), help="Simulations at a time.  [default: cores]")
@TIME_LIMIT
@JSON
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("sleep.h5"),
    show_default=True,
    help="Record to write (HDF5); the figure goes beside it as .png.",
)
@bundled("options", _Options)
def command(
    weights: Path | None,
    sizes: tuple[int, ...] | None,
    card: str,
    seed: int,
    chip_seed: int | None,
    devices: str | None,
    samples: int,
    as_json: bool,
    output: Path,
    switches: Switches,
    options: _Options,
) -> None:
    """Let a chip learn its feedback weights, asleep.

    Noise moves the feedback compartments while the controller holds the output at its free value;
    Delta Q_i is the mean of - v_fb u^T over a presentation, less decay, taken from the waveforms:
    an update path on the card is that of the forward weights. Says what share of the feedback lies
    in the row space of the network's Jacobian, Condition 2, before and after, and how far the
    realisations are apart.

    The network in the record has the feedback weights that were learned last, of the circuit where
    it slept, else of the model, else of the equations: the --weights of another command.

    Steps that have ended are kept in a folder beside the output until all have: the same command
    goes on with them where it was interrupted.
    """
    torch.set_num_threads(1)
    figure_path = beside(output, ".png")
    check_outputs(output, figure_path, read=(weights, card, devices))
    if devices is None:
        refuse("without --devices every conductance is set exactly", "writing", "granularity")
    spool_folder = beside(output, ".runs")
    check_spool(spool_folder, output)
    seeds, on_devices = (seed, chip_seed), devices is not None
    chip = given(learned_on(weights), card, seeds, switches, devices, on_devices=on_devices)
    sleep, ways = options.sleep(chip.seeds[0]), options.ways()
    lessons = Lessons(options.steps, options.batch, options.rate)
    model, origin = make_model(weights, sizes, chip.seeds[0])
    origin += chip.note
    if options.start == "random":
        generator = torch.Generator().manual_seed(chip.seeds[0])
        model = model._replace(feedback=DirectFeedback.random(model.network, generator))
    design = make_design(model, chip.card, chip.switches, chip.devices)
    # Asleep, there are no targets.
    data = make_stimuli(model.network, samples, chip.seeds[0], None)
    source = data.source.partition(", target steps")[0]
    data = data._replace(step=torch.zeros_like(data.step), source=source)
    with spool_beside(spool_folder) as spool:
        nights = _run(design, data, ways, sleep, lessons, chip.seeds, options, spool)
        numbers, learned = nights.numbers(), [q[-1] for q in nights.reference.feedback]
        model = model._replace(feedback=DirectFeedback(learned))
        tree = inputs_tree(model, design, chip.seeds, data)
        tree |= {"nights": nights.tree(), "settings": settings()}
        records.write(output, {**tree, "results": numbers})
    figure = save_figure(nights_figure(nights, _heading(design)), figure_path)
    if as_json:
        about = {"network": "-".join(map(str, design.sizes)), "origin": origin}
        drawn = {"seed": chip.seeds[0], "chip_seed": chip.seeds[1]}
        click.echo(json.dumps({**about, **drawn, "samples": data.source, **numbers}, indent=2))
    else:
        _show(design, origin, data.source, lessons, nights)
        click.echo(f"wrote {output} and {figure}")


def _run(
    design: Design,
    data: Stimuli,
    ways: list[Way],
    sleep: Sleep,
    lessons: Lessons,
    seeds: tuple[int, int],
    options: _Options,
    spool: Spool,
) -> Nights:
    seed = seeds[1]
    work = {way.name: sleep_seconds(way, design, sleep, lessons, seed) for way in ways}
    for remark in long_work(work):
        click.echo(f"Warning: {remark}", err=True)
    found, total = [], lessons.steps * lessons.batch
    with Bars() as bars:
        for way in ways:
            done = 0

            def told(units: int, name: str = way.name) -> None:
                nonlocal done
                done += units
                bars.show(name, done, total)

            found.append(
                sleep_through(
                    way, design, data.x, sleep, lessons,
                    chip_seed=seed, writes=options.writes(way, seeds[0], design.devices),
                    measured=options.measured, spool=spool, progress=told,
                )
            )  # fmt: skip
    return Nights(found)


def _heading(design: Design) -> str:
    return f"{'-'.join(map(str, design.sizes))} asleep, {design.card.card.name}"


def _show(design: Design, origin: str, samples: str, lessons: Lessons, nights: Nights) -> None:
    console, numbers = make_console(), nights.numbers()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    say(f"network {'-'.join(map(str, design.sizes))}, {origin}")
    say(f"{samples}; card: {design.card.card.name}")
    title = f"Feedback learned in {lessons.steps} steps of {lessons.batch} samples"
    table = Table(title=title, title_justify="left")
    measured = any("condition2_measured_after" in one for one in numbers["nights"].values())
    table.add_column("through", no_wrap=True)
    heads = ["Condition 2\nbefore, 1", "Condition 2\nafter, 1"]
    if measured:
        heads += ["J measured\nbefore, 1", "J measured\nafter, 1"]
    for head in (*heads, "largest weight\nof Q, 1"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, night in numbers["nights"].items():
        values = [value for value in night.values() if isinstance(value, float)]
        table.add_row(name, *(f"{value:.4f}" for value in values))
    console.print(table)
    for name, night in numbers["nights"].items():
        if "devices" in night:
            sent = night["devices"]
            say(
                f"{name}: {sent['up']} pulses up, {sent['down']} down; {sent['writes']} devices "
                f"programmed in {sent['attempts']} writes; {sent['clipped']} changes cut off at "
                "the end of the window"
            )
    if not numbers["comparisons"]:
        return
    table = Table(title="How far they are apart", title_justify="left")
    table.add_column("through", no_wrap=True)
    apart_heads = ("first update\nerror, %", "first update\nangle, degree", "largest angle\ndegree")
    for head in (*apart_heads, "weights at the end,\nof their change, %"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, apart in numbers["comparisons"].items():
        table.add_row(name, *(f"{value:.4g}" for value in apart.values()))
    console.print(table)
