"""The circuit realisation: a chip's netlist in ngspice."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.probes import scaled, trajectory
from analogdfc.circuit.sequences import TransientNoise
from analogdfc.circuit.updates import path_noise, update_of
from analogdfc.dynamics import Trajectory
from analogdfc.errors import SimulatorWarning, UserError
from analogdfc.jobs import Progress, Spool, run_kept
from analogdfc.kits import Kit
from analogdfc.samples import check_samples
from analogdfc.spice.driven import WrittenNoise, driven
from analogdfc.spice.netlist import Fidelity, Netlist
from analogdfc.spice.ngspice import NgSpice
from analogdfc.spice.own import Own
from analogdfc.spice.sample import SampleRun
from analogdfc.spice.simulation import simulating
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.testbench import USUAL_CELSIUS, MoreSources, Testbench
from analogdfc.updating.bench import Array, drawn_noise, products_of


class Circuit:
    """A chip as a SPICE circuit.

    Args:
        chip: the chip.
        fidelity: level of the cells.
        simulator: how ngspice is run.
        time_limit: seconds that the simulation of one sample may take.
        jobs: simulations at a time.
        spool: where finished samples are kept; None keeps none.
        executor: what simulates samples; None so many threads of this process as `jobs` says.
        cells: files of one's own by the name of the cell whose place they take.
        kit: the process of cells at level 'transistor'.
        noise: of the waveforms, from the release on; none by default.
        celsius: temperature of the circuit, in degrees Celsius.

    Raises:
        UserError: as `Netlist.of`, or noise where there is none in time (see `driven`), or a
            kit's mismatch in a simulator that can't draw it.
    """

    def __init__(
        self,
        chip: Chip,
        fidelity: Fidelity,
        simulator: Simulator,
        *,
        time_limit: float = 600.0,
        jobs: int = 1,
        spool: Spool | None = None,
        executor: Executor | None = None,
        cells: Own | None = None,
        kit: Kit | None = None,
        noise: TransientNoise | None = None,
        celsius: float = USUAL_CELSIUS,
    ) -> None:
        if noise is not None and not isinstance(simulator, NgSpice):
            raise UserError(
                f"{simulator.program}: no noise in time here, since its sources can't reach into "
                "cells; take ngspice"
            )
        if kit is not None and kit.mismatch and not simulator.draws:
            raise UserError(
                f"mismatch of the kit {kit.name!r}: {simulator.program} can't draw it from a seed; "
                "ngspice can"
            )
        netlist = Netlist.of(chip, fidelity, cells=cells, kit=kit)
        self.netlist = netlist if noise is None else driven(netlist)
        self.noise = noise
        self.simulator = simulator
        self.time_limit = time_limit
        self.jobs = jobs
        self.spool = spool
        self.executor = executor
        self.celsius = celsius

    def run(
        self,
        x: Tensor,
        step: Tensor,
        *,
        dt: float,
        steps: int,
        tolerances: Sequence[float] | None = None,
        longest: float | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Trajectory:
        """Release the controller and follow the waveforms, one simulation a sample.

        Args:
            x: inputs, (batch, n_0), dimensionless.
            step: steps of the output target, (batch, n_L).
            dt: spacing of the record, in units of the controller's time.
            steps: number of intervals recorded.
            tolerances: error of a time step as a part of the usual one, for each sample; 1 by
                default.
            longest: time step, in units of the controller's time; by default a tenth of tau_v, and
                never coarser than the record.
            progress: called as it goes with how much is simulated, in hundredths of a sample.

        Raises:
            UserError: ngspice is missing or refuses the netlist, inputs or steps that don't fit the
                design, or no samples.
            ConvergenceError: a run that doesn't converge or doesn't end in time.

        Warns:
            SimulatorWarning: what the simulator warned of, once each.
        """
        design = self.netlist.chip.design
        check_samples(design.sizes, x, step, what="target steps")
        x, step = x.to(torch.float64).cpu(), step.to(torch.float64).cpu()
        if longest is None:
            longest = min(design.tau_v / 10, dt)
        parts = tolerances or [1.0] * len(x)
        chip = self.netlist.chip
        path = chip.circuit.update
        kept: list[dict[str, Array]] = [{} for _ in x]
        if path is not None:
            kept = drawn_noise(path, path_noise(chip, x), len(x))
        benches = [
            Testbench(
                self.netlist.chip,
                a,
                b,
                duration=steps * dt,
                max_step=longest,
                tolerance=part,
                noise=self.sources(a, b, k),
                celsius=self.celsius,
                held=kept[k],
            )
            for k, (a, b, part) in enumerate(zip(x, step, parts, strict=True))
        ]
        runs = [
            SampleRun(self.netlist, bench, self.simulator, self.time_limit, steps, k)
            for k, bench in enumerate(benches, start=1)
        ]
        with simulating(self.executor, self.jobs) as pool:
            sampled = run_kept(runs, self.spool, pool, _counted(progress))
        warned = dict.fromkeys(line for sample in sampled for line in sample.warnings)
        for line in warned:
            warnings.warn(f"the simulator says: {line}", SimulatorWarning, stacklevel=2)
        first = sampled[0]
        free = {probe: torch.stack([s.free[probe] for s in sampled]) for probe in first.free}
        run = {probe: torch.stack([s.waves[probe] for s in sampled]) for probe in first.waves}
        t = torch.arange(steps + 1, dtype=torch.float64) * dt
        read = None
        if path is not None:
            layers = [torch.stack(each) for each in zip(*(s.path for s in sampled), strict=True)]
            unit = design.card.scale.activation
            products = products_of(path, layers, x, unit, path_noise(chip, x))
            read = update_of(chip, products)
        found = trajectory(chip, t, x, scaled(chip, run), scaled(chip, free), read)
        return replace(found, made_by="; ".join(dict.fromkeys(s.made_by for s in sampled)))

    def outputs(self, x: Tensor) -> Tensor:
        """Output r_L that is measured in the free phase, (batch, n_L), dimensionless.

        Args:
            x: inputs, (batch, n_0).

        Raises:
            UserError: ngspice is missing or refuses the netlist, or inputs that don't fit.
            ConvergenceError: no operating point.
        """
        chip = self.netlist.chip
        step = x.new_zeros(len(x), chip.design.sizes[-1])
        check_samples(chip.design.sizes, x, step, what="target steps")
        tap, unit = chip.circuit.layers[-1].r, chip.design.card.scale.activation
        nodes = chip.circuit.names(tap.port)
        found = torch.empty(step.shape, dtype=torch.float64)
        for k, (sample, zero) in enumerate(zip(x.double().cpu(), step.double().cpu(), strict=True)):
            bench = Testbench(
                chip, sample, zero, duration=1.0, max_step=1.0, noise=self.sources(sample, zero, k)
            )
            deck = self.netlist.deck(bench.free_text())
            # What a run needs too, so that a loaded circuit needn't be loaded again for it.
            save = [node for group in bench.signals().values() for node in group]
            point = self.simulator.analyse(
                deck, analysis="op", save=save, time_limit=self.time_limit,
                modules=self.netlist.modules,
            )  # fmt: skip
            found[k] = torch.tensor([float(point.signals[node][0]) for node in nodes])
        return found * (tap.sign / unit)

    def sources(self, x: Tensor, step: Tensor, sample: int) -> MoreSources | None:
        """Sources beside those of a sample; None without noise.

        Args:
            x: input r_0, (n_0,), dimensionless.
            step: step of the output target, (n_L,), dimensionless.
            sample: number of the sample, from 0.
        """
        if self.noise is None:
            return None
        return WrittenNoise(self.netlist, self.noise, x, step, sample)


def _counted(progress: Callable[[int], object] | None) -> Progress:
    """Progress in units done since the last call, as one that is told how many are done."""
    finished = 0

    def count(units: int) -> None:
        nonlocal finished
        finished += units
        if progress is not None:
            progress(finished)

    return count
