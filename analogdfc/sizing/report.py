"""A sizing as trees of numbers, for records and for machines."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

from analogdfc.cases import Stimuli
from analogdfc.findings import inputs_tree
from analogdfc.records import Quantity, remarks_tree
from analogdfc.sizing.finding import Sizing, Verification
from analogdfc.sizing.specification import REQUIREMENTS
from analogdfc.sizing.trial import CONSTRAINTS
from analogdfc.storage import Model
from analogdfc.trees import as_leaves

NO_SIMULATION = "not verified: the simulation was left out"


def numbers(sizing: Sizing) -> dict[str, Any]:
    """The results, with units in the names or beside the values.

    Args:
        sizing: what was found.
    """
    problem, final = sizing.problem, sizing.final
    design = sizing.design
    device, amplifier = design.card.device, design.card.amplifier
    out: dict[str, Any] = {
        "specification": {name: _row(sizing, name) for name in sizing.values},
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
    out |= remarks_tree(problem.remarks)
    if sizing.yield_angles:
        out["unseen_chips"] = unseen(sizing)
    found = sizing.verification
    out["verification"] = NO_SIMULATION if found is None else _verified(found)
    out["rejected"] = {
        f"design {k}": {"aimed_angle_degree": aim, **_verified(v)}
        for k, (aim, v) in enumerate(sizing.rejected, start=1)
    }
    return out


def unseen(sizing: Sizing) -> dict[str, float]:
    """How further chips did; angles of those that have a rest state, if there are any.

    Args:
        sizing: what was found.
    """
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
        row["easy_end"] = easy_end(sizing, name)
        row["tighter_is_safe"] = name not in sizing.unsafe
    return row


def easy_end(sizing: Sizing, name: str) -> float:
    """The end of a requirement's range that asks the least of the circuit.

    Args:
        sizing: what was found.
        name: of the requirement.
    """
    return sizing.problem.ranges[name][1 if REQUIREMENTS[name].loose_high else 0]


def _verified(v: Verification) -> dict[str, Any]:
    return {
        "angle_with_noise_degree": v.worst,
        "noise_degree": v.noise,
        "ngspice_macro_degree": {f"chip {seed}": a for seed, a in v.circuit.items()},
        "behavioural_degree": Quantity(
            v.behavioural, "degree", "of the update to the ideal one", ("chip",)
        ),
    }


def tree(model: Model, sizing: Sizing, stimuli: Stimuli) -> dict[str, Any]:
    """Inputs, trials and results for the record.

    Args:
        model: the network with its control loop.
        sizing: what was found.
        stimuli: what the designs were tried on.
    """
    problem = sizing.problem
    return {
        **inputs_tree(model, problem.design, (problem.seed, problem.seeds[0]), stimuli),
        "chips": Quantity(list(problem.seeds), "1", "their seeds", ("chip",)),
        "ranges": {
            n: Quantity(
                list(r), REQUIREMENTS[n].unit, REQUIREMENTS[n].meaning, ("end (low, high)",)
            )
            for n, r in problem.ranges.items()
        },
        "fixed": {
            n: Quantity(v, REQUIREMENTS[n].unit, REQUIREMENTS[n].meaning)
            for n, v in problem.fixed.items()
        },
        "trials": _trials(sizing),
        "unseen_chips": {
            "angle": Quantity(
                list(sizing.yield_angles),
                "degree",
                "of the update to the ideal one; nan where a chip has no rest state",
                ("chip",),
            )
        },
        "sized_card": sizing.card_text,
        "results": as_leaves(numbers(sizing)),
    }


def _trials(sizing: Sizing) -> dict[str, Any]:
    trials, problem = sizing.trials, sizing.problem
    columns: dict[str, Any] = {
        name: Quantity(
            [o.values[name] for o in trials],
            REQUIREMENTS[name].unit,
            REQUIREMENTS[name].meaning,
            ("trial",),
        )
        for name in problem.ranges
    }
    results = {
        "energy": ("J", "of one sample"),
        "angle": ("degree", "of the worst chip, with noise and slewing"),
        "static": ("degree", "of the worst chip"),
        "noise": ("degree", "that noise adds in quadrature"),
        "slew": ("degree", "that slewing adds at most"),
        "effort": ("decade", "requirements against their easy ends"),
        "phase_margin": ("degree", "0: unstable"),
        "settling": ("s", "until the control signal stays within 2 %"),
        "slewing": ("s", "of the largest swing"),
    }
    for name, (unit, what) in results.items():
        column = f"{name}_angle" if name in ("noise", "slew") else name
        columns[column] = Quantity([getattr(o, name) for o in trials], unit, what, ("trial",))
    keeps = [o.keeps(problem, problem.aim) for o in trials]
    columns["feasible"] = Quantity(keeps, "1", "keeps " + ", ".join(CONSTRAINTS), ("trial",))
    return columns
