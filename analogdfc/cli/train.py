"""`analogdfc train`: train a network by a learning rule."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import click
import torch

from analogdfc import records
from analogdfc.cli import _training
from analogdfc.cli._angles import angle_options
from analogdfc.cli._design import Sizes, device_options, progress_bar
from analogdfc.cli._integrator import integrator_options
from analogdfc.cli._options import (
    CHIP_SEED,
    MODULE,
    SEED,
    Count,
    Finite,
    as_options,
    bundled,
    check_outputs,
)
from analogdfc.cli._settings import Sections, setting_options, show_settings
from analogdfc.cli._training_report import epoch_line, numbers_of, progress_of, show, title
from analogdfc.datasets import DATASETS
from analogdfc.errors import UserError
from analogdfc.files import beside, exists, working_on
from analogdfc.jobs import Spool, check_spool, spool_beside
from analogdfc.onchip.registry import RULES
from analogdfc.onchip.substrate import CARD, Writing
from analogdfc.onchip.through import WAYS
from analogdfc.plots import alignment_figure, save_figure, training_figure
from analogdfc.presets import preset_names
from analogdfc.training import OPTIMIZERS, Divergence, Experiment, Trainer, checkpoint_tree, restore
from analogdfc.training.experiment import DTYPES, FEEDBACKS

_OR = "[default: that of the preset, or"
# The first line keeps click from wrapping the examples.
_EXAMPLES = """\b
Examples:
  analogdfc train -o train.h5
  analogdfc train --preset fashion-mnist --rule dfc-ss --epochs 5 -o fashion.h5
  analogdfc train --preset tp-fashion-mnist --rule ddtp-linear --epochs 5 -o targets.h5
  analogdfc train --rule dfc --k-p 1.5 --set controller.alpha=0.01 -o gains.h5
  analogdfc train --rule ddtp-linear --alignment bp,gnt:1 --every 20 -o angles.h5
  analogdfc train --rule dfc-chip --devices ecram_mo_kim2019 --lr 0.02 -o chip.h5
  analogdfc train --through behavioural --samples 100 --epochs 1 -o loop.h5
