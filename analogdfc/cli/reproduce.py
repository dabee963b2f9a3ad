"""`analogdfc reproduce`: a table or figure of a paper, done again."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from analogdfc import records
from analogdfc.cli._console import make_console
from analogdfc.cli._options import Count, as_options, bundled, check_outputs, refuse, settings
from analogdfc.cli._where import Where, where_options
from analogdfc.datasets import check_folder, where_to_get
from analogdfc.effort import in_words
from analogdfc.errors import UserError
from analogdfc.files import beside
from analogdfc.jobs import Run, Spool, check_spool, spool_beside
from analogdfc.plots import save_figure
from analogdfc.reproduction import ITEMS, Interval, Item, Row, Scope, collect, do, get_item
from analogdfc.reproduction.criterion import CRITERION
from analogdfc.reproduction.items import PAPERS
from analogdfc.reproduction.keeping import record_tree

# The first line keeps click from wrapping the examples.
_EXAMPLES = """\b
Examples:
  analogdfc reproduce --list
  analogdfc reproduce dfc/s5 --quick
  analogdfc reproduce dfc/table1 --rows 'fashion-mnist/*' --seeds 3 --epochs 10
  analogdfc reproduce dfc/table1 --rows 'fashion-mnist/*' --seeds 3 --epochs 10 --collect
"""


@dataclass(frozen=True)
class _Options:
    """How much is run."""

    quick: bool
    seeds: int | None
    epochs: int | None
    wanted: tuple[str, ...]
    folder: Path | None

    @property
    def scope(self) -> Scope:
        """The same for the library."""
        return Scope(
            self.quick,
            seeds=self.seeds,
            epochs=self.epochs,
            rows=self.wanted,
            data=self.folder,
        )


@click.command(
    "reproduce",
    short_help="Do a table or figure of a paper again, with a verdict.",
    epilog=_EXAMPLES,
)
@click.argument("item", metavar="PAPER/ITEM", required=False)
@click.option("--list", "listed", is_flag=True, help="Show all items with their state.")
@click.option(
    "--quick",
    is_flag=True,
    help="A short form, which shows that everything runs; it bears no verdicts that it is too "
    "short for.",
)
@click.option(
    "--seeds",
    type=Count(1, most=10**4),
    help="How many, from 0 on.  [default: as many as the paper's]",
)
@click.option("--epochs", type=Count(1), help="Epochs of learning.  [default: the paper's]")
@click.option(
    "--rows",
    "wanted",
    multiple=True,
    help="Cells of a table: 'fashion-mnist/bp', 'fashion-mnist/*' or 'bp'; several may be given.",
)
@click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder with the files of data sets, looked in before $ANALOGDFC_DATA.",
)
@click.option(
    "--collect",
    "collected",
    is_flag=True,
    help="Run nothing: make the table of what is done so far, another command's among it.",
)
@click.option("--jobs", type=Count(1), help="Runs at a time, a process each.  [default: cores]")
@click.option(
    "--runs",
    "spool_folder",
    type=click.Path(path_type=Path),
    help="Folder in which runs are kept; items can share one.  [default: beside the output, as "
    "dfc-table1.runs]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers for machines.")
@click.option("--markdown", is_flag=True, help="Print the table for a page of text.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Record to write (HDF5); the figure goes beside it as .png.  [default: named after the "
    "item, as dfc-table1.h5]",
)
@where_options
@bundled("options", _Options)
def command(
    item: str | None,
    listed: bool,
    collected: bool,
    jobs: int | None,
    spool_folder: Path | None,
    as_json: bool,
    markdown: bool,
    output: Path | None,
    where: Where,
    options: _Options,
) -> None:
    """Do a table or figure of a paper again.

    Shows what the paper prints beside what was measured, mean and spread over seeds, with a
    verdict. Runs are kept in a folder, trainings after every epoch: the same command goes on where
    it was interrupted, and one with more seeds does only these.
    """
    torch.set_num_threads(1)
    if listed:
        unused = ("item", "seeds", "epochs", "wanted", "collected", "jobs", "markdown")
        others = "spool_folder", "output", "on", "address"
        refuse("the list of items is all that --list gives", *unused, *others)
        _list(options.scope, as_json)
        return
    output = output or Path(f"{(item or 'reproduce').replace('/', '-')}.h5")
    pictures = beside(output, ".png")
    check_outputs(output, pictures)
    if item is None:
        raise UserError("no item: give one, such as dfc/table1; --list shows all")
    chosen, scope = get_item(item), options.scope
    check_folder(scope.data)
    spool_folder = spool_folder or beside(output, ".runs")
    check_spool(spool_folder, output, pictures)
    with as_options("rows", "data", "quick"):
        runs = chosen.runs(scope)
    for lack in chosen.missing(scope):
        click.echo(f"{item}: {lack}. {where_to_get(lack.what)}", err=True)
    spool = Spool(spool_folder)
    if not collected:
        _run(chosen, scope, runs, spool, where, jobs)
    form = "json" if as_json else "markdown" if markdown else "table"
    _show(chosen, scope, runs, spool, output, form)


def _run(
    item: Item,
    scope: Scope,
    runs: Sequence[Run[Any]],
    spool: Spool,
    where: Where,
    jobs: int | None,
) -> None:
    """Do what isn't done yet; what fails alone is told in the table."""
    with spool_beside(spool.folder, keep=True):
        left = [run for run in runs if run not in spool]
        whole = item.seconds(scope)
        short = "short form, " if scope.quick else ""
        click.echo(
            f"{item.name}: {short}{len(runs)} runs, about {in_words(whole)} of one core; "
            f"{len(runs) - len(left)} are kept in {spool.folder}",
            err=True,
        )
        total = sum(run.work for run in runs)
        with (
            tqdm(total=total, desc=item.name, file=sys.stderr, disable=None, leave=False) as bar,
            where.open(jobs, len(left), kept=spool.folder) as pool,
        ):
            found = do(runs, spool, pool, bar.update)
    for run, result in found.items():
        if isinstance(result, UserError):
            click.echo(f"{run.name}: {result}", err=True)


