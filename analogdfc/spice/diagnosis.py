"""What ngspice's messages say about a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from analogdfc.errors import ConvergenceError, UserError

_NOT_CONVERGED = re.compile(
    r"time ?step too small|iteration limit reached|no convergence|operating point could not be"
    r"|simulation\(?s?\)? .*aborted",
    re.IGNORECASE,
)
_SINGULAR = re.compile(r"singular matrix\b.*", re.IGNORECASE)
_ERROR = re.compile(
    r"(fatal )?error( on line|\s*:| in )|netlist line no|undefined parameter|syntax error"
    r"|.*simulation interrupted due to error|.*cannot recover|too (many|few) parameters"
    r"|mismatch\s*:",
    re.IGNORECASE,
)
# Lines that say that something went wrong, but not what.
_EMPTY = re.compile(
    r"simulation interrupted|there aren't any circuits loaded|cannot recover|check your input"
    r"|no compatibility mode|fatal error in ngspice|netlist line no\. 0|using (sparse|klu)",
    re.IGNORECASE,
)
# ngspice only warns of these and goes on with another circuit than the deck describes.
_OTHER_CIRCUIT = re.compile(
    r"unrecognized parameter|- ignored|can't find model|resistance to low"
    r"|resistor \S+ is too small|, ignored!",
    re.IGNORECASE,
)
_WITH_DIGIT = re.compile(r"\d")
_PROGRESS = re.compile(r"Reference value\s*:\s*([-+.\d]+(?:e[-+]?\d+)?)", re.IGNORECASE)
QUOTED_LINES = 4
"""Most lines of a simulator that a message has."""

_STREAMS = ("messages.txt", "stdout.txt", "stderr.txt")
_LOG_LINES = 500


class RefusedError(UserError):
    """A netlist that ngspice doesn't take."""


def raise_for_messages(messages: Sequence[str], exit_code: int, save: Sequence[str]) -> None:
    """Raise the error that ngspice's messages report; return if they report none.

    Args:
        messages: lines that ngspice wrote, in order.
        exit_code: of its process; negative: the number of the signal that ended it.
        save: the signals asked for, for the message.

    Raises:
        ConvergenceError: no operating point, a time step too small, a singular matrix.
        UserError: a syntax error, a part of the deck that ngspice ignored, none of the signals is
            in the netlist, a crash.
    """
    messages = [line for line in messages if not line.startswith("Circuit:")]  # the deck's title
    if any("no data saved" in line for line in messages):
        raise UserError(f"save: no such signal in the netlist: {', '.join(save)}")
    singular = next((m[0] for m in map(_SINGULAR.search, messages) if m), None)
    failed = [line for line in messages if _NOT_CONVERGED.search(line)]
    if failed:
        best = next((line for line in failed if line.startswith("doAnalyses")), failed[0])
        causes = [line for line in messages if _ERROR.match(line) and line not in failed]
        quoted = [best, *([singular] if singular else []), *causes[:2]]
        raise ConvergenceError(f"ngspice did not converge: {'; '.join(map(_squeeze, quoted))}")
    for index, line in enumerate(messages):
        if _ERROR.match(line):
            reason = _quote(messages[index:]) or _quote(messages[:index]) or "it gives no reason"
            raise RefusedError(f"ngspice refuses the netlist: {reason}")
    for index, line in enumerate(messages):
        if _OTHER_CIRCUIT.search(line):
            first = max(index - 2, 0) if line.startswith("unrecognized") else index
            cause = _quote(messages[first : index + 1])
            raise UserError(f"ngspice would simulate another circuit: {cause}")
    if any("transient op finished" in line.lower() for line in messages):
        # ngspice took the end of a pseudo-transient for the operating point, whose tolerances it
        # missed; where the equations determine none, some node's voltage is arbitrary.
        why = _squeeze(singular) if singular else "it only got near one, by a pseudo-transient"
        raise ConvergenceError(
            f"ngspice found no operating point: {why}. Coarser tolerances may help "
            "(.options abstol=..., vntol=...), or the other solver ('klu', 'sparse')"
        )
    if exit_code:
        how = f"ended with exit code {exit_code}"
        if exit_code < 0:
            how = f"was ended by signal {-exit_code} (a crash, or not enough memory)"
        last = " / ".join(map(_squeeze, messages[-QUOTED_LINES:])) or "no message"
        raise UserError(f"ngspice {how}; nothing is returned. It wrote: {last}")


def alike(lines: Iterable[str]) -> tuple[str, ...]:
    """Lines of which those that differ in names with digits and in numbers only are one.

    A model that warns of one transistor warns of thousands. The first of them is quoted, with how
    many more there are.

    Args:
        lines: in order.
    """
    found: dict[str, list[str]] = {}
    for line in dict.fromkeys(lines):
        key = " ".join("#" if _WITH_DIGIT.search(word) else word for word in line.split())
        found.setdefault(key, []).append(line)
    return tuple(
        f"{same[0]} (and {len(same) - 1} more like it)" if len(same) > 1 else same[0]
        for same in found.values()
    )


def reached_time(folder: Path) -> float | None:
    """Simulated time, in seconds, that a run in this folder had reached; None if it hadn't begun.

    Args:
        folder: where ngspice ran; it tells its progress among its messages.
    """
    last = None
    for text in _streams(folder):
        found = _PROGRESS.findall(text)
        last = float(found[-1]) if found else last
    return last


def written(folder: Path) -> str:
    """What a run in this folder has written, its last lines, without how far it had got.

    Args:
        folder: see `reached_time`.
    """
    lines = [line.strip() for text in _streams(folder) for line in re.split(r"[\r\n]+", text)]
    kept = [line for line in lines if line and not _PROGRESS.search(line)]
    return "\n".join(kept[-_LOG_LINES:])


def _streams(folder: Path) -> Iterator[str]:
    for name in _STREAMS:
        file = folder / name
        if file.exists():
            yield file.read_text("utf-8", errors="replace")


def _quote(lines: Sequence[str]) -> str:
    kept = dict.fromkeys(_squeeze(line) for line in lines if not _EMPTY.search(line))
    return " / ".join([*kept][:QUOTED_LINES])


def _squeeze(line: str) -> str:
    return " ".join(line.split())[:200]
