"""What a wrong card is answered: the place, and what is allowed there."""

from __future__ import annotations

import difflib
from typing import get_args

from pydantic import BaseModel, ValidationError

from analogdfc.errors import shown


def _initials(name: str) -> str:
    return "".join(word[0] for word in name.split("_"))


def _short(name: object) -> str:
    """A name as it is written, without the quotes; not more of it than tells which."""
    return shown(str(name))[1:].rstrip("'\"")


def _section_model(model: type[BaseModel], section: str) -> type[BaseModel] | None:
    """The class of a section, also of one that may be missing or that is there several times."""
    found = [model.model_fields[section].annotation]
    while found:
        kind = found.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
        found.extend(get_args(kind))
    return None


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """One line about what is wrong with a card: the place, and what is allowed there."""
    problems = error.errors()
    # A misspelt key is also a missing one; the misspelling is what has to be mended.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    if not problem["loc"]:  # about the card as a whole
        return problem["msg"].removeprefix("Value error, ")
    section, *rest = problem["loc"]
    number = next((part for part in rest if isinstance(part, int)), None)
    keys = [_short(part) for part in rest if isinstance(part, str)]
    key = keys[0] if keys else ""
    head = f"[{_short(section)}]" if number is None else f"[{section}] no. {number + 1}"
    place = f"{head} {key}".strip()
    if problem["type"] == "extra_forbidden":
        inner = _section_model(model, str(section)) if rest else model
        fields = [f for f in inner.model_fields if f != "text"] if inner else []
        unknown = key or str(section)
        near = difflib.get_close_matches(unknown, fields, n=1, cutoff=0.5)
        initials = [f for f in fields if "_" in f and _initials(f) in unknown]
        same = difflib.get_close_matches(unknown, fields, n=1, cutoff=0.8)
        guess = same or initials or near
        hint = f"did you mean {guess[0]!r}?" if guess else f"allowed are {', '.join(fields)}"
        return f"{place}: unknown key {shown(unknown)}; {hint}"
    if problem["type"] == "missing":
        return f"{place}: this key is missing"
    if problem["type"] == "string_pattern_mismatch":
        found = "".join(c for c in problem["input"] if not " " <= c <= "~")
        return f"{place}: {found[:8]!r} can't stand in a netlist; write printable ASCII characters"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    given = (
        f" = {shown(problem['input']['value'])} {_short(problem['input'].get('unit', ''))}"
        if (isinstance(problem["input"], dict) and "value" in problem["input"])
        else ""
    )
    return f"{place}{given}: {message}" if key else f"{place} {message}"
