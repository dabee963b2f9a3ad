"""Errors that are written for the person who reads them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = [
    "ConvergenceError",
    "RoundingWarning",
    "SimulatorWarning",
    "TimeLimitError",
    "UserError",
    "check_names",
]

_LONGEST = 1200
"""Characters of the longest message."""


class UserError(Exception):
    """Something the user can put right: a file, an option, a missing program.

    The message says what is wrong, where, and what is allowed. The command line prints it without
    a traceback and exits with code 2; every other exception is a defect of the program.

    It is one line, not too long, in which nothing that it quotes is hidden or moves a terminal's
    cursor.

    Attributes:
        log: what a program wrote that failed, lines; empty where none did.
    """

    log: str = ""

    def __str__(self) -> str:
        """The message."""
        return readable(super().__str__())


def readable(text: str) -> str:
    """A message as one line, not too long, in which nothing is hidden.

    Args:
        text: the message, with whatever it quotes.
    """
    if len(text) > _LONGEST:  # it quotes something long; what is allowed stands at the end
        text = f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character in "\n\r\t":
        return " "
    return character if character.isprintable() else ascii(character)[1:-1]


class ConvergenceError(UserError):
    """A simulation or an iteration that did not reach its answer; no number is returned."""


class TimeLimitError(UserError):
    """A run that was stopped at its time limit."""


class RoundingWarning(UserWarning):
    """A result that the rounding of its floating type leaves few digits."""


class SimulatorWarning(UserWarning):
    """A warning that a simulator printed about a run that it completed."""


def shown(value: object, most: int = 80) -> str:
    """What was given as a message quotes it: in one line, nothing hidden, not too long.

    Args:
        value: a text, or anything else that can be written.
        most: characters of which the rest is left out.
    """
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    text = text if text.isprintable() else ascii(value)
    return text if len(text) <= most else f"{text[:most]}..."


def check_names(names: Iterable[str], allowed: Collection[str], what: str, of: str = "") -> None:
    """Refuse names that aren't among those allowed.

    Args:
        names: what was given.
        allowed: all names that there are.
        what: what they name, for the message.
        of: what that belongs to, for the message; may be empty.

    Raises:
        UserError: a name that isn't allowed; the message has it and all that are.
    """
    for name in names:
        if name not in allowed:
            owner = f" of {of}" if of else ""
            raise UserError(f"unknown {what} {name!r}{owner}; {', '.join(allowed)}")
