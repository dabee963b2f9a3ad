"""Search for cheap designs with Optuna, in generations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import NSGAIISampler

from analogdfc.errors import ConvergenceError
from analogdfc.sizing.specification import REQUIREMENTS, own_values, tightest
from analogdfc.sizing.trial import CONSTRAINTS, Outcome, Problem
from analogdfc.sizing.workers import Workers

POPULATION = 24
"""Designs of a generation; fixed, so that more trials continue a search as if asked for at once."""

_LARGEST = 10.0
"""Relative excess of a bound beyond which it makes no difference to the search."""


def search(
    workers: Workers,
    trials: int,
    progress: Callable[[int], object] = lambda _: None,
) -> list[Outcome]:
    """Designs of low energy, angle and effort (NSGA-II; Deb et al. 2002), constraints first.

    Each generation is drawn from the outcomes of those before it, by a seed of its own, so that the
    same seed gives the same trials with any number of processes; a longer search begins with those
    of a shorter one, and one that goes on after an interrupt draws the same again, of which its
    workers' spool has the outcomes.

    Args:
        workers: evaluate the designs.
        trials: how many; rounded up to whole generations.
        progress: called with the number of trials since the last call.

    Returns:
        The outcomes in the order of the trials.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize"] * 3)
    found: list[Outcome] = []
    while len(found) < trials:
        before = len(found)
        found += _generation(study, workers, before)
        progress(min(len(found), trials) - before)
    return found


def _generation(study: optuna.Study, workers: Workers, before: int) -> list[Outcome]:
    problem = workers.problem
    seed = (problem.seed * 1_000_003 + before) % 2**32
    study.sampler = NSGAIISampler(population_size=POPULATION, seed=seed)
    given = _first(problem) if before == 0 else []
    distributions = _distributions(problem)
    asked = []
    for k in range(POPULATION):
        if k < len(given):
            study.enqueue_trial(given[k])
        asked.append(study.ask(fixed_distributions=distributions))
    outcomes = workers.try_all([{n: float(v) for n, v in t.params.items()} for t in asked])
    for trial, outcome in zip(asked, outcomes, strict=True):
        for name, excess in _limited(problem, outcome).items():
            trial.set_constraint(name, excess)
        # A chip without a rest state has neither energy nor angle: worse than any that has.
        values = [outcome.energy, outcome.angle, outcome.effort]
        study.tell(trial, values if outcome.works else [1.0, 180.0, 100.0])
    return outcomes


def _limited(problem: Problem, outcome: Outcome) -> dict[str, float]:
    if not outcome.works:
        return dict.fromkeys(CONSTRAINTS, _LARGEST)
    excess = outcome.excess(problem, problem.aim)
    return {name: min(value, _LARGEST) for name, value in excess.items()}


def _distributions(problem: Problem) -> dict[str, BaseDistribution]:
    return {
        name: IntDistribution(int(low), int(high), log=True)
        if REQUIREMENTS[name].whole
        else FloatDistribution(low, high, log=True)
        for name, (low, high) in problem.ranges.items()
    }


def _first(problem: Problem) -> list[dict[str, Any]]:
    """The card's own design, as far as the ranges have it, and the hard end of every range."""
    own, hard = own_values(problem.design.card), tightest(problem.ranges)
    card = {
        name: min(max(own.get(name, hard[name]), low), high)
        for name, (low, high) in problem.ranges.items()
    }
    return [
        {n: int(v) if REQUIREMENTS[n].whole else v for n, v in point.items()}
        for point in (card, hard)
    ]


# What comes out


def cheapest(problem: Problem, outcomes: Sequence[Outcome], aim: float) -> Outcome:
    """The design of least effort and energy, in decades, among those that keep all bounds.

    Raises:
        ConvergenceError: there is none; the message says which bound was closest and what to
            change.
    """
    kept = [o for o in outcomes if o.keeps(problem, aim)]
    if not kept:
        raise ConvergenceError(_nothing(problem, outcomes, aim))
    return min(kept, key=cost)


def cost(outcome: Outcome) -> float:
    """Decades of effort and of energy, in sum."""
    return outcome.effort + math.log10(outcome.energy)


def front(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that no other beats in energy and angle both, by increasing energy."""
    best: list[Outcome] = []
    for outcome in sorted(outcomes, key=lambda o: (o.energy, o.angle)):
        if not best or outcome.angle < best[-1].angle:
            best.append(outcome)
    return best


def _nothing(problem: Problem, outcomes: Sequence[Outcome], aim: float) -> str:
    working = [o for o in outcomes if o.works]
    head = f"no design within the ranges keeps all bounds, of {len(outcomes)} tried"
    if not working:
        return f"{head}: {outcomes[0].reason}"
    closest = min(working, key=lambda o: max(o.excess(problem, aim).values()))
    excess = closest.excess(problem, aim)
    worst = max(excess, key=excess.__getitem__)
    return f"{head}. {_closest(problem, closest, worst, aim)}; {_advice(problem, closest, worst)}"


def _closest(problem: Problem, o: Outcome, bound: str, aim: float) -> str:
    tau = problem.design.seconds
    if bound == "angle":
        share = f" ({problem.safety:g} of {problem.max_angle:g})"
        return f"The closest has an angle of {o.angle:.3g} degrees where {aim:.3g}{share} is needed"
    if bound == "phase margin":
        return (
            f"The closest has a phase margin of {o.phase_margin:.3g} degrees where "
            f"{problem.phase_margin:g} is needed{_because(o)}"
        )
    if bound == "settling":
        found = f"settles in {o.settling / tau:.3g} units of time where {problem.duration:g} are"
        return f"The closest {found} allowed"
    return (
        f"The closest slews for {1e6 * o.slewing:.3g} us where one tau_v, "
        f"{1e6 * problem.design.tau_v_seconds:.3g} us, is allowed"
    )


def _because(o: Outcome) -> str:
    return f" ({o.reason})" if o.reason else ""


_HELP: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "angle": (
        "raise `max_angle` or lower the card's [device] mismatch",
        ("noise", "gain", "offset", "levels", "window", "word", "bit"),
    ),
    "phase margin": ("lower k_p, the feedback weights or `phase_margin`", ("bandwidth",)),
    "settling": ("raise duration", ("bandwidth", "gain")),
    "slewing": ("lower the target steps", ("slew",)),
}


def _advice(problem: Problem, closest: Outcome, bound: str) -> str:
    first, names = _HELP[bound]
    held = [n for n in names if n in problem.fixed]
    hard = tightest(problem.ranges)
    at_end = [
        n
        for n in names
        if n in hard and abs(math.log(closest.values[n] / hard[n])) < 0.1 * _width(problem, n)
    ]
    more = [f"free the fixed {', '.join(held)}"] if held else []
    more += [f"widen the range of {', '.join(at_end)}"] if at_end else []
    return ", or ".join([first, *more])


def _width(problem: Problem, name: str) -> float:
    low, high = problem.ranges[name]
    return math.log(high / low)
