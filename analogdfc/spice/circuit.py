"""The circuit realisation: a chip's netlist in ngspice."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.probes import trajectory
from analogdfc.dynamics import Trajectory
from analogdfc.errors import SimulatorWarning
from analogdfc.spice.netlist import Fidelity, Netlist
from analogdfc.spice.simulation import Simulation, simulate_all
from analogdfc.spice.simulator import Simulator, Waveforms
from analogdfc.spice.testbench import Testbench


class Circuit:
    """A chip as a SPICE circuit.

    Args:
        chip: the chip.
        fidelity: level of the cells.
        simulator: how ngspice is run.
        time_limit: seconds that the simulation of one sample may take.
        jobs: simulations at a time.
        cells: files of one's own by the name of the cell whose place they take.

    Raises:
        UserError: an unknown fidelity, or a cell that can't take the place.
    """

    def __init__(
        self,
        chip: Chip,
        fidelity: Fidelity,
        simulator: Simulator,
        *,
        time_limit: float = 600.0,
        jobs: int = 1,
        cells: Mapping[str, str | Path] | None = None,
    ) -> None:
        self.netlist = Netlist.of(chip, fidelity, cells=cells)
        self.simulator = simulator
        self.time_limit = time_limit
        self.jobs = jobs

    def run(
        self,
        x: Tensor,
        step: Tensor,
        *,
        dt: float,
        steps: int,
        progress: Callable[[int], object] | None = None,
    ) -> Trajectory:
        """Release the controller and follow the waveforms, one simulation a sample.

        Args:
            x: inputs, (batch, n_0), dimensionless.
            step: steps of the output target, (batch, n_L).
            dt: spacing of the record, in units of the controller's time.
            steps: number of intervals recorded.
            progress: called after each sample with the number finished.

        Raises:
            UserError: ngspice is missing or refuses the netlist.
            ConvergenceError: a run that doesn't converge or doesn't end in time.

        Warns:
            SimulatorWarning: what the simulator warned of, once each.
        """
        design = self.netlist.chip.design
        x, step = x.to(torch.float64).cpu(), step.to(torch.float64).cpu()
        # A tenth of tau_v, and never coarser than the record.
        longest = min(design.tau_v / 10, dt)
        benches = [
            Testbench(self.netlist.chip, a, b, steps * dt, longest)
            for a, b in zip(x, step, strict=True)
        ]
        grid = np.linspace(0, steps * dt * design.seconds, steps + 1)
        nodes = tuple(node for group in benches[0].signals().values() for node in group)
        simulations = [
            Simulation(self.netlist, bench, nodes, self.simulator, self.time_limit)
            for bench in benches
        ]
        sampled, warned = [], dict[str, None]()
        for waves in simulate_all(simulations, self.jobs, progress):
            sampled.append(_sample(waves, benches[0], grid))
            warned.update(dict.fromkeys(waves.warnings))
        for line in warned:
            warnings.warn(f"the simulator says: {line}", SimulatorWarning, stacklevel=2)
        free = {p: torch.stack([s[0][p] for s in sampled]) for p in sampled[0][0]}
        run = {p: torch.stack([s[1][p] for s in sampled]) for p in sampled[0][1]}
        t = torch.arange(steps + 1, dtype=torch.float64) * dt
        return trajectory(self.netlist.chip, t, x, run, free)


def _sample(
    waves: Waveforms, bench: Testbench, grid: NDArray[np.float64]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Operating point and waveforms of each probe on the grid after the release."""
    onset, after = np.searchsorted(waves.time, np.array([bench.onset, bench.release]) * (1 - 1e-9))
    time = waves.time[after:] - bench.release
    free, run = {}, {}
    for probe, nodes in bench.signals().items():
        volts = np.stack([waves.signals[node] for node in nodes], axis=1)
        free[probe] = torch.from_numpy(volts[0].copy())
        smooth = PchipInterpolator(time, volts[after:], axis=0, extrapolate=False)
        found = smooth(np.clip(grid, time[0], time[-1]))
        found[0] = volts[onset]
        run[probe] = torch.from_numpy(found)
    return free, run
