"""`analogdfc align`: angles of the updates of rules to the ideal updates."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch

from analogdfc import records
from analogdfc.cli import _align
from analogdfc.cli._align import Setting
from analogdfc.cli._design import Sizes, progress_bar
from analogdfc.cli._integrator import integrator_of, integrator_options
from analogdfc.cli._options import SEED, Count, Finite, as_options, bundled, check_outputs, refuse
from analogdfc.datasets import DATASETS, load_dataset
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.experiments.rule_alignment import Ideals, RuleAlignment
from analogdfc.experiments.rule_alignment_figure import alignment_figure
from analogdfc.experiments.targets import DAMPINGS
from analogdfc.files import beside
from analogdfc.learning import DFC, LearningRule, make_rule
from analogdfc.learning.base import LearnsFeedback
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.learning.targets import TargetRule
from analogdfc.losses import LOSSES
from analogdfc.network import Network
from analogdfc.onchip.registry import RULES, HardwareDFC, get_rule
from analogdfc.onchip.substrate import ChipSubstrate
from analogdfc.plots import save_figure
from analogdfc.storage import read_model
from analogdfc.training import FeedbackPlan, Plan, Task, Trainer, task_of
from analogdfc.training.experiment import FEEDBACKS
from analogdfc.training.metrics import are_classes
from analogdfc.training.optimizers import Adam

_RULES = (
    "bp",
    "fa",
    "dfa",
    "pbp",
    "ndi",
    "dfc",
    "dfc-ss",
    "dfc-ssa",
    "dtp",
    "ddtp-linear",
    "gnt",
)
_HIDDEN = (32, 16)
_BATCH_SIZE = 32  # of feedback learning
# Rows of the largest matrix that is decomposed, which takes seconds.
_LARGEST = 2048
_KEPT = ("format", "settings", "card", "devices", "readout")
"""What a record tells of the training of its network."""

_EXAMPLES = """\b
Examples:
  analogdfc align --train-feedback 5 -o align.h5
  analogdfc align --rule dfc-ss --rule dfa --weights train.h5 --damping best -o align.h5