def _show(
    item: Item, scope: Scope, runs: Sequence[Run[Any]], spool: Spool, output: Path, form: str
) -> None:
    """Write record and figure, and print the table, of what a spool has."""
    state = collect(runs, spool)
    for line in state.damaged:
        click.echo(f"passed over: {line}", err=True)
    rows = item.rows(scope, state.found)
    tree = record_tree(item.name, settings(), rows, state.found)
    records.write(output, tree)
    drawn = item.draw(scope, state.found)
    written = [output, *([save_figure(drawn, beside(output, ".png"))] if drawn else [])]
    if form == "json":
        click.echo(json.dumps(_numbers(item, scope, rows, len(state.found), len(runs)), indent=2))
        return
    title = f"{item.name}: {item.title}{', short form' if scope.quick else ''}"
    if form == "markdown":
        click.echo(_markdown(rows))
    else:
        console = make_console()
        console.print(_table(title, rows))
        console.print(CRITERION, style="dim", highlight=False, soft_wrap=True)
    click.echo(f"{len(state.found)} of {len(runs)} runs are done")
    if state.seconds:
        click.echo(f"trainings took {in_words(state.seconds)} of processor time")
    for run, course in state.partial.items():
        last = course.history[-1]
        figures = f"test error {last.test.error:.2%}, test loss {last.test.loss:.4g}"
        click.echo(f"under way: {run.name}, epoch {last.epoch}: {figures}")
    if state.others:
        click.echo(f"{len(state.others)} of these were made with another version of the programs")
    click.echo(f"wrote {', '.join(map(str, written))}")


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("row, or what the paper says")
    table.add_column("unit", no_wrap=True)
    table.add_column("paper", no_wrap=True, justify="right")
    table.add_column("ours")
    table.add_column("seeds", justify="right")
    table.add_column("verdict")
    for row in rows:
        seeds = max((i.count for i in row.numbers.values()), default=0)
        verdict = Text(row.verdict, style="bold" if row.agrees is False else "")
        if row.why:
            verdict.append(f"\n{row.why}", style="dim")
        said = _told(row.published) if row.published else ""
        ours = "\n".join(f"{n} {_told(i)}".strip() for n, i in row.numbers.items())
        table.add_row(row.name, row.unit, said, ours, str(seeds), verdict)
    return table


