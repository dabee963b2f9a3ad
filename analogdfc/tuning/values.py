"""Values of settings: texts and numbers read as the type that an argument has."""

from __future__ import annotations

import math
import types
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

__all__ = ["Choice", "allowed", "is_simple", "read_value"]

_NONE = "none"
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PLAIN: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    type(None): _NONE,
}


class Choice(NamedTuple):
    """The type of a word that is one of some.

    Attributes:
        words: those that there are.
    """

    words: tuple[str, ...]


def is_simple(hint: Any) -> bool:
    """Whether values of a type can be written as a text.

    Args:
        hint: the type of an argument, with names resolved.
    """
    if hint in _PLAIN or _words(hint):
        return True
    if _is_union(hint):
        return all(map(is_simple, get_args(hint)))
    return _is_row(hint) and all(part in (int, float) for part in _parts(hint))


def allowed(hint: Any) -> str:
    """What a value of a type may be, for people.

    Args:
        hint: a type that `is_simple`.
    """
    if hint in _PLAIN:
        return _PLAIN[hint]
    if words := _words(hint):
        return "one of " + ", ".join(words)
    if _is_union(hint):
        return " or ".join(allowed(part) for part in get_args(hint))
    parts = _parts(hint)
    what = "whole numbers" if parts[0] is int else "numbers"
    count = "" if _open(hint) else f"{len(parts)} "
    return f"{count}{what} with commas between"


def read_value(hint: Any, value: Any) -> Any:
    """A value as a type has it.

    Args:
        hint: a type that `is_simple`.
        value: a text, as of a command line, or a value that is of the type already, as in TOML.

    Raises:
        ValueError: it isn't of the type.
    """
    if _is_union(hint):
        return _first(get_args(hint), value)
    if words := _words(hint):
        if value not in words:
            raise ValueError
        return value
    if _is_row(hint):
        return _row(hint, value)
    return _one(hint, value)


def _first(kinds: Sequence[Any], value: Any) -> Any:
    for kind in sorted(kinds, key=lambda kind: kind is str):  # every text is a word
        try:
            return read_value(kind, value)
        except ValueError:
            continue
    raise ValueError


def _one(kind: Any, value: Any) -> Any:
    if kind is type(None):
        if value is None or value == _NONE:
            return None
        raise ValueError
    if kind is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _WORDS:
            return _WORDS[value.lower()]
        raise ValueError
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    if kind is str:
        return str(value)
    if kind is int:
        if isinstance(value, float):
            raise ValueError
        return int(value)
    number = float(value)
    if math.isnan(number):
        raise ValueError
    return number


def _row(hint: Any, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = [word for word in value.split(",") if word.strip()]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, list | tuple):
        raise ValueError
    parts = _parts(hint)
    if _open(hint):
        parts = parts * len(value)
    if len(parts) != len(value):
        raise ValueError
    return tuple(_one(part, one) for part, one in zip(parts, value, strict=True))


def _words(hint: Any) -> tuple[str, ...]:
    """The words that there are; none where a type isn't that of words."""
    if isinstance(hint, Choice):
        return hint.words
    return get_args(hint) if get_origin(hint) is Literal else ()


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _is_row(hint: Any) -> bool:
    return get_origin(hint) in (tuple, Collection, Sequence, list)


def _open(hint: Any) -> bool:
    """Whether there may be any number of values."""
    return get_origin(hint) is not tuple or Ellipsis in get_args(hint)


def _parts(hint: Any) -> tuple[Any, ...]:
    return tuple(part for part in get_args(hint) if part is not Ellipsis)
