"""`analogdfc search`: the papers' hyperparameter search."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from rich.table import Table

from analogdfc import records, trees
from analogdfc.cli._console import make_console
from analogdfc.cli._design import JSON
from analogdfc.cli._options import SEED, Count, bundled, check_outputs, settings
from analogdfc.cli._where import Where, where_options
from analogdfc.datasets import DATASETS
from analogdfc.errors import UserError
from analogdfc.files import beside, check_own, stamped, write_whole
from analogdfc.jobs import check_spool, spool_beside
from analogdfc.plots import save_figure
from analogdfc.searching import (
    Journal,
    Search,
    best_of,
    importance,
    numbers,
    preset_text,
    search,
    search_figure,
    search_tree,
)
from analogdfc.training.experiment import DTYPES

_EXAMPLES = """\b
Example:
  analogdfc search fashion-mnist --rule dfc-ssa --trials 40 --epochs 10 -o mine.h5
  analogdfc train --preset mine.toml
"""


@dataclass(frozen=True)
class _Options:
    """What is searched; None where the command line says nothing."""

    rule: str
    feedback: str | None
    dataset: str | None
    trials: int
    epochs: int | None
    rungs: str | None
    together: int
    pretraining: int | None
    samples: int | None
    held_out: int | None
    seed: int
    dtype: str
    data: Path | None

    def search(self, preset: str) -> Search:
        """The search."""
        told = {f: getattr(self, f) for f in self.__dataclass_fields__ if f != "rungs"}
        if self.epochs is None:
            blank = Search(preset=preset, rule=self.rule, feedback=self.feedback)
            told["epochs"] = blank.base.plan.epochs
        rungs = Search.rungs_of(told["epochs"]) if self.rungs is None else _epochs(self.rungs)
        return Search(preset=preset, rungs=rungs, **{k: told[k] for k in told})


def _epochs(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(",")) if text != "none" else ()
    except ValueError as error:
        raise UserError(
            f"--rungs {text}: epochs with commas between, such as 1,3, or none"
        ) from error


@click.command("search", short_help="Search for hyperparameters as the papers did.",
               epilog=_EXAMPLES)  # fmt: skip
@click.argument("preset")
@click.option("--rule", default="dfc-ssa", show_default=True, help="Rule of the preset.")
@click.option(
    "--feedback",
    type=click.Choice(["learned", "fixed"]),
    help="Feedback weights of deep feedback control.  [default: learned where the preset has it]",
)
@click.option("--dataset", type=click.Choice([*DATASETS]), help="Another set than the preset's.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder with the files of the data set."
)
@click.option(
    "--trials",
    type=Count(1, most=10**5),
    default=200,
    show_default=True,
    help="Settings that are tried, rounded up to whole generations; with more, the same command "
    "goes on.",
)
@click.option("--epochs", type=Count(1), help="Of a training.  [default: the preset's]")
@click.option(
    "--rungs",
    metavar="EPOCH,EPOCH",
    help="After each of these epochs the better half goes on; none for no pruning.  [default: "
    "thirds of --epochs, and thirds of these]",
)
@click.option(
    "--together",
    type=Count(1, most=10**4),
    default=8,
    show_default=True,
    help="Trials of a generation, whose settings are drawn from what those before it gave.",
)
@click.option(
    "--pretraining", type=Count(0), help="Epochs of feedback learning before.  [default: the "
    "preset's]"
)  # fmt: skip
@click.option("--samples", type=Count(1), help="Learn from so many samples.  [default: all]")
@click.option(
    "--held-out", type=Count(1), help="Validation and test samples of each.  [default: all]"
)
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    help="Seed of the search, and of weights and order of samples in each trial.",
)
@click.option(
    "--dtype",
    type=click.Choice(list(DTYPES)),
    default="float64",
    show_default=True,
    help="Precision in which is computed.",
)
@click.option("--jobs", type=Count(1), help="Trainings at a time.  [default: cores]")
@where_options
@JSON
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("search.h5"),
    show_default=True,
    help="Record to write (HDF5); beside it go the figure as .png, the best settings as the preset "
    ".toml, and the journal as .journal.",
)
@bundled("options", _Options)
def command(
    preset: str, jobs: int | None, as_json: bool, output: Path, where: Where, options: _Options
) -> None:
    """Search for hyperparameters as the papers did, within the intervals that they print.

    Settings are drawn by the Tree-structured Parzen Estimator and judged by the best validation
    figure. The journal has all that was found: the same command goes on from it after an interrupt
    of any kind, and a trial that was lost from the epoch it had come to. With any number of workers
    the trials are the same.
    """
    torch.set_num_threads(1)
    journal_path, figure, found = (beside(output, e) for e in (".journal", ".png", ".toml"))
    check_outputs(output, figure, found)
    folder = beside(output, ".runs")
    check_spool(folder, output, journal_path)
    plan = options.search(preset)

    def say(text: str) -> None:
        click.echo(text, err=True)

    with spool_beside(folder) as spool:
        journal = Journal(journal_path, plan.described())
        with where.open(jobs, plan.together, kept=folder) as executor:
            trials = search(plan, journal, spool, executor, say)
        shares = importance(plan, trials)
        results = numbers(plan, trials, shares)
        tree = search_tree(plan, journal, trials, shares)
        records.write(output, {**tree, "settings": settings()})
        _write(found, preset_text(plan, journal, trials))
        save_figure(search_figure(plan, trials, shares), figure)
    if as_json:
        click.echo(json.dumps(trees.as_json(results), indent=2))
        return
    best = best_of(trials)
    make_console().print(_table(plan, best.values, shares))
    states = ", ".join(
        f"{results[s]} {s}" for s in ("complete", "pruned", "diverged", "failed") if results[s]
    )
    click.echo(f"{len(trials)} trials: {states}")
    click.echo(f"best: trial {best.number}, {plan.measure} {plan.shown(best.value)}")
    click.echo(f"wrote {output}, {figure} and {found}; the journal is {journal_path}")


def _write(path: Path, text: str) -> None:
    check_own(path)
    try:
        write_whole(path, stamped(text, "#").encode())
    except OSError as error:
        raise UserError(f"{path}: can't be written: {error.strerror}") from error


def _table(plan: Search, values: dict[str, object], shares: dict[str, float]) -> Table:
    table = Table(title=f"{plan.preset}, {plan.rule}", title_justify="left")
    for head in ("hyperparameter", "searched", "best", "importance, %"):
        table.add_column(head, no_wrap=True)
    for one in plan.space:
        value = values[one.name]
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        share = f"{100 * shares[one.name]:.0f}" if one.name in shares else ""
        table.add_row(one.name, one.text.replace("[", r"\["), text, share)
    return table
