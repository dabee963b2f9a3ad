"""Runs whose results are kept in a folder: what is there isn't done again."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from analogdfc import records
from analogdfc.errors import UserError
from analogdfc.files import check_apart, take_lock
from analogdfc.jobs.origin import made_with
from analogdfc.jobs.task import Progress, Task, checkpointed
from analogdfc.records import Record, Tree

__all__ = ["Keeping", "Run", "Spool", "check_spool", "make_spool", "spool_beside", "unpacked"]

Result = TypeVar("Result")

_MARK = "README.txt"
_ABOUT = (
    "Results of single runs, written by analogdfc so that a command that was interrupted goes on "
    "where it was.\nThe folder can be deleted; the runs are then done anew.\n"
)
_LOCK = "lock"
_CHECKPOINT = ".checkpoint"
"""Ending of what a run leaves before its end."""


@dataclass(frozen=True)
class Run(Task[Result]):
    """A task whose result a record can hold."""

    @cached_property
    def described(self) -> str:
        """What `settings` gives, which may be long in the making."""
        return self.settings()

    @cached_property
    def key(self) -> str:
        """Hash of the kind of run and its settings."""
        return _hash([type(self).__name__, self.described])

    def made_with(self) -> str:
        """The programs that the result depends on: kept ones of others are not taken."""
        return made_with()

    @property
    def key_seed(self) -> int:
        """A seed of its own, below 2^63: the same wherever and in whatever order it runs."""
        return int(self.key[:16], 16) >> 1

    @abstractmethod
    def pack(self, result: Result) -> Tree:
        """A result as the branch of a record.

        Args:
            result: what `run` gave.
        """

    @abstractmethod
    def unpack(self, record: Record) -> Result:
        """What `pack` was given.

        Args:
            record: holds the branch as its root.
        """


class Spool:
    """A folder of results, one record a run, each there whole or not at all.

    A context manager: within, no other command works in the folder; the lock goes with the
    process that holds it, however that ends.

    Args:
        folder: it needn't exist; its parent does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None

    def __reduce__(self) -> tuple[type[Spool], tuple[Path]]:
        return Spool, (self.folder,)  # another process writes here too, but locks nothing

    def __enter__(self) -> Spool:
        """Take the folder.

        Raises:
            UserError: another command works in it, it isn't one of results, or it can't be made.
        """
        try:
            make_spool(self.folder)
            self._lock = take_lock(
                self.folder / _LOCK, self.folder, lambda: make_spool(self.folder)
            )
        except OSError as error:
            raise UserError(f"{self.folder}: can't be written: {error.strerror}") from error
        return self

    def __exit__(self, *reason: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __contains__(self, run: Run[Result]) -> bool:
        return self.place(run).exists()

    def __len__(self) -> int:
        return sum(1 for _ in self._kept())

    @property
    def empty(self) -> bool:
        """Whether nothing is there that the same command could go on from."""
        return not len(self) and not any(self.folder.glob(f"*{_CHECKPOINT}"))

    def keep(self, run: Run[Result], result: Result) -> None:
        """Write a result.

        Args:
            run: whose it is.
            result: what it gave.

        Raises:
            UserError: it can't be written.
        """
        about = {"name": run.name, "settings": run.described, "made_with": run.made_with()}
        records.write(self.place(run), {"run": about, "result": _in_order(run.pack(result))})

    def find(self, run: Run[Result]) -> Result:
        """Read a result that is there.

        Args:
            run: whose it is.

        Raises:
            UserError: it isn't there, or damaged; the message has what to do.
        """
        path = self.place(run)
        try:
            return unpacked(run, records.read(path))
        except (UserError, ValueError, TypeError, KeyError) as error:
            trouble = str(error)
            if str(path) not in trouble:
                trouble = f"{path}: doesn't hold the result of a run ({error})"
            raise UserError(f"{trouble}. Delete the file, and the run is done anew") from error

    def clear(self) -> None:
        """Delete the results, which are no longer needed; within the context."""
        others = (self.folder.glob(pattern) for pattern in (".*.part", f"*{_CHECKPOINT}"))
        for path in itertools.chain(self._kept(), *others):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the results, and the folder where nothing else is in it; within the context."""
        with suppress(OSError):
            self.clear()
            for name in (_MARK, _LOCK):
                (self.folder / name).unlink(missing_ok=True)
            self.folder.rmdir()

    def place(self, run: Run[Result]) -> Path:
        """Path of the record of a run.

        Args:
            run: it needn't be there.
        """
        return self.folder / f"{_hash([run.key, run.made_with()])}.h5"

    def checkpoint(self, run: Run[Result]) -> Path:
        """Path of what a run may leave of itself before its end; see `checkpoint_place`.

        Args:
            run: it needn't be there.
        """
        return self.place(run).with_suffix(_CHECKPOINT)

    def _kept(self) -> Iterator[Path]:
        return self.folder.glob("[0-9a-f]" * 32 + ".h5")


@dataclass(frozen=True)
class Keeping(Task[Result]):
    """A run that writes its result into a spool, where it is done.

    Attributes:
        of: the run.
        spool: where the result goes.
    """

    of: Run[Result]
    spool: Spool

    @property
    def name(self) -> str:
        """That of the run."""
        return self.of.name

    @property
    def work(self) -> int:
        """That of the run."""
        return self.of.work

    @property
    def longest(self) -> float:
        """That of the run."""
        return self.of.longest

    def run(self, progress: Progress) -> Result:
        """Do the run and keep what it gives; see `Task.run`."""
        checkpoint = self.spool.checkpoint(self.of)
        with checkpointed(checkpoint):
            result = self.of.run(progress)
        self.spool.keep(self.of, result)
        checkpoint.unlink(missing_ok=True)
        return result


@contextmanager
def spool_beside(folder: Path, *, keep: bool = False) -> Iterator[Spool]:
    """A spool for one command, which goes when the command has ended well.

    Args:
        folder: see `Spool`.
        keep: leave it.
    """
    with Spool(folder) as spool:
        try:
            yield spool
        except BaseException:
            if spool.empty:
                spool.remove()
            raise
        if not keep:
            spool.remove()


def check_spool(folder: Path, *written: Path) -> None:
    """Make sure, before long work, that a folder can be a spool: it is one, or there is nothing.

    Args:
        folder: the folder.
        written: files that are written besides, which need names of their own.

    Raises:
        UserError: other things are there, its parent isn't, or a file would be written there.
    """
    check_apart((folder, *written))
    if not folder.resolve().parent.is_dir():
        raise UserError(f"{folder}: can't be written: its directory doesn't exist")
    if not folder.exists() or (folder / _MARK).exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        what = "a folder of other files" if folder.is_dir() else "a file"
        raise UserError(
            f"{folder}: is {what}; results of single runs are kept in a folder of that name. Move "
            "it away, or choose another"
        )


def make_spool(folder: Path) -> None:
    """Make a folder of results, where it isn't one yet.

    Args:
        folder: its parent exists.

    Raises:
        UserError: other things are there.
        OSError: it can't be made.
    """
    check_spool(folder)
    folder.mkdir(exist_ok=True)
    if not (folder / _MARK).exists():
        (folder / _MARK).write_text(_ABOUT, encoding="utf-8")


def unpacked(run: Run[Result], record: Record) -> Result:
    """The result in the record of a run, whatever version of the programs kept it.

    Args:
        run: whose it is.
        record: what a spool holds of it.
    """
    return run.unpack(Record(record.path, record.group("result"), record.format))


def _in_order(tree: Tree) -> Tree:
    """Branches by their names, as a record hands them back: so kept anew it is the same file."""
    return {
        name: _in_order(leaf) if isinstance(leaf, Mapping) else leaf
        for name, leaf in sorted(tree.items())
    }


def _hash(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
