"""The options of `train` that are settings by their names, and help in sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

import click
from rich.table import Table

from analogdfc.cli._console import make_console
from analogdfc.cli._options import bundled
from analogdfc.errors import UserError
from analogdfc.training import Experiment
from analogdfc.tuning import settings_of

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Named(NamedTuple):
    """A setting with an option of its own.

    Attributes:
        setting: its name.
        metavar: what its values are.
        about: what it is.
    """

    setting: str
    metavar: str
    about: str


NAMED: dict[str, _Named] = {
    "--controller": _Named("controller.kind", "[P|I|PI|PD|PID]", "Kind of controller."),
    "--k-p": _Named("controller.k_p", "NUMBER", "Its proportional gain."),
    "--tau-u": _Named("controller.tau_u", "NUMBER", "Time constant of its integral part, 1 / k_i."),
    "--alpha": _Named("controller.alpha", "NUMBER", "Its leak."),
    "--k-d": _Named("controller.k_d", "NUMBER", "Its derivative gain, of PD and PID."),
    "--tau-v": _Named("tau_v", "NUMBER", "Time constant of the neurons, in units of tau_u."),
    "--dt": _Named("dt", "NUMBER", "Time step of the loop, in units of tau_u."),
    "--steps": _Named("steps", "COUNT", "Time steps of the loop."),
    "--momentum": _Named("optimizer.momentum", "NUMBER", "Share of the last step, of sgd."),
    "--weight-decay": _Named("optimizer.weight_decay", "NUMBER", "L2 penalty of the weights."),
    "--initial": _Named(
        "weights.kind", "[glorot|normal|uniform|orthogonal]", "Where the weights start."
    ),
    "--initial-scale": _Named("weights.scale", "NUMBER", "How large they are."),
    "--dropout": _Named("dropout.hidden", "NUMBER", "Probability that a hidden neuron is silent."),
    "--frozen": _Named("frozen", "LAYER,LAYER", "Layers that don't learn; the first is 1."),
    "--spread": _Named("pathway.spread", "NUMBER", "Largest random feedback weight, uniform."),
    "--feedback-width": _Named(
        "pathway.width", "COUNT", "Neurons of each stem of a feedback network g_i(u)."
    ),
}
"""Settings that are chosen often."""


@dataclass(frozen=True)
class Given:
    """What the command line says of settings: the texts of `NAMED`, None where it says nothing.

    Attributes:
        given: those of --set.
        linear_rule: the flag.
    """

    given: tuple[str, ...]
    linear_rule: bool
    controller: str | None
    k_p: str | None
    tau_u: str | None
    alpha: str | None
    k_d: str | None
    tau_v: str | None
    dt: str | None
    steps: str | None
    momentum: str | None
    weight_decay: str | None
    initial: str | None
    initial_scale: str | None
    dropout: str | None
    frozen: str | None
    spread: str | None
    feedback_width: str | None

    def values(self) -> dict[str, Any]:
        """The values by the names of the settings.

        Raises:
            UserError: no NAME=VALUE, or a setting that is given twice.
        """
        found: dict[str, Any] = {}
        for text in self.given:
            name, value = _split(text)
            _enter(found, name, value, f"--set {name}")
        for option, named in NAMED.items():
            value = getattr(self, option[2:].replace("-", "_"))
            if value is not None:
                _enter(found, named.setting, value, option)
        if self.linear_rule:
            _enter(found, "nonlinear", False, "--linear-rule")
        return found


def setting_options(command: _Command) -> _Command:
    """The options of settings, handed over as one argument `settings`; see `Given`."""
    out = bundled("settings", Given)(command)
    out = click.option(
        "--linear-rule",
        is_flag=True,
        help="Learn from v - v_ff (eq. 9) and not from phi(v) - phi(v_ff) (eq. 5).",
    )(out)
    for option, named in reversed(NAMED.items()):
        out = click.option(option, metavar=named.metavar, help=named.about)(out)
    return click.option(
        "--set",
        "given",
        metavar="NAME=VALUE",
        multiple=True,
        help="Any setting by its name, such as sleep.sigma=0.02; once a setting. --list-settings "
        "has them all.",
    )(out)


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: write NAME=VALUE, such as controller.k_p=2")
    return name.strip(), value.strip()


def _enter(found: dict[str, Any], name: str, value: Any, option: str) -> None:
    if name in found:
        raise UserError(f"{option}: {name} is given twice")
    found[name] = value


def show_settings(experiment: Experiment) -> None:
    """Print all settings of a training, with their values."""
    table = Table()
    for name in ("setting", "value", "what it is"):
        table.add_column(name, no_wrap=name == "setting")
    for setting in settings_of(experiment).values():
        value = setting.value
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        shown = "none" if value in (None, ()) else text
        table.add_row(setting.name, shown, setting.about.replace("[", r"\["))
    make_console().print(table)


class Sections(click.Command):
    """A command whose help has its options in sections.

    Attributes:
        sections: names of the arguments in each section, by its title; the rest comes last.
    """

    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        rows = {
            parameter.name: row
            for parameter in self.get_params(ctx)
            if (row := parameter.get_help_record(ctx)) is not None
        }
        for title, names in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([rows.pop(name) for name in names])
        with formatter.section("Other options"):
            formatter.write_dl(list(rows.values()))
