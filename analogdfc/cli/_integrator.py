"""The options of how `dfc` goes through its loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from analogdfc.cli._options import Finite
from analogdfc.dynamics import Radau
from analogdfc.errors import UserError

_Command = TypeVar("_Command", bound=Callable[..., Any])


def integrator_options(command: _Command) -> _Command:
    """The options of how `dfc` goes through its loop; see `integrator_of`."""
    options = [
        click.option(
            "--integrator",
            type=click.Choice(["euler", "radau"]),
            help="How dfc, or dfc-ss with --simulate, goes through its loop: in the paper's Euler "
            "steps, or in few long steps of Radau's method, more than ten times as fast, that "
            "follow the unmodified equations with an estimated error of the update.  "
            "[default: euler]",
        ),
        click.option(
            "--update-error",
            type=Finite(min=0, min_open=True, max=1, max_open=True),
            help="Error of the update that radau aims at, relative to its norm.  "
            f"[default: {Radau().tolerance:g}]",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def integrator_of(name: str | None, error: float | None) -> Radau | None:
    """The integrator that the options ask for; None for the Euler steps of preset or rule.

    Raises:
        UserError: an error of the update without radau.
    """
    if name == "radau":
        return Radau() if error is None else Radau(error)
    if error is not None:
        raise UserError(f"--update-error {error:g} is for --integrator radau")
    return None
