"""Runs on a cluster of Dask.distributed: one that is there, or one of this machine's cores."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from analogdfc.errors import UserError
from analogdfc.jobs.engines import PATIENCE, Say
from analogdfc.jobs.executors import Elsewhere, WorkerDiedError, counted
from analogdfc.jobs.origin import check_programs, made_with
from analogdfc.jobs.task import Task

try:
    import distributed
    from distributed.comm.addressing import get_address_host_port, parse_address
    from distributed.comm.registry import backends
    from distributed.scheduler import KilledWorker
except ImportError as error:
    raise UserError(
        f"the engine dask isn't installed ({error}); pip install 'analogdfc[cluster]' installs it"
    ) from error

__all__ = ["DaskCluster", "DaskExecutor"]

Result = TypeVar("Result")

_TIMEOUT = 10.0
"""Seconds in which a scheduler answers."""

_ENCRYPTED = ("tls", "wss")
_WITH_PORTS = ("tcp", "ws", *_ENCRYPTED)
"""Schemes of addresses."""

_LOOK = 0.02
"""Seconds between two looks at what has ended."""

_ATTEMPTS = 2
"""How often a task that was lost with its worker is done once more, alone."""

_LOSSES = 5
"""How often a result may be lost on the way."""


class DaskCluster:
    """A cluster of Dask.distributed; see `Engine`.

    Args:
        address: of its scheduler, such as 'tcp://host:8786', or the file that the scheduler has
            written (`--scheduler-file`); None for a cluster on this machine that is there while the
            runs are done.

    Raises:
        UserError: an empty address.
    """

    def __init__(self, address: str | None = None) -> None:
        if address is not None and not address.strip():
            raise UserError(f"address {address!r}: no scheduler has an empty one")
        self.address = address

    def open(self, count: int, say: Say) -> AbstractContextManager[Executor]:
        """See `Engine.open`; on a cluster that is there, it has as many workers as it has.

        Raises:
            UserError: no scheduler answers, or a worker has other versions.
        """
        return _opened(self.address, count, say)


class _Asked(NamedTuple):
    """A task that the cluster was asked to do.

    Attributes:
        task: the task.
        ours: what the asker waits for.
        theirs: what the cluster gives.
        before: how often it was asked before, and what it had given was lost with a worker.
    """

    task: Task[Any]
    ours: Future[tuple[Any, int]]
    theirs: distributed.Future
    before: int = 0


class DaskExecutor(Elsewhere):
    """Has tasks done by the workers of a cluster. One that is lost with its worker is done again.

    Dask gives a task up whose worker died, at once or after some times; that may have been another
    task's doing. Such tasks are done again when nothing else is left, one after another.

    Args:
        client: connected to the scheduler.
    """

    def __init__(self, client: distributed.Client) -> None:
        self._client = client
        self._suspects: list[_Asked] = []
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._taker = threading.Thread(target=self._take, daemon=True)
        self._taker.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Refused: what fails and is told of are tasks."""
        raise TypeError("a cluster is asked for tasks, not for functions")

    def submit_task(self, task: Task[Result]) -> Future[tuple[Result, int]]:
        """Have a worker do the task; see `Reporting`.

        Args:
            task: the task; it can be pickled.
        """
        future: Future[tuple[Result, int]] = Future()
        future.set_running_or_notify_cancel()
        self._asked.put(_Asked(task, future, self._ask(task)))
        return future

    def reported(self) -> int:
        """None: what is known of a task is that it has ended."""
        return 0

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ask for no more; see `concurrent.futures.Executor`.

        Args:
            wait: until the last result is handed on.
            cancel_futures: what hasn't ended is given up in either case.
        """
        self._stop.set()
        if wait:
            self._taker.join()

    def _ask(self, task: Task[Any]) -> distributed.Future:
        return self._client.submit(_done_there, task, made_with(), pure=False)

    def _take(self) -> None:
        """Hand on what has ended, until the end; whoever waits hears of what ends this itself."""
        pending: list[_Asked] = []
        try:
            while not self._stop.wait(_LOOK) and self._taken(pending):
                pass
        except BaseException as error:
            for one in [*pending, *self._suspects]:
                if not one.ours.done():
                    one.ours.set_exception(error)

    def _taken(self, pending: list[_Asked]) -> bool:
        """Look once; False where there is no scheduler any more."""
        with suppress(queue.Empty):
            while True:
                pending.append(self._asked.get_nowait())
        for one in [one for one in pending if one.theirs.done()]:
            again = self._handed_on(one)
            pending[:] = [other for other in pending if other is not one]
            pending += [] if again is None else [again]
        if self._suspects and not pending:
            one = self._suspects.pop(0)
            pending.append(one._replace(theirs=self._ask(one.task)))
        if not pending or self._client.status in ("running", "connecting"):
            return True
        for one in [*pending, *self._suspects]:
            one.ours.set_exception(UserError(f"{one.task.name}: the scheduler was lost; run again"))
        return False

    def _handed_on(self, one: _Asked) -> _Asked | None:
        """Tell what a task gave; or ask anew where that was lost with a worker."""
        try:
            one.ours.set_result(one.theirs.result(timeout=PATIENCE))
        except KilledWorker as error:
            # The worker may have died of another task, or been about to end.
            if one.before < _ATTEMPTS:
                self._suspects.append(one._replace(before=one.before + 1))
                return None
            last = error.last_worker.address
            died = WorkerDiedError(
                f"{one.task.name}: the workers that did it died each time, the last one was {last},"
                " whose log says more. It may need more memory than there is, or a library crashes"
            )
            one.ours.set_exception(died)
        except (CancelledError, TimeoutError) as error:
            if one.before < _LOSSES and self._client.status == "running":
                return one._replace(theirs=self._ask(one.task), before=one.before + 1)
            lost = UserError(f"{one.task.name}: its result was lost each time ({error})")
            one.ours.set_exception(lost)
        except Exception as error:
            one.ours.set_exception(error)
        return None


@contextmanager
def _opened(address: str | None, count: int, say: Say) -> Iterator[DaskExecutor]:
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        if address is None:
            cluster = distributed.LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                memory_limit=None,  # as much as other processes of this machine may take
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
                scheduler_kwargs={"allowed_failures": 0},
            )
            client = stack.enter_context(
                distributed.Client(stack.enter_context(cluster), set_as_default=False)
            )
        else:
            client = stack.enter_context(_attached(address))
            _wait_for_workers(client, address, say)
        _check_workers(client)
        executor = DaskExecutor(client)
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)
            raise
        executor.shutdown()


def _attached(address: str) -> distributed.Client:
    """A client of a scheduler that is there."""
    scheduler = address
    if "://" not in address and (Path(address).suffix == ".json" or Path(address).exists()):
        scheduler = _written(Path(address))
    try:
        _check_address(scheduler)
        return distributed.Client(scheduler, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{address!r}: no scheduler of Dask answers there within {_TIMEOUT:g} s "
            f"({str(error) or type(error).__name__})"
        ) from error


def _check_address(scheduler: str) -> None:
    """Refuse what no client can be made of: a half-made one keeps the program from ending."""
    scheme, _ = parse_address(scheduler)
    if scheme not in backends:
        raise ValueError(f"unknown address scheme {scheme!r}; there are {', '.join(backends)}")
    if scheme in _WITH_PORTS:
        get_address_host_port(scheduler)
    encrypted = scheme in _ENCRYPTED
    if encrypted and distributed.Security().get_connection_args("client")["ssl_context"] is None:
        raise ValueError("it is encrypted, and Dask's configuration names no certificates here")


def _written(file: Path) -> str:
    """The address in a file that a scheduler has written."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UserError(
            f"{file}: can't be read: {error.strerror}; a scheduler writes it"
        ) from error
    except ValueError as error:
        raise UserError(f"{file}: no scheduler has written this file: {error}") from error
    if not (isinstance(found, dict) and isinstance(found.get("address"), str)):
        raise UserError(f"{file}: no scheduler has written this file: it has no 'address'")
    return str(found["address"])


def _wait_for_workers(client: distributed.Client, address: str, say: Say) -> None:
    while not client.scheduler_info(n_workers=-1)["workers"]:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            say(f"{address}: the scheduler has no worker yet; start some")


def _check_workers(client: distributed.Client) -> None:
    """Make sure that all workers compute with what is here."""
    found: dict[str, Any] = client.run(made_with, on_error="return")
    for worker, programs in found.items():
        if not isinstance(programs, str):
            raise UserError(f"worker {worker}: hasn't this version of analogdfc ({programs!r})")
        check_programs(f"worker {worker}", programs)


def _done_there(task: Task[Result], programs: str) -> tuple[Result, int]:
    """Do a task in a worker, which may have come after the others were asked."""
    check_programs("the driver of this worker", programs)
    return counted(task)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Dask writes of workers that come and go, which is told otherwise."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
