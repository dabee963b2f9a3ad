"""Runs in processes of this machine."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import AbstractContextManager

from analogdfc.jobs.engines import Say, no_address
from analogdfc.jobs.executors import processes

__all__ = ["OwnProcesses"]


class OwnProcesses:
    """Processes of this machine; see `Engine`.

    Args:
        address: none.

    Raises:
        UserError: an address.
    """

    def __init__(self, address: str | None = None) -> None:
        if address is not None:
            raise no_address("processes", address)

    def open(self, count: int, say: Say) -> AbstractContextManager[Executor | None]:
        """See `Engine.open`."""
        return processes(count)
