"""Where the runs of a command are done: on this machine or on others."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from analogdfc.cli._options import bundled, refuse
from analogdfc.errors import UserError
from analogdfc.jobs import ENGINES, engine_of

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Where:
    """What the command line says of where runs are done.

    Attributes:
        on: name of the engine of `analogdfc.jobs`.
        address: of that engine; None for none.

    Raises:
        UserError: an address too many or too few, or an engine that isn't installed.
    """

    on: str
    address: str | None

    def __post_init__(self) -> None:
        engine_of(self.on, self.address)

    @property
    def here(self) -> bool:
        """Whether the runs are done by processes of this machine."""
        return self.on == "processes"

    def open(
        self, jobs: int | None, most: int | None = None, *, kept: Path | None = None
    ) -> AbstractContextManager[Executor | None]:
        """What `run_tasks` takes, while the runs are done.

        Args:
            jobs: runs at a time, what --jobs says; None for as many as there are cores.
            most: runs that there are; None where that isn't known.
            kept: folder in which the command keeps what its runs give.

        Raises:
            UserError: what does the runs can't be reached or isn't fit, --jobs where it has no say,
                or the workers' folder is the one of the results.
        """
        if self.address is not None:
            refuse(f"--on {self.on}: as many runs are done at a time as there are workers", "jobs")
        if kept is not None and self.on == "spool" and kept.resolve() == Path(
            self.address or ""
        ).resolve():  # fmt: skip
            raise UserError(
                f"--address {self.address}: there this command keeps what its runs give; workers "
                "need a folder of their own"
            )
        count = jobs or os.cpu_count() or 1
        count = count if most is None else min(count, max(most, 1))
        return engine_of(self.on, self.address).open(count, lambda text: click.echo(text, err=True))

    def elsewhere(self, jobs: int | None, *, kept: Path) -> AbstractContextManager[Executor | None]:
        """What does the runs of a command that has a way of its own to do them on this machine.

        Args:
            jobs: see `open`.
            kept: see `open`.

        Raises:
            UserError: see `open`.
        """
        return nullcontext() if self.here else self.open(jobs, kept=kept)


def where_options(command: _Command) -> _Command:
    """The options that say where runs are done, handed over as one argument `where`."""
    out = bundled("where", Where)(command)
    out = click.option(
        "--address",
        help="Of dask its scheduler, as tcp://host:8786, or the file that it wrote; of spool the "
        "folder. See docs/cluster.md.",
    )(out)
    return click.option(
        "--on",
        type=click.Choice(list(ENGINES)),
        default="processes",
        show_default=True,
        help="Where runs are done: processes of this machine, a cluster of Dask, or workers "
        "(`analogdfc work`) of a folder that machines share.",
    )(out)
