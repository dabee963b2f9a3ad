"""`analogdfc verify-theory`: the toy experiments of the paper, measured and drawn."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from analogdfc import records
from analogdfc.cli._console import make_console
from analogdfc.cli._options import Count, Finite, as_options, bundled, check_outputs, refuse
from analogdfc.experiments import FIGURES, Curves, Finding, Plan, find
from analogdfc.experiments.figures import draw
from analogdfc.experiments.keeping import check_finished, runs_tree, take_over
from analogdfc.experiments.plan import BUDGETS
from analogdfc.experiments.results import CurvesRun
from analogdfc.files import beside
from analogdfc.jobs import Spool, check_spool, processes, run_kept, spool_beside
from analogdfc.plots import save_figure
from analogdfc.records import Quantity

_EXAMPLES = """\b
Example:
  analogdfc verify-theory --figure 3 --quick -o theory.h5
"""


@dataclass(frozen=True)
class _Options:
    """How much is run; None where the plan says it."""

    quick: bool
    epochs: int | None
    pretraining: int | None
    sweep_epochs: int | None
    feedback_epochs: int | None
    damping: float


@click.command(
    "verify-theory",
    short_help="Measure and draw what the theory of DFC predicts.",
    epilog=_EXAMPLES,
)
@click.option(
    "--figure",
    "figures",
    type=click.Choice([*FIGURES, "all"], case_sensitive=False),
    multiple=True,
    default=["all"],
    show_default=True,
    help="Figure of the paper to make; may be given more than once.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="A reduced version of everything, for a first look; says which claims it is too short "
    "for.",
)
@click.option("--epochs", type=Count(1), help="Epochs of figures 3 and s2.  [default: 300]")
@click.option(
    "--pretraining",
    type=Count(0),
    help="Epochs of feedback learning before forward learning, figures 3, 4 and s2.  [default: 50]",
)
@click.option(
    "--sweep-epochs",
    type=Count(1),
    help="Epochs of each of the 63 runs of figure 4.  [default: 10]",
)
@click.option(
    "--feedback-epochs",
    type=Count(1),
    help="Epochs of feedback learning, figures s3 to s5.  [default: 30]",
)
@click.option(
    "--damping",
    type=Finite(min=0),
    default=0.0,
    show_default=True,
    help="Damping of the ideal MN and GN updates, figures 3, 4 and s2: 0 in the paper's text, 0.1 "
    "in its code.",
)
@click.option(
    "--seed",
    type=Count(0, most=2**32),
    default=0,
    show_default=True,
    help="Seed of the student, its feedback, the order of samples and the noise.",
)
@click.option("--jobs", type=Count(1), help="Runs at a time, a process each.  [default: cores]")
@click.option(
    "--resume",
    is_flag=True,
    help="Take the runs that the record has already, where their settings are the same.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings for machines.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("theory.h5"),
    show_default=True,
    help="Record to write (HDF5); each figure goes beside it, as theory_fig3.png.",
)
@bundled("options", _Options)
def command(
    figures: tuple[str, ...],
    seed: int,
    jobs: int | None,
    resume: bool,
    as_json: bool,
    output: Path,
    options: _Options,
) -> None:
    """Measure and draw what the theory of DFC predicts.

    The toy experiments of Meulemans et al. 2021: feedback configurations (2), conditions, alignment
    and stability during learning (3, s2), for other target stepsizes and leaks (4), and feedback
    learning by itself (s3 to s5). Says for each claim of the paper whether the numbers agree.

    Runs that are finished are kept in a folder beside the output until all are: the same command
    goes on with them where it was interrupted.
    """
    torch.set_num_threads(1)
    chosen = [f for f in FIGURES if f in figures or "all" in figures]
    for name, having in BUDGETS.items():
        if not {*chosen} & {*having}:
            have = "figure {} has" if len(having) == 1 else "figures {} have"
            refuse(f"only {have.format(', '.join(having))} it; nothing is run with it", name)
    plan = _plan(seed, options)
    pictures = {f: beside(output, f"_fig{f}.png") for f in chosen}
    check_outputs(output, *pictures.values())
    folder = beside(output, ".runs")
    check_spool(folder, output)
    if not resume:
        with as_options("resume"):
            check_finished(output)
    work = plan.runs(chosen)
    with spool_beside(folder) as spool:
        if resume and (others := take_over(output, work, spool)):
            said = f"{output}: {others} runs were made with another version; they are done anew"
            click.echo(said, err=True)
        runs = _run(work, spool, jobs or os.cpu_count() or 1)
        findings = [finding for figure in chosen for finding in find(figure, runs, plan)]
        numbers = [_numbers(finding) for finding in findings]
        results = {f"{k:02d}": _stored(finding) for k, finding in enumerate(findings, start=1)}
        records.write(output, {**runs_tree(work, runs, seed), "results": results})
    drawn = []
    for figure, path in pictures.items():
        heading = f"as figure {figure.upper()} of the paper; seed {seed}"
        drawn.append(save_figure(draw(figure, runs, heading), path))
    if as_json:
        click.echo(json.dumps({"seed": seed, "findings": numbers}, indent=2, allow_nan=False))
    else:
        _show(findings, runs)
        click.echo(f"wrote {', '.join(map(str, [output, *drawn]))}")


def _plan(seed: int, options: _Options) -> Plan:
    plan = Plan.quick() if options.quick else Plan()
    given = {k: v for k, v in asdict(options).items() if v is not None}
    toy = {k: given[k] for k in ("epochs", "pretraining", "damping") if k in given}
    sizes = {k: given[k] for k in ("sweep_epochs", "feedback_epochs") if k in given}
    return replace(plan, toy=replace(plan.toy, seed=seed, **toy), **sizes)


def _run(work: Sequence[CurvesRun], spool: Spool, jobs: int) -> dict[str, Curves]:
    """Curves of all runs by name; those that are kept are read."""
    left = sum(run not in spool for run in work)
    if left < len(work):
        click.echo(f"{spool.folder}: kept {len(work) - left} of {len(work)} runs", err=True)
    total = sum(run.work for run in work)
    with (
        tqdm(total=total, desc="theory", file=sys.stderr, disable=None, leave=False) as bar,
        processes(min(jobs, max(left, 1))) as pool,
    ):
        found = run_kept(work, spool, pool, bar.update)
    return {run.name: curves for run, curves in zip(work, found, strict=True)}


def _numbers(finding: Finding) -> dict[str, Any]:
    """A finding for JSON; numbers that are not finite become null."""
    return {
        "figure": finding.figure,
        "statement": finding.statement,
        "units": finding.units,
        "numbers": {n: v if math.isfinite(v) else None for n, v in finding.numbers.items()},
        "agrees": finding.agrees,
        "unjudged": finding.unjudged,
    }


def _stored(finding: Finding) -> dict[str, Any]:
    numbers = {n.replace("/", "_"): Quantity(v, finding.units) for n, v in finding.numbers.items()}
    return {
        "figure": finding.figure,
        "statement": finding.statement,
        **({} if finding.agrees is None else {"agrees": finding.agrees}),
        "unjudged": finding.unjudged,
        "numbers": numbers,
    }


def _show(findings: Sequence[Finding], runs: Mapping[str, Curves]) -> None:
    table = Table(title="What the paper says and what was measured", title_justify="left")
    table.add_column("figure", no_wrap=True)
    table.add_column("agrees", no_wrap=True)
    table.add_column("statement, and the numbers")
    for finding in findings:
        unit = "" if finding.units == "1" else f" {finding.units}"
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in finding.numbers.items())
        agrees = Text("yes") if finding.agrees else Text("NO", style="bold")
        text = Text(f"{finding.statement}\n").append(f"{numbers}{unit}", style="dim")
        if finding.agrees is None:
            agrees = Text("-")
            text.append(f"\n{finding.unjudged}", style="italic")
        table.add_row(finding.figure, agrees, text)
    console = make_console()
    console.print(table)
    if short := sum(finding.agrees is None and finding.needs is not None for finding in findings):
        console.print(
            f"{short} of {len(findings)} statements need a longer run for a verdict; without "
            "--quick and with as many epochs as by default it is long enough for all",
            highlight=False,
            soft_wrap=True,
        )
    for name, curves in runs.items():
        if "stopped" in curves:
            click.echo(f"{name} stopped in {curves['stopped']}", err=True)