"""


class _Train(Sections):
    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "What is trained": (
            *(
                "preset",
                "rule",
                "switch",
                "module",
                "dataset",
                "folder",
                "autoencoder",
                "samples",
                "sizes",
            ),
            *("activation", "loss", "weights", "initial", "initial_scale"),
        ),
        "Steps": (
            *("epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "dropout"),
            *("frozen", "patience"),
        ),
        "Loop and feedback": (
            *(
                "target_stepsize",
                "controller",
                "k_p",
                "tau_u",
                "alpha",
                "k_d",
                "tau_v",
                "dt",
                "steps",
            ),
            *("linear_rule", "simulate", "integrator", "update_error", "feedback", "spread"),
            "feedback_width",
        ),
        "Any setting": ("given", "list_settings"),
        "Angles of updates": ("alignment", "every"),
        "Learning through a chip": (
            *("through", "card", "devices", "age", "chip_seed", "duration", "fidelity", "solver"),
            *("time_limit", "waves", "updates", "most_clipped", "headroom"),
            "compensated",
        ),
    }


@click.command(
    "train",
    short_help="Train a network by a learning rule.",
    epilog=_EXAMPLES,
    cls=_Train,
)
@click.option(
    "--rule",
    help=f"Learning rule: {', '.join(sorted(RULES))}. `analogdfc rules` says more.  "
    "[default: dfc-ssa, or dfc-chip with --through]",
)
@click.option(
    "--through",
    type=click.Choice(WAYS),
    help="What the update is taken from: the equations, the chip at rest, its model in time, or "
    "its circuit in ngspice; all from the same weights on the same chip. The record then has what "
    "every step learned. Held-out samples are judged by the free phase of the chip at rest.  "
    "[default: static, for the rule dfc-chip]",
)
@click.option(
    "--duration",
    type=Finite(min=0, min_open=True),
    help="Length of the controlled phase of a sample, in units of tau_u, where --through goes "
    "through time.  [default: 20]",
)
@click.option(
    "--fidelity",
    type=click.Choice(["ideal", "macro"]),
    help="Level of the circuit's cells, with --through circuit.  [default: macro]",
)
@click.option(
    "--solver",
    type=click.Choice(["auto", "klu", "sparse"]),
    help="How ngspice solves its linear equations, with --through circuit.  [default: auto]",
)
@click.option(
    "--time-limit",
    type=Finite(min=1),
    help="Seconds that a sample may take in ngspice; a network that would take longer isn't begun "
    "with.  [default: 600]",
)
@click.option(
    "--waves",
    metavar="STEP,STEP",
    help="Keep the waveforms of these steps in the record, the first is 1; needs --through.",
)
@click.option(
    "--updates/--no-updates",
    default=True,
    show_default=True,
    help="Keep the weights and the update of every step in the record, where --through is given.",
)
@click.option(
    "--preset",
    help="Published settings of an experiment, which other options override: "
    f"{', '.join(preset_names())}; or a TOML file of your own.",
)
@click.option(
    "--dataset",
    help=f"Data set: {', '.join(DATASETS)}.  [default: that of the preset, or digits]",
)
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder with the files of the data set, looked in before $ANALOGDFC_DATA.",
)
@click.option(
    "--sizes",
    type=Sizes(),
    help="Neurons of each layer, input first.  [default: those of the preset, or one hidden layer "
    "of 32, such as 64-32-10]",
)
@click.option(
    "--activation",
    help="Nonlinearity of the hidden layers, or one a layer, such as tanh,linear,tanh.  "
    "[default: that of the preset, or tanh]",
)
@click.option(
    "--loss",
    type=click.Choice(["l2", "cross-entropy"]),
    help="Loss at the output.  [default: that of the preset, or cross-entropy for classes and l2 "
    "for others]",
)
@click.option("--autoencoder", is_flag=True, help="Learn to give back the input.")
@click.option(
    "--feedback",
    type=click.Choice(list(FEEDBACKS)),
    help="Feedback weights of deep feedback control.  [default: learned where the preset or the "
    "rule has that, else fixed]",
)
@click.option(
    "--simulate", is_flag=True, help="Let dfc-ss simulate its loop instead of Newton's method."
)
@integrator_options
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Start from the weights and biases of a file, such as that of another training, with its "
    "sizes and activations where no option says others; from its feedback weights too, where they "
    "are of the rule's kind and neither --spread nor --feedback-width is given.",
)
@click.option(
    "--switch",
    metavar="EPOCHS:RULE",
    help="Go on by another rule after so many epochs, such as 20:fa, with the same optimiser.",
)
@angle_options
@MODULE
@setting_options
@click.option(
    "--list-settings",
    is_flag=True,
    help="Print all settings of this training, with their values, and do nothing else.",
)
@click.option(
    "--optimizer",
    type=click.Choice(list(OPTIMIZERS)),
    help=f"What makes a step of an update.  {_OR} adam]",
)
@click.option("--epochs", type=Count(1), help=f"Forward epochs.  {_OR} 10]")
@click.option("--batch-size", type=Count(1), help=f"Mini-batch.  {_OR} 32]")
@click.option(
    "--lr",
    type=Finite(min=0, min_open=True),
    help=f"Learning rate of the weights and biases.  {_OR} 0.001]",
)
@click.option(
    "--target-stepsize",
    type=Finite(min=0, min_open=True),
    help="Stepsize lambda of the output target, by the gradient of one sample's loss.",
)
@click.option(
    "--patience",
    type=Count(1),
    help="Stop after so many epochs without a better validation figure.",
)
@click.option(
    "--samples",
    type=Count(1),
    help="Train on so many samples only, the same in every run; for trials.",
)
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    help="Seed of the initial weights, the order of samples and the noise; of the chip too, "
    "without --chip-seed.",
)
@CHIP_SEED
@click.option(
    "--card",
    help="Technology card of the chip that dfc-chip learns through: a name that comes with the "
    "package, such as update_pulses, whose circuit has an update path, or the path of a TOML file. "
    f" [default: {CARD}]",
)
@device_options
@click.option(
    "--most-clipped",
    type=Finite(min=0, max=1),
    metavar="SHARE",
    help="Share of the changes of devices that may be cut off at the end of their window; training "
    "ends where it is more. Weights without --devices must stay inside.  [default: 0.05]",
)
@click.option(
    "--headroom",
    type=Finite(min=1, max=1e6),
    help="Largest weight that the chip can hold, in units of a layer's largest initial one. With "
    "more, fewer pulses make a step, and each of a device's errors is larger; amplifiers are "
    f"slower.  [default: {Writing.headroom:g}]",
)
@click.option(
    "--compensated",
    is_flag=True,
    help="Count pulses by the steps that the mean device makes from where the devices stand, as a "
    "read shows them, not by those in the middle of the window; needs --devices with pulses.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--dtype",
    type=click.Choice(list(DTYPES)),
    default="float64",
    show_default=True,
    help="Precision in which is computed.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from the checkpoint in the output file; start where there is none. The other "
    "options must be those of the first run, but for --epochs and --patience.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers for machines.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("train.h5"),
    show_default=True,
    help="Checkpoint and record to write (HDF5), after each epoch; the figure goes beside it as "
    ".png. The record of a finished training is replaced.",
)
@bundled("options", _training.Options)
def command(
    output: Path,
    folder: Path | None,
    resume: bool,
    as_json: bool,
    device: str,
    dtype: str,
    list_settings: bool,
    options: _training.Options,
) -> None:
    """Train a network by a learning rule.

    The output holds the weights after the last epoch, the figures of all epochs, and all that is
    needed to go on. `analogdfc compare --weights` takes it.
    """
    torch.set_num_threads(1)
    if list_settings:
        show_settings(_training.chosen(options))
        return
    figure_path, angles_path = beside(output, ".png"), beside(output, ".alignment.png")
    pictures = (figure_path, *([angles_path] if options.alignment else []))
    check_outputs(output, *pictures, read=(options.card, options.devices))
    click.get_current_context().with_resource(working_on(output))
    old = _training.existing(output, resume=resume)
    place = _training.device_of(device)
    spool = _spool(output, options.through)
    with as_options("data"):
        experiment, data = _training.make_experiment(options, folder, DTYPES[dtype], place, spool)
    trainer = experiment.trainer(data)
    for note in [*trainer.rule.notes(), *_training.long_training(trainer)]:
        click.echo(f"Warning: {note}", err=True)
    if old is not None:
        restore(trainer, old, experiment.about())
    _training.keep_steps(trainer, options, old)
    _run(trainer, experiment, output, spool, resumed=old is not None)
    numbers = numbers_of(trainer, experiment)
    drawn = training_figure(trainer.history, experiment.sizes[-1], title(experiment))
    figures = [save_figure(drawn, figure_path)]
    if trainer.angles is not None:
        curves = alignment_figure(trainer.angles.found, title(experiment))
        figures.append(save_figure(curves, angles_path))
    if as_json:
        click.echo(json.dumps(numbers, indent=2))
    else:
        show(trainer, experiment, numbers)
        click.echo(f"wrote {', '.join(map(str, [output, *figures[:-1]]))} and {figures[-1]}")


def _spool(output: Path, through: str | None) -> Spool | None:
    """Where the samples of an epoch are kept that take long; None where they don't."""
    if through in (None, "static"):
        return None
    folder = beside(output, ".runs")
    check_spool(folder, output)
    return click.get_current_context().with_resource(spool_beside(folder))


