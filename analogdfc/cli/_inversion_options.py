"""The options that choose dynamic inversion as the circuit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from analogdfc.cli._options import bundled, refuse
from analogdfc.errors import UserError

_Command = TypeVar("_Command", bound=Callable[..., Any])

NONE_HERE = "dynamic inversion has nothing of it"

RULES = ("di", "di-repeat", "di-single-loop")
"""Names of `inverting.rules.RULES`, which take long to import."""


@dataclass(frozen=True)
class Inverting:
    """Which circuit the options ask for.

    Attributes:
        rule: name of the learning rule; 'dfc' for the control loop of Deep Feedback Control.
        fast_control: whether layers that expand are controlled by eqs. S1 and S2.
    """

    rule: str
    fast_control: bool

    @property
    def asked(self) -> bool:
        """Whether it is dynamic inversion."""
        if self.rule == "dfc":
            refuse("without --rule di or di-repeat there are no layers to invert", "fast_control")
        return self.rule != "dfc"

    @staticmethod
    def check(fidelity: str, *without: str) -> None:
        """Refuse what dynamic inversion hasn't got.

        Args:
            fidelity: level of the cells.
            without: names of options that would have no effect.
        """
        refuse(NONE_HERE, *without)
        if fidelity == "transistor":
            raise UserError("--fidelity transistor: dynamic inversion has ideal and macro cells")


def inversion_options(command: _Command) -> _Command:
    """The options that choose the circuit; adds them to a command, as `inverting`."""
    options = [
        click.option(
            "--rule",
            type=click.Choice(["dfc", *RULES]),
            default="dfc",
            show_default=True,
            help="The learning rule that is a circuit: Deep Feedback Control, or dynamic inversion "
            "of layer pairs in sequence (di), of repeated layers all at once (di-repeat), or in a "
            "single loop (di-single-loop). Inversion knows --controller and what goes with it "
            "(by default I with --alpha 0.01) but no --tau-v: errors have one unit of time.",
        ),
        click.option(
            "--fast-control",
            is_flag=True,
            help="With --rule di or di-repeat: layers that expand integrate their error "
            "themselves (eqs. S1 and S2), with the leak --alpha, by default none.",
        ),
    ]
    command = bundled("inverting", Inverting)(command)
    for option in reversed(options):
        command = option(command)
    return command
