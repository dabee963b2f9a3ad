"""The public names: each says what it is and what it takes, and takes nothing else."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pydantic
import pytest
from torch import Tensor

import analogdfc

MOST_OF_A_KIND = 3
"""Arguments of one kind up to which a constructor may take them without their names."""

ROOMS = sorted(
    module.name for module in pkgutil.iter_modules(analogdfc.__path__) if module.name != "cli"
)


def names(room: str) -> list[str]:
    """What a room hands out."""
    return list(importlib.import_module(f"analogdfc.{room}").__all__)


def everything() -> Iterator[tuple[str, str]]:
    """Room and name of everything public; each room has its `__all__`."""
    for room in ROOMS:
        yield from ((room, name) for name in names(room))


PUBLIC = list(everything())
OWN = "analogdfc"


def entries(documented: object) -> dict[str, str]:
    """What a docstring says of each argument, in its sections 'Args' and 'Attributes'."""
    found: dict[str, str] = {}
    section, current = "", list[str]()
    for line in inspect.cleandoc(getattr(documented, "__doc__", None) or "").splitlines():
        if title := re.fullmatch(r"(\w+):", line):
            section, current = title[1], []
        elif section in ("Args", "Attributes"):
            if entry := re.match(r"    (\*{0,2}\w+(?:, \w+)*):(.*)", line):
                current = [name.strip(" *") for name in entry[1].split(",")]
                current = [name for name in current if name not in found]
                found |= dict.fromkeys(current, entry[2])
            else:
                found |= {name: found[name] + " " + line.strip() for name in current}
    return found


def inherited(kind: type, member: str = "") -> dict[str, str]:
    """The same of a class, or of a method of it, and of those that it derives from."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        there = vars(base).get(member) if member else base
        if getattr(base, "__module__", "").startswith(OWN) and there is not None:
            found |= entries(getattr(there, "__func__", there))
    return found


def is_tensor(hint: object) -> bool:
    """Whether an argument is a tensor, perhaps one, or several in a row."""
    if hint is Tensor:
        return True
    origin = typing.get_origin(hint)
    parts = [is_tensor(part) for part in typing.get_args(hint)]
    united = origin in (typing.Union, types.UnionType)
    rows = (isinstance(origin, type) and issubclass(origin, (tuple, list))) or "Sequence" in str(
        hint
    )
    return any(parts) and (united or bool(rows))


SHAPE = re.compile(r"\(\.\.\.\)|\([^()]*,[^()]*\)|shape|scalar|broadcast")


def hints(thing: Any) -> dict[str, Any]:
    """The types of its arguments, or of its fields."""
    try:
        return typing.get_type_hints(thing)
    except NameError:  # a name that only a type checker knows
        return dict(getattr(thing, "__annotations__", {}))


def undescribed(call: Callable[..., Any], said: dict[str, str], types_of: Any, general: str
                ) -> Iterator[str]:  # fmt: skip
    """Arguments without a word, and tensors without a shape.

    Args:
        call: what takes them.
        said: what is said of each.
        types_of: what has their types.
        general: what is said of all.
    """
    known = hints(types_of)
    for name in inspect.signature(call).parameters:
        if name in ("self", "cls"):
            continue
        if name not in said:
            yield f"{name} isn't described"
        elif is_tensor(known.get(name)) and not SHAPE.search(said[name] + general):
            yield f"{name}: a tensor without a shape"


def summary(thing: object) -> str:
    """What a docstring says before its sections."""
    return re.split(r"\n(?:Args|Attributes):\n", inspect.cleandoc(thing.__doc__ or ""))[0]


def is_record(kind: type) -> bool:
    """Whether it is a named tuple, or a type whose members are all there will be."""
    return issubclass(kind, (tuple, enum.Enum))


def constructor(kind: type) -> tuple[Any, Any] | None:
    """What takes the constructor's arguments and what has their types; None for none of its own."""
    if issubclass(kind, (enum.Enum, Exception)) or getattr(kind, "_is_protocol", False):
        return None
    if issubclass(kind, tuple) or dataclasses.is_dataclass(kind):
        return kind, kind
    return (kind, kind.__init__) if "__init__" in vars(kind) else None


def faults(thing: Any) -> Iterator[str]:
    """What is missing in the description of a public function or class."""
    if inspect.isfunction(thing):
        if not thing.__doc__:
            yield "has no docstring"
        yield from undescribed(thing, entries(thing), thing, "")
    if not inspect.isclass(thing):
        return
    if not thing.__doc__:
        yield "has no docstring"
    if issubclass(thing, pydantic.BaseModel):
        yield from (f"{n} isn't described" for n in {*thing.model_fields} - {*inherited(thing)})
    elif made := constructor(thing):
        yield from undescribed(made[0], inherited(thing), made[1], summary(thing))
    for name, member in list(vars(thing).items()):  # models are built when first asked
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        if not function.__doc__:
            yield f"{name} has no docstring"
        if not isinstance(member, property):
            for fault in undescribed(function, inherited(thing, name), function, ""):
                yield f"{name}: {fault}"


