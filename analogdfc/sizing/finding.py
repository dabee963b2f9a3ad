"""The cheapest circuit whose weight update keeps an angle to the ideal one.

A trial is judged by the static model of several chips, the margins of the linearised loop and the
energy in closed form; Optuna searches (energy, angle, effort). From the cheapest trial that keeps
all bounds, one requirement after another is loosened until a bound would break, and the design that
is left is simulated in full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from analogdfc.cards.writing import card_text
from analogdfc.circuit.capacity import UNKNOWNS, check_solving
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.dynamics import Trajectory
from analogdfc.effort import circuit_seconds, model_seconds
from analogdfc.errors import ConvergenceError
from analogdfc.jobs import Spool, processes, spool_beside
from analogdfc.sizing import specification
from analogdfc.sizing.polish import Polished, Start, margins, unsafe
from analogdfc.sizing.search import cheapest, cost, search
from analogdfc.sizing.trial import Outcome, Problem, noise_angle
from analogdfc.sizing.workers import Workers
from analogdfc.spice.simulation import PARTS
from analogdfc.spice.simulator import Simulator
from analogdfc.study import Cells, Study

_TIGHTER = 0.97
"""Factor on the aim beside what a simulation asks for, so that the next one does not just miss."""


@dataclass(frozen=True)
class Verification:
    """The finished design, simulated in full.

    Attributes:
        behavioural: angle of every chip's time-averaged update to the ideal one in the full
            behavioural model, in degrees, as `compare` measures it.
        circuit: the same in ngspice, with cells at level macro, by seed; of the chips that were
            worst in the behavioural model.
        noise: angle that noise adds in quadrature, which no waveform has.
    """

    behavioural: tuple[float, ...]
    circuit: Mapping[int, float]
    noise: float

    @property
    def worst(self) -> float:
        """Largest angle of both, with noise, in degrees."""
        return math.hypot(max(*self.behavioural, *self.circuit.values()), self.noise)


def verify(
    problem: Problem,
    design: Design,
    simulator: Simulator,
    *,
    circuits: int = 1,
    jobs: int = 1,
    time_limit: float = 600.0,
    spool: Spool | None = None,
    progress: Callable[[], object] | None = None,
) -> Verification:
    """Simulate the chips of a design on the problem's samples, in full.

    Args:
        problem: what has been sized.
        design: with the properties found.
        simulator: how ngspice is run.
        circuits: chips that are simulated in ngspice, the worst of the behavioural model first.
        jobs: circuit simulations at a time.
        time_limit: seconds that the circuit simulation of one sample may take.
        spool: where finished simulations are kept; None keeps none.
        progress: called after each circuit simulation.

    Raises:
        UserError: ngspice is missing or refuses the netlist.
        ConvergenceError: a simulation that doesn't converge or doesn't end in time.
    """
    study = _study(problem, design, spool)
    ideal = study.ideal()

    def angle(run: Trajectory) -> float:
        return study.compare("ideal", "realised", "deviation", ideal, run).updates["all"].angle

    behavioural = [angle(run) for run in study.behavioural(problem.seeds, tolerance=2e-5)]
    order = sorted(range(len(behavioural)), key=lambda k: -behavioural[k])
    circuit = {}
    for k in order[:circuits]:
        cells = Cells("macro", simulator, seed=problem.seeds[k], time_limit=time_limit, jobs=jobs)
        run = cells.run(study, _ended(progress or (lambda: None)))
        circuit[problem.seeds[k]] = angle(run)
    return Verification(tuple(behavioural), circuit, noise_angle(problem, design))


def _study(problem: Problem, design: Design, spool: Spool | None = None) -> Study:
    dt = design.tau_v / 10
    return Study(design, problem.x, problem.step, dt, max(1, round(problem.duration / dt)), spool)


def _ended(progress: Callable[[], object]) -> Callable[[str, int, int], None]:
    """Progress of parts of simulations, as one that is told when one has ended."""
    told = 0

    def tell(name: str, done: int, total: int) -> None:
        nonlocal told
        while told < done // PARTS:
            told += 1
            progress()

    return tell


def simulation_seconds(problem: Problem, options: Options) -> dict[str, float]:
    """Time that simulating a found design takes, in seconds, by what is done.

    Args:
        problem: what is sized.
        options: how it is run.
    """
    design, samples = problem.design, len(problem.x)
    intervals = problem.duration / (design.tau_v / 10)
    rounds = options.circuits * -(-samples // options.jobs)
    return {
        "behavioural model": model_seconds(design, len(problem.seeds) * samples, intervals),
        "ngspice, macro cells": rounds * circuit_seconds(design, "macro", problem.duration),
    }


def _check_simulation(problem: Problem) -> None:
    """Make sure that there is memory to simulate what will be found."""
    _study(problem, problem.design)
    unknowns = UNKNOWNS * Chip.of(problem.design).circuit.amplifiers
    check_solving(unknowns, len(problem.seeds), len(problem.x))


@dataclass(frozen=True)
class Sizing:
    """What was found.

    Attributes:
        problem: what was sized.
        trials: outcomes of the search, in their order.
        start: the trial that the polish began with.
        final: the finished design's outcome.
        aim: angle that it was polished for, in degrees; less than the problem's where the
            simulation asked for more.
        margins: value of each sought requirement, in SI units, to which it alone could be loosened
            until the bound itself breaks.
        unsafe: requirements that must not be met with more than this, by name; tighter values of
            all others keep the bounds.
        yield_angles: angles of chips that the search never saw, in degrees.
        verification: None where it was left out.
        rejected: verifications of designs that broke the bound, with their aims.
    """

    problem: Problem
    trials: tuple[Outcome, ...]
    start: Outcome
    final: Outcome
    aim: float
    margins: Mapping[str, float]
    unsafe: Mapping[str, float]
    yield_angles: tuple[float, ...]
    verification: Verification | None
    rejected: tuple[tuple[float, Verification], ...] = ()

    @property
    def design(self) -> Design:
        """The finished design."""
        return self.problem.realised(self.final.values)

    @property
    def values(self) -> dict[str, float]:
        """All requirements, sought and fixed, in SI units."""
        both = {**self.final.values, **self.problem.fixed}
        return {name: both[name] for name in specification.REQUIREMENTS if name in both}

    @property
    def card_text(self) -> str:
        """The finished design's technology card (TOML)."""
        base, problem = self.problem.design.card, self.problem
        identity = base.card.model_copy(update={"name": f"sized: {base.card.name}"[:120]})
        card = self.design.card.model_copy(update={"card": identity})
        bound = f"sized for an angle of {problem.max_angle:g} degrees, chips: {len(problem.seeds)}"
        return card_text(card, base, bound)

    @property
    def good_chips(self) -> float:
        """Share of the unseen chips that keep the bound."""
        kept = [a <= self.problem.max_angle for a in self.yield_angles]
        return sum(kept) / len(kept)


