"""The technology card of what was characterised."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from analogdfc import __version__
from analogdfc.cards.technology import Card
from analogdfc.cards.writing import card_text
from analogdfc.characterise.sheet import Sheet
from analogdfc.errors import UserError

__all__ = ["characterised"]

_LONGEST = 120


def characterised(base: Card, sheets: Sequence[Sheet]) -> str:
    """A card (TOML) with the numbers of cells that were characterised under the same conditions.

    Args:
        base: the card whose other entries it keeps.
        sheets: one a cell.

    Returns:
        Its text; comments say of what, with what and under which conditions it was made.

    Raises:
        UserError: numbers that no card may have, such as an offset of more than the supply.
    """
    values: dict[str, dict[str, float | None]] = {}
    sources: dict[str, str] = {}
    for sheet in sheets:
        for name, value in sheet.entries.items():
            section, _, key = name.partition(".")
            values.setdefault(section, {})[key] = None if value is None else _rounded(value)
            sources[name] = _ascii(f"characterised: {sheet.cell}, {sheet.conditions}")
    card = base
    for section, found in values.items():
        card = _replaced(card, section, found)
    conditions = " and ".join(dict.fromkeys(sheet.conditions for sheet in sheets))
    name = _ascii(f"{', '.join(s.cell for s in sheets)} of {conditions}")[:_LONGEST]
    source = _ascii(
        f"{', '.join(s.cell for s in sheets)}: characterised, {conditions}; the rest as in the "
        f"card {base.card.name}"
    )[:400]
    identity = base.card.model_copy(update={"name": name, "source": source})
    text = card_text(card.model_copy(update={"card": identity}), base, sources)
    return Card.parse(f"{_comments(base, sheets)}{text}", "the card of what was found").text


def _replaced(card: Card, section: str, values: Mapping[str, float | None]) -> Card:
    try:
        return card.replace(section, **values)
    except UserError as error:
        raise UserError(f"what was found makes no card: {error}") from error


def _comments(base: Card, sheets: Sequence[Sheet]) -> str:
    lines = [
        f"Technology card of analogdfc {__version__}, from `analogdfc characterise`.",
        f"Base, from which every entry comes that has another source: {base.card.name}",
    ]
    for sheet in sheets:
        lines += [f"{sheet.cell}: {sheet.conditions}; simulated by {sheet.made_by}"]
        for number in sheet.numbers.values():
            lines.append(f"  {number.label}: {number.text}")
    return "".join(f"# {_ascii(line)}\n" for line in lines)


def _rounded(value: float) -> float:
    """A number with the digits that a simulation has."""
    return float(f"{value:.6g}")


def _ascii(text: str) -> str:
    """What a card's texts may hold."""
    return re.sub(r"[^\x20-\x7e]", "?", text)