@pytest.mark.parametrize(("room", "name"), PUBLIC)
def test_every_argument_is_described_and_every_tensor_has_a_shape(room: str, name: str) -> None:
    thing = getattr(importlib.import_module(f"analogdfc.{room}"), name)
    assert not list(faults(thing))


def open_ended(thing: Any) -> Iterator[str]:
    """Arguments of a function or class that take whatever is given."""
    functions: dict[str, Any] = {"": thing} if inspect.isfunction(thing) else {}
    if inspect.isclass(thing):
        shown = [n for n in vars(thing) if not n.startswith("_")]
        shown += ["__init__"] if constructor(thing) else []
        members = {n: vars(thing).get(n) for n in shown}
        functions = {n: getattr(m, "__func__", m) for n, m in members.items()}
    for name, function in functions.items():
        if not inspect.isfunction(function):
            continue
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                yield f"{name}(**{parameter.name})"


# These pass options on by their names; what they refuse is tried below.
PASSED_ON = {
    ("cards", "Card"): ["replace(**values)"],
    ("jobs", "Processes"): ["submit(**kwargs)"],
    ("learning", "DirectFeedbackAlignment"): ["__init__(**options)"],
    ("learning", "FeedbackAlignment"): ["__init__(**options)"],
    ("learning", "SinglePhaseDFC"): ["__init__(**kwargs)"],
    ("learning", "SteadyStateDFC"): ["__init__(**kwargs)"],
    ("learning", "make_rule"): ["(**options)"],
    ("sizing", "Problem"): ["of(**options)"],
}


@pytest.mark.parametrize(("room", "name"), PUBLIC)
def test_nothing_takes_arguments_that_it_does_not_know(room: str, name: str) -> None:
    thing = getattr(importlib.import_module(f"analogdfc.{room}"), name)
    assert list(open_ended(thing)) == PASSED_ON.get((room, name), [])
    if inspect.isclass(thing) and issubclass(thing, pydantic.BaseModel):
        assert thing.model_config.get("extra") == "forbid"


def test_options_that_are_passed_on_are_refused_where_nobody_knows_them() -> None:
    learning = importlib.import_module("analogdfc.learning")
    network = analogdfc.Network([3, 4, 2])
    wrong: dict[str, Any] = {"learning_rat": 0.1}
    for rule in learning.RULES:
        with pytest.raises((TypeError, analogdfc.UserError), match="learning_rat"):
            learning.make_rule(rule, network, **wrong)
    card = analogdfc.Card.load("discrete_100mhz")
    with pytest.raises(analogdfc.UserError, match="unknown key 'gbw'"):
        card.replace("amplifier", gbw=1e6)


def kind_of(hint: Any) -> str:
    """What counts as one kind of argument: a type, whether or not it may be left out."""
    parts = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
    parts -= {type(None)}
    return "number" if parts and parts <= {int, float} else " | ".join(sorted(map(str, parts)))


def by_place(kind: type) -> list[str]:
    """Arguments that a constructor takes without their names, of kinds of which it has many."""
    made = constructor(kind)
    if made is None or is_record(kind) or issubclass(kind, pydantic.BaseModel):
        return []  # records are made by the package and taken apart by their places
    known = hints(made[1])
    parameters = dict(inspect.signature(made[0]).parameters)
    parameters.pop("self", None)
    kinds = {n: kind_of(known.get(n, p.annotation)) for n, p in parameters.items()}
    many = {k for k, count in Counter(kinds.values()).items() if count > MOST_OF_A_KIND}
    return [
        name
        for name, parameter in parameters.items()
        if kinds[name] in many and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]


@pytest.mark.parametrize(("room", "name"), PUBLIC)
def test_many_arguments_of_one_kind_are_given_by_their_names(room: str, name: str) -> None:
    thing = getattr(importlib.import_module(f"analogdfc.{room}"), name)
    if inspect.isclass(thing):
        assert not by_place(thing)


# The walk itself, on things that are as they should not be.


class Wrong:
    """A class.

    Args:
        a: of something.
    """

    def __init__(self, a: Tensor, b: float, c: float, d: float, e: float | None = None) -> None:
        pass

    def method(self, x: float, **rest: float) -> None:
        """Do something."""

    def silent(self) -> None:
        pass


def test_the_walk_sees_what_is_missing() -> None:
    Wrong.__module__ = "analogdfc.wrong"
    assert list(faults(Wrong)) == [
        "a: a tensor without a shape",
        *(f"{name} isn't described" for name in "bcde"),
        "method: x isn't described",
        "method: rest isn't described",
        "silent has no docstring",
    ]
    assert list(open_ended(Wrong)) == ["method(**rest)"]
    assert by_place(Wrong) == ["b", "c", "d", "e"]
    assert is_tensor(tuple[Tensor, ...] | None)
    assert not is_tensor(Callable[[Tensor], Tensor])
