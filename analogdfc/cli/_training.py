"""What `train` makes of its options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch

from analogdfc import records
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.cards.technology import Card
from analogdfc.cli._angles import angles_of
from analogdfc.cli._design import read_devices
from analogdfc.cli._integrator import integrator_of
from analogdfc.cli._settings import Given
from analogdfc.datasets import Dataset
from analogdfc.effort import long_work
from analogdfc.errors import UserError
from analogdfc.files import exists
from analogdfc.jobs import Spool
from analogdfc.learning import DFC, SteadyStateDFC
from analogdfc.learning.making import arguments
from analogdfc.onchip.registry import HardwareDFC, get_rule
from analogdfc.onchip.steps import Steps
from analogdfc.onchip.substrate import CARD, ChipSubstrate, Writing
from analogdfc.onchip.through import Behaviour, Equations, Simulated, Way
from analogdfc.presets import load_preset
from analogdfc.records import Record
from analogdfc.spice.loaded import Loaded
from analogdfc.spice.netlist import Fidelity
from analogdfc.storage import read_model
from analogdfc.training import (
    OPTIMIZERS,
    Experiment,
    Plan,
    Switch,
    Trainer,
)
from analogdfc.training.checkpoints import check_format
from analogdfc.training.experiment import HIDDEN, default_experiment
from analogdfc.training.loop import FORWARD
from analogdfc.training.metrics import are_classes
from analogdfc.training.modules import load_module
from analogdfc.tuning import with_settings

_MOST_CLIPPED = 0.05
_SIMULATED = ("fidelity", "solver", "time_limit")


@dataclass(frozen=True)
class Options:
    """What the command line says of a training; None where it says nothing."""

    rule: str | None
    preset: str | None
    dataset: str | None
    sizes: tuple[int, ...] | None
    activation: str | None
    loss: str | None
    autoencoder: bool
    feedback: str | None
    simulate: bool
    integrator: str | None
    update_error: float | None
    epochs: int | None
    batch_size: int | None
    lr: float | None
    target_stepsize: float | None
    patience: int | None
    samples: int | None
    seed: int
    chip_seed: int | None
    card: str | None
    devices: str | None
    age: float
    through: str | None
    duration: float | None
    fidelity: Fidelity | None
    solver: str | None
    time_limit: float | None
    optimizer: str | None
    waves: str | None
    updates: bool
    most_clipped: float | None
    headroom: float | None
    compensated: bool
    weights: Path | None
    switch: str | None
    settings: Given
    module: Path | None
    alignment: str | None
    every: int | None

    @property
    def learns_by(self) -> str:
        """Name of the rule."""
        return self.rule or ("dfc-ssa" if self.through is None else "dfc-chip")

    @property
    def shown(self) -> list[int]:
        """Numbers of the steps whose waveforms are kept."""
        try:
            return [int(word) for word in self.waves.split(",")] if self.waves else []
        except ValueError as error:
            raise UserError(
                f"--waves {self.waves}: numbers of steps with commas between, such as 1,100"
            ) from error


def existing(output: Path, *, resume: bool) -> Record | None:
    """The checkpoint to go on from; None to start anew.

    Raises:
        UserError: a file that must not be replaced, or that can't be resumed.
    """
    if not exists(output):
        return None
    record = records.read(output)
    try:
        check_format(record)
    except UserError as error:
        if resume:
            raise
        raise UserError(f"{error}; it would be lost. Choose another -o") from error
    if resume:
        return record
    done = record.integer("training/epoch"), record.integer("training/pretrained")
    if record.tree.get("finished") is not True and any(done):
        raise UserError(
            f"{output}: holds a training that isn't finished, at epoch {done[0]}; go on with "
            "--resume, delete the file or choose another -o"
        )
    return None


def device_of(name: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: it isn't there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, _, index = name.partition(":")
    if kind == "cpu" and not index:
        return torch.device("cpu")
    if kind != "cuda" or (":" in name and not index.isdigit()):
        raise UserError(f"--device {name}: there are cpu, cuda and cuda:N")
    if count == 0:
        raise UserError(f"--device {name}: PyTorch finds no CUDA device; there is cpu")
    if int(index or 0) >= count:
        raise UserError(f"--device {name}: there are cuda:0 to cuda:{count - 1}")
    return torch.device(name)


def make_experiment(
    options: Options,
    folder: Path | None,
    dtype: torch.dtype,
    device: torch.device,
    spool: Spool | None = None,
) -> tuple[Experiment, Dataset]:
    """The experiment that the options ask for, and its data."""
    experiment = replace(chosen(options), substrate=_substrate(options, spool))
    data = experiment.load(folder, dtype, device)
    if options.preset is None:
        experiment = _fitted(experiment, data, options)
    return experiment, data


def chosen(options: Options) -> Experiment:
    """The experiment that the options ask for, before it has seen the data."""
    given: dict[str, Any] = {
        name: value
        for name in ("dataset", "sizes", "loss", "samples", "seed", "chip_seed")
        if (value := getattr(options, name)) is not None
    }
    if options.module is not None:
        given["module"] = load_module(options.module)
    if options.activation is not None:
        names = tuple(options.activation.split(","))
        given["activation"] = names[0] if len(names) == 1 else names
    if options.autoencoder:
        given["autoencoder"] = True
    if options.weights is not None:
        given = {**_start(options.weights), **given}
    base = _base(options, given.get("activation", "tanh"))
    experiment = replace(
        base,
        **given,
        plan=_plan(base.plan, options),
        options=_arguments(base, options),
        angles=angles_of(options.alignment, options.every),
    )
    if options.switch is not None:
        experiment = replace(experiment, switch=_switch(options, experiment))
    return with_settings(experiment, options.settings.values())


def _start(weights: Path) -> dict[str, Any]:
    """What a file says that a training starts from its network."""
    model = read_model(weights)
    names = tuple(phi.name for phi in model.network.activations[:-1])
    activation = {"activation": names} if names else {}
    return {"start": model, "sizes": model.network.sizes, **activation}


def _switch(options: Options, experiment: Experiment) -> Switch:
    """The rule that takes over, with the settings that it has by default or in the preset."""
    assert options.switch is not None
    epochs, colon, rule = options.switch.partition(":")
    if not colon or not epochs.isdigit():
        raise UserError(f"--switch {options.switch}: write EPOCHS:RULE, such as 20:fa")
    if options.preset is not None:
        then = load_preset(options.preset).experiment(rule, options.feedback)
    else:
        then = default_experiment(rule, feedback="fixed", activation=experiment.activation)
    return Switch(rule=rule, after=int(epochs), options=then.options)


def _base(options: Options, activation: str | tuple[str, ...]) -> Experiment:
    """What other options override: the preset, or what suits the rule."""
    rule, feedback = options.learns_by, options.feedback
    if options.preset is not None:
        base = load_preset(options.preset).experiment(rule, feedback)
    else:
        base = default_experiment(rule, feedback=feedback, activation=activation)
    if feedback is not None and not base.controlled:
        raise UserError(
            f"--feedback {feedback}: the rule {rule!r} has no choice of feedback; "
            "rules of deep feedback control have"
        )
    return base


def _substrate(options: Options, spool: Spool | None) -> ChipSubstrate | None:
    """The chip that the network learns through; None for a rule that needs none."""
    made_of = read_devices(options.devices, options.age)
    if issubclass(get_rule(options.learns_by).rule, HardwareDFC):
        card = Card.load(options.card or CARD)
        # Two trainings through two realisations must not part at the first pulse that differs.
        share = options.most_clipped
        if made_of is None and share is not None:
            raise UserError("--most-clipped: needs --devices; weights without must stay inside")
        share = _MOST_CLIPPED if share is None else share
        if made_of is None and options.compensated:
            raise UserError("--compensated: needs --devices; weights without are set exactly")
        writing = Writing(
            aligned=options.through is not None,
            most_clipped=share,
            compensated=options.compensated,
        )
        if options.headroom is not None:
            writing = replace(writing, headroom=options.headroom)
        way = _way(options, spool)
        return ChipSubstrate(card=card, devices=made_of, writing=writing, through=way)
    for option, value in (
        ("card", options.card),
        ("devices", options.devices),
        ("chip-seed", options.chip_seed),
        ("through", options.through),
        ("most-clipped", options.most_clipped),
        ("headroom", options.headroom),
        ("compensated", options.compensated or None),
    ):
        if value is not None:
            said = option if value is True else f"{option} {value}"
            raise UserError(
                f"--{said}: the rule {options.learns_by!r} learns without a circuit; "
                "dfc-chip learns through one"
            )
    return None


def _way(options: Options, spool: Spool | None) -> Way | None:
    """The realisation that updates are taken from; None for the chip at rest."""
    simulated = [name for name in _SIMULATED if getattr(options, name) is not None]
    if options.through != "circuit" and simulated:
        raise UserError(f"--{simulated[0].replace('_', '-')}: needs --through circuit")
    if options.through in (None, "static"):
        if options.duration is not None:
            raise UserError("--duration: a chip at rest takes no time; --through says what does")
        return None
    duration = 20.0 if options.duration is None else options.duration
    if options.through == "ideal":
        return Equations(duration, spool=spool)
    if options.through == "behavioural":
        return Behaviour(duration, spool=spool)
    simulator = click.get_current_context().with_resource(Loaded(options.solver or "auto"))
    limit = options.time_limit or 600.0
    return Simulated(duration, options.fidelity or "macro", simulator, limit, spool=spool)


def long_training(trainer: Trainer) -> list[str]:
    """That a training will take long, a sentence; none where it won't."""
    rule = trainer.rule
    if not isinstance(rule, HardwareDFC):
        return []
    seconds = rule.way.seconds(rule.static.chip.design)
    return long_work({f"{trainer.samples} samples": trainer.samples * seconds})


