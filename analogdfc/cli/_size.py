"""What `size` prints."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table

from analogdfc.cases import Stimuli
from analogdfc.cli._console import make_console
from analogdfc.digital.training import engineering
from analogdfc.sizing.finding import Sizing
from analogdfc.sizing.report import easy_end, unseen
from analogdfc.sizing.specification import REQUIREMENTS

NO_SIMULATION = "not verified: --no-verify left the simulation out"

_ENOUGH = 0.9
"""Share of unseen chips below which the output says how to get more."""

_LEGEND = """\
limit: the value and its safe side. alone up to: how far this one could go, all others as they
stand, until a bound breaks. Other amplifier properties, mismatch, tolerances: the card's."""


def show(sizing: Sizing, origin: str, data: Stimuli) -> None:
    """Print the specification and what it was tried on."""
    console = make_console()

    def say(text: str, style: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    problem, final = sizing.problem, sizing.final
    say(f"network {'-'.join(map(str, problem.design.sizes))}, {origin}")
    say(f"{data.source}; {_chips(len(problem.seeds))}; card: {problem.design.card.card.name}")
    for remark in problem.remarks:
        say(f"Warning: {remark}", "bold")
    kept = sum(o.keeps(problem, problem.aim) for o in sizing.trials)
    say(f"{len(sizing.trials)} designs tried, {kept} keep all bounds")
    console.print(_table(sizing))
    say(_LEGEND, style="dim")
    for name, value in sizing.unsafe.items():
        requirement = REQUIREMENTS[name]
        say(
            f"more is not always better: alone at {requirement.symbol} = "
            f"{requirement.text(value)}, a bound breaks",
            style="bold",
        )
    card = sizing.design.card
    say(
        f"conductances: R_on {si(1 / card.device.g_max, 'ohm')} (given) to R_off "
        f"{si(1 / card.device.g_min, 'ohm')}; quiescent current of an amplifier "
        f"{si(card.amplifier.quiescent_current, 'A')}"
    )
    say(
        f"energy of a sample {si(final.energy, 'J')}, over {si(problem.seconds, 's')}; "
        f"settles in {si(final.settling, 's')}; phase margin {final.phase_margin:.3g} degrees"
    )
    say(
        f"angle of the worst chip, static model: {final.angle:.3g} degrees (static "
        f"{final.static:.3g}, noise {final.noise:.2g}, slewing {final.slew:.2g}); aimed at "
        f"{sizing.aim:.3g}, bound {problem.max_angle:g}"
    )
    _say_simulated(say, sizing)
    if sizing.yield_angles:
        _say_unseen(say, sizing)


def si(value: float, unit: str) -> str:
    """A value with its unit, four digits."""
    return engineering(value, unit, digits=4)


def _chips(count: int) -> str:
    return "1 chip" if count == 1 else f"{count} chips"


def _say_unseen(say: Callable[..., None], sizing: Sizing) -> None:
    about = unseen(sizing)
    text = f"{about['chips']} further chips: {about['share_within_bound']:.0%} keep the bound"
    if lost := about["chips_without_rest_state"]:
        text += f"; {lost} have no rest state"
    if "median_angle_degree" in about:
        text += (
            f"; median {about['median_angle_degree']:.3g}, largest "
            f"{about['largest_angle_degree']:.3g} degrees"
        )
    say(text)
    if sizing.good_chips < _ENOUGH:
        say("to size for more of them, raise --chips or lower --safety")


def _say_simulated(say: Callable[..., None], sizing: Sizing) -> None:
    for aim, failed in sizing.rejected:
        say(f"a design that aimed at {aim:.3g} was given up: simulated, {failed.worst:.3g} degrees")
    v = sizing.verification
    if v is None:
        say(NO_SIMULATION, style="bold")
        return
    say(
        f"simulated, worst chip: ngspice, macro cells {max(v.circuit.values()):.3g} degrees; "
        f"behavioural {max(v.behavioural):.3g}; with noise {v.worst:.3g}, within the bound of "
        f"{sizing.problem.max_angle:g}",
        style="bold",
    )


def _table(sizing: Sizing) -> Table:
    table = Table(title="Specification", title_justify="left")
    table.add_column("symbol", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("alone up to", justify="right", no_wrap=True)
    table.add_column("margin", justify="right", no_wrap=True)
    for name, value in sizing.values.items():
        requirement = REQUIREMENTS[name]
        limit = f"{requirement.side} {requirement.text(value)}"
        table.add_row(requirement.symbol, requirement.meaning, limit, *_margin(sizing, name))
    return table


def _margin(sizing: Sizing, name: str) -> tuple[str, str]:
    """How far a requirement could go alone, and by which factor."""
    if name not in sizing.problem.ranges:
        return "", "given"
    value, loose = sizing.values[name], sizing.margins[name]
    if loose == easy_end(sizing, name):
        return REQUIREMENTS[name].text(loose), "end of range"
    ratio = loose / value if REQUIREMENTS[name].loose_high else value / loose
    return REQUIREMENTS[name].text(loose), f"x {ratio:.3g}"
