"""What `size` prints and records."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.table import Table

from analogdfc import records
from analogdfc.cli._console import make_console
from analogdfc.cli._design import Samples
from analogdfc.digital.training import engineering
from analogdfc.records import Quantity
from analogdfc.sizing.finding import Sizing, Verification
from analogdfc.sizing.specification import REQUIREMENTS
from analogdfc.sizing.trial import CONSTRAINTS
from analogdfc.storage import Model, model_tree

NO_SIMULATION = "not verified: --no-verify left the simulation out"

_ENOUGH = 0.9
"""Share of unseen chips below which the output says how to get more."""

_LEGEND = """\
limit: the value and its safe side. alone up to: how far this one could go, all others as they
stand, until a bound breaks. Other amplifier properties, mismatch, tolerances: the card's."""


def numbers(sizing: Sizing) -> dict[str, Any]:
    """The numbers of the tables, with units in the names, for JSON and for the record."""
    problem, final = sizing.problem, sizing.final
    design = sizing.design
    device, amplifier = design.card.device, design.card.amplifier
    out: dict[str, Any] = {
        "specification": {name: _row(sizing, name) for name in REQUIREMENTS},
        "r_on_ohm": 1 / device.g_max,
        "r_off_ohm": 1 / device.g_min,
        "quiescent_current_A": amplifier.quiescent_current,
        "max_angle_degree": problem.max_angle,
        "aimed_angle_degree": sizing.aim,
        "angle_degree": final.angle,
        "angle_static_degree": final.static,
        "angle_noise_degree": final.noise,
        "angle_slewing_degree": final.slew,
        "phase_margin_degree": final.phase_margin,
        "settling_time_s": final.settling,
        "slewing_time_s": final.slewing,
        "energy_J": final.energy,
        "duration_s": problem.seconds,
        "effort_decades": final.effort,
        "trials": len(sizing.trials),
        "trials_that_keep_all_bounds": sum(o.keeps(problem, problem.aim) for o in sizing.trials),
    }
    out |= records.remarks_tree(problem.design.card.remarks)
    if sizing.yield_angles:
        out["unseen_chips"] = _unseen(sizing)
    found = sizing.verification
    out["verification"] = NO_SIMULATION if found is None else _verified(found)
    out["rejected"] = {
        f"design {k}": {"aimed_angle_degree": aim, **_verified(v)}
        for k, (aim, v) in enumerate(sizing.rejected, start=1)
    }
    return out


def _unseen(sizing: Sizing) -> dict[str, float]:
    """How further chips did; angles of those that have a rest state, if there are any."""
    angles = [a for a in sizing.yield_angles if not math.isnan(a)]
    found = {
        "chips": len(sizing.yield_angles),
        "chips_without_rest_state": len(sizing.yield_angles) - len(angles),
        "share_within_bound": sizing.good_chips,
    }
    if angles:
        found |= {"median_angle_degree": median(angles), "largest_angle_degree": max(angles)}
    return found


def _row(sizing: Sizing, name: str) -> dict[str, Any]:
    requirement = REQUIREMENTS[name]
    value = sizing.values[name]
    row: dict[str, Any] = {
        "symbol": requirement.symbol,
        "value": value,
        "unit": requirement.unit,
        "safe_side": requirement.side,
        "sought": name in sizing.problem.ranges,
    }
    if name in sizing.problem.ranges:
        row["alone_up_to"] = sizing.margins[name]
        row["easy_end"] = _easy(sizing, name)
        row["tighter_is_safe"] = name not in sizing.unsafe
    return row


def _easy(sizing: Sizing, name: str) -> float:
    return sizing.problem.ranges[name][1 if REQUIREMENTS[name].loose_high else 0]


def _verified(v: Verification) -> dict[str, Any]:
    return {
        "angle_with_noise_degree": v.worst,
        "noise_degree": v.noise,
        "ngspice_macro_degree": {f"chip {seed}": a for seed, a in v.circuit.items()},
        "behavioural_degree": list(v.behavioural),
    }