"""


class _Damping(click.ParamType[tuple[float, ...]]):
    """A number >= 0, or 'best' for those that are tried."""

    name = "GAMMA"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        if value == "best":
            return DAMPINGS
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= 0):
            self.fail(f"{value!r}: write a number >= 0, or best", param, ctx)
        return (number,)


@dataclass(frozen=True)
class _Options:
    """The network, the batch and the feedback."""

    sizes: tuple[int, ...] | None
    activation: str
    dataset: str | None
    autoencoder: bool
    folder: Path | None
    samples: int
    target_stepsize: float | None
    integrator: str | None
    update_error: float | None
    train_feedback: int
    feedback_lr: float


@click.command(
    "align",
    short_help="Angles of the updates of chosen rules to the ideal updates.",
    epilog=_EXAMPLES,
)
@click.option(
    "--rule",
    "rules",
    multiple=True,
    default=_RULES,
    help=f"Learning rule, may be given more than once: {', '.join(sorted(RULES))}.  "
    f"[default: {', '.join(_RULES)}]",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Network from the group 'network' of an HDF5 file, such as a record of train, instead of "
    "random weights. Rules of deep feedback control take its feedback and controller too, and the "
    "rule that it was trained by takes the feedback that it learned.",
)
@click.option(
    "--sizes",
    type=Sizes(),
    help="Neurons of each layer of a network with random weights, input first.  [default: two "
    "hidden layers of 32 and 16, such as 64-32-16-10]",
)
@click.option(
    "--activation", default="tanh", show_default=True, help="Nonlinearity of its hidden layers."
)
@click.option(
    "--dataset",
    help=f"Data set: {', '.join(DATASETS)}.  [default: that of the record in --weights, or digits]",
)
@click.option(
    "--autoencoder",
    is_flag=True,
    help="The labels are the inputs, as always where the record in --weights says so.",
)
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder with the files of the data set, looked in before $ANALOGDFC_DATA.",
)
@click.option(
    "--samples",
    type=Count(1),
    default=32,
    show_default=True,
    help="Samples of the batch, drawn from those to learn from.",
)
@click.option(
    "--loss",
    type=click.Choice(list(LOSSES)),
    default="l2",
    show_default=True,
    help="Loss at the output.",
)
@click.option(
    "--target-stepsize",
    type=Finite(min=0, min_open=True),
    help="Step of the output target, for the rules that have one.  [default: the rule's own]",
)
@integrator_options
@click.option(
    "--train-feedback",
    type=Count(0),
    default=0,
    show_default=True,
    metavar="EPOCHS",
    help="Epochs of feedback learning, in a sleep phase or by a reconstruction loss, before the "
    "measurement. At 0 deep feedback control has the feedback in --weights or else the product of "
    "the transposed weights, and the other rules have random feedback.",
)
@click.option(
    "--feedback-lr",
    type=Finite(min=0, min_open=True),
    default=1e-2,
    show_default=True,
    help="Learning rate of the feedback (Adam).",
)
@click.option(
    "--damping",
    type=_Damping(),
    default="0",
    show_default=True,
    help="Damping of GN, MN and GNT. With best, each rule is compared with the damping that fits "
    f"it best, of {', '.join(f'{d:g}' for d in DAMPINGS)}.",
)
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    help="Seed of the weights, the batch, the feedback and the noise.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers for machines.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("align.h5"),
    show_default=True,
    help="Record to write (HDF5); the figure goes beside it as .png.",
)
@bundled("options", _Options)
def command(
    rules: tuple[str, ...],
    weights: Path | None,
    loss: str,
    damping: tuple[float, ...],
    seed: int,
    as_json: bool,
    output: Path,
    options: _Options,
) -> None:
    """Angles of the updates of chosen rules to the ideal updates.

    Every rule computes its update for the same batch on the same network. The ideal updates are
    backpropagation (BP), Gauss-Newton (GN), minimum norm (MN) and Gauss-Newton targets (GNT); the
    record also holds the norm ratios, for each layer.
    """
    torch.set_num_threads(1)
    if not options.train_feedback:
        refuse("no feedback is learned without --train-feedback", "feedback_lr")
    if weights is not None:
        refuse(f"the network comes from {weights}, with its nonlinearities", "activation")
    figure_path = beside(output, ".png")
    check_outputs(output, figure_path, read=(weights,))
    names = list(dict.fromkeys(rules))
    kinds = [get_rule(name).rule for name in names]
    if not any(issubclass(kind, FeedbackControl | TargetRule) for kind in kinds):
        refuse(f"no rule of {', '.join(names)} has an output target", "target_stepsize")
    if not any(issubclass(kind, DFC) for kind in kinds):
        refuse(f"no rule of {', '.join(names)} goes through its loop; dfc does", "integrator")
    setting = _setting(weights, seed, options)
    if loss == "cross-entropy" and not are_classes(setting.data.y):
        raise UserError(f"--loss cross-entropy: the labels of {setting.task} are no classes")
    made = {name: _rule(name, setting, loss, options) for name in names}
    epochs = options.train_feedback
    feedback = {name: _align.feedback(rule, name, setting, epochs) for name, rule in made.items()}
    _learn_feedback(made, setting, options)
    found = _measure(made, setting, loss, damping)
    said = {
        name: {"feedback": feedback[name], "notes": rule.notes()} for name, rule in made.items()
    }
    numbers = {name: {**_align.numbers(found[name]), **said[name]} for name in found}
    about = {
        "network": "-".join(map(str, setting.network.sizes)),
        "origin": setting.origin,
        "dataset": setting.task.dataset,
        "autoencoder": setting.task.autoencoder,
        "samples": options.samples,
        "loss": loss,
        "damping": "best" if len(damping) > 1 else damping[0],
        "train_feedback_epochs": options.train_feedback,
        "seed": seed,
    }
    records.write(output, _align.tree(about, setting, found, said))
    title = f"{about['network']}, {setting.origin}; {options.samples} of {setting.task}"
    figure = save_figure(alignment_figure(found, f"{title}; seed {seed}"), figure_path)
    if as_json:
        click.echo(json.dumps({**about, "rules": numbers}, indent=2, allow_nan=False))
    else:
        _align.show(title, found, said, several=len(damping) > 1)
        click.echo(f"wrote {output} and {figure}")


def _setting(weights: Path | None, seed: int, options: _Options) -> Setting:
    """Network and batch that the options ask for."""
    if weights is not None and options.sizes is not None:
        raise UserError(f"--sizes: the network comes from {weights}; give only one of the two")
    record = None if weights is None else records.read(weights, *_KEPT)
    known = None if record is None else task_of(record)
    task = Task(
        options.dataset or (known.dataset if known else "digits"),
        options.autoencoder or (known is not None and known.autoencoder),
    )
    with as_options("data"):
        data = load_dataset(task.dataset, options.folder)
    if task.autoencoder:
        data = data._replace(y=data.x, y_test=data.x_test)
    ends = data.x.shape[1], data.y.shape[1]
    generator = torch.Generator().manual_seed(seed)
    if weights is None:
        model = None
        sizes = options.sizes or (ends[0], *_HIDDEN, ends[1])
        network = Network(sizes, options.activation, generator=generator)
        origin = f"random weights, seed {seed}"
    else:
        model = read_model(weights)
        network, origin = model.network, f"weights of {weights.name}"
    if (network.sizes[0], network.sizes[-1]) != ends:
        raise UserError(
            f"the network {'-'.join(map(str, network.sizes))} does not fit the data set '{task}', "
            f"which has {ends[0]} inputs and {ends[1]} outputs"
        )
    count = options.samples
    if count > len(data.x):
        raise UserError(f"--samples {count}: {task} has 1 to {len(data.x)}")
    if count * ends[1] > _LARGEST:
        raise UserError(
            f"--samples {count}: samples times outputs must be at most {_LARGEST}, so at most "
            f"{_LARGEST // ends[1]} here"
        )
    chosen = torch.randperm(len(data.x), generator=generator)[:count]
    rule_seed = int(torch.randint(2**62, (), generator=generator))
    chip = ChipSubstrate() if record is None else ChipSubstrate.read(record) or ChipSubstrate()
    if model is not None:
        chip = replace(chip, controller=model.controller, tau_v=model.tau_v)
    return Setting(network, model, origin, task, data, chosen, rule_seed, chip)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors say which rule they are about."""
    try:
        yield
    except UserError as error:
        message = str(error)
        if not message.startswith((f"{name} ", f"{name}:")):
            message = f"{name}: {message}"
        kind = ConvergenceError if isinstance(error, ConvergenceError) else UserError
        raise kind(message) from error


