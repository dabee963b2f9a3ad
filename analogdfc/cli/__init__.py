"""The command line, one module a command.

A command is a module `analogdfc.cli.<name>`, with an underscore for each dash of the name and
behind a word of Python's, that has a click command called `command`. It is imported when it is run,
so that `analogdfc --help` is there at once.
"""

from __future__ import annotations

import _thread
import codecs
import importlib
import io
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from keyword import iskeyword
from types import FrameType

import click

from analogdfc import __version__
from analogdfc.errors import RoundingWarning, SimulatorWarning, UserError, readable

# Name and one line of help; here rather than in the modules, which `--help` doesn't import.
COMMANDS = {
    "align": "Angles of the updates of chosen rules to the ideal updates.",
    "cards": "List all cards, or show one.",
    "characterise": "Data sheet and technology card of a cell.",
    "compare": "Lay the three realisations of a network side by side.",
    "crossbar": "Error of a matrix product on an array of devices, by cause.",
    "doctor": "Say what is installed, what is missing and how to install it.",
    "estimate": "Estimate time, energy and area of learning on a chip.",
    "import": "Make a weights file of a network that another program trained.",
    "montecarlo": "Share of many chips whose update keeps an angle.",
    "netlist": "Write the SPICE netlist of a network; needs no simulator.",
    "reproduce": "Do a table or figure of a paper again, with a verdict.",
    "rules": "List the learning rules and what each needs.",
    "search": "Search for hyperparameters as the papers did.",
    "size": "Find the least circuit whose update keeps an angle.",
    "sleep": "Let a chip learn its feedback weights, asleep.",
    "stability": "Loop gain, margins and poles, and their Bode figure.",
    "train": "Train a network by a learning rule.",
    "verify-theory": "Draw the figures of the theory's toy experiments.",
    "work": "Do the runs that a shared folder offers.",
}


class _Failure(click.ClickException):
    exit_code = 2


@contextmanager
def _readable() -> Iterator[None]:
    """What click says of a command line is as readable as what the program says."""
    try:
        yield
    except click.UsageError as error:
        said = error.format_message()
        if readable(said) == said:
            raise
        raise click.UsageError(readable(said), error.ctx) from error


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = f"analogdfc.cli.{cmd_name.replace('-', '_')}{'_' * iskeyword(cmd_name)}"
        command = importlib.import_module(module).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.command is not a click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments begin with; an unknown one is a usage error."""
        # click looks for similar names among commands that are already imported: none.
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the options that stand before the command."""
        with _readable():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what the user can put right becomes one message and exit code 2."""
        # What the library warns of is for the user too; other warnings look as always.
        with _readable(), warnings.catch_warnings():
            shown = warnings.showwarning
            warnings.showwarning = lambda message, category, *where: (
                click.echo(f"Warning: {message}", err=True)
                if issubclass(category, (RoundingWarning, SimulatorWarning))
                else shown(message, category, *where)
            )
            try:
                return super().invoke(ctx)
            except UserError as error:
                raise _Failure(str(error)) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="analogdfc")
def cli() -> None:
    """Co-simulate neural networks that learn on analog hardware.

    One network, its feedback and its controller, three ways: the equations, a model of the
    circuit, and the circuit itself in SPICE.
    """


def main() -> None:
    """Run the command line; the console script `analogdfc`.

    SIGTERM and SIGHUP end it as an interrupt does, with what it started and its temporary files,
    and the exit code 128 + the number of the signal. A closed stream takes what is written and
    drops it. Names of files are printed as they are, whatever their bytes.
    """
    # Read when NumPy is imported: commands have one thread, and processes where more are asked for.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _open_streams()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    sys.unraisablehook = partial(_heed, sys.unraisablehook)
    cli(prog_name="analogdfc")


def _open_streams() -> None:
    """Open the standard streams that are closed, so that no file takes their place either."""
    for place, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = getattr(sys, name)
        if stream is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != place:
                os.dup2(null, place)
                os.close(null)
            os.set_inheritable(place, True)  # what the program starts needs it as much
            setattr(sys, name, open(place, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and stream.errors in _NOT_FOR_TEXT:
            stream.reconfigure(errors=_UNSPOKEN)


def _as_the_terminal_can(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for text that a stream's encoding hasn't.

    Bytes of a file's name as they are; all else as Python would write it in a string.

    Args:
        error: where it stops, of which the first character is dealt with.
    """
    bytes_of_names = codecs.lookup_error("surrogateescape")
    if not isinstance(error, UnicodeEncodeError):
        return bytes_of_names(error)
    first, text = error.start, error.object
    one = UnicodeEncodeError(error.encoding, text, first, first + 1, error.reason)
    name = "\udc80" <= text[first] <= "\udcff"
    return bytes_of_names(one) if name else codecs.backslashreplace_errors(one)


_UNSPOKEN = "analogdfc.unspoken"
_NOT_FOR_TEXT = ("strict", "surrogateescape")
"""What streams do by default, with which a text that their encoding hasn't ends the program."""
codecs.register_error(_UNSPOKEN, _as_the_terminal_can)


def _heed(shown: Callable[[sys.UnraisableHookArgs], object], lost: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt again that met Python in a callback, out of which nothing is raised.

    Args:
        shown: what is done with all else that was lost.
        lost: what was raised there.
    """
    number = signal.SIGINT if isinstance(lost.exc_value, KeyboardInterrupt) else None
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if isinstance(lost.exc_value, SystemExit) and lost.exc_value.code == 128 + ending:
            signal.signal(ending, _end)
            number = ending
    if number is not None:
        # From a thread, and later: here it would be lost again. Not by `threading`, whose lock may
        # be what the callback was called under.
        _thread.start_new_thread(_interrupt, (number,))
    else:
        shown(lost)


def _interrupt(number: signal.Signals) -> None:
    time.sleep(0.01)
    _thread.interrupt_main(number)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one doesn't wait for the cleaning
    sys.exit(128 + number)


__all__ = ["COMMANDS", "LazyGroup", "cli", "main"]
