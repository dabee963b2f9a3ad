"""What a learning rule says of itself: its entry in the registry and its class's docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from typing import Any

from analogdfc.learning.base import RuleInfo
from analogdfc.learning.making import arguments

# A description that leaves the word to another class.
_ELSEWHERE = re.compile(r"(see|as|as of) `")


def facts(info: RuleInfo) -> dict[str, Any]:
    """What the registry says, without the class.

    Args:
        info: of the rule.
    """
    return {field: value for field, value in info._asdict().items() if field != "rule"}


def described(info: RuleInfo) -> dict[str, Any]:
    """All about one rule: `facts`, its class, and its arguments with defaults and descriptions.

    Args:
        info: of the rule.
    """
    about, _ = _docstring(info.rule)
    taken = [
        {
            "name": name,
            "default": None if p.default is inspect.Parameter.empty else repr(p.default),
            "description": description(info.rule, name),
        }
        for name, p in arguments(info.rule).items()
        if name != "network"
    ]
    where = f"{info.rule.__module__}.{info.rule.__name__}"
    return {**facts(info), "class": where, "description": about, "arguments": taken}


def description(kind: type, name: str) -> str:
    """What the docstring of a class, or of the one that it refers to, says of an argument.

    Args:
        kind: the class; of a dataclass the arguments are among the attributes.
        name: of the argument.
    """
    texts = [text for base in kind.__mro__ if (text := _docstring(base)[1].get(name))]
    spelt_out = (text for text in texts if not _ELSEWHERE.match(text))
    return next(spelt_out, texts[0] if texts else "")


@cache
def _docstring(kind: type) -> tuple[str, dict[str, str]]:
    """What a class's own docstring says: the text above the first section, and the arguments."""
    text = inspect.cleandoc(vars(kind).get("__doc__") or "")
    about, *rest = re.split(r"^(\w+):\n", text, flags=re.MULTILINE)
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    found: dict[str, str] = {}
    for name in ("Attributes", "Args"):
        found |= dict(_entries(_indented(sections.get(name, ""))))
    return about.strip(), found


def _indented(section: str) -> str:
    """The section without what follows it, less indented, in a docstring."""
    lines = takewhile(lambda line: not line or line.startswith(" "), section.splitlines())
    return inspect.cleandoc("\n" + "\n".join(lines))


def _entries(section: str) -> Iterator[tuple[str, str]]:
    for entry in re.split(r"\n(?=\w)", section):
        name, colon, text = entry.partition(":")
        if colon:
            yield name.strip(), " ".join(text.split())