class Options(NamedTuple):
    """How a sizing is run; nothing here changes which design is right.

    Attributes:
        trials: designs that the search tries, in whole generations.
        jobs: processes.
        storage: folder that keeps what was found on the way; none keeps it in memory.
        unseen: further chips on which the design is tried.
        circuits: chips that are simulated in ngspice.
        time_limit: seconds that the circuit simulation of one sample may take.
        rounds: designs that may fail the simulation before it is given up.
    """

    trials: int = 144
    jobs: int = 1
    storage: Path | None = None
    unseen: int = 40
    circuits: int = 1
    time_limit: float = 600.0
    rounds: int = 4


Progress = Callable[[str, int], object]
"""Called with the name of a stage and how much of it is done since the last call."""


def size(
    problem: Problem,
    simulator: Simulator | None,
    options: Options | None = None,
    progress: Progress = lambda stage, done: None,
    executor: Executor | None = None,
) -> Sizing:
    """Find the cheapest design and verify it.

    Args:
        problem: what is sized.
        simulator: how ngspice is run; None leaves the verification out.
        options: how it is run.
        progress: told what is being done.
        executor: what tries designs; None processes of this machine.

    Raises:
        UserError: a storage that can't be used, a simulation that doesn't fit the memory, or
            ngspice refuses the netlist.
        ConvergenceError: no design within the ranges keeps the bounds, or none that keeps them in
            the static model does so in the simulation; says what was found.
    """
    options = options or Options()
    if simulator is not None:
        _check_simulation(problem)
    own = processes(options.jobs) if executor is None else nullcontext(executor)
    with _kept(options.storage) as spool, own as pool:
        workers = Workers(problem, pool, spool)
        trials = search(workers, options.trials, lambda n: progress("search", n))
        aim, rejected = problem.aim, []
        while True:
            start, final = _best(workers, trials, aim)
            progress("polish", 1)
            found = None
            if simulator is not None:
                found = verify(
                    problem,
                    problem.realised(final.values),
                    simulator,
                    circuits=options.circuits,
                    jobs=options.jobs,
                    time_limit=options.time_limit,
                    spool=spool,
                    progress=lambda: progress("verify", 1),
                )
            if found is None or found.worst <= problem.max_angle:
                break
            rejected.append((aim, found))
            if len(rejected) >= options.rounds:
                raise ConvergenceError(_rejection(problem, rejected))
            aim *= _TIGHTER * problem.max_angle / found.worst
        loose = margins(workers, final, lambda: progress("margins", 1))
        harmful = unsafe(workers, final)
        fresh = range(max(problem.seeds) + 1, max(problem.seeds) + 1 + options.unseen)
        angles = workers.unseen(final.values, fresh)
    return Sizing(
        problem,
        tuple(trials),
        start,
        final,
        aim,
        loose,
        harmful,
        tuple(angles),
        found,
        tuple(rejected),
    )


def _kept(storage: Path | None) -> AbstractContextManager[Spool | None]:
    return nullcontext() if storage is None else spool_beside(storage, keep=True)


def _best(workers: Workers, trials: Sequence[Outcome], aim: float) -> tuple[Outcome, Outcome]:
    """The cheaper of two polished designs, and the trial that it began with."""
    problem = workers.problem
    first = cheapest(problem, trials, aim)
    # The hardest one has most to give, evenly; it often ends cheaper than the cheapest trial.
    hardest = max((o for o in trials if o.keeps(problem, aim)), key=lambda o: o.effort)
    starts = [Start(first, aim)] + ([Start(hardest, aim)] if hardest != first else [])
    found = workers.each(Polished, starts)
    best = min(range(len(found)), key=lambda k: cost(found[k]))
    return starts[best].outcome, found[best]


def _rejection(problem: Problem, rejected: Sequence[tuple[float, Verification]]) -> str:
    tried = ", ".join(f"{v.worst:.3g} (aimed at {aim:.3g})" for aim, v in rejected)
    return (
        f"simulated in full, no design kept the bound of {problem.max_angle:g} degrees: {tried} "
        "degrees. Raise `max_angle`, or lower the upper ends of noise and offset or raise the "
        "lower ends of bandwidth and slew"
    )
