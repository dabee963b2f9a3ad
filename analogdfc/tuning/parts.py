"""The parts of a training that have settings of their own, and where each is kept."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast, get_type_hints

from analogdfc.controller import CONTROLLERS, PI, Controller, I, kind_of, retuned
from analogdfc.dynamics import Euler, Radau
from analogdfc.dynamics.neuron import ConductanceNeuron
from analogdfc.dynamics.settling import DirectSolution, Simulation
from analogdfc.dynamics.single_phase import Filters
from analogdfc.errors import UserError
from analogdfc.learning import (
    Dropout,
    FastControl,
    LearnedTargets,
    LearningRule,
    Monitor,
    SleepPhase,
    get_rule,
)
from analogdfc.learning.describing import description
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.learning.making import arguments
from analogdfc.training import (
    DECAYS,
    OPTIMIZERS,
    Experiment,
    FeedbackPlan,
    FeedbackStart,
    InitialWeights,
    Plan,
)
from analogdfc.tuning.values import Choice, is_simple

__all__ = ["Part", "Setting", "parts_of"]


@dataclass(frozen=True)
class Setting:
    """One thing that can be set.

    Attributes:
        name: its name, such as `controller.k_p`.
        hint: type of its values.
        value: what it is now; None where nothing is said, or where that is what it is.
        about: what it is, in words.
    """

    name: str
    hint: Any
    value: Any
    about: str


class Part(ABC):
    """Settings that are kept together.

    Attributes:
        prefix: what their names begin with, before a dot; empty for nothing.
    """

    prefix: str

    @abstractmethod
    def settings(self, of: Experiment, kind: str | None = None) -> dict[str, Setting]:
        """The settings by their names without the prefix.

        Args:
            of: the training.
            kind: of this part, where there are several; None for the present one.
        """

    @abstractmethod
    def put(self, into: Experiment, said: Mapping[str, Any]) -> Experiment:
        """The training with other values.

        Args:
            into: the training.
            said: the values by their names without the prefix.
        """

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of this part that can be chosen by a setting `kind`; none where there is one."""
        return ()

    def named(self, name: str) -> str:
        """A setting's name with the prefix.

        Args:
            name: without it.
        """
        return f"{self.prefix}.{name}" if self.prefix else name


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Arguments of a dataclass or a named tuple that can be written as a text, by their names."""
    known = get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
    else:
        names = list(getattr(kind, "_fields", ()))
    return {name: known[name] for name in names if is_simple(known[name])}


def _needed(kind: type) -> list[str]:
    """Arguments of a dataclass without a default."""
    if not dataclasses.is_dataclass(kind):
        return []
    none = dataclasses.MISSING
    return [
        f.name
        for f in dataclasses.fields(kind)
        if f.init and f.default is none and f.default_factory is none
    ]


@dataclass(frozen=True)
class Bundle(Part):
    """The fields of an object: a dataclass, or a named tuple.

    Attributes:
        prefix: see `Part`.
        classes: classes of the object by their names; of several, `kind` chooses.
        read: the object in a training; None where there is none.
        write: the training with another object.
        default: what is changed where there is none; None for the class's own defaults.
        only: the fields that count; None for all.
    """

    prefix: str
    classes: Mapping[str, type]
    read: Callable[[Experiment], Any]
    write: Callable[[Experiment, Any], Experiment]
    default: Any = None
    only: tuple[str, ...] | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """See `Part`."""
        return tuple(self.classes) if len(self.classes) > 1 else ()

    def settings(self, of: Experiment, kind: str | None = None) -> dict[str, Setting]:
        """See `Part`."""
        now = self._now(of)
        name = kind if kind is not None and kind in self.classes else self._kind(now)
        made = self.classes[name]
        found = {
            field: Setting(
                self.named(field), hint, getattr(now, field, None), description(made, field)
            )
            for field, hint in _hints(made).items()
            if self.only is None or field in self.only
        }
        if self.kinds:
            about = f"which of them the {self.prefix.rpartition('.')[2]} is"
            choice = Choice(self.kinds)
            found = {"kind": Setting(self.named("kind"), choice, name, about), **found}
        return found

    def put(self, into: Experiment, said: Mapping[str, Any]) -> Experiment:
        """See `Part`."""
        now = self._now(into)
        chosen = said.get("kind") if self.kinds else None
        values = {name: value for name, value in said.items() if name != "kind" or not self.kinds}
        name = chosen or self._kind(now)
        kind = self.classes[name]
        if isinstance(now, Controller) and issubclass(kind, Controller):
            return self.write(into, retuned(now, chosen, values))
        kept = {f: getattr(now, f) for f in _hints(kind) if hasattr(now, f)}
        if type(now) is kind and dataclasses.is_dataclass(kind):
            return self.write(into, replace(cast(Any, now), **values))
        if missing := [f for f in _needed(kind) if f not in {**kept, **values}]:
            names = ", ".join(self.named(f) for f in missing)
            raise UserError(f"{self.prefix}: needs {names} too")
        return self.write(into, kind(**{**kept, **values}))

    def _now(self, of: Experiment) -> Any:
        found = self.read(of)
        return self.default if found is None else found

    def _kind(self, now: Any) -> str:
        if isinstance(now, Controller):
            return kind_of(now)
        names = (name for name, kind in self.classes.items() if type(now) is kind)
        return next(names, next(iter(self.classes)))


class Arguments(Part):
    """The arguments of the rule itself that are numbers or words."""

    prefix = ""

    def settings(self, of: Experiment, kind: str | None = None) -> dict[str, Setting]:
        """See `Part`."""
        rule = get_rule(of.rule).rule
        return {
            name: Setting(
                name,
                hint,
                of.options.get(name, arguments(rule)[name].default),
                description(rule, name),
            )
            for name, hint in _argument_hints(rule).items()
            if is_simple(hint) and name not in rule.ignored
        }

    def put(self, into: Experiment, said: Mapping[str, Any]) -> Experiment:
        """See `Part`."""
        return replace(into, options={**into.options, **said})


@cache
def _argument_hints(rule: type[LearningRule]) -> dict[str, Any]:
    """Types of the arguments of a rule's class and of those below it."""
    found: dict[str, Any] = {}
    for base in rule.__mro__:
        if "__init__" in vars(base):
            found = {**get_type_hints(vars(base)["__init__"]), **found}
    return {name: found[name] for name in arguments(rule) if name in found}


