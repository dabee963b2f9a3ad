"""One sample of a circuit: its simulation, and what is kept of the waveforms."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy
import torch
from torch import Tensor

from analogdfc.errors import UserError
from analogdfc.jobs import Progress, Run
from analogdfc.records import Quantity, Record, Tree
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.simulation import PARTS, Simulation
from analogdfc.spice.simulator import Simulator, Waveforms
from analogdfc.spice.testbench import Testbench
from analogdfc.updating.bench import measured


class Sample(NamedTuple):
    """The probes of a trajectory, for one sample.

    Attributes:
        free: of each probe in the free phase, (parts,), in volts.
        waves: of each probe on the grid after the release, (T, parts), in volts.
        warnings: what the simulator warned of.
        made_by: program, version and solver.
        path: what the nodes of an update path said, layer after layer (see `updating.bench`).
    """

    free: dict[str, Tensor]
    waves: dict[str, Tensor]
    warnings: tuple[str, ...]
    made_by: str
    path: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class SampleRun(Run[Sample]):
    """The simulation of one sample, sampled on a uniform grid.

    Attributes:
        netlist: the circuit.
        bench: its testbench.
        simulator: how it is simulated.
        time_limit: seconds that the simulation may take.
        steps: intervals of the grid over the controlled phase.
        number: of the sample, from 1, for messages.
    """

    netlist: Netlist
    bench: Testbench
    simulator: Simulator
    time_limit: float
    steps: int
    number: int

    @property
    def name(self) -> str:
        """'sample 2 of the circuit with macro cells'."""
        return f"sample {self.number} of the circuit with {self.netlist.fidelity} cells"

    @property
    def work(self) -> int:
        """Hundredths of the simulated time."""
        return PARTS

    def settings(self) -> str:
        """What the waveforms depend on; see `Task.settings`.

        The time limit isn't: a run that ends within a longer one gives the same.
        """
        deck = self.netlist.deck(self.bench.text())
        own = [text for module in self.netlist.modules for text in module.texts.values()]
        return json.dumps(
            {
                "deck": hashlib.sha256("\0".join([deck, *own]).encode()).hexdigest(),
                "simulator": self.simulator.name,
                "steps": self.steps,
            }
        )

    def made_with(self) -> str:
        """See `Run.made_with`; the simulator too."""
        return f"{super().made_with()}, {self.simulator.made_with()}"

    def run(self, progress: Progress) -> Sample:
        """Simulate and sample; see `Task.run`."""
        bench = self.bench
        nodes = tuple(node for group in bench.signals().values() for node in group)
        nodes = tuple(dict.fromkeys((*nodes, *bench.read)))
        simulation = Simulation(self.netlist, bench, nodes, self.simulator, self.time_limit)
        return self._sampled(simulation.run(progress))

    def _sampled(self, waves: Waveforms) -> Sample:
        bench = self.bench
        grid = np.linspace(0, bench.duration * bench.design.seconds, self.steps + 1)
        starts = np.array([bench.onset, bench.release]) * (1 - 1e-9)
        onset, after = np.searchsorted(waves.time, starts)
        time = waves.time[after:] - bench.release
        free, run = {}, {}
        for probe, nodes in bench.signals().items():
            volts = np.stack([waves.signals[node] for node in nodes], axis=1)
            free[probe] = torch.from_numpy(volts[0].copy())
            smooth = scipy.interpolate.PchipInterpolator(
                time, volts[after:], axis=0, extrapolate=False
            )
            found = smooth(np.clip(grid, time[0], time[-1]))
            found[0] = volts[onset]
            run[probe] = torch.from_numpy(found)
        path = bench.chip.circuit.update
        read = [] if path is None else measured(path, waves.time, waves.signals, bench.moments)
        return Sample(free, run, waves.warnings, waves.made_by, tuple(read))

    def pack(self, result: Sample) -> Tree:
        """See `Run.pack`."""
        tree: dict[str, Any] = {
            name: {_key(probe): Quantity(volts.numpy(), "V") for probe, volts in part.items()}
            for name, part in (("free", result.free), ("waves", result.waves))
        }
        if result.path:
            tree["path"] = {str(i): Quantity(t.numpy(), "1") for i, t in enumerate(result.path)}
        return {**tree, "warnings": json.dumps(result.warnings), "made_by": result.made_by}

    def unpack(self, record: Record) -> Sample:
        """See `Run.unpack`."""
        free, waves = (
            {
                probe: torch.from_numpy(record.array(f"{name}/{_key(probe)}", units="V").copy())
                for probe in self.bench.signals()
            }
            for name in ("free", "waves")
        )
        warnings = json.loads(record.text("warnings"))
        if not isinstance(warnings, list):
            raise UserError(f"{record.path}: 'warnings' must be a list")
        path, read = self.bench.chip.circuit.update, []
        for i in range(0 if path is None else len(path.layers)):
            read.append(torch.from_numpy(record.array(f"path/{i}", units="1").copy()))
        warned = tuple(map(str, warnings))
        return Sample(free, waves, warned, record.text("made_by"), tuple(read))


def _key(probe: str) -> str:
    return probe.replace("/", " ")
