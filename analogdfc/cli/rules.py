"""`analogdfc rules`: the learning rules, and what each of them needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from analogdfc.cli._console import make_console
from analogdfc.cli._options import MODULE
from analogdfc.errors import UserError
from analogdfc.learning import RuleInfo
from analogdfc.learning.describing import described, facts
from analogdfc.onchip.registry import RULES, get_rule
from analogdfc.training.modules import load_module

_LEGEND = """\
local in space: what a synapse learns from is there where it is; in time: it is there when it \
learns.
`analogdfc rules NAME` says more about one of them, `analogdfc train --rule NAME` trains with it."""

# The first line keeps click from wrapping the examples.
_EXAMPLES = """\b
Examples:
  analogdfc rules
  analogdfc rules ddtp-linear
  analogdfc rules --family "target propagation"
"""


@click.command("rules", short_help="List the learning rules and what each needs.", epilog=_EXAMPLES)
@click.argument("name", required=False)
@click.option("--family", help="Only the rules of this family.")
@MODULE
@click.option("--json", "as_json", is_flag=True, help="Print the facts for machines.")
def command(name: str | None, family: str | None, module: Path | None, as_json: bool) -> None:
    """List the learning rules and what each needs.

    With the NAME of a rule, all about that one: its equation, feedback, locality and paper, and
    the arguments that its class takes.
    """
    if module is not None:
        load_module(module)
    if name is not None and family is not None:
        raise UserError(f"--family {family}: a rule is named already, {name!r}; give one of them")
    if name is not None:
        found = described(get_rule(name))
        if as_json:
            click.echo(json.dumps(found, indent=2))
        else:
            _show_one(found)
        return
    infos = _of(family)
    if as_json:
        click.echo(json.dumps([facts(info) for info in infos], indent=2))
    else:
        _show_all(infos)


def _of(family: str | None) -> list[RuleInfo]:
    """The rules of a family, or of all, those of a family together."""
    families = list(dict.fromkeys(info.family for info in RULES.values()))
    if family is not None and family not in families:
        raise UserError(f"unknown family {family!r}; there are {', '.join(sorted(families))}")
    chosen = families if family is None else [family]
    return [info for one in chosen for info in RULES.values() if info.family == one]


def _show_all(infos: list[RuleInfo]) -> None:
    console = make_console()
    table = Table()
    table.add_column("rule", no_wrap=True)
    table.add_column("equation, feedback, paper")
    table.add_column("local in space")
    table.add_column("local in time")
    family = ""
    for info in infos:
        if info.family != family:
            family = info.family
            table.add_section()
            table.add_row("", f"[bold]{family}[/bold]", "", "")
        about = f"{_plain(info.equation)}\nfeedback: {info.feedback}\n[dim]{info.source}[/dim]"
        table.add_row(info.name, about, info.local_space, info.local_time)
    console.print(table)
    console.print(_LEGEND, style="dim", highlight=False, soft_wrap=True)


def _show_one(found: dict[str, Any]) -> None:
    console = make_console()
    facts = Table(show_header=False, box=None)
    facts.add_column(no_wrap=True)
    facts.add_column()
    for label, key in (
        ("rule", "name"),
        ("family", "family"),
        ("equation", "equation"),
        ("feedback", "feedback"),
        ("local in space", "local_space"),
        ("local in time", "local_time"),
        ("paper", "source"),
        ("class", "class"),
    ):
        facts.add_row(label, _plain(found[key]))
    console.print(facts, highlight=False)
    console.print("\n" + _plain(found["description"]) + "\n", highlight=False)
    table = Table()
    table.add_column("argument", no_wrap=True)
    table.add_column("default", no_wrap=True)
    table.add_column("what it is")
    for argument in found["arguments"]:
        default = "" if argument["default"] is None else argument["default"]
        table.add_row(argument["name"], default, _plain(argument["description"]))
    console.print(table)


def _plain(text: str) -> str:
    """Text whose brackets are no markup."""
    return text.replace("[", r"\[")