def _rule(name: str, setting: Setting, loss: str, options: _Options) -> LearningRule:
    """The rule of that name; feedback and noise of all rules are from the same seed."""
    kind = get_rule(name).rule
    generator = torch.Generator().manual_seed(setting.seed)
    given: dict[str, Any] = {}
    if options.target_stepsize is not None and issubclass(kind, FeedbackControl | TargetRule):
        given["target_stepsize"] = options.target_stepsize
    integrator = integrator_of(options.integrator, options.update_error)
    if integrator is not None and issubclass(kind, DFC):
        given["integrator"] = integrator
    if issubclass(kind, FeedbackControl):
        if setting.model is None:
            start = FEEDBACKS["learned" if options.train_feedback else "fixed"]
            given["feedback"] = start(setting.network, generator)
        else:
            model = setting.model
            if model.neuron:
                raise UserError(
                    f"{name}: {setting.origin}: the network has {model.neuron} neurons, whose "
                    "control loop the file doesn't hold; leave this rule out"
                )
            given |= {"controller": model.controller, "tau_v": model.tau_v}
            # Feedback learning must not change what the next rule starts from.
            given["feedback"] = copy.deepcopy(model.feedback)
    elif issubclass(kind, HardwareDFC):
        fixed = None if setting.model is None else setting.model.feedback
        with _named(name):
            given["chip"] = setting.chip.chip(setting.network, feedback=fixed)
    elif setting.model is not None and setting.model.rule == name:
        given["feedback"] = copy.deepcopy(setting.model.pathway)
    with _named(name):
        return make_rule(name, setting.network, loss=LOSSES[loss], generator=generator, **given)


def _learn_feedback(made: Mapping[str, LearningRule], setting: Setting, options: _Options) -> None:
    """Train the feedback of the rules that learn it; the network stays as it is."""
    epochs = options.train_feedback
    learners = {name: rule for name, rule in made.items() if isinstance(rule, LearnsFeedback)}
    if not epochs:
        return
    if not learners:
        raise UserError(
            f"--train-feedback {epochs}: none of the rules learns feedback weights: "
            f"{', '.join(made)}"
        )
    settings = FeedbackPlan(
        pretraining=Adam(lr=options.feedback_lr), pretraining_epochs=epochs, before=0, after=0
    )
    plan = Plan(epochs=0, batch_size=_BATCH_SIZE, feedback=settings)
    with progress_bar("feedback", len(learners) * epochs * len(setting.data.x)) as bar:
        for name, rule in learners.items():
            order = torch.Generator().manual_seed(setting.seed)
            with _named(name):
                Trainer(rule, setting.data, plan, generator=order).run(
                    lambda _, count: bar.update(count)
                )


def _measure(
    made: Mapping[str, LearningRule], setting: Setting, loss: str, dampings: Sequence[float]
) -> dict[str, RuleAlignment]:
    data, chosen = setting.data, setting.chosen
    ideals = Ideals(setting.network, data.x[chosen], data.y[chosen], LOSSES[loss], dampings)
    found: dict[str, RuleAlignment] = {}
    with progress_bar("rules", len(made)) as bar:
        for name, rule in made.items():
            with _named(name):
                found[name] = ideals.measure(rule)
            bar.update()
    return found