def keep_steps(trainer: Trainer, options: Options, old: Record | None) -> None:
    """Have a training through a realisation keep what its steps learn, after those of a record."""
    rule, plan = trainer.rule, trainer.plan
    if options.through is None or not isinstance(rule, HardwareDFC) or not options.updates:
        if options.waves:
            raise UserError(f"--waves {options.waves}: needs --through, and steps that are kept")
        return
    each = -(-len(trainer.data.x) // plan.batch_size)
    update = trainer.optimizers[FORWARD]
    pulsed = update if isinstance(update, PulsedUpdate) else None
    rule.steps = Steps(rule.network, plan.epochs * each, options.shown, pulsed)
    if old is not None:
        rule.steps.take_up(old)


def steps_tree(trainer: Trainer) -> dict[str, Any]:
    """What a record has of the steps; nothing where none are kept."""
    steps = trainer.rule.steps if isinstance(trainer.rule, HardwareDFC) else None
    return {} if steps is None else steps.tree()


def _fitted(experiment: Experiment, data: Dataset, options: Options) -> Experiment:
    """Sizes and loss that fit the data, where neither an option nor a preset says them."""
    fitting: dict[str, Any] = {}
    if options.sizes is None and experiment.start is None:
        fitting["sizes"] = (data.x.shape[1], HIDDEN, data.y.shape[1])
    if options.loss is None:
        fitting["loss"] = "cross-entropy" if are_classes(data.y) else "l2"
    return replace(experiment, **fitting)


def _plan(plan: Plan, options: Options) -> Plan:
    names = ("epochs", "batch_size", "patience")
    given: dict[str, Any] = {
        name: value for name in names if (value := getattr(options, name)) is not None
    }
    if options.optimizer is not None:
        given["optimizer"] = OPTIMIZERS[options.optimizer](lr=plan.optimizer.lr)
    if options.lr is not None:
        given["optimizer"] = replace(given.get("optimizer", plan.optimizer), lr=options.lr)
    return replace(plan, **given)


def _arguments(base: Experiment, options: Options) -> dict[str, Any]:
    """Further arguments of the rule."""
    out = dict(base.options)
    if options.target_stepsize is not None:
        if "target_stepsize" not in arguments(get_rule(base.rule).rule):
            raise UserError(f"--target-stepsize: the rule {base.rule!r} has no output target")
        out["target_stepsize"] = options.target_stepsize
    if options.simulate:
        if not issubclass(get_rule(base.rule).rule, SteadyStateDFC):
            raise UserError(f"--simulate is for the rule 'dfc-ss', not {base.rule!r}")
        out["newton"] = False
    integrator = integrator_of(options.integrator, options.update_error)
    if options.integrator is not None:
        kind = get_rule(base.rule).rule
        if not (issubclass(kind, DFC) or options.simulate):
            raise UserError(
                f"--integrator {options.integrator}: the rule {base.rule!r} doesn't go through its "
                "loop; dfc does, and dfc-ss with --simulate"
            )
    if integrator is not None:
        out["integrator"] = integrator
    return out
