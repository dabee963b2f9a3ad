"""How much of a training is run, on which set, and what can't be judged of it then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from analogdfc.datasets import is_there, where_to_get
from analogdfc.errors import UserError
from analogdfc.presets import load_preset
from analogdfc.reproduction.cells import Column, Method
from analogdfc.reproduction.items import Missing, Scope
from analogdfc.reproduction.training import TrainingRun

__all__ = ["ENOUGH", "chosen", "cut", "epochs_of", "refuse_missing", "taken", "training", "wanted"]

ENOUGH = 0.1
"""Part of the paper's epochs after which the order of methods and their angles are judged."""

_STANDINS = {"mnist": "mnist5000"}
"""Sets of which a part is at hand where they are not."""

_SHORT = "digits"
"""What stands in for any set that isn't there in the short form."""

_SHORT_BATCH, _SHORT_HELD_OUT = 32, 200


def taken(dataset: str, scope: Scope) -> str | None:
    """The set that is learned from: the paper's, what stands in, or None.

    Args:
        dataset: the paper's.
        scope: how much is run.
    """
    if is_there(dataset, scope.data):
        return dataset
    other = _STANDINS.get(dataset)
    if other is not None and is_there(other):
        return other
    return _SHORT if scope.quick else None


def refuse_missing(name: str, lacks: Sequence[Missing], rest: str = "") -> None:
    """Refuse to run on data that aren't there and for which nothing stands in.

    Args:
        name: of the item.
        lacks: what it lacks.
        rest: what can be run all the same.

    Raises:
        UserError: such data; the message has where to get them.
    """
    for lack in lacks:
        if not lack.instead:
            raise UserError(
                f"{name}: the data set {lack.what} isn't there. {where_to_get(lack.what)} Its "
                f"folder is given as `data` or in $ANALOGDFC_DATA. {_parts(lack.what)}{rest}In the "
                f"short form, `quick`, {_SHORT} stands in."
            )


def _parts(dataset: str) -> str:
    """What stands in for a set in full runs, once it is there."""
    other = _STANDINS.get(dataset)
    return f"A part of it, {other}, would stand in: {where_to_get(other)} " if other else ""


def epochs_of(column: Column, scope: Scope) -> int:
    """Epochs of forward learning.

    Args:
        column: the experiment.
        scope: how much is run.
    """
    if scope.epochs is not None:
        return scope.epochs
    if scope.quick:
        return 1
    if column.epochs is not None:
        return column.epochs
    return load_preset(column.preset).experiment("bp").plan.epochs


def cut(column: Column, scope: Scope, share: float = 1.0) -> str:
    """Why a verdict can't be had at so large a share of the paper's epochs; empty if it can.

    Args:
        column: the experiment.
        scope: how much is run.
        share: of the epochs.
    """
    epochs, whole = epochs_of(column, scope), epochs_of(column, Scope())
    reasons = []
    if scope.quick:
        reasons.append("short form")
    found = taken(column.dataset, scope)
    if found != column.dataset:
        reasons.append(f"on {found}")
    if epochs < share * whole and not scope.quick:
        reasons.append(f"{epochs} of {whole} epochs")
    return ", ".join(reasons)


def training(
    column: Column,
    method: Method,
    scope: Scope,
    seed: int,
    *,
    angles: str = "",
    every: int = 100,
    shown: int = 0,
    fields: int = 0,
) -> TrainingRun:
    """The training of a method in an experiment.

    Args:
        column: the experiment; its set, or what stands in, is there.
        method: the method.
        scope: how much is run.
        seed: of the run.
        angles: as of `TrainingRun`.
        every: the same; every step in the short form.
        shown: the same.
        fields: the same.
    """
    dataset = taken(column.dataset, scope)
    assert dataset is not None
    run = TrainingRun(
        preset=f"{column.preset}{method.variant}",
        rule=method.rule,
        feedback=method.feedback,
        dataset=dataset,
        seed=seed,
        epochs=epochs_of(column, scope),
        simulate=column.simulate and method.rule == "dfc-ss",
        target_stepsize=column.target_stepsize,
        alpha=column.alpha,
        pretraining=column.pretraining,
        angles=angles,
        every=1 if scope.quick and angles else every,
        shown=shown,
        fields=fields,
        data=scope.data,
    )
    if not scope.quick:
        return run
    return replace(
        run,
        pretraining=1 if column.pretraining is None else column.pretraining,
        samples=column.short,
        held_out=_SHORT_HELD_OUT,
        batch_size=min(_SHORT_BATCH, column.short),
    )


def chosen(item: str, names: Sequence[str], scope: Scope) -> list[str]:
    """The methods of an item that are wanted.

    Args:
        item: its name.
        names: its methods.
        scope: what was asked for.

    Raises:
        UserError: no method has such a name.
    """
    for pattern in scope.rows:
        if not any(wanted(name, (pattern,)) for name in names):
            raise UserError(
                f"rows {pattern!r}: {item} has none of that name; it has {', '.join(names)}"
            )
    return [name for name in names if wanted(name, scope.rows)]


def wanted(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a cell has a name that was asked for, as a whole, or by its row or column.

    Args:
        name: column and row, such as 'mnist/bp', or a row alone.
        patterns: what was asked for; none for all.
    """
    column, _, row = name.partition("/")
    asked = [p.lower() for p in patterns]
    return not asked or any(fnmatchcase(part, p) for p in asked for part in (name, column, row))
