"""`analogdfc work`: a worker of a shared folder."""

from __future__ import annotations

from pathlib import Path

import click

from analogdfc.cli._options import Count, Finite
from analogdfc.jobs import work

_EXAMPLES = """\b
Examples:
  analogdfc work /shared/runs                    # here, and on other machines
  sbatch --array=1-8 --wrap 'analogdfc work /shared/runs'
"""


@click.command("work", short_help="Do the runs that a shared folder offers.", epilog=_EXAMPLES)
@click.argument("spool", type=click.Path(path_type=Path))
@click.option("--wait", "stay", is_flag=True, help="Stay for runs that are offered later.")
@click.option(
    "--heartbeat",
    type=Finite(min=0.05, max=3600),
    default=10.0,
    show_default=True,
    help="Seconds after which the worker says that it is there; others take its run after six "
    "times as long without.",
)
@click.option(
    "--attempts",
    type=Count(1),
    default=3,
    show_default=True,
    help="How often a run may be lost with its process or worker, without a new checkpoint.",
)
def command(spool: Path, stay: bool, heartbeat: float, attempts: int) -> None:
    """Do the runs that a shared folder offers, beside other workers, until all have ended.

    Commands with `--on spool --address SPOOL` offer their runs there, and so do programs that open
    `analogdfc.jobs.engine_of("spool", SPOOL)`. Start as many workers as there are cores to use, on
    any machine that has the folder. One that is killed
    costs no run: another takes it, and goes on from its checkpoint where it left one. A run that
    fails is told and its log kept in the folder; the others are done.
    """
    tally = work(
        spool,
        stay=stay,
        every=heartbeat,
        attempts=attempts,
        say=lambda text: click.echo(text, err=True),
    )
    if tally.others:
        click.echo(f"left to others: {tally.others}", err=True)
    failed = f", {tally.failed} failed; why is in {spool / 'failed'}" if tally.failed else ""
    click.echo(f"{tally.done} runs done{failed}")
