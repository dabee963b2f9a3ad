"""The circuit realisation of an inversion: its netlists in a simulator."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import TARGET
from analogdfc.errors import SimulatorWarning
from analogdfc.inverting.assembly import chips
from analogdfc.inverting.design import InversionDesign
from analogdfc.inverting.model import volts_per_unit
from analogdfc.inverting.runs import Grid, Progress, Waves
from analogdfc.jobs import Spool, run_kept
from analogdfc.spice.netlist import Fidelity, Netlist
from analogdfc.spice.sample import SampleRun
from analogdfc.spice.simulation import PARTS, simulating
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.testbench import Testbench, supplies
from analogdfc.spice.writer import number as spelled

__all__ = ["CELLS", "InversionBench", "InversionCells"]

CELLS: Mapping[Fidelity, str] = {"ideal": "ideal cells", "macro": "macro cells"}
"""Names of the realisations by the level of their cells."""


_STEPS = 40
"""Time steps over the shortest time constant, at least: a loop that integrates alone rings."""


@dataclass(frozen=True)
class InversionBench(Testbench):
    """Sources and analysis of one sample of an inversion.

    There are no inputs: `x` is empty. `step` is the error that the uppermost layer gets at the
    release, on rails that are at 0 before it.
    """

    @classmethod
    def of(
        cls, design: InversionDesign, number: int, chip: Chip, target: Tensor, duration: float
    ) -> InversionBench:
        """That of one of a design's circuits.

        Args:
            design: the design.
            number: which of its circuits.
            chip: what realises it.
            target: error of its uppermost layer, (n,).
            duration: length of the record, in units of time of the loops.
        """
        shortest = min(1.0, *(link.controller.tau_u for link in design.circuits[number]))
        return cls(
            chip, torch.zeros(0), target, duration=duration, max_step=shortest / _STEPS,
        )  # fmt: skip

    def signals(self) -> dict[str, list[str]]:
        """Node names of each bank that is measured, in the order of the neurons."""
        circuit = self.chip.circuit
        banks = dict.fromkeys(tap.bank for tap in circuit.signals.values())
        return {name: circuit.names(circuit.bank[name].o) for name in banks}

    def _drives(self, release: list[str]) -> list[str]:
        unit = self.design.card.scale.activation
        held, end = (spelled(self._start + k * self._edge) for k in (1, 2))
        goals = zip(self.chip.circuit.names(TARGET), (-unit * self.step).tolist(), strict=True)
        return [
            "* Supplies",
            *supplies(self.chip),
            *release,
            "* Target of the uppermost layer, on its second rail",
            *(f"V{node} {node} 0 PWL(0 0 {held} 0 {end} {spelled(v)})" for node, v in goals),
        ]


@dataclass(frozen=True)
class InversionCells:
    """The circuits of a seed in SPICE.

    Attributes:
        fidelity: level of the cells, 'ideal' or 'macro'.
        simulator: how they are run.
        seed: seed of the components; None for nominal ones.
        time_limit: seconds that the simulation of one sample may take.
        jobs: simulations at a time.
        spool: where finished simulations are kept; None keeps none.
        executor: what simulates; None so many threads of this process as `jobs` says.
    """

    fidelity: Fidelity
    simulator: Simulator
    _: KW_ONLY
    seed: int | None = None
    time_limit: float = 600.0
    jobs: int = 1
    spool: Spool | None = None
    executor: Executor | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """'ideal cells' or 'macro cells'."""
        return CELLS[self.fidelity]

    def waves(
        self, design: InversionDesign, number: int, target: Tensor, grid: Grid, progress: Progress
    ) -> Waves:
        """See `Realisation`.

        Args:
            design: the design.
            number: which of its circuits.
            target: error of its uppermost layer, (batch, n).
            grid: the times of the record.
            progress: told how much of it is done.
        """
        netlist = Netlist.of(chips(design, self.seed)[number], self.fidelity)
        benches = [
            InversionBench.of(design, number, netlist.chip, one, grid.duration) for one in target
        ]
        runs = [
            SampleRun(netlist, bench, self.simulator, self.time_limit, grid.steps, k)
            for k, bench in enumerate(benches, start=1)
        ]
        done = 0

        def count(units: int) -> None:
            nonlocal done
            done += units
            progress(self.name, done, PARTS * len(runs))

        with simulating(self.executor, self.jobs) as pool:
            samples = run_kept(runs, self.spool, pool, count)
        for line in dict.fromkeys(line for sample in samples for line in sample.warnings):
            warnings.warn(f"the simulator says: {line}", SimulatorWarning, stacklevel=2)
        signals, free = {}, {}
        for name, tap in netlist.chip.circuit.signals.items():
            unit = tap.sign / volts_per_unit(design, name)
            signals[name] = torch.stack([s.waves[tap.bank] for s in samples]) * unit
            free[name] = torch.stack([s.free[tap.bank] for s in samples]) * unit
        made_by = "; ".join(dict.fromkeys(sample.made_by for sample in samples))
        return Waves(signals, free, made_by)
