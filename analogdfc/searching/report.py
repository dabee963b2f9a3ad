"""What a search leaves: a record, and the best settings as a preset with their provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analogdfc import records
from analogdfc.records import Quantity, Tree
from analogdfc.searching.journal import Journal, Trial
from analogdfc.searching.study import best_of
from analogdfc.searching.trials import Search

__all__ = ["numbers", "preset_text", "search_tree"]


def numbers(
    plan: Search, trials: Sequence[Trial], importance: Mapping[str, float]
) -> dict[str, Any]:
    """The numbers of a search, for JSON.

    Args:
        plan: what was searched.
        trials: its trials.
        importance: of the hyperparameters.
    """
    best = best_of(trials)
    states = [trial.state for trial in trials]
    return {
        "trials": len(trials),
        **{state: states.count(state) for state in ("complete", "pruned", "diverged", "failed")},
        "measure": plan.measure,
        "best_trial": best.number,
        "best_value": best.value,
        "best_values": best.values,
        "best_settings": {n: list(v) if isinstance(v, tuple) else v for n, v in best.settings},
        "importance": dict(importance),
    }


def search_tree(
    plan: Search, journal: Journal, trials: Sequence[Trial], importance: Mapping[str, float]
) -> Tree:
    """The record of a search, but for what the command was told.

    Args:
        plan: what was searched.
        journal: which has the versions that it was searched with.
        trials: its trials.
        importance: of the hyperparameters.
    """
    best = best_of(trials)
    return {
        "kind": "search",
        "provenance": records.provenance(),
        "programs": {str(k): text for k, text in enumerate(journal.programs, start=1)},
        "space": {one.name: one.text for one in plan.space},
        "trials": {f"{one.number:04d}": _trial(plan, one) for one in trials},
        "best": {"trial": best.number, "value": _value(plan, best.value)},
        "importance": {
            name: Quantity(share, "1", "share of the spread at the first rung")
            for name, share in importance.items()
        },
        "preset": preset_text(plan, journal, trials),
    }


def _trial(plan: Search, trial: Trial) -> dict[str, Any]:
    reached = {
        f"epoch {epochs}": _value(plan, value)
        for epochs, value in trial.reached.items()
        if np.isfinite(value)
    }
    return {
        "state": trial.state,
        "why": trial.why,
        "values": {
            name: value if isinstance(value, bool | str) else Quantity(value, "1", name)
            for name, value in trial.values.items()
        },
        **({"reached": reached} if reached else {}),
    }


def _value(plan: Search, value: float) -> Quantity:
    return Quantity(value, "1", f"least {plan.measure} so far")


def preset_text(plan: Search, journal: Journal, trials: Sequence[Trial]) -> str:
    """The best settings as a preset file, with where they come from.

    Args:
        plan: what was searched.
        journal: which has the versions that it was searched with.
        trials: its trials.
    """
    best, base = best_of(trials), plan.base
    command = records.provenance()["command"]
    source = (
        f"trial {best.number} of {len(trials)} of a search (TPE, seed {plan.seed}) from "
        f"{plan.preset}: {plan.measure} {plan.shown(best.value)} within {plan.epochs} epochs on "
        f"{_data(plan)}; {command}; {'; '.join(journal.programs)}"
    )
    told = {
        "preset": plan.preset,
        "rule": plan.rule,
        **({"feedback": base.feedback} if base.controlled else {}),
        **({} if plan.dataset is None else {"dataset": plan.dataset, "sizes": plan.sizes}),
        **({} if plan.samples is None else {"samples": plan.samples}),
    }
    further = {"epochs": plan.epochs}
    if plan.pretraining is not None and base.plan.feedback is not None:
        further["feedback.pretraining_epochs"] = plan.pretraining
    lines = [
        "# Settings that a search found: a preset of one's own.",
        "[card]",
        f"title = {json.dumps(f'{plan.preset}, {plan.rule}, searched')}",
        f"source = {json.dumps(source)}",
        "",
        "[experiment]",
        *(f"{name} = {_toml(value)}" for name, value in told.items()),
        "",
        "[set]",
        *(f"{name} = {_toml(value)}" for name, value in (*further.items(), *best.settings)),
    ]
    return "\n".join(lines) + "\n"


def _data(plan: Search) -> str:
    what = plan.dataset or plan.base.dataset
    return what if plan.samples is None else f"{plan.samples} samples of {what}"


def _toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value)
    return repr(value)