def _run(
    trainer: Trainer, experiment: Experiment, output: Path, spool: Spool | None, *, resumed: bool
) -> None:
    """Train to the end, with a checkpoint after each epoch.

    A training that is replaced stays until an epoch of the new one is complete.
    """
    replaces = not resumed and exists(output)

    def write() -> None:
        nonlocal replaces
        tree = checkpoint_tree(trainer, experiment.about())
        further = {**experiment.tree(), "finished": trainer.finished}
        further |= _training.steps_tree(trainer)
        results = numbers_of(trainer, experiment)
        results.pop("notes", None)  # the record has them beside the results
        kept = {name: value for name, value in results.items() if value is not None}
        records.write(output, {**tree, **further, "results": kept})
        replaces = False

    def completed(_: Trainer) -> None:
        write()
        if spool is not None:
            spool.clear()  # the record has them now
        bar.write(epoch_line(trainer), file=sys.stderr)

    def holds(new: str) -> str:
        return f"{output} still holds the training before" if replaces else f"{output} holds {new}"

    if trainer.finished or not (resumed or replaces):
        write()
    with progress_bar("training", trainer.samples) as bar:
        try:
            with as_options("most_clipped"):
                trainer.run(lambda _, count: bar.update(count), completed)
        except KeyboardInterrupt:
            bar.close()
            next_step = "Train anew" if replaces else "Resume"
            click.echo(
                f"interrupted; {holds(progress_of(trainer))}. {next_step} with:\n"
                f"  {_again(resume=not replaces)}",
                err=True,
            )
            sys.exit(130)
        except Divergence as error:
            bar.close()
            last = holds(f"the last good checkpoint: {progress_of(trainer)}")
            raise UserError(f"{error} {last}") from error


def _again(*, resume: bool) -> str:
    """The command line that goes on from the checkpoint, or begins anew."""
    program, *arguments = sys.argv
    words = [Path(program).name, *arguments]
    return shlex.join(words if "--resume" in words or not resume else [*words, "--resume"])
