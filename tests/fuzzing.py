"""Fuzzing: how many inputs each target gets, and what must hold whatever the input is.

An input that is refused is refused by a `UserError` of one clear line; nothing else is raised, and
nothing runs beyond a limit or leaves a process behind. In the normal tests each target gets a few
inputs, the same ones every time. `make fuzz` gives them 10,000 in sum, drawn anew, tells how many
each target got, and goes on after a fault, so that all are found: each is listed once, with the
shortest input that shows it.
"""

from __future__ import annotations

import functools
import math
import os
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, settings

from analogdfc.errors import UserError

PROFILE = "fuzz"
"""Hypothesis profile of the long run."""

TARGETS = {
    "technology cards": 12,
    "device cards": 12,
    "digital cards": 8,
    "quantities": 10,
    "damaged HDF5 files": 20,
    "weights files": 15,
    "records": 10,
    "kept runs": 3,
    "raw files": 6,
    "cell files": 6,
    "decks": 4,
    "matrices": 5,
    "tables of numbers": 4,
    "sets of images": 3,
    "command lines": 20,
    "networks of others": 6,
}
"""Inputs that each target gets, relative to the others."""

_LONG = int(os.environ.get("FUZZ_INPUTS", "10000"))
_SHORT = 250
_LONGEST_LINE = 1500

tally: dict[str, Counter[str]] = {}
"""What became of the inputs, by target."""

faults: dict[str, dict[str, str]] = {}
"""Shortest input of each fault that a long run found, by target and by what happened where."""


def is_long() -> bool:
    """Whether this is the long run."""
    return settings.get_current_profile_name() == PROFILE


def fuzz(target: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test on as many inputs as its target gets; in short runs on the same ones always."""
    share = TARGETS[target] / sum(TARGETS.values())
    long = is_long()
    profile = settings(
        max_examples=math.ceil((_LONG if long else _SHORT) * share),
        derandomize=not long,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    def wrap(test: Callable[..., None]) -> Callable[..., None]:
        run = profile(test)

        @functools.wraps(run)
        def whole() -> None:
            run()
            found = faults.get(target, {})
            assert not found, "\n".join(f"{what}\n  {text}" for what, text in found.items())

        return whole if long else run

    return wrap


class _TooLong(BaseException):
    """Not an `Exception`, so that nothing on the way takes it for an error of its own."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Fail when what is done within takes longer."""

    def end(number: int, frame: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TooLong as error:
        raise AssertionError(f"took longer than {seconds:g} s") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def children() -> set[int]:
    """Processes that this one has started and that haven't been waited for."""
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        found.update(map(int, (thread / "children").read_text().split()))
    return found


@contextmanager
def clear(target: str, given: object, seconds: float = 10.0) -> Iterator[None]:
    """What is done within ends soon, with a result or refused in one clear line.

    Args:
        target: what is tried.
        given: the input, for the list of faults of a long run.
        seconds: how long it may take.
    """
    counts = tally.setdefault(target, Counter())
    counts["inputs"] += 1
    before = children()
    try:
        with limited(seconds):
            try:
                yield
            except UserError as error:
                counts["refused"] += 1
                check_line(str(error))
        assert children() <= before, "a process is left"
    except Exception as error:
        if not is_long():
            raise
        _note(target, given, error)


def _note(target: str, given: object, error: Exception) -> None:
    """Keep a fault with the shortest input that shows it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "analogdfc" in f.filename]
    where = f"{Path(frames[-1].filename).name}, in {frames[-1].name}" if frames else "the tests"
    text = repr(given)
    found = faults.setdefault(target, {})
    what = f"{type(error).__name__} from {where}: {str(error)[:200]!r}"
    key = next((k for k in found if k.split(":")[0] == what.split(":")[0]), what)
    if key not in found or len(text) < len(found[key]):
        found[key] = text


def check_line(message: str) -> None:
    """Make sure that a message is one line that a person can read."""
    assert message.strip(), "an error without a message"
    assert len(message) <= _LONGEST_LINE, f"{len(message)} characters: {message[:200]}..."
    hidden = [c for c in message if not c.isprintable()]
    assert not hidden, f"{hidden[0]!r} in the message {message!r}"


@contextmanager
def folder() -> Iterator[Path]:
    """A folder in memory, for the files of one input."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def summary() -> list[str]:
    """How many inputs each target got, and how many of them were refused; one line each."""
    lines = [f"{'target':<24}{'inputs':>8}{'refused':>9}"]
    total: Counter[str] = Counter()
    for target, counts in tally.items():
        lines.append(f"{target:<24}{counts['inputs']:>8}{counts['refused']:>9}")
        total += counts
    return [*lines, f"{'in sum':<24}{total['inputs']:>8}{total['refused']:>9}"]


def opened(write: Callable[[Path], Any], read: Callable[[Path], Any], name: str) -> Any:
    """Write a file into a folder of its own and read it."""
    with folder() as place:
        write(place / name)
        return read(place / name)
