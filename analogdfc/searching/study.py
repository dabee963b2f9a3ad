"""The driver of a search: asks for settings, has trials trained from rung to rung, and tells.

Settings come from the Tree-structured Parzen Estimator (Bergstra et al. 2011), as in the papers, in
generations: those of one are drawn from what all before it gave, by a seed of their own. So the
same search gives the same trials with any number of workers, after any interrupt, and a longer one
begins with those of a shorter one. After each rung but the last, of all trials that have come to
it the better half goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.jobs import Run, Spool, outcomes
from analogdfc.reproduction import Course
from analogdfc.searching.journal import Journal, Trial
from analogdfc.searching.trials import Search, changes

__all__ = ["best_of", "importance", "search"]

_KEPT = 0.5
"""Share of the trials that go on after a rung."""

_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}

Say = Callable[[str], object]


def search(
    plan: Search,
    journal: Journal,
    spool: Spool,
    executor: Executor | None = None,
    say: Say = lambda text: None,
) -> list[Trial]:
    """Do a search, or go on with one.

    Args:
        plan: what is searched.
        journal: of this search; what it has isn't done again.
        spool: where trainings are kept that aren't in the journal yet, and their states.
        executor: what does the trainings; None this process.
        say: told in a line what became of a trial.

    Returns:
        The trials in their order.

    Raises:
        UserError: what a training raises that says something about the others too, or no trial
            came to a value.
    """
    generations = -(-plan.trials // plan.together)
    for first in range(0, generations * plan.together, plan.together):
        numbers = range(first, first + plan.together)
        _ask(plan, journal, numbers)
        for epochs in (*plan.rungs, plan.epochs):
            running = [k for k in numbers if journal.trials[k].state == "running"]
            _climb(plan, journal, running, epochs, spool, executor)
            _sort_out(plan, journal, numbers, epochs)
            for trial in (journal.trials[k] for k in running):
                if trial.state != "running":
                    _state_of(plan, trial, spool).unlink(missing_ok=True)
                    say(_line(plan, trial))
    found = [journal.trials[k] for k in range(generations * plan.together)]
    best_of(found)  # which refuses a search without
    return found


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial with the least value among those that were trained to the end.

    Args:
        trials: of a search.

    Raises:
        ConvergenceError: there is none; why the first one didn't.
    """
    whole = [one for one in trials if one.state == "complete"]
    if not whole:
        raise ConvergenceError(
            f"none of {len(trials)} trials was trained to the end; the first: {trials[0].why}"
        )
    return min(whole, key=lambda one: one.value)


def importance(plan: Search, trials: Sequence[Trial]) -> dict[str, float]:
    """How much of the spread of what trials reach at the first rung a hyperparameter explains.

    By functional ANOVA (Hutter et al. 2014); shares of 1, the largest first. Empty where there are
    too few trials, or all reach the same.

    Args:
        plan: what was searched.
        trials: its trials.
    """
    rung = (*plan.rungs, plan.epochs)[0]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    for one in trials:
        value = one.reached.get(rung, math.inf)
        if math.isfinite(value):
            study.add_trial(
                create_trial(params=one.values, distributions=_distributions(plan), value=value)
            )
    if len({one.value for one in study.trials}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=plan.seed % 2**32)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def _distributions(plan: Search) -> dict[str, BaseDistribution]:
    return {one.name: one.distribution for one in plan.space}


def _ask(plan: Search, journal: Journal, numbers: Sequence[int]) -> None:
    """Draw the settings of a generation, and enter those that the journal hasn't."""
    if all(number in journal.trials for number in numbers):
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = TPESampler(seed=(plan.seed * 1_000_003 + numbers[0]) % 2**32, constant_liar=True)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    for number in range(numbers[0]):
        try:
            study.add_trial(_frozen(plan, journal.trials[number]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{journal.path}: is damaged: trial {number} is none of this search ({error})"
            ) from error
    base = plan.base
    for number in numbers:
        values = study.ask(fixed_distributions=_distributions(plan)).params
        if number not in journal.trials:
            settings = changes(plan.experiment(values), base)
            journal.asked(Trial(number, values, settings))


def _frozen(plan: Search, trial: Trial) -> FrozenTrial:
    state = _STATES[trial.state]
    return create_trial(
        state=state,
        params=trial.values,
        distributions=_distributions(plan),
        value=trial.value if state is TrialState.COMPLETE else None,
        intermediate_values=dict(trial.reached),
    )


def _climb(
    plan: Search,
    journal: Journal,
    numbers: Sequence[int],
    epochs: int,
    spool: Spool,
    executor: Executor | None,
) -> None:
    """Train those trials on to a rung that go on and haven't come to it."""
    trials = (journal.trials[k] for k in numbers)
    left = [trial for trial in trials if epochs not in trial.reached]
    runs: list[Run[Course]] = [
        plan.rung(one.settings, epochs).with_state(spool.folder) for one in left
    ]
    ended: list[Course | UserError] = outcomes(runs, spool, executor)
    for trial, found in zip(left, ended, strict=True):
        if isinstance(found, UserError):
            log = f"; {found.log}" if found.log else ""
            journal.ended(trial.number, "failed", f"{found}{log}")
            continue
        journal.told(trial.number, epochs, plan.value(found))
        if not math.isfinite(plan.value(found)):
            why = found.stopped or "its loss isn't finite"
            journal.ended(trial.number, "diverged", why)


def _sort_out(plan: Search, journal: Journal, numbers: Sequence[int], epochs: int) -> None:
    """End those of the trials that came to a rung and don't go on after it."""
    came = sorted(
        (one.reached[epochs], one.number)
        for one in journal.trials.values()
        if one.number <= numbers[-1] and epochs in one.reached
    )
    enough = came[: math.ceil(_KEPT * len(came))]
    for trial in (journal.trials[k] for k in numbers):
        if trial.state == "running" and epochs == plan.epochs:
            journal.ended(trial.number, "complete")
        elif trial.state == "running" and (trial.reached[epochs], trial.number) not in enough:
            journal.ended(trial.number, "pruned")


def _state_of(plan: Search, trial: Trial, spool: Spool) -> Path:
    """Where the state of a trial's training is left from rung to rung."""
    run = plan.rung(trial.settings, plan.epochs).with_state(spool.folder)
    assert run.checkpoint is not None
    return run.checkpoint


def _line(plan: Search, trial: Trial) -> str:
    reached = ", ".join(f"{plan.shown(v)} at epoch {n}" for n, v in trial.reached.items())
    why = f": {trial.why}" if trial.why else ""
    return f"trial {trial.number}: {trial.state}{why}" + (f", {reached}" if reached else "")
