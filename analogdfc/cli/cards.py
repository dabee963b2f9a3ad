"""`analogdfc cards`: circuits, devices and digital machines, and what is written of one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.markup import escape
from rich.table import Table

from analogdfc.cards import BaseCard, Card, DeviceCard, find
from analogdfc.cards.base import is_path, parse_toml
from analogdfc.cli._console import make_console
from analogdfc.digital.card import DigitalCard

# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc cards
  analogdfc cards pcm_nandakumar2019
"""

_KINDS: tuple[type[BaseCard], ...] = (Card, DeviceCard, DigitalCard)


class Listed(NamedTuple):
    """A card as the list shows it; conductances in siemens, None for a digital machine."""

    name: str
    kind: str
    technology: str
    title: str
    g_min: float | None
    g_max: float | None
    source: str
    text: str

    @classmethod
    def of(cls, name: str, card: BaseCard) -> Listed:
        """The summary of a card."""
        low, high = card.window or (None, None)
        about = card.card
        return cls(name, card.kind, card.technology, about.name, low, high, about.source, card.text)

    def about(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        conductances = {}
        if self.g_min is not None:
            conductances = {"g_min_siemens": self.g_min, "g_max_siemens": self.g_max}
        return {
            "name": self.name,
            "kind": self.kind,
            "technology": self.technology,
            "title": self.title,
            **conductances,
            "source": self.source,
        }


@click.command(
    "cards",
    short_help="List all cards, or show one.",
    epilog=_EXAMPLES,
)
@click.argument("name", required=False, metavar="[NAME|PATH]")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers for machines.")
def command(name: str | None, as_json: bool) -> None:
    """List all cards, or show one.

    Without an argument, all cards that come with the package; with the name of one or the path of
    your own, every number of it with its unit and source.
    """
    if name is None:
        all_cards = [Listed.of(n, kind.load(n)) for kind in _KINDS for n in kind.builtin()]
        if as_json:
            click.echo(json.dumps([card.about() for card in all_cards], indent=2))
        else:
            _show_list(all_cards)
        return
    found = find(name, _KINDS)
    card = Listed.of(Path(name).stem if is_path(name) else name, found)
    data = parse_toml(card.text, name)
    if as_json:
        sections = {k: v for k, v in data.items() if k != "card"}
        about = {**card.about(), "remarks": found.remarks, "sections": sections}
        click.echo(json.dumps(about, indent=2))
    else:
        _show(card, data)
        for remark in found.remarks:
            click.echo(f"Warning: {remark}")


def _show_list(cards: list[Listed]) -> None:
    table = Table(title="Cards", title_justify="left")
    for column in ("name", "kind", "technology"):
        table.add_column(column, no_wrap=True)
    table.add_column("conductance\nuS", justify="right", no_wrap=True)
    table.add_column("source", ratio=1)
    for card in cards:
        window = ""
        if card.g_min is not None and card.g_max is not None:
            window = f"{1e6 * card.g_min:.4g} to {1e6 * card.g_max:.4g}"
        table.add_row(card.name, card.kind, escape(card.technology), window, escape(card.source))
    make_console().print(table)


def _show(card: Listed, data: dict[str, Any]) -> None:
    console = make_console()
    for line in (f"{card.title} ({card.kind} card '{card.name}')", f"source: {card.source}"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    table = Table()
    table.add_column("section", no_wrap=True)
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold", min_width=12)
    table.add_column("unit", no_wrap=True)
    table.add_column("of", no_wrap=True)
    table.add_column("source", overflow="fold", ratio=1)
    for section, content in data.items():
        if section == "card":
            continue
        for keys in content if isinstance(content, list) else [content]:
            for k, row in enumerate(_rows(keys)):
                table.add_row(section if k == 0 else "", *map(escape, row))
            table.add_section()
    console.print(table)


def _rows(keys: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """The lines of a section: key, value, unit, argument, source."""
    rows = []
    for key, entry in keys.items():
        for part in entry if isinstance(entry, list) else [entry]:
            if isinstance(part, dict):
                row = (_value(part), str(part["unit"]), str(part.get("of", "")), part["source"])
            else:
                row = (str(part), "", "", "")
            rows.append((key, *row))
    return rows


def _value(entry: dict[str, Any]) -> str:
    """The numbers of an entry, with the form and the limits of a curve."""
    value = entry["value"]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if "form" in entry:
        text = f"{entry['form']}: {text}"
    limits = [f"{k} {entry[k]}" for k in ("min", "max", "below") if k in entry]
    return "; ".join([text, *limits])
