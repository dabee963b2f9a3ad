"""Settings of a training by their names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from analogdfc.errors import UserError, shown
from analogdfc.training import Experiment
from analogdfc.tuning.parts import Part, Setting, parts_of
from analogdfc.tuning.values import allowed, read_value

__all__ = ["Setting", "settings_of", "with_settings"]

# Parts that there are where feedback is learned, in a phase of its own.
_LEARNED = ("sleep", "feedback")


def settings_of(experiment: Experiment) -> dict[str, Setting]:
    """All that can be set of a training, by name, with what it is now.

    Args:
        experiment: the training. What its rule doesn't have is not among them, and neither are
            those of other kinds, such as the derivative gain of a controller that is PI.

    >>> settings_of(Experiment(rule="dfc"))["controller.k_p"].value
    2.0
    """
    found: dict[str, Setting] = {}
    for part in parts_of(experiment):
        found |= {s.name: s for s in part.settings(experiment).values()}
    return found


def with_settings(experiment: Experiment, given: Mapping[str, Any]) -> Experiment:
    """A training with other settings.

    Where a second rule takes over, a setting is that of both where both have it.

    Args:
        experiment: the training.
        given: values by names of `settings_of`, or of those of a kind that is given too, such as
            `controller.k_d` with `controller.kind` PD. A value may be a text.

    Raises:
        UserError: a name that there isn't, with those that there are, or a value that isn't
            allowed.

    >>> changed = with_settings(Experiment(rule="dfc"), {"controller.k_p": "1.5", "steps": 500})
    >>> changed.options["controller"].k_p, changed.options["steps"]
    (1.5, 500)
    """
    switch = experiment.switch
    if switch is None:
        return _changed(experiment, given)
    then = replace(experiment, rule=switch.rule, options=switch.options, switch=None)
    mine, its = _known(experiment, given), _known(then, given)
    if nobody := [name for name in given if name not in {*mine, *its}]:
        _refuse(experiment, nobody[0], given)
    options = _changed(then, {name: given[name] for name in its}).options
    found = _changed(experiment, {name: given[name] for name in mine})
    return replace(found, switch=replace(switch, options=options))


def _changed(experiment: Experiment, given: Mapping[str, Any]) -> Experiment:
    parts = parts_of(experiment)
    left = dict(given)
    for part in parts:
        known = _settings(part, experiment, given)
        said = {
            short: _read(setting, left.pop(setting.name))
            for short, setting in known.items()
            if setting.name in left
        }
        if said:
            experiment = part.put(experiment, said)
    for name in left:
        _refuse(experiment, name, given)
    return experiment


def _known(experiment: Experiment, given: Mapping[str, Any]) -> list[str]:
    """Those of the names that a training has settings of."""
    names = {
        setting.name
        for part in parts_of(experiment)
        for setting in _settings(part, experiment, given).values()
    }
    return [name for name in given if name in names]


def _settings(part: Part, of: Experiment, given: Mapping[str, Any]) -> dict[str, Setting]:
    """Settings of a part, of the kind that is given where one is."""
    kind = given.get(part.named("kind")) if part.kinds else None
    return part.settings(of, kind if isinstance(kind, str) else None)


def _read(setting: Setting, value: Any) -> Any:
    try:
        return read_value(setting.hint, value)
    except ValueError as error:
        raise UserError(
            f"{setting.name} = {shown(value)}: it must be {allowed(setting.hint)}"
        ) from error


def _refuse(experiment: Experiment, name: str, given: Mapping[str, Any]) -> None:
    """Say what a name that there isn't could have been.

    Raises:
        UserError: always.
    """
    parts, rule = parts_of(experiment), experiment.rule
    for part in parts:
        owners = [
            kind
            for kind in part.kinds
            if name in {s.name for s in part.settings(experiment, kind).values()}
        ]
        if owners:
            raise UserError(f"{name}: belongs to {part.named('kind')} {' or '.join(owners)}")
    if name.partition(".")[0] in _LEARNED and experiment.plan.feedback is None:
        raise UserError(f"{name}: belongs to feedback that is learned; this one is fixed")
    names = [s.name for part in parts for s in _settings(part, experiment, given).values()]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    # A word that is right but for its prefix, such as k_p for controller.k_p.
    near += [other for other in names if other.rpartition(".")[2] == name.rpartition(".")[2]]
    hint = f"did you mean {near[0]}? T" if near else "t"
    raise UserError(
        f"unknown setting {shown(name)} of the rule {rule!r}; {hint}here are {', '.join(names)}"
    )