def tree(model: Model, sizing: Sizing, data: Samples) -> dict[str, Any]:
    """Inputs, trials and results for the record."""
    problem = sizing.problem
    return {
        "provenance": records.provenance(),
        "seed": problem.seed,
        "chips": list(problem.seeds),
        "card": problem.design.card.text,
        "readout": asdict(problem.design.readout),
        "network": model_tree(model),
        "samples": {
            "source": data.source,
            "x": Quantity(data.x.numpy(), "1", "inputs, (sample, neuron)"),
            "target_step": Quantity(data.step.numpy(), "1", "r* - r_L of the free phase"),
        },
        "ranges": {
            n: Quantity(list(r), REQUIREMENTS[n].unit, REQUIREMENTS[n].meaning)
            for n, r in problem.ranges.items()
        },
        "fixed": {n: Quantity(v, REQUIREMENTS[n].unit) for n, v in problem.fixed.items()},
        "trials": _trials(sizing),
        "unseen_chips": {"angle": Quantity(list(sizing.yield_angles), "degree")},
        "sized_card": sizing.card_text,
        "results": _recorded(numbers(sizing)),
    }


def _recorded(node: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as leaves of a record: lists of numbers become arrays with a unit."""
    out: dict[str, Any] = {}
    for name, leaf in node.items():
        if isinstance(leaf, Mapping):
            out[name] = _recorded(leaf)
        elif isinstance(leaf, list):
            out[name] = Quantity(leaf, "degree")
        else:
            out[name] = leaf
    return out


def _trials(sizing: Sizing) -> dict[str, Any]:
    trials, problem = sizing.trials, sizing.problem
    columns: dict[str, Any] = {
        name: Quantity([o.values[name] for o in trials], REQUIREMENTS[name].unit)
        for name in problem.ranges
    }
    results = {
        "energy": ("J", "of one sample"),
        "angle": ("degree", "of the worst chip, with noise and slewing"),
        "static": ("degree", "of the worst chip"),
        "noise": ("degree", ""),
        "slew": ("degree", ""),
        "effort": ("decade", "requirements against their easy ends"),
        "phase_margin": ("degree", "0: unstable"),
        "settling": ("s", ""),
        "slewing": ("s", ""),
    }
    for name, (unit, what) in results.items():
        column = f"{name}_angle" if name in ("noise", "slew") else name
        columns[column] = Quantity([getattr(o, name) for o in trials], unit, what)
    keeps = [o.keeps(problem, problem.aim) for o in trials]
    columns["feasible"] = Quantity(keeps, "1", "keeps " + ", ".join(CONSTRAINTS))
    return columns


def show(sizing: Sizing, origin: str, data: Samples) -> None:
    """Print the specification and what it was tried on."""
    console = make_console()

    def say(text: str, style: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    problem, final = sizing.problem, sizing.final
    say(f"network {'-'.join(map(str, problem.design.sizes))}, {origin}")
    say(f"{data.source}; {_chips(len(problem.seeds))}; card: {problem.design.card.card.name}")
    for remark in problem.design.card.remarks:
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
        f"conductances: R_on {_si(1 / card.device.g_max, 'ohm')} (given) to R_off "
        f"{_si(1 / card.device.g_min, 'ohm')}; quiescent current of an amplifier "
        f"{_si(card.amplifier.quiescent_current, 'A')}"
    )
    say(
        f"energy of a sample {_si(final.energy, 'J')}, over {_si(problem.seconds, 's')}; "
        f"settles in {_si(final.settling, 's')}; phase margin {final.phase_margin:.3g} degrees"
    )
    say(
        f"angle of the worst chip, static model: {final.angle:.3g} degrees (static "
        f"{final.static:.3g}, noise {final.noise:.2g}, slewing {final.slew:.2g}); aimed at "
        f"{sizing.aim:.3g}, bound {problem.max_angle:g}"
    )
    _say_simulated(say, sizing)
    if sizing.yield_angles:
        _say_unseen(say, sizing)


def _si(value: float, unit: str) -> str:
    return engineering(value, unit, digits=4)


def _chips(count: int) -> str:
    return "1 chip" if count == 1 else f"{count} chips"


def _say_unseen(say: Callable[..., None], sizing: Sizing) -> None:
    about = _unseen(sizing)
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
    for name, requirement in REQUIREMENTS.items():
        value = sizing.values[name]
        limit = f"{requirement.side} {requirement.text(value)}"
        table.add_row(requirement.symbol, requirement.meaning, limit, *_margin(sizing, name))
    return table


def _margin(sizing: Sizing, name: str) -> tuple[str, str]:
    """How far a requirement could go alone, and by which factor."""
    if name not in sizing.problem.ranges:
        return "", "given"
    value, loose = sizing.values[name], sizing.margins[name]
    if loose == _easy(sizing, name):
        return REQUIREMENTS[name].text(loose), "end of range"
    ratio = loose / value if REQUIREMENTS[name].loose_high else value / loose
    return REQUIREMENTS[name].text(loose), f"x {ratio:.3g}"