def _argument(
    name: str, classes: Mapping[str, type], default: Any, only: tuple[str, ...] | None = None
) -> Bundle:
    """An object that is an argument of the rule."""

    def read(of: Experiment) -> Any:
        return of.options.get(name)

    def write(into: Experiment, value: Any) -> Experiment:
        return replace(into, options={**into.options, name: value})

    return Bundle(name, classes, read, write, default, only)


def _held(
    prefix: str, classes: Mapping[str, type], *path: str, only: tuple[str, ...] | None = None
) -> Bundle:
    """An object that a training has as an attribute, or an attribute of one."""

    def read(of: Any) -> Any:
        for name in path:
            of = getattr(of, name)
        return of

    def write(into: Experiment, value: Any) -> Experiment:
        owners: list[Any] = [into]
        for name in path[:-1]:
            owners.append(getattr(owners[-1], name))
        for owner, name in zip(reversed(owners), reversed(path), strict=True):
            value = replace(owner, **{name: value})
        assert isinstance(value, Experiment)
        return value

    return Bundle(prefix, classes, read, write, None, only)


_OBJECTS: tuple[Bundle, ...] = (
    _argument("controller", CONTROLLERS, PI()),
    _argument("neuron", {"conductance": ConductanceNeuron}, None),
    _argument("integrator", {"euler": Euler, "radau": Radau}, Euler()),
    _argument("sleep", {"sleep": SleepPhase}, SleepPhase()),
    _argument("filters", {"filters": Filters}, Filters()),
    _argument("dropout", {"dropout": Dropout}, None),
    _argument("control", {**CONTROLLERS, "fast": FastControl}, I(alpha=0.01)),
    _argument("settling", {"simulation": Simulation, "direct": DirectSolution}, Simulation()),
    _argument("monitor", {"monitor": Monitor}, None),
)
"""Arguments of rules that are objects; a rule without the argument doesn't have them."""


def _sleeps(kind: type[LearningRule], plan: Plan) -> bool:
    """Whether feedback is learned, so that the settings of the sleep phase mean something."""
    both = issubclass(kind, FeedbackControl) and kind.learns_both
    return both or plan.feedback is not None


def parts_of(experiment: Experiment) -> list[Part]:
    """The parts of a training that there is something to set in.

    Args:
        experiment: the training.
    """
    kind = get_rule(experiment.rule).rule
    taken = arguments(kind)
    plan = ["epochs", "batch_size", "clip", "patience"]
    left_out = {*kind.ignored, *(() if _sleeps(kind, experiment.plan) else ("sleep",))}
    # Where the rule freezes layers itself, that is its argument.
    freezing = () if "frozen" in taken else ("frozen",)
    found: list[Part] = [
        Arguments(),
        *(part for part in _OBJECTS if part.prefix in taken and part.prefix not in left_out),
        _held("", {"plan": Plan}, "plan", only=(*plan, *freezing)),
        _held("optimizer", OPTIMIZERS, "plan", "optimizer"),
        _held("lr_decay", DECAYS, "plan", "lr_decay"),
        _held("weights", {"weights": InitialWeights}, "initial"),
    ]
    if issubclass(kind, LearnedTargets):
        loss = kind.default_reconstruction()
        found.append(_argument("reconstruction", {"reconstruction": type(loss)}, loss))
    if pathway := FeedbackStart.settings_of(kind):
        found.append(_held("pathway", {"pathway": FeedbackStart}, "feedback_start", only=pathway))
    if experiment.plan.feedback is not None:
        found += [
            _held("feedback", {"plan": FeedbackPlan}, "plan", "feedback"),
            _held("feedback.optimizer", OPTIMIZERS, "plan", "feedback", "optimizer"),
            _held("feedback.pretraining", OPTIMIZERS, "plan", "feedback", "pretraining"),
        ]
    return found