def _markdown(rows: Sequence[Row]) -> str:
    lines = [
        "| row, or what the paper says | unit | paper | ours | seeds | verdict |",
        6 * "|---" + "|",
    ]
    for row in rows:
        seeds = max((i.count for i in row.numbers.values()), default=0)
        said = _told(row.published) if row.published else ""
        ours = ", ".join(f"{n} {_told(i)}".strip() for n, i in row.numbers.items())
        verdict = ", ".join(filter(None, [row.verdict, row.why]))
        cells = (row.name, row.unit, said, ours, str(seeds), verdict)
        lines.append(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |")
    return "\n".join(lines)


def _told(interval: Interval) -> str:
    """A mean with its spread, such as 10.60 ± 0.34."""
    size = interval.mean if math.isnan(interval.spread) else interval.spread
    if not math.isfinite(interval.mean):
        return str(interval.mean)
    if 0 < abs(interval.mean) < 1e-2:
        spread = "" if math.isnan(interval.spread) else f" ± {interval.spread:.1e}"
        return f"{interval.mean:.2e}{spread}"
    places = 2 if size == 0 else min(max(1 - math.floor(math.log10(abs(size))), 2), 4)
    spread = "" if math.isnan(interval.spread) else f" ± {interval.spread:.{places}f}"
    return f"{interval.mean:.{places}f}{spread}"


def _numbers(
    item: Item, scope: Scope, rows: Sequence[Row], done: int, count: int
) -> dict[str, Any]:
    return {
        "item": item.name,
        "title": item.title,
        "source": PAPERS[item.paper],
        "short_form": scope.quick,
        "runs_done": done,
        "runs": count,
        "criterion": CRITERION,
        "missing": [str(lack) for lack in item.missing(scope)],
        "rows": [
            {
                "name": row.name,
                "unit": row.unit,
                "published": _of(row.published) if row.published else None,
                "ours": {name or "value": _of(i) for name, i in row.numbers.items()},
                "agrees": row.agrees,
                "why": row.why,
            }
            for row in rows
        ],
    }


def _of(interval: Interval) -> dict[str, Any]:
    mean, spread = interval.mean, interval.spread
    return {
        "mean": mean if math.isfinite(mean) else None,
        "spread": spread if math.isfinite(spread) else None,
        "seeds": interval.count,
    }


def _list(scope: Scope, as_json: bool) -> None:
    """All items: what can be run, on what, how long, and why not."""
    found = {name: _state(item, scope) for name, item in ITEMS.items()}
    if as_json:
        items = [{"item": n, "title": ITEMS[n].title, **s} for n, s in found.items()]
        click.echo(json.dumps(items, indent=2))
        return
    for paper, source in PAPERS.items():
        table = Table(title=f"{paper}: {source}", title_justify="left")
        for column in ("item", "what it shows", "state", "full", "short form"):
            table.add_column(column, no_wrap=column in ("item", "full", "short form"))
        for name, state in found.items():
            if ITEMS[name].paper == paper:
                full, short = (
                    "" if state[k] is None else in_words(state[k])
                    for k in ("full_seconds", "short_seconds")
                )
                table.add_row(name, ITEMS[name].title, state["state"], full, short)
        make_console().print(table)
    click.echo("full, short form: about so much time of one core")


def _state(item: Item, scope: Scope) -> dict[str, Any]:
    """What an item lacks, in words, and how long it takes."""
    lacking = item.missing(Scope(data=scope.data))
    whole = all(lack.instead for lack in lacking)
    told = "; ".join(map(str, lacking))
    return {
        "full_seconds": item.seconds(Scope(data=scope.data)) if whole else None,
        "short_seconds": item.seconds(Scope(quick=True, data=scope.data)),
        "state": f"runs{f', but {told}' if told else ''}",
    }
