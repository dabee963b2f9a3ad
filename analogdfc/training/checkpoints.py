"""Checkpoints: the state of a training between two epochs, as a record.

Nothing in such a file is code: weights, moments of the optimisers and states of the generators are
arrays of numbers, settings are text (JSON). A training that is taken up from one goes on exactly as
it would have gone on without the interruption, bit by bit on the CPU.

A finished training is the same file; its group 'network' is what other commands read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from analogdfc import records
from analogdfc.errors import UserError
from analogdfc.feedback import FeedbackWeights
from analogdfc.learning.base import name_of
from analogdfc.losses import LOSSES
from analogdfc.records import Quantity, Record
from analogdfc.states import State, StateError, inside, part, set_generator
from analogdfc.storage import Model, model_tree, network_tree, read_state, state_tree
from analogdfc.training.metrics import Metrics, Score
from analogdfc.training.optimizers import Wrapping, innermost
from analogdfc.training.trainer import Trainer

FORMAT = "analogdfc training"
ALIGNMENT = "alignment"
VERSION = 1

# These may differ between the parts of a training.
_FREE = ("plan.epochs", "plan.patience")
# What files of older programs lack, and what it was in them.
_SINCE: dict[str, Any] = {
    "plan.frozen": [],
    "plan.lr_decay.kind": "NoDecay",
    "dynamics.sleep.precise": False,
}
# What a difference is told by first: the others follow from these.
_FIRST = (
    *("rule", "dataset", "autoencoder", "sizes", "activations", "loss", "feedback", "samples"),
    "dynamics.through.name",
)
# What the trainer itself keeps in the branch 'training'; the rest is the rule's.
_OWN = ("epoch", "pretrained", "first_loss", "optimizers")
_ORDER = "generators/order"
_WRITES = "writes"
_STATE = {
    torch.optim.Adam: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.SGD: ("momentum_buffer",),
}


def checkpoint_tree(trainer: Trainer, about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The state of a training as the tree of a record.

    Args:
        trainer: the training, between two epochs.
        about: further settings that a resumed training must share, such as the data set's name
            and the seed: texts, numbers and lists of these.
    """
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "provenance": records.provenance(),
        "settings": json.dumps(settings(trainer, about), indent=1, sort_keys=True),
        "network": _network(trainer),
        "history": _history(trainer.history, trainer.rule.network.sizes[-1]),
        "figures": trainer.rule.figures(),
        **({} if trainer.angles is None else {ALIGNMENT: trainer.angles.tree()}),
        **({"notes": notes} if (notes := trainer.rule.notes()) else {}),
        "training": {
            "epoch": len(trainer.history),
            "pretrained": trainer.pretrained,
            **({} if trainer.first_loss is None else {"first_loss": trainer.first_loss}),
            "optimizers": {name: _moments(o) for name, o in trainer.optimizers.items()},
            **state_tree(_state(trainer)),
        },
    }


