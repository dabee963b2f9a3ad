"""`analogdfc size --accuracy`: the loosest chip that learns nearly as well as the ideal rule."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table

from analogdfc import records, trees
from analogdfc.cards.technology import Card
from analogdfc.cli._console import make_console
from analogdfc.cli._design import progress_bar
from analogdfc.cli._options import Count, Finite, as_options, settings
from analogdfc.cli._size import si
from analogdfc.cli._where import Where
from analogdfc.datasets import DATASETS
from analogdfc.effort import in_words
from analogdfc.files import beside, stamped, write_whole
from analogdfc.jobs import spool_beside
from analogdfc.sizing.lesson import IDEAL, SOUGHT, Lesson, ideal_experiment
from analogdfc.sizing.specification import REQUIREMENTS, default_ranges
from analogdfc.sizing.teaching import Education, most_trainings, teach

TAKEN = (
    "accuracy", "dataset", "epochs", "images", "trainings", "sizes", "card", "seed", "fixed",
    "ranges", "storage", "jobs", "on", "address", "as_json", "output",
)  # fmt: skip
"""Arguments that a sizing by training takes."""


@dataclass(frozen=True)
class Course:
    """What is learned, and how well a chip has to."""

    accuracy: float | None
    dataset: str
    epochs: int
    images: int | None
    trainings: int


OPTIONS = (
    click.option(
        "--accuracy",
        type=Finite(min=0, max=100, min_open=True),
        metavar="POINTS",
        help=f"Seek the chip by trainings instead: its wrong answers in the test are at most so "
        f"many points, of 100, more than those of {IDEAL}. Sought are {', '.join(SOUGHT)}.",
    ),
    click.option(
        "--dataset",
        type=click.Choice(sorted(DATASETS)),
        default="digits",
        show_default=True,
        help="What is learned with --accuracy, by its preset where there is one.",
    ),
    click.option(
        "--epochs",
        type=Count(1),
        default=2,
        show_default=True,
        help="Of each training with --accuracy.",
    ),
    click.option(
        "--images",
        type=Count(1),
        help="To learn from with --accuracy.  [default: all]",
    ),
    click.option(
        "--trainings",
        type=Count(1),
        default=2,
        show_default=True,
        help="Of each chip with --accuracy, from seeds of their own; their mean counts.",
    ),
)


def size_by_training(
    course: Course,
    card: Card,
    sizes: tuple[int, ...] | None,
    seed: int,
    requirements: tuple[dict[str, float], dict[str, tuple[float, float]]],
    files: tuple[Path, Path],
    workers: tuple[Where, int | None],
    *,
    as_json: bool,
) -> None:
    """Seek the chip, print it, and write record and card.

    Args:
        course: what is learned.
        card: gives what isn't sought.
        sizes: neurons of layers 0..L; None for those of the preset.
        seed: of the first training.
        requirements: those that are given, and ranges of others.
        files: the record, and the folder of finished trainings.
        workers: where trainings are done, and how many at a time.
        as_json: print numbers for machines.
    """
    fixed, ranges = requirements
    experiment, data = ideal_experiment(course.dataset, sizes, course.epochs, course.images)
    sought = {**{n: r for n, r in default_ranges(1.0).items() if n in SOUGHT}, **ranges}
    assert course.accuracy is not None
    lesson = Lesson(
        experiment,
        data,
        card,
        points=course.accuracy,
        ranges={name: ends for name, ends in sought.items() if name not in fixed},
        fixed=fixed,
        seeds=tuple(range(seed, seed + course.trainings)),
    )
    most, each = most_trainings(lesson), lesson.seconds()
    click.echo(
        f"a training of {'-'.join(map(str, experiment.sizes))} on {course.dataset}, "
        f"{len(data.x)} samples, epochs: {course.epochs}, takes about {in_words(each)} of a core; "
        f"at most {most} of them, {in_words(most * each)} in all",
        err=True,
    )
    (output, storage), (where, jobs) = files, workers
    with (
        as_options("accuracy"),
        spool_beside(storage, keep=True) as spool,
        where.open(jobs, kept=storage) as pool,
        progress_bar("trainings", most) as bar,
    ):
        found = teach(lesson, spool=spool, executor=pool, progress=bar.update)
    records.write(output, {**found.tree(), "settings": settings()})
    sized = beside(output, ".toml")
    write_whole(sized, stamped(found.card_text, "#").encode())
    if as_json:
        click.echo(json.dumps(trees.as_json(found.numbers()), indent=2))
        return
    _show(found)
    click.echo(f"wrote {output} and {sized}; what was tried in {storage}")


def _show(found: Education) -> None:
    console, numbers = make_console(), found.numbers()

    def say(text: str, style: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    table = Table(title="Specification", title_justify="left")
    for column in ("symbol", "what", "limit"):
        table.add_column(column, no_wrap=True, justify="right" if column == "limit" else "left")
    for name, value in found.final.values.items():
        r = REQUIREMENTS[name]
        table.add_row(r.symbol, r.meaning, f"{r.side} {r.text(value)}")
    console.print(table)
    none = numbers["chips_without_result"]
    say(
        f"wrong answers by {IDEAL}: {numbers['wrong_by_the_ideal_rule_percent']:.2f} %; this chip "
        f"loses {found.final.lost:+.2f} points of {found.lesson.points:g} allowed; "
        f"{len(found.trials)} chips tried{f', {none} without a result' if none else ''}"
    )
    kept = "kept" if found.holds else "BROKEN: more --trainings or less --accuracy seek a safer one"
    lost = numbers["points_lost_on_fresh_seeds"]
    loses = "it can't always be trained" if math.isnan(lost) else f"it loses {lost:+.2f} points"
    say(f"on fresh seeds {loses}: the bound is {kept}", "bold")
    if found.cost is None:
        say("the loop of this chip doesn't settle, so that a sample has no cost", "bold")
        return
    cost = found.cost
    say(
        f"a sample takes {si(cost.seconds, 's')} and {si(cost.joules, 'J')}, the chip "
        f"{1e6 * cost.area.total:.4g} mm^2; without {', '.join(numbers['left_out']) or 'nothing'}"
    )
