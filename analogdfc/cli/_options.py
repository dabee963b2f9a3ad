"""Options that travel together: a command takes them as one frozen dataclass."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from click.core import ParameterSource

from analogdfc import records
from analogdfc.controller import CONTROLLERS, Controller, Leak, retuned
from analogdfc.errors import UserError

_Command = TypeVar("_Command", bound=Callable[..., Any])


def bundled(name: str, kind: type[Any]) -> Callable[[_Command], _Command]:
    """Hand the options that have the names of a dataclass's fields to a command as one argument.

    Args:
        name: name of the argument.
        kind: the dataclass.
    """
    fields = [field.name for field in dataclasses.fields(kind)]

    def wrap(command: _Command) -> _Command:
        @functools.wraps(command)
        def inner(**options: Any) -> Any:
            options[name] = kind(**{field: options.pop(field) for field in fields})
            return command(**options)

        return inner  # type: ignore[return-value]

    return wrap


class Number(click.types.FloatParamType):
    """A finite number; what takes it says which it may be. Click's own takes nan and inf."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse the text; fails with what is allowed."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class Finite(Number, click.FloatRange):
    """A finite number in a range."""


class Count(click.IntRange):
    """An integer from a least one to as many as anything here can count.

    Args:
        least: the least.
        most: the most.
    """

    def __init__(self, least: int, most: int = 2**31 - 1) -> None:
        super().__init__(min=least)
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse the text; fails with what is allowed."""
        number = int(super().convert(value, param, ctx))
        if number > self.most:
            self.fail(f"{number} is more than {self.most}", param, ctx)
        return number


SEED = Count(0, most=2**62)
"""Type of a seed; there is room for the seeds that are counted up from it."""


CHIP_SEED = click.option(
    "--chip-seed",
    type=SEED,
    help="Seed of the chip's components, so that the same inputs run on other chips.  [default: "
    "that of --seed]",
)
"""The chip apart from what is run on it."""


MODULE = click.option(
    "--module",
    type=click.Path(path_type=Path),
    metavar="FILE.py",
    help="Run a Python file of your own first, which registers rules, data sets or activations.",
)
"""Parts of one's own."""


def check_outputs(record: Path, *beside: Path, read: Iterable[str | Path | None] = ()) -> None:
    """Make sure that what a command writes can be written, and holds all that it was told.

    Args:
        record: see `plots.check_outputs`, as of the others.
        beside: files that are written with it.
        read: files that are read.

    Raises:
        UserError: what that refuses, or a text that no record holds.
    """
    from analogdfc import plots  # drawing takes long to import, and not every command draws

    given = click.get_current_context().params.values()
    records.check_texts([*sys.argv[1:], *map(_text, given)])
    plots.check_outputs(record, *beside, read=read)


_NOT_SETTINGS = frozenset({"output", "as_json", "jobs", "storage", "on", "address"})


def settings() -> dict[str, Any]:
    """All that the command was told or takes by default, for its record."""
    given = click.get_current_context().params
    return {
        name: value if isinstance(value, str | bool | int | float) else _text(value)
        for name, value in sorted(given.items())
        if name not in _NOT_SETTINGS and value is not None
    }


def _text(value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return ", ".join(map(str, parts))


def refuse(why: str, *names: str) -> None:
    """Refuse options that are given and would have no effect.

    Args:
        why: they wouldn't, for the message.
        names: of the options' arguments, such as time_limit for --time-limit.

    Raises:
        UserError: one of them was given.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in names and (
            context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
        ):
            raise UserError(f"{parameter.opts[0]}: {why}")


def refuse_others(why: str, *names: str) -> None:
    """Refuse all options that are given but some.

    Args:
        why: they would have no effect, for the message.
        names: of the arguments of those that may be given.

    Raises:
        UserError: another one was given.
    """
    known = [p.name for p in click.get_current_context().command.params if p.name]
    refuse(why, *(name for name in known if name not in names))


@contextmanager
def as_options(*names: str) -> Iterator[None]:
    """Arguments that a message of the library names become the options that give them.

    Args:
        names: of the arguments, such as max_angle for --max-angle; messages have them between
            backticks.
    """
    try:
        yield
    except UserError as error:
        text = str(error)
        for name in names:
            text = text.replace(f"`{name}`", "--" + name.replace("_", "-"))
        if text == str(error):
            raise
        raise type(error)(text) from error


@dataclass(frozen=True)
class Control:
    """What the command line says of the controller; None where it says nothing.

    Attributes:
        controller: its kind.
        k_p: proportional gain.
        k_d: derivative gain, in units of time.
        alpha: leak.
        tau_u: time constant of the integral part, in units of time.
        leak: what leaks.
        tau_v: time constant of the neurons, in units of time.
    """

    controller: Literal["P", "I", "PI", "PD", "PID"] | None
    k_p: float | None
    k_d: float | None
    alpha: float | None
    tau_u: float | None
    leak: Leak | None
    tau_v: float | None

    def applied(self, given: Controller, tau_v: float) -> tuple[Controller, float]:
        """The controller and tau_v that a network has, with what the options say.

        Raises:
            UserError: a value that the kind of controller has no place for, or out of its range.
        """
        if self.tau_v is not None:
            tau_v = self.tau_v
        said: dict[str, Any] = {
            name: value
            for name in ("k_p", "k_d", "alpha", "tau_u", "leak")
            if (value := getattr(self, name)) is not None
        }
        return retuned(given, self.controller, said), tau_v


def control_options(command: _Command) -> _Command:
    """The options of a controller, handed over as one argument `control`."""
    positive = Finite(min=0, min_open=True)
    options = [
        click.option(
            "--controller",
            type=click.Choice(list(CONTROLLERS)),
            help="Kind of controller.  [default: that of --weights, or PI]",
        ),
        click.option(
            "--k-p",
            type=Finite(min=0),
            help="Its proportional gain.  [default: that of --weights, or 2]",
        ),
        click.option(
            "--k-d", type=positive, help="Its derivative gain, in the card's unit of time."
        ),
        click.option("--alpha", type=Finite(min=0), help="Its leak."),
        click.option(
            "--tau-u",
            type=positive,
            help="Time constant of its integral part, in the card's unit of time.",
        ),
        click.option(
            "--leak",
            type=click.Choice(["control", "integral"]),
            help="What leaks: the control signal (eq. 206) or the integral part (eq. 4).",
        ),
        click.option(
            "--tau-v", type=positive, help="Time constant of the neurons, in the same unit."
        ),
    ]
    command = bundled("control", Control)(command)
    for option in reversed(options):
        command = option(command)
    return command