def restore(trainer: Trainer, record: Record, about: Mapping[str, Any] | None = None) -> None:
    """Bring a training to the state that a checkpoint holds.

    Args:
        trainer: a new training with the settings of the old one; the number of epochs and the
            patience may be others.
        record: the checkpoint.
        about: as for `checkpoint_tree`.

    Raises:
        UserError: not a checkpoint, one of another version, or one of a training with other
            settings, shapes or types; the message names the file and what differs.
    """
    check_format(record)
    _check_settings(record, settings(trainer, about))
    network = trainer.rule.network
    with torch.no_grad():
        for name, parameters in (("W", network.weights), ("b", network.biases)):
            for i, parameter in enumerate(parameters, start=1):
                parameter.copy_(_tensor(record, f"network/{name}{i}", parameter))
    for name, optimizer in trainer.optimizers.items():
        _restore_moments(record, f"training/optimizers/{name}", optimizer)
    _restore_state(record, trainer)
    trainer.pretrained = record.integer("training/pretrained")
    has_loss = "training/first_loss" in record
    trainer.first_loss = record.number("training/first_loss") if has_loss else None
    trainer.take_up(_read_history(record, record.integer("training/epoch")))
    if trainer.angles is not None:
        steps = trainer.epochs * -(-len(trainer.data.x) // trainer.plan.batch_size)
        trainer.angles.take_up(record, ALIGNMENT, steps)


def check_format(record: Record) -> None:
    """Make sure that a record is a checkpoint that this version can read.

    Raises:
        UserError: it isn't.
    """
    if not record.says("format", FORMAT):
        raise UserError(f"{record.path}: not a checkpoint of a training")
    version = record.integer("format_version")
    if version != VERSION:
        raise UserError(
            f"{record.path}: a checkpoint of version {version}; this program reads version "
            f"{VERSION}. Train anew into another file, or resume with the program that wrote it"
        )


class Task(NamedTuple):
    """What a network was trained on.

    Attributes:
        dataset: name of the data set.
        autoencoder: the labels were the inputs.
    """

    dataset: str
    autoencoder: bool

    def __str__(self) -> str:
        """For people."""
        return f"{self.dataset}{', autoencoder' if self.autoencoder else ''}"


def task_of(record: Record) -> Task | None:
    """What the network in a record was trained on; None where the record doesn't tell.

    Args:
        record: the record, of a training or any other.

    Raises:
        UserError: damaged settings.
    """
    if not record.says("format", FORMAT):
        return None
    found = _settings(record)
    if not isinstance(found.get("dataset"), str):
        return None
    return Task(found["dataset"], found.get("autoencoder") is True)


def settings(trainer: Trainer, about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All that a training was told, as nested texts, numbers, booleans, lists and None."""
    rule, network = trainer.rule, trainer.rule.network
    losses = [name for name, loss in LOSSES.items() if type(loss) is type(trainer.loss)]
    first = network.weights[0]
    writes = {k: o.settings() for k, o in trainer.optimizers.items() if isinstance(o, Wrapping)}
    found: dict[str, Any] = {
        **(about or {}),
        "rule": name_of(rule),
        "loss": losses[0] if losses else type(trainer.loss).__name__,
        "sizes": network.sizes,
        "activations": [phi.name for phi in network.activations],
        "dtype": str(first.dtype).removeprefix("torch."),
        "device": first.device.type,
        "samples": len(trainer.data.x),
        "plan": _plain(trainer.plan),
        "dynamics": {k: _plain(v) for k, v in rule.settings().items()},
        **({_WRITES: writes} if writes else {}),
        **({} if trainer.angles is None else {ALIGNMENT: trainer.angles.settings.about()}),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def _plain(value: Any) -> Any:
    """A setting as plain values, with the name of its class where that decides."""
    if is_dataclass(value) and not isinstance(value, type):
        fields = {name: _plain(getattr(value, name)) for name in vars(value)}
        return {"kind": type(value).__name__, **fields}
    if hasattr(value, "_asdict"):
        return {k: _plain(v) for k, v in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    return value


def _network(trainer: Trainer) -> dict[str, Any]:
    rule = trainer.rule
    name, loop = name_of(rule), rule.control_loop()
    if loop is not None:
        return model_tree(Model(rule.network, *loop, name))
    pathway = rule.feedback if isinstance(rule.feedback, FeedbackWeights) else None
    return network_tree(rule.network, name, pathway)


def _history(history: Iterable[Metrics], outputs: int) -> dict[str, Quantity]:
    what = {"loss": f"of a sample, sum over {outputs} outputs", "error": "share of wrong answers"}
    rows = [[*m.train, *m.validation, *m.test] for m in history]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 6).T
    return {
        f"{part}_{figure}": Quantity(columns[2 * i + k], "1", what[figure], ("epoch",))
        for i, part in enumerate(Metrics._fields[1:])
        for k, figure in enumerate(Score._fields)
    }


def _read_history(record: Record, epochs: int) -> list[Metrics]:
    columns = [
        record.array(f"history/{part}_{figure}", shape=(epochs,), finite=False).tolist()
        for part in Metrics._fields[1:]
        for figure in Score._fields
    ]
    return [
        Metrics(k, Score(*row[0:2]), Score(*row[2:4]), Score(*row[4:6]))
        for k, row in enumerate(zip(*columns, strict=True), start=1)
    ]


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """State of an optimiser, by the number of the parameter."""
    state: dict[int, dict[str, Any]] = innermost(optimizer).state_dict()["state"]
    return {
        str(index): {k: v.cpu().numpy() for k, v in values.items() if isinstance(v, Tensor)}
        for index, values in state.items()
    }


def _restore_moments(record: Record, key: str, optimizer: torch.optim.Optimizer) -> None:
    optimizer = innermost(optimizer)
    whole = optimizer.state_dict()
    parameters: list[nn.Parameter] = optimizer.param_groups[0]["params"]
    state: dict[int, dict[str, Tensor]] = {}
    for index in record.group(key):
        place = f"{key}/{index}"
        if not index.isdigit() or int(index) >= len(parameters):
            raise UserError(f"{record.path}: '{place}' belongs to no parameter")
        if record.group(place):  # plain gradient descent remembers nothing
            names = _STATE[type(optimizer)]
            like = parameters[int(index)]
            state[int(index)] = {
                name: _tensor(record, f"{place}/{name}", _like(name, like)) for name in names
            }
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})


def _like(name: str, parameter: Tensor) -> Tensor:
    """A tensor of the shape and type that a part of an optimiser's state has."""
    return torch.zeros((), dtype=torch.float32) if name == "step" else parameter


def _state(trainer: Trainer) -> State:
    """What goes on beside parameters, optimisers and figures, by its place in 'training'."""
    found = {**trainer.rule.state_dict(), _ORDER: trainer.generators["order"].get_state()}
    for name, optimizer in trainer.optimizers.items():
        if isinstance(optimizer, Wrapping):
            found |= inside(f"{_WRITES}/{name}", optimizer.kept())
    return found


def _restore_state(record: Record, trainer: Trainer) -> None:
    branch = record.group("training")
    found = read_state(record, "training", [k for k in branch if k not in _OWN])
    # Files of older programs have another name for one counter, and lack some: these begin anew.
    older = found.pop("counters/_batches", None)
    counts = inside("counters", trainer.rule.counters())
    if older is not None:
        found["counters/batches"] = older
    try:
        set_generator(_ORDER, trainer.generators["order"], found.pop(_ORDER, 0))
        for name, optimizer in trainer.optimizers.items():
            if isinstance(optimizer, Wrapping):
                optimizer.take_up(part(f"{_WRITES}/{name}", found))
        found = {k: v for k, v in found.items() if not k.startswith(f"{_WRITES}/")}
        trainer.rule.load_state_dict({**counts, **found})
    except StateError as error:
        raise UserError(f"{record.path}: 'training/{error.key}' {error.why}") from error


def _tensor(record: Record, key: str, like: Tensor) -> Tensor:
    """An array of the file, of exactly the shape and type of a tensor."""
    values = record.array(key, shape=tuple(like.shape))
    found = torch.from_numpy(np.array(values))
    if found.dtype != like.dtype:
        raise UserError(f"{record.path}: '{key}' is {found.dtype}; it must be {like.dtype}")
    return found


def _check_settings(record: Record, wanted: dict[str, Any]) -> None:
    new = dict(_flat(wanted))
    since = {key: value for key, value in _SINCE.items() if key in new}
    old = {**since, **_renamed(dict(_flat(_settings(record))))}
    for key in [*_FIRST, *sorted(old.keys() | new.keys())]:
        if key not in _FREE and old.get(key) != new.get(key):
            raise UserError(
                f"{record.path}: was trained with {key} = {old.get(key, 'nothing')}, not "
                f"{new.get(key, 'nothing')}; resume with the settings of the checkpoint, or train "
                "into another file"
            )


def _renamed(old: dict[str, Any]) -> dict[str, Any]:
    """Settings of an older program by the names that they have now."""
    drops, falling = old.pop("plan.drops", []), old.pop("plan.falling", False)
    if drops:
        old |= {"plan.lr_decay.kind": "StepDecay", "plan.lr_decay.after": drops}
    if falling:
        old["plan.lr_decay.kind"] = "LinearDecay"
    return old


def _settings(record: Record) -> dict[str, Any]:
    try:
        found = json.loads(record.text("settings"))
    except json.JSONDecodeError as error:
        raise UserError(f"{record.path}: 'settings' is damaged: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{record.path}: 'settings' is damaged: it is no table")
    return found


def _flat(tree: Any, where: str = "") -> Iterable[tuple[str, Any]]:
    """The leaves of nested mappings, by their path."""
    if not isinstance(tree, dict):
        yield where, tree
        return
    for key, value in tree.items():
        yield from _flat(value, f"{where}.{key}" if where else key)
