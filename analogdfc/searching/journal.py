"""The journal of a search: a line for all that is decided or found, written before it is acted on.

A file of JSON lines that only grows. Whatever is killed, what stands in it is whole but for the
last line, which is then left out. A search that goes on reads it and draws nothing twice.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from analogdfc.errors import UserError
from analogdfc.jobs.origin import made_with

__all__ = ["Journal", "State", "Trial"]

State = Literal["running", "complete", "pruned", "diverged", "failed"]


@dataclass
class Trial:
    """What is known of a trial.

    Attributes:
        number: from 0.
        values: of its hyperparameters, in the published conventions, by name.
        settings: those that are other than the preset's, by their names.
        reached: by the epoch of a rung, what was reached there; inf for nothing.
        state: what became of it.
        why: it diverged or failed; else empty.
    """

    number: int
    values: dict[str, Any]
    settings: tuple[tuple[str, Any], ...]
    reached: dict[int, float] = field(default_factory=dict)
    state: State = "running"
    why: str = ""

    @property
    def value(self) -> float:
        """What it reached at its last rung; inf for nothing."""
        return list(self.reached.values())[-1] if self.reached else math.inf


class Journal:
    """The journal of a search; whoever writes holds the lock of the search.

    Args:
        path: the file; it needn't exist, its folder does.
        search: what the search is, for JSON; a file of another one is refused.

    Attributes:
        trials: by number.
        programs: versions that the search was done with, in their order.

    Raises:
        UserError: a file that is no journal, or that of another search; or it can't be written.
    """

    def __init__(self, path: Path, search: Mapping[str, Any]) -> None:
        self.path = path
        self.trials: dict[int, Trial] = {}
        self.programs: list[str] = []
        lines = self._lines({"search": dict(search)})
        if not lines:
            self._write({"search": dict(search)})
        else:
            self._check(lines[0], search)
            try:
                for line in lines[1:]:
                    self._take(line)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UserError(f"{path}: no journal of a search: {error!r}") from error
        if made_with() not in self.programs[-1:]:
            self._write({"programs": made_with()})

    def asked(self, trial: Trial) -> None:
        """Enter a trial that is to be done.

        Args:
            trial: the trial.
        """
        self._write({
            "trial": trial.number, "values": trial.values, "settings": list(trial.settings)
        })  # fmt: skip

    def told(self, number: int, epochs: int, value: float) -> None:
        """Enter what a trial reached at a rung.

        Args:
            number: of the trial.
            epochs: of the rung.
            value: what it reached.
        """
        self._write({"trial": number, "epochs": epochs, "reached": value})

    def ended(self, number: int, state: State, why: str = "") -> None:
        """Enter what became of a trial.

        Args:
            number: of the trial.
            state: what.
            why: it diverged or failed.
        """
        self._write({"trial": number, "state": state, "why": why})

    def _take(self, line: Mapping[str, Any]) -> None:
        if "programs" in line:
            self.programs.append(str(line["programs"]))
            return
        number = int(line["trial"])
        if "values" in line:
            settings = tuple(
                (str(name), tuple(v) if isinstance(v, list) else v) for name, v in line["settings"]
            )
            self.trials[number] = Trial(number, dict(line["values"]), settings)
        elif "epochs" in line:
            self.trials[number].reached[int(line["epochs"])] = float(line["reached"])
        else:
            if line["state"] not in get_args(State):
                raise ValueError(f"trials don't end {line['state']!r}")
            self.trials[number].state, self.trials[number].why = line["state"], str(line["why"])

    def _lines(self, first: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The whole lines; what is left of one that was being written is cut off."""
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if content and not whole and not _line(first).startswith(content):
                raise UserError(f"{self.path}: no journal of a search")
            if len(whole) < len(content):
                os.truncate(self.path, len(whole))
            return [json.loads(line) for line in whole.splitlines()]
        except OSError as error:
            raise self._unwritten(error) from error
        except ValueError as error:
            raise UserError(f"{self.path}: no journal of a search: {error}") from error

    def _check(self, first: Mapping[str, Any], search: Mapping[str, Any]) -> None:
        there = first.get("search") if isinstance(first, dict) else None
        if not isinstance(there, dict):
            raise UserError(f"{self.path}: no journal of a search")
        for name, value in search.items():
            if there.get(name) != value:
                raise UserError(
                    f"{self.path}: the journal of another search: {name} was "
                    f"{there.get(name)!r} there, {value!r} now. Choose another -o, or delete it"
                )

    def _write(self, line: dict[str, Any]) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(_line(line))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritten(error) from error
        if "search" not in line:
            self._take(json.loads(json.dumps(line)))

    def _unwritten(self, error: OSError) -> UserError:
        return UserError(f"{self.path}: can't be written: {error.strerror or error}")


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"
