"""Errors that are written for the person who reads them."""

from __future__ import annotations

__all__ = ["ConvergenceError", "UserError"]


class UserError(Exception):
    """Something the user can put right: a file, an option, a missing program.

    The message says what is wrong, where, and what is allowed. The command line prints it without
    a traceback and exits with code 2; every other exception is a defect of the program.
    """


class ConvergenceError(UserError):
    """A simulation or an iteration that did not reach its answer; no number is returned."""
