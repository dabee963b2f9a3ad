"""What `compare` runs, as its options say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.averages import Ending, Until
from analogdfc.circuit.sequences import TransientNoise
from analogdfc.cli._design import Bars, own_cells, progress_bar
from analogdfc.cli._options import refuse
from analogdfc.cli._warnings import simulator_warnings
from analogdfc.comparison import Cause
from analogdfc.effort import comparison_seconds, large_circuits, long_work
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.findings import Findings
from analogdfc.kits import Corner, Kit
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.netlist import Fidelity
from analogdfc.spice.own import OwnDevice
from analogdfc.spice.simulator import Simulator
from analogdfc.study import Cells, Ideal, Model, Realisation, Study
from analogdfc.verdicts import remarks, states_at_end


@dataclass(frozen=True)
class Options:
    """What the command line says of a comparison."""

    fidelity: Fidelity | Literal["both"]
    pdk: str | None
    corner: Corner
    temperature: float
    supply: float | None
    cells: tuple[str, ...]
    device_parameter: str | None
    rung: str
    duration: float
    with_causes: bool
    check_steps: bool
    tolerance_angle: float | None
    until_settled: float | None
    noise: float | None
    steps: tuple[Path, Path] | None
    engine: str
    engines: str | None
    solver: str
    jobs: int | None
    time_limit: float

    @property
    def own(self) -> dict[str, Path | OwnDevice]:
        """Cells of one's own."""
        return own_cells(self.cells, self.device_parameter)

    @property
    def levels(self) -> tuple[Fidelity, ...]:
        """Levels of the circuit's cells."""
        return ("ideal", "macro") if self.fidelity == "both" else (self.fidelity,)

    @property
    def detail(self) -> Rung:
        """Of the behavioural model's amplifiers."""
        return Rung[self.rung.upper().replace("-", "_")]

    @property
    def processes(self) -> int:
        """Simulations at a time."""
        return self.jobs or os.cpu_count() or 1


def simulators(options: Options) -> list[Simulator]:
    """The simulators that are asked for, the first as the reference.

    Args:
        options: of the comparison.

    Raises:
        UserError: one alone, two of one program, or one that isn't there.
    """
    if options.engines is None:
        return [get_simulator(options.engine, options.solver)]
    refuse("--engines names the simulators", "engine")
    names = [name.strip() for name in options.engines.split(",")]
    found = [get_simulator(name, "auto" if name == "vacask" else options.solver) for name in names]
    if len(found) < 2:
        raise UserError(f"--engines {options.engines}: needs two; --engine takes one")
    if len({one.program for one in found}) < len(found):
        raise UserError(
            f"--engines {options.engines}: two of one program; one of ngspice, shared, batch can "
            "stand beside vacask"
        )
    return found


def compare(
    study: Study,
    seed: int,
    options: Options,
    programs: Sequence[Simulator],
    kit: Kit | None,
    noise: TransientNoise | None,
) -> Findings:
    """Run a design in its realisations and compare them; what is unusual goes to standard error.

    Args:
        study: the design with its samples.
        seed: of the chip.
        options: what is run, and how.
        programs: the simulators.
        kit: models of transistors; None without.
        noise: in waveforms; None without.
    """
    ending: Ending | None = None
    if options.until_settled is not None:
        study, ending = _until_settled(study, seed, options, options.until_settled)
    _warn_of_effort(study, options)
    realisations: list[Realisation] = [Ideal()]
    modelled = options.levels != ("ideal",)
    slowest: float | None = None
    missing: list[str] = []
    if modelled:
        slowest, missing = _slowest_mode(study, seed)
        realisations.append(Model(seed, options.detail, angle=options.tolerance_angle, noise=noise))
    realisations += [
        Cells(
            level,
            simulator,
            seed=seed,
            time_limit=options.time_limit,
            jobs=options.processes,
            cells=options.own,
            kit=kit,
            beside=k > 0,
            noise=noise,
            celsius=options.temperature,
        )
        for k, simulator in enumerate(programs)
        for level in options.levels
    ]
    with Bars() as bars, simulator_warnings() as warned:
        found = study.run(*realisations, check_steps=options.check_steps, progress=bars.show)
    angle: float | None = None
    causes: Sequence[Cause] = ()
    if modelled and options.with_causes:
        try:
            angle, causes = _causes(study, seed)
        except ConvergenceError as error:
            missing.append(f"what turns the update is not known: {error}")
    design = study.design
    return Findings(
        found.runs,
        found.comparisons,
        slowest,
        angle,
        causes,
        states_at_end(design, found.runs),
        [
            *design.card.remarks,
            *([] if kit is None else kit.remarks(design.card)),
            *missing,
            *([str(ending)] if ending is not None and not ending.settled else []),
            *warned,
            *remarks(design, found.runs, found.comparisons, full=options.detail is Rung.FULL),
        ],
        found.step_errors,
        ending,
    )


def _until_settled(
    study: Study, seed: int, options: Options, percent: float
) -> tuple[Study, Ending]:
    """The study over a time in which the behavioural model's update settles, and how it ends."""
    with Bars() as bars:
        return study.until_settled(
            seed,
            Until(percent / 100),
            options.detail,
            progress=lambda k: bars.show("until settled", k, study.steps),
        )


def _warn_of_effort(study: Study, options: Options) -> None:
    """Say that the work is long, or the circuits large, where they are."""
    design, samples, jobs = study.design, len(study.x), options.processes
    work = comparison_seconds(
        design, samples, study.duration, options.levels,
        jobs=jobs, causes=options.with_causes, check_steps=options.check_steps,
    )  # fmt: skip
    for remark in [*long_work(work), *large_circuits(design, options.levels, min(jobs, samples))]:
        click.echo(f"Warning: {remark}", err=True)


def _causes(study: Study, seed: int) -> tuple[float, Sequence[Cause]]:
    """Angle of the chip's update to the ideal one in degrees, and what turns it."""
    with progress_bar("causes", round(study.duration / 0.1)) as bar:
        return study.causes(seed, lambda k: bar.update(k > 0))


def _slowest_mode(study: Study, seed: int) -> tuple[float | None, list[str]]:
    """Largest real part of the full model's eigenvalues on the first sample; warns above 0.

    None where there is no rest to linearise about, with a line that says so: what the loop does
    is for the waveforms to show.
    """
    restless = ", ".join(map(str, study.without_rest(seed)))
    lines = []
    if restless:
        lines.append(
            f"no rest was found of samples {restless} (counted from 0): the tolerance of their "
            "time steps follows the damping at the free state"
        )
    try:
        slowest = study.slowest_mode(seed)
    except ConvergenceError as error:
        return None, [f"the slowest mode is not known: {error}", *lines]
    if slowest > 0:
        click.echo(
            f"Warning: the loop is unstable: slowest mode {slowest:+.3g} per tau_u. Raise the "
            "card's [amplifier] gain_bandwidth, or lower k_p or the feedback weights",
            err=True,
        )
    return slowest, lines
