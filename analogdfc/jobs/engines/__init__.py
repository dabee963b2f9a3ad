"""Where many runs are done: an engine a file, each with one way in.

Another engine is a class with the interface of `Engine`, entered in `ENGINES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Protocol

from analogdfc.errors import UserError, check_names

__all__ = ["ENGINES", "Engine", "engine_of"]

Say = Callable[[str], object]

PATIENCE = 15.0
"""Seconds without a worker after which that is said."""


class Engine(Protocol):
    """Where runs are done, and how many at a time."""

    def open(self, count: int, say: Say) -> AbstractContextManager[Executor | None]:
        """What `run_tasks` takes, while the runs are done.

        Args:
            count: runs at a time, where this machine does them; >= 1.
            say: told in a line what one has to wait for.

        Raises:
            UserError: what does the runs can't be reached, or isn't fit.
        """


ENGINES = {
    "processes": "analogdfc.jobs.engines.own:OwnProcesses",
    "dask": "analogdfc.jobs.engines.dask:DaskCluster",
    "spool": "analogdfc.jobs.engines.shared:SharedFolder",
}
"""Where each engine is; a module is imported when its engine is asked for. Each is called with the
address that was given, a text, or None."""


def engine_of(name: str = "processes", address: str | None = None) -> Engine:
    """An engine by its name.

    Args:
        name: of `ENGINES`.
        address: where it is: of 'dask' a scheduler's address or the file in which it stands, None
            for a cluster on this machine; of 'spool' the shared folder; 'processes' has none.

    Raises:
        UserError: an unknown name, or an address too many or too few.
    """
    check_names([name], ENGINES, "engine")
    module, _, kind = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), kind)(address)
    return engine


def no_address(engine: str, address: str) -> UserError:
    """The error of an address that an engine has no use for.

    Args:
        engine: its name.
        address: what was given.
    """
    return UserError(f"address {address!r}: the engine {engine} has none; dask and spool have")
