"""Technology cards as files: every number with its unit and where it comes from."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel

from analogdfc.cards.entries import InSI
from analogdfc.cards.technology import Card

__all__ = ["card_text", "readers"]


def readers(card: type[Card] = Card) -> dict[str, InSI]:
    """What reads the numbers of a card, by name, 'section.key'.

    Args:
        card: the class of the card.
    """
    found = {}
    for section, field in card.model_fields.items():
        kind = field.annotation
        if section == "card" or not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            continue
        for key, inner in kind.model_fields.items():
            found[f"{section}.{key}"] = _reader(inner)
    return found


def _reader(field: Any) -> InSI:
    """What reads the number of a field."""
    found = [field.annotation, *field.metadata]
    while found:
        part = found.pop()
        reader = getattr(part, "func", None)
        if isinstance(reader, InSI):
            return reader
        found.extend(get_args(part))
        found.extend(getattr(part, "__metadata__", ()))
    raise AssertionError(f"a field without a unit: {field}")


def card_text(card: Card, original: Card, source: str | Mapping[str, str]) -> str:
    """A card as a TOML text.

    Args:
        card: what is written.
        original: card whose sources hold where the two have the same number.
        source: of every other number; or of those named, 'section.key', whatever their number.
    """
    sources = tomllib.loads(original.text)
    named = {} if isinstance(source, str) else source
    lines = ["[card]"]
    lines += [f"{key} = {_quoted(getattr(card.card, key))}" for key in ("name", "source")]
    units = {name: reader.si_unit for name, reader in readers().items()}
    for section, values in card.model_dump(exclude_none=True).items():
        if section == "card" or not values:
            continue
        lines += ["", f"[{section}]"]
        for key, value in values.items():
            name = f"{section}.{key}"
            same = getattr(getattr(original, section), key) == value
            old = sources.get(section, {}).get(key, {}).get("source")
            about = named.get(name) or (old if same and old else str(source))
            unit = units[name]
            lines.append(
                f'{key} = {{ value = {value!r}, unit = "{unit}", source = {_quoted(about)} }}'
            )
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML string; JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False)
